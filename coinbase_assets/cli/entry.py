"""The program `coinbase-assets`: the command line, which Ctrl-C ends without a traceback.

It imports nothing else of the package before it has prepared for Ctrl-C.
"""

import _thread
import os
import signal
import sys
import threading
from types import FrameType

INTERRUPTED = 130


def run() -> None:
    """Run the command line. After it has ended, Ctrl-C does not interrupt the clean-up."""
    signal.signal(signal.SIGINT, _leave)
    sys.unraisablehook = interrupt_again
    from coinbase_assets.cli.main import main

    try:
        main()
    except KeyboardInterrupt:
        # Ctrl-C again, while main ends because of the first.
        sys.exit(INTERRUPTED)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def interrupt_again(unraisable: "sys.UnraisableHookArgs") -> None:
    """Deliver a Ctrl-C again that came where Python can only print it, as in a finaliser."""
    if unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)
        return
    # At once, it would be lost in this hook.
    later = threading.Timer(0.01, _thread.interrupt_main)
    later.daemon = True
    later.start()


def _leave(number: int, frame: FrameType | None) -> None:
    """End the process at once: while modules are imported, there is nothing to clean up."""
    os._exit(INTERRUPTED)
