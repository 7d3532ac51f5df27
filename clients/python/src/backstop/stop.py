"""How a task is told to stop, and why."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal, TypeAlias

StopReason: TypeAlias = 'Literal["fenced", "revoked", "cancelled", "out_of_touch", "stopping"]'
"""fenced: this agent no longer holds it, and what it does counts for nothing. revoked: one of its limits has passed; end,
and it is given back. cancelled: a person cancelled it; end, and it is discarded. out_of_touch: no heartbeat was answered
for so long that others may have been given the task. stopping: the agent ends, or its queue is being drained; end, and
the task is given back."""


class StopSignal:
    """Set, once, when a task must stop."""

    __slots__ = ("_event", "_is_set", "_listeners", "_lock")

    def __init__(self) -> None:
        self._is_set = False
        self._lock = threading.Lock()
        # Most tasks never wait for it: what waiting needs is made when it is needed.
        self._event: threading.Event | None = None
        self._listeners: list[Callable[[], None]] | None = None

    def is_set(self) -> bool:
        """Whether the task must stop."""
        return self._is_set

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until the task must stop, or `timeout` seconds; whether it must."""
        if self._is_set:
            return True
        with self._lock:
            if self._is_set:
                return True
            event = self._event = self._event or threading.Event()
        return event.wait(timeout)

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Calls `listener` when the task must stop, from whatever thread says so; at once if it must already."""
        with self._lock:
            if not self._is_set:
                self._listeners = [*(self._listeners or ()), listener]
                return
        listener()

    def set(self) -> None:
        """Tells the task to stop."""
        with self._lock:
            if self._is_set:
                return
            self._is_set = True
            event, listeners, self._listeners = self._event, self._listeners or (), None
        if event is not None:
            event.set()
        for listener in listeners:
            listener()
