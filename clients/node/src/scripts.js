// Lua scripts, put together from files: the shebang line, the shared parts that a script includes, its own text.
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { NAMES, PARTS } from './script-names.js'

/**
 * @typedef {object} Script
 * @property {import('./script-names.js').ScriptName} name
 * @property {string} source the whole text
 * @property {string} sha what Redis knows it by
 */

/**
 * Puts a script together. Its text may hold one line `--! include a b`, which stands for the shared parts `a` and `b`,
 * in this order.
 * @param {string} text
 * @param {(part: string) => string} part the text of a shared part
 * @returns {string}
 */
export function assemble(text, part) {
  const lines = text.endsWith('\n') ? text.slice(0, -1).split('\n') : text.split('\n')
  return lines.map((line) => {
    if (!line.startsWith('--! include ')) return `${line}\n`
    return line.slice('--! include '.length).trim().split(/\s+/).map((name) => `${part(name)}\n`).join('')
  }).join('')
}

/**
 * Where the scripts stand: the repository's, if this is a checkout, so that a copy which an older build left there is not
 * taken for the truth; else those that the package carries.
 * @returns {string}
 */
export function folder() {
  const own = fileURLToPath(new URL('..', import.meta.url)).replaceAll('\\', '/')
  const repository = fileURLToPath(new URL('../../../src/native/scripts', import.meta.url))
  if (/\/clients\/node\/$/.test(own) && existsSync(`${repository}/take.lua`)) return repository
  return fileURLToPath(new URL('../lua', import.meta.url))
}

/**
 * Reads and assembles all scripts of an agent.
 * @param {string} [from] the folder to read them from
 * @returns {Record<import('./script-names.js').ScriptName, Script>}
 */
export function load(from = folder()) {
  const parts = new Map(PARTS.map((part) => [/** @type {string} */ (part), readFileSync(`${from}/lib/${part}.lua`, 'utf8')]))
  const part = (/** @type {string} */ name) => {
    const text = parts.get(name)
    if (text === undefined) throw new Error(`a script includes the part ${JSON.stringify(name)}, which is not packaged`)
    return text
  }
  const scripts = NAMES.map((name) => {
    const source = assemble(readFileSync(`${from}/${name}.lua`, 'utf8'), part)
    return [name, { name, source, sha: createHash('sha1').update(source).digest('hex') }]
  })
  return Object.fromEntries(scripts)
}

/** The scripts, assembled once. */
export const SCRIPTS = load()
