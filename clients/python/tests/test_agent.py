"""Agents of both kinds on a real Redis: real processes, real signals."""

from __future__ import annotations

import asyncio
import collections
import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

import backstop
import backstop.aio
from backstop.task import TaskView
from support import Driver, Queue, wait_for

EVERY_BYTE = bytes(range(256)) * 5


def run(
    kind: str,
    queue: Queue,
    handler: Callable[[TaskView], object],
    *,
    use: Callable[[backstop.Agent | backstop.aio.Agent], object] = lambda agent: None,
    identity: str = "w-1",
    **options: object,
) -> backstop.Account:
    """Runs an agent of this kind in this thread; `use` gets it before it begins."""
    if kind == "threads":
        agent = backstop.Agent(queue.url, queue=queue.name, identity=identity, **options)  # type: ignore[arg-type]
        use(agent)
        return agent.run(handler)

    async def on_loop(task: backstop.aio.Task) -> None:
        handler(task)

    async def live() -> backstop.Account:
        agent = backstop.aio.Agent(queue.url, queue=queue.name, identity=identity, **options)  # type: ignore[arg-type]
        use(agent)
        return await agent.run(on_loop)

    return asyncio.run(live())


def client(queue: Queue) -> backstop.Client:
    return backstop.Client(queue.url, queue=queue.name)


def test_payloads_come_as_they_went(kind: str, queue: Queue) -> None:
    payloads = [b"", b"\x00", EVERY_BYTE, b"x" * 1024 * 1024]
    tasks = [backstop.NewTask(payload, type="mail", id=f"t{n}") for n, payload in enumerate(payloads)]
    enqueued = client(queue).enqueue_many(tasks)
    assert [(one.id, one.added) for one in enqueued] == [(f"t{n}", True) for n in range(4)]
    assert not client(queue).enqueue(b"again", id="t0").added
    assert queue.name.encode() in queue.redis.smembers("backstop:queues")  # type: ignore[operator,unused-ignore]
    seen: list[tuple[str, str, int, bytes]] = []
    account = run(kind, queue, lambda task: seen.append((task.id, task.type, task.attempt, task.payload)), count=4)
    assert seen == [(f"t{n}", "mail", 1, payload) for n, payload in enumerate(payloads)]
    assert (account.taken, account.completed) == (4, 4)
    assert all(queue.stub(f"t{n}").startswith(b"completed:") for n in range(4))
    assert queue.state("w-1") == b"left"


def test_outcomes_are_told(kind: str, queue: Queue) -> None:
    queue.policy(_task="3600000 0 -1 30000 -1 3 5 60000 2000 100000 60000 1")
    for id in ("fine", "retry", "fatal", "back", "exit"):
        client(queue).enqueue(b"", id=id)

    def handler(task: TaskView) -> None:
        if task.id == "retry":
            raise ValueError("odd: ä")
        if task.id == "fatal":
            raise backstop.Fatal("in vain")
        if task.id == "back":
            raise backstop.GiveBack(60)
        if task.id == "exit" and kind == "threads":
            raise SystemExit(3)
        if task.id == "exit":
            raise asyncio.CancelledError

    account = run(kind, queue, handler, count=5, concurrency=5)
    gave_back = 1 if kind == "threads" else 2
    assert (account.completed, account.retried, account.dead, account.released) == (1, 3 - gave_back, 1, gave_back)
    assert queue.ask("GET", "error:retry") == "ValueError: odd: ä".encode()
    assert queue.ask("GET", "error:fatal") == b"in vain"
    assert queue.ask("ZSCORE", "dead", "fatal") and queue.ask("ZSCORE", "delayed", "retry")
    assert queue.task("back", "session", "failures", "abandonments") == [b"!released", None, None]


