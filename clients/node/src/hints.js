// How an agent without work learns of new work. A lost hint costs a poll, never a task.
import { jittered } from './chance.js'
import { wakeChannel } from './keys.js'
import { open } from './store.js'

/** How long an agent without work waits for a hint before it looks again, ms. */
export const POLL = 1000

/** The poll, a quarter earlier or later, so that idle agents don't ask in step. */
export const poll = () => jittered(POLL, 0.25)

/**
 * Listens for hints at new work, over a connection of its own.
 * @param {import('./connection.js').Connection} connection
 * @param {import('./store.js').TimeOuts} timeOuts
 * @param {string} queue
 * @param {() => void} wake
 * @param {import('./log.js').Log} log
 * @returns {{ close: () => void }}
 */
export function listen(connection, timeOuts, queue, wake, log) {
  const redis = open(connection, timeOuts)
  const deaf = (/** @type {Error} */ error) => log.debug(`no hints at new work; polling: ${error.message}`)
  redis.on('error', deaf)
  redis.on('message', wake)
  // Each new connection must be told anew what it is for.
  redis.on('ready', () => redis.subscribe(wakeChannel(queue)).then(wake, deaf))
  redis.connect().catch(deaf)
  return { close: () => redis.disconnect() }
}
