// A door between an agent and Redis at which answers get lost.
import { connect, createServer } from 'node:net'

/**
 * Passes all on to `port`, but for the answers to what `lose` picks by the bytes that were sent: of those, and of all that
 * comes later on that connection, nothing arrives. The door is at port `at`, or at a free one.
 */
export async function startProxy(port, lose, at = 0) {
  const sockets = new Set()
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1')
    let dumb = false
    near.on('data', (bytes) => {
      dumb ||= lose(bytes.toString('latin1'))
      far.write(bytes)
    })
    far.on('data', (bytes) => dumb || near.write(bytes))
    for (const [one, other] of [[near, far], [far, near]]) {
      sockets.add(one)
      one.on('error', () => {})
      one.on('close', () => {
        sockets.delete(one)
        other.destroy()
      })
    }
  }).listen(at, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  return {
    url: `redis://127.0.0.1:${server.address().port}/0`,
    close() {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}
