// What an agent says of itself, for people.

/**
 * Where it goes: each takes one line of text. Nothing secret is ever said.
 * @typedef {Record<'debug' | 'info' | 'warn' | 'error', (line: string) => void>} Log
 */

const quiet = () => {}
const say = (/** @type {string} */ line) => void process.stderr.write(`backstop: ${line}\n`)

/** Warnings and errors on stderr. @type {Log} */
export const STDERR = { debug: quiet, info: quiet, warn: say, error: say }
