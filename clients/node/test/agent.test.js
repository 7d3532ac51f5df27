// One agent in this process, on a real Redis.
import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import {
  Agent, Client, Fatal, Fenced, GiveBack, InvalidName, PoolFull, SetupError, Stopped, StoreError, TooLarge,
} from '../src/index.js'
import { QUEUE, QUIET, enqueue, everyByte, fresh, key, stats } from './setup.js'
import { startRedis, until } from './server.js'

let server
before(async () => {
  server = await startRedis()
})
after(() => server.close())
beforeEach(() => fresh(server.redis))

const agentOf = (options = {}) => new Agent({
  redis: server.url, queue: QUEUE, identity: 'w-1', log: QUIET, responseTimeoutMs: 1000, ...options,
})

test('payloads, checkpoints and handles come back byte for byte', async () => {
  const payload = everyByte()
  const checkpoint = everyByte().subarray(0, 60_000)
  await enqueue(server.url, [{ id: 'a', payload }, { id: 'b', payload: '' }])
  const seen = []
  const account = await agentOf({ count: 3 }).run(async (task) => {
    seen.push([task.id, task.attempt, task.payload, task.checkpoint, task.external])
    if (task.id === 'b' || task.attempt > 1) return
    task.saveCheckpoint(checkpoint)
    await task.recordExternal('jöb-7')
    await until('the checkpoint is there', () => server.redis.exists(key('checkpoint:a')))
    throw new GiveBack(0)
  })
  const at = seen.findIndex(([id, attempt]) => id === 'a' && attempt === 1)
  assert.deepEqual(seen.splice(at, 1), [['a', 1, payload, null, null]])
  seen.sort(([one], [other]) => (one < other ? -1 : 1))
  assert.deepEqual(seen, [['a', 2, payload, checkpoint, 'jöb-7'], ['b', 1, Buffer.alloc(0), null, null]])
  assert.deepEqual([account.taken, account.completed, account.released], [3, 2, 1])
})

test('what is wrong is refused before anything is sent', async () => {
  const sent = async () => Number(/total_connections_received:(\d+)/.exec(await server.redis.info('stats'))[1])
  const before = await sent()
  const client = new Client({ redis: server.url, queue: QUEUE })
  for (const [options, error] of [
    [{ queue: 'a{b}' }, InvalidName], [{ identity: 'w.1' }, InvalidName], [{ identity: undefined }, SetupError],
    [{ concurrency: 0 }, SetupError], [{ concurrency: 257 }, SetupError], [{ redis: 'nowhere' }, SetupError],
    [{ identity: undefined, pool: { prefix: 'w', size: 0 } }, SetupError], [{ pool: { prefix: 'w', size: 2 } }, SetupError],
    [{ identity: undefined, pool: { prefix: 'w', size: 501 } }, SetupError],
    [{ identity: undefined, pool: { prefix: 'x'.repeat(39), size: 11 } }, SetupError],
    [{ onReconnect: 'adopt' }, SetupError], [{ poolFull: 'retry' }, SetupError], [{ stopGraceMs: -1 }, SetupError],
  ]) assert.throws(() => agentOf(options), error, JSON.stringify(options))
  await assert.rejects(client.enqueue('x', { id: '_a' }), InvalidName)
  await assert.rejects(client.enqueue('x', { type: 'a b' }), InvalidName)
  await assert.rejects(client.enqueue(Buffer.alloc(1024 * 1024 + 1)), TooLarge)
  await assert.rejects(client.enqueue({ not: 'bytes' }), TypeError)
  await assert.rejects(client.enqueue('x', { delayMs: -1 }), SetupError)
  client.close()
  assert.equal(await sent(), before)
  assert.deepEqual(await server.redis.keys('*'), [key('policy')])
})

test('the environment may name the identity', async () => {
  process.env.BACKSTOP_IDENTITY = 'w-env'
  try {
    await enqueue(server.url, [{ payload: '' }])
    await agentOf({ identity: undefined, count: 1 }).run(() => {})
    assert.equal(await server.redis.hget(key('agent:w-env'), 'state'), 'left')
  } finally {
    delete process.env.BACKSTOP_IDENTITY
  }
})

test('a checkpoint or a handle that is too large is an error of its handler, and nothing is sent', async () => {
  await enqueue(server.url, [{ id: 'a', payload: '' }])
  const account = await agentOf({ count: 1 }).run(async (task) => {
    assert.throws(() => task.saveCheckpoint(Buffer.alloc(64 * 1024 + 1)), TooLarge)
    await assert.rejects(task.recordExternal('x'.repeat(1025)), TooLarge)
    await assert.rejects(task.recordExternal(''), TooLarge)
    const beats = Number(await server.redis.hget(key('agent:w-1'), 'beat'))
    await until('a beat later', async () => Number(await server.redis.hget(key('agent:w-1'), 'beat')) > beats + 1)
    assert.equal(await server.redis.exists(key('checkpoint:a'), key('external:a')), 0)
    task.saveCheckpoint(Buffer.alloc(64 * 1024))
    await until('the largest is kept', async () => (await server.redis.strlen(key('checkpoint:a'))) === 64 * 1024)
  })
  assert.equal(account.completed, 1)
})

