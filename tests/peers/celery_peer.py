"""Celery: one worker of four threads, which takes 16 jobs at a time. See peer.py.

PEER_ACKS: `late` (after the job, else a kill loses what has begun) or `early` (Celery's default).
PEER_POOL: `threads`, or `prefork` (Celery's default), whose children end at once if their parent is killed.
PEER_VISIBILITY_S: after how long Celery itself gives what is not acknowledged to others, 3600.
PEER_RESTORE_S: how often a worker looks for such, 100.
"""

import os

import peer
from celery import Celery

app = Celery("peer", broker=f"redis+socket://{peer.REDIS}")
app.conf.task_acks_late = {"late": True, "early": False}[os.environ.get("PEER_ACKS", "late")]
app.conf.broker_transport_options = {
    "visibility_timeout": int(os.environ.get("PEER_VISIBILITY_S", "3600")),
    "unacked_restore_interval": int(os.environ.get("PEER_RESTORE_S", "100")),
    "unacked_restore_throttle": 1,
}
sleep = app.task(peer.job, name="sleep")


def work():
    pool = os.environ.get("PEER_POOL", "threads")
    name = f"peer-{os.getpid()}@%h"
    # Mingling, which is left out, waits a second for other workers' lists of cancelled jobs.
    options = ["--concurrency=4", f"--pool={pool}", f"--hostname={name}", "--without-mingle", "--loglevel=WARNING"]
    app.worker_main(["worker", *options])


def count():
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        return {
            # As Celery's own queue_declare counts, which fails on an empty queue.
            "pending": channel._size(app.conf.task_default_queue),
            # What workers hold, begun or not. To ask them takes a second, and dead ones don't answer.
            "running": channel.client.hlen(channel.unacked_key),
            # Celery has no place for dead jobs.
            "dead": 0,
        }


if __name__ == "__main__":
    peer.main(sleep.delay, work, count)
