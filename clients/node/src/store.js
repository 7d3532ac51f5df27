// The one place that speaks to Redis. What a command's fate is must always be known as well as it can be, so nothing here
// sends a command twice: who calls decides that, since each script says what makes a repeat harmless.
//
// When a connection drops: what was sent and not answered fails at once, as `unknown`; ioredis is told to resend nothing
// and to queue nothing. A command that comes while there is no connection waits for one up to the connection time-out, and
// fails as `transient`: it was never sent. When an answer takes too long, the command fails as `unknown`, its answer is
// dropped unread should it come, and the connection is given up, since it may be one that leads nowhere.
import { Command, Redis } from 'ioredis'
import { later, now, sleep } from './chance.js'
import { refused, unanswered, unsent } from './failures.js'
import { StoreError } from './errors.js'

/**
 * @typedef {object} TimeOuts
 * @property {number} responseMs how long an answer may take before its fate is unknown
 * @property {number} connectMs how long a connection may take to be made
 */

/**
 * An ioredis client that repeats nothing by itself.
 * @param {import('./connection.js').Connection} connection
 * @param {TimeOuts} timeOuts
 * @returns {Redis}
 */
export function open(connection, timeOuts) {
  const redis = new Redis({
    ...connection,
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    // Of 0, a drop fails all that waits for an answer. Without it that would hang: not resent, and not failed either.
    maxRetriesPerRequest: 0,
    autoResubscribe: false,
    // An agent's user has no right to INFO and CLIENT, and a server that still loads says so to any command.
    enableReadyCheck: false,
    disableClientInfo: true,
    connectTimeout: timeOuts.connectMs,
    disconnectTimeout: 100,
    keepAlive: 10_000,
    retryStrategy: (times) => Math.min(100 * times, 1000),
  })
  return redis
}

/** A connection to Redis that is made when it is first needed, and again when it broke. */
export class Store {
  #redis
  #timeOuts
  /** @type {Error | null} */
  #lastError = null
  /** @type {Promise<void> | null} */
  #opening = null
  #closed = false

  /**
   * @param {import('./connection.js').Connection} connection
   * @param {TimeOuts} timeOuts
   */
  constructor(connection, timeOuts) {
    this.#timeOuts = timeOuts
    this.#redis = open(connection, timeOuts)
    this.#redis.on('error', (error) => {
      this.#lastError = error
    })
  }

  /**
   * Runs a script by its hash, and by its text if the server doesn't know it.
   * @param {import('./scripts.js').Script} script
   * @param {string[]} keys
   * @param {(string | number | Buffer)[]} args
   * @returns {Promise<unknown>} texts are Buffers
   * @throws {StoreError}
   */
  async run(script, keys, args) {
    const doing = `run the script "${script.name}"`
    try {
      return await this.command(doing, 'EVALSHA', [script.sha, keys.length, ...keys, ...args])
    } catch (error) {
      if (!(error instanceof StoreError && error.code === 'NOSCRIPT')) throw error
      return await this.command(doing, 'EVAL', [script.source, keys.length, ...keys, ...args])
    }
  }

  /**
   * Sends one command, once.
   * @param {string} doing for the error: "could not …"
   * @param {string} name
   * @param {(string | number | Buffer)[]} args
   * @returns {Promise<unknown>} texts are Buffers
   * @throws {StoreError} only `unknown` leaves open whether it ran
   */
  async command(doing, name, args) {
    const until = now() + this.#timeOuts.connectMs
    for (;;) {
      if (this.#closed) throw new StoreError('permanent', `could not ${doing}: the connection was closed`)
      if (this.#redis.status !== 'ready') await this.#connected(doing, until)
      // Between the end of a connection and the notice of it the client still calls itself ready.
      if (this.#redis.status === 'ready' && this.#redis.stream?.writable) return await this.#send(doing, name, args)
      if (now() >= until) throw unsent(doing, this.#lastError)
      await sleep(10)
    }
  }

  /** Closes the connection. What waits for an answer fails. */
  close() {
    this.#closed = true
    this.#redis.disconnect()
  }

  /**
   * @param {string} doing
   * @param {number} until
   */
  async #connected(doing, until) {
    this.#opening ??= this.#open().finally(() => {
      this.#opening = null
    })
    const given = new AbortController()
    const opened = this.#opening.then(() => given.abort())
    await Promise.race([opened, sleep(until - now(), given.signal)])
    if (this.#redis.status !== 'ready' && now() >= until) throw unsent(doing, this.#lastError)
  }

  /** Resolves when there is a connection, or the latest attempt to make one has failed. Never rejects. */
  #open() {
    return new Promise((/** @type {(value: void) => void} */ resolve) => {
      const redis = this.#redis
      const done = () => {
        for (const event of ['ready', 'close', 'end']) redis.off(event, done)
        resolve()
      }
      for (const event of ['ready', 'close', 'end']) redis.once(event, done)
      // `wait` is before the first command, `end` after an attempt that ioredis itself gives up, as that of a Sentinel.
      if (redis.status === 'wait' || redis.status === 'end') redis.connect().catch(() => {})
    })
  }

  /**
   * @param {string} doing
   * @param {string} name
   * @param {(string | number | Buffer)[]} args
   * @returns {Promise<unknown>}
   */
  #send(doing, name, args) {
    return new Promise((resolve, reject) => {
      let waiting = true
      const stream = this.#redis.stream
      // An event loop that was kept busy fires this before it has read what came in time: the socket has its turn first.
      const timer = later(this.#timeOuts.responseMs, () => setImmediate(() => {
        if (!waiting) return
        waiting = false
        if (this.#redis.stream === stream) this.#redis.disconnect(true)
        reject(unanswered(doing))
      }))
      const settle = (/** @type {() => void} */ tell) => {
        clearTimeout(timer)
        if (waiting) tell()
        waiting = false
      }
      const command = new Command(name, args, { replyEncoding: null })
      this.#redis.sendCommand(command)
      command.promise.then(
        (reply) => settle(() => resolve(reply)),
        (error) => settle(() => reject(error?.name === 'ReplyError' ? refused(doing, error.message) : unanswered(doing))),
      )
    })
  }
}
