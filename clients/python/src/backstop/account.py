"""What became of an agent's tasks, as it was answered."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

log = logging.getLogger("backstop")

OnAnswer = Callable[[str, str, str], object]
"""Hears each answer to a completion: id, token, the word that Redis answered."""


@dataclass
class Account:
    """Counts of answers. A task counts where its last answer put it."""

    taken: int = 0
    """Tasks that were taken."""
    adopted: int = 0
    """Tasks that were adopted from a predecessor."""
    completed: int = 0
    """Completions that count; repeats of one are not counted again."""
    withdrawn: int = 0
    """Completions that count though the task had been given up meanwhile."""
    refused: int = 0
    """Completions and failures that were refused: another attempt has the task, or nothing is known of it any more."""
    retried: int = 0
    """Failures that will be tried again."""
    dead: int = 0
    """Tasks that became dead letters in this agent's hands."""
    released: int = 0
    """Tasks that were given back."""
    fenced: int = 0
    """Tasks that were stopped because this agent no longer held them."""


class SharedAccount:
    """An account that several threads write."""

    def __init__(self, on_answer: OnAnswer | None = None) -> None:
        self._lock = threading.Lock()
        self._account = Account()
        self._on_answer = on_answer

    def note(self, what: str, by: int = 1) -> None:
        """Adds to one of the counts."""
        with self._lock:
            setattr(self._account, what, getattr(self._account, what) + by)

    def answered(self, id: str, token: str, word: str) -> None:
        """Tells whoever keeps books of their own. The other answers must be told whatever becomes of a listener."""
        if self._on_answer is None:
            return
        try:
            self._on_answer(id, token, word)
        except Exception:
            log.exception("task %s: the listener to answers failed on %s", id, word)

    def get(self) -> Account:
        """The counts of this moment."""
        with self._lock:
            return replace(self._account)
