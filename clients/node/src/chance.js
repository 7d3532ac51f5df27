// Randomness, clocks and timers.
import { randomBytes, randomInt } from 'node:crypto'

/** 64 fresh random bits, as 16 lower-case hex digits. */
export const freshNonce = () => randomBytes(8).toString('hex')

/** 128 fresh random bits, as 32 hex digits: the id of a task that was given none. */
export const freshId = () => randomBytes(16).toString('hex')

/**
 * A number of ms, up to this part of it earlier or later, so that what was started together doesn't act as one.
 * @param {number} ms
 * @param {number} part
 */
export const jittered = (ms, part) => ms * (1 - part + (2 * part * randomInt(1001)) / 1000)

/** A whole number from 0 to 1000. */
export const upTo1000 = () => randomInt(1001)

/** Monotonic ms. One clock for all threads of the process, unlike `performance.now()`. */
export const now = () => Number(process.hrtime.bigint()) / 1e6

/**
 * `setTimeout` that doesn't take a time too long for it for none at all.
 * @param {number} ms
 * @param {() => void} act
 */
export const later = (ms, act) => setTimeout(act, Math.min(Math.max(ms, 0), 2 ** 31 - 1))

/**
 * Waits, or until `signal` is aborted: `false`. Never rejects.
 * @param {number} ms
 * @param {AbortSignal} [signal]
 * @returns {Promise<boolean>}
 */
export function sleep(ms, signal) {
  if (signal?.aborted) return Promise.resolve(false)
  return new Promise((resolve) => {
    const end = () => done(false)
    const timer = later(ms, () => done(true))
    const done = (/** @type {boolean} */ whole) => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', end)
      resolve(whole)
    }
    signal?.addEventListener('abort', end, { once: true })
  })
}
