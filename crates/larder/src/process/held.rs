//! The name that an image has in docker until its bake gives it the right ones.
//!
//! Docker pushes by names only, and an image that is pushed brings the store no layer that it has:
//! without a name it is saved as an archive, base and all. The name is one that nobody looks for,
//! and goes with the bake; those of bakes that were killed go with their folders (`temp`).
//!
//! No image goes with it: docker removes an image with its last name, and the same image may have
//! been there before, without one. So the name is first given to an empty image.

use std::process::Command;

use camino::Utf8Path;

use super::aside::asked;
use super::command::Cmd;
use super::runner::Runner;
use super::temp::PREFIX;

/// What these names begin with.
const REPOSITORY: &str = "larder-build";

/// A name, taken away when this is dropped.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    name: String,
    docker: String,
    runner: &'a Runner,
    /// Whether the image has another name by now.
    pub(crate) is_named: bool,
}

impl<'a> Held<'a> {
    /// The name of what is built with that folder for temporary files. `docker`: its command.
    /// `None` where the folder's name is no run's.
    pub(crate) fn new(folder: &Utf8Path, docker: &str, runner: &'a Runner) -> Option<Self> {
        let name = format!("{REPOSITORY}:{}", tag(folder)?);
        Some(Self { name, docker: docker.to_owned(), runner, is_named: false })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Also after Ctrl-C, when the runner starts nothing. What stays goes with the next bake.
        for cmd in removal(&self.docker, &self.name, self.is_named) {
            self.runner.say(&cmd.to_string());
            let _ = asked(&mut cmd.build(self.runner.folder(), false));
        }
    }
}

/// The commands that take a name away from an image.
fn removal(docker: &str, name: &str, is_named: bool) -> Vec<Cmd> {
    let empty = Cmd::new(docker).args(["import", "-", name]);
    let remove = Cmd::new(docker).args(["rmi", "--no-prune", name]);
    if is_named { vec![remove] } else { vec![empty, remove] }
}

/// Takes away the names that a killed run left. `folder` is the run's. `false`: that could not be
/// done, and is to be tried again.
pub(crate) fn clear_left(folder: &Utf8Path, docker: &str) -> bool {
    let Some(tag) = tag(folder) else { return true };
    let format = "{{.Repository}}:{{.Tag}}";
    let mut list = Command::new(docker);
    list.args(["image", "ls", "--filter", &format!("reference={REPOSITORY}:{tag}*"), "--format", format]);
    let listed = match asked(&mut list) {
        Ok(Some(listed)) => listed,
        Ok(None) => return false,
        // No docker, no names.
        Err(_) => return true,
    };
    let listed = String::from_utf8_lossy(&listed);
    listed.lines().filter(|name| is_of(name, &tag)).fold(true, |all, name| {
        let removed = removal(docker, name, false)
            .iter()
            .all(|cmd| matches!(asked(&mut cmd.build(Utf8Path::new("/"), false)), Ok(Some(_))));
        all && removed
    })
}

/// Whether a name is one of the run with this tag.
fn is_of(name: &str, tag: &str) -> bool {
    let rest = name.strip_prefix(REPOSITORY).and_then(|rest| rest.strip_prefix(':')?.strip_prefix(tag));
    rest.is_some_and(|rest| {
        rest.is_empty() || rest.strip_prefix('-').is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
    })
}

/// The tag: what makes the folder one that no other bake has. That is a run's own, or one in it.
fn tag(folder: &Utf8Path) -> Option<String> {
    let own = |folder: &Utf8Path| {
        let rest = folder.file_name()?.strip_prefix(PREFIX)?;
        let is_tag = !rest.is_empty() && rest.len() <= 64 && rest.bytes().all(|b| b.is_ascii_alphanumeric());
        is_tag.then(|| rest.to_owned())
    };
    own(folder).or_else(|| Some(format!("{}-{}", own(folder.parent()?)?, folder.file_name()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_that_of_the_runs_own_folder() {
        let of = |folder: &str| tag(Utf8Path::new(folder));
        assert_eq!(of("/tmp/larder-bake-3cnD3l").as_deref(), Some("3cnD3l"));
        assert_eq!(of("/var/tmp/x/larder-bake-3cnD3l/12").as_deref(), Some("3cnD3l-12"));
        assert_eq!(of("/tmp/larder-bake-My dir/larder-bake-3cnD3l/0").as_deref(), Some("3cnD3l-0"));
        for folder in ["/tmp", "/tmp/larder-bake-", "/tmp/larder-bake-*", "/tmp/larder-bake-a b", "/"] {
            assert_eq!(of(folder), None, "{folder}");
        }
    }

    #[test]
    fn only_the_names_of_the_run_are_its_own() {
        for (name, expected) in [
            ("larder-build:3cnD3l", true),
            ("larder-build:3cnD3l-12", true),
            ("larder-build:3cnD3lX", false),
            ("larder-build:3cnD3l-x", false),
            ("larder-build:other", false),
            ("x/larder-build:3cnD3l", false),
        ] {
            assert_eq!(is_of(name, "3cnD3l"), expected, "{name}");
        }
    }

    /// A docker that notes what it is asked for, and lists two names.
    fn docker(folder: &Utf8Path, more: &str) -> String {
        let path = folder.join("docker");
        let script = format!(
            "#!/bin/sh\necho \"$*\" >>{folder}/calls\n{more}\n[ $2 != ls ] || printf 'larder-build:3cnD3l-1\\nlarder-build:3cnD3lX\\n'\n"
        );
        larder_tests::stand_in(path.clone(), &script);
        path.into_string()
    }

    #[test]
    fn what_a_killed_run_has_named_stays_without_the_name() {
        let temp = tempfile::tempdir().expect("a folder");
        let temp = Utf8Path::from_path(temp.path()).expect("UTF-8");
        let run = Utf8Path::new("/tmp/larder-bake-3cnD3l");
        assert!(clear_left(run, &docker(temp, "")));
        let calls = std::fs::read_to_string(temp.join("calls")).expect("calls");
        let calls: Vec<_> = calls.lines().skip(1).collect();
        assert_eq!(calls, ["import - larder-build:3cnD3l-1", "rmi --no-prune larder-build:3cnD3l-1"]);
        assert!(!clear_left(run, &docker(temp, "exit 1")), "a daemon that does not answer");
        assert!(!clear_left(run, &docker(temp, "[ $1 != rmi ] || exit 1")));
        assert!(clear_left(run, "/none/docker"));
    }
}
