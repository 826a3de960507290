//! What is known of package clients: which kinds there are, what their requests ask for, what their
//! indexes say of files, and how these indexes are written anew so that the clients stay here.
//!
//! Everything here is pure: text and bytes in, a [`Class`], [`table`] entries or a document out.
//! All that comes in is hostile.
//!
//! Deliberately absent: requests, the store, time (`index`, `proxy`).

mod accept;
pub(crate) mod apk;
pub(crate) mod apt;
pub(crate) mod archives;
pub(crate) mod base;
pub(crate) mod cargo;
pub(crate) mod contents;
pub(crate) mod dnf;
pub(crate) mod go;
pub(crate) mod huggingface;
mod json;
pub(crate) mod lfs;
#[cfg(test)]
mod mutated;
pub(crate) mod named;
pub(crate) mod npm;
pub(crate) mod oci;
mod openpgp;
pub(crate) mod packing;
pub(crate) mod path;
pub(crate) mod python;
#[cfg(test)]
mod recorded;
pub(crate) mod releases;
pub(crate) mod ruling;
pub(crate) mod table;
mod text;

use http::Method;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use storekit::{Checksum, printable};
use thiserror::Error;
use toolkit::nearest::nearest;

/// A kind of package client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ecosystem {
    /// Nothing is known: HTTP's rules alone.
    #[default]
    Generic,
    /// Debian's package manager, and what speaks like it.
    Apt,
    /// dnf, yum and zypper.
    Dnf,
    /// pip, uv and others that read a simple index.
    Python,
    /// npm, pnpm and yarn.
    Npm,
    /// cargo, by a sparse index.
    Cargo,
    /// Container engines, by a registry.
    Oci,
    /// Ollama, whose models are in a registry.
    Ollama,
    /// `huggingface_hub` and what stands on it: models and datasets.
    HuggingFace,
    /// Go's modules and toolchains.
    Go,
    /// Alpine's package manager.
    Apk,
    /// Git LFS: large files of git repositories.
    GitLfs,
    /// Archives in folders with versions: rustup's toolchains, uv's Pythons.
    Releases,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Class {
    /// A document on which freshness hangs: a signed release file, a project's page.
    Index,
    /// A name that a registry gives to one image after another.
    Tag,
    /// A document that an index names, with its checksum.
    SubIndex,
    /// A file that an index names, with its checksum.
    Artifact,
    /// A file whose address has its checksum in it.
    SelfCertifying(Checksum),
    /// A file whose name is given once, and of which no index says a checksum.
    PinnedByName,
    /// Search, login, publishing: never stored.
    Api,
    /// Anything else: HTTP's rules alone.
    #[default]
    Unknown,
}

impl Class {
    /// The word for it in settings and in what `why` says.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Tag => "tag",
            Self::SubIndex => "sub-index",
            Self::Artifact => "artifact",
            Self::SelfCertifying(_) => "self-certifying",
            Self::PinnedByName => "pinned-by-name",
            Self::Api => "api",
            Self::Unknown => "unknown",
        }
    }
}

/// What is known of a package from the address of one of its files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: Option<String>,
    /// Its version.
    pub(crate) version: Option<String>,
    /// Its architecture.
    pub(crate) architecture: Option<String>,
}

/// What a request asks for, and who can vouch for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// What kind of thing it is.
    pub(crate) class: Class,
    /// The package that it belongs to.
    pub(crate) package: Package,
    /// Where an index names it: the path, below the mount, of the document that does.
    pub(crate) index: Option<String>,
    /// How that document's [`table`] names it.
    pub(crate) entry: Option<String>,
}

impl Asked {
    /// Of this class, with nothing else known.
    #[must_use]
    pub(crate) fn of(class: Class) -> Self {
        Self { class, ..Self::default() }
    }
}

/// An index that cannot be what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum BadIndex {
    /// It does not follow its format.
    #[error("{0}")]
    Malformed(String),
    /// It is larger, or nested deeper, than any real one.
    #[error("{0}")]
    TooLarge(&'static str),
    /// Its bytes could not be read.
    #[error("{0}")]
    Unreadable(String),
    /// This machine could not read it, or write it anew: a full disk, too many open files. It says
    /// nothing of the index.
    #[error("{0}")]
    Own(String),
}

impl BadIndex {
    /// Whether it is the index that is wrong.
    pub(crate) fn is_of_the_index(&self) -> bool {
        !matches!(self, Self::Own(_))
    }
}

impl From<std::io::Error> for BadIndex {
    fn from(error: std::io::Error) -> Self {
        // What the system says has a number; what an unpacker says of bytes has none.
        match error.raw_os_error() {
            Some(_) => Self::Own(error.to_string()),
            None => Self::Unreadable(error.to_string()),
        }
    }
}

