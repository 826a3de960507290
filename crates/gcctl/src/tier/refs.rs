//! Which images the last commits of a repository's branches stand for.
//!
//! An image is noted with the commit that it was first baked at, and serves all that come after,
//! until the next one of its name. Of each branch and name, all of the last commits are kept; where
//! the oldest of these has none of its own, the one before it, which it still uses.
//!
//! Limits: what was noted with a commit that is on no branch any more (it was squashed or rebased)
//! is not known to be used; of a name's images for several platforms, those count together that
//! were saved at one commit.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use camino::Utf8Path;

use crate::error::{Error, Result};
use crate::snapshot::Image;

/// The places of the images that the last so many commits of each branch use, of the repository
/// that `folder` lies in: the branches that this clone has, and what is checked out.
///
/// # Errors
/// [`Error::Git`]: git cannot be run, there is no repository, or one without its history.
pub(super) fn used(images: &[Image], last: u64, folder: &Utf8Path) -> Result<HashSet<usize>> {
    if ask(folder, &["rev-parse", "--is-shallow-repository"])?.trim() == "true" {
        let reason = "this clone does not have the history of its branches (`git fetch --unshallow` gets it)";
        return Err(Error::Git { reason: reason.to_owned() });
    }
    let branches = ["for-each-ref", "--format=%(objectname)", "refs/heads", "refs/remotes"];
    // What is checked out may be on none of them.
    let tips = strictly(folder, &branches)? + &ask(folder, &["rev-parse", "HEAD"])?;
    let tips: HashSet<&str> = tips.split_whitespace().collect();
    let by_commit = by_commit(images);
    let mut used = HashSet::new();
    for tip in tips {
        used.extend(on_branch(images, &by_commit, last, folder, tip)?);
    }
    Ok(used)
}

/// Images by the commit that they are noted with; one made of changed files counts with the commit
/// that was changed.
fn by_commit(images: &[Image]) -> HashMap<&str, Vec<usize>> {
    let mut found: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, image) in images.iter().enumerate() {
        if let Some(commit) = &image.origin.commit {
            found.entry(commit.as_str().trim_end_matches('+')).or_default().push(place);
        }
    }
    found
}

fn on_branch(
    images: &[Image],
    by_commit: &HashMap<&str, Vec<usize>>,
    last: u64,
    folder: &Utf8Path,
    tip: &str,
) -> Result<HashSet<usize>> {
    let mut used = HashSet::new();
    // The names whose image before the last commits is still to be found.
    let name = |place: usize| images[place].origin.image.as_ref().map(storekit::Remark::as_str);
    // One of changed files is not what the commit itself uses.
    let is_clean =
        |place: usize| images[place].origin.commit.as_ref().is_some_and(|it| !it.as_str().ends_with('+'));
    let mut sought: HashSet<_> = by_commit.values().flatten().map(|place| name(*place)).collect();
    let mut child = git(folder, &["rev-list", tip])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| Error::Git { reason: error.to_string() })?;
    let lines = child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines);
    let mut is_whole = true;
    for (at, commit) in (0_u64..).zip(lines) {
        let commit = commit.map_err(|error| Error::Git { reason: error.to_string() })?;
        let here = by_commit.get(commit.as_str()).map_or(&[][..], Vec::as_slice);
        if at < last {
            used.extend(here);
            // The oldest of them uses none that came before its own.
            for place in here.iter().filter(|place| at + 1 == last && is_clean(**place)) {
                sought.remove(&name(*place));
            }
            continue;
        }
        // Of one commit there may be several of a name, for several platforms or arguments.
        used.extend(here.iter().filter(|place| sought.contains(&name(**place))));
        for place in here.iter().filter(|place| is_clean(**place)) {
            sought.remove(&name(*place));
        }
        if sought.is_empty() {
            is_whole = false;
            break;
        }
    }
    if !is_whole {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| Error::Git { reason: error.to_string() })?;
    if is_whole && !status.success() {
        return Err(Error::Git { reason: format!("`git rev-list` ended with {status}") });
    }
    Ok(used)
}

/// What git prints.
fn ask(folder: &Utf8Path, args: &[&str]) -> Result<String> {
    told(folder, args, |_| true)
}

