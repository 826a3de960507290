//! Reading the file, and all that may be wrong with it.

use std::io;
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::civil::Date;
use miette::{Diagnostic, NamedSource, SourceSpan};
use serde::Deserialize;
use thiserror::Error;
use toml::Spanned;
use toolkit::Engine;

use super::file::{By, FILE, LockFile, Locked, VERSION};
use crate::config::names::{self, is_digest};

/// Why larder.lock cannot be used.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum LockError {
    #[error("cannot read {path}")]
    #[diagnostic(code(larder::lock_unreadable), help("check that the file can be read by this user"))]
    Read { path: Utf8PathBuf, source: io::Error },

    #[error(transparent)]
    #[diagnostic(transparent)]
    Invalid(#[from] Box<Invalid>),
}

/// A larder.lock that says something that larder does not know.
#[derive(Debug, Error, Diagnostic)]
#[error("{path}:{line}: {message}")]
#[diagnostic(code(larder::lock))]
pub struct Invalid {
    path: Utf8PathBuf,
    line: usize,
    message: String,
    #[source_code]
    text: NamedSource<String>,
    #[label("here")]
    at: SourceSpan,
    #[help]
    help: &'static str,
}

/// What is wrong, and where in the text.
#[derive(Debug)]
pub(super) struct Fault {
    message: String,
    at: Range<usize>,
    help: &'static str,
}

/// What helps where a line is not understood.
const ANEW: &str = "larder writes the file: take it from git again, or remove it and run `larder lock`";

#[derive(Deserialize)]
struct Version {
    version: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "version")]
    _version: u64,
    #[serde(default)]
    image: Vec<Entry>,
    #[serde(default)]
    source: Vec<SourceEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceEntry {
    address: Spanned<String>,
    digest: Option<Spanned<String>>,
    commit: Option<Spanned<String>>,
    resolved: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Spanned<String>,
    digest: Spanned<String>,
    resolved: Spanned<String>,
    /// Only there where it is true: an earlier larder knows no such line.
    #[serde(default)]
    engine: bool,
    /// The engine that alone has it, where that is so.
    local: Option<Spanned<Engine>>,
}

pub(super) fn parse(text: &str) -> Result<LockFile, Fault> {
    conflict(text).map_or(Ok(()), Err)?;
    let newer: Version = toml::from_str(text).map_err(|error| misread(&error))?;
    match newer.version {
        Some(version) if *version.get_ref() > VERSION => {
            let message = format!("version {} is of a newer larder", version.get_ref());
            return Err(Fault { message, at: version.span(), help: "install the larder that wrote it" });
        }
        _ => {}
    }
    let file: File = toml::from_str(text).map_err(|error| misread(&error))?;
    let mut lock = LockFile::default();
    for entry in file.image {
        let at = entry.name.span();
        let name = entry.name.get_ref().clone();
        let full = names::full(&name);
        if full != name || !names::is_name(&name) {
            return Err(Fault {
                message: format!("`{name}` is not the full name of an image"),
                at,
                help: ANEW,
            });
        }
        if lock.add(name.clone(), entry.locked()?).is_some() {
            return Err(Fault {
                message: format!("`{name}` is here twice"),
                at,
                help: "remove one of the two",
            });
        }
    }
    for entry in file.source {
        let (at, address) = (entry.address.span(), entry.address.get_ref().clone());
        // No address with these can be written, or read, here.
        if address.is_empty() || address.contains(['"', '\\']) || address.contains(char::is_control) {
            return Err(Fault { message: format!("`{address}` is not an address"), at, help: ANEW });
        }
        if lock.set_source(&address, entry.locked()?).is_some() {
            let message = format!("`{address}` is here twice");
            return Err(Fault { message, at, help: "remove one of the two" });
        }
    }
    Ok(lock)
}

impl Entry {
    fn locked(self) -> Result<Locked, Fault> {
        if !is_digest(self.digest.get_ref()) {
            return Err(bad(&self.digest, "a digest"));
        }
        let resolved = day(&self.resolved)?;
        let by = match (self.local, self.engine) {
            (None, false) => By::Place,
            (None, true) => By::Engine,
            (Some(engine), false) => By::Local(engine.into_inner()),
            (Some(engine), true) => {
                let message = "the image is marked twice".to_owned();
                return Err(Fault { message, at: engine.span(), help: ANEW });
            }
        };
        Ok(Locked { digest: self.digest.into_inner(), resolved, by })
    }
}

