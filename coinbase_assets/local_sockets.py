"""Which user of this machine owns a TCP socket of 127.0.0.1. Linux alone says so."""

import socket
import sys
from pathlib import Path

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTENING = "0A"
_STATE, _USER = 3, 7


def listening_users(port: int) -> set[int]:
    """Return the ids of the users who listen on the port, at any address; empty if not known."""
    ending = f":{port:04X}"
    return {
        int(row[_USER])
        for row in _sockets()
        if row[_STATE] == _LISTENING and row[1].endswith(ending)
    }


def connected_user(client: tuple[str, int], port: int) -> int | None:
    """Return the id of the user whose socket `client` has connected to the port of 127.0.0.1.

    Returns None if the system does not say.
    """
    ends = [_hexadecimal(*client), _hexadecimal("127.0.0.1", port)]
    return next((int(row[_USER]) for row in _sockets() if row[1:3] == ends), None)


def _sockets() -> list[list[str]]:
    """Return the rows of the kernel's tables: number, local and remote address, state, ..., user.

    See Documentation/networking/proc_net_tcp.rst of Linux.
    """
    tables = [Path(table) for table in _TABLES if Path(table).exists()]
    return [line.split() for table in tables for line in table.read_text().splitlines()[1:]]


def _hexadecimal(host: str, port: int) -> str:
    return f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}"
