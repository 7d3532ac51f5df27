"""Drives one agent by JSON lines: what the conformance runner sends comes on standard input, what happens goes out on
standard output.

    python conformance_driver.py [--asyncio]
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import backstop
import backstop.aio
from backstop.task import TaskView

Message = dict[str, Any]


class Out:
    """Events, one a line."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def say(self, event: str, **fields: object) -> None:
        """Writes an event at once."""
        with self._lock:
            print(json.dumps({"event": event, **fields}), flush=True)

    def flush(self) -> None:
        """Waits until whoever writes is done."""
        with self._lock:
            sys.stdout.flush()


class Errands:
    """What a running handler is told to do, one after the other; its stop is one of them."""

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.ignore_stop = False


class Handler:
    """A handler that runs until it is told how to end, or that it must stop."""

    def __init__(self, out: Out) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._running: dict[str, Errands] = {}
        self._ignoring: set[str] = set()

    def tell(self, id: str, message: Message) -> bool:
        """Passes a message to the run of a task; False: none runs."""
        with self._lock:
            errands = self._running.get(id)
        if errands is not None:
            errands.queue.put(message)
        return errands is not None

    def ignore_stop(self, id: str) -> None:
        """The runs of this task don't end when they are told to stop."""
        with self._lock:
            self._ignoring.add(id)

    def started(self, task: TaskView) -> Errands:
        """A run begins."""
        errands = Errands()
        with self._lock:
            self._running[task.id] = errands
        self._out.say(
            "started",
            id=task.id,
            token=task.token,
            type=task.type,
            attempt=task.attempt,
            payload_hex=task.payload.hex(),
            checkpoint_hex=(task.checkpoint or b"").hex(),
            external=task.external,
        )
        return errands

    def ended(self, task: TaskView, errands: Errands) -> None:
        """A run ends."""
        with self._lock:
            if self._running.get(task.id) is errands:
                del self._running[task.id]

    def stopping(self, task: TaskView) -> None:
        """A run heard that it must stop. Raises GiveBack unless it ignores that."""
        self._out.say("stopping", id=task.id, why=task.why())
        with self._lock:
            ignores = task.id in self._ignoring
        if not ignores:
            raise backstop.GiveBack(0)

    def obey(self, task: TaskView, message: Message) -> bool:
        """Does one thing that needs no waiting; whether the run has ended. Raises what a handler may raise."""
        match message["do"]:
            case "checkpoint":
                try:
                    task.save_checkpoint(bytes.fromhex(message["hex"]))
                    self._out.say("saved", id=task.id)
                except backstop.TooLarge as error:
                    self._out.say("refused", id=task.id, error=str(error))
            case "alive":
                task.alive()
            case "block":
                compute(message["ms"] / 1000)
            case "finish":
                return finish(message)
        return False

    def recorded(self, task: TaskView, error: Exception | None) -> None:
        """Says how recording a handle ended."""
        if error is None:
            self._out.say("recorded", id=task.id)
        elif isinstance(error, backstop.Fenced):
            self._out.say("fenced", id=task.id)
        else:
            self._out.say("refused", id=task.id, error=str(error))

    def on_thread(self, task: backstop.Task) -> None:
        """A handler of the threads agent."""
        errands = self.started(task)
        task.stop.subscribe(lambda: errands.queue.put({"do": "stopping"}))
        try:
            while True:
                message = errands.queue.get()
                if message["do"] == "stopping":
                    self.stopping(task)
                elif message["do"] == "external":
                    try:
                        task.record_external(message["handle"])
                        self.recorded(task, None)
                    except backstop.BackstopError as error:
                        self.recorded(task, error)
                elif self.obey(task, message):
                    return
        finally:
            self.ended(task, errands)

    async def on_loop(self, task: backstop.aio.Task) -> None:
        """A handler of the asyncio agent."""
        errands = self.started(task)

        async def stop() -> None:
            await task.stop.wait()
            errands.queue.put({"do": "stopping"})

        stopping = asyncio.create_task(stop())
        try:
            while True:
                message = await next_of(errands.queue)
                if message["do"] == "stopping":
                    self.stopping(task)
                elif message["do"] == "external":
                    try:
                        await task.record_external(message["handle"])
                        self.recorded(task, None)
                    except backstop.BackstopError as error:
                        self.recorded(task, error)
                elif self.obey(task, message):
                    return
        finally:
            stopping.cancel()
            self.ended(task, errands)


async def next_of(messages: queue.SimpleQueue[Message]) -> Message:
    """The next message, without a thread for each run that waits."""
    while True:
        try:
            return messages.get_nowait()
        except queue.Empty:
            await asyncio.sleep(0.005)


