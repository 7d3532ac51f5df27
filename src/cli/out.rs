//! The one writer to standard output, and text that is safe to show.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::CliError;

/// Writes a line. A reader that went away (`| head`) ends the program quietly.
///
/// # Errors
/// [`CliError::Closed`] if nobody reads any more.
pub fn line(text: &str) -> Result<(), CliError> {
    writeln!(io::stdout(), "{text}").map_err(CliError::output)
}

/// Writes a value as JSON: then nothing else stands on standard output.
///
/// # Errors
/// As [`line()`].
pub fn json(value: &impl Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string(value).map_err(CliError::failed)?;
    line(&text)
}

/// Writes rows under a head, as wide as the terminal allows.
///
/// # Errors
/// As [`line()`].
pub fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<(), CliError> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if !io::stdout().is_terminal() {
        // Somebody's script reads this: no line is broken for its width.
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table.set_header(head.iter().map(|name| name.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    line(&table.trim_fmt())
}

/// Writes a note for the person at the terminal, apart from what the command answers.
pub fn note(text: &str) {
    // If nobody hears it, nothing is lost.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Text from outside, without what would move a cursor, change colours or turn the reading direction.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let hidden = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if c.is_control() || hidden { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// A duration for people: two units at most.
#[must_use]
pub fn duration(ms: i64) -> String {
    let ms = u64::try_from(ms.max(0)).unwrap_or(0);
    let rounded = match ms {
        0..10_000 => ms / 100 * 100,
        10_000..3_600_000 => ms / 1000 * 1000,
        3_600_000..86_400_000 => ms / 60_000 * 60_000,
        _ => ms / 3_600_000 * 3_600_000,
    };
    humantime::format_duration(Duration::from_millis(rounded)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_shown_and_does_nothing() {
        assert_eq!(clean("ok ü"), "ok ü");
        assert_eq!(clean("\u{1b}[31mred"), "\\u{1b}[31mred");
        assert_eq!(clean("a\u{202e}b\n"), "a\\u{202e}b\\n");
    }

    #[test]
    fn durations_are_short() {
        for (ms, text) in
            [(0, "0s"), (1234, "1s 200ms"), (75_400, "1m 15s"), (90_061_000, "1day 1h"), (-5, "0s")]
        {
            assert_eq!(duration(ms), text);
        }
    }
}
