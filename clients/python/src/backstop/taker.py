"""Takes tasks, on a thread and a connection of its own, so that nobody waits while Redis is slow to answer."""

from __future__ import annotations

import logging
import queue
import threading
import time
from dataclasses import dataclass

from .connector import Connector
from .errors import Failure, StoreError
from .inbox import Inbox
from .keys import Keys
from .names import fresh_nonce
from .protocol import Idle, Take, Took
from .protocol.take import NoTake
from .wire import Wire

log = logging.getLogger("backstop")


@dataclass(slots=True)
class Answered:
    """What a take was answered."""

    by: Taker
    answer: Took | Idle | NoTake | StoreError


class Taker:
    """Takes when it is asked to, and posts what was answered to the inbox."""

    def __init__(self, connector: Connector, keys: Keys, session: str, inbox: Inbox) -> None:
        self._wire = Wire(connector)
        self._timeout = connector.response_timeout
        self._keys = keys
        self._session = session
        self._inbox = inbox
        self._asked: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    def start(self) -> None:
        """Starts the thread."""
        threading.Thread(target=self._live, name="backstop-taker", daemon=True).start()

    def take(self, most: int) -> None:
        """Takes up to so many."""
        self._asked.put(most)

    def stop(self) -> None:
        """Takes nothing more."""
        self._asked.put(None)

    def _live(self) -> None:
        while (most := self._asked.get()) is not None:
            try:
                answer = self._take(most)
            except Exception:
                log.exception("session %s: taking failed", self._session)
                answer = StoreError(Failure.UNKNOWN, "take tasks", "a fault of this program; the log says which")
            self._inbox.post(Answered(self, answer))
        self._wire.close()

    def _take(self, most: int) -> Took | Idle | NoTake | StoreError:
        sent = time.monotonic()
        try:
            answer = self._wire.run(self._keys, Take(self._session, fresh_nonce(), most))
        except StoreError as error:
            return error
        if time.monotonic() - sent > self._timeout:
            # This process may have been stopped for long: what was taken then may be another's by now. If it isn't, the
            # next beats show it, and it is given back.
            return StoreError(Failure.UNKNOWN, "take tasks", "the answer came after its time-out, and is dropped")
        return answer