def test_a_checkpoint_that_is_too_large_is_refused_and_the_rest_goes_on(kind: str, queue: Queue) -> None:
    client(queue).enqueue(b"", id="t")
    refused: list[str] = []
    seen: list[bytes | None] = []

    def handler(task: TaskView) -> None:
        seen.append(task.checkpoint)
        if task.attempt == 2:
            return
        task.save_checkpoint(b"\x00" * 64 * 1024)
        try:
            task.save_checkpoint(b"x" * (64 * 1024 + 1))
        except backstop.TooLarge as error:
            refused.append(str(error))
        raise backstop.GiveBack(0)

    account = run(kind, queue, handler, count=2)
    assert len(refused) == 1 and "65537" in refused[0]
    assert seen == [None, b"\x00" * 64 * 1024], "given back at once, and yet the checkpoint went first"
    assert (account.completed, account.released) == (1, 1)


def test_a_superseded_twin_ends_and_does_not_come_back(kind: str, queue: Queue) -> None:
    client(queue).enqueue(b"", id="t")
    with Driver(kind) as elder, Driver(kind) as younger:
        elder.start(queue)
        elder.expect("started")
        younger.start(queue, on_reconnect="resume")
        assert younger.expect("started")["attempt"] == 2
        assert elder.expect("stopping")["why"] == "fenced"
        ended = elder.expect("ended")
        assert (ended["how"], ended["account"]["fenced"]) == ("superseded", 1)
        younger.tell("finish", id="t", how="done")
        assert younger.expect("answer")["word"] == "completed"
        assert queue.ask("HGET", "control", "incarnation") == b"2", "the elder didn't register again"


def test_a_lost_session_stops_its_work_and_registers_anew(kind: str, queue: Queue) -> None:
    client(queue).enqueue(b"", id="t")
    with Driver(kind) as agent:
        agent.start(queue)
        first = agent.expect("started")
        session = queue.session("w-1")
        # As if a sweeper had given it up, and forgotten it.
        queue.ask("ZREM", "agents", session)
        assert agent.expect("stopping")["why"] == "fenced"
        second = agent.expect("started")
        assert (second["attempt"], second["token"] != first["token"]) == (2, True)
        assert queue.session("w-1") not in ("", session)
        assert queue.task("t", "abandonments") == [b"1"], "what it held then was reset by its own next session"
        agent.tell("finish", id="t", how="done")
        assert agent.expect("answer")["word"] == "completed"


def test_what_a_killed_process_held_goes_on_under_the_next_one_of_its_name(kind: str, queue: Queue) -> None:
    client(queue).enqueue(EVERY_BYTE, id="t")
    with Driver(kind) as killed, Driver(kind) as next_one:
        killed.start(queue)
        killed.expect("started")
        killed.tell("external", id="t", handle="job-ä")
        killed.expect("recorded")
        killed.tell("checkpoint", id="t", hex=EVERY_BYTE.hex())
        killed.expect("saved")
        wait_for(lambda: queue.ask("GET", "checkpoint:t") == EVERY_BYTE, "a beat brings the checkpoint")
        killed.kill()
        next_one.start(queue, on_reconnect="ask")
        asked = next_one.expect("asked")
        assert (asked["checkpoint_hex"], asked["external"]) == (EVERY_BYTE.hex(), "job-ä")
        next_one.tell("decide", id="t", choice="resume")
        started = next_one.expect("started")
        assert (started["attempt"], started["checkpoint_hex"], started["external"]) == (2, EVERY_BYTE.hex(), "job-ä")
        assert started["payload_hex"] == EVERY_BYTE.hex()
        next_one.tell("finish", id="t", how="done")
        assert next_one.expect("answer")["word"] == "completed"
        assert queue.ask("EXISTS", "external:t") == 0
        next_one.terminate()
        account = next_one.expect("ended")["account"]
        assert (account["adopted"], account["taken"]) == (1, 0)


