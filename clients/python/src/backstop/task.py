"""A task in its handler's hands."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import TooLarge
from .external import Recorder
from .running import Run, Running
from .stop import StopReason, StopSignal

MAX_CHECKPOINT = 64 * 1024
"""The largest checkpoint, bytes."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What the tasks of one session share."""

    queue: str
    running: Running
    recorder: Recorder


class TaskView:
    """What a task is, and what its handler may say of it."""

    __slots__ = ("_run", "_scope")

    def __init__(self, run: Run, scope: Scope) -> None:
        self._run = run
        self._scope = scope

    @property
    def queue(self) -> str:
        """The queue that it came from."""
        return self._scope.queue

    @property
    def id(self) -> str:
        """Its name within the queue."""
        return self._run.id

    @property
    def type(self) -> str:
        """Its type."""
        return self._run.taken.type

    @property
    def payload(self) -> bytes:
        """The bytes that were enqueued."""
        return self._run.taken.payload

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        return self._run.taken.attempt

    @property
    def token(self) -> str:
        """What holds it: hand it to whatever is changed outside Redis, so that an older attempt can be told from a newer."""
        return self._run.token

    @property
    def enqueued_at_ms(self) -> int:
        """When it was enqueued, ms, clock of Redis."""
        return self._run.taken.enqueued_at_ms

    @property
    def deadline_ms(self) -> int | None:
        """When nobody wants its result any more, ms, clock of Redis."""
        return self._run.taken.deadline_ms

    @property
    def abandonments(self) -> int:
        """How often an agent lost it."""
        return self._run.taken.abandonments

    @property
    def failures(self) -> int:
        """How often it failed."""
        return self._run.taken.failures

    @property
    def checkpoint(self) -> bytes | None:
        """What the last attempt left behind."""
        return self._run.taken.checkpoint or None

    @property
    def external(self) -> str | None:
        """Where else an earlier attempt had it worked on: the handle that it recorded."""
        return self._run.taken.external

    def save_checkpoint(self, checkpoint: bytes) -> None:
        """Leaves bytes for the next attempt, should there be one. They go with the next heartbeat, and are a sign of life.

        Raises TooLarge if they are more than 64 KiB; nothing is left then.
        """
        if len(checkpoint) > MAX_CHECKPOINT:
            raise TooLarge(
                f"the checkpoint has {len(checkpoint)} bytes, the most is {MAX_CHECKPOINT}: store it elsewhere and keep "
                "its address here"
            )
        self._scope.running.save(self._run, b"c" + checkpoint)

    def alive(self) -> None:
        """A sign of life of the task itself, for types that must show one."""
        self._scope.running.save(self._run, b"+")

    def why(self) -> StopReason | None:
        """Why it must stop; None: it needn't."""
        return self._scope.running.why(self._run)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.token}>"


class Task(TaskView):
    """A task that a handler of `backstop.Agent` runs."""

    __slots__ = ()

    @property
    def stop(self) -> StopSignal:
        """Set when the task must stop: `stop.is_set()`, `stop.wait(seconds)`. A handler that doesn't end soon after keeps
        its thread, and what it returns counts for nothing."""
        return self._run.stop

    def record_external(self, handle: str) -> None:
        """Records where else this task is worked on (1 to 1024 bytes), and waits until that is answered. The next attempt
        gets it as `external`.

        Raises TooLarge; Fenced if this attempt no longer holds the task; StoreError if it isn't known whether the handle
        was recorded.
        """
        self._scope.recorder.record(self._run, handle)
