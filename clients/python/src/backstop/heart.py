"""Heartbeats, on a thread and a connection of their own.

A handler that keeps its thread or the event loop busy must not make its agent look dead. So the heart shares nothing with
the handlers but the list of what runs.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .connector import Connector
from .errors import StoreError
from .keys import Keys
from .protocol import Beat, BeatAnswer, Release, Rhythm
from .running import Running
from .wire import Wire

log = logging.getLogger("backstop")

WARN_EVERY = 10.0
"""How often it is said that Redis doesn't answer, seconds."""

Over: TypeAlias = 'Literal["superseded", "lost", "broken"]'


@dataclass(frozen=True)
class Pulse:
    """What the heart has learned."""

    answered: float
    """When the last beat that was answered had been sent, monotonic clock."""
    rhythm: Rhythm
    drain: Literal["wait", "release"] | None = None
    over: Over | None = None
    """Why the session is over."""

    def out_of_touch_at(self) -> float | None:
        """When all work must be stopped, unless a beat is answered before; None: never."""
        return None if self.rhythm.stop_after is None else self.answered + self.rhythm.stop_after


class Heart:
    """A beating heart."""

    def __init__(
        self,
        connector: Connector,
        keys: Keys,
        session: str,
        running: Running,
        rhythm: Rhythm,
        began: float,
        on_pulse: Callable[[], None],
    ) -> None:
        """`began` is not later than what Redis knows as the session's first sign of life, monotonic clock."""
        self.pulse = Pulse(began, rhythm)
        """What it has learned; replaced as a whole. `on_pulse` is called afterwards."""
        self._wire = Wire(connector)
        self._answer_timeout = connector.response_timeout
        self._keys = keys
        self._session = session
        self._running = running
        self._on_pulse = on_pulse
        self._stopped = False
        self._hurry = threading.Event()
        running.has_to_stop_within(rhythm.time_to_stop)

    def start(self) -> None:
        """Starts to beat, at once."""
        threading.Thread(target=self._live, name="backstop-heart", daemon=True).start()

    def stop(self) -> None:
        """Stops it; it ends within one answer's time-out, and nothing is gained by waiting for that."""
        self._stopped = True
        self._hurry.set()

    def beat_now(self) -> None:
        """Beats at once: a checkpoint must not wait, as its task is about to be given up."""
        self._hurry.set()

    def _live(self) -> None:
        try:
            self._beat_on()
        except Exception:
            log.exception("session %s: the heart ended before its time", self._session)
            self._publish(Pulse(self.pulse.answered, self.pulse.rhythm, over="broken"))
        finally:
            self._wire.close()

    def _beat_on(self) -> None:
        number = 0
        warned: float | None = None
        while not self._stopped:
            self._hurry.clear()
            number += 1
            sent = time.monotonic()
            pairs = self._running.listed()
            try:
                answer = self._wire.run(self._keys, Beat(self._session, number, pairs))
            except StoreError as error:
                self._running.unsent(pairs)
                now = time.monotonic()
                if warned is None or now - warned > WARN_EVERY:
                    warned = now
                    silent = now - self.pulse.answered
                    log.warning("session %s: heartbeat unanswered, silent for %.1f s: %s", self._session, silent, error)
                wait = min(self.pulse.rhythm.next / 5, 1.0)
            else:
                warned = None
                self._running.sent(pairs)
                self._take_in(answer, sent)
                if self.pulse.over:
                    return
                wait = jittered(answer.rhythm.next)
            self._hurry.wait(wait)

    def _take_in(self, answer: BeatAnswer, sent: float) -> None:
        self._running.has_to_stop_within(answer.rhythm.time_to_stop)
        unknown = self._running.heard(answer, sent, self._answer_timeout)
        over: Over | None = None
        if answer.word == "superseded" or answer.word == "lost":
            over = answer.word
        self._publish(Pulse(sent, answer.rhythm, answer.drain, over))
        for at in range(0, len(unknown), 50):
            pairs = unknown[at : at + 50]
            log.warning("session %s: giving back %d tasks whose answer was lost", self._session, len(pairs))
            try:
                self._wire.run(self._keys, Release(self._session, 0, pairs))
            except StoreError as error:
                # The next beats show them again.
                log.warning("session %s: could not give them back yet: %s", self._session, error)
                return

    def _publish(self, pulse: Pulse) -> None:
        self.pulse = pulse
        self._on_pulse()


def jittered(interval: float) -> float:
    """Up to a tenth earlier or later, so that a fleet that was started together doesn't beat as one."""
    return interval * random.uniform(0.9, 1.1)
