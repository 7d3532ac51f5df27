// Reads replies. Texts come as Buffers, so payloads stay bytes.
import { unknownReply } from './failures.js'

/** Reads the replies of one script, or says what was found instead. */
export class Shape {
  /** @param {string} script */
  constructor(script) {
    this.script = script
  }

  /**
   * The error for a reply that is none of the closed set.
   * @param {unknown} reply
   */
  unknown(reply) {
    return unknownReply(`read the answer of the script "${this.script}"`, reply)
  }

  /**
   * The items of a list: exactly `length`, if that is given.
   * @param {unknown} reply
   * @param {number} [length]
   * @returns {unknown[]}
   */
  list(reply, length) {
    if (!Array.isArray(reply) || (length !== undefined && reply.length !== length)) throw this.unknown(reply)
    return reply
  }

  /**
   * The items of a flat list, `width` at a time.
   * @param {unknown} reply
   * @param {number} width
   * @returns {unknown[][]}
   */
  rows(reply, width) {
    const items = this.list(reply)
    if (items.length % width !== 0) throw this.unknown(reply)
    return Array.from({ length: items.length / width }, (_, row) => items.slice(row * width, (row + 1) * width))
  }

  /**
   * @param {unknown} reply
   * @returns {Buffer}
   */
  bytes(reply) {
    if (!Buffer.isBuffer(reply)) throw this.unknown(reply)
    return reply
  }

  /**
   * Text, with what isn't UTF-8 replaced: records may have been edited by anyone. Nothing is ''.
   * @param {unknown} reply
   * @returns {string}
   */
  text(reply) {
    if (Buffer.isBuffer(reply)) return reply.toString('utf8')
    if (typeof reply === 'number') return String(reply)
    if (reply === null) return ''
    throw this.unknown(reply)
  }

  /**
   * A whole number, or `null` where none stands: what anyone edited in one task's record must not cost the others.
   * @param {unknown} reply
   * @returns {number | null}
   */
  ifInt(reply) {
    const text = this.text(reply)
    const number = Math.trunc(Number(text))
    return text.trim() !== '' && Number.isSafeInteger(number) ? number : null
  }

  /**
   * A whole number.
   * @param {unknown} reply
   * @returns {number}
   */
  int(reply) {
    const number = this.ifInt(reply)
    if (number === null) throw this.unknown(reply)
    return number
  }

  /**
   * One word of a closed set.
   * @template {string} W
   * @param {unknown} reply
   * @param {readonly W[]} words
   * @returns {W}
   */
  word(reply, words) {
    const text = this.text(reply)
    const known = words.find((word) => word === text)
    if (known === undefined) throw this.unknown(reply)
    return known
  }
}
