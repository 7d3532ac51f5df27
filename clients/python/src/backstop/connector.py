"""From an address, or a client of redis-py, to connections of our own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, cast

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection, parse_url
from redis.retry import Retry

from .errors import SetupError

_SCHEMES = {
    "redis": "redis", "valkey": "redis", "rediss": "rediss", "valkeys": "rediss",
    "unix": "unix", "redis+unix": "unix", "valkey+unix": "unix",
}  # fmt: skip

# What we decide ourselves: a connection that sends a command again by itself would take tasks twice.
_OURS = (
    "retry", "retry_on_timeout", "retry_on_error", "socket_timeout", "socket_connect_timeout", "health_check_interval",
    "decode_responses", "encoding", "encoding_errors", "protocol", "parser_class", "legacy_responses", "connection_class",
    "event_dispatcher", "himport_registry", "max_connections", "timeout", "cache", "cache_config",
)  # fmt: skip
_OURS_BY_PREFIX = ("maint", "orig_", "oss_cluster_")

_ADVICE = "use redis://host:port/0, rediss://… or unix:///path (special characters of a password as %XX)"


class RawConnection(Protocol):
    """What is used of a connection of redis-py."""

    def connect(self) -> None: ...
    def disconnect(self) -> None: ...
    def can_read(self, timeout: float) -> bool: ...
    def pack_command(self, *args: bytes | str | int) -> Iterable[bytes]: ...
    def send_packed_command(self, command: Iterable[bytes], check_health: bool) -> None: ...
    def read_response(self) -> Any: ...


class Connector:
    """Makes connections to one Redis; nothing is sent before one is used."""

    def __init__(
        self, source: str | redis.Redis, *, response_timeout: float = 3.0, connect_timeout: float = 2.0
    ) -> None:
        """`source` is a URL, or a client whose settings are used. Times are seconds.

        Raises SetupError for anything else. The error doesn't repeat the URL, which may hold a password.
        """
        if not response_timeout > 0 or not connect_timeout > 0:
            raise SetupError("time-outs are more than 0 seconds")
        self.response_timeout = response_timeout
        """How long an answer may take before its fate is unknown, seconds."""
        # A client's pool of sentinels is known to its connections by a weak reference only: it is kept here.
        self._source = None if isinstance(source, str) else source
        if isinstance(source, str):
            self._class, settings = _read_url(source)
        elif isinstance(source, redis.Redis):
            pool = source.connection_pool
            self._class, settings = pool.connection_class, dict(pool.connection_kwargs)
        else:
            raise SetupError(f"Redis is named by a URL or a redis.Redis client, not by {type(source).__name__}")
        self._settings: dict[str, Any] = {
            name: value
            for name, value in settings.items()
            if name not in _OURS and not name.startswith(_OURS_BY_PREFIX)
        }
        self._settings.update(
            socket_timeout=response_timeout,
            socket_connect_timeout=connect_timeout,
            retry=Retry(NoBackoff(), 0),
            decode_responses=False,
            protocol=2,
        )

    def connection(self) -> RawConnection:
        """A connection that is made when it is first used."""
        return cast(RawConnection, self._class(**self._settings))


def _read_url(url: str) -> tuple[Any, dict[str, Any]]:
    scheme, separator, rest = url.partition("://")
    known = _SCHEMES.get(scheme)
    if not separator or known is None or not rest:
        raise SetupError(f"the Redis address isn't one: {_ADVICE}")
    try:
        settings: dict[str, Any] = dict(parse_url(f"{known}://{rest}"))  # type: ignore[no-untyped-call,unused-ignore]
    except ValueError:
        # What it says may quote a part of the password.
        raise SetupError(f"the Redis address can't be read: {_ADVICE}") from None
    kinds = {"redis": Connection, "rediss": SSLConnection, "unix": UnixDomainSocketConnection}
    return settings.pop("connection_class", kinds[known]), settings
