//! Larder's own repository: its tools are built before they are used.

use camino::{Utf8Path, Utf8PathBuf};

use larder::process::command::Cmd;
use larder::process::runner::{RunError, Runner, succeeded};

/// The tools' packages.
const TOOLS: [&str; 3] = ["hashctx", "imgtar", "gcctl"];

/// The workspace, where `dir` (cargo's `CARGO_MANIFEST_DIR`) is this package's folder in it.
#[must_use]
pub fn of_manifest_dir(dir: &str) -> Option<Utf8PathBuf> {
    let dir = Utf8Path::new(dir);
    let workspace = dir.parent().filter(|_| dir.file_name() == Some("xtask"))?;
    TOOLS.iter().all(|tool| workspace.join("crates").join(tool).is_dir()).then(|| workspace.to_owned())
}

/// Builds the tools in the profile of xtask itself. The whole workspace's programs, so that cargo
/// chooses the same features of the dependencies as for the tests, and compiles them once.
///
/// # Errors
/// Where they do not build.
pub fn build_tools(runner: &Runner, release: bool) -> Result<(), RunError> {
    let cmd = Cmd::new("cargo").args(["build", "--quiet", "--workspace", "--bins"]);
    let cmd = if release { cmd.arg("--release") } else { cmd };
    succeeded(&cmd, runner.show(&cmd)?)
}

/// Builds one tool as its users have it.
///
/// # Errors
/// Where it does not build.
pub fn build_for_release(runner: &Runner, tool: &str) -> Result<(), RunError> {
    let cmd = Cmd::new("cargo").args(["build", "--quiet", "--release", "--package", tool]);
    succeeded(&cmd, runner.show(&cmd)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_package_finds_its_workspace() {
        let here = env!("CARGO_MANIFEST_DIR");
        assert_eq!(of_manifest_dir(here).as_deref(), Utf8Path::new(here).parent());
    }

    #[test]
    fn another_package_has_none() {
        assert_eq!(of_manifest_dir("/some/where/xtask"), None);
        assert_eq!(of_manifest_dir(&format!("{}/src", env!("CARGO_MANIFEST_DIR"))), None);
    }
}
