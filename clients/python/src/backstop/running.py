"""What an agent runs: the one list that its heart, its coordinator and its reporter share."""

from __future__ import annotations

import threading
import time
from itertools import count
from collections.abc import Iterable

from .protocol import BeatAnswer, Taken
from .stop import StopReason, StopSignal

FENCED_GRACE = 1.0
"""What a run that counts for nothing any more has to end, seconds: another may have begun already."""
ANSWER_MAY_COME = 3600.0
"""How long an answer may come after its pairs were given back, seconds. A process that was stopped reads it late."""

_WHY: dict[str, StopReason] = {"gone": "fenced", "revoked": "revoked", "cancelled": "cancelled"}


class Run:
    """One attempt in this agent's hands."""

    __slots__ = ("id", "mark", "recordings", "saving", "stop", "taken", "told_at", "token", "why")

    def __init__(self, taken: Taken) -> None:
        self.id = taken.id
        self.token = taken.token
        self.taken = taken
        self.stop = StopSignal()
        self.why: StopReason | None = None
        self.told_at: float | None = None
        self.mark = b""
        # Numbers what it records of work elsewhere.
        self.recordings = count(1)
        # A checkpoint is on its way with a beat that isn't answered yet.
        self.saving = False


class Running:
    """The list. A task stands in it from the moment it was taken until its outcome was answered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._saved = threading.Condition(self._lock)
        self._runs: dict[str, Run] = {}
        # Tasks whose adopt awaits an answer.
        self._adopting: frozenset[str] = frozenset()
        # Pairs that are held and that nobody here knows, and when a beat first showed them.
        self._unknown: dict[tuple[str, str], float] = {}
        # Pairs that were given back because their answer was thought lost, and when: should it come after all, they are
        # not this agent's to run.
        self._given_back: dict[tuple[str, str], float] = {}
        self._time_to_stop = 0.0
        self.stops = 0
        """Counts the orders to stop, so that whoever looks after them sees at a glance that there are new ones."""

    def __len__(self) -> int:
        return len(self._runs)

    def begin(self, taken: Taken) -> Run | None:
        """A task begins, and stands on the list; None: it was given back before its answer came, and must not run. One of
        the same id that runs already is an older attempt, and stops."""
        run = Run(taken)
        with self._lock:
            if self._given_back and self._given_back.pop((run.id, run.token), None) is not None:
                return None
            if self._unknown:
                self._unknown = {pair: first for pair, first in self._unknown.items() if pair[0] != run.id}
            older = self._runs.get(run.id)
            self._runs[run.id] = run
            if older is not None:
                self._tell(older)
        if older is not None:
            older.stop.set()
        return run

    def end(self, run: Run) -> None:
        """A run's outcome was answered, or needs no answer."""
        with self._lock:
            if self._runs.get(run.id) is run:
                del self._runs[run.id]

    def why(self, run: Run) -> StopReason | None:
        """Why a run must stop. One that stands here no longer is another's."""
        with self._lock:
            return run.why if self._runs.get(run.id) is run else "fenced"

    def grace(self, run: Run, grace: float) -> float:
        """What a run has to end once it was told to, of the `grace` that it would have otherwise."""
        why = self.why(run)
        if why == "fenced":
            return min(grace, FENCED_GRACE)
        if why == "out_of_touch":
            return min(grace, self._time_to_stop)
        return grace

    def has_to_stop_within(self, seconds: float) -> None:
        """What a run has to end once no beat is answered any more."""
        self._time_to_stop = seconds

    def save(self, run: Run, mark: bytes) -> None:
        """Marks a run for the next beat. A checkpoint that waits for it isn't overwritten by a mere sign of life."""
        with self._lock:
            if not (mark == b"+" and run.mark.startswith(b"c")):
                run.mark = mark

    def fence(self, run: Run) -> None:
        """It is certain that this run's task is another's."""
        with self._lock:
            run.why = "fenced"
            self._tell(run)
        run.stop.set()

    def stop_all(self, why: StopReason) -> None:
        """Stops all that runs."""
        with self._lock:
            runs = list(self._runs.values())
            for run in runs:
                # Who is out of touch has less time than for any other reason but being fenced.
                if run.why is None or (why == "out_of_touch" and run.why != "fenced"):
                    run.why = why
                self._tell(run)
        for run in runs:
            run.stop.set()

    def fence_all(self) -> None:
        """Stops all, and forgets them: what they do counts for nothing any more."""
        with self._lock:
            runs = list(self._runs.values())
            self._runs.clear()
            for run in runs:
                self._tell(run)
            self._saved.notify_all()
        for run in runs:
            run.stop.set()

    def adopting(self, ids: Iterable[str]) -> None:
        """The tasks whose adopt awaits an answer from here on."""
        with self._lock:
            self._adopting = frozenset(ids)

    def listed(self) -> list[tuple[str, str, bytes]]:
        """What a beat lists. Marks are taken, and put back by `unsent` if the beat isn't answered."""
        with self._lock:
            pairs = []
            for run in self._runs.values():
                pairs.append((run.id, run.token, run.mark))
                run.saving = run.mark.startswith(b"c")
                run.mark = b""
            return pairs

    def sent(self, pairs: Iterable[tuple[str, str, bytes]]) -> None:
        """A beat was answered: its checkpoints are saved, as far as their tasks are this agent's still."""
        with self._lock:
            for id, token, mark in pairs:
                run = self._runs.get(id)
                if mark and run is not None and run.token == token:
                    run.saving = False
            self._saved.notify_all()

    def unsent(self, pairs: Iterable[tuple[str, str, bytes]]) -> None:
        """A beat was not answered: its marks go with the next, unless there are newer ones."""
        with self._lock:
            for id, token, mark in pairs:
                run = self._runs.get(id)
                if run is None or run.token != token:
                    continue
                run.saving = False
                if _weight(mark) > _weight(run.mark):
                    run.mark = mark

    def has_unsaved(self, run: Run) -> bool:
        """Whether a checkpoint of this run waits for a beat, or for a beat's answer. No beat carries one of a run that stands
        here no longer."""
        return self._runs.get(run.id) is run and (run.saving or run.mark.startswith(b"c"))

    def wait_saved(self, runs: Iterable[Run], timeout: float) -> None:
        """Waits until beats have carried these runs' checkpoints, so many seconds at most."""
        with self._lock:
            self._saved.wait_for(lambda: not any(self.has_unsaved(run) for run in runs), timeout)

    def heard(
        self, answer: BeatAnswer, sent: float, answer_timeout: float, now: float | None = None
    ) -> list[tuple[str, str]]:
        """Stops what the answer says, and returns what must be given back: pairs that two beats in a row showed as held
        and that nobody here knows, the second of them sent when any answer to a take or adopt had timed out. Once is not
        enough: the answer that brings them may be on its way. `sent` and `now` are of the monotonic clock."""
        now = time.monotonic() if now is None else now
        told = []
        with self._lock:
            for id, token, what in answer.stop:
                run = self._runs.get(id)
                if run is None or run.token != token:
                    continue
                why = _WHY[what]
                # Fenced overrides what was said before: its outcome is of no interest any more.
                if run.why is None or why == "fenced":
                    run.why = why
                self._tell(run)
                told.append(run)
            unknown: dict[tuple[str, str], float] = {}
            give_back = []
            for pair in answer.unlisted:
                run = self._runs.get(pair[0])
                if pair[0] in self._adopting or (run is not None and run.token == pair[1]):
                    continue
                first = self._unknown.get(pair)
                if first is not None and sent - first > answer_timeout:
                    give_back.append(pair)
                else:
                    unknown[pair] = now if first is None else first
            self._unknown = unknown
            if self._given_back:
                self._given_back = {p: at for p, at in self._given_back.items() if now - at < ANSWER_MAY_COME}
            self._given_back.update((pair, now) for pair in give_back)
        for run in told:
            run.stop.set()
        return give_back

    def _tell(self, run: Run) -> None:
        if run.told_at is None:
            run.told_at = time.monotonic()
            self.stops += 1


def _weight(mark: bytes) -> int:
    """A checkpoint says more than a sign of life, and that more than nothing. Of two checkpoints the newer one stands on
    the list already."""
    return 2 if mark.startswith(b"c") else len(mark)