test('how a handler ends is what becomes of its task', async () => {
  await server.redis.hset(key('policy'), '_task', '3600000 0 -1 30000 -1 3 1 10 1000 10 10 1')
  await enqueue(server.url, ['retry', 'fatal', 'back', 'sync'].map((id) => ({ id, payload: '' })))
  const words = []
  const agent = agentOf({
    concurrency: 4,
    onAnswer(id, _, word) {
      words.push(`${id} ${word}`)
      if (words.length === 7) agent.stop()
    },
  })
  const account = await agent.run((task) => {
    if (task.id === 'retry') return Promise.reject(new TypeError('é'.repeat(1000)))
    if (task.id === 'fatal') throw new Fatal('in vain')
    if (task.id === 'back' && task.attempt === 1) throw new GiveBack()
    if (task.id === 'sync' && task.attempt === 1) throw undefined
  })
  assert.deepEqual(words.sort(), [
    'back completed', 'back released', 'fatal dead', 'retry dead', 'retry retried', 'sync completed', 'sync retried',
  ])
  assert.deepEqual([account.completed, account.retried, account.dead, account.released], [2, 2, 2, 1])
  assert.equal(await server.redis.get(key('error:fatal')), 'in vain')
  const error = await server.redis.get(key('error:retry'))
  assert.ok(Buffer.byteLength(error) <= 1024 && /^é+$/.test(error), error)
})

test('a session that was given up stops its work, and another begins under its name', async () => {
  await enqueue(server.url, [{ id: 'a', payload: '' }])
  const whys = []
  const agent = agentOf({ onReconnect: 'reset' })
  const ran = agent.run(async (task) => {
    if (task.attempt > 1) return agent.stop()
    await server.redis.zrem(key('agents'), await server.redis.hget(key('task:a'), 'session'))
    await new Promise((resolve) => task.signal.addEventListener('abort', resolve))
    whys.push(task.why())
    task.signal.throwIfAborted()
  })
  const account = await ran
  assert.deepEqual(whys, ['fenced'])
  assert.deepEqual([account.taken, account.completed, account.fenced], [2, 1, 1])
  const count = await stats(server.redis)
  assert.equal(count('registered'), 2)
  assert.match(await server.redis.hget(key('agent:w-1'), 'session'), /^w-1\.2-/)
})

test('a run that no longer holds its task is told so when it records a handle', async () => {
  await enqueue(server.url, [{ id: 'a', payload: '' }])
  const agent = agentOf({ concurrency: 2 })
  let next
  const account = await agent.run(async (task) => {
    if (task.attempt > 1) {
      next = task.external
      return agent.stop()
    }
    await task.recordExternal('one')
    // As the sweeper's reset does it.
    await server.redis.multi().zrem(key(`running:${await server.redis.hget(key('task:a'), 'session')}`), 'a')
      .hset(key('task:a'), 'session', '!reset:agent_lost').zadd(key('pending'), 1, 'a').exec()
    await assert.rejects(task.recordExternal('two'), Fenced)
    assert.equal(task.why(), 'fenced')
    assert.ok(task.signal.aborted)
  })
  assert.equal(next, 'two')
  assert.deepEqual([account.completed, account.fenced], [1, 1])
})

test('a pool that is full is said, or waited for', async () => {
  const holder = agentOf({ identity: 'p-0' })
  const held = holder.run(() => {})
  await until('it is held', () => server.redis.exists(key('agent:p-0')))
  const pool = { identity: undefined, pool: { prefix: 'p', size: 1 } }
  await assert.rejects(agentOf(pool).run(() => {}), PoolFull)
  const waiting = agentOf({ ...pool, poolFull: 'wait' })
  const waited = waiting.run(() => {})
  const impatient = agentOf({ ...pool, poolFull: 'wait' })
  const ended = assert.rejects(impatient.run(() => {}), Stopped)
  impatient.stop()
  await ended
  holder.stop()
  await held
  await until('the waiting one has it', async () => (await server.redis.hget(key('agent:p-0'), 'state')) === 'active')
  waiting.stop()
  await waited
})

test('a handler that goes on though it was told to stop is no longer waited for', async () => {
  await enqueue(server.url, [{ id: 'a', payload: '' }])
  const agent = agentOf({ drainTimeoutMs: 50, stopGraceMs: 50 })
  let task
  let end
  const account = await agent.run((given) => {
    task = given
    agent.stop()
    return new Promise((resolve) => {
      end = resolve
    })
  })
  assert.deepEqual([account.released, account.completed], [1, 0])
  assert.equal(await server.redis.zscore(key('pending'), 'a'), '1')
  end()
  task.saveCheckpoint('late')
  await assert.rejects(task.recordExternal('late'), StoreError)
  assert.equal(await server.redis.exists(key('checkpoint:a')), 0)
})

test("a drain is obeyed: 'release' gives back what runs, and nothing more is taken", async () => {
  await enqueue(server.url, [{ id: 'a', payload: '' }, { id: 'b', payload: '' }])
  const agent = agentOf()
  const account = await agent.run(async (task) => {
    await server.redis.hset(key('agent:w-1'), 'draining', 'release')
    await new Promise((resolve) => task.signal.addEventListener('abort', resolve))
    assert.equal(task.why(), 'stopping')
    setTimeout(() => agent.stop(), 300)
    throw task.signal.reason
  })
  assert.deepEqual([account.taken, account.released], [1, 1])
  assert.equal(await server.redis.zcard(key('pending')), 2)
})

test('a wrong password ends the agent, and is not shown', async () => {
  const locked = await startRedis()
  try {
    await locked.redis.config('SET', 'requirepass', 'right')
    const agent = agentOf({ redis: locked.url.replace('//', '//:wrong-secret@') })
    await assert.rejects(agent.run(() => {}), (error) => {
      assert.ok(error instanceof StoreError && error.failure === 'permanent', error.message)
      assert.match(error.message, /check the Redis URL/)
      assert.ok(!`${error.stack}${JSON.stringify(error)}`.includes('wrong-secret'))
      return true
    })
  } finally {
    await locked.close()
  }
})
