//! YAML as lock files have it: mappings, lists and words, without aliases.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser};

use super::NotALock;

/// How deep a file may be nested.
const DEEPEST: usize = 64;

/// A part of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Yaml {
    Word(String),
    List(Vec<Self>),
    Map(BTreeMap<String, Self>),
}

impl Yaml {
    /// The value of a key.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Map(map) = self else { return None };
        map.get(name)
    }

    /// The word of a key.
    pub(super) fn word(&self, name: &str) -> Option<&str> {
        let Some(Self::Word(word)) = self.get(name) else { return None };
        Some(word)
    }

    /// The words of a key.
    pub(super) fn words(&self, name: &str) -> Vec<String> {
        let Some(Self::List(list)) = self.get(name) else { return Vec::new() };
        let words = list.iter().filter_map(|it| if let Self::Word(word) = it { Some(word) } else { None });
        words.cloned().collect()
    }
}

/// A list or a mapping that is not at its end yet.
enum Open {
    List(Vec<Yaml>),
    Map(BTreeMap<String, Yaml>, Option<String>),
}

/// The documents of a text.
///
/// # Errors
/// What is not YAML, or not of this kind.
pub(super) fn documents(text: &str) -> Result<Vec<Yaml>, NotALock> {
    let options = granit_parser::options! { emit_comments: false, flow_nesting_limit: DEEPEST };
    let (mut open, mut documents) = (Vec::new(), Vec::new());
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| NotALock::at(error.marker().line(), error.info()))?;
        let line = span.start.line();
        let done = match event {
            Event::Scalar(text, ..) => Yaml::Word(text.into_owned()),
            Event::Alias(_) => return Err(NotALock::at(line, "an alias: no lock file has one")),
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() >= DEEPEST => {
                return Err(NotALock::at(line, "it is nested too deeply"));
            }
            Event::SequenceStart(..) => {
                open.push(Open::List(Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::Map(BTreeMap::new(), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(list)) => Yaml::List(list),
                Some(Open::Map(map, _)) => Yaml::Map(map),
                None => continue,
            },
            _ => continue,
        };
        match open.last_mut() {
            None => documents.push(done),
            Some(Open::List(list)) => list.push(done),
            Some(Open::Map(map, key)) => match (key.take(), done) {
                (Some(name), value) => {
                    if map.insert(name, value).is_some() {
                        return Err(NotALock::at(line, "a key stands twice"));
                    }
                }
                (None, Yaml::Word(name)) => *key = Some(name),
                (None, _) => return Err(NotALock::at(line, "a key that is not a word")),
            },
        }
    }
    Ok(documents)
}
