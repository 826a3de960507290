//! An XML document as a stream of elements, and not more of it than any index has.
//!
//! Deliberately absent: document types and what they declare. A document with one is refused, so
//! that no text stands for a longer one.

use std::io::{self, BufRead, ErrorKind, Read};

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;
use storekit::printable;

use crate::ecosystem::BadIndex;

/// No tag and no text between two tags is longer: 1 MiB.
const LONGEST: u64 = 1 << 20;
/// Elements are not nested deeper. Real ones have five levels.
const DEEPEST: usize = 16;
/// An element that is looked at has no more attributes.
const MOST_ATTRIBUTES: usize = 32;

/// What is done with a document's parts. The root has depth 1.
pub(super) trait Handler {
    /// An element begins.
    ///
    /// # Errors
    /// [`BadIndex`] ends the reading.
    fn open(&mut self, depth: usize, element: &Element<'_>) -> Result<(), BadIndex>;

    /// Text in an element of this depth; it may come in several pieces.
    ///
    /// # Errors
    /// [`BadIndex`] ends the reading.
    fn text(&mut self, depth: usize, text: &str) -> Result<(), BadIndex>;

    /// An element of this depth ends.
    ///
    /// # Errors
    /// [`BadIndex`] ends the reading.
    fn close(&mut self, depth: usize) -> Result<(), BadIndex>;
}

/// An element that begins.
pub(super) struct Element<'a>(&'a BytesStart<'a>);

impl Element<'_> {
    /// Its name, with its prefix.
    pub(super) fn name(&self) -> &str {
        self.0.name().into_inner()
    }

    /// The values of these attributes.
    ///
    /// # Errors
    /// [`BadIndex`]: attributes that are not valid, twice the same, or too many.
    pub(super) fn values<const N: usize>(&self, names: [&str; N]) -> Result<[Option<String>; N], BadIndex> {
        let mut values = [const { None }; N];
        for (count, attribute) in self.0.attributes().enumerate() {
            if count == MOST_ATTRIBUTES {
                return Err(BadIndex::TooLarge("an element has too many attributes"));
            }
            let attribute = attribute.map_err(|error| malformed(&error.to_string()))?;
            let name = attribute.key.into_inner();
            let wanted = names.iter().zip(&mut values).find(|(wanted, _)| **wanted == name);
            if let Some((_, value)) = wanted {
                let text = attribute.normalized_value(XmlVersion::Implicit1_0);
                *value = Some(text.map_err(|error| malformed(&error.to_string()))?.into_owned());
            }
        }
        Ok(values)
    }
}

/// Reads a document.
///
/// # Errors
/// [`BadIndex`]: it is not well-formed, larger or deeper than any index, or not for the handler.
pub(super) fn read(document: &mut dyn BufRead, handler: &mut impl Handler) -> Result<(), BadIndex> {
    let mut reader = Reader::from_reader(Limited { inner: document, left: LONGEST });
    let mut buffer = Vec::new();
    let (mut depth, mut roots) = (0, 0);
    loop {
        buffer.clear();
        reader.get_mut().left = LONGEST;
        match reader.read_event_into(&mut buffer).map_err(|error| broken(&error))? {
            Event::Start(start) => {
                depth += 1;
                roots += usize::from(depth == 1);
                if depth > DEEPEST {
                    return Err(BadIndex::TooLarge("its elements are nested too deep"));
                }
                handler.open(depth, &Element(&start))?;
            }
            Event::Empty(start) => {
                roots += usize::from(depth == 0);
                handler.open(depth + 1, &Element(&start))?;
                handler.close(depth + 1)?;
            }
            Event::End(_) => {
                handler.close(depth)?;
                depth = depth.saturating_sub(1);
            }
            Event::Text(text) => within(depth, &text)?.map_or(Ok(()), |text| handler.text(depth, text))?,
            Event::CData(text) => within(depth, &text)?.map_or(Ok(()), |text| handler.text(depth, text))?,
            Event::GeneralRef(name) => handler.text(depth, &character(&name)?)?,
            Event::DocType(_) => return Err(malformed("it declares a document type")),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => break,
        }
        if roots > 1 {
            return Err(malformed("it has more than one root"));
        }
    }
    match (roots, depth) {
        (1, 0) => Ok(()),
        (0, _) => Err(malformed("it has no element")),
        _ => Err(malformed("it ends in the middle of an element")),
    }
}

/// Text in an element; outside of the root only blanks are.
fn within(depth: usize, text: &str) -> Result<Option<&str>, BadIndex> {
    match depth {
        0 if text.trim().is_empty() => Ok(None),
        0 => Err(malformed("text stands outside of its root")),
        _ => Ok(Some(text)),
    }
}

/// What `&name;` stands for: one of the five that XML has, or a character by its number.
fn character(name: &quick_xml::events::BytesRef<'_>) -> Result<String, BadIndex> {
    let named = quick_xml::escape::resolve_xml_entity(name).map(str::to_owned);
    let numbered = || name.resolve_char_ref().ok().flatten().map(String::from);
    named.or_else(numbered).ok_or_else(|| {
        let name: String = name.chars().take(40).collect();
        malformed(&format!("`&{};` is not known", printable(&name)))
    })
}

pub(super) fn malformed(text: &str) -> BadIndex {
    BadIndex::Malformed(text.to_owned())
}

fn broken(error: &quick_xml::Error) -> BadIndex {
    match error {
        quick_xml::Error::Io(error) if error.kind() == ErrorKind::ArgumentListTooLong => {
            BadIndex::TooLarge("one of its tags or texts is longer than 1 MiB")
        }
        quick_xml::Error::Io(error) => crate::ecosystem::packing::broken(error),
        error => malformed(&printable(&error.to_string())),
    }
}

/// Ends in an error where more is taken than was allowed.
struct Limited<'a> {
    inner: &'a mut dyn BufRead,
    left: u64,
}

impl BufRead for Limited<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Err(ErrorKind::ArgumentListTooLong.into());
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let buffer = self.inner.fill_buf()?;
        Ok(buffer.get(..most).unwrap_or(buffer))
    }

    fn consume(&mut self, count: usize) {
        self.left = self.left.saturating_sub(count as u64);
        self.inner.consume(count);
    }
}

impl Read for Limited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut found = self.fill_buf()?;
        let count = found.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}
