"""What every command has, and how answers are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol, TypeAlias, TypeVar

from ..errors import UnknownAnswer

Arg: TypeAlias = "bytes | str | int"
Pairs: TypeAlias = "list[tuple[str, str]]"
"""Ids and tokens."""

A = TypeVar("A", covariant=True)


class Command(Protocol[A]):
    """One call of one script: what goes in, and what may come out."""

    script: ClassVar[str]

    def args(self) -> list[Arg]:
        """The arguments after the format, in the order of the script's header."""
        ...

    def read(self, reply: object) -> A:
        """Reads the answer; UnknownAnswer if it isn't one of the closed set."""
        ...


class Shape:
    """Reads the replies of one script."""

    def __init__(self, script: str, whole: object) -> None:
        self._script = script
        self._whole = whole

    def unknown(self) -> UnknownAnswer:
        """The error for a reply that is none of the closed set."""
        return UnknownAnswer(self._script, self._whole)

    def items(self, value: object, count: int | None = None) -> list[object]:
        """A list, of so many items."""
        if not isinstance(value, list) or (count is not None and len(value) != count):
            raise self.unknown()
        return value

    def rows(self, value: object, width: int) -> list[list[object]]:
        """A flat list, cut into rows."""
        items = self.items(value)
        if len(items) % width:
            raise self.unknown()
        return [items[at : at + width] for at in range(0, len(items), width)]

    def blob(self, value: object) -> bytes:
        """Bytes."""
        if not isinstance(value, bytes):
            raise self.unknown()
        return value

    def text(self, value: object) -> str:
        """Text."""
        try:
            return self.blob(value).decode()
        except UnicodeDecodeError:
            raise self.unknown() from None

    def label(self, value: object) -> str:
        """Text that others may have written: odd bytes in it must not cost the task its turn."""
        return self.blob(value).decode(errors="replace")

    def number(self, value: object) -> int:
        """A whole number, as Redis' integer or as text."""
        try:
            return value if isinstance(value, int) else int(self.text(value))
        except ValueError:
            raise self.unknown() from None

    def maybe_number(self, value: object) -> int | None:
        """A whole number; None if there is nothing, or an empty text."""
        return None if value is None or value == b"" else self.number(value)

    def word(self, value: object, allowed: Sequence[str]) -> str:
        """A word of a closed set."""
        word = self.text(value)
        if word not in allowed:
            raise self.unknown()
        return word

    def words(self, value: object, allowed: Sequence[str], count: int) -> list[str]:
        """One word for each thing that was asked about."""
        return [self.word(item, allowed) for item in self.items(value, count)]

    def pairs(self, value: object) -> Pairs:
        """Ids and tokens."""
        return [(self.text(id), self.text(token)) for id, token in self.rows(value, 2)]


def flat(pairs: Pairs) -> list[Arg]:
    """Pairs as arguments."""
    return [part for pair in pairs for part in pair]
