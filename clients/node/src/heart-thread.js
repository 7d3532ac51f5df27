// Heartbeats, on a thread and a connection of their own: a handler that keeps the event loop must not make its agent look
// dead. While it does, this lists the pairs that it last was told of, and what beats bring waits for the main thread. The
// thread ends with the process: it doesn't keep one alive that has nothing else to do.
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { beat } from './commands.js'
import { jittered, later, now, sleep } from './chance.js'
import { Listing } from './listing.js'
import { Queue } from './queue.js'
import { Store } from './store.js'

/**
 * What the thread is started with.
 * @typedef {object} Begin
 * @property {import('./connection.js').Connection} connection
 * @property {import('./store.js').TimeOuts} timeOuts
 * @property {string} queue
 * @property {string} session
 * @property {import('./commands.js').Rhythm} rhythm as it was answered at the registration
 */

/**
 * What the thread tells.
 * @typedef {{ answer: import('./commands.js').BeatAnswer, sent: number } | { outOfTouch: true }
 *   | { unanswered: string, silentMs: number }} Told
 */

/** How often it is said that Redis doesn't answer, ms. */
const WARN_EVERY = 10_000

const port = /** @type {import('node:worker_threads').MessagePort} */ (parentPort)
const life = /** @type {Begin} */ (workerData)
const tell = (/** @type {Told} */ told) => port.postMessage(told)

const listing = new Listing()
/** Aborted when a beat must not wait for its time. */
let hurry = new AbortController()

/** @param {import('./running.js').Change | 'hurry'} change */
function hear(change) {
  if (change === 'hurry') hurry.abort()
  else listing.apply(change)
}
port.on('message', hear)

const store = new Store(life.connection, life.timeOuts)
const queue = new Queue(store, life.queue)
let rhythm = life.rhythm
let answered = now()
/** @type {NodeJS.Timeout | undefined} */
let limit

/** Waits until no beat was answered for so long that the sweeper may soon give the work to others. */
function watch() {
  clearTimeout(limit)
  if (rhythm.stopAfter < 0) return
  limit = later(rhythm.stopAfter - (now() - answered), () => tell({ outOfTouch: true }))
}

async function beatOn() {
  let warned = -Infinity
  watch()
  for (let number = 1; ; number += 1) {
    // All that was said by `sent` goes along.
    const sent = now()
    for (let come; (come = receiveMessageOnPort(port)); ) hear(come.message)
    hurry = new AbortController()
    const pairs = listing.take()
    let wait
    try {
      const answer = await queue.run(beat(life.session, number, pairs))
      answered = sent
      rhythm = answer.rhythm
      warned = -Infinity
      watch()
      tell({ answer, sent })
      if (answer.word === 'superseded' || answer.word === 'lost') return
      wait = jittered(rhythm.next, 0.1)
    } catch (error) {
      if (!(error instanceof Error)) throw error
      listing.unsent(pairs)
      // Who hurried must not make it hammer on a Redis that doesn't answer.
      hurry = new AbortController()
      if (now() - warned > WARN_EVERY) {
        warned = now()
        tell({ unanswered: error.message, silentMs: Math.round(now() - answered) })
      }
      wait = Math.min(rhythm.next / 5, 1000)
    }
    await sleep(wait, hurry.signal)
  }
}

await beatOn()
clearTimeout(limit)
store.close()
