"""RQ: one worker, which runs one job at a time. See peer.py. Nothing in RQ holds several.

PEER_RQ_WORKER: `fork` (RQ's default: a child runs the job, and finishes it even if its parent was killed) or `simple`.
PEER_MONITORING_S: how often a forking worker beats while a job runs, 30. A job is abandoned to RQ 60 s after it missed a beat.
PEER_MAINTENANCE_S: how often RQ looks for abandoned jobs, to fail them, 600. It also does when a worker starts.
PEER_TTL_S: how long an idle worker counts as alive, 420. It beats 15 s earlier.
"""

import os

import peer
from redis import Redis
from rq import Queue, SimpleWorker, Worker

redis = Redis(unix_socket_path=peer.REDIS)
queue = Queue(connection=redis)


def enqueue(name, milliseconds):
    queue.enqueue(peer.job, name, milliseconds)


def work():
    kind = {"fork": Worker, "simple": SimpleWorker}[os.environ.get("PEER_RQ_WORKER", "fork")]
    kind(
        [queue],
        connection=redis,
        job_monitoring_interval=int(os.environ.get("PEER_MONITORING_S", "30")),
        maintenance_interval=int(os.environ.get("PEER_MAINTENANCE_S", "600")),
        worker_ttl=int(os.environ.get("PEER_TTL_S", "420")),
    ).work()


def count():
    # get_job_count(cleanup=False): a mere look at these counts would else do RQ's own recovery.
    return {
        "pending": queue.count,
        "running": queue.started_job_registry.get_job_count(cleanup=False),
        "dead": queue.failed_job_registry.get_job_count(cleanup=False),
        "finished": queue.finished_job_registry.get_job_count(cleanup=False),
        "workers": Worker.count(connection=redis),
    }


if __name__ == "__main__":
    peer.main(enqueue, work, count)
