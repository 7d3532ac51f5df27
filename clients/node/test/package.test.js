import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { after, test } from 'node:test'
import * as index from '../src/index.js'
import { NAMES, PARTS } from '../src/script-names.js'
import { fixedKeys } from '../src/keys.js'
import { SCRIPTS, assemble, folder, load } from '../src/scripts.js'
import { startRedis } from './server.js'

const here = fileURLToPath(new URL('..', import.meta.url))
const repository = fileURLToPath(new URL('../../../src/native/scripts', import.meta.url))
const dir = mkdtempSync(join(tmpdir(), 'backstop-pack-'))
after(() => rmSync(dir, { recursive: true, force: true }))

test('a script is put together as the others put it together', () => {
  const parts = { a: 'A\n', b: 'B' }
  assert.equal(assemble('#!lua\n--! include a b\nrest\n', (name) => parts[name]), '#!lua\nA\n\nB\nrest\n')
})

test('the keys that scripts are given are those that they name, in order', () => {
  const head = readFileSync(join(repository, 'lib/head.lua'), 'utf8')
  const named = [...head.matchAll(/^local ((?:\w+(?:, )?)+) = (KEYS\[\d+\](?:, KEYS\[\d+\])*)$/gm)]
    .flatMap(([, names, keys]) => names.split(', ').map((name, i) => [Number(/\d+/.exec(keys.split(', ')[i])[0]), name]))
  assert.deepEqual(fixedKeys('q'), [...named.sort(([a], [b]) => a - b).map(([, name]) => name), 'none'].map((name) => `backstop:{q}:${name}`))
})

test("a checkout runs the repository's scripts, and Redis takes each of them", async () => {
  assert.equal(folder(), repository)
  const server = await startRedis()
  try {
    for (const { name, source, sha } of Object.values(SCRIPTS)) assert.equal(await server.redis.script('LOAD', source), sha, name)
  } finally {
    await server.close()
  }
})

test("what the package carries is byte for byte the repository's, and all that it needs", async () => {
  execFileSync('npm', ['pack', '--silent', '--pack-destination', dir], { cwd: here })
  execFileSync('tar', ['xzf', join(dir, readdirSync(dir)[0]), '-C', dir])
  const packed = join(dir, 'package')
  assert.deepEqual(readdirSync(join(packed, 'lua')).sort(), [...NAMES.map((name) => `${name}.lua`), 'lib'].sort())
  for (const file of [...NAMES, ...PARTS.map((part) => `lib/${part}`)]) {
    assert.deepEqual(readFileSync(join(packed, 'lua', `${file}.lua`)), readFileSync(join(repository, `${file}.lua`)), file)
  }
  const theirs = await import(join(packed, 'src/scripts.js'))
  assert.equal(theirs.folder(), join(packed, 'lua'))
  assert.deepEqual(theirs.load(), load(repository))
  assert.ok(readdirSync(packed).includes('LICENSE'))
})

test('what is declared is what is there', () => {
  const declared = [...readFileSync(join(here, 'src/index.d.ts'), 'utf8').matchAll(/^export declare (?:class|const) (\w+)/gm)]
  assert.deepEqual(declared.map(([, name]) => name).sort(), Object.keys(index).sort())
})
