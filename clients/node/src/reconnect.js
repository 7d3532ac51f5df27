// What an agent that comes back does with what former sessions of its name hold. To resume or to reset a task charges an
// abandonment, so one that ends its agent each time becomes a dead letter in the end.

/**
 * - `resume`: it goes on here, with the checkpoint and the handle that were left, as far as the concurrency allows; those
 *   beyond are reset
 * - `reset`: it waits again, for any agent
 * - `fail`: it becomes a dead letter, reason `failed`: what was begun must not be begun again
 * @typedef {'resume' | 'reset' | 'fail'} Choice
 */

/** @typedef {Choice | ((left: import('./commands.js').Held) => Choice | Promise<Choice>)} OnReconnect */

/** All choices. */
export const CHOICES = /** @type {const} */ (['resume', 'reset', 'fail'])

/**
 * The decision for one task. A program's own one that fails, says nothing known, or isn't there when the agent is to stop
 * decides `reset`: any agent may run the task.
 * @param {OnReconnect} how
 * @param {import('./commands.js').Held} left
 * @param {AbortSignal} stop
 * @param {import('./log.js').Log} log
 * @returns {Promise<Choice>}
 */
export async function decide(how, left, stop, log) {
  if (typeof how === 'string') return how
  const stopped = new Promise((/** @type {(choice: Choice) => void} */ resolve) => {
    if (stop.aborted) resolve('reset')
    stop.addEventListener('abort', () => resolve('reset'), { once: true })
  })
  try {
    const choice = await Promise.race([how(left), stopped])
    if (CHOICES.includes(choice)) return choice
    log.warn(`task ${left.id}: onReconnect decided nothing that is known, so it is reset`)
  } catch (error) {
    log.warn(`task ${left.id}: onReconnect failed, so it is reset: ${error instanceof Error ? error.message : String(error)}`)
  }
  return 'reset'
}
