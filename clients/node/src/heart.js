// The main thread's side of the heart: it starts the thread that beats, and hears what that learns.
import { Worker } from 'node:worker_threads'

/**
 * Who hears what the heart learns.
 * @typedef {object} Ears
 * @property {(answer: import('./commands.js').BeatAnswer, sent: number) => void} answer a beat was answered
 * @property {() => void} outOfTouch no beat was answered for so long that all work must stop
 * @property {(why: string, silentMs: number) => void} unanswered
 * @property {(why: string) => void} broken the thread ended before its time
 */

/** A beating heart. */
export class Heart {
  #worker
  #stopped = false

  /**
   * Starts to beat, at once.
   * @param {import('./heart-thread.js').Begin} begin
   * @param {Ears} ears
   */
  constructor(begin, ears) {
    let over = false
    // What the process was started with (loaders, an inspector, a script as text) isn't this thread's.
    this.#worker = new Worker(new URL('./heart-thread.js', import.meta.url), {
      workerData: begin, name: 'backstop-heart', execArgv: [],
    })
    const heard = (/** @type {() => void} */ act) => {
      if (!this.#stopped) act()
    }
    this.#worker.on('message', (/** @type {import('./heart-thread.js').Told} */ told) => heard(() => {
      if ('answer' in told) {
        over = told.answer.word === 'superseded' || told.answer.word === 'lost'
        ears.answer(told.answer, told.sent)
      } else if ('outOfTouch' in told) {
        ears.outOfTouch()
      } else {
        ears.unanswered(told.unanswered, told.silentMs)
      }
    }))
    this.#worker.on('error', (error) => heard(() => ears.broken(error.message)))
    this.#worker.on('messageerror', (error) => heard(() => ears.broken(error.message)))
    this.#worker.on('exit', (code) => heard(() => {
      if (!over) ears.broken(`its thread ended with code ${code}`)
    }))
    // The work keeps a process alive, not the heart.
    this.#worker.unref()
  }

  /**
   * Tells the thread's copy of what runs.
   * @param {import('./running.js').Change} change
   */
  tell(change) {
    if (!this.#stopped) this.#worker.postMessage(change)
  }

  /** The next beat must not wait for its time. */
  hurry() {
    if (!this.#stopped) this.#worker.postMessage('hurry')
  }

  /** Beats no more. */
  async stop() {
    this.#stopped = true
    await this.#worker.terminate()
  }
}
