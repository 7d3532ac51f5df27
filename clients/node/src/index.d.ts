/** Agents with an identity for Backstop, and clients that enqueue. */

/** The largest payload, bytes: 1 MiB. */
export declare const MAX_PAYLOAD: number
/** The largest checkpoint, bytes: 64 KiB. */
export declare const MAX_CHECKPOINT: number
/** The longest handle, bytes: 1024. */
export declare const MAX_HANDLE: number

/**
 * Where Redis is: a URL (`redis://`, `rediss://`, `redis+unix://`), options of ioredis, or an ioredis client, of which only
 * the options are used. An agent opens three connections, one of them on the heart's thread: so options are plain values.
 */
export type Redis = string | object

/** What an agent and a client have in common. */
export interface ConnectionOptions {
  /** Where Redis is. */
  redis: Redis
  /** The queue: 1 to 64 of `A-Z a-z 0-9 _ . -`, no `_` at the start. */
  queue: string
  /** How long an answer may take before its fate is unknown, ms. Default 3000. */
  responseTimeoutMs?: number
  /** How long a connection may take to be made, ms. Default 2000. */
  connectTimeoutMs?: number
}

/** How an agent is set up. One of `identity`, `pool` and the environment's `BACKSTOP_IDENTITY` names it. */
export interface AgentOptions extends ConnectionOptions {
  /** The stable name under which it acts: 1 to 40 of `A-Z a-z 0-9 _ -`. One live process acts under it: a younger one wins. */
  identity?: string
  /** A free name of `<prefix>-0` … `<prefix>-<size − 1>`, first one that left tasks behind; size 1 to 500. */
  pool?: { prefix: string; size: number }
  /** How many tasks run at once, 1 to 256. Default 1. */
  concurrency?: number
  /** Ends after so many tasks were taken. Default: never. */
  count?: number
  /** What running tasks are given when the agent is to stop, before they are stopped and given back, ms. Default 30 000. */
  drainTimeoutMs?: number
  /**
   * What a handler that was told to stop is given before it is no longer waited for, ms. Default 5000. Less, if others may
   * run its task before that.
   */
  stopGraceMs?: number
  /** What becomes of tasks that former sessions of the identity hold. Default `'reset'`. */
  onReconnect?: Choice | ((left: Left) => Choice | Promise<Choice>)
  /** What happens when each identity of the pool is in use: `run` rejects with {@link PoolFull}, or asks again. Default `'end'`. */
  poolFull?: 'end' | 'wait'
  /** Whether SIGTERM and SIGINT stop it while it runs. Default: yes, in the main thread. */
  handleSignals?: boolean
  /** Hears each answer about a task's outcome: `completed`, `late`, `retried`, … A repeat is heard again. */
  onAnswer?: (id: string, token: string, word: string) => void
  /** What it says of itself; default: warnings and errors on stderr. */
  log?: Record<'debug' | 'info' | 'warn' | 'error', (line: string) => void>
}

/** What becomes of a task that a former session holds: it goes on here, waits again, or becomes a dead letter. */
export type Choice = 'resume' | 'reset' | 'fail'

/** A task that a former session of the identity holds. */
export interface Left {
  readonly id: string
  readonly type: string
  /** Who holds it. */
  readonly session: string
  readonly token: string
  /** What its attempt left behind. */
  readonly checkpoint: Buffer | null
  /** Where else its attempt had it worked on. */
  readonly external: string | null
}

/** What became of an agent's tasks. A task counts where its last answer put it. */
export interface Account {
  taken: number
  /** From a predecessor. */
  adopted: number
  /** Completions that count; repeats of one are not counted again. */
  completed: number
  /** Completions that count though the task had been given up meanwhile. */
  withdrawn: number
  /** Outcomes that were refused: another attempt has the task, or nothing is known of it any more. */
  refused: number
  /** Failures that will be tried again. */
  retried: number
  /** Tasks that became dead letters in this agent's hands. */
  dead: number
  /** Tasks that were given back. */
  released: number
  /** Tasks that were stopped because this agent no longer held them. */
  fenced: number
}

/** A process that runs tasks of one queue under an identity. */
export declare class Agent {
  /** Nothing is sent yet. @throws {InvalidName | SetupError} */
  constructor(options: AgentOptions)
  /**
   * Takes tasks and runs `handler` on each until it is stopped; what became of them. A handler that returns completes its
   * task; one that throws fails it, unless it throws {@link GiveBack}.
   * @throws {Superseded | PoolFull | Stopped | StoreError | Broken} What ran then has been told to stop.
   */
  run(handler: (task: Task) => unknown): Promise<Account>
  /** Takes nothing more; what runs may finish within the drain time-out. `run` returns then. Harmless when repeated. */
  stop(): void
}

/** Why a task must stop. */
export type Why = 'fenced' | 'revoked' | 'cancelled' | 'out_of_touch' | 'stopping'

