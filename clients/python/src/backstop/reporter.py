"""Outcomes, told to Redis until they are answered. Until then a task stays on the list that beats show."""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from .account import SharedAccount
from .errors import Failure as CallFailure
from .errors import StoreError
from .keys import Keys
from .outcome import DONE, Done, Failure, GaveBack, Report, cut
from .protocol import Command, Complete, Fail, Release
from .running import Run, Running
from .wire import Wire

log = logging.getLogger("backstop")

BATCH = 50
"""Outcomes that one call tells."""
REFUSED_AGAIN = 5.0
"""When an outcome that was refused is told again, seconds: a person may have mended what stood in the way."""

A = TypeVar("A")


class _Refused(Exception):
    """Redis won't have it, or nobody waits any more; the log says why."""


class Reporter:
    """Tells outcomes, on a thread of its own."""

    def __init__(
        self,
        wire: Wire,
        keys: Keys,
        session: str,
        running: Running,
        account: SharedAccount,
        *,
        beat_now: Callable[[], None],
        save_timeout: float,
        on_broken: Callable[[], None],
    ) -> None:
        """`beat_now` hurries a beat that carries a checkpoint; it is given `save_timeout` seconds."""
        self._wire = wire
        self._keys = keys
        self._session = session
        self._running = running
        self._account = account
        self._beat_now = beat_now
        self._save_timeout = save_timeout
        self._on_broken = on_broken
        self._reports: queue.SimpleQueue[Report | None] = queue.SimpleQueue()
        self._refused: list[Report] = []
        self._again_at = 0.0
        self._give_up = threading.Event()
        self._thread = threading.Thread(target=self._live, name="backstop-reporter", daemon=True)
        self._all_told = False

    def start(self) -> None:
        """Starts to tell."""
        self._thread.start()

    def tell(self, report: Report) -> None:
        """Leaves an outcome to be told."""
        self._reports.put(report)

    def finish(self, within: float) -> bool:
        """Nothing more comes; whether all was told within so many seconds. What wasn't is given up."""
        self._reports.put(None)
        self._thread.join(within)
        if self._thread.is_alive():
            self._give_up.set()
            return False
        return self._all_told

    def _live(self) -> None:
        try:
            self._tell_all()
        except Exception:
            log.exception("session %s: outcomes can't be told any more", self._session)
            self._on_broken()

    def _tell_all(self) -> None:
        is_open = True
        while (is_open or self._refused) and not self._give_up.is_set():
            batch, is_open = self._next_batch(is_open)
            before = len(self._refused)
            self._tell_batch(batch)
            if len(self._refused) > before:
                self._again_at = time.monotonic() + REFUSED_AGAIN
        self._all_told = not self._refused and not self._give_up.is_set()

    def _next_batch(self, is_open: bool) -> tuple[list[Report], bool]:
        """Whatever has come by now goes in one call; a single one doesn't wait for company."""
        batch: list[Report] = []
        wait = max(0.0, self._again_at - time.monotonic()) if self._refused else None
        if not is_open:
            self._give_up.wait(wait)
        else:
            try:
                report = self._reports.get(timeout=wait)
                while report is not None:
                    batch.append(report)
                    if len(batch) == BATCH:
                        return batch, True
                    report = self._reports.get_nowait()
                is_open = False
            except queue.Empty:
                pass
        if not batch and self._refused and time.monotonic() >= self._again_at:
            batch, self._refused = self._refused[:BATCH], self._refused[BATCH:]
        return batch, is_open

    def _tell_batch(self, batch: list[Report]) -> None:
        self._save_checkpoints(batch)
        done: list[Report] = []
        back: dict[float | None, list[Report]] = {}
        for report in batch:
            outcome = report.outcome
            if isinstance(outcome, Done):
                done.append(report)
            elif isinstance(outcome, GaveBack):
                back.setdefault(outcome.delay, []).append(report)
            else:
                self._try([report], partial(self._fail, report.run, outcome))
        for delay, reports in back.items():
            self._try(reports, partial(self._give_back, reports, delay))
        if done:
            self._try(done, partial(self._complete, done))

    def _try(self, reports: list[Report], tell: Callable[[], None]) -> None:
        try:
            tell()
        except _Refused:
            self._refused.extend(reports)

    def _save_checkpoints(self, batch: list[Report]) -> None:
        """What a run has left for the next one must be there before the next one can begin."""
        runs = [r.run for r in batch if r.outcome is not DONE and self._running.has_unsaved(r.run)]
        if runs:
            self._beat_now()
            self._running.wait_saved(runs, self._save_timeout)

    def _complete(self, reports: list[Report]) -> None:
        pairs = [(report.run.id, report.run.token) for report in reports]
        answers = self._until_answered(Complete(pairs))
        counts: dict[str, int] = {}
        for report, word in zip(reports, answers, strict=True):
            run = report.run
            self._running.end(run)
            self._account.answered(run.id, run.token, word)
            if word in ("completed", "already"):
                counts["completed"] = counts.get("completed", 0) + 1
            elif word == "withdrawn":
                counts["withdrawn"] = counts.get("withdrawn", 0) + 1
                log.info("task %s: a late result was accepted; the reset was false", run.id)
            else:
                counts["refused"] = counts.get("refused", 0) + 1
                log.warning("task %s: its completion was refused: %s", run.id, word)
        for what, by in counts.items():
            self._account.note(what, by)

    def _fail(self, run: Run, failure: Failure) -> None:
        fail = Fail(run.id, run.token, cut(failure.error), random.randint(0, 1000), failure.final)
        answer = self._until_answered(fail)
        self._running.end(run)
        counted = {"retried": "retried", "dead": "dead", "discarded": "released"}
        self._account.note(counted.get(answer, "refused"))

    def _give_back(self, reports: list[Report], delay: float | None) -> None:
        """A repeat is answered `late`, so what counts is that they are no longer ours."""
        pairs = [(report.run.id, report.run.token) for report in reports]
        delay_ms = -1 if delay is None else round(delay * 1000)
        self._until_answered(Release(self._session, delay_ms, pairs))
        for report in reports:
            self._running.end(report.run)
        self._account.note("released", len(reports))

    def _until_answered(self, command: Command[A]) -> A:
        """Sends a command until it is answered, or refused for a reason that sending it again doesn't change, or nobody
        waits any more. Each of these commands says in its script what makes a repeat harmless."""
        wait = 0.05
        while True:
            try:
                return self._wire.run(self._keys, command)
            except StoreError as error:
                if error.failure is CallFailure.PERMANENT:
                    log.error("session %s: an outcome was refused; trying again in a while: %s", self._session, error)
                    raise _Refused from error
                log.debug("session %s: an outcome is untold yet: %s", self._session, error)
            if self._give_up.wait(wait):
                raise _Refused
            wait = min(wait * 2, 2.0)
