//! A project's history: what each commit changes, and for which kind of build it is built.

use std::fmt::Write as _;

use camino::Utf8Path;

use super::super::basics::write;
use larder::process::runner::RunError;

/// The images, bases first.
pub(super) const IMAGES: [&str; 3] = ["base", "api", "web"];

/// One build in a CI, on a machine that has nothing yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    /// The profile: `pr`, `dev` or `release`.
    pub(super) profile: &'static str,
    /// The folder in which a file changes; `None` where the commit is built once more, as after a
    /// merge.
    pub(super) changes: Option<&'static str>,
}

/// The history of so many commits, in rounds of five: a pull request for one image that is reviewed
/// once, its merge, a change of the documentation, and its merge, which every other time is a
/// release. In every fourth round the request is for the base of all.
pub(super) fn history(commits: usize) -> impl Iterator<Item = Commit> {
    (0..commits).map(|at| {
        let round = at / 5;
        let image = match round % 4 {
            3 => "base",
            even if even % 2 == 0 => "api",
            _ => "web",
        };
        let (profile, changes) = match at % 5 {
            0 | 1 => ("pr", Some(image)),
            2 => ("dev", None),
            3 => ("pr", Some("docs")),
            _ if round % 2 == 1 => ("release", None),
            _ => ("dev", None),
        };
        Commit { profile, changes }
    })
}

/// Writes the project as it is before the first commit: `base` on the image `root` that is
/// given, the others on `base`. Each build works for a while and makes some megabytes.
pub(super) fn create(project: &Utf8Path, root: &str, tiers: &str) -> Result<(), RunError> {
    let mut toml = tiers.to_owned();
    for (image, from, megabytes) in [("base", root, 24), ("api", "base", 4), ("web", "base", 4)] {
        let dockerfile = format!(
            "FROM {from}\nCOPY . /src/{image}\n\
             RUN sleep 1; head -c {megabytes}M /dev/urandom > /made-{image}\n"
        );
        write(&project.join(image).join("Dockerfile"), &dockerfile)?;
        write(&project.join(image).join("source"), "0\n")?;
        // A string has no way to fail.
        let _ = write!(toml, "[image.{image}]\ncontext = \"{image}\"\ntags = [\"{image}\"]\n");
    }
    write(&project.join("docs/source"), "0\n")?;
    write(&project.join("larder.toml"), &toml)
}

/// Does what the commit does to the project's files.
pub(super) fn apply(project: &Utf8Path, at: usize, commit: Commit) -> Result<(), RunError> {
    match commit.changes {
        Some(folder) => write(&project.join(folder).join("source"), &format!("{at}\n")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_has_all_profiles_and_what_changes_nothing() {
        let all: Vec<_> = history(50).collect();
        let of = |profile| all.iter().filter(|commit| commit.profile == profile).count();
        assert_eq!((all.len(), of("pr"), of("dev"), of("release")), (50, 30, 15, 5));
        let changes = |folder| all.iter().filter(|commit| commit.changes == Some(folder)).count();
        assert_eq!((changes("base"), changes("api"), changes("web"), changes("docs")), (4, 10, 6, 10));
        assert!(all.iter().all(|commit| (commit.profile == "pr") == commit.changes.is_some()));
    }
}
