"""A private redis-server that keeps nothing and ends with its case."""

import socket
import subprocess
import time

from .resp import Connection, RespError


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One server on a free port of this machine."""

    def __init__(self, program):
        self._program, self._process = program, None
        self.port, self.connection = None, None
        self._start()

    def _start(self):
        # Another process may be quicker on a port that was free a moment ago.
        for _ in range(5):
            port = self.port or free_port()
            self._process = subprocess.Popen(
                [
                    self._program,
                    "--port",
                    str(port),
                    "--bind",
                    "127.0.0.1",
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                    "--dir",
                    "/tmp",
                    "--logfile",
                    "",
                    "--daemonize",
                    "no",
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            if self._answers(port):
                self.port, self.connection = port, Connection(port)
                return
            self._end()
        raise RuntimeError(f"{self._program} doesn't start")

    def _answers(self, port):
        probe, until = Connection(port, 1), time.monotonic() + 10
        while time.monotonic() < until and self._process.poll() is None:
            try:
                mine = b"process_id:%d\r" % self._process.pid in probe.command("INFO", "server")
                probe.close()
                return mine
            except (OSError, RespError):
                time.sleep(0.02)
        return False

    def run_id(self):
        info = self.connection.command("INFO", "server").decode()
        return next(line[7:].strip() for line in info.splitlines() if line.startswith("run_id:"))

    def restart_empty(self):
        """The same address, and nothing of what was there."""
        self._end()
        self._start()

    def _end(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self.connection is not None:
            self.connection.close()

    close = _end
