//! Names of keys with holes: `working:queue:{queue}:{host}:{pid}`.

use std::collections::BTreeMap;
use std::fmt;

/// A name that could not be understood; a sentence for whoever typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPattern(String);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Hole(String),
}

/// A name with holes. `{{` and `}}` stand for the braces themselves; `{:name}` is a colon and the value, or nothing where
/// the value is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pattern(Vec<Part>);

/// What stands in the holes. Bytes, because names in somebody else's Redis need not be text.
pub type Values = BTreeMap<String, Vec<u8>>;

/// The hole that may hold anything; every other one ends where the text beside it begins.
const GREEDY: &str = "queue";

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`InvalidPattern`] for a hole without an end or a name.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let refuse = |why: String| Err(InvalidPattern(why));
        let mut parts: Vec<Part> = Vec::new();
        let mut literal = String::new();
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '{' | '}' if rest.peek() == Some(&c) => {
                    rest.next();
                    literal.push(c);
                }
                '}' => {
                    return refuse(format!(
                        "{text:?} has a '}}' without its '{{'; a brace itself is written twice"
                    ));
                }
                '{' => {
                    let mut name = String::new();
                    let mut closed = false;
                    for c in rest.by_ref() {
                        closed = c == '}';
                        if closed {
                            break;
                        }
                        name.push(c);
                    }
                    if !closed {
                        return refuse(format!(
                            "{text:?} has a '{{' without its '}}'; a brace itself is written twice"
                        ));
                    }
                    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
                    let bare = name.strip_prefix(':').unwrap_or(&name);
                    if bare.is_empty() || !bare.chars().all(word) {
                        return refuse(format!(
                            "{text:?}: {name:?} is no name for a hole, such as {{queue}}"
                        ));
                    }
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal)));
                    }
                    parts.push(Part::Hole(name));
                }
                c => literal.push(c),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        if parts.is_empty() { refuse("is empty".to_owned()) } else { Ok(Self(parts)) }
    }

    /// A text without holes; it may be empty, as an argument may.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn argument(text: &str) -> Result<Self, InvalidPattern> {
        if text.is_empty() { Ok(Self::default()) } else { Self::parse(text) }
    }

    /// Texts and holes, in order: `Ok` is text, `Err` a hole's name.
    pub fn parts(&self) -> impl Iterator<Item = Result<&str, &str>> {
        self.0.iter().map(|part| match part {
            Part::Text(text) => Ok(text.as_str()),
            Part::Hole(name) => Err(name.as_str()),
        })
    }

    /// The holes, in order.
    pub fn holes(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Hole(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// Whether a name can be read back in one way only: two holes have text between them.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.0.windows(2).all(|pair| !matches!(pair, [Part::Hole(_), Part::Hole(_)]))
    }

    /// Fills the holes of these names for good; the others stay.
    #[must_use]
    pub fn with(&self, fixed: &BTreeMap<String, String>) -> Self {
        let mut parts: Vec<Part> = Vec::new();
        for part in &self.0 {
            let text = match part {
                Part::Text(text) => text,
                Part::Hole(name) => match fixed.get(name) {
                    Some(text) => text,
                    None => {
                        parts.push(part.clone());
                        continue;
                    }
                },
            };
            match parts.last_mut() {
                Some(Part::Text(before)) => before.push_str(text),
                _ => parts.push(Part::Text(text.clone())),
            }
        }
        Self(parts)
    }

    /// The name with all holes filled; `None` if one has no value.
    #[must_use]
    pub fn fill(&self, values: &Values) -> Option<Vec<u8>> {
        let mut name = Vec::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => name.extend_from_slice(text.as_bytes()),
                Part::Hole(hole) => name.extend_from_slice(values.get(hole)?),
            }
        }
        Some(name)
    }

    /// What stands before and behind the one hole that is left, for whoever fills it elsewhere.
    #[must_use]
    pub fn around(&self, hole: &str, values: &Values) -> Option<(Vec<u8>, Vec<u8>)> {
        let at = self.0.iter().position(|part| matches!(part, Part::Hole(name) if name == hole))?;
        let (before, after) = self.0.split_at(at);
        let fill = |parts: &[Part]| Self(parts.to_vec()).fill(values);
        Some((fill(before)?, fill(after.get(1..)?)?))
    }

    /// What stands in the holes of this name; `None` if it is none of the pattern's.
    #[must_use]
    pub fn read(&self, name: &[u8]) -> Option<Values> {
        let mut values = Values::new();
        matches(&self.0, name, &mut values).then_some(values)
    }

    /// The pattern as Redis' SCAN takes it: holes become `*`, and what means something there is escaped.
    #[must_use]
    pub fn glob(&self) -> String {
        let mut glob = String::new();
        for part in &self.0 {
            match part {
                Part::Hole(_) => glob.push('*'),
                Part::Text(text) => {
                    for c in text.chars() {
                        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
                            glob.push('\\');
                        }
                        glob.push(c);
                    }
                }
            }
        }
        glob
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}")),
            Part::Hole(name) => write!(f, "{{{name}}}"),
        })
    }
}

