//! Ends builds of podman so that nothing of them is left.
//!
//! At a signal podman ends at once: the step goes on without it, and the working containers stay.
//! Where a step fails it takes all of that away. So it is the step that is ended, and podman itself
//! is told only where it does not end by that. A build is known by the folder for its temporary
//! files (`TMPDIR`): buildah keeps a folder there for the step that runs, with the number of its
//! process and the name of its working container.
//!
//! Limits: a build that is between two steps, pulls or has a step in a `chroot` is told itself, and
//! may leave working containers; with `--pid=host` only the first process of a step is ended.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use super::aside::asked;

/// How the names of these folders begin, within the folder of a run.
pub(crate) const FOLDER: &str = "podman-";
/// How the folders of steps are called.
const STEP: &str = "buildah";
/// How long a build may be between two steps before podman itself is told to end.
const BETWEEN: Duration = Duration::from_secs(3);
/// How long podman has to clear up after a step that was ended.
const CLEARING: Duration = Duration::from_secs(20);
/// How long it takes to look again.
const PAUSE: Duration = Duration::from_millis(20);

/// A container, as `podman ps --format json` lists it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    /// `storage`: of a build.
    state: String,
    /// In seconds since 1970.
    created: u64,
}

/// One build of podman.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Build {
    /// The folder for its temporary files, and for no other build's.
    folder: Utf8PathBuf,
    /// podman's command.
    podman: String,
}

impl Build {
    pub(crate) fn new(folder: &Utf8Path, podman: &str) -> Self {
        Self { folder: folder.to_owned(), podman: podman.to_owned() }
    }

    /// Ends its steps until it does not run any more. `false`: it still does, and is to be told
    /// itself.
    pub(crate) fn end(&self, runs: impl Fn() -> bool) -> bool {
        let (mut since, mut patience) = (Instant::now(), BETWEEN);
        while runs() {
            if self.end_steps() && patience == BETWEEN {
                (since, patience) = (Instant::now(), CLEARING);
            }
            if since.elapsed() > patience {
                return false;
            }
            thread::sleep(PAUSE);
        }
        true
    }

    /// Takes away what is left of it when podman is gone.
    ///
    /// A step can write into its `hostname`, so that says nothing by itself: what goes is a working
    /// container of a build, and no older than this one.
    pub(crate) fn clear(&self) {
        self.end_steps();
        let text = |step: Utf8PathBuf| fs::read_to_string(step.join("hostname")).ok();
        let names = self.steps().into_iter().filter_map(text).map(|name| name.trim().to_owned());
        let names: Vec<_> = names.filter(|name| name.len() == 12).collect();
        let begun = fs::metadata(&self.folder).and_then(|found| found.created()).ok();
        let begun = begun.and_then(|begun| begun.duration_since(UNIX_EPOCH).ok());
        let Some(begun) = begun.filter(|_| !names.is_empty()) else { return };
        let listed = asked(self.podman().args(["ps", "-a", "--external", "--no-trunc", "--format", "json"]));
        let listed = listed.ok().flatten().unwrap_or_default();
        let listed: Vec<Listed> = serde_json::from_slice(&listed).unwrap_or_default();
        let is_left = |it: &Listed| {
            it.state == "storage"
                && it.created >= begun.as_secs()
                && names.iter().any(|name| it.id.starts_with(name))
        };
        let left: Vec<_> = listed.iter().filter(|it| is_left(it)).map(|it| it.id.as_str()).collect();
        if !left.is_empty() {
            // One that cannot be removed stays, as podman itself leaves it.
            let _ = asked(self.podman().args(["rm", "-f"]).args(left));
        }
    }

    fn podman(&self) -> Command {
        Command::new(&self.podman)
    }

    /// The folders of its steps that run.
    fn steps(&self) -> Vec<Utf8PathBuf> {
        let entries = self.folder.read_dir_utf8().into_iter().flatten().flatten();
        let steps = entries.filter(|entry| entry.file_name().starts_with(STEP));
        steps.map(camino::Utf8DirEntry::into_path).collect()
    }

    /// Kills the processes of its steps. Whether there were any.
    fn end_steps(&self) -> bool {
        let mut ended = false;
        for step in self.steps() {
            let number = fs::read_to_string(step.join("pid")).ok().and_then(|text| text.trim().parse().ok());
            let Some(pid) = number.and_then(Pid::from_raw) else { continue };
            // The number may be another process's by now.
            if is_of(pid, &step) {
                ended |= kill_process(pid, Signal::KILL).is_ok();
            }
        }
        ended
    }
}

