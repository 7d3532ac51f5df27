"""A driver: the program that is a client's agent under test, spoken to by lines of JSON."""

import collections
import json
import os
import queue
import signal
import subprocess
import threading
import time


class Driver:
    """One process, alone in its group so that nothing of it is left."""

    def __init__(self, command):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BACKSTOP_")}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        self._news = threading.Condition()
        self._events, self._errors, self._seen = [], [], collections.deque(maxlen=400)
        self._stderr = collections.deque(maxlen=400)
        self._commands = queue.SimpleQueue()
        # A driver that doesn't read must not keep its case for ever.
        threading.Thread(target=self._write_commands, daemon=True).start()
        self._readers = [
            threading.Thread(target=self._read_events, daemon=True),
            threading.Thread(target=self._read_stderr, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_events(self):
        for line in self._process.stdout:
            try:
                event = json.loads(line)
                wrong = None if isinstance(event, dict) and "event" in event else "is no event"
            except ValueError:
                event, wrong = None, "is no JSON"
            with self._news:
                self._seen.append((time.monotonic(), line.decode("utf-8", "replace").rstrip()))
                if wrong or event["event"] == "error":
                    self._errors.append(f"the driver said {line[:200]!r}" + (f", which {wrong}" if wrong else ""))
                else:
                    self._events.append(event)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def _read_stderr(self):
        for line in self._process.stderr:
            self._stderr.append(line.decode("utf-8", "replace").rstrip())

    def _write_commands(self):
        while (line := self._commands.get()) is not None:
            try:
                self._process.stdin.write(line)
                self._process.stdin.flush()
            except (OSError, ValueError):
                return  # The process is gone; whoever waits for its events is told.

    def tell(self, command):
        """Sends a command."""
        self._commands.put(json.dumps(command).encode() + b"\n")

    def wait(self, fits, until):
        """The first event that fits and wasn't returned before, or None. Raises RuntimeError for a broken driver."""
        with self._news:
            while True:
                if self._errors:
                    raise RuntimeError(self._errors[0])
                for at, event in enumerate(self._events):
                    if fits(event):
                        return self._events.pop(at)
                left = until - time.monotonic()
                if left <= 0:
                    return None
                if not self._readers[0].is_alive() and self._process.poll() is not None:
                    raise RuntimeError(f"the driver has exited with {self._process.returncode}")
                self._news.wait(min(left, 0.25))

    def signal(self, name):
        """Sends a signal to the process, not to its group: it is what a supervisor does."""
        self._process.send_signal(getattr(signal, "SIG" + name))

    def exit_code(self, until):
        """Its exit code, or None if it is still there."""
        try:
            return self._process.wait(max(0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            return None

    def events(self):
        """All that it said, as text, with the time of each."""
        with self._news:
            return list(self._seen)

    def stderr(self):
        return list(self._stderr)

    def close(self):
        """Ends the process and all that it started."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # It has ended by itself.
        self._process.wait()
        self._commands.put(None)
        for reader in self._readers:
            reader.join(2)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            try:
                pipe.close()
            except OSError:
                pass  # What was still to be written has no reader any more.
