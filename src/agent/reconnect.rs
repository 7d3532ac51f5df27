//! What an agent that comes back does with what former sessions of its name hold.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

/// What becomes of tasks that former sessions of the identity hold. To resume or to reset one charges an abandonment, so one
/// that ends its agent each time becomes a dead letter in the end.
#[derive(Clone, Default)]
pub enum OnReconnect {
    /// They go on here, with the checkpoint that was left, as far as the concurrency allows; those beyond are reset.
    Resume,
    /// They wait again, for any agent.
    #[default]
    Reset,
    /// They become dead letters, reason `failed`: what was begun must not be begun again.
    Fail,
    /// The program decides for each.
    Ask(Ask),
}

/// A program's own decision; it may look elsewhere first.
pub type Ask = Arc<dyn Fn(Left) -> BoxFuture<'static, Choice> + Send + Sync>;

/// A decision for one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// It goes on here.
    Resume,
    /// It waits again.
    Reset,
    /// It becomes a dead letter.
    Fail,
}

/// A task that a former session of the identity holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Its name.
    pub id: String,
    /// Its type.
    pub task_type: String,
    /// What its attempt left behind; empty if nothing.
    pub checkpoint: Vec<u8>,
    /// Where else it is being worked on, if its attempt recorded that.
    pub external: Option<String>,
    /// Who holds it.
    pub session: String,
    /// What its attempt holds it by: whatever was changed outside Redis may name it.
    pub token: String,
}

impl OnReconnect {
    /// The program decides by this function.
    pub fn ask<F, A>(ask: F) -> Self
    where
        F: Fn(Left) -> A + Send + Sync + 'static,
        A: Future<Output = Choice> + Send + 'static,
    {
        Self::Ask(Arc::new(move |left| Box::pin(ask(left))))
    }

    pub(super) async fn decide(&self, left: Left) -> Choice {
        match self {
            Self::Resume => Choice::Resume,
            Self::Reset => Choice::Reset,
            Self::Fail => Choice::Fail,
            // One that panics decided nothing: any agent may run the task.
            Self::Ask(ask) => tokio::spawn(ask(left)).await.unwrap_or(Choice::Reset),
        }
    }
}

impl fmt::Debug for OnReconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resume => "Resume",
            Self::Reset => "Reset",
            Self::Fail => "Fail",
            Self::Ask(_) => "Ask",
        })
    }
}