/// Whether the process sees files of the step's folder, as each process of a step does.
fn is_of(pid: Pid, step: &Utf8Path) -> bool {
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", pid.as_raw_nonzero())).unwrap_or_default();
    // The file system may be mounted anywhere: the last names are enough, for no others are alike.
    let mut names: Vec<_> = step.components().rev().take(3).map(|name| name.as_str()).collect();
    names.reverse();
    mounts.contains(&format!("/{}/", names.join("/")))
}

/// Ends what runs on of a run that was killed, and takes away what is left of it but files.
/// `folder` is the run's. `false`: something of it is still there.
pub(crate) fn end_left(folder: &Utf8Path, podman: &str) -> bool {
    let entries = folder.read_dir_utf8().into_iter().flatten().flatten();
    let builds = entries.filter(|entry| entry.file_name().starts_with(FOLDER));
    for build in builds.map(|entry| Build::new(entry.path(), podman)) {
        if !build.end(|| !running(&build.folder, podman).is_empty()) {
            for pid in running(&build.folder, podman) {
                // One that has ended meanwhile is no matter.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        build.clear();
    }
    !has_mounts(folder)
}

/// Whether something is mounted there, or that cannot be told: it is not ours to remove.
fn has_mounts(folder: &Utf8Path) -> bool {
    let (Ok(real), Ok(mounts)) = (folder.canonicalize_utf8(), fs::read_to_string("/proc/self/mountinfo"))
    else {
        return true;
    };
    // Source: proc(5), `mountinfo`: spaces, tabs, ends of lines and backslashes stand in octal.
    let plain = |at: &str| {
        [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
            .iter()
            .fold(at.to_owned(), |at, (written, meant)| at.replace(written, meant))
    };
    let mut places = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(plain);
    places.any(|at| Utf8Path::new(&at).starts_with(&real))
}

/// The processes of podman and of this user whose temporary files go to the folder. Others inherit
/// the variable and serve other containers, too.
fn running(folder: &Utf8Path, podman: &str) -> Vec<Pid> {
    let variable = format!("TMPDIR={folder}");
    let user = rustix::process::getuid().as_raw();
    let names = ["podman", Utf8Path::new(podman).file_name().unwrap_or_default()];
    let is_podman = |entry: &fs::DirEntry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let program =
            line.split(|byte| *byte == 0).next().and_then(|program| std::str::from_utf8(program).ok());
        program
            .and_then(|program| Utf8Path::new(program).file_name())
            .is_some_and(|name| names.contains(&name))
    };
    let has_it = |entry: &fs::DirEntry| {
        entry.metadata().is_ok_and(|found| found.uid() == user)
            && is_podman(entry)
            && fs::read(entry.path().join("environ"))
                .is_ok_and(|all| all.split(|byte| *byte == 0).any(|one| one == variable.as_bytes()))
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbered = entries.filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
        has_it(&entry).then_some(number)
    });
    numbered.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn only_a_process_of_the_step_is_ended() {
        let temp = tempfile::tempdir().expect("a folder");
        let folder = Utf8Path::from_path(temp.path()).expect("UTF-8").join("podman-0");
        fs::create_dir_all(folder.join("buildah1")).expect("a folder");
        let mut other = Command::new("sleep").arg("600").spawn().expect("sleep");
        larder_tests::write(folder.join("buildah1/pid"), other.id().to_string());
        let build = Build::new(&folder, "/none/podman");
        assert!(!build.end_steps(), "another process has its number");
        build.clear();
        other.kill().expect("it runs");
        assert_eq!(other.wait().expect("it ends").signal(), Some(9));
    }

    #[test]
    fn a_killed_run_is_known_by_the_folder_of_its_temporary_files() {
        let temp = tempfile::tempdir().expect("a folder");
        let folder = Utf8Path::from_path(temp.path()).expect("UTF-8").join("podman-0");
        let start = |at: &Utf8Path| {
            let mut sleep = Command::new("sleep");
            sleep.arg("600").env("TMPDIR", at).spawn().expect("sleep")
        };
        let (mut own, mut other) = (start(&folder), start(&temp_beside(&folder)));
        let found = running(&folder, "/bin/sleep");
        assert_eq!(found, [Pid::from_child(&own)]);
        assert!(running(&folder, "/bin/podman").is_empty(), "another program's process");
        for child in [&mut own, &mut other] {
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
        assert!(running(&folder, "sleep").is_empty());
    }

    fn temp_beside(folder: &Utf8Path) -> Utf8PathBuf {
        Utf8PathBuf::from(format!("{folder}0"))
    }
}
