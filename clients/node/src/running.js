// What an agent runs: the one list that its taker, its reporter and its handlers share. A task stands on it from the
// moment it was taken until its outcome was answered. The heart's thread keeps a copy, told of every change in order; what
// a beat brings back is judged here alone, against this list, so the judgement waits for a thread that a handler keeps.
import { TaskStopped } from './errors.js'
import { now as clock } from './chance.js'

/**
 * Why a task must stop.
 * - `fenced`: this agent no longer holds it; what it does counts for nothing
 * - `revoked`: one of its limits has passed: end, and it is given back
 * - `cancelled`: a person cancelled it: end, and it is discarded
 * - `out_of_touch`: no heartbeat was answered for so long that others may have been given the task
 * - `stopping`: the agent ends, or its queue is being drained: end, and the task is given back
 * @typedef {'fenced' | 'revoked' | 'cancelled' | 'out_of_touch' | 'stopping'} Why
 */

/**
 * What the heart's copy is told, in order.
 * @typedef {{ end?: import('./commands.js').Pair[], begin?: import('./commands.js').Pair[],
 *   mark?: [id: string, token: string, mark: import('./commands.js').Mark] }} Change
 */

/** What a run that counts for nothing any more has to end, ms: another may have begun already. */
const FENCED_GRACE = 1000
/** How long an answer may come after its pairs were given back, ms. An event loop that is kept busy reads it late. */
const ANSWER_MAY_COME = 3_600_000

const WHY_OF = /** @type {const} */ ({ gone: 'fenced', revoked: 'revoked', cancelled: 'cancelled' })

/** One run of one task. */
export class Run {
  /** @type {Why | null} */
  #why = null
  /** @type {AbortController | null} */
  #controller = null
  /** When it was told to stop, ms. @type {number | null} */
  toldAt = null
  /** When it last left a checkpoint, ms. @type {number | null} */
  savedAt = null
  /** Called when it is told to stop, and when the reason changes. @type {() => void} */
  changed = () => {}

  /**
   * @param {string} id
   * @param {string} token
   */
  constructor(id, token) {
    this.id = id
    this.token = token
  }

  /** Why it must stop; `null`: it needn't. */
  get why() {
    return this.#why
  }

