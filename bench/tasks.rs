//! A task's whole way, a million of them, and what one that runs weighs.

use std::time::{Duration, Instant};

use backstop::agent::{Agent, Client, NewTask};
use backstop::core::id::{Identity, QueueName, TaskType};
use backstop::native::scripts::complete::Complete;
use backstop::native::scripts::enqueue::Enqueue;
use backstop::store::Store;

use crate::{fleet, median, server};

/// Enqueue, take, complete, ten a call.
pub async fn way() {
    const N: usize = 50_000;
    let (mut scripts, mut process) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let private = server::start().await;
        let queue = server::queue(&private);
        let store = server::store(&private);
        let session = fleet::register(&queue, "a").await;
        let before = server::Cpu::now(&store).await;
        for batch in 0..N / 10 {
            let tasks = (0..10).map(|i| NewTask {
                id: fleet::uuid(batch * 10 + i),
                task_type: TaskType::new("resize").unwrap(),
                delay: Duration::ZERO,
                deadline: None,
                payload: vec![b'x'; 40],
            });
            queue.run(&Enqueue { tasks: tasks.collect() }).await.unwrap();
            let take = backstop::native::scripts::take::Take {
                session: session.clone(),
                nonce: backstop::native::fresh_nonce().unwrap(),
                most: 10,
            };
            let backstop::native::scripts::take::TakeAnswer::Took(taken) = queue.run(&take).await.unwrap()
            else {
                panic!("nothing taken")
            };
            let pairs = taken.into_iter().map(|task| (task.id, task.token)).collect();
            queue.run(&Complete { pairs }).await.unwrap();
        }
        let after = server::Cpu::now(&store).await;
        scripts.push(after.scripts_since(&before) / N as f64);
        process.push(after.process_since(&before) / N as f64);
    }
    println!(
        "RESULT way: {:.1} µs of script CPU a task, {:.1} of process CPU, of {N} tasks, median of 3",
        median(scripts),
        median(process)
    );
}

/// One million tasks that do nothing, with four agents.
pub async fn million() {
    const N: usize = 1_000_000;
    const AGENTS: usize = 4;
    let private = server::start().await;
    let url = private.url();
    let began = Instant::now();
    let agents: Vec<_> = (0..AGENTS)
        .map(|n| {
            let url = url.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let store = Store::connect(&url, &backstop::store::Options::default()).unwrap();
                    let agent = Agent::builder(store)
                        .queue(QueueName::new("bench").unwrap())
                        .identity(Identity::new(format!("a-{n}")).unwrap())
                        .concurrency(100)
                        .count((N / AGENTS) as u64);
                    agent.build().unwrap().run(|_| async { Ok(()) }).await.unwrap()
                })
            })
        })
        .collect();
    let mut client = Client::new(server::store(&private), QueueName::new("bench").unwrap());
    for from in (0..N).step_by(5000) {
        let tasks = (from..from + 5000).map(|i| NewTask {
            id: fleet::uuid(i),
            task_type: TaskType::new("nothing").unwrap(),
            delay: Duration::ZERO,
            deadline: None,
            payload: Vec::new(),
        });
        client.enqueue_all(tasks.collect()).await.unwrap();
    }
    let enqueued = began.elapsed();
    let mut completed = 0;
    for agent in agents {
        completed += agent.join().unwrap().completed;
    }
    let took = began.elapsed();
    println!(
        "RESULT million: {completed} completed in {:.1} s, enqueue included ({:.1} s); {:.0} a second",
        took.as_secs_f64(),
        enqueued.as_secs_f64(),
        completed as f64 / took.as_secs_f64()
    );
}

/// What one running task weighs in Redis.
pub async fn memory() {
    const N: usize = 100_000;
    for bytes in [40, 200] {
        let private = server::start().await;
        let queue = server::queue(&private);
        let store = server::store(&private);
        // Agents weigh something too; that is not a task's weight.
        let mut sessions = Vec::new();
        for n in 0..N / 100 {
            sessions.push(fleet::register(&queue, &format!("a-{n}")).await);
        }
        let empty = server::figure(&store, "memory", "used_memory").await;
        fleet::enqueue(&queue, 0, N, bytes).await;
        for session in &sessions {
            fleet::take(&queue, session, 100).await;
        }
        let full = server::figure(&store, "memory", "used_memory").await;
        println!(
            "RESULT memory: {:.0} B a running task with a payload of {bytes} B, 100 a session",
            (full - empty) / N as f64
        );
    }
}
