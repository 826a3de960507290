//! What repomd.xml and primary.xml have in common: a list of files, each with its place below the
//! repository, its checksum and its size.

use std::io::BufRead;

use storekit::{Checksum, printable};

use super::xml::{self, Element, Handler, malformed};
use crate::ecosystem::BadIndex;
use crate::ecosystem::path::spelled_path;

/// A file in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Its `type`, printable.
    pub(super) kind: String,
    /// Its path below the repository's base, as [`spelled_path`] spells it.
    pub(super) path: Option<String>,
    /// Whether it lies at another base, which is not this repository's.
    pub(super) is_elsewhere: bool,
    /// What it hashes to. `None` also where an algorithm is named that counts for nothing here.
    pub(super) checksum: Option<Checksum>,
    /// How many bytes it has.
    pub(super) size: Option<u64>,
}

/// Which list a document is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// The name of its root.
    pub(super) root: &'static str,
    /// The name of the elements below it that are records.
    pub(super) record: &'static str,
    /// The attribute of `size` that counts; without one, its text does.
    pub(super) size: Option<&'static str>,
}

/// A checksum, a size and a type have no more bytes.
const LONGEST: usize = 256;

/// Hands all records of a document to `take`.
///
/// # Errors
/// [`BadIndex`], also from `take`.
pub(super) fn read(
    shape: Shape,
    document: &mut dyn BufRead,
    take: impl FnMut(Record) -> Result<(), BadIndex>,
) -> Result<(), BadIndex> {
    let mut list =
        List { shape, take, record: None, field: Field::None, seen: Vec::new(), text: String::new() };
    xml::read(document, &mut list)
}

/// The part of a record that is being read.
#[derive(Debug)]
enum Field {
    None,
    /// With its algorithm.
    Checksum(String),
    Size,
}

struct List<F> {
    shape: Shape,
    take: F,
    record: Option<Record>,
    field: Field,
    /// The parts that the record has had.
    seen: Vec<&'static str>,
    text: String,
}

const PARTS: [&str; 3] = ["checksum", "location", "size"];

impl<F: FnMut(Record) -> Result<(), BadIndex>> Handler for List<F> {
    fn open(&mut self, depth: usize, element: &Element<'_>) -> Result<(), BadIndex> {
        match depth {
            1 if element.name() != self.shape.root => {
                Err(malformed(&format!("its root is not an element `{}`", self.shape.root)))
            }
            2 if element.name() == self.shape.record => {
                let [kind] = element.values(["type"])?;
                let kind = kind.filter(|kind| kind.len() <= LONGEST).unwrap_or_default();
                self.record = Some(Record { kind: printable(&kind).into_owned(), ..Record::default() });
                self.seen.clear();
                Ok(())
            }
            3 => self.part(element),
            _ => Ok(()),
        }
    }

    fn text(&mut self, depth: usize, text: &str) -> Result<(), BadIndex> {
        if depth == 3 && !matches!(self.field, Field::None) {
            self.text.push_str(text);
            if self.text.len() > LONGEST {
                return Err(BadIndex::TooLarge("one of its checksums or sizes is too long"));
            }
        }
        Ok(())
    }

    fn close(&mut self, depth: usize) -> Result<(), BadIndex> {
        match depth {
            2 => self.record.take().map_or(Ok(()), |record| (self.take)(record)),
            3 => self.end_part(),
            _ => Ok(()),
        }
    }
}

impl<F> List<F> {
    fn part(&mut self, element: &Element<'_>) -> Result<(), BadIndex> {
        let Some(record) = &mut self.record else { return Ok(()) };
        let Some(part) = PARTS.into_iter().find(|part| *part == element.name()) else { return Ok(()) };
        if self.seen.contains(&part) {
            return Err(malformed(&format!("a `{}` has two elements `{part}`", self.shape.record)));
        }
        self.seen.push(part);
        self.text.clear();
        match part {
            "checksum" => {
                let [algorithm] = element.values(["type"])?;
                self.field = Field::Checksum(algorithm.unwrap_or_default());
            }
            "size" => match self.shape.size {
                None => self.field = Field::Size,
                Some(name) => {
                    let [size] = element.values([name])?;
                    record.size = size.as_deref().map(number).transpose()?;
                }
            },
            _ => {
                let [href, base] = element.values(["href", "xml:base"])?;
                let href = href.unwrap_or_default();
                let path = spelled_path(&href).ok_or_else(|| not_below(&href))?;
                record.is_elsewhere = base.is_some_and(|base| !base.is_empty());
                record.path = Some(path);
            }
        }
        Ok(())
    }

    fn end_part(&mut self) -> Result<(), BadIndex> {
        let field = std::mem::replace(&mut self.field, Field::None);
        let Some(record) = &mut self.record else { return Ok(()) };
        let text = self.text.trim();
        match field {
            Field::None => {}
            Field::Size => record.size = Some(number(text)?),
            Field::Checksum(algorithm) => record.checksum = checksum(&algorithm, text)?,
        }
        Ok(())
    }
}

/// A checksum; `None` where the algorithm is not one that vouches for anything here.
fn checksum(algorithm: &str, hex: &str) -> Result<Option<Checksum>, BadIndex> {
    let algorithm = match algorithm {
        // So it was called once.
        "sha" | "sha1" => "sha1",
        "sha256" => "sha256",
        "sha512" => "sha512",
        _ => return Ok(None),
    };
    let found = Checksum::from_hex(algorithm, hex);
    found.map(Some).ok_or_else(|| malformed(&format!("`{}` is not a {algorithm} checksum", shown(hex))))
}

fn number(text: &str) -> Result<u64, BadIndex> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.ok_or_else(|| malformed(&format!("`{}` is not a size", shown(text))))
}

fn not_below(path: &str) -> BadIndex {
    malformed(&format!("`{}` is not a path below it", shown(path)))
}

/// Text of an index for a message: its beginning, printable.
fn shown(text: &str) -> String {
    const MOST: usize = 80;
    let beginning: String = text.chars().take(MOST).collect();
    printable(&beginning).into_owned()
}
