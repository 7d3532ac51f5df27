"""The Lua scripts: where they lie, and how one is put together."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

NAMES = ("enqueue", "register", "take", "beat", "complete", "fail", "release", "adopt", "leave", "external")
"""The scripts that an agent or a client sends."""

_INCLUDE = "--! include "


@dataclass(frozen=True)
class Script:
    """A script, ready to be run by its hash."""

    name: str
    source: bytes
    sha: bytes


def directory() -> Path:
    """Where the scripts lie: in the package, or, in a plain checkout, where the repository keeps them.

    Raises FileNotFoundError if they are in neither place.
    """
    here = Path(__file__).resolve().parent
    packaged = here / "lua"
    if packaged.is_dir():
        return packaged
    # clients/python/src/backstop
    for parent in here.parents[3:4]:
        checkout = parent / "src" / "native" / "scripts"
        if checkout.is_dir():
            return checkout
    raise FileNotFoundError(f"the Lua scripts are not in {packaged}: install the package, or use a whole checkout")


def assemble(text: str, parts: dict[str, str]) -> str:
    """Puts the shared parts that a script names in place of its line `--! include a b`."""
    out: list[str] = []
    for line in _lines(text):
        if line.startswith(_INCLUDE):
            out.extend(f"{parts[part]}\n" for part in line[len(_INCLUDE) :].split())
        else:
            out.append(f"{line}\n")
    return "".join(out)


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


@functools.cache
def script(name: str) -> Script:
    """The script of this name, read once."""
    place = directory()
    parts = {path.stem: path.read_bytes().decode() for path in sorted((place / "lib").glob("*.lua"))}
    source = assemble((place / f"{name}.lua").read_bytes().decode(), parts).encode()
    return Script(name, source, hashlib.sha1(source, usedforsecurity=False).hexdigest().encode())