/** A task that runs. Made by an agent. Times are ms of the server's clock. */
export declare class Task {
  private constructor()
  readonly queue: string
  readonly id: string
  readonly type: string
  /** The bytes that were enqueued. */
  readonly payload: Buffer
  /** Which attempt this is, from 1. */
  readonly attempt: number
  /** What holds it: hand it to whatever is changed outside Redis, so that an older attempt can be told from a newer. */
  readonly token: string
  readonly enqueuedAtMs: number
  /** When nobody wants its result any more. */
  readonly deadlineMs: number | null
  /** How often an agent lost it. */
  readonly abandonments: number
  /** How often it failed. */
  readonly failures: number
  /** What the last attempt left behind. */
  readonly checkpoint: Buffer | null
  /** The handle that an earlier attempt recorded. */
  readonly external: string | null
  /** Aborted when the task must stop; its reason is a {@link TaskStopped}. */
  readonly signal: AbortSignal
  /** Why it must stop; `null`: it needn't. */
  why(): Why | null
  /** Leaves bytes for the next attempt. They go with the next heartbeat, and are a sign of life. @throws {TooLarge} over 64 KiB */
  saveCheckpoint(bytes: Uint8Array | string): void
  /** A sign of life of the task itself, for types that must show one. */
  alive(): void
  /**
   * Records where else the task is being worked on (1 to 1024 bytes), and waits until that is answered.
   * @throws {Fenced} this run no longer holds the task: stop
   * @throws {TooLarge} nothing was sent
   * @throws {StoreError} it is not known to be recorded
   */
  recordExternal(handle: string): Promise<void>
}

/** How a client is set up. */
export interface ClientOptions extends ConnectionOptions {}

/** What may be said of a new task. */
export interface TaskOptions {
  /** Its name: 1 to 64 of `A-Z a-z 0-9 _ . : @ / -`. Default: 32 random hex digits. */
  id?: string
  /** What policies, limits and statistics are kept by. Default `'default'`. */
  type?: string
  /** How long it waits before anyone may take it, ms. */
  delayMs?: number
  /** When nobody wants its result any more, ms from now. Default: as the queue's policy says. */
  deadlineInMs?: number
}

/** A task to add. */
export interface NewTask extends TaskOptions {
  /** At most 1 MiB; text becomes UTF-8. */
  payload: Uint8Array | string
}

/** What became of a task that was to be added; `exists`: it was there already, or was done a moment ago. */
export interface Enqueued {
  id: string
  answer: 'enqueued' | 'exists'
}

/** Adds tasks to a queue. */
export declare class Client {
  /** Nothing is sent yet. @throws {InvalidName | SetupError} */
  constructor(options: ClientOptions)
  /** Adds one task. @throws {InvalidName | TooLarge | StoreError} */
  enqueue(payload: Uint8Array | string, options?: TaskOptions): Promise<Enqueued>
  /** Adds tasks, in order. If a part fails, adding all of them again under the same ids is harmless. */
  enqueueMany(tasks: NewTask[]): Promise<Enqueued[]>
  /** Closes the connection. What waits for an answer fails. */
  close(): void
}

/** What all errors of this package are. */
export declare class BackstopError extends Error {
  /** What had become of the tasks, if an agent's run ended by this. */
  account: Account | undefined
}
/** A name that is not valid; nothing was sent. */
export declare class InvalidName extends BackstopError {}
/** An option that is missing or out of bounds; nothing was sent. */
export declare class SetupError extends BackstopError {}
/** A payload, checkpoint or handle that is too large, or a handle of no bytes; nothing was sent. */
export declare class TooLarge extends BackstopError {}
/** A younger process acts under this identity: this one ends. */
export declare class Superseded extends BackstopError {}
/** Each identity of the pool is in use. */
export declare class PoolFull extends BackstopError {}
/** The agent was asked to stop before it had begun. */
export declare class Stopped extends BackstopError {}
/** A part of the agent ended before its time. */
export declare class Broken extends BackstopError {}
/** Redis didn't answer as it should. */
export declare class StoreError extends BackstopError {
  /**
   * `transient`: it didn't run, and may when tried again. `permanent`: it didn't run, and won't until a person changes
   * something. `unknown`: nobody knows whether it ran.
   */
  readonly failure: 'transient' | 'permanent' | 'unknown'
  /** The first word of the server's error. */
  readonly code: string | undefined
}
/**
 * This run no longer holds its task. Stop; whoever takes the task next has the handle, or it is remembered as unwanted:
 * there is nothing to cancel.
 */
export declare class Fenced extends BackstopError {}
/** Why `task.signal` was aborted. */
export declare class TaskStopped extends BackstopError {
  readonly why: Why
}
/** Thrown by a handler: it failed, and trying again would be in vain. The task becomes a dead letter. */
export declare class Fatal extends BackstopError {
  constructor(message: string, options?: ErrorOptions)
}
/** Thrown by a handler: it gives the task back unfinished; nothing is charged. */
export declare class GiveBack extends BackstopError {
  /** @param delayMs how long the task waits; none: as its type's policy says */
  constructor(delayMs?: number)
  readonly delayMs: number | undefined
}
