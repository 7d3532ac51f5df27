"""What an agent that comes back does with what former sessions of its name hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Choice: TypeAlias = 'Literal["resume", "reset", "fail"]'
"""resume: it goes on here, with the checkpoint and the handle that were left, as far as the concurrency allows; those
beyond are reset. reset: it waits again, for any agent. fail: it becomes a dead letter."""


@dataclass(frozen=True)
class LeftBehind:
    """A task that a former session of the identity holds."""

    id: str
    type: str
    session: str
    """Who holds it."""
    token: str
    """What its attempt holds it by: whatever was changed outside Redis may name it."""
    checkpoint: bytes | None
    """What its attempt left behind."""
    external: str | None
    """Where else its attempt had it worked on."""


OnReconnect: TypeAlias = "Choice | Callable[[LeftBehind], Choice]"
AsyncOnReconnect: TypeAlias = "Choice | Callable[[LeftBehind], Choice | Awaitable[Choice]]"
