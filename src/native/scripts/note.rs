//! What the sweeper must remember beyond its own life.

use std::time::Duration;

use super::millis;
use crate::core::words::Guard;
use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// Writes down what the next replica must know.
#[derive(Debug, Clone, Default)]
pub struct Note {
    /// A guard that opens a grace, and how long it is.
    pub grace: Option<(Guard, Duration)>,
    /// Fields of the queue's `control`.
    pub fields: Vec<(&'static str, String)>,
}

impl Command for Note {
    type Answer = ();

    fn script(&self) -> &'static Script {
        script!("note")
    }

    fn args(&self, args: &mut Args) {
        match self.grace {
            Some((guard, long)) => args.push(guard.as_str()).int(millis(long)),
            None => args.push("").int(0),
        };
        for (field, value) in &self.fields {
            args.push(field).push(value);
        }
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<(), StoreError> {
        if shape.text(reply.clone())? == "noted" { Ok(()) } else { Err(shape.unknown(&reply)) }
    }
}
