"""Adding tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .command import Arg, Shape


@dataclass(frozen=True)
class NewTask:
    """A task to be added, checked already. Times are milliseconds."""

    id: str
    type: str
    payload: bytes
    delay_ms: int = 0
    deadline_in_ms: int = -1
    """Time to its deadline; -1: none but what the policy of its type says."""


@dataclass(frozen=True)
class Enqueue:
    """Adds tasks; answers `enqueued` or `exists` for each."""

    script: ClassVar[str] = "enqueue"
    tasks: list[NewTask]

    def args(self) -> list[Arg]:
        out: list[Arg] = []
        for task in self.tasks:
            out += (task.id, task.type, task.delay_ms, task.deadline_in_ms, task.payload)
        return out

    def read(self, reply: object) -> list[str]:
        return Shape(self.script, reply).words(reply, ("enqueued", "exists"), len(self.tasks))
