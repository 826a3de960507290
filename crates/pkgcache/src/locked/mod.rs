//! What lock files name: packages, with the checksums that their bytes have to have.
//!
//! Pure: text in, [`Locked`] out. All that comes in is hostile. Each form of file has a reader of
//! its own; what a reader cannot use (a path, a git repository) it tells in [`Listed::left_out`].
//!
//! Deliberately absent: which of the files a machine needs, and where they are asked for (`warm`).

mod cargo;
mod debs;
mod form;
pub(crate) mod go;
mod images;
mod npm;
mod pnpm;
mod python;
mod requirements;
mod sbom;
#[cfg(test)]
mod tests;
mod yaml;
mod yarn;

use storekit::{Checksum, printable};
use thiserror::Error;

pub use self::form::Form;
use crate::ecosystem::Ecosystem;

/// No list is larger: 64 MiB.
pub const LARGEST: u64 = 64 << 20;

/// A package that a file names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locked {
    /// The kind of client that asks for it.
    pub ecosystem: Ecosystem,
    /// The URL of the index that the file says it comes from.
    pub index: Option<String>,
    /// Its name; of an image the reference.
    pub name: String,
    /// Its version; empty where any will do.
    pub version: String,
    /// Its files, where the file tells them. One of them is enough where they are for different
    /// machines.
    pub files: Vec<File>,
    /// Which machines it is for; all where nothing is said.
    pub machines: Machines,
}

/// A file of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// Its name, where it is told.
    pub name: Option<String>,
    /// Its URL, where it is told.
    pub url: Option<String>,
    /// What its bytes have to be.
    pub checksum: Option<Checksum>,
    /// The sum of what it has in it, where that is told in its place: Go's `h1:`.
    pub sum: Option<[u8; 32]>,
}

/// Which machines a package is for, in npm's words: `linux`, `!win32`; `x64`; `glibc`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machines {
    /// Systems.
    pub os: Vec<String>,
    /// Processors.
    pub cpu: Vec<String>,
    /// C libraries.
    pub libc: Vec<String>,
}

/// What a file names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The packages.
    pub packages: Vec<Locked>,
    /// What does not come from an index, and why.
    pub left_out: Vec<LeftOut>,
    /// Other files that it takes in, as it names them: `-r more.txt`.
    pub includes: Vec<String>,
}

/// Something that does not come from an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// What it is.
    pub what: String,
    /// Why it is left out.
    pub why: &'static str,
}

/// A file that cannot be read as what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}{}", .line.map(|line| format!(" (line {line})")).unwrap_or_default())]
pub struct NotALock {
    /// Why.
    pub reason: String,
    /// The line, from 1, where it is known.
    pub line: Option<usize>,
}

impl NotALock {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), line: None }
    }

    fn at(line: usize, reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), line: Some(line) }
    }

    fn toml(error: &toml::de::Error, text: &str) -> Self {
        let line =
            error.span().and_then(|span| text.get(..span.start)).map(|it| it.matches('\n').count() + 1);
        Self { reason: error.message().trim().to_owned(), line }
    }

    fn json(error: &serde_json::Error) -> Self {
        let text = error.to_string();
        // It says the line itself.
        let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason).to_owned();
        Self { reason, line: Some(error.line()).filter(|line| *line > 0) }
    }
}

impl Listed {
    /// What a file of this form names.
    ///
    /// # Errors
    /// A file that is not of this form.
    pub fn read(form: Form, text: &str) -> Result<Self, NotALock> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match form {
            Form::Cargo => cargo::read(text),
            Form::Npm => npm::read(text),
            Form::Pnpm => pnpm::read(text),
            Form::Yarn => yarn::read(text),
            Form::Requirements => Ok(requirements::read(text)),
            Form::Uv => python::uv(text),
            Form::Pylock => python::pylock(text),
            Form::Poetry => python::poetry(text),
            Form::Images => images::read(text),
            Form::Debs => debs::read(text),
            Form::Sbom => sbom::read(text),
            Form::Go => go::read(text),
        }
    }

    fn leave_out(&mut self, what: impl Into<String>, why: &'static str) {
        self.left_out.push(LeftOut { what: what.into(), why });
    }
}

impl Locked {
    /// What people are told of it: `name 1.2.3`.
    #[must_use]
    pub fn label(&self) -> String {
        let (name, version) = (printable(&self.name), printable(&self.version));
        if self.version.is_empty() { name.to_string() } else { format!("{name} {version}") }
    }
}

/// What is said of a package whose source is a git repository.
const GIT: &str = "comes from a git repository";
/// Of one in a folder.
const FOLDER: &str = "is a folder of the project's";
/// Of one whose file has an address of its own.
const ADDRESS: &str = "comes from an address of its own, and not from an index";
