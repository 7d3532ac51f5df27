// Agents that are processes, stopped and killed by real signals.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { startDriver } from './driver.js'
import { startRedis, until } from './server.js'
import { QUEUE, enqueue, fresh, key, stats } from './setup.js'

let server
let drivers = []
before(async () => {
  server = await startRedis()
})
after(() => server.close())
beforeEach(() => fresh(server.redis))
afterEach(async () => {
  await Promise.all(drivers.splice(0).map((driver) => driver.kill()))
})

function agent(options = {}) {
  const driver = startDriver()
  drivers.push(driver)
  driver.say({ do: 'start', redis: server.url, queue: QUEUE, as: 'w-1', response_timeout_ms: 300, ...options })
  return driver
}

test('a killed process leaves its task to the next of its name, with checkpoint and handle', async () => {
  await enqueue(server.url, [{ id: 'a', payload: 'p' }])
  const first = agent()
  const { token } = await first.event({ event: 'started', id: 'a' })
  first.say({ do: 'checkpoint', id: 'a', hex: '00ff' })
  first.say({ do: 'external', id: 'a', handle: 'job-7' })
  await first.event({ event: 'recorded' })
  await until('the checkpoint is there', () => server.redis.exists(key('checkpoint:a')))
  assert.equal((await first.kill()).signal, 'SIGKILL')

  const second = agent({ on_reconnect: 'ask' })
  const asked = await second.event({ event: 'asked', id: 'a' })
  assert.deepEqual([asked.token, asked.checkpoint_hex, asked.external], [token, '00ff', 'job-7'])
  second.say({ do: 'decide', id: 'a', choice: 'resume' })
  const started = await second.event({ event: 'started', id: 'a' })
  assert.deepEqual([started.attempt, started.checkpoint_hex, started.external], [2, '00ff', 'job-7'])
  second.say({ do: 'finish', id: 'a', how: 'done' })
  await second.event({ event: 'answer', word: 'completed' })
  second.say({ do: 'stop' })
  const { account } = await second.event({ event: 'ended', how: 'done' })
  assert.deepEqual([account.adopted, account.completed], [1, 1])
  const count = await stats(server.redis)
  assert.deepEqual([count('adopted'), count('completed'), count('taken')], [1, 1, 1])
})

test('SIGTERM gives back what does not end in time, with its checkpoint, and the session leaves', async () => {
  await enqueue(server.url, [{ id: 'a', payload: '' }, { id: 'b', payload: '' }])
  const first = agent({ drain_timeout_ms: 200, concurrency: 2 })
  await first.event({ event: 'started', id: 'a' })
  await first.event({ event: 'started', id: 'b' })
  process.kill(first.pid, 'SIGTERM')
  first.say({ do: 'finish', id: 'b', how: 'done' })
  await first.event({ event: 'answer', id: 'b', word: 'completed' })
  // Unless it beats once more, this comes too late.
  first.say({ do: 'checkpoint', id: 'a', hex: '07' })
  await first.event({ event: 'stopping', id: 'a', why: 'stopping' })
  const { account } = await first.event({ event: 'ended', how: 'done' })
  assert.deepEqual([account.taken, account.completed, account.released], [2, 1, 1])
  assert.deepEqual(await server.redis.zrange(key('pending'), 0, -1), ['a'])
  assert.equal(await server.redis.hget(key('agent:w-1'), 'state'), 'left')
  assert.equal(await server.redis.zcard(key('agents')), 0)
  assert.deepEqual(await server.redis.getBuffer(key('checkpoint:a')), Buffer.of(7))
})

test('a checkpoint saved as the last word before giving back reaches the next attempt', async () => {
  await server.redis.hset(key('policy'), '_heartbeat_interval', 60_000)
  await enqueue(server.url, [{ id: 'a', payload: '' }])
  const one = agent()
  await one.event({ event: 'started', id: 'a', attempt: 1 })
  await until('the first beat', async () => (await server.redis.hget(key('agent:w-1'), 'beat')) === '1')
  one.say({ do: 'checkpoint', id: 'a', hex: '01' })
  one.say({ do: 'finish', id: 'a', how: 'give_back', delay_ms: 0 })
  assert.equal((await one.event({ event: 'started', id: 'a', attempt: 2 })).checkpoint_hex, '01')
  one.say({ do: 'checkpoint', id: 'a', hex: '02' })
  one.say({ do: 'finish', id: 'a', how: 'retry', error: 'x' })
  assert.equal((await one.event({ event: 'started', id: 'a', attempt: 3 })).checkpoint_hex, '02')
})