/// Whether `name` is what `parts` say; what the holes hold is noted.
fn matches(parts: &[Part], name: &[u8], values: &mut Values) -> bool {
    let Some((first, rest)) = parts.split_first() else { return name.is_empty() };
    match first {
        Part::Text(text) => {
            name.strip_prefix(text.as_bytes()).is_some_and(|left| matches(rest, left, values))
        }
        Part::Hole(hole) => {
            // The text behind a hole ends it, so that `{host}:{pid}` has one meaning only; the last one takes what is left.
            let edge = match rest.first() {
                Some(Part::Text(text)) => text.bytes().next(),
                _ => None,
            };
            let mut ends: Vec<usize> = (1..=name.len()).collect();
            if hole == GREEDY {
                ends.reverse();
            }
            for end in ends {
                let (value, left) = name.split_at(end);
                if hole != GREEDY && edge.is_some_and(|edge| value.contains(&edge)) {
                    return false;
                }
                if values.get(hole).is_none_or(|known| known == value) && matches(rest, left, values) {
                    values.insert(hole.clone(), value.to_vec());
                    return true;
                }
            }
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    fn read(text: &str, name: &str) -> Option<Vec<(String, String)>> {
        let text_of = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        pattern(text)
            .read(name.as_bytes())
            .map(|values| values.into_iter().map(|(k, v)| (k, text_of(v))).collect())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        Some(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn a_name_is_read_back_into_its_holes() {
        assert_eq!(
            read("working:queue:{queue}:{host}:{pid}", "working:queue:low:mail:box-1:77"),
            pairs(&[("host", "box-1"), ("pid", "77"), ("queue", "low:mail")])
        );
        assert_eq!(
            read("d:__acks__.{agent}.{queue}", "d:__acks__.a-b.default.DQ"),
            pairs(&[("agent", "a-b"), ("queue", "default.DQ")])
        );
        for other in ["working:queue:q:77", "worked:queue:q:h:1", "working:queue::h:1"] {
            assert_eq!(read("working:queue:{queue}:{host}:{pid}", other), None, "{other}");
        }
    }

    #[test]
    fn braces_are_doubled_and_globs_escaped() {
        let asynq = pattern("asynq:{{{queue}}}:active[1]");
        assert_eq!(asynq.glob(), "asynq:{*}:active\\[1\\]");
        let values = Values::from([("queue".to_owned(), b"low*".to_vec())]);
        assert_eq!(asynq.fill(&values).unwrap(), b"asynq:{low*}:active[1]");
        assert_eq!(asynq.to_string(), "asynq:{{{queue}}}:active[1]");
    }

    #[test]
    fn fixed_names_are_filled_for_good_and_the_rest_around_one_hole() {
        let fixed = BTreeMap::from([("ns".to_owned(), "d".to_owned())]);
        let record = pattern("{ns}:{queue}:task:{id}").with(&fixed);
        assert_eq!(record.to_string(), "d:{queue}:task:{id}");
        let values = Values::from([("queue".to_owned(), vec![0xff])]);
        assert_eq!(record.around("id", &values), Some((b"d:\xff:task:".to_vec(), Vec::new())));
        assert_eq!(record.fill(&values), None, "id has no value");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        assert!(!pattern("{a}{b}").is_readable() && pattern("{a}:{b}").is_readable());
        for bad in ["", "{", "{agent", "a}", "{}", "{a b}"] {
            assert!(Pattern::parse(bad).is_err(), "{bad:?}");
        }
    }
}
