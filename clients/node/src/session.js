// The beginning and the end of a session, and what its predecessors left.
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { BATCH, adopt, fail, leave as leaving, register as registering, release } from './commands.js'
import { freshNonce, jittered, sleep } from './chance.js'
import { PoolFull, Stopped, StoreError, Superseded } from './errors.js'
import { decide } from './reconnect.js'
import { untilAnswered } from './repeat.js'
import { identityOf } from './names.js'

const VERSION = /** @type {string} */ (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version)
const GIVEN_UP = 'its agent was lost, and the next one of its name was told to fail it'
/** How often a full pool is asked again, and what is left behind is tried again, ms. */
const ASK_AGAIN = 1000
const LEAVE_AGAIN = 250

/**
 * A session that has begun.
 * @typedef {object} Begun
 * @property {string} session
 * @property {import('./commands.js').Rhythm} rhythm
 * @property {import('./commands.js').Held[]} held
 * @property {() => Promise<import('./commands.js').Held[]>} again what is held still
 */

/**
 * Where a session is begun.
 * @typedef {object} Place
 * @property {import('./queue.js').Queue} queue
 * @property {import('./agent.js').Settings} settings
 * @property {AbortSignal} stop
 */

/**
 * Sends a call until it is answered, or `stop` comes.
 * @template A
 * @param {Place} place
 * @param {import('./commands.js').Call<A>} call
 * @returns {Promise<A>}
 */
async function answered({ queue, settings, stop }, call) {
  const said = (/** @type {Error} */ error) => settings.log.warn(`trying again: ${error.message}`)
  try {
    return await untilAnswered(queue, call, { signal: stop, firstWaitMs: 100, said })
  } catch (error) {
    if (stop.aborted && error instanceof StoreError && error.failure !== 'permanent') throw new Stopped()
    throw error
  }
}

/**
 * Registers, trying until it is answered.
 * @param {Place} place
 * @param {string | null} lost the session that was given up
 * @returns {Promise<Begun>}
 * @throws {Superseded | PoolFull | Stopped | StoreError}
 */
export async function register(place, lost) {
  const { settings, stop } = place
  // One that was given up comes back under its own name: another free one of the pool is somebody else's past.
  const wanted = lost === null ? settings.wanted : { name: identityOf(lost), size: 0 }
  const whom = { ...wanted, host: hostname().slice(0, 64) || 'unknown', pid: process.pid, version: VERSION }
  for (;;) {
    if (stop.aborted) throw new Stopped()
    const nonce = freshNonce()
    const answer = await answered(place, registering({ ...whom, nonce, lost: lost ?? '' }))
    if (answer.how === 'superseded') throw new Superseded()
    if (answer.how === 'registered') {
      settings.log.info(`queue ${settings.queue}: registered as ${answer.session}; predecessors hold ${answer.held.length} tasks`)
      const again = async () => {
        // The same nonce gets the same session, and what is held still.
        const more = await answered(place, registering({ ...whom, nonce, lost: '' }))
        if (more.how !== 'registered') throw new Superseded()
        return more.held
      }
      return { session: answer.session, rhythm: answer.rhythm, held: answer.held, again }
    }
    if (settings.poolFull === 'end') throw new PoolFull()
    await sleep(jittered(ASK_AGAIN, 0.25), stop)
  }
}

/**
 * Adopts, gives back or fails what predecessors hold, as was decided. The adopted tasks are on the list already when this
 * returns.
 * @param {Place} place
 * @param {Begun} begun
 * @param {import('./running.js').Running} running
 * @returns {Promise<{ task: import('./commands.js').Taken, run: import('./running.js').Run }[]>}
 */
export async function settle(place, begun, running) {
  const { settings, stop } = place
  const adopted = []
  let { held } = begun
  while (held.length > 0) {
    /** @type {Record<import('./reconnect.js').Choice, import('./commands.js').Pair[]>} */
    const chosen = { resume: [], reset: [], fail: [] }
    for (const left of held) {
      let choice = await decide(settings.onReconnect, left, stop, settings.log)
      if (choice === 'resume' && adopted.length + chosen.resume.length >= settings.concurrency) choice = 'reset'
      chosen[choice].push([left.id, left.token])
    }
    for (const pairs of batches(chosen.resume)) adopted.push(...(await adoptAll(place, begun.session, pairs, running)))
    for (const pairs of batches(chosen.reset)) await answered(place, release(begun.session, 0, pairs))
    for (const [id, token] of chosen.fail) {
      await answered(place, fail({ id, token, error: GIVEN_UP, jitter: 0, final: true }))
    }
    const left = await begun.again()
    // What stays as it was, though it was settled, would stay so for ever.
    const before = new Set(held.map(({ id, token }) => `${id} ${token}`))
    if (left.length >= held.length && left.every(({ id, token }) => before.has(`${id} ${token}`))) break
    held = left
  }
  return adopted
}

/**
 * @param {Place} place
 * @param {string} session
 * @param {import('./commands.js').Pair[]} pairs
 * @param {import('./running.js').Running} running
 */
async function adoptAll(place, session, pairs, running) {
  running.adopting(pairs.map(([id]) => id))
  const answers = await answered(place, adopt(session, freshNonce(), pairs))
  const begun = running.begin(answers.flatMap((answer) => (answer.how === 'adopted' ? [answer.task] : [])))
  running.adopting([])
  return begun
}

/**
 * Gives back what is left and leaves, as long as `giveUp` isn't aborted; whether it could say so.
 * @param {import('./queue.js').Queue} queue
 * @param {string} session
 * @param {AbortSignal} giveUp
 * @param {import('./log.js').Log} log
 * @returns {Promise<boolean>}
 */
export async function leave(queue, session, giveUp, log) {
  while (!giveUp.aborted) {
    try {
      const answer = await queue.run(leaving(session))
      if (answer.how === 'left') return true
      // A take whose answer was lost may have left these.
      await queue.run(release(session, 0, answer.pairs.slice(0, BATCH)))
    } catch (error) {
      log.debug(`could not leave; trying again: ${error instanceof Error ? error.message : String(error)}`)
      await sleep(LEAVE_AGAIN, giveUp)
    }
  }
  log.warn(`${session} could not say that it left; the sweeper will find out`)
  return false
}

/**
 * @template T
 * @param {T[]} items
 * @returns {T[][]}
 */
function batches(items) {
  return Array.from({ length: Math.ceil(items.length / BATCH) }, (_, i) => items.slice(i * BATCH, (i + 1) * BATCH))
}
