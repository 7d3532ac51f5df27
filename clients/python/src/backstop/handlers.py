"""Handlers on threads."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from .inbox import Inbox
from .outcome import DONE, Ended, Outcome, of_error
from .running import Run
from .task import Scope, Task


class Handlers(Protocol):
    """Who runs handlers, and posts an Ended for each to the inbox. Called by the coordinator alone."""

    def start(self, runs: Sequence[Run], scope: Scope) -> None:
        """Begins to handle these; does not wait."""
        ...

    def drop(self, run: Run) -> float:
        """Its time to stop is over: end it, if that can be done; how long that may take, seconds (0: it can't)."""
        ...

    def finish(self) -> None:
        """Nothing more is started."""
        ...


class ThreadHandlers:
    """Handlers on threads that are kept for the next task. They are daemons: one that never ends must not keep the process
    from ending."""

    def __init__(self, handler: Callable[[Task], object], inbox: Inbox) -> None:
        self._handler = handler
        self._inbox = inbox
        self._jobs: queue.SimpleQueue[tuple[Run, Scope] | None] = queue.SimpleQueue()
        self._threads = 0
        # Jobs that have begun or wait for a thread, less those that ended; a thread counts itself out.
        self._busy = 0
        self._lock = threading.Lock()

    def start(self, runs: Sequence[Run], scope: Scope) -> None:
        with self._lock:
            self._busy += len(runs)
            missing = self._busy - self._threads
            self._threads = max(self._threads, self._busy)
        for _ in range(missing):
            threading.Thread(target=self._work, name="backstop-handler", daemon=True).start()
        for run in runs:
            self._jobs.put((run, scope))

    def drop(self, run: Run) -> float:
        return 0.0

    def finish(self) -> None:
        for _ in range(self._threads):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            run, scope = job
            outcome = self._handle(Task(run, scope))
            with self._lock:
                self._busy -= 1
            self._inbox.post(Ended(run, outcome))

    def _handle(self, task: Task) -> Outcome:
        try:
            self._handler(task)
        except BaseException as error:  # also SystemExit: it ends its task only
            return of_error(error)
        return DONE
