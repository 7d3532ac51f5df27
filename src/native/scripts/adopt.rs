//! Going on with a predecessor's tasks.

use super::push_pairs;
use super::take::Taken;
use crate::core::id::{Nonce, Session};
use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// Adopts tasks: at most 50 pairs a call.
#[derive(Debug, Clone)]
pub struct Adopt {
    /// Who goes on.
    pub session: Session,
    /// Fresh for each call, the same when it is repeated: it makes the tokens.
    pub nonce: Nonce,
    /// Id and the predecessor's token of each.
    pub pairs: Vec<(String, String)>,
}

/// What became of a task that was to be adopted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adopted {
    /// It goes on here, under this new token.
    Adopted(Box<Taken>),
    /// It was abandoned once too often: a dead letter now.
    Dead,
    /// Its deadline had passed: a dead letter now.
    Expired,
    /// A person had cancelled it; it is gone.
    Discarded,
    /// It isn't a predecessor's any more.
    NotYours,
    /// This session holds 256 tasks already.
    Full,
    /// This session is no longer the current one, or was given up.
    Lost,
}

impl Command for Adopt {
    type Answer = Vec<Adopted>;

    fn script(&self) -> &'static Script {
        script!("adopt")
    }

    fn args(&self, args: &mut Args) {
        args.push(self.session.as_str()).push(self.nonce.as_str());
        push_pairs(args, &self.pairs);
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<Self::Answer, StoreError> {
        shape.list(reply)?.into_iter().map(|one| read_one(shape, one)).collect()
    }
}

fn read_one(shape: &Shape<'_>, reply: Reply) -> Result<Adopted, StoreError> {
    let whole = reply.clone();
    let mut items = shape.list(reply)?.into_iter();
    let word = shape.text(items.next().unwrap_or(Reply::Nil))?;
    match (word.as_str(), items.next()) {
        ("adopted", Some(row)) => Ok(Adopted::Adopted(Box::new(Taken::read(shape, row)?))),
        ("dead", None) => Ok(Adopted::Dead),
        ("expired", None) => Ok(Adopted::Expired),
        ("discarded", None) => Ok(Adopted::Discarded),
        ("not_yours", None) => Ok(Adopted::NotYours),
        ("full", None) => Ok(Adopted::Full),
        ("lost", None) => Ok(Adopted::Lost),
        _ => Err(shape.unknown(&whole)),
    }
}