def compute(seconds: float) -> None:
    """Keeps the thread, or the event loop, as a handler does that computes."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def finish(message: Message) -> bool:
    """Ends a handler as it is told to."""
    match message["how"]:
        case "done":
            return True
        case "retry":
            raise backstop.Retry(message.get("error", ""))
        case "fatal":
            raise backstop.Fatal(message.get("error", ""))
        case "give_back":
            delay = message.get("delay_ms")
            raise backstop.GiveBack(None if delay is None else delay / 1000)
        case how:
            raise RuntimeError(f"unknown way to finish: {how}")


class Driver:
    """Does what standard input says."""

    def __init__(self, on_loop: bool) -> None:
        self._on_loop = on_loop
        self._out = Out()
        self._handler = Handler(self._out)
        self._choices: dict[str, queue.SimpleQueue[backstop.Choice]] = {}
        self._lock = threading.Lock()
        self._runs: queue.SimpleQueue[Callable[[], backstop.Account]] = queue.SimpleQueue()
        self._agent: backstop.Agent | backstop.aio.Agent | None = None
        self._clients: dict[tuple[str, str], backstop.Client] = {}

    def work(self) -> None:
        """Until it is told to quit, or nobody is there any more. The agent runs in the main thread, as in a program, so
        that it hears signals."""
        threading.Thread(target=self._listen, daemon=True).start()
        while True:
            self._live(self._runs.get())

    def _listen(self) -> None:
        try:
            self._read()
        finally:
            self._out.flush()
            # The agent may run still, or its handlers: to quit is to be gone.
            os._exit(0)

    def _read(self) -> None:
        self._out.say("ready", can=["block"])
        for line in sys.stdin:
            try:
                message = json.loads(line)
                if message["do"] == "quit":
                    return
                self._do(message)
            except (ValueError, KeyError, TypeError) as error:
                self._out.say("error", error=f"{type(error).__name__}: {error}")

    def _do(self, message: Message) -> None:
        match message["do"]:
            case "start":
                self._start(message)
            case "stop":
                if self._agent is not None:
                    self._agent.stop()
            case "enqueue":
                # In a thread: it may wait for Redis while other messages come.
                threading.Thread(target=self._enqueue, args=(message,), daemon=True).start()
            case "decide":
                self._choice(message["id"]).put(message["choice"])
            case "ignore_stop":
                self._handler.ignore_stop(message["id"])
            case "finish" | "checkpoint" | "alive" | "block" | "external":
                if not self._handler.tell(message["id"], message):
                    logging.warning("no handler runs task %s: %s", message["id"], message["do"])
            case what:
                self._out.say("error", error=f"unknown: {what}")

    def _start(self, message: Message) -> None:
        options: dict[str, Any] = {"queue": message["queue"], "on_answer": self._answered}
        if "pool" in message:
            prefix, size = message["pool"]
            options["pool"] = (prefix, size)
        if "as" in message:
            options["identity"] = message["as"]
        for name in ("concurrency", "count"):
            if name in message:
                options[name] = message[name]
        for name in ("drain_timeout", "stop_grace", "response_timeout"):
            if f"{name}_ms" in message:
                options[name] = message[f"{name}_ms"] / 1000
        choice = message.get("on_reconnect", "reset")
        options["on_reconnect"] = self._ask if choice == "ask" else choice
        options["on_pool_full"] = message.get("pool_full", "end")
        try:
            if self._on_loop:
                loop_agent = backstop.aio.Agent(message["redis"], **options)
                self._agent = loop_agent

                def run() -> backstop.Account:
                    return asyncio.run(loop_agent.run(self._handler.on_loop))
            else:
                agent = backstop.Agent(message["redis"], **options)
                self._agent = agent

                def run() -> backstop.Account:
                    return agent.run(self._handler.on_thread)
        except (backstop.SetupError, backstop.InvalidName) as error:
            self._out.say("refused", error=str(error))
            return
        self._runs.put(run)

    def _live(self, run: Callable[[], backstop.Account]) -> None:
        how, account, text = "done", None, None
        try:
            account = run()
        except Exception as error:
            kinds: dict[type[Exception], str] = {
                backstop.Superseded: "superseded",
                backstop.PoolFull: "pool_full",
                backstop.Stopped: "stopped",
            }
            how, text = kinds.get(type(error), "error"), str(error)
            if how == "error":
                logging.exception("the agent failed")
        if account is None and self._agent is not None:
            account = self._agent.account
        self._out.say("ended", how=how, account=None if account is None else vars(account), error=text)

    def _answered(self, id: str, token: str, word: str) -> None:
        self._out.say("answer", id=id, token=token, word=word)

    def _ask(self, left: backstop.LeftBehind) -> backstop.Choice:
        self._out.say(
            "asked",
            id=left.id,
            type=left.type,
            session=left.session,
            token=left.token,
            checkpoint_hex=(left.checkpoint or b"").hex(),
            external=left.external,
        )
        return self._choice(left.id).get()

    def _choice(self, id: str) -> queue.SimpleQueue[backstop.Choice]:
        with self._lock:
            return self._choices.setdefault(id, queue.SimpleQueue())

    def _enqueue(self, message: Message) -> None:
        try:
            with self._lock:
                where = (message["redis"], message["queue"])
                client = self._clients.get(where)
                if client is None:
                    client = self._clients[where] = backstop.Client(where[0], queue=where[1])
            deadline = message.get("deadline_in_ms")
            enqueued = client.enqueue(
                bytes.fromhex(message["payload_hex"]),
                type=message.get("type", "default"),
                id=message.get("id"),
                delay=message.get("delay_ms", 0) / 1000,
                deadline_in=None if deadline is None else deadline / 1000,
            )
            self._out.say("enqueued", id=enqueued.id, answer="enqueued" if enqueued.added else "exists")
        except (backstop.BackstopError, ValueError, KeyError) as error:
            self._out.say("refused", id=message.get("id"), error=str(error))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    Driver("--asyncio" in sys.argv[1:]).work()
