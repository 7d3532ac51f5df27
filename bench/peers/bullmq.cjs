/* What BullMQ's own recovery does with abandoned tasks, for the benchmark to compare.

     PROGRAM bullmq5|bullmq6 fill RUNNING LOST
     PROGRAM bullmq5|bullmq6 recover

   As peers.py. PEER_BULLMQ is the folder that has the packages bullmq5 and bullmq6. */

const fs = require('fs');
const path = require('path');
const { randomUUID } = require('crypto');
const { createRequire } = require('module');

const [system, command, running, lost] = process.argv.slice(2);
const peers = createRequire(path.resolve(process.env.PEER_BULLMQ, 'any.js'));
const { Queue, Worker } = peers(system);
const Redis = createRequire(peers.resolve(system))('ioredis');
const connection = { path: process.env.PEER_REDIS, maxRetriesPerRequest: null };
const QUEUE = 'work';

const worker = () => new Worker(QUEUE, null, { connection, autorun: false });

async function fill(running, lost) {
    const queue = new Queue(QUEUE, { connection });
    const agent = worker();
    const token = randomUUID();
    // An id of one's own, since copies need ids of one length.
    const { id } = await queue.add('sleep', { seconds: 60 }, { jobId: randomUUID() });
    await agent.getNextJob(token);
    // A check marks all that runs as stalled, and those that live take their mark away when they renew their lock.
    await agent.moveStalledJobsToWait();
    const redis = new Redis(connection);
    await redis.swapdb(0, 1);
    const script = fs.readFileSync(path.join(__dirname, 'clone.lua'));
    const want = { running, lost, group: 1, ids: [[id, 1], [token, 1]], old: 0, new: 0 };
    Object.assign(want, { only_lost: `bull:${QUEUE}:stalled`, cap: 10000 });
    for (let from = 0; from < running; from += 5000) {
        const part = { from, until: Math.min(from + 5000, running) };
        await redis.eval(script, 0, JSON.stringify({ ...want, ...part }));
    }
    await redis.select(1);
    await redis.flushdb();
    await Promise.all([agent.close(), queue.close(), redis.quit()]);
}

async function recover() {
    const agent = worker();
    const redis = new Redis(connection);
    const cpu = async () => {
        const info = await redis.info('cpu');
        const of = (name) => Number(info.match(new RegExp(`used_cpu_${name}_main_thread:(.*)`))[1]);
        return of('user') + of('sys');
    };
    await redis.config('SET', 'slowlog-log-slower-than', 100);
    await redis.slowlog('RESET');
    let recovered = 0;
    agent.on('stalled', () => (recovered += 1));
    await agent.waitUntilReady();
    const [began, before] = [performance.now(), await cpu()];
    await agent.moveStalledJobsToWait();
    const [seconds, spent] = [(performance.now() - began) / 1000, (await cpu()) - before];
    const slow = await redis.slowlog('GET', -1);
    console.log(
        JSON.stringify({
            system,
            recovered,
            seconds: Number(seconds.toFixed(4)),
            redis_cpu_seconds: Number(spent.toFixed(4)),
            longest_ms: Math.max(0, ...slow.map((entry) => entry[2] / 1000)),
            note: "moveStalledJobsToWait, one script; by the slow log",
        }),
    );
    await Promise.all([agent.close(), redis.quit()]);
}

(command === 'fill' ? fill(Number(running), Number(lost)) : recover()).catch((error) => {
    console.error(error);
    process.exit(1);
});
