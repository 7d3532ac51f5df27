"""What can go wrong, told by what the caller may conclude."""

from __future__ import annotations

import enum


class BackstopError(Exception):
    """Any error of this package."""


class InvalidName(BackstopError, ValueError):
    """A name that the protocol doesn't allow. Nothing was sent."""


class SetupError(BackstopError, ValueError):
    """Something is missing, or out of bounds. Nothing was sent."""


class TooLarge(BackstopError, ValueError):
    """A payload, a checkpoint or a handle that is too large (or a handle that is empty). Nothing was sent."""


class Superseded(BackstopError):
    """A younger process acts under this identity. To go on would only throw that one out in turn."""

    def __init__(self) -> None:
        super().__init__("a younger process acts under this identity: this one ends")


class PoolFull(BackstopError):
    """Each identity of the pool is in use by a process that may be alive."""

    def __init__(self) -> None:
        super().__init__(
            "each identity of the pool is in use by a process that may be alive: enlarge the pool, or wait"
        )


class Stopped(BackstopError):
    """The agent was asked to stop before it had begun."""

    def __init__(self) -> None:
        super().__init__("stopped before it had begun")


class Broken(BackstopError):
    """A part of the agent ended before its time; the log says which, and why."""


class Fenced(BackstopError):
    """This attempt no longer holds its task: stop. Whoever takes the task next has the handle that was to be recorded, or
    it is remembered as unwanted; there is nothing to cancel."""


class Failure(enum.Enum):
    """What may be concluded from a call that got no usable answer."""

    TRANSIENT = "transient"
    """It didn't run, and may when it is tried again later."""
    PERMANENT = "permanent"
    """It didn't run, and won't until a person changes something."""
    UNKNOWN = "unknown"
    """Nobody knows whether it ran: the answer was lost, or came too late."""


class StoreError(BackstopError):
    """A call that got no usable answer from Redis."""

    def __init__(self, failure: Failure, doing: str, advice: str) -> None:
        super().__init__(f"could not {doing}: {advice}")
        self.failure = failure
        """What may be concluded."""


class UnknownAnswer(StoreError):
    """An answer of a shape or with a word that this version doesn't know."""

    def __init__(self, script: str, reply: object) -> None:
        super().__init__(
            Failure.PERMANENT,
            f"read the answer of the script {script!r}",
            f"{repr(reply)[:200]} is none that this version knows; are all programs of one version?",
        )


class Retry(BackstopError):
    """Raised by a handler: it failed, and is tried again after a backoff, as long as the policy allows. So is a task whose
    handler raises anything else; of this error the text is kept as it is, without the error's name."""


class Fatal(BackstopError):
    """Raised by a handler: it failed, and trying again would be in vain. The task becomes a dead letter."""


class GiveBack(BackstopError):
    """Raised by a handler: it gives its task back unfinished; nothing is charged."""

    def __init__(self, delay: float | None = None) -> None:
        """The task waits for `delay` seconds, or for the `release_delay` of its type if that is None."""
        super().__init__("given back")
        if delay is not None and not 0 <= delay <= 10 * 365 * 86400:
            raise SetupError("a delay is 0 seconds to ten years")
        self.delay = delay
