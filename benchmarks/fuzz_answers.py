"""Good answers, and mutations of their bodies, headers and bytes. The same seed gives the same."""

import gzip
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from coinbase_assets.candles.series import Granularity
from coinbase_assets.candles.windows import MAX_CANDLES
from coinbase_assets_tests.stand_in.answers import Origin
from coinbase_assets_tests.stand_in.markets import SyntheticMarket
from coinbase_assets_tests.stand_in.trades import TradeTape

NOW = datetime(2024, 1, 1, 8, 30, 30, tzinfo=UTC)
"""The exchange's time of every answer, and this machine's."""
PRODUCT = "BTC-USD"
# More than an answer of a coarser granularity has, but few, so that answers are fast to make.
_ROWS = 100
# Answers recorded from the exchange, beside the project where there are any.
_RECORDED = Path(__file__).parents[2] / "shared" / "candles" / "responses"
_ODD_VALUES = [
    *("NaN", "Infinity", "-1", "1e999", "-0.0", "1" * 17, "1" * 5_000, "1.5e308", "null", "true"),
    *('"1"', '"\\ud800"', "[]", "{}", "[[[[[[]]]]]]", '{"a":{"a":{"a":{}}}}', "0", "1e-320", ""),
]
_ODD_BODIES = [
    *(b"", b"[]", b"null", b"0", b'{"message":"NotFound"}', b"<html>", b"\xff\xfe[\0]\0", b"[[]]"),
    *(b"[" * 5_000, b'{"a":' * 5_000, b'"' * 999, b"[[1,2,3,4,5,6]]", b"[" + b"1," * 9_999 + b"1]"),
]
_ODD_HEADERS = {
    "Date": [
        *("Mon, 01 Jan 0001 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "yesterday", "", "0"),
        *("Wed, 03 Jan 2024 08:30:30 GMT", "Mon, 01 Jan 2024 09:31:31 GMT", "Mon, 32 Jan 2024"),
        *("Mon, 01 Jan 2024 08:30:30 +9999", "Mon, 01 Jan 2024 24:00:00 GMT", "Sat, 30 Dec 2023"),
        *("Mon Jan  1 08:30:30 2024", "Mon, 01 Jan 2124 08:30:30 GMT", "\xff", "1 Jan 24 8:30 EST"),
    ],
    "Age": ["0", "1", "300", "-1", "9" * 30, "1.5", "old", "", "99999999", "\xb2"],
    "Content-Encoding": ["gzip", "gzip, gzip", "br", "deflate", "identity", "", "GZIP", "\xff"],
    "Content-Type": [
        f"application/json; charset={name}"
        for name in ("utf-16", "idna", "zlib_codec", "rot13", "\xff", "utf-7", "ascii", "punycode")
    ],
    "Content-Length": ["0", "-1", "5", "9" * 18, "9" * 30, "x", "1, 1", ""],
    "Transfer-Encoding": ["chunked", "gzip, chunked", "identity", "x"],
    "Location": ["http://[::1", "http://xn--a\xff.\xfe/", "//", "/\xff"],
    "Set-Cookie": ["a=b", "\xff=\xff; Expires=Mon, 32 Jan 99999"],
    "Retry-After": ["0", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT", "-1", "\xb2"],
}
_STATUSES = [100, 101, 103, 199, 204, 206, 302, 304, 400, 404, 429, 500, 503, 599, 999]


@dataclass(frozen=True)
class Good:
    """A good answer: its body, and what was asked. `rows` are its candles by their times."""

    kind: str
    body: bytes
    granularity: Granularity = Granularity.ONE_MINUTE
    start: datetime = NOW
    end: datetime = NOW
    rows: dict[int, list[float]] = field(default_factory=dict)


def good_answers() -> list[Good]:
    """Return those recorded, and those of the stand-in exchange."""
    recorded = [json.loads(path.read_text()) for path in sorted(_RECORDED.glob("*.json"))]
    market, first = SyntheticMarket(PRODUCT), int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())
    made = [
        [list(row) for row in market.candles(seconds, first - 299 * seconds, first, first + 86_400)]
        for seconds in (60, 900, 86_400)
    ]
    tape = TradeTape(market=market, start=first, end=first + 7_200)
    origin = Origin({PRODUCT: market, "ETH-EUR": market}, trades={PRODUCT: tape})
    now = NOW.timestamp()
    trades = origin.answer(f"/products/{PRODUCT}/trades", {"limit": "100"}, now).body
    products = origin.answer("/products", {}, now).body
    candles = [_candles(rows[:_ROWS]) for rows in [*recorded, *made]]
    return [*candles, Good("trades", trades), Good("products", products)]


def _candles(rows: list[list[float]]) -> Good:
    times = sorted(int(row[0]) for row in rows)
    step = min(later - sooner for sooner, later in pairwise(times))
    granularity = next(each for each in Granularity if each.seconds == step)
    start = datetime.fromtimestamp(times[0], UTC)
    end = start + MAX_CANDLES * granularity.delta
    truth = {int(row[0]): row for row in rows if row[0] < end.timestamp()}
    body = json.dumps([truth[time] for time in sorted(truth, reverse=True)]).encode()
    return Good("candles", body, granularity, start, end, truth)


def mutated(good: Good, draw: random.Random) -> bytes:
    """Return the bytes of the answer after one to four mutations, or none."""
    body = good.body
    for _ in range(draw.choice([0, 0, 1, 1, 2, 3])):
        body = draw.choice(_OF_BODIES)(body, draw)
    headers = {"Date": f"{NOW:%a, %d %b %Y %H:%M:%S GMT}", "Content-Type": "application/json"}
    if draw.random() < 0.4:
        headers["Content-Encoding"] = "gzip"
        body = _packed(body, draw)
    headers["Content-Length"] = str(len(body))
    for _ in range(draw.choice([0, 0, 0, 1, 1, 2])):
        name = draw.choice(list(_ODD_HEADERS))
        headers[name] = draw.choice(_ODD_HEADERS[name])
    if draw.random() < 0.05:
        del headers[draw.choice(list(headers))]
    status = draw.choice(_STATUSES) if draw.random() < 0.08 else 200
    lines = [f"HTTP/1.1 {status} Any", *(f"{name}: {text}" for name, text in headers.items())]
    sent = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
    return _flip(sent[:400], draw) + sent[400:] if draw.random() < 0.05 else sent


def _packed(body: bytes, draw: random.Random) -> bytes:
    packed = gzip.compress(body, 1, mtime=0)
    match draw.randrange(12):
        case 0:
            return _flip(packed, draw)
        case 1:
            return packed[: draw.randrange(len(packed))]
        case 2:
            return packed + packed
        case 3:
            return gzip.compress(packed, 1, mtime=0)
        case 4:
            return gzip.compress(b" " * 5_000_000, 1, mtime=0) if draw.random() < 0.02 else body
    return packed


def _flip(text: bytes, draw: random.Random) -> bytes:
    changed = bytearray(text or b" ")
    for _ in range(draw.choice([1, 1, 3])):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def _cut(text: bytes, draw: random.Random) -> bytes:
    first, last = sorted(draw.randrange(len(text) + 1) for _ in range(2))
    return text[:first] + text[last:] if draw.random() < 0.5 else text[:first]


def _insert(text: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(text) + 1)
    odd = draw.choice([draw.randbytes(3), b"[" * 40, b"]", b'"', b"\\", b",", b"\0", b"-", b"9e9"])
    return text[:place] + odd + text[place:]


def _odd_value(text: bytes, draw: random.Random) -> bytes:
    """Replace one value by an odd one."""
    parts = text.split(b",")
    place = draw.randrange(len(parts))
    value = draw.choice(_ODD_VALUES).encode()
    bare = parts[place].strip(b"[]{} \n")
    parts[place] = parts[place].replace(bare, value) if bare else value
    return b",".join(parts)


def _odd_rows(text: bytes, draw: random.Random) -> bytes:
    """Drop, repeat, swap, move or turn rows."""
    try:
        rows = json.loads(text)
        row = draw.choice(rows)
        match draw.randrange(7):
            case 0:
                rows = rows[: draw.randrange(len(rows))]
            case 1:
                rows = rows * draw.choice([2, 2, 5, 40])
            case 2:
                draw.shuffle(rows)
            case 3:
                row[0] += draw.choice([1, -60, 60, 10**5, -(10**9), 10**9, 10**12, 0.5])
            case 4:
                one, other = draw.sample(range(1, 6), 2)
                row[one], row[other] = row[other], row[one]
            case 5:
                rows.append([*row[:5], -row[5]])
            case 6:
                row.append(row[-1])
        return json.dumps(rows).encode()
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return text


def _odd_body(_: bytes, draw: random.Random) -> bytes:
    return draw.choice(_ODD_BODIES)


def _recoded(text: bytes, draw: random.Random) -> bytes:
    coding = draw.choice(["utf-16", "utf-32", "utf-8-sig", "utf-7"])
    return text.decode(errors="replace").encode(coding)


_OF_BODIES: list[Callable[[bytes, random.Random], bytes]] = [
    *(_flip, _cut, _insert, _odd_value, _odd_value, _odd_rows, _odd_rows, _odd_body, _recoded)
]


def parts_of(sent: bytes, draw: random.Random) -> Iterator[bytes]:
    """Yield the bytes in the parts in which they arrive."""
    size = draw.choice([65_536, 65_536, 65_536, 1_000, 4_096])
    for first in range(0, len(sent), size):
        yield sent[first : first + size]
