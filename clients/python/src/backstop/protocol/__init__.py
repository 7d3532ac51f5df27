"""The protocol: one typed command for each script, and the closed set of its answers. An unknown word is an error."""

from __future__ import annotations

from .agent import Beat, BeatAnswer, HeldTask, Leave, Left, Register, Registered, Rhythm
from .command import Arg, Command
from .enqueue import Enqueue, NewTask
from .outcome import Complete, External, Fail, Failed, Release
from .take import Adopt, Idle, Take, Taken, Took, Undecodable

__all__ = [
    "Adopt", "Arg", "Beat", "BeatAnswer", "Command", "Complete", "Enqueue", "External", "Fail", "Failed", "HeldTask",
    "Idle", "Leave", "Left", "NewTask", "Register", "Registered", "Release", "Rhythm", "Take", "Taken", "Took",
    "Undecodable",
]  # fmt: skip
