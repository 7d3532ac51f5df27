"""Recording where else a task is worked on."""

from __future__ import annotations

import logging
import threading

from .connector import Connector
from .errors import Failure, Fenced, StoreError, TooLarge
from .keys import Keys
from .protocol import External
from .running import Run, Running
from .wire import Wire

log = logging.getLogger("backstop")

MAX_HANDLE = 1024
"""Bytes of a handle."""


class Recorder:
    """Records handles, from any thread, over connections that are kept for the next time."""

    def __init__(self, connector: Connector, keys: Keys, running: Running) -> None:
        self._connector = connector
        self._keys = keys
        self._running = running
        self._idle: list[Wire] = []
        self._closed = threading.Event()

    def record(self, run: Run, handle: str) -> None:
        """Records; the same command is sent until it is answered, or until the work may be another's.

        Raises TooLarge, Fenced, and StoreError if it isn't known whether the handle was recorded.
        """
        encoded = handle.encode()
        if not 1 <= len(encoded) <= MAX_HANDLE:
            raise TooLarge(f"the handle has {len(encoded)} bytes, it may have 1 to {MAX_HANDLE}")
        command = External(run.id, run.token, run.taken.type, encoded, next(run.recordings))
        wait = 0.05
        while True:
            wire = self._wire()
            try:
                answer = wire.run(self._keys, command)
                break
            except StoreError as error:
                hopeless = error.failure is Failure.PERMANENT or self._running.why(run) in ("fenced", "out_of_touch")
                if hopeless or self._closed.wait(wait):
                    raise
                log.debug("task %s: its handle isn't recorded yet: %s", run.id, error)
            finally:
                self._put_back(wire)
            wait = min(wait * 2, 2.0)
        if answer != "recorded":
            self._running.fence(run)
            raise Fenced(f"task {run.id} is no longer this attempt's: stop, there is nothing to cancel")

    def close(self) -> None:
        """The session is over: nothing is tried again."""
        self._closed.set()
        while self._idle:
            self._idle.pop().close()

    def _wire(self) -> Wire:
        try:
            return self._idle.pop()
        except IndexError:
            return Wire(self._connector)

    def _put_back(self, wire: Wire) -> None:
        if self._closed.is_set():
            wire.close()
        else:
            self._idle.append(wire)
