// Which scripts an agent runs, and the shared parts that they include.

/** The scripts of an agent and of a client. */
export const NAMES = /** @type {const} */ ([
  'enqueue', 'register', 'take', 'beat', 'complete', 'fail', 'release', 'adopt', 'leave', 'external',
])

/** The shared parts, in `lib/`. */
export const PARTS = /** @type {const} */ (['charge', 'head', 'move', 'policy'])

/** @typedef {typeof NAMES[number]} ScriptName */
