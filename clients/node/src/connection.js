// Where Redis is: what a user gives, made into plain options that a second thread can be handed, too.
import { SetupError } from './errors.js'

/**
 * Options of ioredis: plain values only.
 * @typedef {Record<string, unknown>} Connection
 */

// What decides whether a command may be sent twice, and when a connection is given up, is not the user's to set.
const OURS = new Set([
  'autoResendUnfulfilledCommands', 'autoResubscribe', 'commandTimeout', 'connectTimeout', 'disableClientInfo',
  'disconnectTimeout', 'enableAutoPipelining', 'enableOfflineQueue', 'enableReadyCheck', 'keyPrefix', 'lazyConnect', 'maxRetriesPerRequest',
  'monitor', 'reconnectOnError', 'replyEncoding', 'retryStrategy', 'scripts', 'socketTimeout', 'stringNumbers',
  'blockingTimeout',
])

/**
 * The connection that a URL, ioredis options, or an ioredis client stand for. Of a client only its options are used.
 * @param {unknown} redis
 * @returns {Connection}
 * @throws {SetupError} which never shows the URL: it may hold a password
 */
export function connectionOf(redis) {
  if (typeof redis === 'string') return ofUrl(redis)
  if (typeof redis !== 'object' || redis === null) {
    throw new SetupError('say where Redis is: a URL, options of ioredis, or an ioredis client')
  }
  if ('isCluster' in redis && redis.isCluster) throw new SetupError('a Redis Cluster client is not supported')
  const client = 'options' in redis && 'sendCommand' in redis && typeof redis.options === 'object'
  return plain(/** @type {Connection} */ (client ? redis.options : redis))
}

/** @param {Connection} options */
function plain(options) {
  const own = Object.entries(options).filter(([name, value]) => !OURS.has(name) && value !== undefined && value !== null)
  // ioredis' own defaults.
  const kept = own.filter(([name, value]) => !(name.startsWith('sentinel') && typeof value === 'function'))
  for (const [name, value] of kept) {
    try {
      structuredClone(value)
    } catch {
      throw new SetupError(
        `the Redis option ${JSON.stringify(name)} holds a function: the heart's thread can't be given it; ` +
          'use plain values or a URL',
      )
    }
  }
  return Object.fromEntries(kept)
}

/** @param {string} url */
function ofUrl(url) {
  const wrong = new SetupError('the Redis URL is not valid: use redis://, rediss:// or redis+unix:// and a host, port or path')
  if (!URL.canParse(url)) throw wrong
  const parsed = new URL(url)
  const text = (/** @type {string} */ part) => {
    try {
      return decodeURIComponent(part)
    } catch {
      throw wrong
    }
  }
  /** @type {Connection} */
  const options = {}
  let db = parsed.pathname.replace(/^\//, '')
  if (parsed.protocol === 'redis+unix:' || parsed.protocol === 'unix:') {
    if (!parsed.pathname.startsWith('/') || parsed.host !== '') throw wrong
    options.path = text(parsed.pathname)
    options.password = parsed.searchParams.get('pass') ?? undefined
    options.username = parsed.searchParams.get('user') ?? undefined
    db = parsed.searchParams.get('db') ?? ''
  } else if (parsed.protocol === 'redis:' || parsed.protocol === 'rediss:') {
    if (parsed.hostname === '') throw wrong
    options.host = parsed.hostname.replace(/^\[|\]$/g, '')
    options.port = parsed.port === '' ? 6379 : Number(parsed.port)
    if (parsed.protocol === 'rediss:') options.tls = { servername: options.host }
    if (parsed.username !== '') options.username = text(parsed.username)
    if (parsed.password !== '') options.password = text(parsed.password)
  } else {
    throw wrong
  }
  if (!/^\d{0,6}$/.test(db)) throw wrong
  options.db = Number(db)
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}
