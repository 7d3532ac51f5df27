// A program whose handler keeps the event loop: `node blocker.js URL MS`. It saves a checkpoint in the midst of it.
import { Agent } from '../src/index.js'
import { QUEUE } from './setup.js'

const [redis, ms] = process.argv.slice(2)
const busy = (long) => {
  for (const end = Date.now() + long; Date.now() < end; );
}
const agent = new Agent({ redis, queue: QUEUE, identity: 'w-1', count: 2, concurrency: 2, responseTimeoutMs: 300 })
const account = await agent.run((task) => {
  busy(Number(ms) / 2)
  task.saveCheckpoint(`half of ${task.id}`)
  busy(Number(ms) / 2)
})
process.stdout.write(JSON.stringify(account))
