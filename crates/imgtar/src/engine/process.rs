//! A running engine's command: its pipes, and what it says.

use std::io::{self, BufRead, BufReader, Read};
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A command that runs, and what it says on stderr. Killed when dropped before its end.
pub(super) struct Running(pub(super) Child, pub(super) Option<Words>);

/// The last lines of a stream, read by a thread so that the other side never waits.
pub(super) struct Words(Arc<Mutex<Vec<String>>>, JoinHandle<()>);

const LINES: usize = 20;
/// How long a stream may stay open when its command has ended: something that the command has
/// started may hold it, and is not waited for.
const LINGER: Duration = Duration::from_secs(1);
/// How long it takes to look again.
const PAUSE: Duration = Duration::from_millis(3);

pub(super) fn collect(stream: impl Read + Send + 'static) -> Words {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let to = Arc::clone(&lines);
    let reading = thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let mut lines = to.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() == LINES {
                lines.remove(0);
            }
            lines.push(String::from_utf8_lossy(&line).into_owned());
        }
    });
    Words(lines, reading)
}

impl Words {
    pub(super) fn text(self) -> String {
        let Self(lines, reading) = self;
        let ended = Instant::now();
        while !reading.is_finished() && ended.elapsed() < LINGER {
            thread::sleep(PAUSE);
        }
        let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        telling(lines.join("\n").as_bytes())
    }
}

/// The line that tells why a command failed, without control characters: the last one that says
/// something. Podman tries an archive as one format after the other, and ends with what it is
/// least: there the word is docker-archive's.
pub(super) fn telling(stderr: &[u8]) -> String {
    const TRIED: &str = "* docker-archive: ";
    let text = String::from_utf8_lossy(stderr);
    let tried = text.lines().find_map(|line| line.trim().strip_prefix(TRIED));
    let last = || text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    tried.unwrap_or_else(last).trim().chars().filter(|c| !c.is_control()).take(500).collect()
}

impl Running {
    /// Waits for the end. Returns how it ended, where that was not a success, with its last words.
    pub(super) fn end(&mut self) -> io::Result<Option<(String, String)>> {
        let status = self.0.wait()?;
        let said = self.1.take().map(Words::text).unwrap_or_default();
        Ok((!status.success()).then(|| (status.to_string(), said)))
    }
}

impl Running {
    /// As [`Running::end`]; kills it once `go_on` says no.
    pub(super) fn end_while(&mut self, go_on: &dyn Fn() -> bool) -> io::Result<Option<(String, String)>> {
        while self.0.try_wait()?.is_none() {
            if !go_on() {
                // Fails where it has ended meanwhile.
                let _ = self.0.kill();
            }
            thread::sleep(PAUSE);
        }
        self.end()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail where it has ended already, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn what_a_command_leaves_behind_is_not_waited_for() {
        let script = "echo said >&2; sleep 600 & echo $!; exit 3";
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("sh");
        let said = child.stderr.take().map(collect);
        let mut left = String::new();
        let out = BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut left);
        out.expect("its number");
        let ended = Running(child, said).end().expect("an end");
        assert_eq!(ended, Some(("exit status: 3".to_owned(), "said".to_owned())));
        Command::new("kill").arg(left.trim()).status().expect("kill");
    }
}
