// The heart's copy of what runs, with what is to be said of each task: what a beat lists.

/** The copy. */
export class Listing {
  /** @type {Map<string, { token: string, mark: import('./commands.js').Mark }>} */
  #runs = new Map()

  /**
   * Takes a change in. Changes come in the order in which they were made.
   * @param {import('./running.js').Change} change
   */
  apply({ end = [], begin = [], mark }) {
    for (const [id, token] of end) if (this.#runs.get(id)?.token === token) this.#runs.delete(id)
    for (const [id, token] of begin) this.#runs.set(id, { token, mark: '' })
    if (mark) {
      const run = this.#runs.get(mark[0])
      // A checkpoint that waits for its beat isn't overwritten by a mere sign of life.
      if (run?.token === mark[1] && !(mark[2] === '+' && typeof run.mark !== 'string')) run.mark = mark[2]
    }
  }

  /**
   * What a beat lists. Marks are taken, and put back by {@link unsent} if the beat isn't answered.
   * @returns {[id: string, token: string, mark: import('./commands.js').Mark][]}
   */
  take() {
    return [...this.#runs].map(([id, run]) => {
      const mark = run.mark
      run.mark = ''
      return [id, run.token, mark]
    })
  }

  /** @param {[id: string, token: string, mark: import('./commands.js').Mark][]} pairs */
  unsent(pairs) {
    for (const [id, token, mark] of pairs) {
      const run = this.#runs.get(id)
      // A newer checkpoint isn't rolled back; a sign of life that came meanwhile goes with the older one.
      if (run?.token === token && mark !== '' && typeof run.mark === 'string' && run.mark !== mark) {
        if (typeof mark !== 'string' || run.mark === '') run.mark = mark
      }
    }
  }
}
