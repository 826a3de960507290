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

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// The name that our own program has as a guard.
const NAME: &str = "larder-guard";

/// A command that runs the program as one that ends with us, once its arguments are added.
///
/// The program of this process has to call [`entered`] before anything else.
pub(crate) fn guarded(program: &str) -> Command {
    // The program that runs, also where a newer one has taken its place meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.arg0(NAME).arg(std::process::id().to_string()).arg(program);
    command
}

/// Becomes the program that is to be guarded, where these words, with which the process was
/// started, say so. `None`: they do not. It comes back only with an error.
pub fn entered(words: impl IntoIterator<Item = OsString>) -> Option<io::Error> {
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
    fn whose_parent_has_ended_begins_nothing() {
        // The request is of this thread alone.
        let error = std::thread::spawn(|| entered(words(&[NAME, "1", "/none/program"]))).join();
        let error = error.expect("no panic").expect("an error").to_string();
        assert_eq!(error, "the process that started it has ended");
    }
}
