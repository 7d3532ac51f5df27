"""Patterns and variables: how a case says what it expects."""

import re

VARIABLE = re.compile(r"\{([A-Z][A-Z0-9_]*)\}")


def fill(value, variables):
    """A value of a case with its variables put in. `$NAME` alone keeps the type, `{NAME}` stands within a text."""
    if isinstance(value, str):
        if re.fullmatch(r"\$[A-Z][A-Z0-9_]*", value):
            return variables[value[1:]]
        return VARIABLE.sub(lambda found: str(variables[found[1]]), value)
    if isinstance(value, list):
        return [fill(item, variables) for item in value]
    if isinstance(value, dict):
        if set(value) == {"$repeat"}:
            text, times = value["$repeat"]
            return fill(text, variables) * times
        return {fill(key, variables): fill(item, variables) for key, item in value.items()}
    return value


def argument(value):
    """An argument of a command: `{"$hex": …}` are bytes."""
    return bytes.fromhex(value["$hex"]) if isinstance(value, dict) else value


def readable(reply):
    """A reply of Redis as patterns see it: text where it is text."""
    if isinstance(reply, bytes):
        return reply.decode("utf-8", "surrogateescape")
    if isinstance(reply, (list, tuple)):
        return [readable(item) for item in reply]
    return reply


def fits(pattern, value):
    """Whether a value is what a pattern asks for. A pattern of fields looks at those alone."""
    if isinstance(pattern, dict):
        if len(pattern) == 1 and next(iter(pattern)).startswith("$"):
            ((operator, wanted),) = pattern.items()
            return OPERATORS[operator](wanted, value)
        return isinstance(value, dict) and all(key in value and fits(item, value[key]) for key, item in pattern.items())
    if isinstance(pattern, list):
        same = isinstance(value, list) and len(value) == len(pattern)
        return same and all(fits(one, other) for one, other in zip(pattern, value))
    if isinstance(pattern, bool) or isinstance(value, bool):
        return pattern is value
    return type(pattern) is type(value) and pattern == value


def number(value):
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def compared(compare):
    def both(wanted, value):
        one, other = number(value), number(wanted)
        return one is not None and other is not None and compare(one, other)

    return both


def as_hex(value):
    return value.encode("utf-8", "surrogateescape").hex() if isinstance(value, str) else None


OPERATORS = {
    "$any": lambda wanted, value: any(fits(one, value) for one in wanted),
    "$not": lambda wanted, value: not fits(wanted, value),
    "$hex": lambda wanted, value: as_hex(value) == wanted,
    "$contains": lambda wanted, value: (
        any(fits(wanted, one) for one in value)
        if isinstance(value, list)
        else isinstance(value, str) and wanted in value
    ),
    "$matches": lambda wanted, value: isinstance(value, str) and re.search(wanted, value) is not None,
    "$at_least": compared(lambda one, other: one >= other),
    "$at_most": compared(lambda one, other: one <= other),
    "$number": compared(lambda one, other: one == other),
}
