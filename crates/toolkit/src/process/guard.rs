//! What of our children ends with us, also where nothing of us is left to tell them (SIGKILL).
//!
//! The kernel does it: a child can ask to be sent a signal when its parent is gone, and the request
//! outlives `exec`. Only the child itself can ask, before its program begins; so what is started is
//! our own program under another name, which asks and becomes the other program. The signal is
//! SIGTERM, after which those programs clear up.
//!
//! Limits: what is sent is sent when the *thread* ends that started the child, so that has to wait
//! for it; a program with privileges of its own (set-user-ID) forgets the request; grandchildren
//! are the child's own business.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// The name that our own program has as a guard.
const NAME: &str = "larder-guard";
/// Our own program.
const SELF: &str = "/proc/self/exe";

/// A command that runs the program in the folder as one that ends with us, once its arguments and
/// variables are added; `path` is its PATH, where it does not get ours. One that is not there is
/// not guarded: so it fails when it is started, as any command does.
///
/// The program of this process has to call [`enter`] before anything else.
#[must_use]
pub fn command(program: &str, folder: &Path, path: Option<&str>) -> Command {
    let path = path.map(OsString::from).or_else(|| env::var_os("PATH")).unwrap_or_default();
    // Without /proc nothing is guarded, and all works.
    if !can_run(program, folder, &path) || !Path::new(SELF).exists() {
        let mut command = Command::new(program);
        command.current_dir(folder);
        return command;
    }
    // The program that runs, also where a newer one has taken its place meanwhile.
    let mut command = Command::new(SELF);
    command.arg0(NAME).arg(std::process::id().to_string()).arg(program).current_dir(folder);
    command
}

/// Whether a program of this name is there, in a folder of PATH where the name has no slash.
fn can_run(program: &str, folder: &Path, path: &OsStr) -> bool {
    let is_program = |path: &Path| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return is_program(&folder.join(program));
    }
    env::split_paths(path).any(|within| is_program(&folder.join(within).join(program)))
}

/// Becomes another program where this process was started to be that. A program that starts
/// guarded ones has to begin with this: it is how those end that it must not leave behind. The code
/// is that of a shell that finds no program.
#[must_use]
pub fn enter() -> Option<ExitCode> {
    let error = entered(env::args_os())?;
    crate::print::output::say(&format!("error: {error}"));
    Some(ExitCode::from(127))
}

/// Becomes the program that is to be guarded, where these words, with which the process was
/// started, say so. `None`: they do not. It comes back only with an error.
fn entered(words: impl IntoIterator<Item = OsString>) -> Option<io::Error> {
    let mut words = words.into_iter();
    if words.next()? != NAME {
        return None;
    }
    let parent = words.next().and_then(|word| Pid::from_raw(word.to_str()?.parse().ok()?));
    let program = words.next()?;
    Some(become_guarded(parent, Command::new(program).args(words)))
}

fn become_guarded(parent: Option<Pid>, command: &mut Command) -> io::Error {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::TERM)) {
        return error.into();
    }
    // It may have ended before this one has asked.
    if parent.is_none() || getppid() != parent {
        return io::Error::other("the process that started it has ended");
    }
    let error = command.exec();
    let program = command.get_program().to_string_lossy();
    io::Error::new(error.kind(), format!("cannot run `{program}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn an_ordinary_command_line_is_none_of_its_business() {
        assert!(entered(words(&["larder", "bake"])).is_none());
        assert!(entered(words(&["/bin/larder-guard", "1", "true"])).is_none());
        assert!(entered(words(&[])).is_none());
    }

    #[test]
    fn a_program_is_looked_for_as_it_would_be_run() {
        let folder = Path::new("/bin");
        let is_there = |program: &str, path: &str| can_run(program, folder, OsStr::new(path));
        assert!(is_there("sh", "/none:/bin") && is_there("/bin/sh", "") && is_there("./sh", ""));
        // Relative to the folder that it runs in.
        assert!(is_there("sh", "/none:."));
        assert!(!is_there("sh", "/none") && !is_there("none/sh", "/bin") && !is_there("", "/bin"));
        // A folder, and a file that is no program.
        assert!(!is_there("/bin", "") && !is_there("/etc/passwd", ""));
    }

    #[test]
    fn one_that_is_not_there_fails_when_it_is_started() {
        let error = command("no-such-program", Path::new("/"), Some("/none")).spawn().expect_err("started");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn whose_parent_has_ended_begins_nothing() {
        // The request is of this thread alone.
        let error = std::thread::spawn(|| entered(words(&[NAME, "1", "/none/program"]))).join();
        let error = error.expect("no panic").expect("an error").to_string();
        assert_eq!(error, "the process that started it has ended");
    }
}
