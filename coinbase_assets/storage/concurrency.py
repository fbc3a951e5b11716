"""Several uploads or downloads at a time, in order and in bounded memory."""

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
    """`map(work, items)` in threads, as many items ahead of who consumes the results.

    When an item or a work raises, what was begun before it is finished first.
    """
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) == threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
