"""Measures no-op tasks a second: enqueues them in a private Redis, and runs one agent on them.

python bench.py [tasks] [concurrency]
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import backstop
import backstop.aio


def main() -> None:
    """Prints tasks a second for threads and for asyncio."""
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    concurrency = int(sys.argv[2]) if len(sys.argv) > 2 else 64
    server = os.environ.get("BACKSTOP_REDIS_SERVER") or shutil.which("redis-server")
    if server is None:
        raise SystemExit("there is no redis-server: install one, or name it in BACKSTOP_REDIS_SERVER")
    with tempfile.TemporaryDirectory() as directory:
        socket = Path(directory) / "redis.sock"
        with subprocess.Popen(
            [server, "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", directory],
            stdout=subprocess.DEVNULL,
        ) as process:
            try:
                while not socket.exists():
                    time.sleep(0.01)
                measure(f"unix://{socket}", tasks, concurrency)
            finally:
                process.terminate()


def measure(url: str, tasks: int, concurrency: int) -> None:
    """Both kinds of agent, one after the other."""
    for kind in ("threads", "asyncio"):
        queue = f"bench-{kind}"
        began = time.perf_counter()
        backstop.Client(url, queue=queue).enqueue_many(backstop.NewTask(b"x") for _ in range(tasks))
        enqueued = time.perf_counter()
        account = run(kind, url, queue, tasks, concurrency)
        ended = time.perf_counter()
        if account.completed != tasks:
            raise SystemExit(f"{account.completed} of {tasks} completed: {account}")
        print(
            f"{kind:8} {tasks / (ended - enqueued):8.0f} tasks/s at concurrency {concurrency}; "
            f"enqueued {tasks / (enqueued - began):.0f}/s"
        )


def run(kind: str, url: str, queue: str, tasks: int, concurrency: int) -> backstop.Account:
    """One agent, until it has run all."""
    if kind == "threads":
        agent = backstop.Agent(url, queue=queue, identity="bench", concurrency=concurrency, count=tasks)
        return agent.run(lambda task: None)

    async def nothing(task: backstop.aio.Task) -> None:
        pass

    async def live() -> backstop.Account:
        agent = backstop.aio.Agent(url, queue=queue, identity="bench", concurrency=concurrency, count=tasks)
        return await agent.run(nothing)

    return asyncio.run(live())


if __name__ == "__main__":
    main()
