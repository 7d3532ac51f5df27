"""Names, checked before anything is sent: they become parts of keys, of labels and of lines that people read."""

from __future__ import annotations

import re
import secrets

from .errors import InvalidName

_QUEUE = re.compile(r"[A-Za-z0-9.\-][A-Za-z0-9_.\-]{0,63}")
_IDENTITY = re.compile(r"[A-Za-z0-9\-][A-Za-z0-9_\-]{0,39}")
_TASK = re.compile(r"[A-Za-z0-9.:@/\-][A-Za-z0-9_.:@/\-]{0,63}")


def _check(what: str, value: object, pattern: re.Pattern[str], rule: str) -> str:
    if isinstance(value, str) and pattern.fullmatch(value):
        return value
    # A hostile name must not flood a terminal or a log.
    raise InvalidName(f"{what} {repr(value)[:80]} is not a valid name: {rule}")


def queue_name(value: object) -> str:
    """Returns the name of a queue, or raises InvalidName."""
    return _check("queue", value, _QUEUE, "1 to 64 of a-z A-Z 0-9 _ . -, and no _ at the start")


def type_name(value: object) -> str:
    """Returns the type of a task, or raises InvalidName."""
    return _check("task type", value, _QUEUE, "1 to 64 of a-z A-Z 0-9 _ . -, and no _ at the start")


def identity_name(value: object) -> str:
    """Returns the identity of an agent, or raises InvalidName."""
    return _check("identity", value, _IDENTITY, "1 to 40 of a-z A-Z 0-9 _ -, and no _ at the start")


def task_id(value: object) -> str:
    """Returns the id of a task, or raises InvalidName."""
    return _check("task id", value, _TASK, "1 to 64 of a-z A-Z 0-9 _ . : @ / -, and no _ at the start")


def fresh_task_id() -> str:
    """128 random bits as 32 hex digits."""
    return secrets.token_hex(16)


def fresh_nonce() -> str:
    """64 random bits as 16 lower-case hex digits."""
    return secrets.token_hex(8)


def identity_of(session: str) -> str:
    """The identity under which a session acts."""
    return session.partition(".")[0]
