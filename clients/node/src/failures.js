// What an error of Redis or of its connection lets one conclude, and what a person can do about it.
import { StoreError } from './errors.js'

/** @type {['transient' | 'permanent', string]} */
const NOPERM = ['permanent', 'the Redis user lacks a right: see the ACL files in deploy/']

/** @type {Record<string, ['transient' | 'permanent', string]>} */
const BY_CODE = {
  OOM: ['transient', 'Redis is full: raise maxmemory, or let tasks be completed'],
  MISCONF: ['transient', "Redis can't write to its disk and refuses changes"],
  LOADING: ['transient', 'Redis is still loading its data'],
  READONLY: ['transient', "this Redis is a read-only replica: use the primary's address"],
  TRYAGAIN: ['transient', 'the cluster is moving or down'],
  CLUSTERDOWN: ['transient', 'the cluster is moving or down'],
  MASTERDOWN: ['transient', 'the primary is down'],
  WRONGPASS: ['permanent', 'wrong or missing password: check the Redis URL'],
  NOAUTH: ['permanent', 'wrong or missing password: check the Redis URL'],
  NOPERM,
  WRONGTYPE: ['permanent', 'a key of the queue holds another type of value'],
  BACKSTOP_FORMAT: ['permanent', 'another version wrote this queue: upgrade this program'],
  MOVED: ['permanent', 'this is a node of a Redis Cluster, which is not supported'],
  ERR: ['permanent', 'Redis refused it'],
}

/**
 * The error for what the server answered.
 * @param {string} doing
 * @param {string} said the server's text, beginning with its code
 */
export function refused(doing, said) {
  // A command that went out right behind a password that turns out to be wrong is cut off for its size.
  const unknown = /unauthenticated (multi)?bulk length/.test(said)
  const code = unknown ? 'NOAUTH' : (/^[A-Z_]+/.exec(said)?.[0] ?? 'ERR')
  // A right that is missing inside a script comes back as the script's own error.
  const lacks = /The user executing the script can't|ACL failure in script/.test(said)
  // What a server says that isn't about this call: too few replicas, a script that still runs.
  const [failure, advice] = lacks ? NOPERM : (BY_CODE[code] ?? ['transient', 'Redis refuses for now'])
  return new StoreError(failure, `could not ${doing}: ${advice} (${said.slice(0, 200)})`, code)
}

/**
 * The error for a command that was never sent.
 * @param {string} doing
 * @param {Error | null} why
 */
export function unsent(doing, why) {
  const said = why?.message ?? ''
  if (/^(WRONGPASS|NOAUTH|NOPERM)\b/.test(said)) return refused(doing, said)
  const detail = said === '' ? '' : ` (${said})`
  return new StoreError('transient', `could not ${doing}: Redis can't be reached: is it running at this address?${detail}`)
}

/**
 * The error for a command whose answer was lost.
 * @param {string} doing
 */
export const unanswered = (doing) =>
  new StoreError('unknown', `could not ${doing}: the connection to Redis broke, or its answer took too long`)

/**
 * The error for an answer that is none of the closed set.
 * @param {string} doing
 * @param {unknown} reply
 */
export function unknownReply(doing, reply) {
  const text = (/** @type {any} */ value) => (value?.type === 'Buffer' ? Buffer.from(value.data).toString('latin1') : value)
  const shown = JSON.stringify(reply, (_, value) => text(value))
  return new StoreError(
    'permanent',
    `could not ${doing}: the answer ${(shown ?? 'undefined').slice(0, 200)} is none that this version knows; ` +
      'are all programs of one version?',
  )
}
