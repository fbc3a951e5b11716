"""Uploads and downloads in several threads, in order and in bounded memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_THREADS = 8


def map_concurrently(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int = _THREADS
) -> Generator[Result]:
    """Yield `work(item)` for each item, in order, at most `threads` items ahead of the consumer.

    If an item or its work raises, the work already started ends before the error is raised.
    """
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) == threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
