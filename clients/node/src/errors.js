// What may go wrong, each with a class of its own.

/** What all errors of this package are. */
export class BackstopError extends Error {
  /**
   * @param {string} message
   * @param {ErrorOptions} [options]
   */
  constructor(message, options) {
    super(message, options)
    this.name = new.target.name
    /** What had become of the tasks, if an agent's run ended by this. @type {import('./account.js').Account | undefined} */
    this.account = undefined
  }
}

/** A name that is not valid; nothing was sent. */
export class InvalidName extends BackstopError {}

/** An option that is missing or out of bounds; nothing was sent. */
export class SetupError extends BackstopError {}

/** A payload, checkpoint or handle that is too large, or none; nothing was sent. */
export class TooLarge extends BackstopError {}

/** A younger process acts under this identity. To go on would only throw that one out in turn. */
export class Superseded extends BackstopError {
  constructor() {
    super('a younger process acts under this identity: this one ends')
  }
}

/** Each identity of the pool is in use. */
export class PoolFull extends BackstopError {
  constructor() {
    super('each identity of the pool is in use by a process that may be alive: enlarge the pool, or wait')
  }
}

/** The agent was asked to stop before it had begun. */
export class Stopped extends BackstopError {
  constructor() {
    super('stopped before it was registered')
  }
}

/** A part of the agent ended before its time. */
export class Broken extends BackstopError {}

/**
 * Redis didn't answer as it should. `failure` says what may be concluded:
 * - `transient`: it didn't run, and may when tried again later
 * - `permanent`: it didn't run, and won't until a person changes something
 * - `unknown`: nobody knows whether it ran; the answer was lost or came too late
 */
export class StoreError extends BackstopError {
  /**
   * @param {'transient' | 'permanent' | 'unknown'} failure
   * @param {string} message
   * @param {string} [code] the first word of the server's error
   */
  constructor(failure, message, code) {
    super(message)
    this.failure = failure
    this.code = code
  }
}

/**
 * This run no longer holds its task. Stop; whoever takes the task next has the handle, or it is remembered as unwanted:
 * there is nothing to cancel.
 */
export class Fenced extends BackstopError {
  /** @param {string} id */
  constructor(id) {
    super(`task ${id}: another attempt has it, or nobody waits for it any more: stop`)
  }
}

/** Why `task.signal` was aborted: its reason. */
export class TaskStopped extends BackstopError {
  /** @param {import('./running.js').Why} why */
  constructor(why) {
    super(`the task must stop: ${why}`)
    this.why = why
  }
}

/** Thrown by a handler: it failed, and trying again would be in vain. The task becomes a dead letter. */
export class Fatal extends BackstopError {}

/** Thrown by a handler: it gives the task back unfinished; nothing is charged. */
export class GiveBack extends BackstopError {
  /** @param {number} [delayMs] how long the task waits; none: as its type's policy says */
  constructor(delayMs) {
    super('the handler gave the task back')
    if (delayMs !== undefined && !(Number.isFinite(delayMs) && delayMs >= 0)) {
      throw new SetupError('the delay of what is given back is a number of ms, 0 or more')
    }
    this.delayMs = delayMs
  }
}
