"""What tests share: a queue as Redis holds it, agents in processes of their own, and waiting for a condition."""

from __future__ import annotations

import json
import os
import queue as queues
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import redis

from backstop.protocol import Taken

HERE = Path(__file__).resolve().parent
LIMIT = 20.0
"""How long any condition is waited for, seconds."""

T = TypeVar("T")


def wait_for(condition: Callable[[], T], what: str) -> T:
    """Waits until a condition holds."""
    until = time.monotonic() + LIMIT
    while not (value := condition()):
        assert time.monotonic() < until, f"not within {LIMIT} s: {what}"
        time.sleep(0.01)
    return value


def taken(id: str = "t", token: str = "1-1-0123456789abcdef") -> Taken:
    """A task as an agent gets it."""
    return Taken(id, token, "default", 1, b"", 0, None, 0, 0, b"", None)


class Queue:
    """A queue as Redis holds it."""

    def __init__(self, url: str, name: str, client: redis.Redis) -> None:
        self.url = url
        self.name = name
        self.redis = client

    def key(self, name: str) -> str:
        """One of its keys."""
        return f"backstop:{{{self.name}}}:{name}"

    def ask(self, command: str, key: str, *args: object) -> Any:
        """Runs a command on one of its keys."""
        return self.redis.execute_command(command, self.key(key), *args)  # type: ignore[no-untyped-call,unused-ignore]

    def policy(self, **settings: object) -> None:
        """Publishes limits, as a daemon would."""
        for name, value in settings.items():
            self.ask("HSET", "policy", name, value)

    def task(self, id: str, *fields: str) -> list[bytes | None]:
        """Fields of a task's record."""
        values: list[bytes | None] = self.ask("HMGET", f"task:{id}", *fields)
        return values

    def stub(self, id: str) -> bytes:
        """What remembers that a task was done; empty if it wasn't."""
        return self.ask("GET", f"done:{id}") or b""

    def session(self, identity: str) -> str:
        """The current session of an identity; empty if there is none."""
        return (self.ask("HGET", f"agent:{identity}", "session") or b"").decode()

    def state(self, identity: str) -> bytes | None:
        """The state of an identity."""
        state: bytes | None = self.ask("HGET", f"agent:{identity}", "state")
        return state

    def pending(self) -> list[bytes]:
        """What waits, in order."""
        ids: list[bytes] = self.ask("ZRANGE", "pending", 0, -1)
        return ids


class Driver:
    """An agent in a process of its own, whose handlers do what they are told."""

    def __init__(self, kind: str) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE.parent / "conformance_driver.py"), *(["--asyncio"] if kind == "asyncio" else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self._events: queues.SimpleQueue[dict[str, Any]] = queues.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        self.expect("ready")

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def tell(self, do: str, **fields: object) -> None:
        """Sends one line."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **fields}) + "\n")
        self.process.stdin.flush()

    def start(self, queue: Queue, **options: object) -> None:
        """Begins the agent, as w-1 unless the options say otherwise."""
        self.tell("start", **{"redis": queue.url, "queue": queue.name, "as": "w-1", **options})

    def expect_any(self) -> dict[str, Any]:
        """The next event."""
        try:
            return self._events.get(timeout=LIMIT)
        except queues.Empty:
            raise AssertionError(f"no event within {LIMIT} s") from None

    def expect(self, event: str) -> dict[str, Any]:
        """The next event, which must be this one."""
        found = self.expect_any()
        assert found["event"] == event, f"expected {event}: {found}"
        return found

    def silent(self) -> bool:
        """Whether nothing was said since."""
        return self._events.empty()

    def terminate(self) -> None:
        """Asks it to stop, as a supervisor does."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it without a word."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._events.put(json.loads(line))
