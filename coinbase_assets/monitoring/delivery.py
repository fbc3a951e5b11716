"""Sending messages to their destinations, all at once, each in order."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from coinbase_assets.monitoring.destinations import SECONDS, Destination, Message, NotDelivered


def deliver(
    outbox: Mapping[str, Sequence[Message]],
    destinations: Sequence[Destination],
    sent: Callable[[str, str], None],
) -> list[NotDelivered]:
    """Send each destination its messages, by key, in order; return what failed, within 20 seconds.

    All destinations at once, each up to its first failure. After each delivery `sent` is called
    with the keys of destination and message, in this thread, before the next message goes there;
    what is not called for is to be delivered again. What `sent` raises is raised.
    """
    waiting = {one: iter(tuple(outbox.get(one.key, ()))) for one in destinations}
    running = dict[Future[None], tuple[Destination, Message]]()
    failures: list[NotDelivered] = []
    last_begin = time.monotonic() + SECONDS

    with ThreadPoolExecutor(max_workers=len(destinations) or 1) as threads:

        def begin(destination: Destination) -> None:
            message = next(waiting[destination], None)
            if message and time.monotonic() < last_begin:
                running[threads.submit(destination.send, message)] = destination, message

        for destination in waiting:
            begin(destination)
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                destination, message = running.pop(future)
                try:
                    future.result()
                except NotDelivered as failure:
                    failures.append(failure)
                else:
                    sent(destination.key, message.id)
                    begin(destination)
    return failures
