"""A session's life: register, beat, leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, cast

from .command import Arg, Pairs, Shape


@dataclass(frozen=True)
class Rhythm:
    """How a session is to live, as it was told. Times are seconds."""

    next: float
    """When to beat next."""
    stop_after: float | None
    """How long without an answer the work goes on; None: whatever happens."""
    lost_after: float
    """How long without a beat others may get the work."""

    @property
    def time_to_stop(self) -> float:
        """What is left to a run that is told to stop for want of answers, before others may begin it. A fifth is kept for
        what a machine that swaps or a clock that drifts takes."""
        stop = self.lost_after if self.stop_after is None else self.stop_after
        return max(0.0, self.lost_after - stop) * 0.8


def _rhythm(shape: Shape, every: object, stop: object, lost: object) -> Rhythm:
    stop_ms = shape.number(stop)
    return Rhythm(
        max(0, shape.number(every)) / 1000,
        None if stop_ms < 0 else stop_ms / 1000,
        max(0, shape.number(lost)) / 1000,
    )


@dataclass(frozen=True)
class HeldTask:
    """A task that a former session of the identity holds."""

    session: str
    id: str
    token: str
    type: str
    checkpoint: bytes
    external: str | None


@dataclass(frozen=True)
class Registered:
    """A session that has begun."""

    session: str
    rhythm: Rhythm
    held: list[HeldTask]


@dataclass(frozen=True)
class Register:
    """A new session for an identity (`pool_size` 0), or for a free one of a pool."""

    script: ClassVar[str] = "register"
    nonce: str
    name: str
    pool_size: int
    lost: str
    host: str
    pid: int
    version: str

    def args(self) -> list[Arg]:
        return [self.nonce, self.name, self.pool_size, self.lost, self.host, self.pid, self.version]

    def read(self, reply: object) -> Registered | Literal["superseded", "pool_full"]:
        shape = Shape(self.script, reply)
        items = shape.items(reply)
        word = shape.word(items[0] if items else None, ("registered", "superseded", "pool_full"))
        if word != "registered":
            shape.items(reply, 1)
            return cast("Literal['superseded', 'pool_full']", word)
        _, session, every, stop, lost, held = shape.items(reply, 6)
        tasks = [
            HeldTask(
                shape.text(old),
                shape.text(id),
                shape.text(token),
                shape.label(kind),
                shape.blob(checkpoint),
                shape.label(handle) or None,
            )
            for old, id, token, kind, checkpoint, handle in shape.rows(held, 6)
        ]
        return Registered(shape.text(session), _rhythm(shape, every, stop, lost), tasks)


StopWhy: TypeAlias = 'Literal["gone", "revoked", "cancelled"]'
Drain: TypeAlias = 'Literal["wait", "release"]'


@dataclass(frozen=True)
class BeatAnswer:
    """What a beat is answered."""

    word: Literal["go_on", "drain", "superseded", "lost"]
    rhythm: Rhythm
    drain: Drain | None
    stop: list[tuple[str, str, StopWhy]]
    """Id, token and reason of each listed pair that must stop."""
    unlisted: Pairs
    """Id and token of each task that is held and wasn't listed."""


@dataclass(frozen=True)
class Beat:
    """One heartbeat: at most 256 pairs, each with its mark (nothing, `+`, or `c` and a checkpoint)."""

    script: ClassVar[str] = "beat"
    session: str
    number: int
    pairs: list[tuple[str, str, bytes]]

    def args(self) -> list[Arg]:
        out: list[Arg] = [self.session, self.number]
        for pair in self.pairs:
            out += pair
        return out

    def read(self, reply: object) -> BeatAnswer:
        shape = Shape(self.script, reply)
        word, every, stop_at, lost_at, mode, stop, unlisted = shape.items(reply, 7)
        drain = shape.word(mode, ("", "wait", "release"))
        return BeatAnswer(
            cast(
                "Literal['go_on', 'drain', 'superseded', 'lost']",
                shape.word(word, ("go_on", "drain", "superseded", "lost")),
            ),
            _rhythm(shape, every, stop_at, lost_at),
            cast("Drain", drain) if drain else None,
            [
                (shape.text(id), shape.text(token), cast("StopWhy", shape.word(why, ("gone", "revoked", "cancelled"))))
                for id, token, why in shape.rows(stop, 3)
            ],
            shape.pairs(unlisted),
        )


class Left:
    """The session has ended."""


@dataclass(frozen=True)
class Leave:
    """Ends a session that holds nothing; answers the pairs to give back if it does."""

    script: ClassVar[str] = "leave"
    session: str

    def args(self) -> list[Arg]:
        return [self.session]

    def read(self, reply: object) -> Left | Pairs:
        shape = Shape(self.script, reply)
        items = shape.items(reply)
        if shape.word(items[0] if items else None, ("left", "holds")) == "left":
            shape.items(reply, 1)
            return Left()
        return shape.pairs(shape.items(reply, 2)[1])
