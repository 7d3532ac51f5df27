// Copies what the package carries and the repository keeps elsewhere: the scripts of an agent, byte for byte, and the
// licence. Outside the repository there is nothing to copy: a package brings its own.
import { cpSync, existsSync, mkdirSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { NAMES, PARTS } from '../src/script-names.js'

const here = fileURLToPath(new URL('..', import.meta.url))
const from = fileURLToPath(new URL('../../../src/native/scripts', import.meta.url))

if (existsSync(from)) {
  rmSync(`${here}/lua`, { recursive: true, force: true })
  mkdirSync(`${here}/lua/lib`, { recursive: true })
  for (const name of NAMES) cpSync(`${from}/${name}.lua`, `${here}/lua/${name}.lua`)
  for (const part of PARTS) cpSync(`${from}/lib/${part}.lua`, `${here}/lua/lib/${part}.lua`)
  cpSync(fileURLToPath(new URL('../../../LICENSE', import.meta.url)), `${here}/LICENSE`)
} else if (!existsSync(`${here}/lua/take.lua`)) {
  throw new Error('neither the repository\'s scripts nor packaged ones are here')
}
