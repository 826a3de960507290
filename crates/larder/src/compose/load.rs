//! Reads compose files into one document: variables put in, other files included, services
//! extended, each file above those before it.
//!
//! Limits: 200 files of 32 MiB together, 200 that are included, a million parts in all.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use storekit::files::replace::read_capped;

use super::interpolate::{Interpolation, Unfit};
use super::merge::merged;
use super::paths::{Base, seen_from};
use super::source::{ComposeError, Fault, MisreadVariables, OneLine, Place, Sources};
use super::yaml::{self, Map, Node, Value};
use super::{env_file, known};

/// The variables that texts may have.
pub(super) type Variables = BTreeMap<String, String>;

/// How many files a project may have, and how often files may be included.
const FILES: usize = 200;

/// How many bytes all files may have together.
const ALL: usize = 32 << 20;

/// How many parts all files may have, with all that they take from one another.
const PARTS: usize = 1_000_000;

/// How many bytes the texts of one file may have with their variables put in.
const BYTES: usize = 16 << 20;

/// What counts in the place of a file's bytes.
pub(super) type Originals<'a> = &'a dyn Fn(&Utf8Path, &[u8]) -> Option<Vec<u8>>;

/// Reads compose files.
pub(super) struct Loader<'a> {
    pub(super) sources: Sources,
    /// The variables that are not set and for which nothing is given.
    pub(super) unset: BTreeSet<String>,
    /// The fields that compose does not know.
    pub(super) unknown: BTreeSet<String>,
    /// Which services each text says something of, the lowest first.
    pub(super) said_in: Vec<(usize, String)>,
    /// The folder that paths are shown from.
    shown_from: &'a Utf8Path,
    home: Option<&'a str>,
    originals: Originals<'a>,
    /// The documents of the files that were read, as they are written.
    known: BTreeMap<Utf8PathBuf, Vec<Node>>,
    included: usize,
    parts: usize,
    bytes: usize,
}

/// In what a file is read.
pub(super) struct Scope<'s> {
    pub(super) path: &'s Utf8Path,
    /// The folder that its paths are relative to.
    pub(super) folder: &'s Utf8Path,
    pub(super) variables: &'s Variables,
}

impl<'a> Loader<'a> {
    pub(super) fn new(shown_from: &'a Utf8Path, home: Option<&'a str>, originals: Originals<'a>) -> Self {
        Self {
            sources: Sources::default(),
            unset: BTreeSet::new(),
            unknown: BTreeSet::new(),
            said_in: Vec::new(),
            shown_from,
            home,
            originals,
            known: BTreeMap::new(),
            included: 0,
            parts: 0,
            bytes: 0,
        }
    }

    pub(super) fn base<'b>(&'b self, folder: &'b Utf8Path) -> Base<'b> {
        Base { folder, home: self.home }
    }

    pub(super) fn explained(&self, fault: Fault) -> ComposeError {
        self.sources.explain(fault)
    }

    /// What the files say together, with paths relative to `folder`. `within`: the files that
    /// include them.
    ///
    /// # Errors
    /// A file that is not there or says something wrong.
    pub(super) fn together(
        &mut self,
        paths: &[Utf8PathBuf],
        folder: &Utf8Path,
        variables: &Variables,
        within: &mut Vec<Utf8PathBuf>,
    ) -> Result<Node, ComposeError> {
        let mut sum = Node::new(Value::Map(Map::default()), Place::default());
        for path in paths {
            for document in self.documents(path, variables)? {
                let scope = Scope { path, folder, variables };
                self.unknown.extend(document.as_map().map(known::unknown).unwrap_or_default());
                let services = document.get("services").and_then(Node::as_map);
                let said: Vec<_> = services
                    .into_iter()
                    .flat_map(Map::names)
                    .map(|name| (document.at.file, name.to_owned()))
                    .collect();
                within.push(path.clone());
                let document = self.with_included(document, &scope, within)?;
                within.pop();
                self.said_in.extend(said);
                let below = sum.get("services").and_then(Node::as_map);
                let document = self.with_extended(document, &scope, below)?;
                sum = merged(sum, document, &mut Vec::new());
            }
        }
        self.base(folder).settle_file(&mut sum);
        Ok(sum)
    }

    /// The documents of one file, with variables put in.
    pub(super) fn documents(
        &mut self,
        path: &Utf8Path,
        variables: &Variables,
    ) -> Result<Vec<Node>, ComposeError> {
        let mut documents = self.raw(path)?;
        documents.iter_mut().try_for_each(|document| self.interpolate(document, variables))?;
        Ok(documents)
    }

    /// The documents of one file, as they are written.
    pub(super) fn raw(&mut self, path: &Utf8Path) -> Result<Vec<Node>, ComposeError> {
        let documents = match self.known.get(path) {
            Some(known) => known.clone(),
            None => self.read(path)?,
        };
        documents.iter().try_for_each(|document| self.count(document))?;
        Ok(documents)
    }

