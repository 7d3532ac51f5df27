"""Dramatiq: one worker of four threads, which takes eight jobs at a time. See peer.py.

PEER_HEARTBEAT_MS: after how long without a beat a worker itself takes another for dead, 60000.
PEER_MAINTENANCE: how often it looks for such, in a million commands, 1000.
"""

import os
import signal
import sys

import peer

# Else `import dramatiq` would find this file.
sys.path.remove(peer.FOLDER)
import dramatiq  # noqa: E402
from dramatiq.brokers.redis import RedisBroker  # noqa: E402

THREADS = 4

broker = RedisBroker(
    url=f"unix://{peer.REDIS}",
    heartbeat_timeout=int(os.environ.get("PEER_HEARTBEAT_MS", "60000")),
    maintenance_chance=int(os.environ.get("PEER_MAINTENANCE", "1000")),
)
dramatiq.set_broker(broker)
sleep = dramatiq.actor(peer.job, actor_name="sleep")


def work():
    # What `dramatiq --processes 1` does in its only process, without the parent that watches it.
    broker.emit_after("process_boot")
    dramatiq.Worker(broker, worker_threads=THREADS).start()
    signal.pause()


def count():
    # Its API has one figure, which counts a held job twice; the rest is what a dashboard reads.
    redis, space = broker.client, broker.namespace
    queue = f"{space}:{sleep.queue_name}"
    size = broker.do_qsize(sleep.queue_name)
    acks = redis.scan_iter(f"{space}:__acks__.*.{sleep.queue_name}")
    return {
        "pending": redis.llen(queue),
        "running": sum(redis.scard(key) for key in acks),
        "dead": redis.zcard(f"{queue}.XQ"),
        "qsize": size,
    }


if __name__ == "__main__":
    peer.main(sleep.send, work, count)
