// The keys of a queue: the one place where they are spelt.

/** The names of all queues. It lies in another slot than any queue's keys, so it is written apart. */
export const QUEUES = 'backstop:queues'

/** The format of what the scripts write. Programs of another format are refused before anything is written. */
export const FORMAT = '1'

// Every script gets these, in this order; lib/head.lua names them. The last one never exists: while a cluster moves the
// slot, a script with it is refused before it runs instead of failing midway.
const FIXED = [
  'control', 'pending', 'delayed', 'expiring', 'agents', 'due', 'dead', 'policy', 'stats', 'events', 'lease', 'unwanted',
  'none',
]

/**
 * What every script is given as `KEYS`. All share the hash tag `{queue}`.
 * @param {string} queue a valid name
 * @returns {string[]}
 */
export const fixedKeys = (queue) => FIXED.map((name) => `backstop:{${queue}}:${name}`)

/**
 * The channel that hints at new work.
 * @param {string} queue a valid name
 */
export const wakeChannel = (queue) => `backstop:{${queue}}:wake`
