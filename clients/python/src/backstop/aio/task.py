"""A task in the hands of a coroutine."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

from ..running import Run
from ..stop import StopSignal
from ..task import Scope, TaskView


class AsyncStopSignal:
    """Set, once, when a task must stop."""

    __slots__ = ("_event", "_signal")

    def __init__(self, signal: StopSignal) -> None:
        self._signal = signal
        self._event: asyncio.Event | None = None

    def is_set(self) -> bool:
        """Whether the task must stop."""
        return self._signal.is_set()

    async def wait(self) -> bool:
        """Waits until the task must stop."""
        if self._event is None:
            event = self._event = asyncio.Event()
            loop = asyncio.get_running_loop()

            def tell() -> None:
                try:
                    loop.call_soon_threadsafe(event.set)
                except RuntimeError:
                    # The loop is closed: nobody waits any more.
                    return

            self._signal.subscribe(tell)
        return await self._event.wait()


class Task(TaskView):
    """A task that a handler of `backstop.aio.Agent` runs."""

    __slots__ = ("_executor", "_stop")

    def __init__(self, run: Run, scope: Scope, executor: Executor) -> None:
        super().__init__(run, scope)
        self._executor = executor
        self._stop = AsyncStopSignal(run.stop)

    @property
    def stop(self) -> AsyncStopSignal:
        """Set when the task must stop: `stop.is_set()`, `await stop.wait()`. A handler that doesn't end soon after is
        cancelled where it waits."""
        return self._stop

    async def record_external(self, handle: str) -> None:
        """Records where else this task is worked on (1 to 1024 bytes), and waits until that is answered. The next attempt
        gets it as `external`.

        Raises TooLarge; Fenced if this attempt no longer holds the task; StoreError if it isn't known whether the handle
        was recorded.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._executor, self._scope.recorder.record, self._run, handle)
