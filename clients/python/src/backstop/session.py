"""The beginning of a session, and what its predecessors left; and its end."""

from __future__ import annotations

import logging
import os
import random
import socket
import time
from typing import TypeVar

from .errors import Failure, PoolFull, StoreError, Stopped, Superseded
from .inbox import Inbox
from .keys import Keys
from .names import fresh_nonce, identity_of
from .protocol import Adopt, Command, Fail, HeldTask, Leave, Left, Register, Registered, Release, Rhythm, Taken
from .reconnect import Choice, LeftBehind
from .running import Run, Running
from .settings import Settings
from .version import VERSION
from .wire import Wire

log = logging.getLogger("backstop")

BATCH = 50
"""Tasks a call."""
POOL_AGAIN = 1.0
"""How long one who waits for a free name of a pool waits before asking again, seconds."""

A = TypeVar("A")


class Beginning:
    """Registers, and settles what predecessors hold."""

    def __init__(self, wire: Wire, keys: Keys, settings: Settings, inbox: Inbox, lost: str | None) -> None:
        self._wire = wire
        self._keys = keys
        self._settings = settings
        self._inbox = inbox
        self._nonce = fresh_nonce()
        # One that was given up comes back under its own name: another free one of the pool is somebody else's past.
        name, size = (identity_of(lost), 0) if lost else (settings.name, settings.pool_size)
        self._register = Register(self._nonce, name, size, lost or "", host(), os.getpid(), VERSION)
        self._held: list[HeldTask] = []
        # When the first send of a command was begun that may have run.
        self._may_have_run_at: float | None = None
        self.session = ""
        self.rhythm = Rhythm(0, None, 0)
        self.began = 0.0
        """Not later than what Redis knows as the session's first sign of life, monotonic clock: when the first call was sent
        that may have made the session. A repeat is answered, and is no sign of life."""

    def register(self) -> None:
        """Registers, trying until it is answered.

        Raises Superseded, PoolFull, Stopped or StoreError.
        """
        while True:
            self._may_have_run_at = None
            answer = self._until_answered(self._register)
            if answer == "superseded":
                raise Superseded
            if answer == "pool_full":
                if self._settings.on_pool_full == "end":
                    raise PoolFull
                # With the same nonce: a late copy of this call must not become a session that nobody knows.
                if self._inbox.pause(POOL_AGAIN * random.uniform(0.75, 1.25)):
                    raise Stopped
                continue
            self.session, self.rhythm, self._held = answer.session, answer.rhythm, answer.held
            self.began = time.monotonic() if self._may_have_run_at is None else self._may_have_run_at
            log.info("queue %s: registered as %s, %d tasks held", self._keys.queue, self.session, len(self._held))
            return

    def settle(self, running: Running) -> list[Run]:
        """Adopts, gives back or fails what predecessors hold, as was decided. The adopted tasks are on the list already
        when this returns.

        Raises Superseded, Stopped or StoreError.
        """
        adopted: list[Run] = []
        while self._held:
            held, self._held = self._held, []
            mine: list[tuple[str, str]] = []
            others: list[tuple[str, str]] = []
            failed: list[tuple[str, str]] = []
            for task in held:
                choice = self._decide(task)
                if choice == "fail":
                    failed.append((task.id, task.token))
                elif choice == "resume" and len(adopted) + len(mine) < self._settings.concurrency:
                    mine.append((task.id, task.token))
                else:
                    others.append((task.id, task.token))
            for at in range(0, len(mine), BATCH):
                adopted += self._adopt(mine[at : at + BATCH], running)
            for at in range(0, len(others), BATCH):
                self._until_answered(Release(self.session, 0, others[at : at + BATCH]))
            for id, token in failed:
                error = b"its agent was lost, and the next one of its name was told to fail it"
                self._until_answered(Fail(id, token, error, 0, True))
            # Asking again with the same nonce gives the same session, and what is held still.
            again = self._until_answered(self._register)
            if not isinstance(again, Registered):
                raise Superseded
            before = {(task.id, task.token) for task in held}
            left = {(task.id, task.token) for task in again.held}
            if left == before:
                break
            self._held = again.held
        return adopted

    def _decide(self, task: HeldTask) -> Choice:
        choice = self._settings.on_reconnect
        if not callable(choice):
            return choice
        left = LeftBehind(task.id, task.type, task.session, task.token, task.checkpoint or None, task.external)
        try:
            decided = choice(left)
        except Stopped:
            raise
        except Exception:
            # One that raises decided nothing: any agent may run the task.
            log.exception("task %s: nothing was decided about it; it is reset", task.id)
            return "reset"
        if decided not in ("resume", "reset", "fail"):
            log.error("task %s: %r is no decision about it; it is reset", task.id, decided)
            return "reset"
        return decided

    def _adopt(self, pairs: list[tuple[str, str]], running: Running) -> list[Run]:
        running.adopting(id for id, _ in pairs)
        answers = self._until_answered(Adopt(self.session, fresh_nonce(), pairs))
        adopted: list[Run] = []
        for (id, _), answer in zip(pairs, answers, strict=True):
            if isinstance(answer, Taken):
                run = running.begin(answer)
                if run is not None:
                    adopted.append(run)
            elif isinstance(answer, str):
                log.info("task %s: not adopted: %s", id, answer)
            else:
                log.error("task %s: it can't be decoded; it is failed", id)
                error = b"its record can't be decoded"
                self._until_answered(Fail(answer.id, answer.token, error, 0, True))
        running.adopting(())
        return adopted

    def _until_answered(self, command: Command[A]) -> A:
        """Sends a command until it is answered, or the agent is to stop. Each of these is harmless when repeated."""
        wait = 0.1
        while True:
            sent = time.monotonic()
            try:
                answer = self._wire.run(self._keys, command)
                self._may_have_run_at = self._may_have_run_at or sent
                return answer
            except StoreError as error:
                if error.failure is Failure.PERMANENT:
                    raise
                if error.failure is Failure.UNKNOWN:
                    self._may_have_run_at = self._may_have_run_at or sent
                log.warning("trying again: %s", error)
            if self._inbox.pause(wait):
                raise Stopped
            wait = min(wait * 2, 2.0)


def leave(wire: Wire, keys: Keys, session: str, within: float) -> None:
    """Gives back what is left and leaves, as long as there is hope for it: so many seconds."""
    until = time.monotonic() + within
    while True:
        try:
            answer = wire.run(keys, Leave(session))
            if isinstance(answer, Left):
                return
            # A take whose answer was lost may have left these.
            wire.run(keys, Release(session, 0, answer[:BATCH]))
        except StoreError as error:
            if error.failure is Failure.PERMANENT or time.monotonic() > until:
                log.warning("session %s: could not say that it left; the sweeper will find out: %s", session, error)
                return
            time.sleep(0.25)


def host() -> str:
    """Where this process runs, for people."""
    return socket.gethostname()[:64] or "unknown"
