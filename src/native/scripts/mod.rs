//! The scripts. Each is a `.lua` file with its contract in the header, and a `.rs` file of the same name that types it.

use std::time::Duration;

use crate::core::liveness::Rhythm;
use crate::store::{Args, Reply, Shape, StoreError};

/// What scripts share, put into them where they say `--! include`.
pub(crate) const PARTS: &[(&str, &str)] = &[
    ("head", include_str!("lib/head.lua")),
    ("policy", include_str!("lib/policy.lua")),
    ("move", include_str!("lib/move.lua")),
    ("charge", include_str!("lib/charge.lua")),
    ("evidence", include_str!("lib/evidence.lua")),
];

/// The script of this name, put together when it is first used.
macro_rules! script {
    ($name:literal) => {{
        static SCRIPT: std::sync::LazyLock<crate::store::Script> = std::sync::LazyLock::new(|| {
            crate::store::Script::assemble($name, include_str!(concat!($name, ".lua")), super::PARTS)
        });
        &SCRIPT
    }};
}

/// A closed set of words that a script answers.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word that the script says.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            fn read(shape: &crate::store::Shape<'_>, reply: crate::store::Reply)
                -> Result<Self, crate::store::StoreError>
            {
                let word = shape.text(reply.clone())?;
                Self::ALL.iter().copied().find(|known| known.as_str() == word).ok_or_else(|| shape.unknown(&reply))
            }
        }
    };
}

pub mod adopt;
pub mod apply;
pub mod beat;
pub mod cancel;
pub mod census;
pub mod complete;
pub mod declare;
pub mod discard;
pub mod dismiss;
pub mod enqueue;
pub mod expire;
pub mod extend;
pub mod external;
pub mod fail;
pub mod forget;
pub mod inspect;
pub mod leave;
pub mod note;
pub mod observe;
pub mod publish;
pub mod reconcile;
pub mod redrive;
pub mod register;
pub mod release;
pub mod reset;
pub mod settle;
pub mod steer;
pub mod switch;
pub mod take;

/// A duration as scripts take it: whole milliseconds, at most a hundred years.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).min(100 * 365 * 86_400_000)
}

fn push_pairs(args: &mut Args, pairs: &[(String, String)]) {
    for (id, token) in pairs {
        args.push(id).push(token);
    }
}

/// How a session is to live: ms to the next beat, ms of silence to stop at (below 0: never) and to be given up at.
fn rhythm(shape: &Shape<'_>, next: Reply, stop: Reply, lost: Reply) -> Result<Rhythm, StoreError> {
    let long = |n: i64| Duration::from_millis(u64::try_from(n).unwrap_or(0));
    Ok(Rhythm {
        next: long(shape.int(next)?),
        stop_after: Some(shape.int(stop)?).filter(|stop| *stop >= 0).map(long),
        lost_after: long(shape.int(lost)?),
    })
}

fn pairs(shape: &Shape<'_>, list: Reply) -> Result<Vec<(String, String)>, StoreError> {
    shape.rows(list)?.into_iter().map(|[id, token]| Ok((shape.text(id)?, shape.text(token)?))).collect()
}
