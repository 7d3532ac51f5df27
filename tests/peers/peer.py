"""What the programs in this folder share: one real client each, so that a test can watch it from outside.

    PROGRAM enqueue N MILLISECONDS    put in jobs job-0 … job-(N-1), each of which sleeps that long, or fails if it is negative
    PROGRAM work LEDGER               be one worker, as one process, until killed
    PROGRAM count                     print the client's own view as one JSON object

PEER_REDIS is the path of the server's unix socket. A job appends `start <name>` and `done <name>` to the ledger. What the client
itself does about workers that died is left as it comes.
"""

import json
import os
import sys
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))
REDIS = os.environ["PEER_REDIS"]


def job(name, milliseconds):
    """The body of every job."""
    _append(f"start {name}\n")
    if milliseconds < 0:
        raise RuntimeError("told to fail")
    time.sleep(milliseconds / 1000)
    _append(f"done {name}\n")


def _append(line):
    # One write to a file opened for appending: lines of several workers and threads do not mix.
    ledger = os.open(os.environ["PEER_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(ledger, line.encode())
    finally:
        os.close(ledger)


def stream(name):
    """The view of a client that keeps its jobs in a stream with one group, which is that of Redis."""
    from redis import Redis

    redis = Redis(unix_socket_path=REDIS)
    groups = redis.xinfo_groups(name) if redis.exists(name) else []
    return {
        "pending": sum(group["lag"] or 0 for group in groups),
        "running": sum(group["pending"] for group in groups),
        "dead": 0,
        "entries": redis.xlen(name),
    }


def main(enqueue, work, count):
    """Does what the command line asks for, with a client's three functions."""
    match sys.argv[1:]:
        case ["enqueue", n, milliseconds]:
            for i in range(int(n)):
                enqueue(f"job-{i}", int(milliseconds))
        case ["work", ledger]:
            os.environ["PEER_LEDGER"] = os.path.abspath(ledger)
            work()
        case ["count"]:
            print(json.dumps(count()))
        case _:
            sys.exit(f"usage: {sys.argv[0]} enqueue N MILLISECONDS | work LEDGER | count")
