"""Puts the repository's Lua scripts into what is built, byte for byte: they stand in one place only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# What an agent and a client send; the other scripts of the repository are the sweeper's and a person's.
SCRIPTS = ("enqueue", "register", "take", "beat", "complete", "fail", "release", "adopt", "leave", "external")
PARTS = ("charge", "head", "move", "policy")


class PackScripts(BuildHookInterface):
    """Adds the scripts of a checkout; an unpacked sdist holds them already."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds each script to what is built."""
        root = Path(self.root)
        if version == "editable" or (root / "src/backstop/lua").is_dir():
            return
        source = root.parent.parent / "src/native/scripts"
        target = "src/backstop/lua" if self.target_name == "sdist" else "backstop/lua"
        for name in [*(f"{s}.lua" for s in SCRIPTS), *(f"lib/{p}.lua" for p in PARTS)]:
            if not (source / name).is_file():
                raise FileNotFoundError(f"{name} is not in {source}: build from a checkout of the repository")
            build_data["force_include"][str(source / name)] = f"{target}/{name}"
