"""Delivers messages in order to each destination, to all destinations at once."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from coinbase_assets.monitoring.destinations import SECONDS, Destination, Message, NotDelivered


def deliver(
    outbox: Mapping[str, Sequence[Message]],
    destinations: Sequence[Destination],
    sent: Callable[[str, str], None],
) -> list[NotDelivered]:
    """Send each destination its messages; `outbox` has them under its key.

    A destination's first failure ends its deliveries. The call takes at most 20 seconds. After
    each delivery, `sent` is called in this thread with the destination's key and the message's id,
    before the destination gets its next message; the caller keeps the other messages for the next
    try. Returns the failures. Raises what `sent` raises.
    """
    waiting = {place: iter(tuple(outbox.get(place.key, ()))) for place in destinations}
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
