//! YAML as compose files have it, with the place of each part.
//!
//! `raw` keeps what is written (aliases, flow or block, quotes), for whoever edits the text;
//! `expand` puts aliases and `<<` in; `scalar` says what a plain word is. Limits: 4 MiB, 100
//! levels, 100,000 parts with all aliases put in; a key that stands twice, and a key that is not a
//! word, are refused.

mod expand;
mod node;
mod raw;
mod scalar;

pub(crate) use self::expand::expanded;
#[cfg(test)]
pub(crate) use self::node::shown;
pub(crate) use self::node::{Key, Map, Mark, Node, Value};
pub(crate) use self::raw::{Kind, Raw, documents};

use crate::compose::source::Fault;

/// No compose file is larger: 4 MiB.
pub(crate) const LARGEST: u64 = 4 << 20;

/// How deep a file may be nested.
pub(super) const DEEPEST: usize = 100;

/// The documents of a text, in their order. `file` is the number of the text in places.
pub(crate) fn read(text: &str, file: usize) -> Result<Vec<Node>, Fault> {
    documents(text, file)?.iter().map(|raw| expanded(raw, file)).collect()
}

#[cfg(test)]
mod tests;
