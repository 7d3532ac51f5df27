// What tests of agents on a real Redis have in common.
import { randomBytes } from 'node:crypto'
import { Client } from '../src/index.js'

export const QUEUE = 'q'
export const key = (name) => `backstop:{${QUEUE}}:${name}`
export const QUIET = { debug() {}, info() {}, warn() {}, error() {} }

/** Short clocks, as the daemon would publish them: a beat each 100 ms, work stops after 400, others may get it after 500. */
export const hurry = (redis) => redis.hset(key('policy'), {
  _heartbeat_interval: 100, _heartbeat_timeout: 300, _lost_after: 200, _stop_on_agent_after: 400,
})

/** Empties the server, so that tests of one file may share one. */
export const fresh = async (redis) => {
  await redis.flushall()
  await hurry(redis)
}

export async function enqueue(url, tasks) {
  const client = new Client({ redis: url, queue: QUEUE })
  try {
    return await client.enqueueMany(tasks)
  } finally {
    client.close()
  }
}

export const stats = async (redis) => {
  const counted = await redis.hgetall(key('stats'))
  return (name) => Number(counted[name] ?? 0)
}

export const everyByte = () => Buffer.concat([Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)), randomBytes(100_000)])
