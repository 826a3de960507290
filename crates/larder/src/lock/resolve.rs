//! What a name stands for now: asked of its registry, else of the engine, which may have the image
//! from there. And what stands at an address: a file is fetched, a repository is asked.

use std::time::Duration;

use toolkit::Engine;

use super::read::is_commit;
use crate::config::names::is_digest;
use crate::process::command::Cmd;
use crate::process::runner::{RunError, Runner};
use crate::process::tools::Tools;

/// The digest of the image in its registry. None where that does not answer, or has no such image.
///
/// # Errors
/// An interruption.
pub fn in_registry(name: &str, tools: &Tools, runner: &Runner) -> Result<Option<String>, RunError> {
    answer(&tools.imgtar("resolve").args(["-q", name]), runner)
}

/// The digest by which the engine knows the image in its registry. The caller has seen that it has
/// one.
///
/// # Errors
/// An interruption.
pub fn in_engine(
    name: &str,
    engine: Engine,
    tools: &Tools,
    runner: &Runner,
) -> Result<Option<String>, RunError> {
    answer(&tools.imgtar("resolve").args(["-q", "--engine", engine.name(), name]), runner)
}

/// How long a repository may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What stands at the address: the digest of a file, the commit of a `repository`. None where
/// nothing answers.
///
/// # Errors
/// An interruption.
pub fn at_address(
    address: &str,
    repository: bool,
    tools: &Tools,
    runner: &Runner,
) -> Result<Option<String>, RunError> {
    if !repository {
        return answer(&tools.imgtar("resolve").args(["-q", address]), runner);
    }
    let (place, name) = parts(address);
    let cmd = Cmd::new("git").args(["ls-remote", "--quiet", "--", place, name, &format!("{name}^{{}}")]);
    // It would ask people for a password.
    let cmd = cmd.env("GIT_TERMINAL_PROMPT", "0").within(Some(PATIENCE));
    match runner.ask(&cmd) {
        Err(error) if error.is_interruption() => Err(error),
        Ok((status, said)) if status.success() => Ok(commit(&String::from_utf8_lossy(&said), name)),
        _ => Ok(None),
    }
}

/// Where the repository is, and which branch, tag or other reference is meant.
fn parts(address: &str) -> (&str, &str) {
    let (place, fragment) = address.split_once('#').unwrap_or((address, ""));
    let name = fragment.split(':').next().unwrap_or_default();
    (place, if name.is_empty() { "HEAD" } else { name })
}

/// The commit of that name among the references that a repository lists: what engines check out. A
/// branch goes before a tag, and of a tag with a message the commit counts that it is on.
fn commit(listed: &str, name: &str) -> Option<String> {
    let find = |wanted: String| {
        let mut lines = listed.lines().filter_map(|line| line.split_once('\t'));
        lines.find(|(_, listed)| *listed == wanted).map(|(commit, _)| commit.to_owned())
    };
    let names = ["", "refs/heads/"].map(|before| format!("{before}{name}"));
    let tags = ["^{}", ""].map(|after| format!("refs/tags/{name}{after}"));
    names.into_iter().chain(tags).find_map(find).filter(|commit| is_commit(commit))
}

fn answer(cmd: &Cmd, runner: &Runner) -> Result<Option<String>, RunError> {
    match runner.ask(cmd) {
        Err(error) if error.is_interruption() => Err(error),
        Ok((status, said)) if status.success() => {
            let said = String::from_utf8_lossy(&said).trim().to_owned();
            Ok(Some(said).filter(|said| is_digest(said)))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commit_is_what_an_engine_would_check_out() {
        let [head, branch, tag, peeled] = ["a", "b", "c", "d"].map(|digit| digit.repeat(40));
        let listed = format!(
            "{head}\tHEAD\n{branch}\trefs/heads/main\n{tag}\trefs/heads/x/v1\n{tag}\trefs/tags/v1\n{peeled}\trefs/tags/v1^{{}}\n\
             {tag}\trefs/tags/main\n"
        );
        for (address, expected) in [
            ("https://x/r.git", Some(head)),
            ("https://x/r.git#main", Some(branch)),
            ("git@x:r.git#v1:sub", Some(peeled)),
            ("git@x:r.git#v2", None),
        ] {
            assert_eq!(commit(&listed, parts(address).1), expected, "{address}");
        }
    }
}