test('of two processes of one name the younger lives, and the older ends and does not come back', async () => {
  const older = agent()
  await until('it is registered', () => server.redis.exists(key('agent:w-1')))
  await enqueue(server.url, [{ id: 'a', payload: '' }])
  await older.event({ event: 'started', id: 'a' })
  const younger = agent({ on_reconnect: 'resume' })
  await younger.event({ event: 'started', id: 'a', attempt: 2 })
  await older.event({ event: 'stopping', id: 'a', why: 'fenced' })
  await older.event({ event: 'ended', how: 'superseded' })
  younger.say({ do: 'finish', id: 'a', how: 'done' })
  await younger.event({ event: 'answer', word: 'completed' })
  assert.equal((await stats(server.redis))('registered'), 2)
  assert.match(await server.redis.hget(key('agent:w-1'), 'session'), /^w-1\.2-/)
})

test('a handler that keeps the event loop for longer than others wait does not stop the heart, nor lose its tasks', async () => {
  const lost = 2000
  const policy = { _heartbeat_interval: 200, _heartbeat_timeout: 1000, _lost_after: 1000, _stop_on_agent_after: 1500 }
  await server.redis.hset(key('policy'), policy)
  await enqueue(server.url, [{ id: 'a', payload: '' }, { id: 'b', payload: '' }])
  const program = fileURLToPath(new URL('./blocker.js', import.meta.url))
  const child = spawn(process.execPath, [program, server.url, String(lost + 1000)], { stdio: ['ignore', 'pipe', 'inherit'] })
  let said = ''
  child.stdout.on('data', (text) => {
    said += text
  })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  const began = await until('a session', async () => (await server.redis.zrange(key('agents'), 0, 0))[0])
  let longest = 0
  let saved = 0
  await until('both are done', async () => {
    const [[, [seconds, micros]], [, beat], [, checkpoints]] = await server.redis.multi().time().zscore(key('agents'), began)
      .exists(key('checkpoint:a'), key('checkpoint:b')).exec()
    if (beat !== null) longest = Math.max(longest, seconds * 1000 + micros / 1000 - beat)
    saved = Math.max(saved, checkpoints)
    return (await stats(server.redis))('completed') === 2
  })
  assert.ok(longest < lost, `silent for ${longest} ms, others get its work after ${lost}`)
  assert.ok(saved >= 1, 'what a busy handler saves goes with the beats')
  assert.equal(await ended, 0, 'nothing keeps a process alive whose agent has ended')
  const account = JSON.parse(said)
  assert.deepEqual([account.taken, account.completed, account.fenced, account.released], [2, 2, 0, 0])
  const count = await stats(server.redis)
  assert.deepEqual([count('taken'), count('registered')], [2, 1])
})

test('an outage stops the work in time, and the agent goes on after it', async () => {
  await enqueue(server.url, [{ id: 'a', payload: '' }])
  const one = agent()
  await one.event({ event: 'started', id: 'a' })
  process.kill(server.pid, 'SIGSTOP')
  try {
    await one.event({ event: 'stopping', id: 'a', why: 'out_of_touch' })
  } finally {
    process.kill(server.pid, 'SIGCONT')
  }
  await one.event({ event: 'started', id: 'a', attempt: 2 })
  one.say({ do: 'finish', id: 'a', how: 'done' })
  await one.event({ event: 'answer', id: 'a', word: 'completed' })
  one.say({ do: 'stop' })
  const { account } = await one.event({ event: 'ended', how: 'done' })
  assert.equal(account.completed, 1)
  const count = await stats(server.redis)
  assert.deepEqual([count('completed'), count('registered')], [1, 1])
})
