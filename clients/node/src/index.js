// Agents with an identity for Backstop, and clients that enqueue.
export { Agent } from './agent.js'
export { Client } from './client.js'
export { MAX_PAYLOAD } from './commands.js'
export {
  BackstopError, Broken, Fatal, Fenced, GiveBack, InvalidName, PoolFull, SetupError, Stopped, StoreError, Superseded,
  TaskStopped, TooLarge,
} from './errors.js'
export { MAX_CHECKPOINT, MAX_HANDLE, Task } from './task.js'
