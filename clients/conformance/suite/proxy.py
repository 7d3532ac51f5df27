"""What stands between the driver and Redis: it keeps a list of calls, and loses or delays what a case says.

Like a real network it keeps the order within a connection: a lost answer ends its connection, a late one makes those
after it late too.
"""

import collections
import socket
import threading
import time

from .resp import RespError, encode, read

Call = collections.namedtuple("Call", "name args connection at")
"""What was sent: the name of a script (or of a plain command in capitals), its arguments as bytes."""


class Rule:
    """What happens to the next calls of one name."""

    def __init__(self, what, name, times, ms=0):
        self.what, self.name, self.times, self.ms = what, name, times, ms


class Proxy:
    """Listens on a port of its own and passes on to the server's."""

    def __init__(self, scripts, server_port):
        self._scripts, self._server_port = scripts, server_port
        self._lock = threading.Lock()
        self._calls, self._foreign, self._rules, self._connections = [], [], [], []
        self._flows = threading.Event()
        self._flows.set()
        self._held = threading.Event()
        self._held.set()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    # What a case asks for.

    def calls(self, name):
        """What was sent under this name, in order; what Redis answered with NOSCRIPT doesn't count."""
        with self._lock:
            return [call for call in self._calls if call.name == name]

    def foreign(self):
        """Scripts that were sent and aren't the repository's."""
        with self._lock:
            return list(self._foreign)

    def lose(self, what, name, times):
        """`request` or `answer` of the next calls of this name; their connection is cut."""
        with self._lock:
            self._rules.append(Rule("lose_" + what, name, times))

    def swallow(self, name, times):
        """The next calls of this name, and all after them on their connection, vanish; the connection stays open."""
        with self._lock:
            self._rules.append(Rule("swallow", name, times))

    def delay(self, name, ms, times):
        """Answers of this name come so much later."""
        with self._lock:
            self._rules.append(Rule("delay", name, times, ms))

    def hold(self, name):
        """Answers of this name come when `open` is called."""
        self._held.clear()
        with self._lock:
            self._rules.append(Rule("hold", name, 1 << 30))

    def silence(self):
        """Connections are accepted, and nothing passes until `open` is called."""
        self._flows.clear()

    def open(self):
        """All rules end."""
        with self._lock:
            self._rules.clear()
        self._held.set()
        self._flows.set()

    def close(self):
        self._closed = True
        self.open()
        try:
            # Wakes the thread that accepts; closing alone doesn't.
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # It had not begun to listen.
        self._listener.close()
        with self._lock:
            connections = list(self._connections)
        for both in connections:
            cut(*both)

    # How it passes on.

    def _accept(self):
        number = 0
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            number += 1
            threading.Thread(target=self._connect, args=(client, number), daemon=True).start()

    def _connect(self, client, number):
        self._flows.wait()
        try:
            server = socket.create_connection(("127.0.0.1", self._server_port), 5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._connections.append((client, server))
        if self._closed:
            cut(client, server)
        waiting = collections.deque()
        threading.Thread(target=self._down, args=(client, server, waiting), daemon=True).start()
        self._up(client, server, number, waiting)

    def _up(self, client, server, number, waiting):
        stream = client.makefile("rb")
        try:
            while True:
                parts, _ = read(stream)
                self._flows.wait()
                call, counts = self._named(parts, number)
                if call.name.endswith("SUBSCRIBE"):
                    # From here on answers aren't one a command.
                    waiting.append(None)
                rule = self._rule(call.name, ("lose_request", "swallow"))
                if counts:
                    with self._lock:
                        self._calls.append(call)
                if rule and rule.what == "swallow":
                    while client.recv(65536):
                        pass
                if rule:
                    return
                waiting.append(call)
                server.sendall(encode(parts))
        except (OSError, EOFError, ValueError):
            pass  # One of the ends has closed.
        finally:
            stream.close()
            cut(client, server)

    def _down(self, client, server, waiting):
        stream = server.makefile("rb")
        plain = False
        try:
            while True:
                value, raw = read(stream)
                if not plain:
                    call = waiting.popleft()
                    if call is None:
                        plain = True
                    elif isinstance(value, RespError) and str(value).startswith("NOSCRIPT"):
                        with self._lock:
                            self._calls = [other for other in self._calls if other is not call]
                    else:
                        rule = self._rule(call.name, ("lose_answer", "delay", "hold"))
                        if rule and rule.what == "lose_answer":
                            return
                        if rule and rule.what == "delay":
                            time.sleep(rule.ms / 1000)
                        if rule and rule.what == "hold":
                            self._held.wait()
                self._flows.wait()
                client.sendall(raw)
        except (OSError, EOFError, ValueError, IndexError):
            pass  # One of the ends has closed.
        finally:
            stream.close()
            cut(client, server)

    def _rule(self, name, kinds):
        with self._lock:
            for rule in self._rules:
                if rule.name == name and rule.what in kinds and rule.times > 0:
                    rule.times -= 1
                    return rule
        return None

    def _named(self, parts, number):
        """A command with the name that it is known by, and whether it is worth a line in the list."""
        at = time.monotonic()
        command = parts[0].upper().decode("ascii", "replace")
        if command not in ("EVAL", "EVALSHA"):
            if command == "SCRIPT" and len(parts) > 2 and parts[1].upper() == b"LOAD":
                self._scripts.name_by_text(parts[2].decode("utf-8", "replace"))
            return Call(command, tuple(parts[1:]), number, at), True
        what = parts[1].decode("utf-8", "replace")
        by = self._scripts.name_by_text if command == "EVAL" else self._scripts.name_by_sha
        name = by(what)
        if name is None and command == "EVAL":
            with self._lock:
                self._foreign.append(what[:200])
        args = tuple(parts[3 + int(parts[2]) :])
        return Call(name or "?", args, number, at), name is not None


def cut(*ends):
    """Ends connections, also for a thread that reads from them."""
    for end in ends:
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # It was cut already.
        end.close()
