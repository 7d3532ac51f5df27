import assert from 'node:assert/strict'
import { test } from 'node:test'
import { batches } from '../src/client.js'
import { MAX_PAYLOAD, adopt, beat, complete, external, fail, leave, register, release, take } from '../src/commands.js'
import { StoreError } from '../src/errors.js'
import { refused } from '../src/failures.js'
import { Shape } from '../src/shape.js'

/** A reply as the connection gives it: texts are Buffers. */
const reply = (value) => (Array.isArray(value) ? value.map(reply) : typeof value === 'string' ? Buffer.from(value, 'latin1') : value)
const read = (call, value) => call.read(new Shape(call.script), reply(value))
const unknown = (call, value) => assert.throws(() => read(call, value), (error) => error instanceof StoreError && error.failure === 'permanent', JSON.stringify(value))

test('a row of take is read whole, and its payload stays bytes', () => {
  const row = ['t', '1-2-00ff', 'mail', 1, '\x00\xff\x80', '17', '', '0', '2', '', '']
  const { how, tasks: [task] } = read(take('s', 'n', 1), ['took', [row]])
  assert.equal(how, 'took')
  assert.deepEqual(task.payload, Buffer.of(0, 255, 128))
  assert.deepEqual([task.deadlineMs, task.checkpoint, task.external, task.failures], [null, null, null, 2])
  const later = read(take('s', 'n', 1), ['took', [[...row.slice(0, 6), '99', '1', '0', '\xff', 'job-7']]]).tasks[0]
  assert.deepEqual([later.deadlineMs, later.checkpoint, later.external], [99, Buffer.of(255), 'job-7'])
  unknown(take('s', 'n', 1), ['took', [row.slice(0, 10)]])
})

test('an answer is one of a closed set, of its shape', () => {
  assert.deepEqual(read(take('s', 'n', 1), ['empty', -1]), { how: 'empty', nextMs: null })
  unknown(take('s', 'n', 1), ['empty'])
  unknown(take('s', 'n', 1), ['later'])
  unknown(take('s', 'n', 1), ['paused', 1])
  unknown(complete([['t', '1']]), ['completed', 'completed'])
  unknown(complete([['t', '1']]), ['done'])
  unknown(release('s', 0, [['t', '1']]), ['gone'])
  unknown(adopt('s', 'n', [['t', '1']]), [['adopted']])
  unknown(leave('s'), ['holds'])
  unknown(external('t', '1', 'x', 'h', 1), 'OK')
  unknown(fail({ id: 't', token: '1', error: '', jitter: 0, final: false }), ['retried'])
  const whom = { nonce: 'n', name: 'w', size: 0, lost: '', host: 'h', pid: 1, version: '1' }
  unknown(register(whom), ['registered', 'w', 1, 2, 3, []])
  unknown(register(whom), ['superseded', 'x'])
  assert.equal(read(register(whom), ['registered', 'w.1-0011aabb', 1, -1, 3, []]).session, 'w.1-0011aabb')
  unknown(beat('s', 1, []), ['go_on', 1, 2, 3, 'now', [], []])
  unknown(beat('s', 1, []), ['go_on', 1, 2, 3, '', ['t', '1', 'late'], []])
})

test('a beat lists pairs with their marks', () => {
  const { args } = beat('s', 3, [['a', '1', ''], ['b', '2', '+'], ['c', '3', { checkpoint: Uint8Array.of(0, 255) }]])
  assert.deepEqual(args, ['s', 3, 'a', '1', '', 'b', '2', '+', 'c', '3', Buffer.of(99, 0, 255)])
})

test("an error's text is cut to its last 1 KiB, not in the midst of a character", () => {
  const sent = fail({ id: 't', token: '1', error: `${'é'.repeat(600)}x`, jitter: 0, final: true }).args[2]
  assert.ok(sent.length <= 1024 && sent.length > 1020)
  assert.match(sent.toString('utf8'), /^é+x$/)
})

test('what the server refuses is told apart', () => {
  assert.equal(refused('x', 'OOM command not allowed').failure, 'transient')
  assert.equal(refused('x', 'LOADING Redis is loading').failure, 'transient')
  assert.equal(refused('x', 'NOREPLICAS Not enough good replicas').failure, 'transient')
  assert.equal(refused('x', 'WRONGTYPE Operation').failure, 'permanent')
  assert.equal(refused('x', "ERR The user executing the script can't run this command").message.includes('lacks a right'), true)
  assert.deepEqual([refused('x', 'BACKSTOP_FORMAT the queue').code, refused('x', 'BACKSTOP_FORMAT y').failure], ['BACKSTOP_FORMAT', 'permanent'])
})

test('batches are bounded in tasks and bytes and keep the order', () => {
  const sized = (bytes) => ({ id: '', type: '', delayMs: 0, deadlineInMs: -1, payload: Buffer.alloc(bytes) })
  const sizes = (tasks) => batches(tasks).map((batch) => batch.length)
  assert.deepEqual(sizes(Array.from({ length: 101 }, () => sized(1))), [50, 50, 1])
  assert.deepEqual(sizes([sized(MAX_PAYLOAD), sized(1), sized(MAX_PAYLOAD)]), [1, 1, 1])
  assert.deepEqual(sizes([]), [])
})
