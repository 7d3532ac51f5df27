"""The keys of a queue."""

from __future__ import annotations

QUEUES = "backstop:queues"
"""The names of all queues. It lies in another slot than any queue's keys, so it is written apart."""

FORMAT = b"1"
"""The format of what the scripts write. Programs of another format are refused before anything is written."""

# The last one never exists: while a cluster moves the slot, a script with it is refused before it runs.
_FIXED = (
    "control", "pending", "delayed", "expiring", "agents", "due", "dead", "policy", "stats", "events", "lease",
    "unwanted", "none",
)  # fmt: skip


class Keys:
    """The keys of one queue. All share the hash tag `{queue}`, so that one script can touch them all."""

    def __init__(self, queue: str) -> None:
        base = f"backstop:{{{queue}}}:"
        self.queue = queue
        self.fixed: tuple[bytes, ...] = tuple(f"{base}{name}".encode() for name in _FIXED)
        """What every script is given as KEYS, in this order."""
        self.wake = f"{base}wake"
        """The channel that hints at new work."""
