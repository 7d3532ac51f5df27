"""A small client of Redis: one connection, one command at a time."""

import socket


class RespError(Exception):
    """What Redis answered with `-`."""


def encode(parts):
    """A command as Redis reads it. Parts are bytes, text or numbers."""
    out = [b"*%d\r\n" % len(parts)]
    for part in parts:
        if not isinstance(part, bytes):
            part = str(part).encode("utf-8", "surrogateescape")
        out.append(b"$%d\r\n%s\r\n" % (len(part), part))
    return b"".join(out)


def read(stream):
    """One value, RESP2 or RESP3, with the bytes that it was read from. Raises EOFError where the stream ends."""
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise EOFError
    kind, rest = line[:1], line[1:-2]
    if kind in b"$=!":
        if int(rest) < 0:
            return None, line
        body = stream.read(int(rest) + 2)
        if len(body) < int(rest) + 2:
            raise EOFError
        value = body[:-2]
        return (RespError(value.decode("utf-8", "replace")) if kind == b"!" else value), line + body
    if kind in b"*~>%|":
        if int(rest) < 0:
            return None, line
        count = int(rest) * (2 if kind in b"%|" else 1)
        items, raw = [], [line]
        for _ in range(count):
            item, piece = read(stream)
            items.append(item)
            raw.append(piece)
        if kind == b"|":
            # Attributes stand before the value that they speak of.
            item, piece = read(stream)
            return item, b"".join(raw) + piece
        return items, b"".join(raw)
    if kind == b":":
        return int(rest), line
    if kind == b"-":
        return RespError(rest.decode("utf-8", "replace")), line
    if kind == b"_":
        return None, line
    if kind == b"#":
        return int(rest == b"t"), line
    if kind in b"+,(":
        return rest, line
    raise EOFError(f"this is no RESP: {line[:40]!r}")


class Connection:
    """One connection, made when it is first used and again after it broke."""

    def __init__(self, port, timeout=10):
        self._port, self._timeout, self._socket, self._stream = port, timeout, None, None

    def command(self, *parts):
        """The answer to a command. Raises RespError, or OSError where none came."""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), self._timeout)
            self._stream = self._socket.makefile("rb")
        try:
            self._socket.sendall(encode(parts))
            value, _ = read(self._stream)
        except (OSError, EOFError) as error:
            self.close()
            raise OSError(f"no answer to {parts[0]}: {error}") from error
        if isinstance(value, RespError):
            raise value
        return value

    def close(self):
        if self._socket is not None:
            self._stream.close()
            self._socket.close()
            self._socket = None
