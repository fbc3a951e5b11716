"""File locks between processes, those that end and those that are killed."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from select import select

import pytest

from coinbase_assets.file_locks import exclusive, is_held, open_lock, share, try_exclusive

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
    """A process that is about to hold the lock, until it is told to end or is killed."""
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
def test_a_lock_is_held_until_its_process(how: str, killed: bool, path: Path) -> None:
    with process(how, path) as holder, open_lock(path) as file:
        assert said(holder) == "holds"
        assert is_held(path) == (how == "exclusive")
        assert not try_exclusive(file)
        end(holder, killed)
        assert not is_held(path)
        assert try_exclusive(file)


def test_a_shared_lock_is_held_until_the_last_of_its_processes_ends(path: Path) -> None:
    with process("shared", path) as first, process("shared", path) as second:
        assert said(first) == said(second) == "holds"
        with open_lock(path) as file:
            end(first)
            assert not try_exclusive(file)
            end(second)
            assert try_exclusive(file)


@pytest.mark.parametrize("how", ["exclusive", "shared"])
def test_who_comes_later_waits_for_who_holds_it_alone(how: str, path: Path) -> None:
    with ExitStack() as processes:
        with exclusive(path):
            later = processes.enter_context(process(how, path))
            assert is_silent(later)
        assert said(later) == "holds"


def test_who_wants_it_alone_waits_for_those_who_share_it(path: Path) -> None:
    with ExitStack() as processes:
        with open_lock(path) as file:
            share(file)
            later = processes.enter_context(process("exclusive", path))
            assert is_silent(later)
        assert said(later) == "holds"


def test_who_tries_to_hold_it_alone_keeps_others_out_until_the_file_is_closed(path: Path) -> None:
    with open_lock(path) as file, open_lock(path) as other:
        assert try_exclusive(file)
        assert is_held(path)
        assert not try_exclusive(other)
        file.close()
        assert not is_held(path)
        assert try_exclusive(other)


def test_one_of_those_who_share_it_cannot_hold_it_alone(path: Path) -> None:
    with open_lock(path) as file, open_lock(path) as other:
        share(file)
        share(other)
        assert not try_exclusive(file)
        other.close()
        assert try_exclusive(file)


def test_who_shares_it_or_has_it_open_does_not_hold_it_alone(path: Path) -> None:
    with open_lock(path) as file:
        assert not is_held(path)
        share(file)
        assert not is_held(path)


def test_to_ask_about_a_lock_that_never_was_makes_no_file(path: Path) -> None:
    assert not is_held(path)
    assert not path.exists()


def test_processes_that_ask_at_once_do_not_take_each_other_for_holders(path: Path) -> None:
    open_lock(path).close()
    with ThreadPoolExecutor(4) as pool:
        assert not any(pool.map(is_held, [path] * 2000))
