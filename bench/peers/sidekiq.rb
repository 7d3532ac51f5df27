# frozen_string_literal: true

# What the cleaner of GitLab's reliable fetch does with abandoned jobs, for the benchmark to compare. As peers.py:
#
#   PROGRAM sidekiq fill RUNNING LOST
#   PROGRAM sidekiq recover

require 'json'
require 'socket'
require 'securerandom'
require 'sidekiq'
require 'sidekiq-reliable-fetch'

Redis.sadd_returns_boolean = false
Sidekiq.configure_client { |config| config.redis = { path: ENV.fetch('PEER_REDIS') } }
Sidekiq.logger.level = Logger::ERROR
FETCH = Sidekiq::ReliableFetch.new(queues: ['default'])
NOTE = 'clean_working_queues!, a pop and a push for each job; each hundred jobs are one process\'s'

def fill(redis, running, lost)
  id = Sidekiq::Client.push('class' => 'Sleep', 'args' => [60])
  Sidekiq::ReliableFetch.heartbeat
  FETCH.send(:retrieve_unit_of_work)
  redis.call('SWAPDB', 0, 1)
  want = { running: running, lost: lost, group: 100, ids: [[id, 1], [Sidekiq::ReliableFetch.process_nonce, 100]], old: 0, new: 0 }
  script = File.read(File.join(__dir__, 'clone.lua'))
  (0...running).step(5000) do |from|
    redis.eval(script, [], [want.merge(from: from, until: [from + 5000, running].min).to_json])
  end
  redis.select(1)
  redis.flushdb
  redis.select(0)
end

def recover(redis)
  cpu = -> { redis.info('cpu').values_at('used_cpu_user_main_thread', 'used_cpu_sys_main_thread').sum(&:to_f) }
  redis.config('SET', 'slowlog-log-slower-than', 100)
  redis.slowlog('reset')
  clock = -> { Process.clock_gettime(Process::CLOCK_MONOTONIC) }
  before, began = cpu.call, clock.call
  FETCH.send(:clean_working_queues!)
  seconds, spent = clock.call - began, cpu.call - before
  longest = redis.slowlog('get', -1).map { |entry| entry[2] / 1000.0 }.max || 0
  puts({ system: 'sidekiq', recovered: redis.llen('queue:default'), seconds: seconds.round(4), redis_cpu_seconds: spent.round(4),
         longest_ms: longest, note: NOTE }.to_json)
end

Sidekiq.redis { |redis| ARGV[1] == 'fill' ? fill(redis, ARGV[2].to_i, ARGV[3].to_i) : recover(redis) }
