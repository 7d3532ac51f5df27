// A private redis-server for tests and measurements.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'

/** Waits for what `look` finds; an error that names it if that doesn't come. */
export async function until(what, look, limitMs = 20_000) {
  const end = Date.now() + limitMs
  for (;;) {
    const found = await look()
    if (found) return found
    if (Date.now() > end) throw new Error(`waited ${limitMs} ms in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Starts a server; `redis` looks into it, `close` ends it. There being none is an error. */
export async function startRedis(config = []) {
  const program = process.env.BACKSTOP_REDIS_SERVER || 'redis-server'
  const port = await freePort()
  const dir = mkdtempSync(join(tmpdir(), 'backstop-node-'))
  const server = spawn(program, ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', dir, ...config], { stdio: 'ignore' })
  const failed = new Promise((_, reject) => {
    server.once('error', (error) => reject(new Error(`no Redis server to test with (${program}): ${error.message}`)))
  })
  const ended = new Promise((resolve) => server.once('exit', resolve))
  const redis = new Redis({ port, host: '127.0.0.1', lazyConnect: true, retryStrategy: () => 50 })
  redis.on('error', () => {})
  await Promise.race([failed, until('the server answers', () => redis.ping().catch(() => false))])
  return {
    url: `redis://127.0.0.1:${port}/0`,
    port,
    redis,
    pid: server.pid,
    async close() {
      redis.disconnect()
      server.kill('SIGKILL')
      await ended
      rmSync(dir, { recursive: true, force: true })
    },
  }
}
