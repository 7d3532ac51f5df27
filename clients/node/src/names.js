// Names, checked where they enter. They become parts of Redis keys and of lines that people read, so what they may hold
// is small: no braces (they would move a key to another slot of a cluster), no white space, no control characters.
import { InvalidName } from './errors.js'

const WIDE = "1 to 64 of the letters a-z A-Z, digits, '_', '.', '-', and no '_' at the start"
const RULES = {
  queue: { fits: /^(?!_)[A-Za-z0-9_.-]{1,64}$/, rule: WIDE },
  'task type': { fits: /^(?!_)[A-Za-z0-9_.-]{1,64}$/, rule: WIDE },
  identity: {
    fits: /^(?!_)[A-Za-z0-9_-]{1,40}$/,
    rule: "1 to 40 of the letters a-z A-Z, digits, '_', '-', and no '_' at the start",
  },
  'task id': {
    fits: /^(?!_)[A-Za-z0-9_.:@/-]{1,64}$/,
    rule: "1 to 64 bytes of a-z A-Z, digits, '_', '.', ':', '@', '/', '-', and no '_' at the start",
  },
}

/**
 * Returns `value` if it is a valid name.
 * @param {keyof RULES} what
 * @param {unknown} value
 * @returns {string}
 * @throws {InvalidName} which says what is allowed
 */
export function checked(what, value) {
  const { fits, rule } = RULES[what]
  if (typeof value === 'string' && fits.test(value)) return value
  // A hostile name must not flood a terminal or a log.
  const shown = typeof value === 'string' ? JSON.stringify(Array.from(value.slice(0, 80)).join('')) : typeof value
  throw new InvalidName(`${what} ${shown} is not a valid name: ${rule}`)
}

/**
 * The identity under which a session acts.
 * @param {string} session
 * @returns {string}
 */
export const identityOf = (session) => session.split('.', 1)[0] ?? session
