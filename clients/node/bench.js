// No-op tasks a second: `node bench.js [tasks] [concurrency]`, one agent on a private local Redis.
import { Agent, Client } from './src/index.js'
import { startRedis } from './test/server.js'

const [tasks = 20_000, concurrency = 64] = process.argv.slice(2).map(Number)
const server = await startRedis()
try {
  const client = new Client({ redis: server.url, queue: 'bench' })
  const seconds = async (act) => {
    const began = process.hrtime.bigint()
    await act()
    return Number(process.hrtime.bigint() - began) / 1e9
  }
  const payloads = Array.from({ length: tasks }, () => ({ payload: 'nothing to do' }))
  const enqueued = await seconds(() => client.enqueueMany(payloads))
  client.close()
  const agent = new Agent({ redis: server.url, queue: 'bench', identity: 'bench', concurrency, count: tasks })
  let account
  const ran = await seconds(async () => {
    account = await agent.run(async () => {})
  })
  if (account.completed !== tasks) throw new Error(`${account.completed} of ${tasks} completed`)
  const rate = (time) => `${Math.round(tasks / time)} tasks/s (${time.toFixed(2)} s)`
  console.log(`${tasks} tasks, concurrency ${concurrency}: enqueued ${rate(enqueued)}, run ${rate(ran)}`)
} finally {
  await server.close()
}
