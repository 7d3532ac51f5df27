//! All that stands about one task.

use std::collections::BTreeMap;

use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// Looks one task up.
#[derive(Debug, Clone)]
pub struct Inspect {
    /// The task.
    pub id: String,
}

/// A task as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// The server's clock, ms.
    pub now_ms: i64,
    /// The record, without the payload.
    pub record: BTreeMap<String, String>,
    /// Its place in pending.
    pub pending: Option<i64>,
    /// When it will be ready, ms.
    pub delayed: Option<i64>,
    /// When it died, ms.
    pub dead: Option<i64>,
    /// When it will expire, ms, if it waits.
    pub expiring: Option<i64>,
    /// When the sweeper will look at it, ms, if it runs.
    pub running: Option<i64>,
    /// Size of the payload, bytes.
    pub payload_bytes: u64,
    /// Size of the checkpoint, bytes.
    pub checkpoint_bytes: u64,
    /// The last error, as the agent gave it.
    pub error: Vec<u8>,
    /// The last heartbeat of the session that holds it, ms.
    pub agent_beat_ms: Option<i64>,
    /// What that session's identity says of itself: `active`, `left`, `lost`, `superseded`, or nothing.
    pub agent_state: String,
    /// Where it runs.
    pub agent_host: String,
    /// Its process id.
    pub agent_pid: String,
    /// Until when no verdict is carried out, ms.
    pub grace_until_ms: i64,
    /// Whether the queue is paused.
    pub paused: bool,
    /// Where else it is being worked on.
    pub external: Option<String>,
}

/// What `inspect` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InspectAnswer {
    /// There is no such task; what its stub says, if there is one.
    Gone(String),
    /// Here it is.
    Found(Box<Inspected>),
}

impl Command for Inspect {
    type Answer = InspectAnswer;

    fn script(&self) -> &'static Script {
        script!("inspect")
    }

    fn args(&self, args: &mut Args) {
        args.push(&self.id);
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<InspectAnswer, StoreError> {
        let whole = reply.clone();
        let items = shape.list(reply)?;
        if let [Reply::Bytes(word), stub] = items.as_slice()
            && word == b"gone"
        {
            return Ok(InspectAnswer::Gone(shape.text(stub.clone())?));
        }
        let Ok([word, now, fields, places, payload, checkpoint, error, agent, grace, paused, external]) =
            <[Reply; 11]>::try_from(items)
        else {
            return Err(shape.unknown(&whole));
        };
        if shape.text(word)? != "found" {
            return Err(shape.unknown(&whole));
        }
        let [pending, delayed, dead, expiring, running] = shape.array(places)?;
        let [beat, state, host, pid] = shape.array(agent)?;
        let size = |reply| Ok::<_, StoreError>(u64::try_from(shape.int(reply)?).unwrap_or(0));
        Ok(InspectAnswer::Found(Box::new(Inspected {
            now_ms: shape.int(now)?,
            record: shape
                .rows(fields)?
                .into_iter()
                .map(|[field, value]| Ok((shape.text(field)?, shape.text(value)?)))
                .filter(|pair| !matches!(pair, Ok((field, _)) if field == "payload"))
                .collect::<Result<_, StoreError>>()?,
            pending: shape.maybe_int(pending)?,
            delayed: shape.maybe_int(delayed)?,
            dead: shape.maybe_int(dead)?,
            expiring: shape.maybe_int(expiring)?,
            running: shape.maybe_int(running)?,
            payload_bytes: size(payload)?,
            checkpoint_bytes: size(checkpoint)?,
            error: shape.bytes(error)?,
            agent_beat_ms: shape.maybe_int(beat)?,
            agent_state: shape.text(state)?,
            agent_host: shape.text(host)?,
            agent_pid: shape.text(pid)?,
            grace_until_ms: shape.int(grace)?,
            paused: !shape.text(paused)?.is_empty(),
            external: super::external::handle(shape, external)?,
        })))
    }
}
