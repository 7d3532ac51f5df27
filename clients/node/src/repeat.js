// Commands whose fate must become known: sent until they are answered.
import { sleep } from './chance.js'
import { StoreError } from './errors.js'

/**
 * Sends a call until it is answered, or refused for a reason that sending it again does not change, or `signal` is aborted.
 * Each call that may be given here says in its script what makes a repeat harmless.
 * @template A
 * @param {import('./queue.js').Queue} queue
 * @param {import('./commands.js').Call<A>} call
 * @param {object} how
 * @param {AbortSignal} how.signal ends the trying
 * @param {number} how.firstWaitMs doubled each time, up to 2 s
 * @param {(error: StoreError) => void} how.said hears why it is tried again
 * @returns {Promise<A>}
 * @throws {StoreError} the last failure
 */
export async function untilAnswered(queue, call, { signal, firstWaitMs, said }) {
  for (let wait = firstWaitMs; ; wait = Math.min(wait * 2, 2000)) {
    try {
      return await queue.run(call)
    } catch (error) {
      if (!(error instanceof StoreError) || error.failure === 'permanent') throw error
      said(error)
      if (!(await sleep(wait, signal))) throw error
    }
  }
}
