//! Where in a document a value is.

use std::fmt;

/// The keys that lead to a value; an element of a list has an empty one.
#[derive(Default)]
pub(crate) struct Path {
    names: String,
    /// Where in `names` each begins.
    starts: Vec<usize>,
}

impl Path {
    /// Whether the value is there. A `*` stands for any key or place in a list.
    #[must_use]
    pub(crate) fn is(&self, pattern: &[&str]) -> bool {
        self.depth() == pattern.len()
            && pattern.iter().enumerate().all(|(at, name)| *name == "*" || *name == self.name(at))
    }

    /// How many keys lead to it.
    #[must_use]
    pub(crate) fn depth(&self) -> usize {
        self.starts.len()
    }

    /// The key at this place, counted from the outside.
    #[must_use]
    pub(crate) fn name(&self, at: usize) -> &str {
        let mut starts = self.starts.iter().skip(at).copied();
        let start = starts.next().unwrap_or(self.names.len());
        let end = starts.next().unwrap_or(self.names.len());
        self.names.get(start..end).unwrap_or_default()
    }

    /// The last key; nothing for the document itself.
    #[must_use]
    pub(crate) fn last(&self) -> &str {
        let start = self.starts.last().copied().unwrap_or_default();
        self.names.get(start..).unwrap_or_default()
    }

    pub(super) fn push(&mut self, name: &str) {
        self.starts.push(self.names.len());
        self.names.push_str(name);
    }

    pub(super) fn pop(&mut self) {
        if let Some(start) = self.starts.pop() {
            self.names.truncate(start);
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for at in 0..self.depth() {
            let name = match self.name(at) {
                "" => "[]",
                name => name,
            };
            let shown: String = name.chars().take(60).collect();
            write!(f, "{}{}", if at == 0 { "" } else { "." }, shown.escape_debug())?;
        }
        Ok(())
    }
}
