"""An agent whose handlers are coroutines."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator

import redis

from ..account import Account, OnAnswer, SharedAccount
from ..connector import Connector
from ..errors import SetupError, Stopped
from ..inbox import Inbox
from ..life import Engine, run
from ..reconnect import AsyncOnReconnect, Choice, LeftBehind, OnReconnect
from ..settings import OnPoolFull, settings
from ..shutdown import SIGNALS, in_main_thread
from .handlers import LoopHandlers
from .task import Task

log = logging.getLogger("backstop")


class Agent:
    """A process that runs tasks of one queue under an identity. Only handlers run in the event loop: heartbeats, takes and
    reports have threads of their own, so that a handler that blocks the loop doesn't make the agent look dead."""

    def __init__(
        self,
        redis: str | redis.Redis,
        *,
        queue: str,
        identity: str | None = None,
        pool: tuple[str, int] | None = None,
        concurrency: int = 1,
        count: int | None = None,
        drain_timeout: float = 30.0,
        stop_grace: float = 5.0,
        on_reconnect: AsyncOnReconnect = "reset",
        on_pool_full: OnPoolFull = "end",
        on_answer: OnAnswer | None = None,
        response_timeout: float = 3.0,
        connect_timeout: float = 2.0,
    ) -> None:
        """The options of `backstop.Agent`. `redis` is a URL or a redis.Redis, not a redis.asyncio.Redis. `on_reconnect` may
        be a coroutine function; a plain one runs in a thread of the agent.

        Raises SetupError or InvalidName.
        """
        self._loop: asyncio.AbstractEventLoop | None = None
        self._settings = settings(
            queue=queue,
            identity=identity,
            pool=pool,
            concurrency=concurrency,
            count=count,
            drain_timeout=drain_timeout,
            stop_grace=stop_grace,
            on_reconnect=self._decider(on_reconnect),
            on_pool_full=on_pool_full,
        )
        self._connector = Connector(redis, response_timeout=response_timeout, connect_timeout=connect_timeout)
        self._inbox = Inbox()
        self._account = SharedAccount(on_answer)

    async def run(self, handler: Callable[[Task], Awaitable[object]], *, signals: bool = True) -> Account:
        """Takes tasks and runs `handler` on each until the agent is stopped; what became of them. As `backstop.Agent.run`.

        Cancelled, it stops what runs at once and gives it back, and ends when that is told.
        """
        if self._loop is not None:
            raise SetupError("an agent runs once: make another")
        loop = self._loop = asyncio.get_running_loop()
        engine = Engine(
            self._settings, self._connector, LoopHandlers(handler, self._inbox, loop), self._inbox, self._account
        )
        done: asyncio.Future[BaseException | None] = loop.create_future()
        threading.Thread(target=_live, args=(engine, loop, done), name="backstop-agent", daemon=True).start()
        with _stopped_by_signals(loop, self.stop) if signals and in_main_thread() else contextlib.nullcontext():
            cancelled = False
            while not done.done():
                try:
                    await asyncio.shield(done)
                except asyncio.CancelledError:
                    cancelled = True
                    self._inbox.stop(hurry=True)
        error = done.result()
        if cancelled:
            if error is not None and not isinstance(error, Stopped):
                log.error("the agent ended while it was cancelled: %s", error)
            raise asyncio.CancelledError
        if error is not None:
            raise error
        return self._account.get()

    def stop(self) -> None:
        """Asks the agent to stop: it takes nothing more, and what runs may finish within the drain time-out. From any
        thread."""
        self._inbox.stop()

    @property
    def account(self) -> Account:
        """What became of its tasks by now."""
        return self._account.get()

    def _decider(self, choice: AsyncOnReconnect) -> OnReconnect:
        if not callable(choice):
            return choice
        return lambda left: self._decide(choice, left)

    def _decide(self, decide: Callable[[LeftBehind], Choice | Awaitable[Choice]], left: LeftBehind) -> Choice:
        """In the coordinator's thread; what is awaited runs in the loop."""
        decided = decide(left)
        if not inspect.isawaitable(decided):
            return decided
        if self._loop is None:
            raise SetupError("the agent doesn't run yet")
        future = asyncio.run_coroutine_threadsafe(_awaited(decided), self._loop)
        future.add_done_callback(lambda _: self._inbox.wake())
        while not future.done():
            if self._inbox.pause(1.0, wake=future.done):
                future.cancel()
                raise Stopped
        return future.result()


async def _awaited(choice: Awaitable[Choice]) -> Choice:
    return await choice


def _live(engine: Engine, loop: asyncio.AbstractEventLoop, done: asyncio.Future[BaseException | None]) -> None:
    error: BaseException | None = None
    try:
        run(engine)
    except BaseException as raised:
        error = raised

    def tell() -> None:
        if not done.done():
            done.set_result(error)

    try:
        loop.call_soon_threadsafe(tell)
    except RuntimeError:
        log.warning("the event loop was closed before the agent had ended")


@contextlib.contextmanager
def _stopped_by_signals(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
