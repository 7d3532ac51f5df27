// What an answer that never comes, or a connection that drops, could lose or double.
import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { Agent, Client } from '../src/index.js'
import { SCRIPTS } from '../src/scripts.js'
import { startProxy } from './proxy.js'
import { startRedis, until } from './server.js'
import { QUEUE, QUIET, enqueue, fresh, key, stats } from './setup.js'

let server
let proxy
before(async () => {
  server = await startRedis()
})
after(() => server.close())
beforeEach(async () => {
  await fresh(server.redis)
  // An answer that is waited for in vain takes most of the time that the work may go on without one.
  await server.redis.hset(key('policy'), '_stop_on_agent_after', -1)
  for (const { source } of Object.values(SCRIPTS)) await server.redis.script('LOAD', source)
})
afterEach(() => proxy?.close())

/** A door at which the first `times` answers to a script get lost. */
async function losing(name, times) {
  let left = times
  proxy = await startProxy(server.port, (sent) => sent.includes(SCRIPTS[name].sha) && left-- > 0)
  return { url: proxy.url, sentAgain: () => left < 0 }
}

const agentOf = (redis, options = {}) => new Agent({ redis, queue: QUEUE, identity: 'w-1', log: QUIET, responseTimeoutMs: 300, ...options })

/** Runs all that is there, and says how often each task ran. */
async function runAll(agent, tasks, ready = () => true) {
  const runs = new Map()
  const running = agent.run(async (task) => {
    runs.set(task.id, (runs.get(task.id) ?? 0) + 1)
    await until('what was lost was sent again', ready)
  })
  await until('all are completed', async () => (await stats(server.redis))('completed') === tasks)
  await until('nobody holds any', async () => !(await server.redis.keys(key('running:*'))).length)
  agent.stop()
  return { runs, account: await running }
}

const CASES = [
  ['take', 2, 'what an unanswered take took is given back, and runs once'],
  ['complete', 2, 'an unanswered completion is told again, and counts once'],
  ['register', 2, 'an unanswered registration is repeated, and is one session'],
  ['beat', 3, 'unanswered beats are followed by others'],
  ['leave', 1, 'an unanswered farewell is repeated'],
]
for (const [name, times, what] of CASES) {
  test(what, async () => {
    await enqueue(server.url, Array.from({ length: 20 }, (_, i) => ({ id: `t${i}`, payload: '' })))
    const { url, sentAgain } = await losing(name, times)
    const { runs, account } = await runAll(agentOf(url, { concurrency: 4 }), 20, name === 'beat' ? sentAgain : undefined)
    assert.ok(sentAgain())
    assert.deepEqual([...new Set(runs.values())], [1])
    assert.equal(runs.size, 20)
    assert.deepEqual([account.taken, account.completed, account.refused, account.fenced], [20, 20, 0, 0])
    const count = await stats(server.redis)
    assert.deepEqual([count('completed'), count('registered'), count('late')], [20, 1, 0])
    assert.equal(await server.redis.hget(key('agent:w-1'), 'state'), 'left')
  })
}

test('an unanswered adoption is repeated, and its task is not given back meanwhile', async () => {
  await enqueue(server.url, [{ id: 'a', payload: '' }])
  // A predecessor that holds it: its session is never ended.
  const dead = agentOf(server.url)
  const hung = dead.run((task) => new Promise((resolve) => task.signal.addEventListener('abort', resolve)))
  hung.catch(() => {})
  await until('it holds the task', async () => (await server.redis.keys(key('running:*'))).length === 1)
  const agent = agentOf((await losing('adopt', 3)).url, { onReconnect: 'resume', count: undefined })
  const { runs, account } = await runAll(agent, 1)
  assert.deepEqual([...runs], [['a', 1]])
  assert.deepEqual([account.adopted, account.completed], [1, 1])
  const count = await stats(server.redis)
  assert.deepEqual([count('adopted'), count('released'), count('taken')], [1, 0, 1])
  await assert.rejects(hung, /younger/)
})

test('an unanswered enqueueing is repeated, and adds each task once', async () => {
  const client = new Client({ redis: (await losing('enqueue', 2)).url, queue: QUEUE, responseTimeoutMs: 200 })
  const answers = await client.enqueueMany([{ id: 'a', payload: '' }, { payload: 'b' }])
  client.close()
  assert.deepEqual(answers.map(({ answer }) => answer), ['exists', 'exists'])
  assert.equal(await server.redis.zcard(key('pending')), 2)
  assert.deepEqual(await server.redis.smembers('backstop:queues'), [QUEUE])
})

test('killing its connections over and over loses and doubles nothing', async () => {
  const tasks = 1500
  const agent = agentOf(server.url, { concurrency: 16 })
  await enqueue(server.url, Array.from({ length: tasks }, (_, i) => ({ id: `t${i}`, payload: String(i) })))
  let killed = 0
  let over = false
  const killing = (async () => {
    while (!over) {
      killed += await server.redis.client('KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
      await new Promise((resolve) => setTimeout(resolve, 40 + 40 * Math.random()))
    }
  })()
  const runs = new Map()
  const running = agent.run(async (task) => {
    runs.set(task.id, (runs.get(task.id) ?? 0) + 1)
    await new Promise((resolve) => setTimeout(resolve, 20 * Math.random()))
  })
  await until('all are completed', async () => (await stats(server.redis))('completed') === tasks, 50_000)
  over = true
  await killing
  await until('nobody holds any', async () => !(await server.redis.keys(key('running:*'))).length)
  agent.stop()
  const account = await running
  assert.ok(killed > 20, `${killed} killed`)
  assert.deepEqual([runs.size, Math.max(...runs.values())], [tasks, 1])
  const count = await stats(server.redis)
  assert.deepEqual(
    [account.taken, account.completed, account.refused, count('completed'), count('late'), count('abandoned:agent_lost'), count('registered')],
    [tasks, tasks, 0, tasks, 0, 0, 1],
  )
})

test('a server that forgot all is met with a new session, and nothing that ran before counts', async () => {
  await enqueue(server.url, [{ id: 'a', payload: '' }])
  const agent = agentOf(server.url)
  const whys = []
  const running = agent.run(async (task) => {
    if (task.id === 'b') return agent.stop()
    await fresh(server.redis)
    await enqueue(server.url, [{ id: 'b', payload: '' }])
    await new Promise((resolve) => task.signal.addEventListener('abort', resolve))
    whys.push(task.why())
  })
  const account = await running
  assert.deepEqual(whys, ['fenced'])
  assert.deepEqual([account.taken, account.completed, account.fenced], [2, 1, 1])
})
