// An agent: how it is set up, and its lives.
import { isMainThread } from 'node:worker_threads'
import { emptyAccount } from './account.js'
import { connectionOf } from './connection.js'
import { BackstopError, SetupError } from './errors.js'
import { Life } from './life.js'
import { STDERR } from './log.js'
import { checked } from './names.js'
import { CHOICES } from './reconnect.js'
import { Store } from './store.js'

/** The longest time to wait for an end, ms. */
const LONGEST = 365 * 86_400_000

/**
 * What an agent goes by.
 * @typedef {object} Settings
 * @property {import('./connection.js').Connection} connection
 * @property {string} queue
 * @property {{ name: string, size: number }} wanted an identity (size 0), or a pool's prefix and size
 * @property {number} concurrency
 * @property {number | null} count
 * @property {number} drainTimeoutMs
 * @property {number} stopGraceMs
 * @property {import('./reconnect.js').OnReconnect} onReconnect
 * @property {'end' | 'wait'} poolFull
 * @property {import('./store.js').TimeOuts} timeOuts
 * @property {(id: string, token: string, word: string) => void} onAnswer never throws
 * @property {import('./log.js').Log} log
 */

/** A process that runs tasks of one queue under an identity. */
export class Agent {
  #settings
  #handleSignals
  #stop = new AbortController()
  #ran = false

  /** @param {import('./index.js').AgentOptions} options */
  constructor(options) {
    this.#settings = settingsOf(options)
    this.#handleSignals = options.handleSignals ?? isMainThread
  }

  /**
   * Takes tasks and runs `handler` on each until it is stopped; what became of them.
   * @param {import('./life.js').Handler} handler
   * @returns {Promise<import('./account.js').Account>}
   */
  async run(handler) {
    if (typeof handler !== 'function') throw new SetupError('run needs a handler: a function of a task')
    if (this.#ran) throw new SetupError('an agent runs once: make another')
    this.#ran = true
    const { connection, timeOuts, log } = this.#settings
    const account = emptyAccount()
    const store = new Store(connection, timeOuts)
    const stop = () => this.stop()
    const signals = this.#handleSignals ? /** @type {const} */ (['SIGTERM', 'SIGINT']) : []
    for (const signal of signals) process.on(signal, stop)
    try {
      /** @type {string | null} */
      let lost = null
      do {
        lost = await Life.live({ store, settings: this.#settings, handler, lost, stop: this.#stop.signal, account })
        if (lost !== null) log.warn(`${lost} was given up; beginning another session`)
      } while (lost !== null)
      return account
    } catch (error) {
      if (error instanceof BackstopError) error.account = account
      throw error
    } finally {
      for (const signal of signals) process.off(signal, stop)
      store.close()
    }
  }

  /** Takes nothing more; what runs may finish within the drain time-out. `run` returns then. Harmless when repeated. */
  stop() {
    this.#stop.abort()
  }
}

/**
 * @param {import('./index.js').AgentOptions} options
 * @returns {Settings}
 */
function settingsOf(options) {
  if (typeof options !== 'object' || options === null) throw new SetupError('an agent needs options: redis, queue, identity')
  const log = options.log ?? STDERR
  const { onReconnect = 'reset', poolFull = 'end', onAnswer = () => {} } = options
  if (typeof onReconnect !== 'function' && !CHOICES.includes(onReconnect)) {
    throw new SetupError("onReconnect is 'resume', 'reset', 'fail', or a function that answers one of them")
  }
  if (poolFull !== 'end' && poolFull !== 'wait') throw new SetupError("poolFull is 'end' or 'wait'")
  return {
    connection: connectionOf(options.redis),
    queue: checked('queue', options.queue),
    wanted: wantedOf(options),
    concurrency: whole('the concurrency', options.concurrency ?? 1, 1, 256, '; beyond that start another agent'),
    count: options.count === undefined ? null : whole('the count', options.count, 1, Number.MAX_SAFE_INTEGER),
    drainTimeoutMs: milliseconds('drainTimeoutMs', options.drainTimeoutMs ?? 30_000),
    stopGraceMs: milliseconds('stopGraceMs', options.stopGraceMs ?? 5000),
    onReconnect,
    poolFull,
    timeOuts: timeOutsOf(options),
    onAnswer(id, token, word) {
      try {
        onAnswer(id, token, word)
      } catch (error) {
        log.error(`task ${id}: the listener to answers failed: ${error instanceof Error ? error.message : String(error)}`)
      }
    },
    log,
  }
}

/**
 * @param {{ responseTimeoutMs?: number, connectTimeoutMs?: number }} options
 * @returns {import('./store.js').TimeOuts}
 */
export const timeOutsOf = (options) => ({
  responseMs: whole('responseTimeoutMs', options.responseTimeoutMs ?? 3000, 1, LONGEST),
  connectMs: whole('connectTimeoutMs', options.connectTimeoutMs ?? 2000, 1, LONGEST),
})

/** @param {import('./index.js').AgentOptions} options */
function wantedOf({ identity, pool }) {
  if (identity !== undefined && pool !== undefined) throw new SetupError('name the identity or a pool, not both')
  if (pool === undefined) {
    const name = identity ?? process.env.BACKSTOP_IDENTITY
    if (name === undefined) throw new SetupError('name the identity, or a pool of them, or set BACKSTOP_IDENTITY')
    return { name: checked('identity', name), size: 0 }
  }
  const name = checked('identity', pool.prefix)
  const size = whole("a pool's size", pool.size, 1, 500)
  if (`${name}-${size - 1}`.length > 40) throw new SetupError("the pool's names would be too long: shorten the prefix")
  return { name, size }
}

/**
 * @param {string} what
 * @param {unknown} value
 * @param {number} least
 * @param {number} most
 * @param {string} [advice]
 * @returns {number}
 */
function whole(what, value, least, most, advice = '') {
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value
  throw new SetupError(`${what} is a whole number from ${least} to ${most}${advice}`)
}

/**
 * @param {string} what
 * @param {unknown} value
 * @returns {number}
 */
function milliseconds(what, value) {
  if (typeof value === 'number' && value >= 0) return Math.min(value, LONGEST)
  throw new SetupError(`${what} is a number of ms, 0 or more`)
}
