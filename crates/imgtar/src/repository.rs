//! A store in a git repository: blobs in Git LFS, keys and inputs in git itself, all else left out.
//!
//! Two files in the store's folder say so, each with our lines between two marks; other lines in
//! them stay. What git and Git LFS themselves know of is asked by their commands, and where they
//! are not installed, that is said.

use std::process::{Command, Output};

use camino::{Utf8Path, Utf8PathBuf};
use storekit::Store;
use storekit::files::lfs;
use storekit::files::replace::{self, Durability};

use crate::error::{Error, Result};

const BEGIN: &str = "# larder store: begin (`imgtar init --lfs` writes these lines)";
const END: &str = "# larder store: end";

/// Blobs are content of LFS. Nothing is text to git, so that no checkout changes a byte; every key
/// is a file of its own, so that two that are added merge.
const ATTRIBUTES: &str = "/** -text
/images/blobs/sha256/* filter=lfs diff=lfs merge=lfs -text
";

/// Only what is neither derived nor local is kept.
const IGNORE: &str = "/*
!/.gitattributes
!/.gitignore
!/CACHEDIR.TAG
!/images/
/images/*
!/images/oci-layout
!/images/blobs/
!/images/keys/
!/images/inputs/
!/images/fetched/
!/images/pins/
.tmp-*
";

/// What was set up, and what is left to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetUp {
    /// The folder of the git repository.
    pub repository: Utf8PathBuf,
    /// Files that were written; none where all was as it should be.
    pub written: Vec<Utf8PathBuf>,
    /// What could not be done, each with the command that does it.
    pub left: Vec<String>,
}

/// Makes a store at `folder`, or takes the one that is there, and sets it up for Git LFS. Done
/// again, it changes nothing.
///
/// # Errors
/// [`Error::NoRepository`], [`Error::Ignored`]; a folder with something else in it; I/O errors.
pub fn init(folder: &Utf8Path) -> Result<SetUp> {
    let above = folder.ancestors().find(|above| above.as_str().is_empty() || above.exists());
    let above = above.filter(|above| !above.as_str().is_empty()).unwrap_or(Utf8Path::new("."));
    let no_repository = || Error::NoRepository { path: folder.to_owned() };
    let repository = lfs::repository(above).ok_or_else(no_repository)?;
    check_not_ignored(&repository, folder)?;
    let store = Store::open_or_create(folder)?;
    store.images().prepare()?;
    let mut set_up = SetUp { repository, ..SetUp::default() };
    for (name, lines) in [(".gitattributes", ATTRIBUTES), (".gitignore", IGNORE)] {
        let path = folder.join(name);
        if write_lines(&path, lines)? {
            set_up.written.push(path);
        }
    }
    set_up.left = install(&set_up.repository);
    Ok(set_up)
}

/// A folder that git ignores keeps nothing, whatever is written into it.
fn check_not_ignored(repository: &Utf8Path, folder: &Utf8Path) -> Result<()> {
    let whole = camino::absolute_utf8(folder).unwrap_or_else(|_| folder.to_owned());
    let Ok(said) = git(repository, &["check-ignore", "--verbose", "--", whole.as_str()]) else {
        return Ok(());
    };
    let said_so = String::from_utf8_lossy(&said.stdout).split('\t').next().unwrap_or_default().to_owned();
    // `.gitignore:3:docker-cache/`; a pattern with `!` takes an ignored one back.
    let ignored =
        said.status.success() && !said_so.splitn(3, ':').nth(2).is_some_and(|it| it.starts_with('!'));
    if ignored { Err(Error::Ignored { path: folder.to_owned(), rule: said_so }) } else { Ok(()) }
}

/// Puts our lines into the file, in place of older ones of ours. Returns whether the file changed.
fn write_lines(path: &Utf8Path, lines: &str) -> Result<bool> {
    let before = replace::read_capped(path, 1 << 20)?.unwrap_or_default();
    let after = with_lines(&before, lines);
    if after == before {
        return Ok(false);
    }
    replace::replace(path, &after, Durability::Synced)?;
    Ok(true)
}

/// The text with our lines: where ours were, else at the end, for there they count.
fn with_lines(before: &[u8], lines: &str) -> Vec<u8> {
    let ours = format!("{BEGIN}\n{lines}{END}\n");
    if let Some((start, end)) = our_lines(before) {
        return [&before[..start], ours.as_bytes(), &before[end..]].concat();
    }
    let gap: &[u8] = if before.is_empty() || before.ends_with(b"\n") { b"" } else { b"\n" };
    [before, gap, ours.as_bytes()].concat()
}

/// Where our lines stand: from the last beginning before an end, for a beginning without one is not
/// ours to judge.
fn our_lines(text: &[u8]) -> Option<(usize, usize)> {
    let mut start = find(text, BEGIN)?;
    let end = start + find(text.get(start..)?, END)?;
    while let Some(next) = text.get(start + BEGIN.len()..end).and_then(|between| find(between, BEGIN)) {
        start += BEGIN.len() + next;
    }
    let after = end + END.len();
    Some((start, if text.get(after) == Some(&b'\n') { after + 1 } else { after }))
}

/// Where a line stands in a text.
fn find(text: &[u8], line: &str) -> Option<usize> {
    let mut at = 0;
    for found in text.split_inclusive(|byte| *byte == b'\n') {
        if found.trim_ascii_end() == line.as_bytes() {
            return Some(at);
        }
        at += found.len();
    }
    None
}

/// Makes git use LFS in this repository. Returns what is left to be done by hand.
fn install(repository: &Utf8Path) -> Vec<String> {
    let works = |ran: std::io::Result<Output>| ran.is_ok_and(|output| output.status.success());
    if !works(git(repository, &["version"])) {
        return vec!["git is not installed: install git and git-lfs, then run `git lfs install`".to_owned()];
    }
    if !works(git(repository, &["lfs", "version"])) {
        return vec![
            "git-lfs is not installed: install it, then run `git lfs install`, before you add the store"
                .to_owned(),
        ];
    }
    // It writes the filter into the repository's own settings, and the hook that uploads with a
    // push.
    match git(repository, &["lfs", "install", "--local"]) {
        Ok(ran) if ran.status.success() => no_filter(repository).into_iter().collect(),
        ran => {
            let said = ran.map_or_else(
                |error| error.to_string(),
                |ran| String::from_utf8_lossy(&ran.stderr).trim().to_owned(),
            );
            vec![format!("`git lfs install --local` failed: {said}")]
        }
    }
}

/// What is to be done before the blobs of a store are added, where the store is set up for Git LFS,
/// and git is not: as in a clone where `git lfs install` was not run. Git says nothing there, and
/// keeps the blobs themselves.
#[must_use]
pub fn unfiltered(store: &Utf8Path) -> Option<String> {
    let attributes = replace::read_capped(&store.join(".gitattributes"), 1 << 20).ok()??;
    our_lines(&attributes)?;
    no_filter(&lfs::repository(store)?)
}

/// The same for a repository; nothing where git does not know of it, or is not there.
fn no_filter(repository: &Utf8Path) -> Option<String> {
    let said = |words: &[&str]| git(repository, words).ok().filter(|ran| ran.status.success());
    let filter = said(&["config", "--get", "filter.lfs.clean"]);
    if filter.is_some_and(|filter| !filter.stdout.trim_ascii().is_empty()) {
        return None;
    }
    said(&["rev-parse", "--git-dir"])?;
    Some(format!(
        "git knows no filter of Git LFS here, and would keep the store's blobs themselves: run `git lfs install --local` in \
         `{repository}` before you add them"
    ))
}

fn git(repository: &Utf8Path, words: &[&str]) -> std::io::Result<Output> {
    Command::new("git").arg("-C").arg(repository).args(words).stdin(std::process::Stdio::null()).output()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn becomes(before: &str, after: &str) {
        let once = with_lines(before.as_bytes(), "x\n");
        assert_eq!(String::from_utf8_lossy(&once), after);
        assert_eq!(with_lines(&once, "x\n"), once);
    }

    #[test]
    fn our_lines_are_written_once_and_others_stay() {
        let ours = format!("{BEGIN}\nx\n{END}\n");
        becomes("", &ours);
        becomes("mine\n", &format!("mine\n{ours}"));
        becomes("mine", &format!("mine\n{ours}"));
        becomes(&format!("mine\n{BEGIN}\nold\nlines\n{END}\nlater\n"), &format!("mine\n{ours}later\n"));
        becomes(&format!("{BEGIN}\nold\n{END}"), &ours);
        // Half of it is not ours to judge.
        becomes(&format!("{BEGIN}\nold\n"), &format!("{BEGIN}\nold\n{ours}"));
    }
}
