"""Servers that answer every connection with the bytes of a script, at the script's pace."""

import gzip
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from email.utils import formatdate
from typing import Self

Script = Callable[[], Iterator[bytes]]

PAUSE = 0.02
"""Seconds between the bytes of a drip."""
ROW = [1704067200, 1, 4, 2, 3, 5]
"""The first candle of 2024, at any granularity of a day or less."""


def head(status: str = "200 OK", **headers: str) -> bytes:
    """Return a status line and headers, the Date of now included; `_` stands for `-` in names."""
    lines = {"Date": formatdate(usegmt=True), **headers}
    text = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{text}".encode("latin-1")


def whole(body: bytes, status: str = "200 OK", **headers: str) -> Script:
    """Return the script of a whole answer."""
    return lambda: iter([head(status, Content_Length=str(len(body)), **headers) + b"\r\n" + body])


def drip(beginning: Callable[[], bytes], byte: bytes = b" ") -> Script:
    """Return a script that sends one byte after the other, without end."""

    def bytes_sent() -> Iterator[bytes]:
        yield beginning()
        while True:
            time.sleep(PAUSE)
            yield byte

    return bytes_sent


def flood(beginning: Callable[[], bytes], block: bytes) -> Script:
    """Return a script that sends the block again and again, as fast as it is taken."""
    return lambda: itertools.chain([beginning()], itertools.repeat(block))


def layers(number: int, body: bytes) -> bytes:
    for _ in range(number):
        body = gzip.compress(body, mtime=0)
    return body


def candles(rows: int) -> bytes:
    """Return distinct rows, a second apart."""
    return json.dumps([[ROW[0] + number, *ROW[1:]] for number in range(rows)]).encode()


CHUNKED = {"Transfer_Encoding": "chunked"}
BLOCK = b" " * 60_000
CHUNK = b"%x\r\n%s\r\n" % (len(BLOCK), BLOCK)
DRIPS: dict[str, Script] = {
    "nothing": drip(lambda: b"", b""),
    "status line": drip(lambda: b"HTTP/1.1 200 ", b"O"),
    "header": drip(lambda: head() + b"X-Long: ", b"a"),
    "headers": drip(head, b"A: b\r\n"),
    "body": drip(lambda: head(Content_Length="1000000") + b"\r\n["),
    "body without length": drip(lambda: head() + b"\r\n["),
    "chunks": drip(lambda: head(**CHUNKED) + b"\r\n", b"1\r\n \r\n"),
    "103 slowly": drip(lambda: b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "103": flood(lambda: b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100),
    "small chunks": flood(lambda: head(**CHUNKED) + b"\r\n", b"1\r\n \r\n" * 5_000),
}
"""Answers that never end, and do not become long soon."""
FLOODS: dict[str, Script] = {
    "chunks": flood(lambda: head(**CHUNKED) + b"\r\n", CHUNK),
    "body without length": flood(lambda: head() + b"\r\n", BLOCK),
    "body of a huge length": flood(lambda: head(Content_Length="9" * 15) + b"\r\n", BLOCK),
    "gzip": flood(lambda: head(Content_Encoding="gzip") + b"\r\n", layers(1, BLOCK)),
    "bomb": whole(layers(1, b" " * 50_000_000), Content_Encoding="gzip"),
    "5,000 layers": whole(layers(50, b"[]"), Content_Encoding=", ".join(["gzip"] * 5_000)),
    "layers": whole(layers(2, b"[]"), Content_Encoding="gzip, gzip"),
    "rows repeated": whole(layers(1, candles(300) * 300), Content_Encoding="gzip"),
    "rows": whole(candles(401)),
    "numbers": whole(json.dumps([1] * 1_000).encode()),
    "nested lists": whole(b"[" * 3_000 + b"]" * 3_000),
    "nested lists, deeper": whole(b"[" * 400_000),
    "nested objects": whole(b'{"a":' * 3_000),
    "five levels": whole(b"[[[[[]]]]]"),
    "number of 100,000 digits": whole(b"[" + b"1" * 100_000 + b"]"),
}
"""Answers that are too long or too deep: garbled."""
BROKEN: dict[str, Script] = {
    "no gzip": whole(b"[]", Content_Encoding="gzip"),
    "gzip, cut": whole(layers(1, candles(9))[:-9], Content_Encoding="gzip"),
    "gzip, and more": whole(layers(1, b"[]") * 2, Content_Encoding="gzip"),
    "brotli": whole(b"[]", Content_Encoding="br"),
    "unknown packing": whole(b"[]", Content_Encoding="\x7fgzip"),
    "UTF-16": whole("[]".encode("utf-16"), Content_Type="application/json; charset=utf-16"),
    "UTF-32": whole("[]".encode("utf-32")),
    "mark of UTF-8": whole(b"\xef\xbb\xbf[]"),
    "Latin-1": whole('["é"]'.encode("latin-1")),
    "year 1": whole(b"[]", Date="Mon, 01 Jan 0001 00:00:00 GMT"),
    "year 1, an Age": whole(b"[]", Date="Mon, 01 Jan 0001 00:00:00 GMT", Age="1"),
    "year 9999": whole(b"[]", Date="Fri, 31 Dec 9999 23:59:59 GMT"),
    "year 2101": whole(b"[]", Date="Sat, 01 Jan 2101 00:00:00 GMT"),
    "year 1970": whole(b"[]", Date="Thu, 01 Jan 1970 00:00:00 GMT"),
    "another zone": whole(b"[]", Date=f"{formatdate()[:-5]}+0500"),
    "Age of centuries": whole(b"[]", Age="999999999"),
    "Age in words": whole(b"[]", Age="old"),
    "Age of 5,000 digits": whole(b"[]", Age="9" * 5_000),
}
"""Answers that are garbled in other ways."""
NO_HTTP: dict[str, Script] = {
    "headers without end": flood(head, b"A: b\r\n" * 1_000),
    "header without end": flood(lambda: head() + b"A: ", b"a" * 60_000),
    "upgrade": whole(b"", "101 Switching Protocols", Upgrade="websocket", Connection="upgrade"),
    "header without a name": lambda: iter([head() + b"\x1b" * 50_000 + b"\r\n\r\n[]"]),
    "two lengths": whole(b"[]", Content_length="9"),
    "length below zero": lambda: iter([head(Content_Length="-1") + b"\r\n[]"]),
    "another protocol": lambda: iter([b"SSH-2.0-OpenSSH_9.2p1\r\n"]),
    "nothing": lambda: iter([]),
}
"""What is no answer."""
REFUSED: dict[str, Script] = {
    "redirect to no address": whole(b"", "302 Found", Location="http://[::1"),
    "redirect to no name": whole(b"", "301 Moved", Location="http://xn--a\xff.\xfe/"),
    "redirect to a long name": whole(b"", "308 Moved", Location=f"http://{'a' * 70}.com/"),
    "redirect to itself": whole(b"", "307 Moved", Location="/products"),
    "no content": whole(b"", "204 No Content"),
    "part": whole(b"[]", "206 Partial Content", Content_Range="bytes 0-1/9"),
}
"""Answers that are neither a success nor an error."""


class HostileServer:
    """A context manager: a server that sends the script to everyone who sends a request.

    `received` are the requests as they came.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self.received: list[bytes] = []
        self._stopped = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listening.close()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            with suppress(OSError):
                connection, _ = self._listening.accept()
                self._threads.append(threading.Thread(target=self._send, args=(connection,)))
                self._threads[-1].start()

    def _send(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(10)
            self.received.append(connection.recv(65_536))
            for part in self._script():
                if self._stopped.is_set():
                    return
                connection.sendall(part)
