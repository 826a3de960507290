//! The name that an image has in docker until its bake gives it the right ones.
//!
//! Docker pushes by names only, and an image that is pushed brings the store no layer that it has:
//! without a name it is saved as an archive, base and all. The name is one that nobody looks for,
//! and goes with the bake; those of bakes that were killed go with their folders (`temp`), and the
//! images with them that have no other name.

use std::process::Command;

use camino::Utf8Path;

use super::aside::asked;
use super::command::Cmd;
use super::runner::Runner;
use super::temp;

/// What these names begin with.
const REPOSITORY: &str = "larder-build";

/// A name, taken away when this is dropped.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    name: String,
    rmi: Cmd,
    runner: &'a Runner,
}

impl<'a> Held<'a> {
    /// The name of what is built with that folder for temporary files. `rmi`: docker's command that
    /// takes names away.
    pub(crate) fn new(folder: &Utf8Path, rmi: Cmd, runner: &'a Runner) -> Self {
        let name = format!("{REPOSITORY}:{}", tag(folder));
        Self { rmi: rmi.args(["--no-prune", &name]), name, runner }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.runner.say(&self.rmi.to_string());
        // Also after Ctrl-C, when the runner starts nothing. What stays goes with the next bake.
        asked(&mut self.rmi.build(self.runner.folder(), false));
    }
}

/// Takes away the names that a killed run left. `folder` is the run's.
pub(crate) fn clear_left(folder: &Utf8Path, docker: &str) {
    let reference = format!("reference={REPOSITORY}:{}*", tag(folder));
    let format = "{{.Repository}}:{{.Tag}}";
    let listed =
        asked(Command::new(docker).args(["image", "ls", "--filter", &reference, "--format", format]));
    let listed = String::from_utf8_lossy(&listed);
    let names: Vec<_> = listed.lines().filter(|name| name.starts_with(REPOSITORY)).collect();
    if !names.is_empty() {
        asked(Command::new(docker).args(["rmi", "--no-prune"]).args(names));
    }
}

/// The tag: what makes the folder one that no other bake has.
fn tag(folder: &Utf8Path) -> String {
    let own = folder.components().skip_while(|name| !name.as_str().starts_with(temp::PREFIX));
    let own: Vec<_> = own.map(|name| name.as_str().trim_start_matches(temp::PREFIX)).collect();
    own.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_the_folders() {
        assert_eq!(tag(Utf8Path::new("/tmp/larder-bake-3cnD3l")), "3cnD3l");
        assert_eq!(tag(Utf8Path::new("/var/tmp/x/larder-bake-3cnD3l/12")), "3cnD3l-12");
    }
}
