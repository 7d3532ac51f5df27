// What becomes of a command when its connection drops, is slow, or isn't there.
import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { connectionOf } from '../src/connection.js'
import { Store } from '../src/store.js'
import { startProxy } from './proxy.js'
import { startRedis, until } from './server.js'

let server
let proxy
let store
before(async () => {
  server = await startRedis()
})
after(() => server.close())
beforeEach(() => server.redis.flushall())
afterEach(() => {
  store?.close()
  proxy?.close()
})

const storeAt = (url, timeOuts = {}) => new Store(connectionOf(url), { responseMs: 10_000, connectMs: 300, ...timeOuts })
const failure = (kind) => (error) => error.failure === kind

test('what waits for an answer when its connection drops fails at once as unknown, and is not sent again', async () => {
  proxy = await startProxy(server.port, (sent) => /incr/i.test(sent))
  store = storeAt(proxy.url)
  const began = Date.now()
  const counting = store.command('count', 'INCR', ['n'])
  const expected = assert.rejects(counting, failure('unknown'))
  await until('it ran', async () => (await server.redis.get('n')) === '1')
  await server.redis.client('KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
  await expected
  assert.ok(Date.now() - began < 5000)
  assert.equal(String(await store.command('read', 'GET', ['n'])), '1')
})

test('an answer that takes too long fails as unknown, and the next command gets its own answer', async () => {
  store = storeAt(server.url, { responseMs: 200 })
  await store.command('wake', 'PING', [])
  process.kill(server.pid, 'SIGSTOP')
  try {
    await assert.rejects(store.command('read', 'ECHO', ['late']), failure('unknown'))
  } finally {
    process.kill(server.pid, 'SIGCONT')
  }
  assert.equal(String(await store.command('read', 'ECHO', ['mine'])), 'mine')
})

test('an answer that came in time is read though the event loop was kept meanwhile', async () => {
  store = storeAt(server.url, { responseMs: 200 })
  await store.command('wake', 'PING', [])
  const answer = store.command('read', 'ECHO', ['mine'])
  await new Promise((resolve) => setImmediate(resolve))
  for (const end = Date.now() + 400; Date.now() < end; );
  assert.equal(String(await answer), 'mine')
})

test('a command without a connection fails as transient, and is not sent later', async () => {
  proxy = await startProxy(server.port, () => false)
  store = storeAt(proxy.url)
  const { url } = proxy
  proxy.close()
  await assert.rejects(store.command('count', 'INCR', ['n']), failure('transient'))
  proxy = await startProxy(server.port, () => false, Number(new URL(url).port))
  await until('it is back', () => store.command('read', 'PING', []).catch(() => false))
  assert.equal(await store.command('read', 'GET', ['n']), null)
})
