"""How an agent is set up; all of it is checked before anything is sent."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .errors import InvalidName, SetupError
from .names import identity_name, queue_name
from .reconnect import OnReconnect

MOST_HELD = 256
"""Tasks that one session may hold."""
MOST_IDENTITIES = 500
"""Names of one pool."""
IDENTITY_VARIABLE = "BACKSTOP_IDENTITY"
"""Names the agent if the program doesn't."""

# Sums with it stay far from what a wait can bear.
_LONGEST = 365 * 86400.0

OnPoolFull: TypeAlias = 'Literal["end", "wait"]'


@dataclass(frozen=True)
class Settings:
    """What an agent goes by. Times are seconds."""

    queue: str
    name: str
    """The identity, or the prefix of a pool."""
    pool_size: int
    """0: no pool."""
    concurrency: int
    count: int | None
    drain_timeout: float
    stop_grace: float
    on_reconnect: OnReconnect
    on_pool_full: OnPoolFull


def settings(
    *,
    queue: str,
    identity: str | None,
    pool: tuple[str, int] | None,
    concurrency: int,
    count: int | None,
    drain_timeout: float,
    stop_grace: float,
    on_reconnect: OnReconnect,
    on_pool_full: OnPoolFull,
) -> Settings:
    """Checks the options. Raises InvalidName or SetupError."""
    name, size = _wanted(identity, pool)
    if not _whole(concurrency) or not 1 <= concurrency <= MOST_HELD:
        raise SetupError(f"the concurrency is 1 to {MOST_HELD}; beyond that start another agent")
    if count is not None and (not _whole(count) or count < 0):
        raise SetupError("the count of tasks is 0 or more")
    if not callable(on_reconnect) and on_reconnect not in ("resume", "reset", "fail"):
        raise SetupError("on_reconnect is 'resume', 'reset', 'fail' or a function")
    if on_pool_full not in ("end", "wait"):
        raise SetupError("on_pool_full is 'end' or 'wait'")
    return Settings(
        queue_name(queue),
        name,
        size,
        concurrency,
        count,
        _seconds("drain_timeout", drain_timeout),
        _seconds("stop_grace", stop_grace),
        on_reconnect,
        on_pool_full,
    )


def _wanted(identity: str | None, pool: tuple[str, int] | None) -> tuple[str, int]:
    if identity is not None and pool is not None:
        raise SetupError("name an identity or a pool, not both")
    if pool is not None:
        prefix, size = pool
        if not _whole(size) or not 1 <= size <= MOST_IDENTITIES:
            raise SetupError(f"a pool has 1 to {MOST_IDENTITIES} identities")
        identity_name(prefix)
        try:
            identity_name(f"{prefix}-{size - 1}")
        except InvalidName:
            raise SetupError("the pool's names would be too long: shorten the prefix") from None
        return prefix, size
    if identity is None:
        identity = os.environ.get(IDENTITY_VARIABLE) or None
        if identity is None:
            raise SetupError(f"name the identity, or a pool of them, or set {IDENTITY_VARIABLE}")
    return identity_name(identity), 0


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _seconds(what: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value) or value < 0:
        raise SetupError(f"{what} is 0 seconds or more")
    return min(float(value), _LONGEST)
