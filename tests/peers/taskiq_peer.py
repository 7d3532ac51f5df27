"""taskiq with taskiq-redis' stream broker: one worker, which runs four jobs at a time. See peer.py.

PEER_READ: how many jobs a worker takes in one read, 100. It reads no more before it began the last of them.
PEER_IDLE_MS: after how long a worker itself takes what others hold, 600000. It looks after a read that returned something.
"""

import asyncio
import os

import peer
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

broker = RedisStreamBroker(
    url=f"unix://{peer.REDIS}",
    xread_count=int(os.environ.get("PEER_READ", "100")),
    idle_timeout=int(os.environ.get("PEER_IDLE_MS", "600000")),
)
sleep = broker.task(task_name="sleep")(peer.job)
loop = asyncio.Runner()


async def kick(name, milliseconds):
    # Makes the group, if nobody has yet: it begins with what comes after.
    await broker.startup()
    await sleep.kiq(name, milliseconds)


def work():
    # What `taskiq worker --workers 1` does in its only process, without the parent that watches it.
    loop.run(run_receiver_task(broker, max_async_tasks=4, sync_workers=4, run_startup=True))


if __name__ == "__main__":
    peer.main(lambda *job: loop.run(kick(*job)), work, lambda: peer.stream(broker.queue_name))
