//! Tests in which nothing happens any more: they are ended, with what they waited for.

use std::fs;
use std::process;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// How long nothing may come before the first line, while everything is compiled.
const BUILD: Duration = Duration::from_secs(40 * 60);

/// How long nothing may come between two lines. No test takes half as long.
const SILENCE: Duration = Duration::from_secs(12 * 60);

/// How long the pipe of a killed process may stay open.
const GRACE: Duration = Duration::from_secs(10);

/// Hears of each line that comes, until there is nobody to send one. Where none comes for too long,
/// what runs below this process is listed and killed, so that the tests fail here and do not wait
/// for ever.
pub(crate) fn watch(lines: &Receiver<()>) {
    let mut patience = BUILD;
    let too_long = loop {
        match lines.recv_timeout(patience) {
            Ok(()) => patience = SILENCE,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => break patience,
        }
    };
    let below = below(process::id());
    let minutes = too_long.as_secs() / 60;
    toolkit::output::say(&format!("no test has ended for {minutes} minutes; killing what runs:"));
    for Found { id, command } in &below {
        toolkit::output::say(&format!("    {id}: {command}"));
    }
    for id in below.iter().filter_map(|found| Pid::from_raw(found.id)) {
        // It may have ended meanwhile.
        let _ = kill_process(id, Signal::KILL);
    }
    if lines.recv_timeout(GRACE) == Err(RecvTimeoutError::Timeout) {
        toolkit::output::say("somebody else holds the tests' output; giving up");
        // The thread that waits for it cannot be told.
        let _ = kill_process(rustix::process::getpid(), Signal::KILL);
    }
}

/// A process, and how it was called.
struct Found {
    id: i32,
    command: String,
}

/// All processes that this one started, and those that they started, the first ones first.
fn below(ancestor: u32) -> Vec<Found> {
    let all: Vec<(i32, i32)> =
        fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| parent(&entry)).collect();
    let mut ids = Vec::from_iter(i32::try_from(ancestor));
    let mut next = 0;
    while let Some(parent) = ids.get(next).copied() {
        ids.extend(all.iter().filter(|(_, of)| *of == parent).map(|(id, _)| id));
        next += 1;
    }
    ids.into_iter().skip(1).map(|id| Found { id, command: command(id) }).collect()
}

/// A process's number, and its parent's.
fn parent(entry: &fs::DirEntry) -> Option<(i32, i32)> {
    let id = entry.file_name().to_str()?.parse().ok()?;
    let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
    // The name, in parentheses, may have anything in it; proc_pid_stat(5).
    let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
    Some((id, parent))
}

/// The words of its command line.
fn command(id: i32) -> String {
    let words = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&words).replace('\0', " ");
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::{Command, Stdio};

    #[test]
    fn grandchildren_are_found() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sh -c 'echo; read line; :' 'a (name) of ours'; :"]);
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh");
        shell.stdout.as_mut().expect("a pipe").read_exact(&mut [0]).expect("it runs");
        let found = below(shell.id());
        let commands: Vec<_> = found.iter().map(|found| found.command.as_str()).collect();
        assert_eq!(commands, ["sh -c echo; read line; : a (name) of ours "]);
        drop(shell.stdin.take());
        assert!(shell.wait().expect("it ends").success());
        assert!(below(shell.id()).is_empty());
    }
}