    fn read(&mut self, path: &Utf8Path) -> Result<Vec<Node>, ComposeError> {
        let help = "name a compose file: `larder bake --compose FILE`, COMPOSE_FILE, or `[compose] files` in larder.toml";
        let text = self.text(path, help)?;
        self.bytes += text.len();
        let shown = seen_from(self.shown_from, path);
        let file = self.sources.add(shown.as_str(), path, text);
        let start = Place { file, at: 0..0 };
        if self.known.len() >= FILES || self.bytes > ALL {
            let message = format!("more than {FILES} files are read, or more than 32 MiB");
            return Err(self.explained(Fault::new(message, &start, "leave some out")));
        }
        let text = self.sources.get(file).map_or("", |source| source.text.as_str());
        let documents = yaml::read(text, file).map_err(|fault| self.explained(fault))?;
        let help = "write `services:`, and each service below it";
        if documents.is_empty() {
            return Err(self.explained(Fault::new("the file has nothing in it", &start, help)));
        }
        if let Some(odd) = documents.iter().find(|document| document.as_map().is_none()) {
            let message = format!("a compose file is a mapping, and this is {}", odd.kind());
            return Err(self.explained(Fault::new(message, &odd.at, help)));
        }
        self.known.insert(path.to_owned(), documents.clone());
        Ok(documents)
    }

    /// Counts a file that another one includes: files that include each other may multiply.
    pub(super) fn count_included(&mut self, at: &Place) -> Result<(), ComposeError> {
        self.included += 1;
        if self.included <= FILES {
            return Ok(());
        }
        let message = format!("more than {FILES} files are included");
        Err(self.explained(Fault::new(message, at, "do they include one another?")))
    }

    /// Refuses a file that another one names, where it is not there.
    pub(super) fn must_be_there(&self, path: &Utf8Path, at: &Place) -> Result<(), ComposeError> {
        if path.is_file() {
            return Ok(());
        }
        let message = format!("there is no file `{}`", seen_from(self.shown_from, path));
        let help = "such paths are relative to the project's folder, or to that of the file that was included or extended";
        Err(self.explained(Fault::new(message, at, help)))
    }

    /// Counts what is taken from elsewhere: what takes from one another may multiply.
    pub(super) fn count(&mut self, node: &Node) -> Result<(), ComposeError> {
        self.parts += node.size();
        if self.parts <= PARTS {
            return Ok(());
        }
        let message = format!("the files have more than {PARTS} parts together");
        Err(self.explained(Fault::new(
            message,
            &node.at,
            "services that extend one another multiply: leave some out",
        )))
    }

    fn text(&self, path: &Utf8Path, help: &'static str) -> Result<String, ComposeError> {
        let shown = seen_from(self.shown_from, path);
        let bytes = read_capped(path, yaml::LARGEST)?;
        let bytes = bytes.ok_or_else(|| ComposeError::NoFile { path: shown.clone(), help })?;
        let bytes = (self.originals)(path, &bytes).unwrap_or(bytes);
        yaml::text_of(bytes, &shown)
    }

    /// Reads files of variables, of which the last one counts: what is set already goes before
    /// them.
    ///
    /// # Errors
    /// A file that is not there or says something wrong. It may have secrets, so nothing of it is
    /// shown but the place, and the variable's name, with the rest of the line masked.
    pub(super) fn variables(
        &mut self,
        paths: &[Utf8PathBuf],
        set: &mut Variables,
    ) -> Result<(), ComposeError> {
        let mut own = Variables::new();
        for path in paths {
            let text = self.text(path, "name a file of variables, with a line `NAME=value` for each")?;
            let read = env_file::read(&text, &|name| set.get(name).cloned(), &mut own);
            read.map_err(|fault| {
                let (line, column) = fault.place(&text);
                let (masked, at) = fault.excerpt(&text);
                let env_file::EnvFault { message, help, .. } = fault;
                let path = seen_from(self.shown_from, path);
                let excerpt = OneLine { file: path.to_string(), number: line, text: masked };
                Box::new(MisreadVariables { path, line, column, message, excerpt, at: at.into(), help })
            })?;
        }
        for (name, value) in own {
            set.entry(name).or_insert(value);
        }
        Ok(())
    }

    /// Puts variables into all texts.
    pub(super) fn interpolate(
        &mut self,
        document: &mut Node,
        variables: &Variables,
    ) -> Result<(), ComposeError> {
        let lookup = |name: &str| variables.get(name).cloned();
        let mut interpolation = Interpolation::new(&lookup, BYTES);
        let result = put_in(document, &mut interpolation);
        self.unset.append(&mut interpolation.unset.into_iter().collect());
        result.map_err(|fault| self.explained(fault))
    }
}

/// Puts variables into all texts.
fn put_in(node: &mut Node, interpolation: &mut Interpolation<'_>) -> Result<(), Fault> {
    match &mut node.value {
        Value::Text(text) if text.contains('$') => {
            let new = interpolation.apply(text);
            *text = new.map_err(|unfit: Unfit| Fault::new(unfit.to_string(), &node.at, unfit.help()))?;
            Ok(())
        }
        Value::List(items) => items.iter_mut().try_for_each(|item| put_in(item, interpolation)),
        Value::Map(map) => map.values_mut().try_for_each(|value| put_in(value, interpolation)),
        _ => Ok(()),
    }
}
