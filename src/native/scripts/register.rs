//! Beginning a session.

use crate::core::id::{Identity, Nonce, Session};
use crate::core::liveness::Rhythm;
use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// Which identity is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// This one.
    Identity(Identity),
    /// A free one of `<prefix>-0` … `<prefix>-<size − 1>`.
    Pool {
        /// What the names begin with.
        prefix: Identity,
        /// How many there are, 1 to 500.
        size: u32,
    },
}

/// Begins a session.
#[derive(Debug, Clone)]
pub struct Register {
    /// Which identity is wanted.
    pub wanted: Wanted,
    /// Fresh for each registration, the same when it is repeated.
    pub nonce: Nonce,
    /// The session that was declared lost, if this client had one.
    pub lost: Option<Session>,
    /// Where the process runs, for people.
    pub host: String,
    /// Its process id, for people.
    pub pid: u32,
    /// Its version, for people.
    pub version: String,
}

/// A task that a predecessor holds still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldTask {
    /// The predecessor.
    pub session: String,
    /// The task.
    pub id: String,
    /// What holds it.
    pub token: String,
    /// Its type.
    pub task_type: String,
    /// What the attempt left behind; empty if nothing.
    pub checkpoint: Vec<u8>,
    /// Where else it is being worked on, if that was recorded.
    pub external: Option<String>,
}

/// What `register` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegisterAnswer {
    /// The session has begun.
    Registered {
        /// Its name.
        session: Session,
        /// How to live until the first beat is answered.
        rhythm: Rhythm,
        /// What predecessors hold, a page of it: adopt or release, then ask again with the same nonce.
        held: Vec<HeldTask>,
    },
    /// A newer session acts under this identity: end.
    Superseded,
    /// Each identity of the pool is taken by a process that may be alive.
    PoolFull,
}

impl Command for Register {
    type Answer = RegisterAnswer;

    fn script(&self) -> &'static Script {
        script!("register")
    }

    fn args(&self, args: &mut Args) {
        args.push(self.nonce.as_str());
        match &self.wanted {
            Wanted::Identity(identity) => args.push(identity.as_str()).int(0),
            Wanted::Pool { prefix, size } => args.push(prefix.as_str()).int((*size).min(500)),
        };
        args.push(self.lost.as_ref().map_or("", Session::as_str));
        args.push(&self.host).int(self.pid).push(&self.version);
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<RegisterAnswer, StoreError> {
        let whole = reply.clone();
        let items = shape.list(reply)?;
        let word = shape.text(items.first().cloned().unwrap_or(Reply::Nil))?;
        match (word.as_str(), <[Reply; 6]>::try_from(items)) {
            ("registered", Ok([_, session, next, stop, lost, held])) => Ok(RegisterAnswer::Registered {
                session: Session::new(shape.text(session)?).map_err(|_| shape.unknown(&whole))?,
                rhythm: super::rhythm(shape, next, stop, lost)?,
                held: shape
                    .rows(held)?
                    .into_iter()
                    .map(|[session, id, token, kind, checkpoint, external]| {
                        Ok(HeldTask {
                            session: shape.text(session)?,
                            id: shape.text(id)?,
                            token: shape.text(token)?,
                            task_type: shape.text(kind)?,
                            checkpoint: shape.bytes(checkpoint)?,
                            external: super::external::handle(shape, external)?,
                        })
                    })
                    .collect::<Result<_, StoreError>>()?,
            }),
            ("superseded", Err(_)) => Ok(RegisterAnswer::Superseded),
            ("pool_full", Err(_)) => Ok(RegisterAnswer::PoolFull),
            _ => Err(shape.unknown(&whole)),
        }
    }
}
