//! Reading a table of the file, key by key. What a reader asked for is what is known, so that no list of keys can
//! disagree with the code; every problem is noted and reading goes on.

use std::collections::BTreeMap;
use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;
use super::redis_url::redacted;
use super::value::{Text, Value};

/// A longer quotation of what was typed would hide the message that follows it.
const LONGEST_QUOTE: usize = 80;

/// Where a value was typed.
#[derive(Debug, Clone)]
pub(super) struct Place {
    line: usize,
    key: String,
    shown: String,
}

/// A value and where it was typed.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// The problems found so far in one file.
#[derive(Debug)]
pub(super) struct Problems<'t> {
    origin: String,
    text: &'t str,
    line_ends: Vec<usize>,
    found: Vec<Problem>,
}

impl<'t> Problems<'t> {
    /// None yet, in the file `origin` whose content is `text`.
    pub(super) fn new(origin: String, text: &'t str) -> Self {
        let line_ends = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at).collect();
        Self { origin, text, line_ends, found: Vec::new() }
    }

    /// Notes a problem with the value at `place`.
    pub(super) fn at(&mut self, place: &Place, message: impl Into<String>) {
        self.found.push(Problem {
            origin: self.origin.clone(),
            line: Some(place.line),
            key: Some(place.key.clone()),
            value: Some(place.shown.clone()).filter(|shown| !shown.is_empty()),
            message: message.into(),
        });
    }

    /// Notes a problem at this offset that isn't with a value: with `key`, or with the text itself.
    fn with(&mut self, offset: usize, key: Option<String>, message: String) {
        let line = Some(self.line(offset));
        self.found.push(Problem { origin: self.origin.clone(), line, key, value: None, message });
    }

    /// Notes a problem that was found outside of the file.
    pub(super) fn push(&mut self, problem: Problem) {
        self.found.push(problem);
    }

    /// All that was found.
    pub(super) fn into_found(self) -> Vec<Problem> {
        self.found
    }

    fn line(&self, offset: usize) -> usize {
        self.line_ends.partition_point(|end| *end < offset) + 1
    }

    /// What was typed there, fit to be shown: without passwords (first, so that the cut can't save one from it), on
    /// one line, short, and without bytes that a terminal would obey.
    fn quote(&self, span: Range<usize>) -> String {
        let typed = redacted(self.text.get(span).unwrap_or_default());
        let mut shown: String = typed.chars().take(LONGEST_QUOTE).flat_map(harmless).collect();
        if typed.chars().nth(LONGEST_QUOTE).is_some() {
            shown.push('…');
        }
        shown
    }
}

fn harmless(c: char) -> impl Iterator<Item = char> {
    let (kept, escaped) = if c.is_control() { (None, Some(c.escape_default())) } else { (Some(c), None) };
    kept.into_iter().chain(escaped.into_iter().flatten())
}

/// One table of the file.
#[derive(Debug)]
pub(super) struct Section<'p, 't> {
    path: String,
    line: usize,
    table: DeTable<'t>,
    known: Vec<&'static str>,
    problems: &'p mut Problems<'t>,
}

/// Reads the whole of a file: `read` is given its root. `None` if it isn't TOML; then nothing else is looked at, for
/// what follows a broken line is guesswork.
pub(super) fn document<'t, T>(
    problems: &mut Problems<'t>,
    read: impl FnOnce(&mut Section<'_, 't>) -> T,
) -> Option<T> {
    let (table, errors) = DeTable::parse_recoverable(problems.text);
    let mut last_line = 0;
    for error in &errors {
        let offset = error.span().map_or(0, |span| span.start);
        // What follows on the same line is an echo of the first error.
        if problems.line(offset) != last_line {
            last_line = problems.line(offset);
            problems.with(offset, None, format!("not TOML: {}", error.message()));
        }
    }
    errors.is_empty().then(|| inside(String::new(), 1, table.into_inner(), problems, read))
}

/// Reads one table, then names the keys in it that nobody asked for.
fn inside<'t, T>(
    path: String,
    line: usize,
    table: DeTable<'t>,
    problems: &mut Problems<'t>,
    read: impl FnOnce(&mut Section<'_, 't>) -> T,
) -> T {
    let mut section = Section { path, line, table, known: Vec::new(), problems };
    let result = read(&mut section);
    section.refuse_unknown();
    result
}

