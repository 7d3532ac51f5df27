//! What Redis answered, in the four shapes that scripts use.

use super::error::StoreError;

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Nothing there.
    Nil,
    /// A whole number.
    Int(i64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Several answers.
    List(Vec<Reply>),
}

impl From<redis::Value> for Reply {
    fn from(value: redis::Value) -> Self {
        use redis::Value;
        let list = |items: Vec<Value>| Self::List(items.into_iter().map(Self::from).collect());
        match value {
            Value::Int(n) => Self::Int(n),
            Value::BulkString(bytes) => Self::Bytes(bytes),
            Value::SimpleString(text) => Self::Bytes(text.into_bytes()),
            Value::Okay => Self::Bytes(b"OK".to_vec()),
            Value::Array(items) | Value::Set(items) => list(items),
            Value::Map(pairs) => list(pairs.into_iter().flat_map(|(k, v)| [k, v]).collect()),
            Value::Double(n) => Self::Bytes(n.to_string().into_bytes()),
            Value::Boolean(b) => Self::Int(i64::from(b)),
            Value::VerbatimString { text, .. } => Self::Bytes(text.into_bytes()),
            // Nothing that these scripts or commands answer.
            _ => Self::Nil,
        }
    }
}

/// Reads a reply, or says what was found instead.
pub struct Shape<'a> {
    script: &'a str,
}

impl<'a> Shape<'a> {
    /// A reader of the replies of `script`.
    #[must_use]
    pub fn of(script: &'a str) -> Self {
        Self { script }
    }

    /// The error for a reply that is none of the closed set.
    #[must_use]
    pub fn unknown(&self, reply: &Reply) -> StoreError {
        let mut shown = format!("{reply:?}");
        shown.truncate(shown.char_indices().nth(200).map_or(shown.len(), |(at, _)| at));
        StoreError::unknown_reply(&format!("read the answer of the script {:?}", self.script), &shown)
    }

    /// The items of a list.
    ///
    /// # Errors
    /// If it isn't one.
    pub fn list(&self, reply: Reply) -> Result<Vec<Reply>, StoreError> {
        match reply {
            Reply::List(items) => Ok(items),
            Reply::Nil | Reply::Int(_) | Reply::Bytes(_) => Err(self.unknown(&reply)),
        }
    }

    /// Exactly `N` items of a list.
    ///
    /// # Errors
    /// If it is none, or has another length.
    pub fn array<const N: usize>(&self, reply: Reply) -> Result<[Reply; N], StoreError> {
        let items = self.list(reply)?;
        items.try_into().map_err(|items| self.unknown(&Reply::List(items)))
    }

    /// The items of a list, `N` at a time.
    ///
    /// # Errors
    /// If it is none, or its length is no multiple of `N`.
    pub fn rows<const N: usize>(&self, reply: Reply) -> Result<Vec<[Reply; N]>, StoreError> {
        let mut items = self.list(reply)?.into_iter();
        let mut rows = Vec::with_capacity(items.len() / N.max(1));
        while items.len() > 0 {
            let row: Vec<Reply> = items.by_ref().take(N).collect();
            rows.push(row.try_into().map_err(|row| self.unknown(&Reply::List(row)))?);
        }
        Ok(rows)
    }

    /// Bytes.
    ///
    /// # Errors
    /// If it is something else.
    pub fn bytes(&self, reply: Reply) -> Result<Vec<u8>, StoreError> {
        match reply {
            Reply::Bytes(bytes) => Ok(bytes),
            Reply::Nil | Reply::Int(_) | Reply::List(_) => Err(self.unknown(&reply)),
        }
    }

    /// Text, with what isn't UTF-8 replaced: records may have been edited by anyone.
    ///
    /// # Errors
    /// If it is a list.
    pub fn text(&self, reply: Reply) -> Result<String, StoreError> {
        match reply {
            Reply::Bytes(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Reply::Int(n) => Ok(n.to_string()),
            Reply::Nil => Ok(String::new()),
            Reply::List(_) => Err(self.unknown(&reply)),
        }
    }

    /// A whole number; one that Redis holds as a double is cut.
    ///
    /// # Errors
    /// If it is none.
    pub fn int(&self, reply: Reply) -> Result<i64, StoreError> {
        self.maybe_int(reply.clone())?.ok_or_else(|| self.unknown(&reply))
    }

    /// A whole number, or nothing where nothing stands.
    ///
    /// # Errors
    /// If it is neither.
    pub fn maybe_int(&self, reply: Reply) -> Result<Option<i64>, StoreError> {
        match &reply {
            Reply::Int(n) => Ok(Some(*n)),
            Reply::Nil => Ok(None),
            Reply::Bytes(bytes) if bytes.is_empty() => Ok(None),
            Reply::Bytes(bytes) => {
                let text = std::str::from_utf8(bytes).unwrap_or_default();
                let number = text.parse::<i64>().ok().or_else(|| whole(text));
                number.map(Some).ok_or_else(|| self.unknown(&reply))
            }
            Reply::List(_) => Err(self.unknown(&reply)),
        }
    }
}

/// A double as Redis prints scores, cut to a whole number.
#[allow(
    clippy::cast_possible_truncation,
    reason = "scores are whole numbers below 2^53, or infinite and refused"
)]
fn whole(text: &str) -> Option<i64> {
    text.parse::<f64>().ok().filter(|n| n.is_finite() && n.abs() < 9e15).map(|n| n as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Reply {
        Reply::Bytes(text.into())
    }

    #[test]
    fn numbers_come_as_integers_text_and_doubles_and_nothing_else() {
        let shape = Shape::of("take");
        assert_eq!(shape.int(Reply::Int(-3)).unwrap(), -3);
        assert_eq!(shape.int(bytes("1732446000000")).unwrap(), 1_732_446_000_000);
        assert_eq!(shape.int(bytes("4.001732446e+15")).unwrap(), 4_001_732_446_000_000);
        assert_eq!(shape.maybe_int(Reply::Nil).unwrap(), None);
        for bad in ["x", "inf", "nan", "1e300"] {
            let error = shape.int(bytes(bad)).unwrap_err().to_string();
            assert!(error.contains("take"), "{error}");
        }
    }

    #[test]
    fn rows_are_complete_or_refused() {
        let shape = Shape::of("beat");
        let list = Reply::List(vec![Reply::Int(1), Reply::Int(2), Reply::Int(3)]);
        assert_eq!(shape.rows::<3>(list.clone()).unwrap().len(), 1);
        assert!(shape.rows::<2>(list).unwrap_err().to_string().contains("none that this version knows"));
    }
}
