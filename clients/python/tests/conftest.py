"""A Redis of the tests' own, and what tests share."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from support import Queue, wait_for


@pytest.fixture(scope="session")
def server() -> Iterator[Path]:
    """The socket of a private Redis. Without a redis-server the tests fail: they would prove nothing."""
    program = os.environ.get("BACKSTOP_REDIS_SERVER") or shutil.which("redis-server")
    if program is None:
        pytest.fail("there is no redis-server: install one, or name it in BACKSTOP_REDIS_SERVER")
    # A socket's path may not be long.
    with tempfile.TemporaryDirectory(prefix="backstop-") as directory:
        socket = Path(directory) / "redis.sock"
        with subprocess.Popen(
            [program, "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", directory],
            stdout=subprocess.DEVNULL,
        ) as process:
            try:
                wait_for(socket.exists, "Redis listens")
                yield socket
            finally:
                process.terminate()


@pytest.fixture
def queue(server: Path) -> Iterator[Queue]:
    """A queue of the test's own, whose agents beat often."""
    client = redis.Redis(unix_socket_path=str(server))
    queue = Queue(f"unix://{server}", f"q-{secrets.token_hex(4)}", client)
    queue.policy(_heartbeat_interval=50)
    yield queue
    client.close()


@pytest.fixture(params=["threads", "asyncio"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of agent."""
    assert isinstance(request.param, str)
    return request.param