impl SourceEntry {
    fn locked(self) -> Result<Locked, Fault> {
        let resolved = day(&self.resolved)?;
        match (self.digest, self.commit) {
            (Some(digest), None) if is_digest(digest.get_ref()) => {
                Ok(Locked { digest: digest.into_inner(), resolved, by: By::Place })
            }
            (None, Some(commit)) if is_commit(commit.get_ref()) => {
                Ok(Locked { digest: commit.into_inner(), resolved, by: By::Place })
            }
            (Some(digest), _) => Err(bad(&digest, "a digest alone")),
            (None, Some(commit)) => Err(bad(&commit, "a whole commit")),
            (None, None) => {
                let message = "the address has neither a digest nor a commit".to_owned();
                Err(Fault { message, at: self.address.span(), help: ANEW })
            }
        }
    }
}

fn bad(what: &Spanned<String>, is: &str) -> Fault {
    Fault { message: format!("`{}` is not {is}", what.get_ref()), at: what.span(), help: ANEW }
}

fn day(text: &Spanned<String>) -> Result<Date, Fault> {
    text.get_ref().parse().map_err(|_| bad(text, "a day"))
}

/// 40 or 64 hex digits.
pub(super) fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The first mark of git's that stands for two versions of the lines below it.
fn conflict(text: &str) -> Option<Fault> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if ["<<<<<<<", "=======", ">>>>>>>", "|||||||"].iter().any(|mark| line.starts_with(mark)) {
            return Some(Fault {
                message: "a merge left both versions of these lines".to_owned(),
                at: start..start + line.trim_end().len(),
                help: "keep one table for each name or address, and remove the marks",
            });
        }
        start += line.len();
    }
    None
}

fn misread(error: &toml::de::Error) -> Fault {
    let message = error.message().lines().next().unwrap_or_default().to_owned();
    Fault { message, at: error.span().unwrap_or_default(), help: ANEW }
}

impl Fault {
    pub(super) fn in_file(self, path: &Utf8Path, text: String) -> Box<Invalid> {
        let line = text.get(..self.at.start).unwrap_or_default().matches('\n').count() + 1;
        Box::new(Invalid {
            path: path.to_owned(),
            line,
            message: self.message,
            text: NamedSource::new(FILE, text),
            at: self.at.into(),
            help: self.help,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[track_caller]
    pub(in crate::lock) fn refused(text: &str, line: usize, why: &str) {
        let fault = parse(text).expect_err("it was taken");
        let error = fault.in_file("larder.lock".into(), text.to_owned());
        assert_eq!(error.line, line, "{error}");
        assert!(error.message.contains(why), "{error}");
    }

    fn digest(digit: &str) -> String {
        format!("sha256:{}", digit.repeat(64))
    }

    #[test]
    fn what_is_not_understood_is_an_error_with_its_line() {
        let entry = |name: &str, digest: &str| {
            format!("[[image]]\nname = \"{name}\"\ndigest = \"{digest}\"\nresolved = \"2026-03-09\"\n")
        };
        let a = entry("host/a.b/c:1", &digest("a"));
        refused("version = 2\n[[picture]]\n", 1, "version 2 is of a newer larder");
        refused("version = 1\nx = 1\n", 2, "unknown field `x`");
        refused(&format!("version = 1\n{a}more = 1\n"), 6, "unknown field `more`");
        refused(&format!("version = 1\n<<<<<<< ours\n{a}=======\n>>>>>>> theirs\n"), 2, "a merge left both");
        let twice = entry("h.io/a:1", &digest("a"));
        refused(&format!("version = 1\n{twice}{twice}"), 7, "`h.io/a:1` is here twice");
        refused(&format!("version = 1\n{}", entry("debian:12", &digest("a"))), 3, "not the full name");
        refused(&format!("version = 1\n{}", entry("h.io/a:1", "sha256:0")), 4, "not a digest");
        refused(&format!("version = 1\n{}", twice.replace("2026-03-09", "soon")), 5, "not a day");
        refused("", 1, "missing field `version`");
    }
}
