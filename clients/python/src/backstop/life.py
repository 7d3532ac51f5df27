"""One session's life: take, run, report; stop when told to."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

from .account import SharedAccount
from .connector import Connector
from .errors import Broken, Failure, StoreError, Superseded
from .external import Recorder
from .handlers import Handlers
from .heart import Heart, Over, Pulse
from .hints import Hints, poll
from .inbox import WAKE, Inbox
from .keys import Keys
from .outcome import Done, Ended, GaveBack, Outcome, Report
from .outcome import Failure as Failed
from .protocol import Idle, Taken, Took
from .protocol.take import MOST
from .reporter import Reporter
from .running import Run, Running
from .session import Beginning, leave
from .settings import MOST_HELD, Settings
from .taker import Answered, Taker
from .task import Scope
from .wire import Wire

log = logging.getLogger("backstop")

LAST_WORDS = 10.0
"""How long outcomes are still told once an agent is to end, and how long it tries to leave, seconds."""
STEP = 0.05
"""How often a handler that must stop is looked at, seconds."""


@dataclass
class Engine:
    """What the lives of one agent share."""

    settings: Settings
    connector: Connector
    handlers: Handlers
    inbox: Inbox
    account: SharedAccount


class Hint:
    """There may be new work."""


@dataclass(slots=True)
class ReporterBroke:
    """Outcomes of this session can't be told any more."""

    session: str


HINT = Hint()


def run(engine: Engine) -> None:
    """Lives until the agent is stopped, session after session if one is given up.

    Raises BackstopError. What ran then has been stopped.
    """
    lost: str | None = None
    try:
        while True:
            lost = Life(engine, lost).live()
            if lost is None:
                return
            log.warning("session %s was given up; beginning another", lost)
    finally:
        engine.handlers.finish()


