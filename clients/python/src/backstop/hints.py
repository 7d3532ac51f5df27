"""How an agent without work learns of new work."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

from .connector import Connector
from .errors import StoreError
from .wire import Wire

log = logging.getLogger("backstop")

POLL = 1.0
"""How long an agent without work waits for a hint before it looks again, seconds."""


class Hints:
    """Listens to a queue's channel on a thread of its own. A lost hint costs a poll, never a task."""

    def __init__(self, connector: Connector, channel: str, on_hint: Callable[[], None]) -> None:
        self._wire = Wire(connector)
        self._channel = channel
        self._on_hint = on_hint
        self._stopped = threading.Event()

    def start(self) -> None:
        """Starts to listen."""
        threading.Thread(target=self._live, name="backstop-hints", daemon=True).start()

    def stop(self) -> None:
        """Stops it, within a second or so."""
        self._stopped.set()

    def _live(self) -> None:
        while not self._stopped.is_set():
            try:
                self._wire.subscribe(self._channel)
                while not self._stopped.is_set():
                    if self._wire.heard(within=POLL):
                        self._on_hint()
            except StoreError as error:
                log.debug("no hints at new work; polling: %s", error)
            self._stopped.wait(POLL)
        self._wire.close()


def poll() -> float:
    """The poll, a quarter earlier or later, so that idle agents don't ask in step."""
    return POLL * random.uniform(0.75, 1.25)
