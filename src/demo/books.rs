//! The books: what the tasks' own processes wrote (each run), and what agents were answered (each completion). Neither
//! asks Redis.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::agent::OnAnswer;
use crate::telemetry::clock::wall_ms;

/// One line, written at once: lines of several processes don't mix.
fn append(path: &Path, line: &str) -> io::Result<()> {
    OpenOptions::new().create(true).append(true).open(path)?.write_all(format!("{line}\n").as_bytes())
}

/// The work of one task of the demonstration: writes that it began, takes as long as its payload says, writes that it
/// ended.
///
/// # Errors
/// If the book can't be written, or the payload is no number.
pub fn run_task(book: &Path) -> io::Result<()> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let (id, token) = (variable("BACKSTOP_TASK_ID"), variable("BACKSTOP_TASK_TOKEN"));
    append(book, &format!("began {id} {token} {}", wall_ms()))?;
    let mut payload = String::new();
    io::stdin().read_to_string(&mut payload)?;
    let ms =
        payload.trim().parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "no number of ms"))?;
    std::thread::sleep(Duration::from_millis(ms));
    append(book, &format!("ended {id} {token} {}", wall_ms()))
}

/// Writes each answer about a completion into a book.
#[must_use]
pub fn keeper(path: &Path) -> OnAnswer {
    let path = path.to_owned();
    Arc::new(move |id, token, word| {
        if let Err(error) = append(&path, &format!("{word} {id} {token} {}", wall_ms())) {
            tracing::error!(%error, "could not write the book");
        }
    })
}

/// What one task's lines say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// Tokens of the runs that began.
    pub(super) began: Vec<String>,
    /// Tokens of the runs that ended by themselves.
    pub(super) ended: Vec<String>,
    /// Tokens whose completion was accepted, each once, and when that was answered first.
    pub(super) accepted: BTreeMap<String, i64>,
    /// Completions that were refused.
    pub(super) refused: u64,
}

/// Reads both books, task by task. A line that was cut by a kill is no line.
pub(super) fn read(books: &[&Path]) -> io::Result<BTreeMap<String, Entry>> {
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    for book in books.iter().filter(|book| book.exists()) {
        for line in std::fs::read_to_string(book)?.lines() {
            let mut words = line.split(' ');
            let (Some(what), Some(id), Some(token), Some(at)) =
                (words.next(), words.next(), words.next(), words.next().and_then(|at| at.parse().ok()))
            else {
                continue;
            };
            let entry = entries.entry(id.to_owned()).or_default();
            let token = token.to_owned();
            match what {
                "began" => entry.began.push(token),
                "ended" => entry.ended.push(token),
                "completed" | "already" | "withdrawn" => {
                    entry.accepted.entry(token).or_insert(at);
                }
                _ => entry.refused += 1,
            }
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_are_read_task_by_task_and_a_cut_line_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let book = folder.path().join("book");
        std::fs::write(&book, "began t 1-1-a 5\nended t 1-1-a 9\ncompleted t 1-1-a 9\nalready t 1-1-a 12\nlate t 2-1-b 13\nbegan t2 1-")
            .unwrap();
        let entries = read(&[&book, Path::new("/nonexistent")]).unwrap();
        let expected = Entry {
            began: vec!["1-1-a".into()],
            ended: vec!["1-1-a".into()],
            accepted: BTreeMap::from([("1-1-a".into(), 9)]),
            refused: 1,
        };
        assert_eq!(entries, BTreeMap::from([("t".into(), expected)]));
    }
}
