//! The texts that settings come from, one above the other: larder.toml, larder.local.toml, and what
//! the command line sets.
//!
//! They are read as if they stood behind one another in one long text, so that a place in it also
//! says in which text it is.

use std::ops::Range;

use camino::Utf8Path;
use miette::NamedSource;
use storekit::files::replace::read_capped;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toolkit::settings::local_file;

use super::fault::{ConfigError, Fault, Invalid, misread};

/// A table with the place of each of its parts.
pub(super) type Table<'i> = DeTable<'i>;

/// No larder.toml is larger: 16 MiB.
const LARGEST: u64 = 16 << 20;

/// The texts, the lowest first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Layers(Vec<Layer>);

#[derive(Debug, PartialEq, Eq)]
struct Layer {
    name: String,
    /// Blanks for all the texts below, then the own one; of another kind of file the own one alone.
    long: String,
    /// Where the own one begins in it.
    own: usize,
    /// Where the own one begins among all.
    start: usize,
    /// Of which images and disks it is the table; the whole file's without.
    of: Option<String>,
    /// Whether it is another kind of file: only to show what is wrong in it.
    is_foreign: bool,
}

impl Layers {
    /// The files that count where larder.toml is `path`: itself, and beside it its `.local`, which
    /// need not be there.
    pub(super) fn read(path: &Utf8Path) -> Result<Self, ConfigError> {
        let mut layers = Self::default();
        let missing = || ConfigError::NoFile { path: path.to_owned() };
        layers.add(path.as_str(), &text_of(path)?.ok_or_else(missing)?);
        let local = local_file(path);
        if let Some(text) = text_of(&local)? {
            layers.add(local.as_str(), &text);
        }
        Ok(layers)
    }

    /// Puts a text above all others.
    pub(super) fn add(&mut self, name: &str, text: &str) {
        self.push(name, text, None);
    }

    /// Puts a text above all others that is the table of the images and disks of these names: a
    /// name, or a pattern of names.
    pub(super) fn add_for(&mut self, names: &str, shown: &str, text: &str) {
        self.push(shown, text, Some(names.to_owned()));
    }

    /// Adds the text of another kind of file, for the places of what was read from it.
    pub(super) fn add_foreign(&mut self, name: &str, text: &str) {
        let start = self.end();
        let (name, long) = (name.to_owned(), text.to_owned());
        self.0.push(Layer { name, long, own: 0, start, of: None, is_foreign: true });
    }

    /// Where the texts of other kinds of files begin, in the order in which they were added.
    pub(super) fn foreign_starts(&self) -> Vec<usize> {
        self.0.iter().filter(|layer| layer.is_foreign).map(|layer| layer.start).collect()
    }

    fn push(&mut self, name: &str, text: &str, of: Option<String>) {
        let start = self.end();
        let long = format!("{}{text}", " ".repeat(start));
        self.0.push(Layer { name: name.to_owned(), long, own: start, start, of, is_foreign: false });
    }

    fn end(&self) -> usize {
        self.0.last().map_or(0, |last| last.start + last.long.len() - last.own + 1)
    }

    /// What all files say: tables together, key by key; of anything else the uppermost word.
    pub(super) fn merged(&self) -> Result<Table<'_>, Fault> {
        let mut sum = Table::new();
        for layer in self.0.iter().filter(|layer| layer.of.is_none() && !layer.is_foreign) {
            merge(&mut sum, layer.table()?);
        }
        Ok(sum)
    }

    /// What is set of single images and disks, each with its names, the lowest first.
    pub(super) fn of_images(&self) -> Result<Vec<(&str, Table<'_>)>, Fault> {
        let named = self.0.iter().filter_map(|layer| Some((layer.of.as_deref()?, layer)));
        named.map(|(names, layer)| Ok((names, layer.table()?))).collect()
    }

    /// The error as people see it: with the text that it is in.
    pub(crate) fn explain(&self, what: &'static str, fault: Fault) -> ConfigError {
        let Fault { message, at, beside, help } = fault;
        let layer = self.layer_at(at.as_ref().map_or(0, |at| at.start));
        let (name, text, start) = layer.map_or(("", "", 0), |layer| {
            (layer.name.as_str(), layer.long.get(layer.own..).unwrap_or_default(), layer.start)
        });
        let within = |place: usize| place.saturating_sub(start);
        let span = |at: Range<usize>| (within(at.start)..within(at.end)).into();
        // In another text it cannot be marked.
        let is_here = |at: &Range<usize>| self.layer_at(at.start).map(|other| other.start) == Some(start);
        ConfigError::Invalid(Box::new(Invalid {
            what,
            message,
            at: at.map(span),
            beside: beside.filter(is_here).map(span),
            help,
            text: NamedSource::new(name, text.to_owned()),
            name: name.to_owned(),
        }))
    }

    /// The text that the place is in.
    fn layer_at(&self, place: usize) -> Option<&Layer> {
        self.0.iter().rfind(|layer| layer.start <= place)
    }
}

/// What a file says; `None` where there is none.
fn text_of(path: &Utf8Path) -> Result<Option<String>, ConfigError> {
    let Some(bytes) = read_capped(path, LARGEST)? else { return Ok(None) };
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|error| {
        let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        ConfigError::NotText { path: path.to_owned(), line }
    })
}

impl Layer {
    fn table(&self) -> Result<Table<'_>, Fault> {
        DeTable::parse(&self.long).map(Spanned::into_inner).map_err(|error| misread(&error))
    }
}

/// Puts one table above another.
pub(super) fn merge<'i>(under: &mut Table<'i>, over: Table<'i>) {
    for (key, value) in over {
        let name = key.get_ref().clone();
        let below = under.get_mut(name.as_ref()).map(Spanned::get_mut);
        let at = value.span();
        match (below, value.into_inner()) {
            // A secret comes from one place: one that is said anew is said as a whole.
            (Some(DeValue::Table(below)), DeValue::Table(above)) if name == "secrets" => {
                for (id, secret) in above {
                    below.remove(id.get_ref().as_ref());
                    below.insert(id, secret);
                }
            }
            (Some(DeValue::Table(below)), DeValue::Table(above)) => merge(below, above),
            (_, value) => {
                under.remove(name.as_ref());
                under.insert(key, Spanned::new(at, value));
            }
        }
    }
}
