// Checked, never run: the published types, as a program uses them.
import { Agent, Client, Fatal, Fenced, GiveBack, StoreError, Superseded, TaskStopped, type Account, type Left } from '@backstop/agent'

const agent = new Agent({
  redis: 'redis://localhost', queue: 'video', pool: { prefix: 'worker', size: 3 }, concurrency: 8, poolFull: 'wait',
  onReconnect: async (left: Left) => (left.external === null ? 'reset' : 'resume'),
})

const account: Account = await agent.run(async (task) => {
  const from: number = task.checkpoint?.readUInt32BE() ?? 0
  if (task.payload.length === 0) throw new Fatal('nothing to do')
  if (from > 10) throw new GiveBack(500)
  const reason: unknown = task.signal.reason
  if (reason instanceof TaskStopped && reason.why === 'revoked') return
  task.saveCheckpoint(Buffer.alloc(4))
  try {
    await task.recordExternal('job-1')
  } catch (error) {
    if (error instanceof Fenced) throw error
    if (error instanceof StoreError && error.failure === 'unknown') throw new GiveBack()
  }
})

const client = new Client({ redis: { host: 'localhost' }, queue: 'video' })
const { id, answer } = await client.enqueue(Buffer.of(0, 255), { type: 'cut', delayMs: 10 })
const known: 'enqueued' | 'exists' = answer
await client.enqueueMany([{ payload: 'text', id, deadlineInMs: 1000 }])

// @ts-expect-error A payload is bytes or text.
await client.enqueue({ not: 'bytes' })
// @ts-expect-error There is no such choice.
new Agent({ redis: '', queue: 'q', onReconnect: 'adopt' })

export { account, known, Superseded }
