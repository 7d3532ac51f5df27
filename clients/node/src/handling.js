// One handler at work: until it ends, or is no longer waited for; and what its end says of its task.
import { later, now } from './chance.js'
import { Fatal, GiveBack } from './errors.js'

/**
 * How a handler ended: well, by an error, or not at all in the time that it was given.
 * @typedef {{ error?: unknown } | null} Ended
 */

/**
 * Runs a handler until it ends, or doesn't end in the time that it is given once its run was told to stop. A promise can't
 * be ended: a handler that goes on is no longer listened to.
 * @param {() => Promise<unknown>} handle
 * @param {import('./running.js').Run} run
 * @param {() => number} grace ms that the run has from when it was told, for the reason that it was told last
 * @returns {Promise<Ended>}
 */
export function watched(handle, run, grace) {
  return new Promise((resolve) => {
    /** @type {NodeJS.Timeout | undefined} */
    let timer
    const end = (/** @type {Ended} */ ended) => {
      clearTimeout(timer)
      run.changed = () => {}
      resolve(ended)
    }
    // A reason that leaves less time may come after the first.
    run.changed = () => {
      clearTimeout(timer)
      timer = later(grace() - (now() - (run.toldAt ?? now())), () => end(null))
    }
    if (run.why !== null) run.changed()
    handle().then(() => end({}), (error) => end({ error: error ?? new Error('the handler threw nothing') }))
  })
}

/**
 * @param {Ended} ended
 * @param {boolean} told whether it was told to stop
 * @returns {import('./reporter.js').Outcome}
 */
export function outcomeOf(ended, told) {
  if (ended !== null && ended.error === undefined) return { how: 'done' }
  // It ended because it was told to: that is no failure.
  if (ended === null || told) return { how: 'gave_back', delayMs: 0 }
  const { error } = ended
  if (error instanceof GiveBack) return { how: 'gave_back', delayMs: Math.round(error.delayMs ?? -1) }
  return { how: 'failed', error: textOf(error), final: error instanceof Fatal }
}

/** @param {unknown} error */
function textOf(error) {
  if (!(error instanceof Error)) return String(error)
  return error.name === 'Error' || error instanceof Fatal ? error.message : `${error.name}: ${error.message}`
}