def test_sigterm_gives_back_what_does_not_end_in_time(kind: str, queue: Queue) -> None:
    # But for the first beat none comes by itself: the checkpoint goes because its task is given back.
    queue.policy(_heartbeat_interval=60000)
    for id in ("ends", "stays"):
        client(queue).enqueue(b"", id=id)
    with Driver(kind) as agent:
        agent.start(queue, concurrency=2, drain_timeout_ms=500)
        agent.expect("started")
        agent.expect("started")
        agent.tell("checkpoint", id="stays", hex="07")
        agent.expect("saved")
        agent.terminate()
        agent.tell("finish", id="ends", how="done")
        assert agent.expect("answer")["word"] == "completed"
        assert agent.expect("stopping") == {"event": "stopping", "id": "stays", "why": "stopping"}
        ended = agent.expect("ended")
        assert (ended["how"], ended["account"]["completed"], ended["account"]["released"]) == ("done", 1, 1)
    assert queue.pending() == [b"stays"]
    assert queue.task("stays", "session", "abandonments") == [b"!released", None]
    assert queue.ask("GET", "checkpoint:stays") == b"\x07"
    assert queue.state("w-1") == b"left" and queue.ask("ZCARD", "agents") == 0


def test_a_handler_that_blocks_does_not_stop_the_heart(kind: str, queue: Queue) -> None:
    queue.policy(_heartbeat_timeout=150, _lost_after=150, _stop_on_agent_after=250)
    client(queue).enqueue(b"", id="t")
    silences: list[float] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            session = queue.session("w-1")
            beat = queue.ask("ZSCORE", "agents", session) if session else None
            if beat is not None:
                seconds, micros = queue.redis.time()  # type: ignore[misc,unused-ignore]
                silences.append(seconds * 1000 + micros / 1000 - float(beat))

    def busy(task: TaskView) -> None:
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            assert task.why() is None

    watching = threading.Thread(target=watch)
    watching.start()
    account = run(kind, queue, busy, count=1)
    done.set()
    watching.join()
    assert (account.completed, account.fenced, account.released) == (1, 0, 0)
    assert len(silences) > 20 and max(silences) < 250, max(silences)


def test_a_handler_that_does_not_stop_keeps_its_thread_and_its_outcome_is_dropped(queue: Queue) -> None:
    for id in ("t", "u"):
        client(queue).enqueue(b"", id=id)
    with Driver("threads") as agent:
        agent.tell("ignore_stop", id="t")
        agent.start(queue, stop_grace_ms=100, concurrency=1)
        agent.expect("started")
        # As a sweeper revokes it.
        queue.ask("HSET", "task:t", "revoked_at", 1, "reason", "revoked:start_to_close")
        assert agent.expect("stopping")["why"] == "revoked"
        wait_for(lambda: queue.task("t", "session") == [b"!reset:start_to_close"], "it is given back")
        wait_for(lambda: queue.pending() == [b"t", b"u"], "at its place")
        assert agent.silent(), "its thread is taken still, and with it the agent's only place"
        agent.tell("finish", id="t", how="done")
        assert agent.expect("started") | {"token": ""} == {
            "event": "started", "id": "t", "token": "", "type": "default", "attempt": 2, "payload_hex": "",
            "checkpoint_hex": "", "external": None,
        }  # fmt: skip
        assert not queue.stub("t"), "what the first attempt returned counts for nothing"


def test_a_coroutine_that_does_not_stop_is_cancelled_where_it_waits(queue: Queue) -> None:
    for id in ("t", "u"):
        client(queue).enqueue(b"", id=id)
    with Driver("asyncio") as agent:
        agent.tell("ignore_stop", id="t")
        agent.start(queue, stop_grace_ms=100, concurrency=1)
        agent.expect("started")
        queue.ask("HSET", "task:t", "revoked_at", 1, "reason", "revoked:start_to_close", "cancelled", 1)
        assert agent.expect("stopping")["why"] == "cancelled"
        assert agent.expect("started")["id"] == "u"
        # Its place is free before its end is told: they go over different connections.
        wait_for(lambda: queue.stub("t").startswith(b"discarded:"), "it is given back")


