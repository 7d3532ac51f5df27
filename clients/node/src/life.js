// One session's life: take, run, report; stop when told to.
import { BATCH, release, take } from './commands.js'
import { freshNonce, later, now } from './chance.js'
import { Broken, StoreError, Superseded } from './errors.js'
import { outcomeOf, watched } from './handling.js'
import { Heart } from './heart.js'
import { POLL, listen, poll } from './hints.js'
import { Queue } from './queue.js'
import { Reporter } from './reporter.js'
import { Running } from './running.js'
import { leave, register, settle } from './session.js'
import { Task } from './task.js'

/** Tasks that a session may hold, running or unreported. */
const MOST_HELD = 256
/** How long outcomes are still told once an agent is to end, and how long it tries to leave, ms. */
const LAST_WORDS = 10_000
/** How long a task that is given back or failed waits for a beat to carry its checkpoint, ms. */
const LAST_CHECKPOINT = 1000

/**
 * How a session ends that didn't leave.
 * @typedef {'superseded' | 'lost' | 'broken'} Over
 */

/** @typedef {(task: Task) => unknown} Handler */

/** A session that lives. */
export class Life {
  #handler
  #settings
  #queue
  #account
  #stop
  #begun
  #giveUp = new AbortController()
  /** @type {Running} */
  #running
  /** @type {Heart} */
  #heart
  /** @type {Reporter} */
  #reporter
  /** @type {{ close: () => void } | null} */
  #hints = null
  #handling = 0
  #left
  #taking = false
  /** Whether a take is to begin. */
  #due = false
  #lookAt = 0
  #forced = false
  /** @type {'' | 'wait' | 'release'} */
  #drain = ''
  #outOfTouch = false
  /** @type {Over | null} */
  #over = null
  #why = ''
  /** @type {NodeJS.Timeout | undefined} */
  #lookTimer
  /** @type {NodeJS.Timeout | undefined} */
  #forceTimer
  /** Called when the session is over, or has nothing left to do. @type {() => void} */
  #finish = () => {}
  /** Called when the last handler has ended. @type {() => void} */
  #idle = () => {}
  #living = false
  /** Who waits for a beat to be answered. @type {(() => void)[]} */
  #awaitingBeat = []