  /** Aborted when it must stop. Made when it is first asked for: most runs never do. */
  get signal() {
    if (this.#controller === null) {
      this.#controller = new AbortController()
      if (this.#why !== null) this.#controller.abort(new TaskStopped(this.#why))
    }
    return this.#controller.signal
  }

  /**
   * @param {Why} why
   * @param {number} at
   */
  stop(why, at) {
    const first = this.#why === null
    // Fenced overrides what was said before: its outcome is of no interest any more. Who is out of touch has less time
    // than for any other reason but that.
    if (!first && !(why === 'fenced' || (why === 'out_of_touch' && this.#why !== 'fenced'))) return
    if (this.#why === why) return
    this.#why = why
    this.toldAt ??= at
    this.changed()
    if (first) this.#controller?.abort(new TaskStopped(why))
  }

  /** Its outcome is known: what its handler still does, if it goes on, is nobody's. That is no order to stop. */
  close() {
    this.#why = 'fenced'
  }
}

/** The list. */
export class Running {
  /** @type {Map<string, Run>} */
  #runs = new Map()
  /** Tasks whose `adopt` awaits an answer. @type {Set<string>} */
  #adopting = new Set()
  /** Pairs that are held and that nobody here knows, and when that was first heard. @type {Map<string, number>} */
  #unknown = new Map()
  /**
   * Pairs that were given back because their answer was thought lost, and when: should it come after all, they are not
   * this agent's to run.
   * @type {Map<string, number>}
   */
  #givenBack = new Map()
  #timeToStop = 0
  /** When the latest beat that was answered was sent. */
  #carried = 0
  /** What the heart's copy has yet to forget. @type {import('./commands.js').Pair[]} */
  #ended = []
  #telling = false
  #tell
  #now

  /**
   * @param {(change: Change) => void} tell hears what the heart's copy must know
   * @param {() => number} [now] monotonic ms, the clock of the beats
   */
  constructor(tell, now = clock) {
    this.#tell = tell
    this.#now = now
  }

  /** How many tasks stand on it. */
  get size() {
    return this.#runs.size
  }

  /**
   * Tasks begin, and stand on the list before the first handler can keep this thread. What was given back before its answer
   * came is left out, and must not run. A run of the same task is an older attempt, and stops.
   * @template {{ id: string, token: string }} T
   * @param {T[]} tasks
   * @returns {{ task: T, run: Run }[]}
   */
  begin(tasks) {
    const begun = tasks.filter((task) => !this.#givenBack.delete(key(task.id, task.token)))
      .map((task) => ({ task, run: new Run(task.id, task.token) }))
    for (const { run } of begun) {
      for (const pair of this.#unknown.keys()) if (pair.startsWith(`${run.id} `)) this.#unknown.delete(pair)
      const older = this.#runs.get(run.id)
      this.#runs.set(run.id, run)
      older?.stop('fenced', this.#now())
    }
    if (begun.length > 0) {
      this.#tell({ end: this.#forgotten(), begin: begun.map(({ run }) => [run.id, run.token]) })
    }
    return begun
  }

  /**
   * A task's outcome was answered, or needs no answer.
   * @param {string} id
   * @param {string} token
   */
  end(id, token) {
    const run = this.#runs.get(id)
    if (run?.token !== token) return
    this.#runs.delete(id)
    this.#forget(run)
    run.close()
  }

  /**
   * Something to say of a run with the next beat; nothing, if it is over.
   * @param {Run} run
   * @param {import('./commands.js').Mark} mark
   */
  mark(run, mark) {
    if (this.#runs.get(run.id) !== run) return
    this.#tell({ mark: [run.id, run.token, mark] })
    if (typeof mark !== 'string') run.savedAt = this.#now()
  }

  /**
   * Whether it left a checkpoint that no answered beat has carried yet.
   * @param {Run} run
   */
  owesCheckpoint(run) {
    return run.savedAt !== null && run.savedAt >= this.#carried
  }

  /**
   * What a run has to end once it was told to, ms, of the `grace` that it would have otherwise.
   * @param {Run} run
   * @param {number} grace
   */
  grace(run, grace) {
    if (run.why === 'fenced') return Math.min(grace, FENCED_GRACE)
    return run.why === 'out_of_touch' ? Math.min(grace, this.#timeToStop) : grace
  }

  /**
   * What is left to a run that stops for want of answers, before others may begin it. A fifth is kept for what a machine
   * that swaps or a clock that drifts takes.
   * @param {import('./commands.js').Rhythm} rhythm
   */
  goBy({ stopAfter, lostAfter }) {
    this.#timeToStop = (Math.max(0, lostAfter - (stopAfter < 0 ? lostAfter : stopAfter)) * 4) / 5
  }

  /**
   * This run turned out to hold its task no longer.
   * @param {Run} run
   */
  fence(run) {
    run.stop('fenced', this.#now())
  }

  /** @param {Why} why */
  stopAll(why) {
    for (const run of this.#runs.values()) run.stop(why, this.#now())
  }

  /** Stops all, and forgets them: what they do counts for nothing any more. */
  fenceAll() {
    const runs = [...this.#runs.values()]
    this.#runs.clear()
    for (const run of runs) {
      this.#forget(run)
      run.stop('fenced', this.#now())
    }
  }

  /** @param {string[]} ids */
  adopting(ids) {
    this.#adopting = new Set(ids)
  }

  /**
   * Stops what the answer says, and returns what must be given back: pairs that two beats in a row showed as held and that
   * nobody here knows, the second of them sent when any answer to a `take` or `adopt` had timed out. Once is not enough:
   * the answer that brings them may be on its way. The time counts from when this thread heard of a pair: while a handler
   * keeps it, the answer may lie unread.
   * @param {Pick<import('./commands.js').BeatAnswer, 'stop' | 'unlisted'>} answer
   * @param {number} sent when the beat was sent
   * @param {number} answerTimeout ms
   * @returns {import('./commands.js').Pair[]}
   */
  heard(answer, sent, answerTimeout) {
    const now = this.#now()
    this.#carried = Math.max(this.#carried, sent)
    for (const [id, token, why] of answer.stop) {
      const run = this.#runs.get(id)
      if (run?.token === token) run.stop(WHY_OF[why], now)
    }
    const unknown = new Map()
    /** @type {import('./commands.js').Pair[]} */
    const giveBack = []
    for (const [id, token] of answer.unlisted) {
      if (this.#runs.get(id)?.token === token || this.#adopting.has(id)) continue
      const pair = key(id, token)
      const first = this.#unknown.get(pair)
      if (first !== undefined && sent - first > answerTimeout) giveBack.push([id, token])
      else unknown.set(pair, first ?? now)
    }
    this.#unknown = unknown
    for (const [pair, when] of this.#givenBack) if (now - when >= ANSWER_MAY_COME) this.#givenBack.delete(pair)
    for (const [id, token] of giveBack) this.#givenBack.set(key(id, token), now)
    return giveBack
  }

  /**
   * Tells the copy soon. One that lists an ended pair a little longer only hears that it is gone.
   * @param {Run} run
   */
  #forget(run) {
    this.#ended.push([run.id, run.token])
    if (this.#telling) return
    this.#telling = true
    setImmediate(() => {
      this.#telling = false
      if (this.#ended.length > 0) this.#tell({ end: this.#forgotten() })
    })
  }

  #forgotten() {
    const ended = this.#ended
    this.#ended = []
    return ended
  }
}

/**
 * @param {string} id
 * @param {string} token
 */
const key = (id, token) => `${id} ${token}`
