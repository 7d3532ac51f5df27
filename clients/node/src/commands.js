// The scripts of an agent as calls: what goes in, what may come out. `docs/protocol.md` is their contract; each answer is
// one of a closed set, and an unknown word is an error.

/**
 * A task as its holder gets it. Times are ms of the server's clock.
 * @typedef {object} Taken
 * @property {string} id
 * @property {string} token what completes it
 * @property {string} type
 * @property {number} attempt from 1
 * @property {Buffer} payload
 * @property {number} enqueuedAtMs
 * @property {number | null} deadlineMs
 * @property {number} abandonments how often an agent lost it
 * @property {number} failures
 * @property {Buffer | null} checkpoint what the last attempt left behind
 * @property {string | null} external where else an earlier attempt had it worked on
 */

/**
 * How a session is to live, ms: until the next beat; of silence to stop the work at (-1: never), and others may get it at.
 * @typedef {{ next: number, stopAfter: number, lostAfter: number }} Rhythm
 */

/** @typedef {[id: string, token: string]} Pair */

/**
 * @typedef {object} Held
 * @property {string} session the predecessor that holds it
 * @property {string} id
 * @property {string} token
 * @property {string} type
 * @property {Buffer | null} checkpoint
 * @property {string | null} external
 */

/**
 * @typedef {object} BeatAnswer
 * @property {'go_on' | 'drain' | 'superseded' | 'lost'} word
 * @property {Rhythm} rhythm
 * @property {'' | 'wait' | 'release'} drain
 * @property {[id: string, token: string, why: 'gone' | 'revoked' | 'cancelled'][]} stop
 * @property {Pair[]} unlisted held, and not listed
 */

/**
 * One call of one script.
 * @template A
 * @typedef {object} Call
 * @property {import('./script-names.js').ScriptName} script
 * @property {(string | number | Buffer)[]} args after the format, in the order of the script's header
 * @property {(shape: import('./shape.js').Shape, reply: unknown) => A} read
 */

/** The largest payload, bytes; also the most that one call carries. */
export const MAX_PAYLOAD = 1024 * 1024
/** Tasks that one call carries. */
export const BATCH = 50
/** The most of an error's text that is kept, bytes. */
export const MAX_ERROR = 1024

/** @param {Buffer} bytes */
const orNull = (bytes) => (bytes.length === 0 ? null : bytes)

/**
 * @param {import('./shape.js').Shape} shape
 * @param {unknown} reply
 * @returns {Taken}
 */
function taken(shape, reply) {
  const row = shape.list(reply, 11)
  const [id, token, type, attempt, payload, enqueued, deadline, abandonments, failures, checkpoint, external] = row
  return {
    id: shape.text(id),
    token: shape.text(token),
    type: shape.text(type),
    attempt: shape.ifInt(attempt) ?? 0,
    payload: shape.bytes(payload),
    enqueuedAtMs: shape.ifInt(enqueued) ?? 0,
    deadlineMs: shape.ifInt(deadline),
    abandonments: shape.ifInt(abandonments) ?? 0,
    failures: shape.ifInt(failures) ?? 0,
    checkpoint: orNull(shape.bytes(checkpoint)),
    external: shape.text(external) || null,
  }
}

/**
 * @param {import('./shape.js').Shape} shape
 * @param {unknown} reply
 * @returns {Pair[]}
 */
const pairsOf = (shape, reply) => shape.rows(reply, 2).map(([id, token]) => [shape.text(id), shape.text(token)])

/**
 * @param {import('./shape.js').Shape} shape
 * @param {unknown[]} items
 * @returns {Rhythm}
 */
function rhythm(shape, [next, stop, lost]) {
  return { next: shape.int(next), stopAfter: shape.int(stop), lostAfter: shape.int(lost) }
}

/**
 * One word for each of what was sent, in its order.
 * @template {string} W
 * @param {number} length
 * @param {readonly W[]} words
 * @returns {(shape: import('./shape.js').Shape, reply: unknown) => W[]}
 */
const eachOf = (length, words) => (shape, reply) => shape.list(reply, length).map((word) => shape.word(word, words))

/** @typedef {{ id: string, type: string, delayMs: number, deadlineInMs: number, payload: Buffer }} NewTask */

/**
 * Adds tasks: at most 50, and 1 MiB of payloads.
 * @param {NewTask[]} tasks
 * @returns {Call<('enqueued' | 'exists')[]>}
 */