/// The same, where what git warns of is a refusal, too: a branch that it cannot read would not
/// count.
fn strictly(folder: &Utf8Path, args: &[&str]) -> Result<String> {
    told(folder, args, <[u8]>::is_empty)
}

/// What git prints, where it ends well and its messages will do.
fn told(folder: &Utf8Path, args: &[&str], will_do: impl Fn(&[u8]) -> bool) -> Result<String> {
    let output = git(folder, args).output().map_err(|error| Error::Git { reason: error.to_string() })?;
    if !output.status.success() || !will_do(&output.stderr) {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::Git { reason: storekit::printable(said.trim()).to_string() });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn git(folder: &Utf8Path, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(args).stdin(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use camino::Utf8PathBuf;
    use jiff::Timestamp;
    use storekit::{Digest, Origin};

    /// A repository with commits that nothing changes.
    struct Repository(tempfile::TempDir);

    impl Repository {
        fn new() -> Self {
            let repository = Self(tempfile::tempdir().unwrap());
            repository.git("init -qb main");
            repository
        }

        fn folder(&self) -> Utf8PathBuf {
            Utf8PathBuf::from_path_buf(self.0.path().to_owned()).unwrap()
        }

        fn git(&self, line: &str) -> String {
            let own = ["-c", "user.name=t", "-c", "user.email=t@localhost"];
            let args: Vec<_> = own.into_iter().chain(line.split(' ')).collect();
            ask(&self.folder(), &args).unwrap()
        }

        fn commit(&self) -> String {
            self.git("commit -qm x --allow-empty");
            self.git("rev-parse HEAD").trim().to_owned()
        }

        fn used(&self, images: &[Image], last: u64) -> Vec<usize> {
            let mut used: Vec<_> = used(images, last, &self.folder()).unwrap().into_iter().collect();
            used.sort_unstable();
            used
        }
    }

    fn image(name: &str, commit: &str) -> Image {
        let remark = |text: &str| Some(text.parse().unwrap());
        Image {
            key: format!("{name}-{commit}").trim_end_matches('+').parse().unwrap(),
            digest: Digest::of(commit.as_bytes()),
            names: Vec::new(),
            origin: Origin { image: remark(name), commit: remark(commit), ..Origin::default() },
            saved: Timestamp::UNIX_EPOCH,
            used: Timestamp::UNIX_EPOCH,
            uses: 0,
            build_seconds: None,
            is_disk: false,
            pinned: false,
            subject: None,
            incomplete: false,
            unknown: false,
            unfetched: false,
            blobs: Vec::new(),
            files: 0,
        }
    }

    #[test]
    fn a_commit_uses_the_nearest_clean_image_before_it() {
        let repository = Repository::new();
        let (first, second) = (repository.commit(), repository.commit());
        repository.git("branch old");
        let third = repository.commit();
        let of = |commit: &str| image("app", commit);
        let images = [of(&first), of(&second), of(&format!("{third}+")), image("other", &first)];
        // The last commit was only built with changes: itself it uses what the one before it does.
        assert_eq!(repository.used(&images, 1), [1, 2, 3]);
        let images = [of(&first), of(&third), image("app", &"0".repeat(40))];
        // `old` uses the first; what is on no branch is not known to be used.
        assert_eq!(repository.used(&images, 1), [0, 1]);
        repository.git("branch -D old");
        assert_eq!(repository.used(&images, 1), [1]);
        assert_eq!(repository.used(&images, 2), [0, 1]);
        repository.git(&format!("checkout -q --detach {first}"));
        repository.git("branch -D main");
        assert_eq!(repository.used(&images, 1), [0], "what is checked out counts");
    }

    #[test]
    fn branches_that_cannot_be_read_are_a_refusal() {
        let repository = Repository::new();
        repository.commit();
        larder_tests::write(repository.folder().join(".git/refs/heads/odd"), "nothing\n");
        used(&[], 1, &repository.folder()).unwrap_err();
        let elsewhere = tempfile::tempdir().unwrap();
        used(&[], 1, Utf8Path::from_path(elsewhere.path()).unwrap()).unwrap_err();
    }
}
