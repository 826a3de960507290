//! A running engine's command: its pipes, and what it says.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Engine;
use crate::error::{Error, Result};

/// A command that runs, and what it says on stderr. Killed when dropped before its end.
pub(super) struct Running(pub(super) Child, pub(super) Option<Words>);

/// The last lines of a stream, read by a thread so that the other side never waits.
pub(super) struct Words(Arc<Mutex<Vec<String>>>, JoinHandle<()>);

const LINES: usize = 20;

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
    fn text(self) -> String {
        let Self(lines, reading) = self;
        // A thread that died has said what it could.
        let _ = reading.join();
        let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        telling(lines.join("\n").as_bytes())
    }
}

/// The line that tells why a command failed, without control characters: the last one that says something. Podman
/// tries an archive as one format after the other, and ends with what it is least: there the word is docker-archive's.
pub(super) fn telling(stderr: &[u8]) -> String {
    const TRIED: &str = "* docker-archive: ";
    let text = String::from_utf8_lossy(stderr);
    let tried = text.lines().find_map(|line| line.trim().strip_prefix(TRIED));
    let last = || text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    tried.unwrap_or_else(last).trim().chars().filter(|c| !c.is_control()).take(500).collect()
}

impl Running {
    /// Waits for the end. Returns how it ended, where that was no success, with its last words.
    fn end(&mut self) -> io::Result<Option<(String, String)>> {
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
            thread::sleep(Duration::from_millis(3));
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

/// An archive that an engine writes.
pub struct Saving {
    engine: Engine,
    arguments: String,
    out: Option<ChildStdout>,
    child: Option<Running>,
    empty: bool,
}

impl Saving {
    pub(super) fn new(engine: Engine, arguments: String, out: Option<ChildStdout>, child: Running) -> Self {
        Self { engine, arguments, out, child: Some(child), empty: true }
    }

    /// How the command ended, where it ended badly.
    fn end(&mut self) -> io::Result<()> {
        self.out = None;
        let ended = self.child.take().map_or(Ok(None), |mut child| child.end())?;
        let failed = |status: &str, said: &str| {
            Err(io::Error::other(self.engine.failed(&[&self.arguments], status, said)))
        };
        match ended {
            Some((status, said)) => failed(&status, &said),
            None if self.empty => failed("exit status: 0", "it wrote no archive"),
            None => Ok(()),
        }
    }
}

impl Read for Saving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(out) = &mut self.out else { return Ok(0) };
        let count = out.read(buffer)?;
        self.empty &= count == 0;
        if count == 0 && !buffer.is_empty() {
            self.end()?;
        }
        Ok(count)
    }
}

/// An archive that an engine reads.
pub struct Loading {
    engine: Engine,
    input: Option<ChildStdin>,
    out: Option<Words>,
    child: Running,
}

impl Loading {
    pub(super) fn new(engine: Engine, input: Option<ChildStdin>, out: Option<Words>, child: Running) -> Self {
        Self { engine, input, out, child }
    }

    /// Ends the archive, and waits until the engine has taken it.
    ///
    /// # Errors
    /// An engine that refuses.
    pub fn finish(mut self) -> Result<()> {
        drop(self.input.take());
        self.wait()
    }

    /// What the engine said, where writing to it failed: its word counts for more than the broken pipe.
    #[must_use]
    pub fn fail(mut self, error: Error) -> Error {
        drop(self.input.take());
        let broken =
            matches!(&error, Error::Write { source, .. } if source.kind() == io::ErrorKind::BrokenPipe);
        if !broken {
            return error;
        }
        let gone = ("it stopped reading".to_owned(), String::new());
        match self.wait() {
            Err(said) => said,
            Ok(()) => self.engine.failed(&["load"], &gone.0, &gone.1),
        }
    }

    fn wait(&mut self) -> Result<()> {
        let ended = self.child.end().map_err(|source| self.engine.not_there(source))?;
        let out = self.out.take().map(Words::text).unwrap_or_default();
        match ended {
            None => Ok(()),
            Some((status, said)) => {
                Err(self.engine.failed(&["load"], &status, if said.is_empty() { &out } else { &said }))
            }
        }
    }
}

impl Write for Loading {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.input {
            Some(input) => input.write(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.input.as_mut().map_or(Ok(()), Write::flush)
    }
}
