import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import { test } from 'node:test'
import { Listing } from '../src/listing.js'
import { Running } from '../src/running.js'

const TIMEOUT = 3000

/** A list with a clock that stands, and the copy that its heart keeps. */
function list() {
  const clock = { now: 1_000_000 }
  const listing = new Listing()
  const running = new Running((change) => listing.apply(structuredClone(change)), () => clock.now)
  const begin = (...pairs) => running.begin(pairs.map(([id, token]) => ({ id, token }))).map(({ run }) => run)
  const heard = (unlisted, stop = [], sent = clock.now) => running.heard({ unlisted, stop }, sent, TIMEOUT)
  return { clock, listing, running, begin, heard }
}

test('a pair that two beats show is given back once no answer can bring it any more', () => {
  const { clock, heard } = list()
  assert.deepEqual(heard([['t', '1']]), [], 'its answer may be on its way')
  clock.now += TIMEOUT / 2
  assert.deepEqual(heard([['t', '1']]), [])
  clock.now += TIMEOUT
  assert.deepEqual(heard([['t', '1']]), [['t', '1']])
})

test('beats that were answered while a handler kept the thread count from when it heard of them', () => {
  const { clock, heard } = list()
  const sent = clock.now
  clock.now += TIMEOUT * 10
  assert.deepEqual(heard([['t', '1']], [], sent), [])
  assert.deepEqual(heard([['t', '1']], [], sent + TIMEOUT * 9), [], 'the answer that brings it may lie unread')
})

test('a pair that a beat in between did not show begins anew', () => {
  const { clock, heard } = list()
  heard([['t', '1']])
  heard([])
  clock.now += TIMEOUT * 2
  assert.deepEqual(heard([['t', '1']]), [])
})

test('what was taken meanwhile or is being adopted is not given back', () => {
  const { clock, running, begin, heard } = list()
  running.adopting(['a'])
  heard([['t', '1'], ['a', '2']])
  begin(['t', '1'])
  clock.now += TIMEOUT * 2
  assert.deepEqual(heard([['t', '1'], ['a', '2']]), [])
})

test('a task that comes again stops its older run', () => {
  const { running, begin } = list()
  const [older] = begin(['t', '1'])
  const [newer] = begin(['t', '2'])
  assert.ok(older.signal.aborted && !newer.signal.aborted)
  assert.equal(older.why, 'fenced')
  running.end('t', '1')
  assert.equal(running.size, 1, "the older run's end is not the newer one's")
})

test('a stop reaches the token that it names', () => {
  const { begin, heard } = list()
  const [run] = begin(['t', '2'])
  heard([], [['t', '1', 'gone']])
  assert.ok(!run.signal.aborted)
  heard([], [['t', '2', 'revoked']])
  assert.ok(run.signal.aborted)
  assert.equal(run.why, 'revoked')
  assert.equal(run.signal.reason.why, 'revoked')
})

test('a task that was given back does not run when its answer comes after all', () => {
  const { clock, running, begin, heard } = list()
  heard([['t', '1']])
  clock.now += TIMEOUT * 2
  assert.equal(heard([['t', '1']]).length, 1)
  assert.deepEqual(begin(['t', '1']), [], 'another may have it by now')
  assert.equal(running.size, 0)
  assert.equal(begin(['t', '2']).length, 1, "a later attempt is this agent's")
})

test('who may have lost a task ends before others begin it', () => {
  const { running, begin, heard } = list()
  const [outage, stop] = begin(['outage', '1'], ['stop', '1'])
  running.goBy({ next: 5000, stopAfter: 22_500, lostAfter: 30_000 })
  heard([], [['stop', '1', 'cancelled']])
  assert.equal(running.grace(stop, 60_000), 60_000, "it is this agent's still")
  running.stopAll('out_of_touch')
  assert.deepEqual([running.grace(outage, 60_000), running.grace(stop, 60_000)], [6000, 6000])
  running.fenceAll()
  assert.equal(running.grace(stop, 60_000), 1000)
  assert.equal(running.size, 0)
})

test('the reason is the one that leaves the least time', () => {
  const { running, begin, heard } = list()
  const [run] = begin(['t', '1'])
  const heardWhy = []
  run.changed = () => heardWhy.push(run.why)
  heard([], [['t', '1', 'revoked']])
  running.stopAll('stopping')
  running.stopAll('out_of_touch')
  heard([], [['t', '1', 'gone']])
  running.stopAll('out_of_touch')
  assert.deepEqual(heardWhy, ['revoked', 'out_of_touch', 'fenced'])
})

test("a handler that ended is not told to stop when its outcome is answered, and says nothing of its task any more", () => {
  const { running, listing, begin } = list()
  const [run] = begin(['t', '1'])
  assert.ok(!run.signal.aborted)
  running.end('t', '1')
  assert.ok(!run.signal.aborted)
  begin(['t', '2'])
  running.mark(run, '+')
  assert.deepEqual(listing.take(), [['t', '2', '']])
})

test('a checkpoint goes with the next beat that is answered', () => {
  const { running, listing, begin } = list()
  const [run] = begin(['t', '1'])
  running.mark(run, { checkpoint: Uint8Array.of(7) })
  running.mark(run, '+')
  const sent = listing.take()
  assert.deepEqual(sent, [['t', '1', { checkpoint: Uint8Array.of(7) }]])
  assert.deepEqual(listing.take(), [['t', '1', '']], 'it is on its way')
  listing.unsent(sent)
  assert.deepEqual(listing.take(), sent)
  running.mark(run, '+')
  listing.unsent(sent)
  assert.deepEqual(listing.take(), sent, 'a sign of life that came meanwhile does not cost it')
  running.mark(run, { checkpoint: Uint8Array.of(8) })
  listing.unsent(sent)
  assert.deepEqual(listing.take()[0][2], { checkpoint: Uint8Array.of(8) }, 'a later one is not rolled back')
})

test('the copy knows what begins at once, and forgets what ended soon, and always before more begins', async () => {
  const { running, listing, begin } = list()
  const ids = () => listing.take().map(([id]) => id)
  begin(['a', '1'], ['b', '1'])
  assert.deepEqual(ids(), ['a', 'b'])
  running.end('a', '1')
  begin(['c', '1'])
  assert.deepEqual(ids(), ['b', 'c'])
  running.end('b', '1')
  await turn()
  assert.deepEqual(ids(), ['c'])
  running.end('c', '1')
  begin(['c', '2'])
  await turn()
  assert.deepEqual(listing.take(), [['c', '2', '']], "the older attempt's end is not the newer one's")
})
