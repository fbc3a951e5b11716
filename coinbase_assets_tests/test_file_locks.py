"""File locks between processes, including processes that are killed."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from select import select

import pytest

from coinbase_assets.file_locks import (
    exclusive,
    exclusive_within,
    is_held,
    open_lock,
    share,
    try_exclusive,
)

HOLDER = """
import sys
from pathlib import Path
from coinbase_assets.file_locks import exclusive, open_lock, share

how, path = sys.argv[1], Path(sys.argv[2])
print("waits", flush=True)
if how == "exclusive":
    with exclusive(path):
        print("holds", flush=True)
        sys.stdin.readline()
else:
    with open_lock(path) as file:
        share(file)
        print("holds", flush=True)
        sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "when needed" / "it.lock"


@contextmanager
def process(how: str, path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that takes the lock and holds it until it is asked to end or is killed."""
    command = [sys.executable, "-c", HOLDER, how, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, bufsize=0) as holder:
        try:
            assert said(holder) == "waits"
            yield holder
        finally:
            holder.kill()


def said(holder: subprocess.Popen[bytes]) -> str:
    assert holder.stdout
    return holder.stdout.readline().decode().strip()


def is_silent(holder: subprocess.Popen[bytes]) -> bool:
    assert holder.stdout
    return not select([holder.stdout], [], [], 0.3)[0]


def end(holder: subprocess.Popen[bytes], killed: bool = False) -> None:
    if killed:
        holder.kill()
        holder.wait()
    else:
        holder.communicate(b"\n")


@pytest.mark.parametrize("killed", [False, True], ids=["ends", "is killed"])
@pytest.mark.parametrize("how", ["exclusive", "shared"])
def test_lock_is_held_until_process_ends(how: str, killed: bool, path: Path) -> None:
    with process(how, path) as holder, open_lock(path) as file:
        assert said(holder) == "holds"
        assert is_held(path) == (how == "exclusive")
        assert not try_exclusive(file)
        end(holder, killed)
        assert not is_held(path)
        assert try_exclusive(file)


def test_share_is_held_until_last_process_ends(path: Path) -> None:
    with process("shared", path) as first, process("shared", path) as second:
        assert said(first) == said(second) == "holds"
        with open_lock(path) as file:
            end(first)
            assert not try_exclusive(file)
            end(second)
            assert try_exclusive(file)


@pytest.mark.parametrize("how", ["exclusive", "shared"])
def test_lock_waits_for_exclusive_holder(how: str, path: Path) -> None:
    with ExitStack() as processes:
        with exclusive(path):
            later = processes.enter_context(process(how, path))
            assert is_silent(later)
        assert said(later) == "holds"


def test_exclusive_waits_for_sharers(path: Path) -> None:
    with ExitStack() as processes:
        with open_lock(path) as file:
            share(file)
            later = processes.enter_context(process("exclusive", path))
            assert is_silent(later)
        assert said(later) == "holds"


def test_try_exclusive_holds_until_file_is_closed(path: Path) -> None:
    with open_lock(path) as file, open_lock(path) as other:
        assert try_exclusive(file)
        assert is_held(path)
        assert not try_exclusive(other)
        file.close()
        assert not is_held(path)
        assert try_exclusive(other)


def test_try_exclusive_fails_while_shared(path: Path) -> None:
    with open_lock(path) as file, open_lock(path) as other:
        share(file)
        share(other)
        assert not try_exclusive(file)
        other.close()
        assert try_exclusive(file)


def test_exclusive_within_waits_says_so_once_and_gives_up(path: Path) -> None:
    said: list[str] = []
    with exclusive_within(path, 0, lambda: said.append("waits")):
        assert is_held(path)
        assert said == []
        with (
            pytest.raises(TimeoutError),
            exclusive_within(path, 0.3, lambda: said.append("waits")),
        ):
            pass
    assert said == ["waits"]
    assert not is_held(path)


def test_exclusive_within_takes_a_lock_that_becomes_free(path: Path) -> None:
    with ExitStack() as holder:
        holder.enter_context(exclusive(path))
        with exclusive_within(path, 30, holder.close):
            assert is_held(path)


def test_is_held_ignores_shared_and_open_files(path: Path) -> None:
    with open_lock(path) as file:
        assert not is_held(path)
        share(file)
        assert not is_held(path)


def test_is_held_creates_no_file(path: Path) -> None:
    assert not is_held(path)
    assert not path.exists()


def test_is_held_ignores_concurrent_queries(path: Path) -> None:
    open_lock(path).close()
    with ThreadPoolExecutor(4) as pool:
        assert not any(pool.map(is_held, [path] * 2000))
