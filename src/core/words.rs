//! The closed sets that verdicts, metrics, logs and messages share.

macro_rules! closed {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word for it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// What the word stands for.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.as_str() == word)
            }
        }
    };
}

closed!(
    /// Why a task counts as abandoned.
    Cause {
        /// Its session fell silent.
        AgentLost = "agent_lost",
        /// The task itself showed no sign of life for `task_heartbeat_timeout`.
        TaskSilent = "task_silent",
        /// It ran for longer than `start_to_close`.
        StartToClose = "start_to_close",
        /// Its deadline passed.
        ScheduleToClose = "schedule_to_close",
    }
);

closed!(
    /// What is to be done with a task.
    Action {
        /// Back to pending at its place, charged.
        Reset = "reset",
        /// Set aside: abandoned once too often.
        DeadLetter = "dead_letter",
        /// Set aside: its deadline passed.
        Expire = "expire",
        /// Out of the system: a person cancelled it.
        Discard = "discard",
        /// Its agent is told to stop.
        Revoke = "revoke",
        /// Counted once; it goes on.
        Alert = "alert",
        /// Out of the system: its work, done elsewhere, succeeded.
        Collect = "collect",
        /// Its work, done elsewhere, failed: delayed, or set aside once it failed too often.
        Fail = "fail",
    }
);

impl Action {
    /// Whether it ends the attempt, so that it counts as an abandonment with an outcome.
    #[must_use]
    pub fn ends_the_attempt(self) -> bool {
        matches!(self, Self::Reset | Self::DeadLetter | Self::Expire | Self::Collect | Self::Fail)
    }
}

closed!(
    /// Why a task is a dead letter.
    DeadReason {
        /// Abandoned once too often: it may be what kills its agents.
        Poison = "poison",
        /// Failed once too often, or for good.
        Failed = "failed",
        /// Its deadline passed.
        Expired = "expired",
        /// Its payload was gone when it was to be taken.
        NoPayload = "no_payload",
    }
);

closed!(
    /// What keeps verdicts from being carried out.
    Guard {
        /// Most agents fell silent at once: rather the network or Redis than all of them.
        MassLoss = "mass_loss",
        /// Another server answers than before, or the same one was restarted.
        RedisChanged = "redis_changed",
        /// The server's clock moved against ours.
        ClockJumped = "clock_jumped",
        /// This process itself stood still.
        OwnPause = "own_pause",
        /// Shorter clocks were published, and agents still beat in the old rhythm.
        PolicyChanged = "policy_changed",
        /// No agent of a watched system was seen to live yet: its layout may be wrong.
        Unproven = "unproven",
        /// A watched system is of a version that its layout doesn't know.
        UnknownVersion = "unknown_version",
    }
);

closed!(
    /// What a hook is asked.
    HookKind {
        /// How work elsewhere stands.
        Probe = "probe",
        /// To end it.
        Cancel = "cancel",
    }
);

closed!(
    /// What a hook may answer.
    HookWord {
        /// It runs, or waits to.
        Active = "active",
        /// It is over and has its result.
        Succeeded = "succeeded",
        /// It is over and failed.
        Failed = "failed",
        /// It is over without a result: cancelled, or unknown there.
        Ended = "ended",
        /// It runs and can't be cancelled.
        Cannot = "cannot",
    }
);

closed!(
    /// Why a verdict was not carried out though nothing held it.
    Skip {
        /// It wasn't so any more when it was looked at again.
        NotAnyMore = "not_any_more",
        /// There is an entry and no record.
        NoRecord = "no_record",
    }
);

closed!(
    /// Whether a session can still be counted on.
    Liveness {
        /// It beats.
        Alive = "alive",
        /// Silent for `heartbeat_timeout`.
        Suspect = "suspect",
        /// Silent for `lost_after` longer.
        Lost = "lost",
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_stands_for_one_thing() {
        for cause in Cause::ALL {
            assert_eq!(Cause::parse(cause.as_str()), Some(*cause));
        }
        assert_eq!(Action::parse("reset "), None);
        let ending: Vec<_> =
            Action::ALL.iter().filter(|a| a.ends_the_attempt()).map(|a| a.as_str()).collect();
        assert_eq!(ending, ["reset", "dead_letter", "expire", "collect", "fail"]);
    }
}
