// BullMQ: one worker, which runs four jobs at a time in its own process. The command line is that of peer.py, and
//
//   bullmq_peer.mjs pause | resume | retry    the whole queue; what failed, as a person would in a web page
//
// PEER_REDIS: the path of a unix socket. PEER_LEDGER: the file that jobs write to.
// PEER_BULLMQ: the major version, 6 or 5.
// PEER_LOCK_MS: how long a job's lock lives, 30000. It is renewed four times as often.
// PEER_STALLED_MS: how often a worker looks for jobs without a lock, 30000; what it finds twice in a row waits again. 0: never.

import { closeSync, openSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

// Not imported: tools/ensure-peers names their folder in NODE_PATH, which imports don't look at.
const { Queue, Worker } = createRequire(import.meta.url)(`bullmq${process.env.PEER_BULLMQ ?? 6}`);

const QUEUE = 'peers';
const connection = { path: process.env.PEER_REDIS, maxRetriesPerRequest: null };
const [command, ...args] = process.argv.slice(2);

function note(line) {
  const ledger = openSync(process.env.PEER_LEDGER, 'a');
  writeSync(ledger, `${line}\n`);
  closeSync(ledger);
}

async function perform({ name, data }) {
  note(`start ${name}`);
  if (data.milliseconds < 0) throw new Error('told to fail');
  await new Promise((done) => setTimeout(done, data.milliseconds));
  note(`done ${name}`);
}

function work(ledger) {
  process.env.PEER_LEDGER = resolve(ledger);
  const lockDuration = Number(process.env.PEER_LOCK_MS ?? 30000);
  const stalledInterval = Number(process.env.PEER_STALLED_MS ?? 30000);
  const settings = stalledInterval ? { stalledInterval } : { skipStalledCheck: true };
  const worker = new Worker(QUEUE, perform, { connection, concurrency: 4, lockDuration, ...settings });
  for (const event of ['error', 'failed', 'stalled', 'lockRenewalFailed']) {
    worker.on(event, (...what) => console.error(event, ...what.map((w) => w?.message ?? w?.name ?? w)));
  }
  process.once('SIGTERM', () => worker.close().then(() => process.exit(0)));
}

async function withQueue(act) {
  const queue = new Queue(QUEUE, { connection });
  await act(queue);
  await queue.close();
}

switch (command) {
  case 'enqueue': {
    const [n, milliseconds] = args.map(Number);
    const jobs = Array.from({ length: n }, (_, i) => ({ name: `job-${i}`, data: { milliseconds } }));
    await withQueue((queue) => queue.addBulk(jobs));
    break;
  }
  case 'work':
    work(args[0]);
    break;
  case 'count':
    await withQueue(async (queue) => {
      const { waiting, prioritized, delayed, paused = 0, active, completed, failed } = await queue.getJobCounts();
      const reasons = (await queue.getFailed()).map((job) => job.failedReason);
      const pending = waiting + prioritized + delayed + paused;
      console.log(JSON.stringify({ pending, running: active, dead: failed, completed, reasons }));
    });
    break;
  case 'pause':
  case 'resume':
    await withQueue((queue) => queue[command]());
    break;
  case 'retry':
    await withQueue((queue) => queue.retryJobs({ state: 'failed' }));
    break;
  default:
    console.error('usage: bullmq_peer.mjs enqueue N MILLISECONDS | work LEDGER | count | pause | resume | retry');
    process.exit(2);
}
