"""An agent whose handlers run on threads."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import redis

from .account import Account, OnAnswer, SharedAccount
from .connector import Connector
from .errors import SetupError
from .handlers import ThreadHandlers
from .inbox import Inbox
from .life import Engine, run
from .reconnect import OnReconnect
from .settings import OnPoolFull, settings
from .shutdown import in_main_thread, stopped_by_signals
from .task import Task


class Agent:
    """A process that runs tasks of one queue under an identity. Several queues are several agents."""

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
        on_reconnect: OnReconnect = "reset",
        on_pool_full: OnPoolFull = "end",
        on_answer: OnAnswer | None = None,
        response_timeout: float = 3.0,
        connect_timeout: float = 2.0,
    ) -> None:
        """Nothing is sent yet. Times are seconds.

        redis: a URL, or a client whose settings are used for connections of the agent's own.
        queue: where its tasks come from.
        identity: the stable name under which it acts; at any time one live process acts under a name: a younger one wins.
        pool: prefix and size: a free name of `<prefix>-0` … `<prefix>-<size − 1>`, first one that left tasks behind. If
            neither is given, the environment's BACKSTOP_IDENTITY is the identity.
        concurrency: how many tasks run at once, 1 to 256.
        count: ends after so many tasks.
        drain_timeout: what running tasks are given when the agent is asked to stop, before they are stopped and given back.
        stop_grace: what a handler that was told to stop is given before its task is given back regardless. Less, if the
            task may be run by others before that.
        on_reconnect: what becomes of tasks that former sessions of the identity hold: resume, reset or fail, or a function
            that decides for each.
        on_pool_full: end with PoolFull, or wait until a name is free.
        on_answer: hears each answer to a completion (id, token, word), in a thread of the agent.
        response_timeout: how long an answer of Redis may take before its fate is unknown.
        connect_timeout: how long a connection may take to be made.

        Raises SetupError or InvalidName.
        """
        self._settings = settings(
            queue=queue,
            identity=identity,
            pool=pool,
            concurrency=concurrency,
            count=count,
            drain_timeout=drain_timeout,
            stop_grace=stop_grace,
            on_reconnect=on_reconnect,
            on_pool_full=on_pool_full,
        )
        self._connector = Connector(redis, response_timeout=response_timeout, connect_timeout=connect_timeout)
        self._on_answer = on_answer
        self._inbox = Inbox()
        self._account = SharedAccount(on_answer)
        self._ran = False

    def run(self, handler: Callable[[Task], object], *, signals: bool = True) -> Account:
        """Takes tasks and runs `handler` on each until the agent is stopped; what became of them.

        A handler that returns completes its task; what it returns is ignored. One that raises fails it: it is tried again
        as the policy allows, unless it raised Fatal (never) or GiveBack (nothing is charged). In the main thread SIGTERM
        and SIGINT stop the agent in order while it runs, unless `signals` is False. An agent runs once.

        Raises Superseded, PoolFull, Stopped (before it had begun), StoreError, Broken. What ran then has been told to stop.
        """
        if inspect.iscoroutinefunction(handler):
            raise SetupError("the handler is a coroutine function: use backstop.aio.Agent")
        if self._ran:
            raise SetupError("an agent runs once: make another")
        self._ran = True
        engine = Engine(
            self._settings, self._connector, ThreadHandlers(handler, self._inbox), self._inbox, self._account
        )
        if signals and in_main_thread():
            with stopped_by_signals(self.stop):
                run(engine)
        else:
            run(engine)
        return self._account.get()

    def stop(self) -> None:
        """Asks the agent to stop: it takes nothing more, and what runs may finish within the drain time-out. From any
        thread, and from signal handlers."""
        self._inbox.stop()

    @property
    def account(self) -> Account:
        """What became of its tasks by now."""
        return self._account.get()
