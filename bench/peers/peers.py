"""What clients' own recovery does with abandoned tasks, for the benchmark to compare.

    PROGRAM SYSTEM fill RUNNING LOST    write the state in which RUNNING tasks run, of which LOST are abandoned
    PROGRAM SYSTEM recover              let the client put the lost ones back, and print what that took as one line of JSON

PEER_REDIS is the path of the unix socket of a server that has nothing else. SYSTEM is dramatiq, rq, celery, asynq or taskiq. BullMQ is
in bullmq.cjs, Sidekiq in sidekiq.rb.

To fill, the real client enqueues one task and takes it; clone.lua makes as many of that as wanted.
"""

import asyncio
import json
import logging
import os
import sys
import time
import uuid

import redis

SOCKET = os.environ["PEER_REDIS"]
client = redis.Redis(unix_socket_path=SOCKET)
# What a client says of each task would count as its time.
logging.disable(logging.ERROR)


def clone(running, lost, ids, *, group=1, old=0, new=0, step=5000):
    """See clone.lua. Each of `ids` is an id, or an id and of how many tasks it is."""
    client.swapdb(0, 1)
    with open(os.path.join(os.path.dirname(__file__), "clone.lua")) as file:
        script = client.register_script(file.read())
    want = {"running": running, "lost": lost, "group": group, "old": old, "new": new}
    want["ids"] = [id if isinstance(id, tuple) else (id, 1) for id in ids]
    for start in range(0, running, step):
        script(args=[json.dumps(want | {"from": start, "until": min(start + step, running)})])
    redis.Redis(unix_socket_path=SOCKET, db=1).flushdb()


class Dramatiq:
    note = "the dispatch script's maintenance, in one call; each hundred tasks are one worker's"

    def __init__(self):
        import dramatiq
        from dramatiq.brokers.redis import RedisBroker

        self.broker = RedisBroker(url=f"unix://{SOCKET}", maintenance_chance=1_000_000)
        dramatiq.set_broker(self.broker)
        self.actor = dramatiq.actor(time.sleep, actor_name="sleep")

    def fill(self, running, lost):
        message = self.actor.send(60)
        taken = next(self.broker.consume("default", prefetch=1))
        ids = [message.message_id, taken.options["redis_message_id"], (self.broker.broker_id, 100)]
        clone(running, lost, ids, group=100, old=-3_600_000, new=3_600_000)

    def recover(self):
        # Counting is the one command that does maintenance and nothing else.
        self.broker.do_qsize("default")
        return client.llen("dramatiq:default")


class Rq:
    note = "StartedJobRegistry.cleanup, in one call: it moves them to the failed jobs, and puts none back"

    def __init__(self):
        import rq

        self.rq, self.queue = rq, rq.Queue(connection=client)

    def fill(self, running, lost):
        worker = self.rq.Worker([self.queue], name=uuid.uuid4().hex, connection=client)
        worker.register_birth()
        self.queue.enqueue("time.sleep", 60)
        job, _ = worker.dequeue_job_and_maintain_ttl(1)
        # What the worker does when it executes a job, less the fork between the two.
        execution = worker.prepare_execution(job)
        worker.prepare_job_execution(job, remove_from_intermediate_queue=True)
        # A worker runs one job at a time, so each has its own.
        clone(running, lost, [job.id, execution.id, worker.name], old=-3600, new=3600)

    def recover(self):
        self.rq.registry.StartedJobRegistry(queue=self.queue).cleanup()
        return self.queue.failed_job_registry.get_job_count(cleanup=False)


class Celery:
    note = "kombu's restore_visible, in one call without a limit, as its own poller calls it"

    def __init__(self):
        import celery

        self.app = celery.Celery(broker=f"redis+socket://{SOCKET}")
        self.app.conf.task_acks_late = True

    def fill(self, running, lost):
        task = self.app.send_task("sleep", (60,))
        channel = self.app.connection_for_read().channel()
        message = channel.basic_get("celery")
        # The default visibility timeout is an hour.
        # Those that live were delivered in an hour: an age of zero would pass while the other side looks.
        clone(running, lost, [task.id, message.delivery_tag], old=-7200, new=3600)
        # Else it would look for the task that it holds when it exits.
        channel.qos._delivered.clear()

    def recover(self):
        channel = self.app.connection_for_read().channel()
        # Its own poller calls it each second or so; each tenth call does something.
        channel.qos.restore_visible(num=channel.unacked_restore_limit, interval=1)
        return client.llen("celery")


