//! The checks of this repository's own code, which come before larder.toml's in `ci`.

use larder::ci::{Check, shown};
use larder::process::runner::Runner;
use larder::process::tools::Tools;
use toolkit::Outcome;

use crate::{rules, test};

/// Format, lints, tests, documentation and dependency rules of the workspace in the runner's
/// folder.
#[must_use]
pub fn all<'a>(tools: &'a Tools, runner: &'a Runner) -> Vec<Check<'a>> {
    let clippy = ["--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    let doc = tools.cargo("doc").args(["--workspace", "--no-deps", "--quiet"]);
    let commands = [
        ("fmt", tools.cargo("fmt").args(["--all", "--check"])),
        ("clippy", tools.cargo("clippy").args(clippy)),
        ("doc", doc.env("RUSTDOCFLAGS", "-D warnings")),
    ];
    let mut checks: Vec<_> =
        commands.into_iter().map(|(name, cmd)| Check::new(name, move |_| Ok(shown(runner, &cmd)?))).collect();
    checks.insert(2, Check::new("test", |out| Ok(test::test(&[], tools, runner, out)?)));
    checks.push(Check::new("rules", |_| Ok(rules::check(runner.folder()).map(|()| Outcome::Yes)?)));
    checks
}
