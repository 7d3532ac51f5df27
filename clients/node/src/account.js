// What became of an agent's tasks, as it was answered.

/**
 * Counts of answers. A task counts where its last answer put it.
 * @typedef {object} Account
 * @property {number} taken
 * @property {number} adopted from a predecessor
 * @property {number} completed completions that count; repeats of one are not counted again
 * @property {number} withdrawn completions that count though the task had been given up meanwhile
 * @property {number} refused outcomes that were refused: another attempt has the task, or nothing is known of it any more
 * @property {number} retried failures that will be tried again
 * @property {number} dead tasks that became dead letters in this agent's hands
 * @property {number} released tasks that were given back
 * @property {number} fenced tasks that were stopped because this agent no longer held them
 */

/** @returns {Account} */
export const emptyAccount = () => ({
  taken: 0, adopted: 0, completed: 0, withdrawn: 0, refused: 0, retried: 0, dead: 0, released: 0, fenced: 0,
})
