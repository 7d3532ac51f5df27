// A queue in a Redis: where calls become scripts with keys.
import { FORMAT, QUEUES, fixedKeys } from './keys.js'
import { SCRIPTS } from './scripts.js'
import { Shape } from './shape.js'

/** A queue, and the connection over which it is reached. */
export class Queue {
  #store
  #keys

  /**
   * @param {import('./store.js').Store} store
   * @param {string} name a valid name
   */
  constructor(store, name) {
    this.#store = store
    this.#keys = fixedKeys(name)
    this.name = name
  }

  /**
   * Runs one script. After an `unknown` failure the same call may be sent again: each script says in its header what makes
   * that harmless.
   * @template A
   * @param {import('./commands.js').Call<A>} call
   * @returns {Promise<A>}
   * @throws {import('./errors.js').StoreError}
   */
  async run(call) {
    const reply = await this.#store.run(SCRIPTS[call.script], this.#keys, [FORMAT, ...call.args])
    return call.read(new Shape(call.script), reply)
  }

  /**
   * Makes the queue known, so that sweepers find it. Harmless when repeated.
   * @throws {import('./errors.js').StoreError}
   */
  async announce() {
    await this.#store.command('announce the queue', 'SADD', [QUEUES, this.name])
  }
}
