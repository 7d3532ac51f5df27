import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Redis } from 'ioredis'
import { connectionOf } from '../src/connection.js'
import { SetupError } from '../src/errors.js'

test('a URL is read as Redis programs read it', () => {
  assert.deepEqual(connectionOf('redis://localhost'), { host: 'localhost', port: 6379, db: 0 })
  assert.deepEqual(connectionOf('redis://me:p%40ss@[::1]:7000/3'), { host: '::1', port: 7000, username: 'me', password: 'p@ss', db: 3 })
  assert.deepEqual(connectionOf('rediss://h'), { host: 'h', port: 6379, tls: { servername: 'h' }, db: 0 })
  assert.deepEqual(connectionOf('redis+unix:///run/redis.sock?db=2'), { path: '/run/redis.sock', db: 2 })
})

test('a wrong URL is one clear error that does not show it', () => {
  for (const bad of ['redis://me:secret@h:99999', 'http://me:secret@h', 'secret', 'redis://:secret%ZZ@h', 'redis://me:secret@h/secret']) {
    assert.throws(() => connectionOf(bad), (error) => {
      assert.ok(error instanceof SetupError)
      assert.ok(!`${error.stack} ${JSON.stringify(error)} ${error.cause}`.includes('secret'), error.message)
      return true
    })
  }
})

test("what decides whether a command is sent twice, or what keys are called, is not the user's to set", () => {
  const redis = new Redis({ host: 'h', keyPrefix: 'x:', enableOfflineQueue: true, maxRetriesPerRequest: null, lazyConnect: true })
  const options = connectionOf(redis)
  assert.equal(options.host, 'h')
  for (const name of ['keyPrefix', 'enableOfflineQueue', 'maxRetriesPerRequest', 'retryStrategy', 'autoResendUnfulfilledCommands']) {
    assert.ok(!(name in options), name)
  }
  structuredClone(options)
})

test("options that the heart's thread can't be given are refused, not dropped", () => {
  assert.throws(() => connectionOf({ host: 'h', tls: { checkServerIdentity: () => undefined } }), /"tls" holds a function/)
  assert.throws(() => connectionOf(undefined), SetupError)
  assert.throws(() => connectionOf({ isCluster: true }), /Cluster/)
})