  /**
   * @param {object} life
   * @param {import('./agent.js').Settings} life.settings
   * @param {Handler} life.handler
   * @param {Queue} life.queue
   * @param {import('./account.js').Account} life.account
   * @param {AbortSignal} life.stop
   * @param {import('./session.js').Begun} life.begun
   */
  constructor({ settings, handler, queue, account, stop, begun }) {
    this.#settings = settings
    this.#handler = handler
    this.#queue = queue
    this.#account = account
    this.#stop = stop
    this.#begun = begun
    this.#left = settings.count === null ? Infinity : Math.max(0, settings.count - account.taken)
    this.#running = new Running((change) => this.#heart.tell(change))
    this.#running.goBy(begun.rhythm)
    const { connection, timeOuts, log } = settings
    this.#heart = new Heart(
      { connection, timeOuts, queue: settings.queue, session: begun.session, rhythm: begun.rhythm },
      {
        answer: (answer, sent) => this.#heard(answer, sent),
        outOfTouch: () => this.#lostTouch(),
        unanswered: (why, silentMs) => log.warn(`${begun.session}: heartbeat unanswered, silent for ${silentMs} ms: ${why}`),
        broken: (why) => this.#end('broken', `the heart broke: ${why}`),
      },
    )
    this.#reporter = new Reporter({
      queue, session: begun.session, running: this.#running, account, log, answered: settings.onAnswer,
      giveUp: this.#giveUp.signal,
    })
  }

  /**
   * Lives one session, from its registration to its end: the session if it was given up, so that another may begin; `null`
   * if it was stopped, or has done its count.
   * @param {object} life
   * @param {import('./store.js').Store} life.store
   * @param {import('./agent.js').Settings} life.settings
   * @param {Handler} life.handler
   * @param {string | null} life.lost the session before, which was given up
   * @param {AbortSignal} life.stop
   * @param {import('./account.js').Account} life.account
   * @returns {Promise<string | null>}
   */
  static async live({ store, settings, handler, lost, stop, account }) {
    const queue = new Queue(store, settings.queue)
    const begun = await register({ queue, settings, stop }, lost)
    const life = new Life({ settings, handler, queue, account, stop, begun })
    try {
      return await life.#live()
    } finally {
      await life.#close()
    }
  }

  async #live() {
    const settings = this.#settings
    try {
      await this.#queue.announce()
    } catch (error) {
      // The daemon may know the queue from its configuration; whoever enqueues announces it too.
      settings.log.debug(`could not announce the queue: ${error instanceof Error ? error.message : String(error)}`)
    }
    let adopted
    try {
      adopted = await settle({ queue: this.#queue, settings, stop: this.#stop }, this.#begun, this.#running)
    } catch (error) {
      // What it has adopted by now nobody would run.
      if (!(error instanceof Superseded)) await this.#leave()
      throw error
    }
    this.#account.adopted += adopted.length
    this.#hints = listen(settings.connection, settings.timeOuts, settings.queue, () => this.#hinted(), settings.log)
    const finished = new Promise((/** @type {(value: void) => void} */ resolve) => {
      this.#finish = resolve
    })
    const stopped = () => this.#stopping()
    this.#stop.addEventListener('abort', stopped)
    this.#living = true
    for (const { task, run } of adopted) this.#start(task, run)
    if (this.#stop.aborted) this.#stopping()
    this.#step()
    await finished
    this.#living = false
    this.#stop.removeEventListener('abort', stopped)
    return await this.#wind()
  }

  // What happens to it. Each ends in a step.

  /**
   * @param {import('./commands.js').BeatAnswer} answer
   * @param {number} sent
   */
  #heard(answer, sent) {
    this.#running.goBy(answer.rhythm)
    const unknown = this.#running.heard(answer, sent, this.#settings.timeOuts.responseMs)
    this.#drain = answer.drain
    this.#outOfTouch = false
    for (const told of this.#awaitingBeat.splice(0)) told()
    if (answer.word === 'superseded' || answer.word === 'lost') return this.#end(answer.word, '')
    if (unknown.length > 0) void this.#giveBack(unknown)
    this.#step()
  }

  #lostTouch() {
    this.#settings.log.error(`${this.#begun.session}: out of touch with Redis: stopping all work`)
    this.#outOfTouch = true
    this.#step()
  }

  /**
   * @param {Over} over
   * @param {string} why
   */
  #end(over, why) {
    this.#over ??= over
    this.#why ||= why
    this.#step()
  }

  #stopping() {
    this.#forceTimer = later(this.#settings.drainTimeoutMs, () => {
      this.#forced = true
      this.#step()
    })
    this.#step()
  }

  #hinted() {
    this.#lookAt = 0
    this.#step()
  }

  /** Does what the state of things asks for. */
  #step() {
    if (!this.#living) return
    if (this.#over !== null) return this.#finish()
    // Also what a take brought whose answer was still on its way.
    if (this.#outOfTouch) this.#running.stopAll('out_of_touch')
    if (this.#drain === 'release' || this.#forced) this.#running.stopAll('stopping')
    if (this.#handling === 0 && !this.#taking && (this.#stop.aborted || this.#left === 0)) return this.#finish()
    const room = this.#room()
    clearTimeout(this.#lookTimer)
    if (room < 1) return
    const wait = this.#lookAt - now()
    if (wait > 0) this.#lookTimer = later(wait, () => this.#step())
    else this.#soon()
  }

  /** How many tasks may be taken now: only what can start at once, so that nobody waits behind a busy agent. */
  #room() {
    if (this.#stop.aborted || this.#drain !== '' || this.#outOfTouch || this.#taking) return 0
    const free = this.#settings.concurrency - this.#handling
    return Math.min(free, MOST_HELD - this.#running.size, BATCH, this.#left)
  }

  /**
   * Takes after what has just ended was told, in this order: so what was given back keeps its place before what is taken,
   * and all places that have become free by now are filled by one call.
   */
  #soon() {
    if (this.#due) return
    this.#due = true
    setImmediate(() => setImmediate(() => {
      this.#due = false
      const room = this.#living && this.#over === null ? this.#room() : 0
      if (room > 0) void this.#take(room)
      else this.#step()
    }))
  }

  /** @param {number} room */
  async #take(room) {
    this.#taking = true
    const wait = (/** @type {number} */ ms) => {
      this.#lookAt = now() + ms
    }
    // A hint that comes while the answer is on its way counts.
    wait(0)
    const asked = this.#lookAt
    const unlessHinted = (/** @type {number} */ ms) => {
      if (this.#lookAt === asked) wait(ms)
    }
    try {
      const answer = await this.#queue.run(take(this.#begun.session, freshNonce(), room))
      this.#taking = false
      if (answer.how === 'took') this.#took(answer.tasks)
      else if (answer.how === 'empty') unlessHinted(Math.min(answer.nextMs ?? POLL, poll()))
      else if (answer.how === 'superseded' || answer.how === 'lost') return this.#end(answer.how, '')
      else wait(poll())
    } catch (error) {
      this.#taking = false
      if (!this.#living) return
      // If it ran, the next beats show what it took.
      const permanent = !(error instanceof StoreError) || error.failure === 'permanent'
      this.#settings.log.warn(`could not take tasks; trying again: ${error instanceof Error ? error.message : String(error)}`)
      // What a person must mend is not asked for twice a second.
      wait(permanent ? poll() * 10 : poll() / 2)
    }
    this.#step()
  }

  /** @param {import('./commands.js').Taken[]} tasks */
  #took(tasks) {
    // The session may have ended meanwhile: what it took is the next one's to give back.
    if (!this.#living) return
    const begun = this.#running.begin(tasks)
    this.#account.taken += begun.length
    this.#left -= begun.length
    for (const { task, run } of begun) this.#start(task, run)
  }

  /**
   * @param {import('./commands.js').Taken} taken
   * @param {import('./running.js').Run} run
   */
  #start(taken, run) {
    this.#handling += 1
    const task = new Task(taken, run, {
      queue: this.#queue, running: this.#running, log: this.#settings.log, giveUp: this.#giveUp.signal,
    })
    const grace = () => this.#running.grace(run, this.#settings.stopGraceMs)
    void watched(async () => this.#handler(task), run, grace).then(async (ended) => {
      if (this.#running.owesCheckpoint(run) && outcomeOf(ended, run.why !== null).how !== 'done') await this.#carried(run)
      this.#handling -= 1
      this.#report(run, ended)
      if (this.#handling === 0) this.#idle()
      this.#step()
    })
  }

  /**
   * Has a beat carry the checkpoint of a task that is to be told of: its next attempt shall have it. Not for long: that it
   * is told matters more.
   * @param {import('./running.js').Run} run
   */
  async #carried(run) {
    const end = now() + LAST_CHECKPOINT
    this.#heart.hurry()
    while (this.#running.owesCheckpoint(run) && run.why !== 'fenced' && this.#over === null) {
      if (now() >= end || !(await this.#beatAnswered(end - now()))) return
    }
  }

  /**
   * Whether a beat is answered within this time.
   * @param {number} ms
   */
  async #beatAnswered(ms) {
    return await within(ms, new Promise((/** @type {(value: void) => void} */ resolve) => this.#awaitingBeat.push(resolve)))
  }

  /**
   * @param {import('./running.js').Run} run
   * @param {import('./handling.js').Ended} ended
   */
  #report(run, ended) {
    const { id, token, why } = run
    if (ended === null) {
      this.#settings.log.warn(`task ${id}: its handler was told to stop (${why}) and goes on; what it does counts for nothing`)
    }
    if (why === 'fenced') {
      this.#settings.log.warn(`task ${id}: stopped: this agent no longer holds it`)
      this.#account.fenced += 1
      this.#running.end(id, token)
      return
    }
    this.#reporter.tell({ id, token, outcome: outcomeOf(ended, why !== null) })
  }

  /** @param {import('./commands.js').Pair[]} unknown */
  async #giveBack(unknown) {
    const { log } = this.#settings
    log.warn(`${this.#begun.session}: giving back ${unknown.length} tasks whose answer was lost`)
    for (let at = 0; at < unknown.length; at += BATCH) {
      try {
        await this.#queue.run(release(this.#begun.session, 0, unknown.slice(at, at + BATCH)))
      } catch (error) {
        // The next beats show them again.
        log.warn(`could not give them back yet: ${error instanceof Error ? error.message : String(error)}`)
      }
    }
  }

  /** The end: handlers stop, outcomes are told, the session leaves. */
  async #wind() {
    const { log, stopGraceMs } = this.#settings
    const over = this.#over
    if (over !== null) this.#running.fenceAll()
    await within(stopGraceMs + 1000, new Promise((/** @type {(value: void) => void} */ resolve) => {
      this.#idle = resolve
      if (this.#handling === 0) resolve()
    }))
    const allTold = await within(LAST_WORDS, this.#reporter.close())
    if (!allTold) this.#giveUp.abort()
    if (over === 'lost') return this.#begun.session
    if (over === 'superseded') throw new Superseded()
    if (over === 'broken') throw new Broken(this.#why)
    if (allTold) {
      await this.#leave()
    } else {
      log.error(`${this.#begun.session}: ended with ${this.#running.size} outcomes untold: the sweeper will reset them`)
    }
    return null
  }

  async #leave() {
    await leave(this.#queue, this.#begun.session, AbortSignal.timeout(LAST_WORDS), this.#settings.log)
  }

  async #close() {
    clearTimeout(this.#lookTimer)
    clearTimeout(this.#forceTimer)
    this.#giveUp.abort()
    this.#hints?.close()
    await this.#heart.stop()
  }
}

/**
 * Whether `what` came within this time.
 * @param {number} ms
 * @param {Promise<unknown>} what
 * @returns {Promise<boolean>}
 */
async function within(ms, what) {
  /** @type {NodeJS.Timeout | undefined} */
  let timer
  const late = new Promise((/** @type {(late: false) => void} */ resolve) => {
    timer = later(ms, () => resolve(false))
  })
  const came = await Promise.race([what.then(() => true), late])
  clearTimeout(timer)
  return came
}
