"""Enqueueing from coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import redis

from ..client import DEFAULT_TYPE, Enqueued, NewTask
from ..client import Client as ThreadsClient


class Client:
    """Adds tasks to a queue. Its calls wait in a thread, so that the loop goes on."""

    def __init__(
        self,
        redis: str | redis.Redis,
        *,
        queue: str,
        response_timeout: float = 3.0,
        connect_timeout: float = 2.0,
    ) -> None:
        """Nothing is sent yet. `redis` is a URL or a redis.Redis. Raises SetupError or InvalidName."""
        self._client = ThreadsClient(
            redis, queue=queue, response_timeout=response_timeout, connect_timeout=connect_timeout
        )

    async def enqueue(
        self,
        payload: bytes,
        *,
        type: str = DEFAULT_TYPE,
        id: str | None = None,
        delay: float = 0.0,
        deadline_in: float | None = None,
    ) -> Enqueued:
        """Adds one task; cancelled, it may be added nevertheless. Raises InvalidName, SetupError, TooLarge or StoreError."""
        return (await self.enqueue_many([NewTask(payload, type, id, delay, deadline_in)]))[0]

    async def enqueue_many(self, tasks: Iterable[NewTask]) -> list[Enqueued]:
        """Adds tasks in batches, in order; what became of each. As `backstop.Client.enqueue_many`."""
        return await asyncio.to_thread(self._client.enqueue_many, list(tasks))

    async def close(self) -> None:
        """Closes its connection; the next call makes another."""
        await asyncio.to_thread(self._client.close)
