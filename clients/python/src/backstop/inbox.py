"""What the coordinator of an agent waits for."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable


class Wake:
    """Says nothing but: look again."""


WAKE = Wake()


class Inbox:
    """Messages to the coordinator, from any thread and from signal handlers.

    Nothing but a SimpleQueue may be touched by a signal handler: it interrupts a thread that may hold any other lock.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[object] = queue.SimpleQueue()
        self.stopping = False
        """The agent was asked to stop."""
        self.hurried = False
        """It was asked to stop without waiting for what runs."""

    def post(self, message: object) -> None:
        """Leaves a message."""
        self._queue.put(message)

    def stop(self, *, hurry: bool = False) -> None:
        """Asks the agent to stop."""
        self.hurried = self.hurried or hurry
        self.stopping = True
        self._queue.put(WAKE)

    def next(self, timeout: float | None) -> object | None:
        """The next message; None if there is none within so many seconds."""
        try:
            return self._queue.get(timeout=None if timeout is None else max(timeout, 0.0))
        except queue.Empty:
            return None

    def next_nowait(self) -> object | None:
        """The next message; None if there is none."""
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            return None

    def wake(self) -> None:
        """Makes whoever waits look again."""
        self._queue.put(WAKE)

    def pause(self, seconds: float, wake: Callable[[], bool] = lambda: False) -> bool:
        """Waits before anything runs, when messages matter to nobody: so many seconds, or until a message comes and `wake`
        says that it was worth it. True: the agent was asked to stop meanwhile."""
        until = time.monotonic() + seconds
        while not self.stopping and not wake() and (left := until - time.monotonic()) > 0:
            self.next(left)
        return self.stopping
