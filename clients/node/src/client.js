// Enqueueing.
import { BATCH, MAX_PAYLOAD, enqueue } from './commands.js'
import { freshId, sleep } from './chance.js'
import { connectionOf } from './connection.js'
import { SetupError, StoreError, TooLarge } from './errors.js'
import { checked } from './names.js'
import { Queue } from './queue.js'
import { Store } from './store.js'
import { bytesOf } from './task.js'
import { timeOutsOf } from './agent.js'

/** How often a batch whose fate is unknown is sent again; the ids make that harmless. */
const ATTEMPTS = 5

/** Adds tasks to a queue. */
export class Client {
  #store
  #queue
  #announced = false

  /** @param {import('./index.js').ClientOptions} options */
  constructor(options) {
    if (typeof options !== 'object' || options === null) throw new SetupError('a client needs options: redis, queue')
    const queue = checked('queue', options.queue)
    this.#store = new Store(connectionOf(options.redis), timeOutsOf(options))
    this.#queue = new Queue(this.#store, queue)
  }

  /**
   * Adds one task.
   * @param {Uint8Array | string} payload
   * @param {import('./index.js').TaskOptions} [options]
   * @returns {Promise<import('./index.js').Enqueued>}
   */
  async enqueue(payload, options = {}) {
    const [answer] = await this.enqueueMany([{ ...options, payload }])
    return /** @type {import('./index.js').Enqueued} */ (answer)
  }

  /**
   * Adds tasks in batches, in order. If a batch fails, those before it are in; adding all of them again under the same ids
   * is harmless.
   * @param {import('./index.js').NewTask[]} tasks
   * @returns {Promise<import('./index.js').Enqueued[]>}
   */
  async enqueueMany(tasks) {
    const checkedTasks = tasks.map(newTask)
    if (!this.#announced) {
      await this.#repeated(() => this.#queue.announce())
      this.#announced = true
    }
    /** @type {import('./index.js').Enqueued[]} */
    const answers = []
    for (const batch of batches(checkedTasks)) {
      const words = await this.#repeated(() => this.#queue.run(enqueue(batch)))
      answers.push(...batch.map(({ id }, i) => ({ id, answer: /** @type {'enqueued' | 'exists'} */ (words[i]) })))
    }
    return answers
  }

  /** Closes the connection. What waits for an answer fails. */
  close() {
    this.#store.close()
  }

  /**
   * @template A
   * @param {() => Promise<A>} send
   * @returns {Promise<A>}
   */
  async #repeated(send) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await send()
      } catch (error) {
        if (!(error instanceof StoreError) || error.failure !== 'unknown' || attempt > ATTEMPTS) throw error
        await sleep(100 * attempt)
      }
    }
  }
}

/**
 * @param {import('./index.js').NewTask} task
 * @returns {import('./commands.js').NewTask}
 */
function newTask({ payload, id = freshId(), type = 'default', delayMs = 0, deadlineInMs }) {
  const bytes = bytesOf('a payload', payload)
  checked('task id', id)
  checked('task type', type)
  if (bytes.length > MAX_PAYLOAD) {
    throw new TooLarge(
      `task ${id}: its payload has ${bytes.length} bytes, the most is ${MAX_PAYLOAD}: store it elsewhere and enqueue its address`,
    )
  }
  return {
    id,
    type,
    delayMs: milliseconds('delayMs', delayMs),
    deadlineInMs: deadlineInMs === undefined ? -1 : milliseconds('deadlineInMs', deadlineInMs),
    payload: bytes,
  }
}

/**
 * @param {string} what
 * @param {unknown} value
 */
function milliseconds(what, value) {
  if (typeof value === 'number' && value >= 0 && value <= 1e12) return Math.round(value)
  throw new SetupError(`${what} is a number of ms, from 0 to 10^12`)
}

/**
 * Batches that are bounded in tasks and bytes, in order.
 * @param {import('./commands.js').NewTask[]} tasks
 * @returns {import('./commands.js').NewTask[][]}
 */
export function batches(tasks) {
  /** @type {import('./commands.js').NewTask[][]} */
  const all = []
  let bytes = 0
  for (const task of tasks) {
    const last = all.at(-1)
    bytes += task.payload.length
    if (last !== undefined && last.length < BATCH && bytes <= MAX_PAYLOAD) {
      last.push(task)
    } else {
      bytes = task.payload.length
      all.push([task])
    }
  }
  return all
}
