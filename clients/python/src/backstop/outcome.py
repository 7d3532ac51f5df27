"""How a handler's run ended, and what is to be told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .errors import Fatal, GiveBack, Retry
from .running import Run

MAX_ERROR = 1024
"""Bytes of an error's text that are kept."""


class Done:
    """It returned."""


@dataclass(slots=True)
class Failure:
    """It raised."""

    error: str
    final: bool


@dataclass(slots=True)
class GaveBack:
    """It gives its task back; after so many seconds, or as the policy says."""

    delay: float | None


Outcome: TypeAlias = "Done | Failure | GaveBack"

DONE = Done()


@dataclass(slots=True)
class Ended:
    """A handler ended. No outcome: it was stopped where it waited."""

    run: Run
    outcome: Outcome | None


@dataclass(slots=True)
class Report:
    """A run and its outcome, to be told to Redis."""

    run: Run
    outcome: Outcome


def of_error(error: BaseException) -> Outcome:
    """The outcome of a handler that raised."""
    if isinstance(error, GiveBack):
        return GaveBack(error.delay)
    try:
        text = str(error)
    except Exception:
        text = "its text can't be made"
    if isinstance(error, (Fatal, Retry)):
        return Failure(text, final=isinstance(error, Fatal))
    return Failure(f"{type(error).__name__}: {text}" if text else type(error).__name__, final=False)


def cut(text: str) -> bytes:
    """An error's text as it is kept."""
    encoded = text.encode(errors="replace")[:MAX_ERROR]
    return encoded.decode(errors="ignore").encode()
