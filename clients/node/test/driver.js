// A driver process: an agent as a process of its own, to be stopped and killed by real signals.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { until } from './server.js'

/** Starts one. `say` gives it an order, `event` waits for the next event that fits and returns it. */
export function startDriver() {
  const path = fileURLToPath(new URL('../conformance-driver.js', import.meta.url))
  const child = spawn(process.execPath, [path], { stdio: ['pipe', 'pipe', 'inherit'] })
  const events = []
  createInterface({ input: child.stdout }).on('line', (line) => events.push(JSON.parse(line)))
  const ended = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })))
  return {
    pid: child.pid,
    events,
    ended,
    say: (order) => child.stdin.write(`${JSON.stringify(order)}\n`),
    event: (fits, limitMs) => until(`event ${JSON.stringify(fits)}, heard ${JSON.stringify(events)}`, () => {
      const at = events.findIndex((event) => Object.entries(fits).every(([name, value]) => event[name] === value))
      return at >= 0 && events.splice(at, 1)[0]
    }, limitMs),
    async kill() {
      child.kill('SIGKILL')
      return await ended
    },
  }
}