def test_an_attempt_that_lost_its_task_cannot_record_a_handle(kind: str, queue: Queue) -> None:
    queue.policy(_heartbeat_interval=60000)
    client(queue).enqueue(b"", id="t")
    with Driver(kind) as agent:
        agent.start(queue)
        agent.expect("started")
        queue.ask("HSET", "task:t", "token", "2-1-0123456789abcdef")
        agent.tell("external", id="t", handle="job-1")
        events = {agent.expect_any()["event"] for _ in range(2)}
        assert events == {"fenced", "stopping"}
        assert queue.ask("ZRANGE", "unwanted", 0, -1) == [b"default t job-1"]
        agent.terminate()
        ended = agent.expect("ended")
        assert (ended["account"]["fenced"], ended["account"]["released"]) == (1, 0)


def test_connections_that_are_cut_lose_and_double_nothing(kind: str, queue: Queue) -> None:
    count = 400
    ids = [one.id for one in client(queue).enqueue_many(backstop.NewTask(b"") for _ in range(count))]
    runs: collections.Counter[str] = collections.Counter()
    answers: collections.Counter[str] = collections.Counter()
    done = threading.Event()
    cuts = 0

    def cut() -> None:
        nonlocal cuts
        while not done.wait(0.03):
            cuts += int(queue.redis.client_kill_filter(_type="normal", skipme=True))  # type: ignore[no-untyped-call,unused-ignore]

    agents: list[backstop.Agent | backstop.aio.Agent] = []

    def use(agent: backstop.Agent | backstop.aio.Agent) -> None:
        agents.append(agent)

    def hear(id: str, token: str, word: str) -> None:
        answers[f"{id} {word in ('completed', 'already')}"] += 1
        if sum(answers.values()) == count:
            agents[0].stop()

    def handler(task: TaskView) -> None:
        runs[task.id] += 1
        time.sleep(0.001)

    cutting = threading.Thread(target=cut)
    cutting.start()
    try:
        account = run(
            kind, queue, handler, use=use, concurrency=16, response_timeout=0.3, on_answer=hear, drain_timeout=20
        )
    finally:
        done.set()
        cutting.join()
    assert cuts > 10
    assert account.completed == count and account.refused == account.fenced == 0
    assert runs == collections.Counter(ids), "each ran once: what a lost answer brought went back unrun"
    assert answers == collections.Counter(f"{id} True" for id in ids)
    assert queue.ask("HGET", "stats", "completed") == str(count).encode()
    assert not queue.pending() and queue.ask("ZCARD", "agents") == 0


