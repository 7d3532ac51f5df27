"""Being stopped by signals."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""What asks a process to stop."""


def in_main_thread() -> bool:
    """Whether signal handlers can be installed here."""
    return threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Calls `stop` on SIGTERM and SIGINT; restores what was there before. Only in the main thread."""
    before = {number: signal.signal(number, lambda *_: stop()) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None: it was not installed from Python, and can't be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