impl<'t> Section<'_, 't> {
    /// The value of `key`, if it stands there and is sound.
    pub(super) fn value<T: Value>(&mut self, key: &'static str) -> Option<At<T>> {
        self.known.push(key);
        let value = self.table.remove(key)?;
        let place = Place {
            line: self.problems.line(value.span().start),
            key: self.key(key),
            shown: self.problems.quote(value.span()),
        };
        match T::read(value) {
            Ok(value) => Some(At { value, place }),
            Err(message) => {
                self.problems.at(&place, message);
                None
            }
        }
    }

    /// The table `key`; one that is absent reads as an empty one.
    pub(super) fn section<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'_, 't>) -> T,
    ) -> T {
        let line = self.line_of(key);
        let table = self.table(key);
        inside(self.key(key), line, table, self.problems, read)
    }

    /// The tables in the table `key`, each under the name that somebody chose for it.
    pub(super) fn named<N: FromStr<Err: ToString> + Ord, T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&mut Section<'_, 't>) -> T,
    ) -> BTreeMap<N, T> {
        let path = self.key(key);
        let mut entries = BTreeMap::new();
        for (name, value) in self.table(key) {
            let path = join(&path, name.get_ref());
            let parsed = name.get_ref().parse();
            if let Err(error) = &parsed {
                let message = N::Err::to_string(error);
                self.problems.with(name.span().start, Some(path.clone()), message);
            }
            let line = self.problems.line(name.span().start);
            let table = self.as_table(path.clone(), value);
            // A name that was refused is no reason to leave what stands under it unread.
            let entry = inside(path, line, table, self.problems, &read);
            entries.extend(parsed.ok().map(|name| (name, entry)));
        }
        entries
    }

    /// The texts in the table `key`, each under the name that somebody chose for it.
    pub(super) fn texts(&mut self, key: &'static str) -> BTreeMap<String, At<Text>> {
        let path = self.key(key);
        let mut texts = BTreeMap::new();
        for (name, value) in self.table(key) {
            let name = name.into_inner().into_owned();
            let place = Place {
                line: self.problems.line(value.span().start),
                key: join(&path, &name),
                shown: self.problems.quote(value.span()),
            };
            match Text::read(value) {
                Ok(value) => drop(texts.insert(name, At { value, place })),
                Err(message) => self.problems.at(&place, message),
            }
        }
        texts
    }

    fn line_of(&self, key: &str) -> usize {
        self.table.get(key).map_or(self.line, |value| self.problems.line(value.span().start))
    }

    /// Where this table stands.
    pub(super) fn place(&self) -> Place {
        Place { line: self.line, key: self.path.clone(), shown: String::new() }
    }

    /// Notes a problem with what was typed here.
    pub(super) fn refuse(&mut self, place: &Place, message: &str) {
        self.problems.at(place, message);
    }

    fn table(&mut self, key: &'static str) -> DeTable<'t> {
        self.known.push(key);
        let path = self.key(key);
        self.table.remove(key).map_or_else(DeTable::new, |value| self.as_table(path, value))
    }

    fn as_table(&mut self, path: String, value: Spanned<DeValue<'t>>) -> DeTable<'t> {
        let span = value.span();
        if let DeValue::Table(table) = value.into_inner() {
            return table;
        }
        let place =
            Place { line: self.problems.line(span.start), key: path, shown: self.problems.quote(span) };
        let message = format!("expected a table, written [{}] or {{ … }}", place.key);
        self.problems.at(&place, message);
        DeTable::new()
    }

    fn key(&self, key: &str) -> String {
        join(&self.path, key)
    }

    fn refuse_unknown(self) {
        for key in self.table.keys() {
            let message = match closest(key.get_ref(), &self.known) {
                Some(meant) => format!("unknown key; did you mean {meant:?}?"),
                None => format!("unknown key; known here: {}", self.known.join(", ")),
            };
            self.problems.with(key.span().start, Some(join(&self.path, key.get_ref())), message);
        }
    }
}

/// `path.key`, quoted where TOML would need it, and short.
fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let short: String = key.chars().take(LONGEST_QUOTE).collect();
    let key = if bare { short } else { format!("{short:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// The known key that was probably meant: at most a third of it differs, and two letters may always be swapped.
fn closest<'k>(typed: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|key| (distance(typed, key), *key))
        .filter(|(distance, key)| *distance <= key.len().div_ceil(3).clamp(2, 3))
        .min()
        .map(|(_, key)| key)
}

/// How many letters must be put in, taken out or replaced to make `b` of `a` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(LONGEST_QUOTE).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().zip(std::iter::once(None).chain(b.chars().map(Some))) {
            let above = *cell;
            left = match y {
                None => i + 1,
                Some(y) => (diagonal + usize::from(x != y)).min(above + 1).min(left + 1),
            };
            diagonal = above;
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}
