//! Log lines: for people on standard error, or JSON for machines.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// The environment variable that decides over the setting.
const ENVIRONMENT: &str = "RUST_LOG";

/// What log lines look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Logging could not begin.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter can't be read.
    #[error(
        "{origin} {filter:?} is not a log filter: give a level (error, warn, info, debug, trace), or module=level, …"
    )]
    Filter {
        /// Where it came from.
        origin: &'static str,
        /// What was typed.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// Something else in this process logs already.
    #[error("logging was set up before")]
    Twice(#[from] TryInitError),
}

/// Begins to log to standard error: what `setting` lets through, or RUST_LOG where it is set. Colours only where a
/// terminal shows them and NO_COLOR doesn't forbid them.
///
/// # Errors
/// [`LogError`] if the filter can't be read, or logging was set up before.
pub fn init(format: Format, setting: &str) -> Result<(), LogError> {
    let typed = std::env::var(ENVIRONMENT).ok();
    let filter = filter(typed.as_deref(), setting)?;
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colours = io::stderr().is_terminal() && !forbidden;
    subscriber(format, filter, colours, io::stderr).try_init()?;
    Ok(())
}

fn filter(environment: Option<&str>, setting: &str) -> Result<EnvFilter, LogError> {
    let (origin, filter) = match environment {
        Some(typed) if !typed.is_empty() => (ENVIRONMENT, typed),
        Some(_) | None => ("the log level", setting),
    };
    EnvFilter::try_new(filter).map_err(|source| LogError::Filter {
        origin,
        filter: filter.to_owned(),
        source,
    })
}

fn subscriber<W>(
    format: Format,
    filter: EnvFilter,
    colours: bool,
    to: W,
) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(to);
    match format {
        Format::Human => Box::new(lines.with_target(false).finish()),
        Format::Json => Box::new(lines.json().flatten_event(true).finish()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(format: Format, colours: bool, level: &str) -> String {
        let paper = Paper::default();
        let pen = paper.clone();
        let subscriber = subscriber(format, filter(None, level).unwrap(), colours, move || pen.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(queue = "q", "swept\u{1b}[2J");
            tracing::debug!("a detail");
        });
        let bytes = paper.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_lines_are_objects_with_the_fields_on_top() {
        let line = written(Format::Json, false, "info");
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["queue"], "q");
        assert_eq!(object["level"], "INFO");
    }

    #[test]
    fn lines_for_people_have_colours_only_when_asked_for_and_never_a_hostile_escape() {
        let plain = written(Format::Human, false, "info");
        assert!(plain.contains("swept") && plain.contains("queue=\"q\""), "{plain}");
        assert!(!plain.contains('\u{1b}'), "{plain:?}");
        let coloured = written(Format::Human, true, "info");
        assert!(coloured.contains("\u{1b}[") && !coloured.contains("\u{1b}[2J"), "{coloured:?}");
    }

    #[test]
    fn the_level_decides_and_the_environment_decides_over_it() {
        assert!(!written(Format::Human, false, "info").contains("a detail"));
        assert!(written(Format::Human, false, "debug").contains("a detail"));
        assert_eq!(filter(Some("trace"), "info").unwrap().to_string(), "trace");
        assert_eq!(filter(Some(""), "info").unwrap().to_string(), "info");
        let error = filter(Some("a=b=c"), "info").unwrap_err().to_string();
        assert!(error.starts_with("RUST_LOG \"a=b=c\""), "{error}");
    }
}
