//! What is written: the parser's events as a tree.

use std::collections::BTreeMap;
use std::ops::Range;

use granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StructureStyle, Tag};

use super::DEEPEST;
use crate::compose::source::{Fault, Place};

/// A part of a document.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    /// Its bytes; of a mapping or a list, from its first part to its last.
    pub(crate) at: Range<usize>,
    /// The number of its anchor; 0 without one.
    pub(crate) anchor: usize,
    /// As it is written, such as `!reset`.
    pub(crate) tag: Option<String>,
    pub(crate) kind: Kind,
}

/// What a part is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Stands for the part with this anchor.
    Alias(usize),
    /// A word; `plain` without quotes.
    Scalar { text: String, plain: bool },
    /// A list.
    List(Vec<Raw>),
    /// A mapping; `flow` between braces.
    Map { entries: Vec<(Raw, Raw)>, flow: bool },
}

impl Raw {
    /// The value of a key that is written in this mapping itself.
    pub(crate) fn get(&self, name: &str) -> Option<&(Raw, Raw)> {
        let Kind::Map { entries, .. } = &self.kind else { return None };
        entries.iter().find(|(key, _)| matches!(&key.kind, Kind::Scalar { text, .. } if text == name))
    }
}

/// A list or a mapping that is not at its end yet.
struct Open {
    start: usize,
    end: usize,
    anchor: usize,
    tag: Option<String>,
    flow: bool,
    parts: Parts,
}

enum Parts {
    List(Vec<Raw>),
    Map { entries: Vec<(Raw, Raw)>, key: Option<Raw>, lines: BTreeMap<String, usize> },
}

/// The documents of the text.
///
/// # Errors
/// What is not YAML, nested too deeply, or has a key twice.
pub(crate) fn documents(text: &str, file: usize) -> Result<Vec<Raw>, Fault> {
    // Comments are of no interest here, and long ones would count against a limit of the parser's.
    let options = granit_parser::options! { emit_comments: false, flow_nesting_limit: DEEPEST };
    let mut reader = Reader { text, file, open: Vec::new(), documents: Vec::new() };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| misread(&error, text, file))?;
        reader.take(event, &span)?;
    }
    Ok(reader.documents)
}

struct Reader<'t> {
    text: &'t str,
    file: usize,
    open: Vec<Open>,
    documents: Vec<Raw>,
}

impl Reader<'_> {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Fault> {
        let at = offset(&span.start, self.text)..offset(&span.end, self.text);
        match event {
            Event::Alias(anchor) => self.put(Raw { at, anchor: 0, tag: None, kind: Kind::Alias(anchor) }),
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let kind = Kind::Scalar { text: text.into_owned(), plain };
                self.put(Raw { at, anchor, tag: tag.map(|tag| written(&tag)), kind })
            }
            Event::SequenceStart(style, anchor, tag) => {
                self.begin(at, anchor, tag.as_deref(), style, Parts::List(Vec::new()))
            }
            Event::MappingStart(style, anchor, tag) => {
                let parts = Parts::Map { entries: Vec::new(), key: None, lines: BTreeMap::new() };
                self.begin(at, anchor, tag.as_deref(), style, parts)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(at.end),
            _ => Ok(()),
        }
    }

    fn begin(
        &mut self,
        at: Range<usize>,
        anchor: usize,
        tag: Option<&Tag>,
        style: StructureStyle,
        parts: Parts,
    ) -> Result<(), Fault> {
        if self.open.len() >= DEEPEST {
            return Err(too_deep(&self.place(at)));
        }
        let flow = style == StructureStyle::Flow;
        let tag = tag.map(written);
        self.open.push(Open { start: at.start, end: at.end, anchor, tag, flow, parts });
        Ok(())
    }

    fn end(&mut self, at: usize) -> Result<(), Fault> {
        let Some(Open { start, end, anchor, tag, flow, parts }) = self.open.pop() else { return Ok(()) };
        // A block ends where its last part does: the parser tells where the next thing begins.
        let end = if flow { at } else { end };
        let kind = match parts {
            Parts::List(items) => Kind::List(items),
            Parts::Map { entries, .. } => Kind::Map { entries, flow },
        };
        self.put(Raw { at: start..end.max(start), anchor, tag, kind })
    }

    fn put(&mut self, raw: Raw) -> Result<(), Fault> {
        let place = Place { file: self.file, at: raw.at.clone() };
        let Some(open) = self.open.last_mut() else {
            self.documents.push(raw);
            return Ok(());
        };
        open.end = open.end.max(raw.at.end);
        match &mut open.parts {
            Parts::List(items) => items.push(raw),
            Parts::Map { entries, key, lines } => {
                if let Some(name) = key.take() {
                    entries.push((name, raw));
                    return Ok(());
                }
                if let Kind::Scalar { text, .. } = &raw.kind
                    && let Some(line) = lines.insert(text.clone(), line_of(self.text, raw.at.start))
                {
                    let message = format!("the key `{text}` stands here twice: line {line} has it, too");
                    let help = "keep one of them: which of two counts, no two programs agree on";
                    return Err(Fault::new(message, &place, help));
                }
                *key = Some(raw);
            }
        }
        Ok(())
    }

    fn place(&self, at: Range<usize>) -> Place {
        Place { file: self.file, at }
    }
}

pub(super) fn too_deep(at: &Place) -> Fault {
    let message = format!("more than {DEEPEST} levels are nested");
    Fault::new(message, at, "no compose file needs that: is an alias within its own anchor?")
}

/// The tag as the file has it.
fn written(tag: &Tag) -> String {
    tag.original()
}

fn line_of(text: &str, at: usize) -> usize {
    text.get(..at).map_or(1, |before| before.matches('\n').count() + 1)
}

/// The place in bytes.
fn offset(marker: &Marker, text: &str) -> usize {
    let counted = || text.char_indices().nth(marker.index()).map_or(text.len(), |(at, _)| at);
    marker.byte_offset().unwrap_or_else(counted).min(text.len())
}

fn misread(error: &ScanError, text: &str, file: usize) -> Fault {
    let at = offset(error.marker(), text);
    let start = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1);
    // What went before may be read on into the line that the tab is in.
    if let Some(tab) = tab_in_indent(text, start, 2) {
        let place = Place { file, at: tab..tab + 1 };
        return Fault::new("a tab indents this line", &place, "YAML is indented by spaces");
    }
    let end = text.get(at..).and_then(|rest| rest.chars().next()).map_or(at, |next| at + next.len_utf8());
    Fault::new(error.info(), &Place { file, at: at..end }, "the file is not YAML from here on")
}

/// The first tab in the indentation of these lines.
fn tab_in_indent(text: &str, start: usize, lines: usize) -> Option<usize> {
    let mut start = start;
    for line in text.get(start..)?.split_inclusive('\n').take(lines) {
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        if let Some(tab) = line.get(..indent).and_then(|indent| indent.find('\t')) {
            return Some(start + tab);
        }
        start += line.len();
    }
    None
}