def test_work_that_comes_is_heard_of_at_once(kind: str, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backstop.life.poll", lambda: 60.0)
    began: list[float] = []

    def enqueue(agent: backstop.Agent | backstop.aio.Agent) -> None:
        def work() -> None:
            wait_for(
                lambda: dict(queue.redis.pubsub_numsub(queue.key("wake")))[queue.key("wake").encode()], "it listens"
            )  # type: ignore[no-untyped-call,unused-ignore]
            began.append(time.monotonic())
            client(queue).enqueue(b"")

        threading.Thread(target=work).start()

    account = run(kind, queue, lambda task: began.append(time.monotonic()), use=enqueue, count=1)
    assert account.completed == 1 and began[1] - began[0] < 5.0


def scripted(queue: Queue) -> int:
    """How many connections ran a script last."""
    clients = queue.redis.client_list()  # type: ignore[no-untyped-call,unused-ignore]
    return sum(one["cmd"] in ("eval", "evalsha") for one in clients)


def test_a_full_pool_ends_an_agent_or_makes_it_wait(kind: str, queue: Queue) -> None:
    with Driver(kind) as first, Driver(kind) as second, Driver(kind) as third:
        first.start(queue, **{"as": "w-0"})
        wait_for(lambda: queue.state("w-0") == b"active", "the first registers")
        second.tell("start", redis=queue.url, queue=queue.name, pool=["w", 1])
        assert second.expect("ended")["how"] == "pool_full"
        asked = scripted(queue)
        third.tell("start", redis=queue.url, queue=queue.name, pool=["w", 1], pool_full="wait")
        wait_for(lambda: scripted(queue) > asked, "the third is answered")
        assert third.silent()
        first.terminate()
        first.expect("ended")
        wait_for(lambda: queue.state("w-0") == b"active", "the third gets the name")
        assert queue.ask("HGET", "control", "incarnation") == b"2"


def test_what_one_agent_cannot_hold_is_reset(kind: str, queue: Queue) -> None:
    for id in ("t", "u"):
        client(queue).enqueue(b"", id=id)
    with Driver(kind) as killed, Driver(kind) as next_one:
        killed.start(queue, concurrency=2)
        killed.expect("started")
        killed.expect("started")
        killed.kill()
        next_one.start(queue, on_reconnect="resume", concurrency=1)
        resumed = next_one.expect("started")["id"]
        other = "u" if resumed == "t" else "t"
        assert queue.task(other, "session") == [b"!reset:agent_lost"]
        next_one.tell("finish", id=resumed, how="done")
        # The answer, and the other task's start, come in either order.
        events = [next_one.expect_any() for _ in range(2)]
        assert sorted((one["event"], one["id"]) for one in events) == [("answer", resumed), ("started", other)]
        next_one.tell("finish", id=other, how="done")
        next_one.expect("answer")
        next_one.terminate()
        account = next_one.expect("ended")["account"]
        assert (account["adopted"], account["taken"], account["completed"]) == (1, 1, 2)


def test_signals_are_what_they_were_before(kind: str, queue: Queue) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        client(queue).enqueue(b"", id="t")
        account = run(kind, queue, lambda task: os.kill(os.getpid(), signal.SIGTERM))
        assert account.completed == 1 and heard == []
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_cancelling_an_asyncio_agent_gives_back_what_runs(queue: Queue) -> None:
    client(queue).enqueue(b"", id="t")
    started = asyncio.Event()

    async def handler(task: backstop.aio.Task) -> None:
        started.set()
        await task.stop.wait()
        assert task.why() == "stopping"

    async def live() -> backstop.aio.Agent:
        agent = backstop.aio.Agent(queue.url, queue=queue.name, identity="w-1")
        running = asyncio.create_task(agent.run(handler))
        await started.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return agent

    # A handler that returns has completed its task, told to stop or not.
    began = time.monotonic()
    assert asyncio.run(live()).account.completed == 1
    assert time.monotonic() - began < 10.0, "the drain time-out isn't waited for"
    assert queue.state("w-1") == b"left"


def test_an_agent_runs_once_and_handlers_are_of_its_kind(queue: Queue) -> None:
    async def coroutine(task: backstop.Task) -> None:
        raise AssertionError

    agent = backstop.Agent(queue.url, queue=queue.name, identity="w-1")
    with pytest.raises(backstop.SetupError, match="aio"):
        agent.run(coroutine)
    client(queue).enqueue(b"", id="t")

    def plain(task: backstop.aio.Task) -> None:
        return None

    async def live() -> backstop.Account:
        return await backstop.aio.Agent(queue.url, queue=queue.name, identity="w-1", count=1).run(plain)  # type: ignore[arg-type]

    assert asyncio.run(live()).retried == 1
    assert queue.ask("GET", "error:t") == b"the handler isn't a coroutine function"


def test_a_client_of_redis_py_is_as_good_as_a_url(queue: Queue) -> None:
    other = backstop.Client(queue.redis, queue=queue.name)
    assert other.enqueue(b"", id="t").added
    agent = backstop.Agent(queue.redis, queue=queue.name, identity="w-1", count=1)
    assert agent.run(lambda task: None).completed == 1


def test_the_asyncio_client_enqueues(queue: Queue) -> None:
    async def live() -> list[bool]:
        client = backstop.aio.Client(queue.url, queue=queue.name)
        answers = [(await client.enqueue(b"", id="t")).added, (await client.enqueue(b"", id="t")).added]
        await client.close()
        return answers

    assert asyncio.run(live()) == [True, False]
