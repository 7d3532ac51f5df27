"""FastStream on a Redis stream with a consumer group: one worker, which runs four jobs at a time. See peer.py.

Nothing takes what a dead worker held.
PEER_READ: how many jobs a worker takes in one read, else all there are. It reads no more before it began the last of them.
"""

import asyncio
import os

import peer
from faststream import FastStream
from faststream.redis import RedisBroker, StreamSub
from redis.exceptions import ResponseError

STREAM, GROUP = "jobs", "workers"
broker = RedisBroker(f"unix://{peer.REDIS}")
loop = asyncio.Runner()


async def publish(name, milliseconds):
    redis = await broker.connect()
    try:
        # As the first worker does: the group begins with what comes after.
        await redis.xgroup_create(STREAM, GROUP, id="$", mkstream=True)
    except ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise
    await broker.publish([name, milliseconds], stream=STREAM)


def work():
    read = int(os.environ.get("PEER_READ", "0")) or None
    stream = StreamSub(STREAM, group=GROUP, consumer=f"peer-{os.getpid()}", max_records=read)

    @broker.subscriber(stream=stream, max_workers=4)
    def sleep(job: list):
        peer.job(*job)

    loop.run(FastStream(broker).run())


if __name__ == "__main__":
    peer.main(lambda *job: loop.run(publish(*job)), work, lambda: peer.stream(STREAM))
