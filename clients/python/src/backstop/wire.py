"""One connection, and the one runner of scripts.

A call ends in one of three ways, and callers must tell them apart: it was answered, it was refused, or nobody knows
whether it ran: a time-out does not undo a script.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeVar

from redis import exceptions

from .connector import Connector, RawConnection
from .errors import Failure, StoreError
from .keys import FORMAT, QUEUES, Keys
from .protocol import Arg, Command
from .scripts import script

A = TypeVar("A")

_CODE = re.compile(r"([A-Z][A-Z_]+)\b")
_LACKS_RIGHT = "the Redis user lacks a right: see the ACL files in deploy/"


class Wire:
    """A connection for one caller at a time, made when it is first used and again after it broke."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._connection: RawConnection | None = None

    def run(self, keys: Keys, command: Command[A]) -> A:
        """Runs one script.

        Raises StoreError. After Failure.UNKNOWN the same command may be sent again: each script says in its header what
        makes that harmless.
        """
        text = script(command.script)
        doing = f"run the script {command.script!r} on queue {keys.queue}"
        rest = (len(keys.fixed), *keys.fixed, FORMAT, *command.args())
        try:
            reply = self._ask(doing, ("EVALSHA", text.sha, *rest))
        except exceptions.NoScriptError:
            reply = self._ask(doing, ("EVAL", text.source, *rest))
        return command.read(reply)

    def announce(self, queue: str) -> None:
        """Makes a queue known, so that sweepers find it. Harmless when repeated. Raises StoreError."""
        self._ask(f"announce queue {queue}", ("SADD", QUEUES, queue))

    def subscribe(self, channel: str) -> None:
        """Listens to a channel from here on. Raises StoreError."""
        self._ask("listen to hints", ("SUBSCRIBE", channel))

    def heard(self, within: float) -> bool:
        """Whether a subscribed channel said something within so many seconds. Raises StoreError."""
        connection = self._connected("listen to hints")
        try:
            if not connection.can_read(timeout=within):
                return False
            connection.read_response()
            return True
        except (exceptions.RedisError, OSError) as error:
            self.close()
            raise _sorted("listen to hints", error) from error

    def close(self) -> None:
        """Closes the connection; the next call makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    def _connected(self, doing: str) -> RawConnection:
        if self._connection is not None:
            return self._connection
        try:
            connection = self._connector.connection()
            connection.connect()
        except exceptions.AuthenticationError as error:
            raise _sorted(doing, error) from error
        except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
            # Nothing was sent yet.
            raise StoreError(Failure.TRANSIENT, doing, f"Redis can't be reached: {error}") from error
        except exceptions.RedisError as error:
            raise _sorted(doing, error) from error
        self._connection = connection
        return connection

    def _ask(self, doing: str, args: Sequence[Arg]) -> Any:
        connection = self._connected(doing)
        try:
            connection.send_packed_command(connection.pack_command(*args), check_health=False)
            return connection.read_response()
        except exceptions.NoScriptError:
            raise
        except exceptions.ResponseError as error:
            raise _sorted(doing, error) from error
        except (exceptions.RedisError, OSError) as error:
            self.close()
            raise _sorted(doing, error) from error
        except BaseException:
            # Half an answer may be on its way: nobody must take it for the next one's.
            self.close()
            raise


def _sorted(doing: str, error: Exception) -> StoreError:
    """What may be concluded from an error of redis-py, and what to do about it."""
    text = str(error)
    found = _CODE.match(text)
    code = found.group(1) if found else ""
    permanent, transient, unknown = Failure.PERMANENT, Failure.TRANSIENT, Failure.UNKNOWN
    if isinstance(error, exceptions.AuthenticationError):
        return StoreError(permanent, doing, "Redis refused the user or password: check the Redis URL")
    if (
        isinstance(error, exceptions.NoPermissionError)
        or "ACL failure in script" in text
        or ("The user executing the script can't" in text)
    ):
        return StoreError(permanent, doing, f"{_LACKS_RIGHT} ({text})")
    if isinstance(error, exceptions.OutOfMemoryError) or code == "OOM":
        return StoreError(transient, doing, "Redis is full: raise maxmemory, or let tasks be completed")
    if isinstance(error, exceptions.BusyLoadingError):
        return StoreError(transient, doing, "Redis is still loading its data")
    if isinstance(error, exceptions.ReadOnlyError):
        return StoreError(transient, doing, "this Redis is a read-only replica: use the primary's address")
    if code == "BACKSTOP_FORMAT":
        return StoreError(permanent, doing, f"another version wrote this queue: upgrade this program ({text})")
    if code == "WRONGTYPE":
        return StoreError(permanent, doing, f"a key of the queue holds another type of value ({text})")
    if isinstance(error, exceptions.MovedError):
        return StoreError(
            permanent, doing, "a Redis Cluster answered: name the node or a proxy that has the queue's slot"
        )
    if isinstance(error, (exceptions.TryAgainError, exceptions.ClusterDownError, exceptions.MasterDownError)):
        return StoreError(transient, doing, f"the cluster is moving or down ({text})")
    if isinstance(error, exceptions.ResponseError):
        # A code of its own is about the server's state (too few replicas, a script that still runs), ERR about the call.
        return StoreError(transient if code and code != "ERR" else permanent, doing, text)
    return StoreError(unknown, doing, f"the connection to Redis broke, or its answer took too long ({text})")
