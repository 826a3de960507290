//! Hugging Face's hub: models, datasets and spaces, each a git repository whose files are asked for
//! by branch or by commit.
//!
//! What a commit has cannot change. The hub says what each file hashes to in the answer to a HEAD:
//! large ones by SHA-256, small ones by the name that git has for them.
//!
//! Limit: Xet, by which newer clients fetch parts of large files from other servers, is left out of
//! all that clients are told, so that they fetch whole files from here.
//!
//! Sources: `huggingface_hub`, `file_download.py` and `hf_api.py`; the hub's documentation, "Hub
//! API Endpoints".

mod document;
mod head;
#[cfg(test)]
mod tests;

pub(crate) use self::document::{commit, links, render};
pub(crate) use self::head::{ERROR, LINKED_ETAG, REPO_COMMIT, expected, fields, size};
use crate::ecosystem::path::canonical;
use crate::ecosystem::{Asked, Class, Package};

/// A path of the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HubPath {
    /// `models`, `datasets` or `spaces`.
    kind: &'static str,
    /// `NAME` or `OWNER/NAME`.
    repository: String,
    /// What of the repository is meant.
    pub(crate) what: What,
}

/// What of a repository a path means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A file: the revision, as one segment of a path, and the file's path.
    File(String, String),
    /// A description of the repository, or a list of its files: at this revision, or of the branch
    /// that it has by itself.
    Document(Option<String>),
    /// A token for another protocol.
    XetToken,
}

/// Kinds of repositories, by the first segment of their paths.
const KINDS: [&str; 3] = ["models", "datasets", "spaces"];
/// A name of a repository has no more bytes.
const LONGEST: usize = 96;
/// A path has no more bytes.
const LONGEST_PATH: usize = 4096;

/// Paths `/OWNER/NAME/resolve/REVISION/FILE` (an artifact by a commit, else an index), below
/// `/datasets` and `/spaces` too; `/api/models/OWNER/NAME`, with `/revision/REVISION`,
/// `/tree/REVISION/…` or `/refs` (pinned by a commit, else an index); `xet-read-token` and whatever
/// else is below `/api/`: an interface. `OWNER/` may be missing.
#[must_use]
pub(crate) fn ask(path: &str, _query: Option<&str>) -> Asked {
    let Some(HubPath { repository, what, .. }) = parse(path) else {
        let interface = path == "/api" || path.starts_with("/api/");
        return Asked::of(if interface { Class::Api } else { Class::Unknown });
    };
    let (class, version) = match what {
        What::File(revision, _) if is_commit(&revision) => (Class::Artifact, Some(revision)),
        What::Document(Some(revision)) if is_commit(&revision) => (Class::PinnedByName, Some(revision)),
        What::File(revision, _) => (Class::Index, Some(revision)),
        What::Document(revision) => (Class::Index, revision),
        What::XetToken => return Asked::of(Class::Api),
    };
    Asked { package: Package { name: Some(repository), version, architecture: None }, ..Asked::of(class) }
}

/// The parts of a path; `None` where it is not one of those.
#[must_use]
pub(crate) fn parse(path: &str) -> Option<HubPath> {
    let path = canonical(path);
    // A revision may have a `/` in it, which stays escaped.
    let names: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    let leads_elsewhere = |name: &&str| matches!(*name, "" | "." | "..");
    if path.len() > LONGEST_PATH || names.iter().any(leads_elsewhere) {
        return None;
    }
    match names.split_first()? {
        (&"api", rest) => of_interface(rest),
        _ => file(&names),
    }
}

fn of_interface(names: &[&str]) -> Option<HubPath> {
    let (kind, rest) = names.split_first()?;
    let kind = KINDS.into_iter().find(|it| it == kind)?;
    let words = ["revision", "tree", "refs", "xet-read-token"];
    // A repository may have a name that is one of these words.
    let ends = |at: &usize| rest.get(*at).is_none_or(|word| words.contains(word));
    let at = (1..=2.min(rest.len())).find(ends)?;
    let (repository, behind) = rest.split_at_checked(at)?;
    let what = match behind {
        [] | ["refs"] => What::Document(None),
        ["revision", revision] | ["tree", revision, ..] => What::Document(Some((*revision).to_owned())),
        ["xet-read-token", ..] => What::XetToken,
        _ => return None,
    };
    Some(HubPath { kind, repository: name(repository)?, what })
}

fn file(names: &[&str]) -> Option<HubPath> {
    let kind = KINDS.into_iter().skip(1).find(|kind| names.first() == Some(kind));
    let rest = if kind.is_some() { names.get(1..)? } else { names };
    let at = (1..=2).find(|at| rest.get(*at) == Some(&"resolve"))?;
    let (repository, behind) = rest.split_at_checked(at)?;
    let [_, revision, path @ ..] = behind else { return None };
    let what = What::File((*revision).to_owned(), path.join("/"));
    let kind = kind.unwrap_or("models");
    (!path.is_empty()).then_some(HubPath { kind, repository: name(repository)?, what })
}

fn name(parts: &[&str]) -> Option<String> {
    let plain = |part: &&str| {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        part.len() <= LONGEST && part.bytes().all(word)
    };
    (matches!(parts.len(), 1 | 2) && parts.iter().all(plain)).then(|| parts.join("/"))
}

/// Whether a revision is a commit, which cannot be another one later.
#[must_use]
pub(crate) fn is_commit(revision: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    revision.len() == 40 && revision.bytes().all(digit)
}

impl HubPath {
    /// Where the hub says which commit a revision is.
    #[must_use]
    pub(crate) fn revision(&self, revision: &str) -> String {
        format!("/api/{}/{}/revision/{revision}", self.kind, self.repository)
    }

    /// Where a file of a commit is.
    #[must_use]
    pub(crate) fn file_at(&self, commit: &str, path: &str) -> String {
        let above = if self.kind == "models" { String::new() } else { format!("/{}", self.kind) };
        format!("{above}/{}/resolve/{commit}/{path}", self.repository)
    }
}
