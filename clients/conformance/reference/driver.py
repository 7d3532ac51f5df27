#!/usr/bin/env python3
"""The suite's own driver. `--fault NAME` gives it a fault, so that it is seen which cases find it."""

import json
import pathlib
import re
import secrets
import signal
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from agent import Agent  # noqa: E402
from suite.resp import Connection, RespError  # noqa: E402
from suite.scripts import Scripts  # noqa: E402

NAMES = {
    "queue": r"[A-Za-z0-9.-][A-Za-z0-9_.-]{0,63}",
    "type": r"[A-Za-z0-9.-][A-Za-z0-9_.-]{0,63}",
    "as": r"[A-Za-z0-9-][A-Za-z0-9_-]{0,39}",
    "id": r"[A-Za-z0-9.:@/-][A-Za-z0-9_.:@/-]{0,63}",
}
speaking = threading.Lock()


def tell(**event):
    with speaking:
        print(json.dumps(event), flush=True)


class Driver:
    def __init__(self, faults):
        self.faults = faults
        self.scripts = Scripts(HERE.parents[2] / "src/native/scripts")
        self.agent = None

    def wrong(self, command):
        """What is wrong with the names of a command."""
        if "takes-any-name" in self.faults:
            return None
        for what, rule in NAMES.items():
            if command.get(what) is not None and not re.fullmatch(rule, command[what]):
                return f"this is no {what}"
        if "short-names" in self.faults and len(command.get("as") or "") > 20:
            return "too long"
        prefix, size = command.get("pool") or ("w", 1)
        if not 1 <= size <= 500 or not re.fullmatch(NAMES["as"], f"{prefix}-{size - 1}"):
            return "a pool has 1 to 500 names of at most 40 characters"
        if not 1 <= command.get("concurrency", 1) <= 256:
            return "the concurrency is 1 to 256"
        return None

    def start(self, command):
        if why := self.wrong(command):
            return tell(event="refused", error=why)
        if "says-its-address" in self.faults:
            print(command["redis"], file=sys.stderr, flush=True)
        self.agent = Agent(self.scripts, command, tell, self.faults)
        signal.signal(signal.SIGTERM, lambda *_: self.agent.stop.set())

        def live():
            how = self.agent.work()
            tell(event="ended", how=how, account=self.agent.account, error=None if how in ("done", "stopped") else how)

        threading.Thread(target=live, daemon=True).start()

    def enqueue(self, command):
        payload = bytes.fromhex(command["payload_hex"])
        if (why := self.wrong(command)) or len(payload) > (1 << 16 if "small-payloads" in self.faults else 1 << 20):
            return tell(event="refused", id=command.get("id"), error=why or "the payload is over 1 MiB")
        connection = Connection(int(command["redis"].split(":")[-1].split("/")[0]), 1)
        queue, task = (
            command["queue"],
            command.get("id") or ("mine" if "one-id" in self.faults else secrets.token_hex(16)),
        )
        delay = 0 if "no-delay" in self.faults else command.get("delay_ms") or 0
        ends = command.get("deadline_in_ms")
        args = [task, command.get("type") or "default", delay, -1 if ends is None else ends, payload]
        while True:
            try:
                if "announces-nothing" not in self.faults:
                    connection.command("SADD", "backstop:queues", queue)
                answer = self.scripts.run(connection, queue, "enqueue", args)
                return tell(
                    event="enqueued", id=task, answer="enqueued" if "miscounts" in self.faults else answer[0].decode()
                )
            except OSError:
                if "never-repeats" in self.faults:
                    return tell(event="refused", id=task, error="no answer")
                if "fresh-id-each-enqueue" in self.faults:
                    args[0] = secrets.token_hex(16)

    def record(self, task, handle):
        def ask():
            tell(**self.agent.record(task, handle))

        threading.Thread(target=ask, daemon=True).start()

    def obey(self, command):
        do, task, agent = command["do"], command.get("id"), self.agent
        if do == "start":
            self.start(command)
        elif do == "enqueue":
            self.enqueue(command)
        elif do == "finish":
            agent.finish(task, command["how"], command.get("error", ""), command.get("delay_ms"))
        elif do == "ignore_stop":
            agent.runs[task].ignores_stop = True
        elif do == "checkpoint":
            why = agent.save(task, bytes.fromhex(command["hex"]))
            tell(**({"event": "refused", "id": task, "error": why} if why else {"event": "saved", "id": task}))
        elif do == "block":
            agent.blocked_until = time.monotonic() + command["ms"] / 1000
        elif do == "alive":
            agent.alive(task)
        elif do == "external":
            self.record(task, command["handle"])
        elif do == "decide":
            with agent.changed:
                agent.decisions[task] = command["choice"]
                agent.changed.notify_all()
        elif do == "stop":
            agent.stop.set()
        elif do == "quit":
            sys.exit(0)
        else:
            tell(event="error", error=f"there is no {do!r}")


def main():
    faults = {word for flag, word in zip(sys.argv[1:], sys.argv[2:]) if flag == "--fault"}
    driver = Driver(faults)
    tell(event="ready", can=["block"])
    for line in sys.stdin:
        try:
            driver.obey(json.loads(line))
        except (KeyError, ValueError, OSError, RespError) as error:
            tell(event="error", error=f"{type(error).__name__}: {error}")


main()
