//! The programs and their manual, built by cargo.

use camino::{Utf8Path, Utf8PathBuf};
use larder::process::command::Cmd;
use larder::process::runner::{Runner, succeeded};

use super::about::Libc;
use super::error::{DistError, at};
use super::payload::{File, Payload, place};

/// The programs of a release.
const PROGRAMS: [&str; 5] = ["gcctl", "hashctx", "imgtar", "larder", "pkgcache"];

/// The time of the commit that is built, in seconds of the epoch; that of zip's epoch where git
/// does not say.
pub(super) fn time(runner: &Runner) -> Result<u64, DistError> {
    let (_, said) = runner.ask(&Cmd::new("git").args(["log", "-1", "--format=%ct"]))?;
    Ok(String::from_utf8_lossy(&said).trim().parse().unwrap_or(315_619_200))
}

/// Builds everything.
pub(super) fn payload(libc: &Libc, runner: &Runner) -> Result<Payload, DistError> {
    let mut payload = manual(runner)?;
    let folder = programs(libc, runner)?;
    for program in PROGRAMS {
        payload.insert(format!("bin/{program}"), File::program(read(&folder.join(program))?));
    }
    for name in ["LICENSE-APACHE", "LICENSE-MIT", "README.md"] {
        payload.insert(format!("share/doc/larder/{name}"), File::text(read(&runner.folder().join(name))?));
    }
    Ok(payload)
}

/// Builds the programs; the folder that they are in.
fn programs(libc: &Libc, runner: &Runner) -> Result<Utf8PathBuf, DistError> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let (job, wanted) = match libc {
        Libc::Native => ("build", target.clone()),
        Libc::Glibc(version) => ("zigbuild", format!("{target}.{version}")),
    };
    if job == "zigbuild" && !has_zigbuild(runner) {
        return Err(DistError::NoZigbuild);
    }
    let folder = runner.folder().join("target/dist");
    let cmd = Cmd::new("cargo").args([job, "--release", "--locked", "--target", &wanted]);
    let cmd = PROGRAMS.iter().fold(cmd, |cmd, program| cmd.flag("--package", program));
    let cmd = cmd.flag("--target-dir", folder.as_str()).env("RUSTFLAGS", &without_paths(runner.folder()));
    succeeded(&cmd, runner.show(&cmd)?)?;
    Ok(folder.join(target).join("release"))
}

fn has_zigbuild(runner: &Runner) -> bool {
    runner.ask(&Cmd::new("cargo-zigbuild").arg("--version")).is_ok_and(|(status, _)| status.success())
}

/// Flags for rustc: the machine's own paths do not stand in the programs.
fn without_paths(workspace: &Utf8Path) -> String {
    let cargo_home = std::env::home_dir().map(|home| home.join(".cargo"));
    let cargo_home = std::env::var_os("CARGO_HOME").map(Into::into).or(cargo_home);
    let registry =
        cargo_home.into_iter().map(|folder| format!(" --remap-path-prefix={}=/cargo", folder.display()));
    format!("--remap-path-prefix={workspace}=/larder{}", registry.collect::<String>())
}

/// The manual, written by programs that are built for that. They share all that they are built from
/// with the tests' ones.
fn manual(runner: &Runner) -> Result<Payload, DistError> {
    let target = runner.folder().join("target");
    let cmd = Cmd::new("cargo").args(["build", "--quiet", "--locked", "--workspace", "--bins"]);
    let cmd = PROGRAMS.iter().fold(cmd, |cmd, program| cmd.flag("--features", &format!("{program}/manual")));
    let cmd = cmd.flag("--target-dir", target.as_str());
    succeeded(&cmd, runner.show(&cmd)?)?;
    let written = tempfile::tempdir().map_err(at(&target))?;
    let folder = Utf8PathBuf::try_from(written.path().to_owned())
        .map_err(|error| at(&target)(error.into_io_error()))?;
    for program in PROGRAMS {
        let cmd = Cmd::new(target.join("debug").join(program)).env("LARDER_MANUAL", folder.as_str());
        succeeded(&cmd, runner.show(&cmd)?)?;
    }
    let mut payload = Payload::new();
    for part in ["man", "completions"] {
        let folder = folder.join(part);
        for entry in folder.read_dir_utf8().map_err(at(&folder))? {
            let entry = entry.map_err(at(&folder))?;
            if let Some(place) = place(entry.file_name()) {
                payload.insert(place, File::text(read(entry.path())?));
            }
        }
    }
    Ok(payload)
}

fn read(path: &Utf8Path) -> Result<Vec<u8>, DistError> {
    std::fs::read(path).map_err(at(path))
}
