"""Handlers on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from ..inbox import Inbox
from ..outcome import DONE, Ended, Failure, Outcome, of_error
from ..running import Run
from ..task import Scope
from .task import Task

CANCEL_TAKES = 1.0
"""What a cancelled handler is given to end, seconds."""


class LoopHandlers:
    """Handlers that are tasks of one event loop. Its methods are called by the coordinator, in another thread."""

    def __init__(
        self, handler: Callable[[Task], Awaitable[object]], inbox: Inbox, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._handler = handler
        self._inbox = inbox
        self._loop = loop
        self._tasks: dict[Run, asyncio.Task[object]] = {}
        # Recording a handle waits for Redis; the loop's own executor may be full of the program's work.
        self._executor = ThreadPoolExecutor(max_workers=4, thread_name_prefix="backstop-external")

    def start(self, runs: Sequence[Run], scope: Scope) -> None:
        try:
            self._loop.call_soon_threadsafe(self._start, runs, scope)
        except RuntimeError:
            # The loop was closed: nothing runs there any more.
            for run in runs:
                self._inbox.post(Ended(run, None))

    def drop(self, run: Run) -> float:
        try:
            self._loop.call_soon_threadsafe(self._cancel, run)
        except RuntimeError:
            return 0.0
        return CANCEL_TAKES

    def finish(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _start(self, runs: Sequence[Run], scope: Scope) -> None:
        for run in runs:
            try:
                coroutine = self._handler(Task(run, scope, self._executor))
            except Exception as error:
                self._inbox.post(Ended(run, of_error(error)))
                continue
            if not asyncio.iscoroutine(coroutine):
                self._inbox.post(Ended(run, Failure("the handler isn't a coroutine function", final=False)))
                continue
            task = self._tasks[run] = self._loop.create_task(coroutine)
            task.add_done_callback(partial(self._done, run))

    def _cancel(self, run: Run) -> None:
        task = self._tasks.get(run)
        if task is not None:
            task.cancel()

    def _done(self, run: Run, task: asyncio.Task[object]) -> None:
        self._tasks.pop(run, None)
        outcome: Outcome | None = DONE
        if task.cancelled():
            outcome = None
        elif (error := task.exception()) is not None:
            outcome = of_error(error)
        self._inbox.post(Ended(run, outcome))
