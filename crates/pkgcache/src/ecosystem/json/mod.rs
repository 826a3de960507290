//! JSON as a stream: a document is copied byte for byte while an [`Editor`] looks at some of its
//! values, puts others in their place, leaves members out and adds some. Memory does not grow with
//! the document.
//!
//! Strict: what does not follow the grammar, has a key twice in one object, or is nested deeper or
//! has longer strings than any real index, is refused.
//!
//! Source: RFC 8259.

mod keys;
mod path;
mod scan;
#[cfg(test)]
mod tests;

use std::io::Read;

pub(crate) use path::Path;

use crate::ecosystem::BadIndex;
use keys::Keys;
use scan::{Sink, Source};

/// Objects and lists are nested no deeper.
const DEEPEST: usize = 128;

/// A value that an editor looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'v> {
    Text(&'v str),
    Number(&'v str),
    Bool(bool),
    Null,
    /// An object begins: its members come next.
    Object,
    /// A list begins: its elements come next, under paths with an empty last name.
    List,
}

/// What becomes of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is copied as it is; what is in it is asked for in turn.
    Copied,
    /// It is shown to the editor first, which may put another one in its place.
    Seen,
    /// It is left out with its key. What is in it is asked for all the same, but never copied.
    Dropped,
}

/// Whoever reads or changes a document.
pub(crate) trait Editor {
    /// What shall become of the value that begins at the path.
    fn fate(&mut self, path: &Path) -> Fate;

    /// A value whose fate is to be seen; of an object or a list, its beginning, before it is
    /// copied. Returns JSON to be put in its place, which counts for simple values only.
    ///
    /// # Errors
    /// [`BadIndex`], if it cannot be what it should be.
    fn see(&mut self, path: &Path, value: Value<'_>) -> Result<Option<String>, BadIndex>;

    /// The end of an object or a list, before it is copied. Returns members or elements to be
    /// added, as JSON without a comma before or behind them.
    ///
    /// # Errors
    /// [`BadIndex`].
    fn end(&mut self, _path: &Path) -> Result<Option<String>, BadIndex> {
        Ok(None)
    }

    /// Takes the next bytes of the copy.
    ///
    /// # Errors
    /// [`BadIndex::Unreadable`].
    fn copy(&mut self, _bytes: &[u8]) -> Result<(), BadIndex> {
        Ok(())
    }
}

/// Leads an editor through a document.
///
/// # Errors
/// [`BadIndex`], from here or from the editor; then what was copied is incomplete.
pub(crate) fn edit(document: &mut dyn Read, editor: &mut dyn Editor) -> Result<(), BadIndex> {
    let mut walk = Walk {
        source: Source::new(document),
        sink: Sink::new(editor),
        path: Path::default(),
        keys: Keys::default(),
        depth: 0,
    };
    walk.source.space(&mut walk.sink)?;
    let fate = walk.sink.editor.fate(&walk.path);
    walk.value(fate)?;
    walk.source.space(&mut walk.sink)?;
    match walk.source.peek()? {
        None => Ok(()),
        Some(_) => Err(walk.source.wrong("something follows the end of the document")),
    }
}

/// The text as a JSON string.
#[must_use]
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

struct Walk<'w> {
    source: Source<'w>,
    sink: Sink<'w>,
    path: Path,
    keys: Keys,
    depth: usize,
}