class Life:
    """A session that lives. All but the parts that it starts happens in one thread: the coordinator's."""

    def __init__(self, engine: Engine, lost: str | None) -> None:
        """Registers and settles. Raises BackstopError."""
        self._engine = engine
        self._settings = engine.settings
        self._inbox = engine.inbox
        self._account = engine.account
        self._keys = Keys(engine.settings.queue)
        self._running = Running()
        # Used by one at a time: to begin, by the reporter, to leave.
        self._wire = Wire(engine.connector)
        beginning = Beginning(self._wire, self._keys, engine.settings, engine.inbox, lost)
        try:
            beginning.register()
        except BaseException:
            self._wire.close()
            raise
        self._session = beginning.session
        try:
            self._wire.announce(engine.settings.queue)
        except StoreError as error:
            # The daemon may know the queue from its configuration; whoever enqueues announces it too.
            log.debug("could not announce the queue: %s", error)
        # It beats while it settles what its predecessors left.
        self._heart = Heart(
            engine.connector,
            self._keys,
            self._session,
            self._running,
            beginning.rhythm,
            beginning.began,
            lambda: engine.inbox.post(WAKE),
        )
        self._heart.start()
        try:
            self._adopted = beginning.settle(self._running)
        except BaseException as error:
            self._heart.stop()
            if not isinstance(error, Superseded):
                # What it has adopted by now nobody would run.
                leave(self._wire, self._keys, self._session, LAST_WORDS)
            self._wire.close()
            raise
        self._account.note("adopted", len(self._adopted))
        self._reporter = Reporter(
            self._wire,
            self._keys,
            self._session,
            self._running,
            engine.account,
            beat_now=self._heart.beat_now,
            save_timeout=engine.connector.response_timeout,
            on_broken=lambda: engine.inbox.post(ReporterBroke(self._session)),
        )
        self._taker = Taker(engine.connector, self._keys, self._session, engine.inbox)
        self._hints = Hints(engine.connector, self._keys.wake, lambda: engine.inbox.post(HINT))
        self._recorder = Recorder(engine.connector, self._keys, self._running)
        self._scope = Scope(engine.settings.queue, self._running, self._recorder)
        self._begin_work()

    def _begin_work(self) -> None:
        count = self._settings.count
        # Tasks that may still be taken; None: any number.
        self._left = None if count is None else max(0, count - self._account.get().taken)
        # Handlers whose outcome isn't decided.
        self._active: set[Run] = set()
        # Handlers that were told to stop and didn't: given up, and yet they keep their threads.
        self._kept: set[Run] = set()
        # When a handler that is being ended is given up.
        self._ending: dict[Run, float] = {}
        self._stops_seen = 0
        self._told: list[Run] = []
        self._taking = False
        # A hint came since the last take was sent: its answer may be older than what the hint tells of.
        self._hinted = False
        self._look_at = 0.0
        self._stopping = False
        self._force_at: float | None = None
        self._forced = False
        self._out_of_touch = False
        self._over: Over | None = None

    def live(self) -> str | None:
        """Takes, runs and reports until the session ends. Returns the session if it was given up: another may begin.

        Raises Superseded or Broken.
        """
        try:
            for part in (self._reporter, self._taker, self._hints):
                part.start()
            self._start(self._adopted)
            self._work()
            return self._end()
        finally:
            self._heart.stop()
            self._taker.stop()
            self._hints.stop()
            self._recorder.close()

    def _work(self) -> None:
        """Until the session is over, or nothing is left to do."""
        while self._over is None:
            now = time.monotonic()
            pulse = self._heart.pulse
            if pulse.over is not None:
                self._over = pulse.over
                return
            self._hear_stop(now)
            self._obey(pulse, now)
            if not self._active and not self._taking and (self._stopping or self._left == 0):
                return
            room = self._room(pulse)
            if room > 0 and now >= self._look_at:
                self._taking, self._hinted = True, False
                self._taker.take(room)
                room = 0
            self._handle_all(self._patience(pulse, room, now))

    def _hear_stop(self, now: float) -> None:
        if self._inbox.stopping and not self._stopping:
            self._stopping = True
            self._force_at = now + self._settings.drain_timeout
        if self._force_at is not None and (now >= self._force_at or self._inbox.hurried):
            self._force_at = None
            self._forced = True

    def _obey(self, pulse: Pulse, now: float) -> None:
        """Stops what must stop; also what a take brought whose answer was still on its way."""
        at = pulse.out_of_touch_at()
        was, self._out_of_touch = self._out_of_touch, at is not None and now >= at
        if self._out_of_touch:
            if not was:
                log.error("session %s: out of touch with Redis: stopping all work", self._session)
            self._running.stop_all("out_of_touch")
        if pulse.drain == "release" or self._forced:
            self._running.stop_all("stopping")
        self._end_overdue(now)

    def _end_overdue(self, now: float) -> None:
        """Ends handlers whose time to stop is over."""
        if self._running.stops != self._stops_seen:
            self._stops_seen = self._running.stops
            self._told = [run for run in self._active if run.told_at is not None]
        if not self._told:
            return
        for run in self._told:
            if run not in self._active or run.told_at is None:
                continue
            if run in self._ending:
                if now >= self._ending[run]:
                    self._give_up(run)
            elif now - run.told_at >= self._running.grace(run, self._settings.stop_grace):
                # A reason that leaves less time may have come after the first.
                takes = self._engine.handlers.drop(run)
                if takes > 0:
                    self._ending[run] = now + takes
                else:
                    self._give_up(run)
        self._told = [run for run in self._told if run in self._active]

    def _give_up(self, run: Run) -> None:
        log.error("task %s: its handler doesn't stop; it keeps its thread, and its outcome won't count", run.id)
        self._active.discard(run)
        self._ending.pop(run, None)
        self._kept.add(run)
        self._report(run, None)

    def _room(self, pulse: Pulse) -> int:
        """How many tasks may be taken now: only what can start at once, so that nobody waits behind a busy agent."""
        if self._stopping or pulse.drain is not None or self._out_of_touch or self._taking:
            return 0
        free = self._settings.concurrency - len(self._active) - len(self._kept)
        room = min(free, MOST_HELD - len(self._running), MOST)
        return max(0, room if self._left is None else min(room, self._left))

    def _patience(self, pulse: Pulse, room: int, now: float) -> float | None:
        """How long nothing has to be done unless a message comes, seconds; None: for ever."""
        moments: list[float] = []
        if room > 0:
            moments.append(self._look_at)
        if self._force_at is not None:
            moments.append(self._force_at)
        out_of_touch_at = pulse.out_of_touch_at()
        if out_of_touch_at is not None and not self._out_of_touch:
            moments.append(out_of_touch_at)
        if self._told:
            moments.append(now + STEP)
        return min(moments) - now if moments else None

    def _handle_all(self, patience: float | None) -> None:
        """Handles what has come, after waiting for the first of it."""
        message = self._inbox.next(patience)
        for _ in range(MOST_HELD):
            if message is None:
                return
            self._handle(message)
            message = self._inbox.next_nowait()
        if message is not None:
            self._handle(message)

    def _handle(self, message: object) -> None:
        if isinstance(message, Ended):
            self._ended(message)
        elif isinstance(message, Answered):
            if message.by is self._taker:
                self._taking = False
                if self._over is None:
                    self._took(message.answer)
        elif isinstance(message, Hint):
            self._hinted = True
            self._look_at = 0.0
        elif isinstance(message, ReporterBroke) and message.session == self._session:
            self._over = "broken"

    def _ended(self, ended: Ended) -> None:
        run = ended.run
        if run in self._active:
            self._active.discard(run)
            self._ending.pop(run, None)
            self._report(run, ended.outcome)
        else:
            self._kept.discard(run)
            log.warning("task %s: its handler ended after it was given up; what it did counts for nothing", run.id)

    def _took(self, answer: object) -> None:
        later = 0.0
        if isinstance(answer, Took):
            runs = self._begin(answer)
            # What holds for all holds for what came just now.
            self._obey(self._heart.pulse, time.monotonic())
            self._start(runs)
            return
        if isinstance(answer, StoreError):
            # If it ran, the next beats show what it took.
            log.warning("session %s: could not take tasks; trying again: %s", self._session, answer)
            # What a person must mend is not asked for twice a second.
            later = poll() * (10 if answer.failure is Failure.PERMANENT else 0.5)
        elif isinstance(answer, Idle):
            later = poll() if answer.next is None else min(answer.next, poll())
        elif answer == "superseded" or answer == "lost":
            self._over = answer
        else:
            later = poll()
        self._look_at = 0.0 if self._hinted and isinstance(answer, Idle) else time.monotonic() + later

    def _begin(self, took: Took) -> list[Run]:
        """All stand on the list before the first of them starts: what nobody knows is given back."""
        runs: list[Run] = []
        undecodable: list[Run] = []
        for task in took.tasks:
            taken = (
                task if isinstance(task, Taken) else Taken(task.id, task.token, "", 0, b"", 0, None, 0, 0, b"", None)
            )
            run = self._running.begin(taken)
            if run is not None:
                (runs if taken is task else undecodable).append(run)
        self._account.note("taken", len(runs) + len(undecodable))
        if self._left is not None:
            self._left = max(0, self._left - len(runs) - len(undecodable))
        for run in undecodable:
            log.error("task %s: it can't be decoded; it is failed", run.id)
            self._reporter.tell(Report(run, Failed("its record can't be decoded", final=True)))
        return runs

    def _start(self, runs: Iterable[Run]) -> None:
        ready: list[Run] = []
        for run in runs:
            if self._running.why(run) is None:
                self._active.add(run)
                ready.append(run)
            else:
                self._report(run, None)
        if ready:
            self._engine.handlers.start(ready, self._scope)

    def _report(self, run: Run, outcome: Outcome | None) -> None:
        """Leaves to the reporter what is to be told. Without an outcome, it was stopped."""
        why = self._running.why(run)
        if why == "fenced":
            log.warning("task %s: stopped: this agent no longer holds it", run.id)
            self._account.note("fenced")
            self._running.end(run)
        elif isinstance(outcome, Done):
            self._reporter.tell(Report(run, outcome))
        elif outcome is None or why is not None:
            # It ended because it was told to: that is no failure.
            self._reporter.tell(Report(run, GaveBack(0.0)))
        else:
            self._reporter.tell(Report(run, outcome))

    def _end(self) -> str | None:
        if self._over is not None:
            self._running.fence_all()
        until = time.monotonic() + self._settings.stop_grace + 1.0
        while self._active and (now := time.monotonic()) < until:
            self._end_overdue(now)
            self._handle_all(STEP)
        for run in list(self._active):
            self._give_up(run)
        all_told = self._reporter.finish(LAST_WORDS)
        self._heart.stop()
        if self._over is None and all_told:
            leave(self._wire, self._keys, self._session, LAST_WORDS)
        if all_told:
            # Otherwise the reporter has it still.
            self._wire.close()
        if self._over == "superseded":
            raise Superseded
        if self._over == "broken":
            raise Broken("a part of the agent ended before its time; the log says which")
        if self._over is None and not all_told:
            log.error(
                "session %s: ended with %d outcomes untold: the sweeper will reset them",
                self._session,
                len(self._running),
            )
        return self._session if self._over == "lost" else None
