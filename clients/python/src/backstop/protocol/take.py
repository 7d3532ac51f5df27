"""How tasks come to a session: take and adopt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, cast

from ..errors import UnknownAnswer
from .command import Arg, Pairs, Shape, flat

MOST = 50
"""The most tasks a call."""
MOST_BYTES = 1024 * 1024
"""The most bytes of payloads a call, and of one payload."""


@dataclass(slots=True)
class Taken:
    """A task as its holder gets it."""

    id: str
    token: str
    type: str
    attempt: int
    payload: bytes
    enqueued_at_ms: int
    deadline_ms: int | None
    abandonments: int
    failures: int
    checkpoint: bytes
    external: str | None


@dataclass(frozen=True)
class Undecodable:
    """A task whose record can't be read: it is failed, not given back, or it would come round for ever."""

    id: str
    token: str


def _row(shape: Shape, row: object) -> Taken | Undecodable:
    (
        id, token, kind, attempt, payload, enqueued, deadline, abandonments, failures, checkpoint, handle,
    ) = shape.items(row, 11)  # fmt: skip
    name, holds = shape.text(id), shape.text(token)
    try:
        return Taken(
            name,
            holds,
            shape.label(kind),
            shape.number(attempt),
            shape.blob(payload),
            shape.maybe_number(enqueued) or 0,
            shape.maybe_number(deadline),
            shape.maybe_number(abandonments) or 0,
            shape.maybe_number(failures) or 0,
            shape.blob(checkpoint),
            shape.label(handle) or None,
        )
    except UnknownAnswer:
        return Undecodable(name, holds)


@dataclass(frozen=True)
class Took:
    """These; possibly none, when what was found had expired."""

    tasks: list[Taken | Undecodable]


@dataclass(frozen=True)
class Idle:
    """Nothing is ready; seconds until the next delayed task, if there is one."""

    next: float | None


NoTake: TypeAlias = 'Literal["paused", "draining", "superseded", "lost"]'


@dataclass(frozen=True)
class Take:
    """Takes up to `most` tasks. The nonce is fresh for each call: it makes the tokens."""

    script: ClassVar[str] = "take"
    session: str
    nonce: str
    most: int

    def args(self) -> list[Arg]:
        return [self.session, self.nonce, self.most, MOST_BYTES]

    def read(self, reply: object) -> Took | Idle | NoTake:
        shape = Shape(self.script, reply)
        items = shape.items(reply)
        word = shape.word(items[0] if items else None, ("took", "empty", "paused", "draining", "superseded", "lost"))
        if word == "took":
            return Took([_row(shape, row) for row in shape.items(shape.items(reply, 2)[1])])
        if word == "empty":
            wait = shape.number(shape.items(reply, 2)[1])
            return Idle(None if wait < 0 else wait / 1000)
        shape.items(reply, 1)
        return cast("NoTake", word)


@dataclass(frozen=True)
class Adopt:
    """Goes on with a predecessor's tasks under new tokens, made of the nonce."""

    script: ClassVar[str] = "adopt"
    session: str
    nonce: str
    pairs: Pairs

    def args(self) -> list[Arg]:
        return [self.session, self.nonce, *flat(self.pairs)]

    def read(self, reply: object) -> list[Taken | Undecodable | str]:
        """For each: the task, or the word that says why it isn't adopted."""
        shape = Shape(self.script, reply)
        answers: list[Taken | Undecodable | str] = []
        for answer in shape.items(reply, len(self.pairs)):
            items = shape.items(answer)
            word = shape.word(
                items[0] if items else None,
                ("adopted", "dead", "expired", "discarded", "not_yours", "full", "lost"),
            )
            answers.append(_row(shape, shape.items(answer, 2)[1]) if word == "adopted" else word)
        return answers