class Taskiq:
    note = (
        "RedisStreamBroker.listen, each task acknowledged; one new message a page, since it claims only after a read that "
        "returned some; the lost are the oldest, since it looks at the oldest thousand only"
    )

    def __init__(self):
        from taskiq_redis import RedisStreamBroker

        self.make = lambda: RedisStreamBroker(f"unix://{SOCKET}")

    def fill(self, running, lost):
        anyone = str(uuid.UUID(int=0))

        async def start():
            broker = self.make()
            await broker.startup()
            task = broker.register_task(lambda seconds: None, task_name="sleep")
            return broker.formatter.dumps(task.kicker().with_task_id(anyone)._prepare_message(60)).message.decode()

        data = asyncio.run(start())
        pipe = client.pipeline(transaction=False)
        for i in range(running):
            pipe.xadd("taskiq", {"data": data.replace(anyone, str(uuid.uuid4()))})
            if i % 5000 == 4999 or i == running - 1:
                pipe.execute()
        for start in range(0, running, 100):
            consumer = str(uuid.uuid4())
            took = client.xreadgroup("taskiq", consumer, {"taskiq": ">"}, count=100)
            ids = [id for id, _ in took[0][1]][: max(0, lost - start)]
            if ids:
                # Idle for longer than the ten minutes after which it claims.
                client.xclaim("taskiq", "taskiq", consumer, 0, ids, idle=3_600_000, retrycount=1, justid=True)

    def recover(self):
        from taskiq import BrokerMessage

        new = BrokerMessage(task_id="new", task_name="new", message=b"new", labels={})

        async def listen():
            broker, back, claimed = self.make(), 0, True
            await broker.kick(new)
            async for message in broker.listen():
                if message.data != new.message:
                    back, claimed = back + 1, True
                elif claimed:
                    await broker.kick(new)
                    claimed = False
                else:
                    return back
                await message.ack()

        return asyncio.run(listen())


def cpu():
    info = client.info("cpu")
    return info["used_cpu_user_main_thread"] + info["used_cpu_sys_main_thread"]


def longest_ms():
    """By the slow log, which leaves out EXEC and what took less than 0.1 ms; by the latency monitor, in whole ms, EXEC included."""
    slow = max((entry["duration"] / 1000 for entry in client.slowlog_get(-1)), default=0)
    return max([slow] + [event[3] for event in client.latency_latest() if event[0] in (b"command", b"fast-command")])


def main():
    from asynq import Asynq

    systems = {"dramatiq": Dramatiq, "rq": Rq, "celery": Celery, "taskiq": Taskiq, "asynq": lambda: Asynq(client, clone)}
    match sys.argv[1:]:
        case [system, "fill", running, lost] if system in systems:
            systems[system]().fill(int(running), int(lost))
        case [system, "recover"] if system in systems:
            peer = systems[system]()
            limits = {"slowlog-log-slower-than": 100, "slowlog-max-len": 100_000, "latency-monitor-threshold": 1}
            for name, value in limits.items():
                client.config_set(name, value)
            client.slowlog_reset()
            client.latency_reset()
            began, before = time.monotonic(), cpu()
            recovered = peer.recover()
            seconds, spent = time.monotonic() - began, cpu() - before
            result = {"system": system, "recovered": recovered, "seconds": round(seconds, 4), "redis_cpu_seconds": round(spent, 4)}
            print(json.dumps(result | {"longest_ms": longest_ms(), "note": peer.note}))
        case _:
            sys.exit(f"usage: {sys.argv[0]} {'|'.join(systems)} fill RUNNING LOST | SYSTEM recover")


if __name__ == "__main__":
    main()
