"""Agents and a client for Backstop, which brings back the tasks of dead agents in Redis.

Execution is at least once: a task may run again after its agent died, and two attempts may overlap in time. Each task is
*completed* at most once; what a handler changes outside Redis needs the task's token, checked there.
"""

from __future__ import annotations

from .account import Account
from .agent import Agent
from .client import MAX_PAYLOAD, Client, Enqueued, NewTask
from .errors import (
    BackstopError,
    Broken,
    Failure,
    Fatal,
    Fenced,
    GiveBack,
    InvalidName,
    PoolFull,
    Retry,
    SetupError,
    Stopped,
    StoreError,
    Superseded,
    TooLarge,
    UnknownAnswer,
)
from .external import MAX_HANDLE
from .reconnect import Choice, LeftBehind
from .stop import StopReason, StopSignal
from .task import MAX_CHECKPOINT, Task
from .version import VERSION as __version__

__all__ = [
    "MAX_CHECKPOINT",
    "MAX_HANDLE",
    "MAX_PAYLOAD",
    "Account",
    "Agent",
    "BackstopError",
    "Broken",
    "Choice",
    "Client",
    "Enqueued",
    "Failure",
    "Fatal",
    "Fenced",
    "GiveBack",
    "InvalidName",
    "LeftBehind",
    "NewTask",
    "PoolFull",
    "Retry",
    "SetupError",
    "StopReason",
    "StopSignal",
    "Stopped",
    "StoreError",
    "Superseded",
    "Task",
    "TooLarge",
    "UnknownAnswer",
    "__version__",
]
