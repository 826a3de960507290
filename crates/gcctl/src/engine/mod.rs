//! What an engine keeps of images, containers and builds, and what of it may go: the store of
//! docker or podman, as their commands tell it. Never a volume.
//!
//! - [`Engine`]: which engine, and its command. `docker`, `podman`: what each tells. [`Item`]: one
//!   thing that it keeps.
//! - [`rules`]: what may go, as options and settings say. [`plan`]: what would go, and why.
//!   [`mod@file`]: a plan as a file. [`apply`]: removes what a
//!   plan names and is still as it was. [`command`]: what the commands print.
//!
//! No engine notes when an image was last used: its age is that of the image, or in docker of its
//! last name. One that is dated to no real time is of no age, and stays.

pub mod apply;
pub mod command;
mod docker;
pub mod file;
pub mod plan;
mod podman;
pub mod rules;
mod size;

use std::io;
use std::process::{Command, Output, Stdio};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
pub use toolkit::Engine as Kind;

use crate::error::{Error, Result};

/// A container engine, behind its command.
#[derive(Clone, Debug)]
pub struct Engine {
    /// Which one.
    pub kind: Kind,
    program: String,
}

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// A container that does not run.
    Container,
    /// An image, with or without a name.
    Image,
    /// A step that a builder keeps.
    Build,
}

impl What {
    /// The word for one.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Build => "build step",
        }
    }
}

/// One thing that an engine keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub what: What,
    /// The engine's ID of it.
    pub id: String,
    /// Its names, sorted; of a build step what it does.
    pub names: Vec<String>,
    /// In bytes, what goes with it alone, as far as the engine says: docker rounds it to four
    /// digits.
    pub own: u64,
    /// When it was last used, where the engine says; else when it was made.
    pub since: Option<Timestamp>,
    /// Whether something needs it: a container an image, a build a step, somebody a container that
    /// runs.
    pub in_use: bool,
}

impl Item {
    /// Whether it is an image without a name.
    #[must_use]
    pub fn is_dangling(&self) -> bool {
        self.what == What::Image && self.names.is_empty()
    }

    /// As it is called: by its first name, else by its ID.
    #[must_use]
    pub fn called(&self) -> String {
        match self.names.first() {
            Some(name) if self.what != What::Build => name.clone(),
            _ => self.short().to_owned(),
        }
    }

    /// The beginning of its ID.
    #[must_use]
    pub fn short(&self) -> &str {
        let hex = self.id.strip_prefix("sha256:").unwrap_or(&self.id);
        hex.get(..12).unwrap_or(hex)
    }
}

impl Engine {
    /// An engine behind this command.
    #[must_use]
    pub fn new(kind: Kind, program: String) -> Self {
        Self { kind, program }
    }

    /// All that it keeps, in no order.
    ///
    /// # Errors
    /// No engine; one that does not answer, or not in a way that is understood.
    pub fn items(&self) -> Result<Vec<Item>> {
        match self.kind {
            Kind::Docker => docker::items(self),
            Kind::Podman => podman::items(self),
        }
    }

    /// Which of its kind it is, as it calls itself: the daemon's ID, or the folder of its store.
    ///
    /// # Errors
    /// No engine; one that does not answer.
    pub fn place(&self) -> Result<String> {
        let format = match self.kind {
            Kind::Docker => "{{.ID}}",
            Kind::Podman => "{{.Store.GraphRoot}}",
        };
        Ok(self.ask(&["info", "--format", format])?.trim().to_owned())
    }

    /// Removes an item: an image by its names alone, a container without its volumes.
    ///
    /// # Errors
    /// An engine that refuses.
    pub fn remove(&self, item: &Item) -> Result<()> {
        let id = item.id.as_str();
        let filter = format!("id={id}");
        let names: Vec<&str> = item.names.iter().map(String::as_str).collect();
        let arguments = match item.what {
            What::Container => vec!["rm", id],
            What::Image if names.is_empty() => vec!["rmi", "--no-prune", id],
            What::Image => [&["rmi", "--no-prune"], names.as_slice()].concat(),
            What::Build => vec!["builder", "prune", "--all", "--force", "--filter", &filter],
        };
        // Podman has neither the flag nor images that would go along.
        let is_known = |word: &&str| self.kind == Kind::Docker || *word != "--no-prune";
        self.ask(&arguments.into_iter().filter(is_known).collect::<Vec<_>>()).map(drop)
    }

    /// What the engine's command prints.
    fn ask(&self, arguments: &[&str]) -> Result<String> {
        let command = || format!("{} {}", self.program, arguments.join(" "));
        let output = self.output(arguments)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let said = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        let said = said.chars().filter(|c| !c.is_control()).take(500).collect();
        Err(Error::Engine { command: command(), status: output.status.to_string(), said })
    }

    /// The same, also where it fails for some of what it was asked about.
    fn told(&self, arguments: &[&str]) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.output(arguments)?.stdout).into_owned())
    }

    fn output(&self, arguments: &[&str]) -> Result<Output> {
        let output = Command::new(&self.program).args(arguments).stdin(Stdio::null()).output();
        output.map_err(|source| self.not_there(source))
    }

    fn not_there(&self, source: io::Error) -> Error {
        let (engine, variable) = (self.kind.name(), self.kind.variable());
        Error::NoEngine { program: self.program.clone(), engine, variable, source }
    }

    fn unclear(&self, reason: &impl ToString) -> Error {
        Error::EngineUnclear { engine: self.kind.name(), reason: reason.to_string() }
    }
}