impl Walk<'_> {
    /// The value that comes next.
    fn value(&mut self, fate: Fate) -> Result<(), BadIndex> {
        let drops = fate == Fate::Dropped;
        self.sink.muted += usize::from(drops);
        match self.source.peek()? {
            Some(b'{') => self.container(fate, Value::Object)?,
            Some(b'[') => self.container(fate, Value::List)?,
            _ if fate == Fate::Seen => self.seen()?,
            _ => self.source.scalar(&mut self.sink)?,
        }
        self.sink.muted -= usize::from(drops);
        Ok(())
    }

    /// A simple value that the editor looks at.
    fn seen(&mut self) -> Result<(), BadIndex> {
        self.sink.hold();
        self.source.scalar(&mut self.sink)?;
        let raw = self.sink.take_held();
        let text;
        let value = match raw.as_str() {
            "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            raw if raw.starts_with('"') => {
                text = self.source.decoded(raw)?;
                Value::Text(&text)
            }
            raw => Value::Number(raw),
        };
        let instead = self.sink.editor.see(&self.path, value)?;
        self.sink.put(instead.as_ref().unwrap_or(&raw).as_bytes())?;
        self.sink.give_back(raw);
        Ok(())
    }

    /// The object or list that begins here.
    fn container(&mut self, fate: Fate, kind: Value<'_>) -> Result<(), BadIndex> {
        if fate == Fate::Seen {
            self.sink.editor.see(&self.path, kind)?;
        }
        if self.depth == DEEPEST {
            return Err(BadIndex::TooLarge("the index is nested deeper than 128 levels"));
        }
        self.depth += 1;
        self.source.byte(&mut self.sink)?;
        if kind == Value::Object {
            let object = self.keys.open();
            self.items(b'}')?;
            self.keys.close(object);
        } else {
            self.items(b']')?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// What is in an object or a list, and its end. What stands before an item is held until it is
    /// known whether the item is copied.
    fn items(&mut self, close: u8) -> Result<(), BadIndex> {
        let (mut first, mut copied) = (true, false);
        loop {
            self.sink.hold();
            self.source.space(&mut self.sink)?;
            match self.source.peek()? {
                Some(byte) if byte == close => break,
                Some(b',') if !first => {
                    // After nothing but items that were left out, there is nothing to part.
                    if copied {
                        self.source.byte(&mut self.sink)?;
                    } else {
                        self.source.skip();
                    }
                    self.source.space(&mut self.sink)?;
                }
                _ if first => {}
                _ => return Err(self.source.wrong("a comma or an end is missing")),
            }
            first = false;
            copied |= self.item(close == b'}')?;
        }
        let added = self.sink.editor.end(&self.path)?;
        let space = self.sink.take_held();
        if let Some(added) = added {
            self.sink.put(if copied { b"," } else { b"" })?;
            self.sink.put(added.as_bytes())?;
        }
        self.sink.put(space.as_bytes())?;
        self.sink.give_back(space);
        self.source.byte(&mut self.sink)
    }

    /// A member of an object or an element of a list. Returns whether it was copied.
    fn item(&mut self, member: bool) -> Result<bool, BadIndex> {
        if member {
            self.key()?;
        } else {
            self.path.push("");
        }
        let lead = self.sink.take_held();
        let fate = self.sink.editor.fate(&self.path);
        let copied = fate != Fate::Dropped;
        if copied {
            self.sink.put(lead.as_bytes())?;
        }
        self.sink.give_back(lead);
        self.value(fate)?;
        self.path.pop();
        Ok(copied)
    }

    /// A key with its colon.
    fn key(&mut self) -> Result<(), BadIndex> {
        if self.source.peek()? != Some(b'"') {
            return Err(self.source.wrong("a key is missing"));
        }
        let from = self.sink.held().len();
        self.source.key(&mut self.sink)?;
        let raw = self.sink.held().get(from..).unwrap_or_default();
        let key = self.source.decoded(raw)?;
        if !self.keys.insert(&key)? {
            let shown: String = key.chars().take(60).collect();
            return Err(self.source.wrong(&format!("the key {shown:?} is there twice")));
        }
        self.path.push(&key);
        self.source.space(&mut self.sink)?;
        if self.source.peek()? != Some(b':') {
            return Err(self.source.wrong("a colon is missing"));
        }
        self.source.byte(&mut self.sink)?;
        self.source.space(&mut self.sink)
    }
}
