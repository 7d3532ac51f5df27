import assert from 'node:assert/strict'
import { test } from 'node:test'
import { InvalidName } from '../src/errors.js'
import { checked, identityOf } from '../src/names.js'

test('names hold what the rule says and nothing else', () => {
  for (const good of ['a', 'billing.eu-1', 'A_b', 'x'.repeat(64)]) assert.equal(checked('queue', good), good)
  for (const bad of ['', '_ours', 'a b', 'a{b}', 'a\n', 'é', 'a:b', 'x'.repeat(65), undefined, 7]) {
    assert.throws(() => checked('queue', bad), (error) => error instanceof InvalidName && /queue .*1 to 64/.test(error.message))
  }
  assert.equal(checked('task id', '2024/inv:7@eu'), '2024/inv:7@eu')
  assert.throws(() => checked('identity', 'worker.3'), InvalidName, "a dot ends the identity in a session's name")
  assert.throws(() => checked('identity', 'x'.repeat(41)), InvalidName)
})

test('a long hostile name is cut in the message', () => {
  assert.throws(() => checked('task id', '\u001b[2J'.repeat(1000)), (error) => error.message.length < 640 && !error.message.includes('\u001b'))
})

test('a session knows its identity', () => assert.equal(identityOf('worker-3.17-9f3a2c1b'), 'worker-3'))
