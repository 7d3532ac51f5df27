//! Comparing records with indices.

use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// Compares the records of up to 100 tasks with the indices.
#[derive(Debug, Clone)]
pub struct Reconcile {
    /// Whether to mend what can only be mended one way.
    pub repair: bool,
    /// The session from whose running set the ids come, if they do.
    pub session: Option<String>,
    /// The tasks.
    pub ids: Vec<String>,
}

words!(
    /// What was found.
    Reconciled {
        /// Record and indices agree.
        Sound = "sound",
        /// An entry without a record.
        NoRecord = "no_record",
        /// An entry besides the task's one place.
        Stray = "stray",
        /// A record that stands in no index.
        Homeless = "homeless",
        /// Its record, or the running set that it names, is of another type.
        WrongType = "wrong_type",
    }
);

impl Command for Reconcile {
    type Answer = Vec<Reconciled>;

    fn script(&self) -> &'static Script {
        script!("reconcile")
    }

    fn args(&self, args: &mut Args) {
        args.int(i32::from(self.repair)).push(self.session.as_deref().unwrap_or_default());
        for id in &self.ids {
            args.push(id);
        }
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<Self::Answer, StoreError> {
        shape.list(reply)?.into_iter().map(|word| Reconciled::read(shape, word)).collect()
    }
}
