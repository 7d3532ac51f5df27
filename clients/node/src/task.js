// A task in its handler's hands.
import { external } from './commands.js'
import { Fenced, StoreError, TooLarge } from './errors.js'
import { untilAnswered } from './repeat.js'

/** The largest checkpoint, bytes. */
export const MAX_CHECKPOINT = 64 * 1024
/** The longest handle, bytes. */
export const MAX_HANDLE = 1024

/**
 * What a task needs of its agent.
 * @typedef {object} Hands
 * @property {import('./queue.js').Queue} queue
 * @property {import('./running.js').Running} running
 * @property {import('./log.js').Log} log
 * @property {AbortSignal} giveUp aborted when the agent ends: nobody waits for answers any more
 */

/** A task that runs. */
export class Task {
  #taken
  #run
  #hands
  /** How many handles it has recorded. */
  #recorded = 0

  /**
   * @param {import('./commands.js').Taken} taken
   * @param {import('./running.js').Run} run
   * @param {Hands} hands
   */
  constructor(taken, run, hands) {
    this.#taken = taken
    this.#run = run
    this.#hands = hands
  }

  get queue() { return this.#hands.queue.name }
  get id() { return this.#taken.id }
  get type() { return this.#taken.type }
  get payload() { return this.#taken.payload }
  get attempt() { return this.#taken.attempt }
  get token() { return this.#taken.token }
  get enqueuedAtMs() { return this.#taken.enqueuedAtMs }
  get deadlineMs() { return this.#taken.deadlineMs }
  get abandonments() { return this.#taken.abandonments }
  get failures() { return this.#taken.failures }
  get checkpoint() { return this.#taken.checkpoint }
  get external() { return this.#taken.external }
  get signal() { return this.#run.signal }

  /** Why it must stop; `null`: it needn't. */
  why() {
    return this.#run.why
  }

  /**
   * Leaves bytes for the next attempt, should there be one. They go with the next heartbeat, and are a sign of life.
   * @param {Uint8Array | string} bytes
   * @throws {TooLarge}
   */
  saveCheckpoint(bytes) {
    const own = bytesOf('a checkpoint', bytes)
    if (own.length > MAX_CHECKPOINT) {
      throw new TooLarge(
        `the checkpoint has ${own.length} bytes, the most is ${MAX_CHECKPOINT}: store it elsewhere and keep its address here`,
      )
    }
    // A copy of its own: what is handed to another thread takes the whole memory along of which it is a part.
    this.#hands.running.mark(this.#run, { checkpoint: new Uint8Array(own) })
  }

  /** A sign of life of the task itself, for types that must show one. */
  alive() {
    this.#hands.running.mark(this.#run, '+')
  }

  /**
   * Records where else the task is being worked on, so that its next attempt gets to know. Waits until that is answered.
   * @param {string} handle 1 to 1024 bytes
   * @throws {TooLarge} nothing was sent
   * @throws {Fenced} this run no longer holds the task
   * @throws {StoreError} it is not known to be recorded: Redis refuses, or did not answer before the run's time was over
   */
  async recordExternal(handle) {
    if (typeof handle !== 'string') throw new TypeError('a handle is text')
    const size = Buffer.byteLength(handle)
    if (size < 1 || size > MAX_HANDLE) throw new TooLarge(`the handle has ${size} bytes, it must have 1 to ${MAX_HANDLE}`)
    const { queue, running, log, giveUp } = this.#hands
    // While it may be another's already, a run doesn't wait for a Redis that doesn't answer.
    const hopeless = new AbortController()
    const look = () => {
      if (giveUp.aborted || this.#run.why === 'fenced' || this.#run.why === 'out_of_touch') hopeless.abort()
    }
    const signals = [giveUp, this.#run.signal]
    for (const signal of signals) signal.addEventListener('abort', look)
    look()
    try {
      const call = external(this.id, this.token, this.type, handle, ++this.#recorded)
      const said = (/** @type {Error} */ error) => log.debug(error.message)
      const word = await untilAnswered(queue, call, { signal: hopeless.signal, firstWaitMs: 50, said })
      if (word === 'recorded') return
      running.fence(this.#run)
      throw new Fenced(this.id)
    } finally {
      for (const signal of signals) signal.removeEventListener('abort', look)
    }
  }
}

/**
 * Bytes as they are, text as UTF-8; anything else is an error of the program.
 * @param {string} what
 * @param {unknown} value
 * @returns {Buffer}
 */
export function bytesOf(what, value) {
  if (typeof value === 'string') return Buffer.from(value, 'utf8')
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  throw new TypeError(`${what} is bytes (a Buffer or Uint8Array) or text: encode anything else yourself`)
}
