"""The code in the documentation: where it is, and what a line of it runs."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from coinbase_assets_tests.processes import PROJECT

# A mark in the first line of a block, which the site shows as the block's title.
_BLOCK = re.compile(r"^```(\S*)(?: ([^\n]*))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NOT_RUN = re.compile(r'title="Not run by the tests: ([^"]+)"')
_OPERATORS = {"|", "||", ">"}


@dataclass(frozen=True)
class Snippet:
    """A block of code. `reason` says why it is not run, and is empty if it is run."""

    page: str
    line: int
    language: str
    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class ShellCommand:
    """A command, what follows it in the line (`| tail`), and whether it may end with 1."""

    words: Sequence[str]
    rest: str
    may_be_1: bool


def pages() -> list[Path]:
    """Return the README and every page of the documentation."""
    return [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]


def snippets(page: Path) -> Iterator[Snippet]:
    """Yield the blocks of a page. Raises ValueError for a mark that is not understood."""
    text, name = page.read_text(), str(page.relative_to(PROJECT))
    for block in _BLOCK.finditer(text):
        language, mark, code = block.groups()
        reason = _NOT_RUN.fullmatch(mark or "")
        line = text.count("\n", 0, block.start()) + 1
        if mark and not reason:
            raise ValueError(f"{name}:{line}: unknown mark {mark!r}")
        yield Snippet(name, line, language, code, reason[1] if reason else "")


def shell_commands(text: str) -> Iterator[ShellCommand]:
    """Yield the commands of a block of sh."""
    for line in text.replace("\\\n", " ").splitlines():
        words = _words(line)
        ends = (place for place, word in enumerate(words) if word in _OPERATORS)
        end = next(ends, len(words))
        rest = " ".join(word if word in _OPERATORS else shlex.quote(word) for word in words[end:])
        if words:
            yield ShellCommand(words[:end], rest, "exit status 1" in line)


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)
