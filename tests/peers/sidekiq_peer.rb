# frozen_string_literal: true

# A real Sidekiq with GitLab's reliable fetch, for tests. Its own recovery is left at its default.
#
#   sidekiq_peer.rb enqueue N MILLISECONDS   enqueues job-0 .. job-(N-1), each of which sleeps so long
#   sidekiq_peer.rb work LEDGER              one worker process in the foreground, PEER_CONCURRENCY (4) jobs at once
#   sidekiq_peer.rb count                    Sidekiq's own view, as one JSON object
#   sidekiq_peer.rb retry                    puts everything in its dead sets back, as a person would in its web pages
#
# PEER_REDIS: the path of a unix socket. PEER_LEDGER: the file that jobs write to. PEER_QUEUE: default.

if ARGV.first == 'work' && !defined?(Sidekiq::CLI)
  # Sidekiq's own program, which loads this file as any application: from here on it is read a second time.
  require 'sidekiq/cli'
  ENV['PEER_LEDGER'] = ARGV.fetch(1)
  cli = Sidekiq::CLI.instance
  cli.parse(['-r', File.expand_path(__FILE__), '-c', ENV.fetch('PEER_CONCURRENCY', '4'), '-q', ENV.fetch('PEER_QUEUE', 'default')])
  cli.run
  exit
end

require 'json'
require 'socket'
require 'securerandom'
require 'sidekiq'
require 'sidekiq/api'
require 'sidekiq-reliable-fetch'

# Or redis 4.8 warns of a change in redis 5 at every heartbeat.
Redis.sadd_returns_boolean = false

Sidekiq.configure_client { |config| config.redis = { path: ENV.fetch('PEER_REDIS') } }
Sidekiq.configure_server do |config|
  config.redis = { path: ENV.fetch('PEER_REDIS') }
  Sidekiq::ReliableFetch.setup_reliable_fetch!(config)
end

class PeerJob
  include Sidekiq::Worker

  def perform(name, milliseconds)
    note("start #{name}")
    raise 'told to fail' if milliseconds.negative?

    sleep(milliseconds / 1000.0)
    note("done #{name}")
  end

  private

  def note(line)
    File.open(ENV.fetch('PEER_LEDGER'), File::WRONLY | File::APPEND | File::CREAT) { |f| f.syswrite("#{line}\n") }
  end
end

def enqueue(jobs, milliseconds)
  queue = ENV.fetch('PEER_QUEUE', 'default')
  jobs.times { |i| Sidekiq::Client.push('class' => PeerJob, 'queue' => queue, 'args' => ["job-#{i}", milliseconds]) }
end

def count
  {
    pending: Sidekiq::Queue.all.sum(&:size),
    # What each process last reported, every 5 s; and what reliable fetch holds, which its API doesn't count.
    running: Sidekiq::Workers.new.size,
    working: Sidekiq.redis { |c| c.scan_each(match: 'working:queue:*').sum { |key| c.llen(key) } },
    dead: Sidekiq::DeadSet.new.size,
    interrupted: Sidekiq::InterruptedSet.new.size,
    retries: Sidekiq::RetrySet.new.size,
    processed: Sidekiq::Stats.new.processed,
    failed: Sidekiq::Stats.new.failed,
    processes: Sidekiq::ProcessSet.new.map { |p| p['identity'] }
  }
end

unless defined?(Sidekiq::CLI)
  case ARGV
  in ['enqueue', jobs, milliseconds] then enqueue(jobs.to_i, milliseconds.to_i)
  in ['count'] then puts JSON.generate(count)
  in ['retry']
    Sidekiq::InterruptedSet.new.retry_all
    Sidekiq::DeadSet.new.retry_all
  else abort "usage: #{File.basename(__FILE__)} enqueue N MILLISECONDS | work LEDGER | count | retry"
  end
end