export const enqueue = (tasks) => ({
  script: 'enqueue',
  args: tasks.flatMap((task) => [task.id, task.type, task.delayMs, task.deadlineInMs, task.payload]),
  read: eachOf(tasks.length, ['enqueued', 'exists']),
})

/**
 * @typedef {{ how: 'registered', session: string, rhythm: Rhythm, held: Held[] }
 *   | { how: 'superseded' } | { how: 'pool_full' }} Registered
 */

/**
 * Begins a session.
 * @param {object} who
 * @param {string} who.nonce fresh for each registration, the same when it is repeated
 * @param {string} who.name the identity, or a pool's prefix
 * @param {number} who.size of the pool; 0: no pool
 * @param {string} who.lost the session that was given up, or ''
 * @param {string} who.host
 * @param {number} who.pid
 * @param {string} who.version
 * @returns {Call<Registered>}
 */
export const register = (who) => ({
  script: 'register',
  args: [who.nonce, who.name, who.size, who.lost, who.host, who.pid, who.version],
  read(shape, reply) {
    const items = shape.list(reply)
    const how = shape.word(items[0] ?? null, ['registered', 'superseded', 'pool_full'])
    shape.list(reply, how === 'registered' ? 6 : 1)
    if (how !== 'registered') return { how }
    const session = shape.text(items[1])
    if (!/^[A-Za-z0-9_-]{1,40}\.\d+-[0-9a-f]{8}$/.test(session)) throw shape.unknown(reply)
    const held = shape.rows(items[5], 6).map(([session, id, token, type, checkpoint, external]) => ({
      session: shape.text(session),
      id: shape.text(id),
      token: shape.text(token),
      type: shape.text(type),
      checkpoint: orNull(shape.bytes(checkpoint)),
      external: shape.text(external) || null,
    }))
    return { how, session, rhythm: rhythm(shape, items.slice(2, 5)), held }
  },
})

/**
 * @typedef {{ how: 'took', tasks: Taken[] } | { how: 'empty', nextMs: number | null }
 *   | { how: 'paused' | 'draining' | 'superseded' | 'lost' }} Took
 */

/**
 * Takes tasks for a session.
 * @param {string} session
 * @param {string} nonce fresh for each call: it makes the tokens
 * @param {number} most how many can start now, 1 to 50
 * @returns {Call<Took>}
 */
export const take = (session, nonce, most) => ({
  script: 'take',
  args: [session, nonce, most, MAX_PAYLOAD],
  read(shape, reply) {
    const items = shape.list(reply)
    const how = shape.word(items[0] ?? null, ['took', 'empty', 'paused', 'draining', 'superseded', 'lost'])
    shape.list(reply, how === 'took' || how === 'empty' ? 2 : 1)
    if (how === 'took') return { how, tasks: shape.list(items[1]).map((row) => taken(shape, row)) }
    if (how !== 'empty') return { how }
    const next = shape.int(items[1])
    return { how, nextMs: next < 0 ? null : next }
  },
})

/**
 * What a beat says of one task beyond that it runs: nothing, that it showed life, or that and a checkpoint.
 * @typedef {'' | '+' | { checkpoint: Uint8Array }} Mark
 */

/**
 * One heartbeat.
 * @param {string} session
 * @param {number} number counts up from 1 in a session
 * @param {[id: string, token: string, mark: Mark][]} pairs at most 256
 * @returns {Call<BeatAnswer>}
 */
export const beat = (session, number, pairs) => ({
  script: 'beat',
  args: [session, number, ...pairs.flatMap(([id, token, mark]) => [
    id, token, typeof mark === 'string' ? mark : Buffer.concat([Buffer.from('c'), mark.checkpoint]),
  ])],
  read(shape, reply) {
    const [word, next, stopAt, lostAt, drain, stop, unlisted] = shape.list(reply, 7)
    return {
      word: shape.word(word, ['go_on', 'drain', 'superseded', 'lost']),
      rhythm: rhythm(shape, [next, stopAt, lostAt]),
      drain: shape.word(drain, ['', 'wait', 'release']),
      stop: shape.rows(stop, 3).map(([id, token, why]) => [
        shape.text(id), shape.text(token), shape.word(why, ['gone', 'revoked', 'cancelled']),
      ]),
      unlisted: pairsOf(shape, unlisted),
    }
  },
})

