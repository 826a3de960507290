//! Archives from and to an engine.

use std::io::{self, Read, Write};
use std::process::{ChildStdin, ChildStdout};

use super::Engine;
use super::daemon::{Incoming, Refusal, Upload};
use super::process::{Running, Words};
use crate::error::{Error, Result};

/// An archive that an engine writes.
pub struct Saving {
    engine: Engine,
    arguments: String,
    from: From,
    empty: bool,
}

enum From {
    Command(ChildStdout, Running),
    Daemon(Incoming),
    /// It ended.
    Nothing,
}

impl Saving {
    pub(super) fn written(
        engine: Engine,
        arguments: &[&str],
        out: Option<ChildStdout>,
        child: Running,
    ) -> Self {
        Self::new(engine, arguments, out.map_or(From::Nothing, |out| From::Command(out, child)))
    }

    pub(super) fn sent(engine: Engine, arguments: &[&str], archive: Incoming) -> Self {
        Self::new(engine, arguments, From::Daemon(archive))
    }

    fn new(engine: Engine, arguments: &[&str], from: From) -> Self {
        Self { engine, arguments: arguments.join(" "), from, empty: true }
    }

    /// How it ended, where it ended badly.
    fn end(&mut self) -> io::Result<()> {
        let ended = match std::mem::replace(&mut self.from, From::Nothing) {
            From::Command(out, mut child) => {
                drop(out);
                child.end()?
            }
            From::Daemon(_) | From::Nothing => None,
        };
        match ended {
            Some((status, said)) => Err(self.failed(&status, &said)),
            None if self.empty => Err(self.failed("exit status: 0", "it wrote no archive")),
            None => Ok(()),
        }
    }

    fn failed(&self, status: &str, said: &str) -> io::Error {
        io::Error::other(self.engine.failed(&[&self.arguments], status, said))
    }
}

impl Read for Saving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.from {
            From::Command(out, _) => out.read(buffer)?,
            From::Daemon(archive) => {
                // A daemon that goes away is not an archive that is cut off.
                archive.read(buffer).map_err(|error| self.failed("it broke off", &error.to_string()))?
            }
            From::Nothing => return Ok(0),
        };
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
    to: To,
}

enum To {
    Command(Option<ChildStdin>, Option<Words>, Running),
    Daemon(Upload),
}

impl Loading {
    pub(super) fn read(
        engine: Engine,
        input: Option<ChildStdin>,
        out: Option<Words>,
        child: Running,
    ) -> Self {
        Self { engine, to: To::Command(input, out, child) }
    }

    pub(super) fn sent(engine: Engine, upload: Upload) -> Self {
        Self { engine, to: To::Daemon(upload) }
    }

    /// Ends the archive, and waits until the engine has taken it.
    ///
    /// # Errors
    /// An engine that refuses.
    pub fn finish(self) -> Result<()> {
        match self.to {
            To::Command(input, out, child) => {
                drop(input);
                ended(&self.engine, out, child)
            }
            To::Daemon(upload) => upload.finish().map_err(|no| self.engine.refused(&["load"], &no)),
        }
    }

    /// What the engine said, where writing to it failed: its word counts for more than the broken
    /// pipe.
    #[must_use]
    pub fn fail(self, error: Error) -> Error {
        let is_broken = |kind| matches!(kind, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
        if !matches!(&error, Error::Write { source, .. } if is_broken(source.kind())) {
            return error;
        }
        let Self { engine, to } = self;
        let said = match to {
            To::Command(input, out, child) => {
                drop(input);
                ended(&engine, out, child)
            }
            To::Daemon(upload) => upload.answer().map_err(|no| engine.refused(&["load"], &no)),
        };
        let gone = Refusal { status: "it stopped reading".to_owned(), said: String::new() };
        said.err().unwrap_or_else(|| engine.refused(&["load"], &gone))
    }
}

/// How a command that loads ended.
fn ended(engine: &Engine, out: Option<Words>, mut child: Running) -> Result<()> {
    let ended = child.end().map_err(|source| engine.not_there(source))?;
    let out = out.map(Words::text).unwrap_or_default();
    match ended {
        None => Ok(()),
        Some((status, said)) => {
            Err(engine.failed(&["load"], &status, if said.is_empty() { &out } else { &said }))
        }
    }
}

impl Write for Loading {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.to {
            To::Command(Some(input), ..) => input.write(bytes),
            To::Command(None, ..) => Err(io::ErrorKind::BrokenPipe.into()),
            To::Daemon(upload) => upload.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::Command(input, ..) => input.as_mut().map_or(Ok(()), Write::flush),
            To::Daemon(upload) => upload.flush(),
        }
    }
}
