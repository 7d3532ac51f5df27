"""Enqueueing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import redis

from .connector import Connector
from .errors import Failure, SetupError, StoreError, TooLarge
from .keys import Keys
from .names import fresh_task_id, queue_name, task_id, type_name
from .protocol import Enqueue
from .protocol import NewTask as CheckedTask
from .wire import Wire

MAX_PAYLOAD = 1024 * 1024
"""The largest payload, bytes, and the most bytes a call."""
BATCH = 50
"""Tasks that one call adds."""
ATTEMPTS = 5
"""How often a call whose fate is unknown is sent again; the ids make that harmless."""
DEFAULT_TYPE = "default"
"""The type of a task for which none was given."""

# Ten years: sums with it stay far from what Redis' numbers hold exactly.
_LONGEST = 10 * 365 * 86400

T = TypeVar("T")


@dataclass(frozen=True)
class NewTask:
    """A task to be enqueued. Times are seconds."""

    payload: bytes
    type: str = DEFAULT_TYPE
    id: str | None = None
    """Its name; a fresh one of 32 hex digits if there is none. The same id is not added again while it is in the system,
    and for a while after it was done."""
    delay: float = 0.0
    """When it is ready."""
    deadline_in: float | None = None
    """When nobody wants its result any more; None: what the policy of its type says."""


@dataclass(frozen=True)
class Enqueued:
    """What became of a task that was enqueued."""

    id: str
    added: bool
    """False: a task of this id was there already, or was done not long ago."""


class Client:
    """Adds tasks to a queue. Its methods may be called from several threads."""

    def __init__(
        self,
        redis: str | redis.Redis,
        *,
        queue: str,
        response_timeout: float = 3.0,
        connect_timeout: float = 2.0,
    ) -> None:
        """Nothing is sent yet. `redis` is a URL or a client. Raises SetupError or InvalidName."""
        self._keys = Keys(queue_name(queue))
        connector = Connector(redis, response_timeout=response_timeout, connect_timeout=connect_timeout)
        self._wire = Wire(connector)
        self._lock = threading.Lock()
        self._announced = False

    def enqueue(
        self,
        payload: bytes,
        *,
        type: str = DEFAULT_TYPE,
        id: str | None = None,
        delay: float = 0.0,
        deadline_in: float | None = None,
    ) -> Enqueued:
        """Adds one task. Raises InvalidName, SetupError, TooLarge or StoreError."""
        return self.enqueue_many([NewTask(payload, type, id, delay, deadline_in)])[0]

    def enqueue_many(self, tasks: Iterable[NewTask]) -> list[Enqueued]:
        """Adds tasks in batches, in order; what became of each.

        Raises InvalidName, SetupError or TooLarge before anything is sent; StoreError. Batches before the one that failed
        are in; to add all of them again under the same ids is harmless.
        """
        checked = [check(task) for task in tasks]
        out: list[Enqueued] = []
        with self._lock:
            if not self._announced:
                self._until_known(partial(self._wire.announce, self._keys.queue))
                self._announced = True
            for batch in batches(checked):
                answers = self._until_known(partial(self._wire.run, self._keys, Enqueue(batch)))
                out += [Enqueued(task.id, word == "enqueued") for task, word in zip(batch, answers, strict=True)]
        return out

    def close(self) -> None:
        """Closes its connection; the next call makes another."""
        with self._lock:
            self._wire.close()

    def _until_known(self, call: Callable[[], T]) -> T:
        attempt = 0
        while True:
            try:
                return call()
            except StoreError as error:
                if error.failure is not Failure.UNKNOWN or attempt == ATTEMPTS:
                    raise
            attempt += 1
            time.sleep(0.1 * attempt)


def check(task: NewTask) -> CheckedTask:
    """The task as it is sent. Raises InvalidName, SetupError or TooLarge."""
    if not isinstance(task.payload, (bytes, bytearray, memoryview)):
        raise SetupError(f"a payload is bytes, not {type(task.payload).__name__}")
    payload = bytes(task.payload)
    id = fresh_task_id() if task.id is None else task_id(task.id)
    if len(payload) > MAX_PAYLOAD:
        raise TooLarge(
            f"task {id}: its payload has {len(payload)} bytes, the most is {MAX_PAYLOAD}: store it elsewhere and enqueue "
            "its address"
        )
    if not 0 <= task.delay <= _LONGEST:
        raise SetupError("a delay is 0 seconds to ten years")
    if task.deadline_in is not None and not 0 <= task.deadline_in <= _LONGEST:
        raise SetupError("a deadline is in 0 seconds to ten years")
    deadline_ms = -1 if task.deadline_in is None else round(task.deadline_in * 1000)
    return CheckedTask(id, type_name(task.type), payload, round(task.delay * 1000), deadline_ms)


def batches(tasks: Iterable[CheckedTask]) -> Iterator[list[CheckedTask]]:
    """Cuts into batches of bounded numbers of tasks and bytes; keeps the order."""
    batch: list[CheckedTask] = []
    size = 0
    for task in tasks:
        if batch and (len(batch) == BATCH or size + len(task.payload) > MAX_PAYLOAD):
            yield batch
            batch, size = [], 0
        batch.append(task)
        size += len(task.payload)
    if batch:
        yield batch