/// Names of programs and indexes, which are easily taken for that of their kind.
const RELATED: [(&str, Ecosystem); 25] = [
    ("alpine", Ecosystem::Apk),
    ("crates", Ecosystem::Cargo),
    ("deb", Ecosystem::Apt),
    ("debian", Ecosystem::Apt),
    ("docker", Ecosystem::Oci),
    ("fedora", Ecosystem::Dnf),
    ("git", Ecosystem::GitLfs),
    ("golang", Ecosystem::Go),
    ("goproxy", Ecosystem::Go),
    ("hf", Ecosystem::HuggingFace),
    ("hub", Ecosystem::HuggingFace),
    ("lfs", Ecosystem::GitLfs),
    ("models", Ecosystem::HuggingFace),
    ("node", Ecosystem::Npm),
    ("pip", Ecosystem::Python),
    ("pnpm", Ecosystem::Npm),
    ("pypi", Ecosystem::Python),
    ("registry", Ecosystem::Oci),
    ("rpm", Ecosystem::Dnf),
    ("rust", Ecosystem::Cargo),
    ("rustup", Ecosystem::Releases),
    ("ubuntu", Ecosystem::Apt),
    ("uv", Ecosystem::Python),
    ("yarn", Ecosystem::Npm),
    ("yum", Ecosystem::Dnf),
];

impl<'de> Deserialize<'de> for Ecosystem {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::read(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl Ecosystem {
    const ALL: [Self; 13] = [
        Self::Apk,
        Self::Apt,
        Self::Cargo,
        Self::Dnf,
        Self::Generic,
        Self::GitLfs,
        Self::Go,
        Self::HuggingFace,
        Self::Npm,
        Self::Oci,
        Self::Ollama,
        Self::Python,
        Self::Releases,
    ];

    /// The one of this name, or what is said where there is none.
    pub(crate) fn read(name: &str) -> Result<Self, String> {
        Self::named(name).ok_or_else(|| Self::unknown(name))
    }

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// What is said where there is none of this name.
    fn unknown(name: &str) -> String {
        let lower = name.to_lowercase();
        let related = RELATED.iter().find(|(it, _)| *it == lower).map(|(_, kind)| kind.name());
        let meant = related.or_else(|| nearest(&lower, Self::ALL.map(Self::name)));
        let meant = meant.map(|it| format!("is `{it}` meant? ")).unwrap_or_default();
        let kinds = Self::ALL.map(|it| format!("`{}`", it.name())).join(", ");
        format!("`{}` is no kind of package client: {meant}there are {kinds}", printable(name))
    }

    /// The word for it in settings, lists and entries.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Apt => "apt",
            Self::Dnf => "dnf",
            Self::Python => "python",
            Self::Npm => "npm",
            Self::Cargo => "cargo",
            Self::Oci => "oci",
            Self::Ollama => "ollama",
            Self::HuggingFace => "huggingface",
            Self::Go => "go",
            Self::Apk => "apk",
            Self::GitLfs => "git-lfs",
            Self::Releases => "releases",
        }
    }

    /// Whether it speaks to a registry.
    #[must_use]
    pub(crate) const fn is_registry(self) -> bool {
        matches!(self, Self::Oci | Self::Ollama)
    }

    /// What a request for `path` (with its `/`, as it was sent, below the upstream's own URL where
    /// that is mounted) asks for. Nothing that may change is ever called anything but an index, a
    /// tag, an interface or unknown.
    #[must_use]
    pub(crate) fn ask(self, method: &Method, path: &str, query: Option<&str>) -> Asked {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Asked::of(if self == Self::Generic { Class::Unknown } else { Class::Api });
        }
        match self {
            Self::Generic => Asked::default(),
            Self::Apt => apt::ask(path, query),
            Self::Dnf => dnf::ask(path, query),
            Self::Python => python::ask(path, query),
            Self::Npm => npm::ask(path, query),
            Self::Cargo => cargo::ask(path, query),
            Self::Oci | Self::Ollama => oci::ask(path, query),
            Self::HuggingFace => huggingface::ask(path, query),
            Self::Go => go::ask(path, query),
            Self::Apk => apk::ask(path, query),
            Self::GitLfs => lfs::ask(path, query),
            Self::Releases => archives::ask(path, query),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Error, ErrorKind};

    #[test]
    fn what_the_system_says_is_not_the_index_s_fault() {
        let full = BadIndex::from(Error::from_raw_os_error(28));
        assert!(!full.is_of_the_index(), "{full}");
        assert!(BadIndex::from(Error::new(ErrorKind::InvalidData, "no gzip")).is_of_the_index());
        assert!(BadIndex::from(Error::from(ErrorKind::UnexpectedEof)).is_of_the_index());
    }
}
