#!/usr/bin/env python3
"""A task whose work is done by the compute service: backstop work --queue compute --as w-1 -- ./run-job.py

The payload is how many seconds the job takes, perhaps followed by `fails` or `stubborn`. The name of the job is recorded
*before* it is begun, so there is no moment at which it runs and nobody knows of it.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request

SERVICE = os.environ.get("COMPUTE_SERVICE", "http://127.0.0.1:8500")


def call(method, path, body=None):
    """The state that the service answers; a service that doesn't answer is asked again."""
    while True:
        request = urllib.request.Request(SERVICE + path, data=body, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)["state"]
        except urllib.error.HTTPError as error:
            if error.code == 409:
                return "ended"
            raise
        except OSError:
            time.sleep(0.2)


def record(handle):
    """Tells the agent where the task is being worked on, and waits until that is sure."""
    with open(3, "r+b", buffering=0, closefd=False) as agent:
        agent.write(f"external {handle}\n".encode())
        answer = agent.readline().strip()
    if answer == b"late":
        # Another attempt has the task: whatever this one does is for nobody.
        sys.exit(75)
    if answer != b"recorded":
        sys.exit(f"the handle {handle} was not recorded: {answer!r}")


def main():
    payload = sys.stdin.buffer.read()
    handle = os.environ.get("BACKSTOP_EXTERNAL")
    if handle is None:
        handle = os.environ["BACKSTOP_TASK_TOKEN"]
        record(handle)
    # Also where it was recorded before: the attempt that did so may have died in between. A name is one job, for ever.
    state = call("PUT", f"/jobs/{handle}", payload)
    while state == "active":
        time.sleep(0.1)
        state = call("GET", f"/jobs/{handle}")
    if state == "succeeded":
        return
    sys.exit(f"the job {handle} is {state}")


if __name__ == "__main__":
    main()
