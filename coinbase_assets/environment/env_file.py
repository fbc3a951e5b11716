"""Reads `.env` into the environment, as editors and shells of any system write it."""

import codecs
import io
from pathlib import Path

from dotenv import load_dotenv
from dotenv.parser import parse_stream

# UTF-32 begins like UTF-16, so it is looked for first.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def load_env_file(path: Path) -> None:
    """Set the variables in the file that the environment does not set. A missing file is fine.

    The file is UTF-8, or another Unicode encoding with a byte order mark. Raises
    ValueError, which names the file and the line, but shows no value: it may be secret.
    """
    text = _decode(path, _read(path))
    if "\0" in text:
        raise _refusal(path, text, text.index("\0"), "a NUL byte; save the file as UTF-8")
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            statement = binding.original.string
            blank = statement[: len(statement) - len(statement.lstrip())]
            line = binding.original.line + blank.count("\n")
            raise ValueError(
                f"{path}, line {line}: not a setting; write NAME=VALUE with its quotes closed,"
                " or put # before a comment"
            )
    load_dotenv(stream=io.StringIO(text))


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise ValueError(f"{path}: not a file; move it away, or put a file in its place")
        return path.read_bytes()
    except FileNotFoundError:
        if path.is_symlink():
            raise ValueError(
                f"{path}: a link to {path.readlink()}, which does not exist; correct or remove it"
            ) from None
        return b""
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be read ({error.strerror}); change its permissions or remove it"
        ) from None


def _decode(path: Path, content: bytes) -> str:
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        before = content[: error.start].decode(encoding, errors="replace")
        raise _refusal(
            path, before, len(before), f"not {encoding} text; save it as UTF-8"
        ) from None


def _refusal(path: Path, text: str, position: int, rule: str) -> ValueError:
    return ValueError(f"{path}, line {text.count(chr(10), 0, position) + 1}: {rule}")