/** @typedef {'completed' | 'already' | 'withdrawn' | 'late' | 'gone'} Completed */

/**
 * Completes tasks, at most 50.
 * @param {Pair[]} pairs
 * @returns {Call<Completed[]>}
 */
export const complete = (pairs) => ({
  script: 'complete',
  args: pairs.flat(),
  read: eachOf(pairs.length, ['completed', 'already', 'withdrawn', 'late', 'gone']),
})

/** @typedef {'retried' | 'dead' | 'discarded' | 'late' | 'gone'} Failed */

/**
 * Records a failure.
 * @param {object} what
 * @param {string} what.id
 * @param {string} what.token
 * @param {string} what.error the last 1 KiB are kept
 * @param {number} what.jitter random, 0 to 1000
 * @param {boolean} what.final no further attempt, whatever is left
 * @returns {Call<Failed>}
 */
export const fail = ({ id, token, error, jitter, final }) => ({
  script: 'fail',
  args: [id, token, cut(error), jitter, final ? 1 : 0],
  read(shape, reply) {
    const items = shape.list(reply)
    const word = shape.word(items[0] ?? null, ['retried', 'dead', 'discarded', 'late', 'gone'])
    shape.list(reply, word === 'retried' ? 2 : 1)
    if (word === 'retried') shape.int(items[1])
    return word
  },
})

/**
 * The end of a text, not begun in the midst of a character.
 * @param {string} text
 * @returns {Buffer}
 */
function cut(text) {
  const bytes = Buffer.from(text, 'utf8')
  let from = Math.max(0, bytes.length - MAX_ERROR)
  while (from > 0 && from < bytes.length && ((bytes[from] ?? 0) & 0xc0) === 0x80) from += 1
  return bytes.subarray(from)
}

/** @typedef {'released' | 'reset' | 'dead' | 'expired' | 'discarded' | 'late'} Released */

/**
 * Gives tasks back, at most 50.
 * @param {string} session the caller's
 * @param {number} delayMs -1: as the type's policy says
 * @param {Pair[]} pairs
 * @returns {Call<Released[]>}
 */
export const release = (session, delayMs, pairs) => ({
  script: 'release',
  args: [session, delayMs, ...pairs.flat()],
  read: eachOf(pairs.length, ['released', 'reset', 'dead', 'expired', 'discarded', 'late']),
})

/**
 * @typedef {{ how: 'adopted', task: Taken } | { how: 'dead' | 'expired' | 'discarded' | 'not_yours' | 'full' | 'lost' }} Adopted
 */

/**
 * Goes on with a predecessor's tasks, at most 50.
 * @param {string} session
 * @param {string} nonce fresh; the same when it is repeated
 * @param {Pair[]} pairs with the predecessor's tokens
 * @returns {Call<Adopted[]>}
 */
export const adopt = (session, nonce, pairs) => ({
  script: 'adopt',
  args: [session, nonce, ...pairs.flat()],
  read: (shape, reply) => shape.list(reply, pairs.length).map((one) => {
    const items = shape.list(one)
    const how = shape.word(items[0] ?? null, ['adopted', 'dead', 'expired', 'discarded', 'not_yours', 'full', 'lost'])
    shape.list(one, how === 'adopted' ? 2 : 1)
    return how === 'adopted' ? { how, task: taken(shape, items[1]) } : { how }
  }),
})

/**
 * Ends a session that holds nothing.
 * @param {string} session
 * @returns {Call<{ how: 'left' } | { how: 'holds', pairs: Pair[] }>}
 */
export const leave = (session) => ({
  script: 'leave',
  args: [session],
  read(shape, reply) {
    const items = shape.list(reply)
    const how = shape.word(items[0] ?? null, ['left', 'holds'])
    shape.list(reply, how === 'holds' ? 2 : 1)
    return how === 'holds' ? { how, pairs: pairsOf(shape, items[1]) } : { how }
  },
})

/**
 * Records where else a task is being worked on.
 * @param {string} id
 * @param {string} token
 * @param {string} type
 * @param {string} handle 1 to 1024 bytes
 * @param {number} number counts up from 1 in an attempt, so that a late copy of an earlier one is known as such
 * @returns {Call<'recorded' | 'late' | 'gone'>}
 */
export const external = (id, token, type, handle, number) => ({
  script: 'external',
  args: [id, token, type, handle, number],
  read: (shape, reply) => shape.word(reply, ['recorded', 'late', 'gone']),
})
