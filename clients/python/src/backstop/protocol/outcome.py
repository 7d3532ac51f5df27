"""What becomes of a task in an agent's hands: complete, fail, release; and where else it is worked on: external."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, cast

from .command import Arg, Pairs, Shape, flat


@dataclass(frozen=True)
class Complete:
    """Completes tasks; answers a word for each: completed, already, withdrawn, late, gone."""

    script: ClassVar[str] = "complete"
    pairs: Pairs

    def args(self) -> list[Arg]:
        return flat(self.pairs)

    def read(self, reply: object) -> list[str]:
        shape = Shape(self.script, reply)
        return shape.words(reply, ("completed", "already", "withdrawn", "late", "gone"), len(self.pairs))


Failed: TypeAlias = 'Literal["retried", "dead", "discarded", "late", "gone"]'


@dataclass(frozen=True)
class Fail:
    """Records a failure; `error` has at most 1 KiB, `jitter` is 0 to 1000, `final` means no retry."""

    script: ClassVar[str] = "fail"
    id: str
    token: str
    error: bytes
    jitter: int
    final: bool

    def args(self) -> list[Arg]:
        return [self.id, self.token, self.error, self.jitter, int(self.final)]

    def read(self, reply: object) -> Failed:
        shape = Shape(self.script, reply)
        items = shape.items(reply)
        word = shape.word(items[0] if items else None, ("retried", "dead", "discarded", "late", "gone"))
        if word == "retried":
            shape.number(shape.items(reply, 2)[1])
        else:
            shape.items(reply, 1)
        return cast("Failed", word)


@dataclass(frozen=True)
class Release:
    """Gives tasks back, after `delay_ms` (-1: as the policy says); a word for each."""

    script: ClassVar[str] = "release"
    session: str
    delay_ms: int
    pairs: Pairs

    def args(self) -> list[Arg]:
        return [self.session, self.delay_ms, *flat(self.pairs)]

    def read(self, reply: object) -> list[str]:
        shape = Shape(self.script, reply)
        return shape.words(reply, ("released", "reset", "dead", "expired", "discarded", "late"), len(self.pairs))


@dataclass(frozen=True)
class External:
    """Records where else a task is worked on."""

    script: ClassVar[str] = "external"
    id: str
    token: str
    type: str
    handle: bytes
    number: int
    """Counts up from 1 in an attempt, so that a late copy of an earlier one is known as such."""

    def args(self) -> list[Arg]:
        return [self.id, self.token, self.type, self.handle, self.number]

    def read(self, reply: object) -> Literal["recorded", "late", "gone"]:
        word = Shape(self.script, reply).word(reply, ("recorded", "late", "gone"))
        return cast("Literal['recorded', 'late', 'gone']", word)
