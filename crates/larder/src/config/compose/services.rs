//! Services of compose files as images: their tables, with what `[defaults]` says below and
//! `[service.NAME]` above them.
//!
//! What a compose file says comes as text with places, as larder.toml's own does; what it is
//! checked for is the same. Knows no YAML.

use std::ops::Range;

use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::expand::{self, Entry, filled, named_tables};
use crate::config::fault::{Fault, misread};
use crate::config::image::{Image, Source};
use crate::config::layers::{Layers, Table, merge};
use crate::config::reference::IMAGE;
use crate::config::table::ImageTable;
use toolkit::nearest::question;

/// What of an image `[service.NAME]` can say: what a compose file cannot.
pub(crate) const KEYS: [&str; 15] = [
    "base",
    "cache",
    "description",
    "engine",
    "engine-cache",
    "ignore",
    "inputs-env",
    "lock",
    "needs",
    "outputs",
    "packages",
    "refresh",
    "secrets",
    "timeout",
    "use-image-cache",
];

/// Where something stands in a compose file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Which of the texts.
    pub(crate) file: usize,
    /// Its bytes.
    pub(crate) at: Range<usize>,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Text(String),
    List(Vec<(Place, Said)>),
    Table(Vec<Line>),
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) key: Place,
    pub(crate) at: Place,
    pub(crate) said: Said,
}

/// A service that is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) at: Place,
    /// As `[image.NAME]` would say it.
    pub(crate) lines: Vec<Line>,
    /// Where the image's name for a key is.
    pub(crate) pin: String,
    /// Whether the engine's layer cache is left aside.
    pub(crate) no_cache: bool,
    /// What else a build is told.
    pub(crate) flags: Vec<(String, String)>,
    /// The files that a bake writes, which must not be its inputs; in full.
    pub(crate) writes: Vec<Utf8PathBuf>,
}

/// The services, and the texts that they were read from.
#[derive(Debug, Default)]
pub(crate) struct Services {
    /// Each with its name.
    pub(crate) texts: Vec<(String, String)>,
    pub(crate) services: Vec<Service>,
}

/// The tables `[service.NAME]`.
pub(crate) fn tables<'i>(file: &mut Table<'i>) -> Result<Vec<Entry<'i>>, Fault> {
    let tables = named_tables(file, "service")?;
    let entries = tables.into_iter().map(|(name, at, table)| checked(Entry::new(&name, at, table)));
    entries.collect()
}

/// Refuses what a service cannot say, and wrong values: whether compose files are read or not.
fn checked(entry: Entry<'_>) -> Result<Entry<'_>, Fault> {
    if let Some(key) = entry.table.keys().find(|key| !KEYS.contains(&key.get_ref().as_ref())) {
        let name = key.get_ref();
        if IMAGE.iter().any(|known| known.name == name.as_ref()) {
            let message = format!("`{name}` cannot be said of a service here");
            return Err(Fault::new(message, key.span(), "the compose file says it"));
        }
        let list: Vec<_> = KEYS.iter().map(|name| format!("`{name}`")).collect();
        let message = format!("unknown field `{name}`, expected one of {}", list.join(", "));
        let help = format!("{}`larder reference` lists the keys of each table", question(name, KEYS));
        return Err(Fault::new(message, key.span(), help));
    }
    let mut tried = Entry::new("service", entry.at.clone(), entry.table.clone());
    expand::settle(&mut tried, &|_| Some(String::new()))?;
    let read = ImageTable::deserialize(expand::as_value(tried.at, tried.table).into_deserializer());
    read.map_err(|error| misread(&error))?;
    Ok(entry)
}

/// The services as images: each above the defaults, and below what larder.toml says of it.
pub(crate) fn entries<'i>(
    services: &Services,
    layers: &Layers,
    defaults: &Table<'i>,
    mut own: Vec<Entry<'i>>,
) -> Result<Vec<Entry<'i>>, Fault> {
    if let Some(odd) = own.iter().find(|own| !services.services.iter().any(|one| one.name == own.name)) {
        let names: Vec<_> = services.services.iter().map(|one| one.name.as_str()).collect();
        let help = format!(
            "{}those that are built are {}",
            question(&odd.name, names.iter().copied()),
            names.join(", ")
        );
        return Err(Fault::new(
            format!("no service that is built is called `{}`", odd.name),
            odd.at.clone(),
            help,
        ));
    }
    let starts = layers.foreign_starts();
    let entry = |service: &Service| {
        let places = [("{image}".to_owned(), service.name.clone())];
        let mut table = filled(defaults.clone(), &places);
        // A service is for one platform.
        table.remove("platforms");
        merge(&mut table, table_of(&service.lines, &starts));
        if let Some(at) = own.iter().position(|own| own.name == service.name) {
            merge(&mut table, filled(own.swap_remove(at).table, &places));
        }
        Entry::new(&service.name, span(&service.at, &starts), table)
    };
    Ok(services.services.iter().map(entry).collect())
}

/// What of a service no table says.
pub(crate) fn complete(image: &mut Image, service: &Service) {
    // What looks like a variable was put in, or is meant as it stands.
    image.literals.clear();
    image.pin = Some(service.pin.clone());
    image.writes.clone_from(&service.writes);
    if let Source::Build(build) = &mut image.source {
        build.no_cache = service.no_cache;
        build.flags.clone_from(&service.flags);
    }
}

fn span(place: &Place, starts: &[usize]) -> Range<usize> {
    let start = starts.get(place.file).copied().unwrap_or_default();
    start + place.at.start..start + place.at.end
}

fn table_of<'i>(lines: &[Line], starts: &[usize]) -> DeTable<'i> {
    let line = |line: &Line| {
        let key = Spanned::new(span(&line.key, starts), line.name.clone().into());
        // Variables are put in already.
        let text = |text: &str| {
            let has_variables = expand::WITH_VARIABLES.contains(&line.name.as_str());
            if has_variables { text.replace("${", "$${") } else { text.to_owned() }
        };
        (key, value_of(&line.said, &line.at, starts, &text))
    };
    lines.iter().map(line).collect()
}

fn value_of<'i>(
    said: &Said,
    at: &Place,
    starts: &[usize],
    text: &dyn Fn(&str) -> String,
) -> Spanned<DeValue<'i>> {
    let value = match said {
        Said::Text(own) => DeValue::String(text(own).into()),
        Said::List(items) => {
            DeValue::Array(items.iter().map(|(at, said)| value_of(said, at, starts, text)).collect())
        }
        Said::Table(lines) => {
            let line = |line: &Line| {
                let key = Spanned::new(span(&line.key, starts), line.name.clone().into());
                (key, value_of(&line.said, &line.at, starts, text))
            };
            DeValue::Table(lines.iter().map(line).collect())
        }
    };
    Spanned::new(span(at, starts), value)
}
