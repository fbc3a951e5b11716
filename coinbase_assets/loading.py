"""How modules and definitions are loaded."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Load without looking for garbage meanwhile, which takes a third of the time; nor later among
    what was loaded; nor at the end among what is left, which takes a quarter of a second."""
    atexit.register(gc.freeze)
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
