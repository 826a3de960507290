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

use camino::Utf8Path;
use storekit::files::replace::read_capped;

use crate::compose::source::{ComposeError, Fault, Place, Sources};

/// No compose file is larger: 4 MiB.
pub(crate) const LARGEST: u64 = 4 << 20;

/// How deep a file may be nested.
pub(super) const DEEPEST: usize = 100;

/// The documents of a text, in their order. `file` is the number of the text in places.
pub(crate) fn read(text: &str, file: usize) -> Result<Vec<Node>, Fault> {
    documents(text, file)?.iter().map(|raw| expanded(raw, file)).collect()
}

/// The first document of a file, as it is written; people are shown it as `shown`.
///
/// # Errors
/// A file that is not there, not UTF-8 or not YAML.
pub(crate) fn one_file(path: &Utf8Path, shown: &Utf8Path) -> Result<Node, ComposeError> {
    let missing = || ComposeError::NoFile { path: shown.to_owned(), help: "name a compose file" };
    let bytes = read_capped(path, LARGEST)?.ok_or_else(missing)?;
    let mut sources = Sources::default();
    let text = text_of(bytes, shown)?;
    let file = sources.add(shown.as_str(), path, text);
    let text = sources.get(file).map_or("", |source| source.text.as_str());
    let documents = read(text, file).map_err(|fault| sources.explain(fault))?;
    Ok(documents.into_iter().next().unwrap_or(Node::new(Value::Null, Place::default())))
}

/// The bytes of a file as text.
///
/// # Errors
/// `NotText`, with the line.
pub(crate) fn text_of(bytes: Vec<u8>, shown: &Utf8Path) -> Result<String, ComposeError> {
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        ComposeError::NotText { path: shown.to_owned(), line }
    })
}

#[cfg(test)]
mod tests;
