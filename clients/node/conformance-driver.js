// The driver of the conformance runner (clients/conformance): an agent that is told by JSON lines what to do.
import { createInterface } from 'node:readline'
import { Agent, Client, Fatal, Fenced, GiveBack, PoolFull, Stopped, Superseded } from './src/index.js'

const say = (event) => process.stdout.write(`${JSON.stringify(event)}\n`)
const hex = (bytes) => Buffer.from(bytes ?? []).toString('hex')
const refused = (error, id) => say({ event: 'refused', ...(id === undefined ? {} : { id }), error: error.message })

/** Running tasks by id: the task, how its handler is ended, and whether it hears orders to stop. */
const tasks = new Map()
/** Those whose handlers ended, for what is said to come too late. */
const former = new Map()
const questions = new Map()
const deaf = new Set()
const clients = new Map()
let agent = null

function handler(task) {
  return new Promise((resolve, reject) => {
    const { id } = task
    const ended = () => {
      former.set(id, task)
      if (tasks.get(id)?.task === task) tasks.delete(id)
    }
    tasks.set(id, {
      task,
      done: () => { ended(); resolve() },
      fail: (error) => { ended(); reject(error) },
    })
    say({
      event: 'started', id, token: task.token, type: task.type, attempt: task.attempt, payload_hex: hex(task.payload),
      checkpoint_hex: hex(task.checkpoint), external: task.external,
    })
    const stopped = () => {
      say({ event: 'stopping', id, why: task.why() })
      if (deaf.has(id)) return
      ended()
      reject(new GiveBack(0))
    }
    if (task.signal.aborted) stopped()
    else task.signal.addEventListener('abort', stopped, { once: true })
  })
}

function ask(left) {
  say({
    event: 'asked', id: left.id, type: left.type, session: left.session, token: left.token, checkpoint_hex: hex(left.checkpoint),
    external: left.external,
  })
  return new Promise((resolve) => questions.set(left.id, resolve))
}

async function start(order) {
  if (agent !== null) return say({ event: 'error', error: 'an agent was started already' })
  try {
    agent = new Agent({
      redis: order.redis, queue: order.queue, identity: order.as,
      pool: order.pool && { prefix: order.pool[0], size: order.pool[1] },
      concurrency: order.concurrency, count: order.count,
      onReconnect: order.on_reconnect === 'ask' ? ask : order.on_reconnect,
      drainTimeoutMs: order.drain_timeout_ms, stopGraceMs: order.stop_grace_ms, poolFull: order.pool_full,
      responseTimeoutMs: order.response_timeout_ms,
      onAnswer: (id, token, word) => say({ event: 'answer', id, token, word }),
    })
  } catch (error) {
    return refused(error)
  }
  const ended = (how, account, error) => say({ event: 'ended', how, account, error: error?.message ?? null })
  agent.run(handler).then((account) => ended('done', account), (error) => {
    const account = error.account ?? null
    if (error instanceof Superseded) ended('superseded', account, error)
    else if (error instanceof PoolFull) ended('pool_full', account, error)
    else if (error instanceof Stopped) ended('stopped', account, error)
    else ended('error', account, error)
  })
}

/** The running task of an order, or one that ran: what is said of it then must have no effect. */
function task(id) {
  const known = tasks.get(id)?.task ?? former.get(id)
  if (known === undefined) throw new Error(`no task ${id} ran here`)
  return known
}

function finish({ id, how, error = 'failed', delay_ms: delayMs }) {
  const running = tasks.get(id)
  // It may have ended by itself a moment ago.
  if (running === undefined && former.has(id)) return
  if (running === undefined) throw new Error(`no task ${id} runs here`)
  if (how === 'done') running.done()
  else if (how === 'retry') running.fail(new Error(error))
  else if (how === 'fatal') running.fail(new Fatal(error))
  else if (how === 'give_back') running.fail(new GiveBack(delayMs === undefined || delayMs === null || delayMs < 0 ? undefined : delayMs))
  else throw new Error(`no way to finish: ${how}`)
}

async function external({ id, handle }) {
  const it = task(id)
  try {
    await it.recordExternal(handle)
    say({ event: 'recorded', id })
  } catch (error) {
    if (error instanceof Fenced) say({ event: 'fenced', id })
    else refused(error, id)
  }
}

async function enqueue(order) {
  try {
    const where = `${order.redis} ${order.queue}`
    const client = clients.get(where) ?? new Client({ redis: order.redis, queue: order.queue })
    clients.set(where, client)
    const { id, answer } = await client.enqueue(Buffer.from(order.payload_hex ?? '', 'hex'), {
      id: order.id ?? undefined, type: order.type ?? undefined, delayMs: order.delay_ms ?? undefined,
      deadlineInMs: order.deadline_in_ms ?? undefined,
    })
    say({ event: 'enqueued', id, answer })
  } catch (error) {
    refused(error, order.id)
  }
}

function checkpoint({ id, hex: text }) {
  const it = task(id)
  try {
    it.saveCheckpoint(Buffer.from(text, 'hex'))
    say({ event: 'saved', id })
  } catch (error) {
    refused(error, id)
  }
}

const ORDERS = {
  start, finish, checkpoint, external, enqueue,
  alive: ({ id }) => task(id).alive(),
  decide({ id, choice }) {
    const answer = questions.get(id)
    if (answer === undefined) throw new Error(`nothing was asked about ${id}`)
    questions.delete(id)
    answer(choice)
  },
  block({ ms }) {
    for (const end = Date.now() + ms; Date.now() < end; );
  },
  ignore_stop: ({ id }) => void deaf.add(id),
  stop: () => agent?.stop(),
  quit: () => process.exit(0),
}

async function obey(line) {
  try {
    const order = JSON.parse(line)
    if (!Object.hasOwn(ORDERS, order.do)) throw new Error(`no such order: ${order.do}`)
    await ORDERS[order.do](order)
  } catch (error) {
    say({ event: 'error', error: error.message })
  }
}

createInterface({ input: process.stdin }).on('line', obey).on('close', () => process.exit(0))
say({ event: 'ready', can: ['block'] })
