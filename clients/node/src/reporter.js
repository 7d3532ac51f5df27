// Outcomes, told to Redis until they are answered. Until then a task stays on the list that beats show.
import { BATCH, complete, fail, release } from './commands.js'
import { later, upTo1000 } from './chance.js'
import { untilAnswered } from './repeat.js'

/** When an outcome that was refused is told again, ms: a person may have mended what stood in the way. */
const REFUSED_AGAIN = 5000

/**
 * What is to be told of a task. `delayMs` -1: as its type's policy says.
 * @typedef {{ how: 'done' } | { how: 'failed', error: string, final: boolean } | { how: 'gave_back', delayMs: number }} Outcome
 */

/** @typedef {{ id: string, token: string, outcome: Outcome }} Report */

/**
 * @typedef {object} Desk
 * @property {import('./queue.js').Queue} queue
 * @property {string} session
 * @property {import('./running.js').Running} running
 * @property {import('./account.js').Account} account
 * @property {import('./log.js').Log} log
 * @property {(id: string, token: string, word: string) => void} answered
 * @property {AbortSignal} giveUp ends the trying: nobody waits for the answers any more
 */

/** Tells outcomes. */
export class Reporter {
  /** @type {Report[]} */
  #waiting = []
  /** @type {Report[]} */
  #refused = []
  #desk
  #busy = false
  #closed = false
  /** @type {NodeJS.Timeout | undefined} */
  #again
  /** @type {() => void} */
  #toldAll = () => {}

  /** @param {Desk} desk */
  constructor(desk) {
    this.#desk = desk
    desk.giveUp.addEventListener('abort', () => clearTimeout(this.#again))
  }

  /** @param {Report} report */
  tell(report) {
    this.#waiting.push(report)
    this.#work()
  }

  /**
   * No more comes. Resolves when all is told; never, if something is refused for good.
   * @returns {Promise<void>}
   */
  close() {
    this.#closed = true
    return new Promise((resolve) => {
      this.#toldAll = resolve
      this.#settle()
    })
  }

  #settle() {
    const left = this.#busy || this.#waiting.length > 0 || this.#refused.length > 0
    if (this.#closed && !left) this.#toldAll()
  }

  #work() {
    if (this.#busy || this.#waiting.length === 0 || this.#desk.giveUp.aborted) return this.#settle()
    this.#busy = true
    // Whatever has come by now goes in one call; a single one doesn't wait for company.
    setImmediate(async () => {
      await this.#batch(this.#waiting.splice(0, BATCH))
      this.#busy = false
      this.#work()
    })
  }

  /** @param {Report[]} batch */
  async #batch(batch) {
    /** @type {Map<number, Report[]>} */
    const back = new Map()
    /** @type {Report[]} */
    const done = []
    /** @type {Promise<void>[]} */
    const telling = []
    for (const report of batch) {
      const { outcome } = report
      if (outcome.how === 'done') done.push(report)
      else if (outcome.how === 'failed') telling.push(this.#or([report], this.#fail(report, outcome.error, outcome.final)))
      else back.set(outcome.delayMs, [...(back.get(outcome.delayMs) ?? []), report])
    }
    if (done.length > 0) telling.push(this.#or(done, this.#complete(done)))
    for (const [delayMs, reports] of back) telling.push(this.#or(reports, this.#giveBack(reports, delayMs)))
    await Promise.all(telling)
  }

  /**
   * Keeps what is refused for later.
   * @param {Report[]} reports
   * @param {Promise<void>} told
   */
  async #or(reports, told) {
    try {
      await told
    } catch (error) {
      const { log, giveUp } = this.#desk
      this.#refused.push(...reports)
      if (giveUp.aborted) return
      const why = error instanceof Error ? error.message : String(error)
      log.error(`an outcome was refused; trying again in a while: ${why}`)
      clearTimeout(this.#again)
      this.#again = later(REFUSED_AGAIN, () => {
        this.#waiting.push(...this.#refused.splice(0))
        this.#work()
      })
    }
  }

  /** @param {Report[]} reports */
  async #complete(reports) {
    const { running, account, log } = this.#desk
    const answers = await this.#untilAnswered(complete(reports.map(({ id, token }) => [id, token])))
    answers.forEach((word, i) => {
      const { id, token } = /** @type {Report} */ (reports[i])
      running.end(id, token)
      if (word === 'withdrawn') {
        account.withdrawn += 1
        log.info(`task ${id}: a late result was accepted; the reset was false`)
      } else if (word === 'late' || word === 'gone') {
        account.refused += 1
        log.warn(`task ${id}: its completion was refused: ${word}`)
      } else {
        account.completed += 1
      }
      this.#desk.answered(id, token, word)
    })
  }

  /**
   * @param {Report} report
   * @param {string} error
   * @param {boolean} final
   */
  async #fail({ id, token }, error, final) {
    const { running, account } = this.#desk
    const word = await this.#untilAnswered(fail({ id, token, error, jitter: upTo1000(), final }))
    running.end(id, token)
    if (word === 'retried') account.retried += 1
    else if (word === 'dead') account.dead += 1
    else if (word === 'discarded') account.released += 1
    else account.refused += 1
    this.#desk.answered(id, token, word)
  }

  /**
   * Gives tasks back. A repeat is answered `late`, so what counts is that they are no longer ours.
   * @param {Report[]} reports
   * @param {number} delayMs
   */
  async #giveBack(reports, delayMs) {
    const { running, account, session } = this.#desk
    const answers = await this.#untilAnswered(release(session, delayMs, reports.map(({ id, token }) => [id, token])))
    reports.forEach(({ id, token }, i) => {
      running.end(id, token)
      account.released += 1
      this.#desk.answered(id, token, /** @type {string} */ (answers[i]))
    })
  }

  /**
   * @template A
   * @param {import('./commands.js').Call<A>} call
   */
  #untilAnswered(call) {
    const { queue, log, giveUp } = this.#desk
    const said = (/** @type {Error} */ error) => log.debug(`an outcome is untold yet: ${error.message}`)
    return untilAnswered(queue, call, { signal: giveUp, firstWaitMs: 50, said })
  }
}
