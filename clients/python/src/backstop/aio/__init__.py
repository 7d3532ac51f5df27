"""The same for asyncio: handlers are coroutines of the loop in which `Agent.run` is awaited."""

from __future__ import annotations

from .agent import Agent
from .client import Client
from .task import AsyncStopSignal, Task

__all__ = ["Agent", "AsyncStopSignal", "Client", "Task"]
