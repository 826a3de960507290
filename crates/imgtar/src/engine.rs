//! Docker and podman, through their own commands, so that contexts, hosts and credentials are the user's.
//!
//! Limit: what an engine's command can do with a pipe; the daemon's own interfaces are not spoken.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use storekit::Digest;

use crate::error::{Error, Result};
use crate::oci::Platform;

/// Which engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
}

impl Kind {
    /// The engine's name, which is that of its command too.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }

    /// The variable that names another command.
    #[must_use]
    pub fn variable(self) -> &'static str {
        match self {
            Self::Docker => "LARDER_DOCKER",
            Self::Podman => "LARDER_PODMAN",
        }
    }
}

/// An engine and its command.
#[derive(Clone, Debug)]
pub struct Engine {
    kind: Kind,
    program: String,
}

impl Engine {
    /// An engine behind this command.
    #[must_use]
    pub fn new(kind: Kind, program: String) -> Self {
        Self { kind, program }
    }

    /// Which engine it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The platform of the engine's machine; that of this one where the engine does not say.
    ///
    /// # Errors
    /// No engine; an engine that refuses.
    pub fn platform(&self) -> Result<Platform> {
        let format = match self.kind {
            Kind::Docker => ["version", "--format", "{{.Server.Os}}/{{.Server.Arch}}"],
            Kind::Podman => ["info", "--format", "{{.Host.OS}}/{{.Host.Arch}}"],
        };
        let said = self.ask(&format)?;
        Ok(said.trim().parse().unwrap_or_else(|_| Platform::host()))
    }

    /// Whether the engine has the image with this ID.
    ///
    /// # Errors
    /// No engine; an engine that cannot be asked.
    pub fn has(&self, id: &Digest) -> Result<bool> {
        let arguments = ["image", "inspect", "--format", "{{.Id}}", &id.to_string()];
        let output = self.output(&arguments)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).contains(&id.hex()));
        }
        let said = last_words(&output.stderr);
        let unknown = ["no such image", "image not known", "no such object", "unable to find"];
        if unknown.iter().any(|phrase| said.to_lowercase().contains(phrase)) {
            return Ok(false);
        }
        Err(self.failed(&arguments, &output.status.to_string(), &said))
    }

    /// Gives an image a name.
    ///
    /// # Errors
    /// No engine; an engine that refuses.
    pub fn tag(&self, id: &Digest, name: &str) -> Result<()> {
        self.ask(&["tag", &id.to_string(), name]).map(drop)
    }

    /// Starts to read an image as an archive. The end of the reader is the engine's success.
    ///
    /// # Errors
    /// No engine.
    pub fn save(&self, image: &str) -> Result<Saving> {
        let arguments: &[&str] = match self.kind {
            Kind::Docker => &["save", image],
            Kind::Podman => &["save", "--format", "docker-archive", image],
        };
        let mut child = self.spawn(arguments, Stdio::null(), Stdio::piped())?;
        let out = child.0.stdout.take();
        Ok(Saving { engine: self.clone(), arguments: arguments.join(" "), out, child: Some(child) })
    }

    /// Starts to load an archive.
    ///
    /// # Errors
    /// No engine.
    pub fn load(&self) -> Result<Loading> {
        let mut child = self.spawn(&["load"], Stdio::piped(), Stdio::piped())?;
        let input = child.0.stdin.take();
        let out = child.0.stdout.take().map(collect);
        Ok(Loading { engine: self.clone(), input, out, child })
    }

    fn ask(&self, arguments: &[&str]) -> Result<String> {
        let output = self.output(arguments)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(self.failed(arguments, &output.status.to_string(), &last_words(&output.stderr)))
    }

    fn output(&self, arguments: &[&str]) -> Result<Output> {
        let started = Command::new(&self.program).args(arguments).stdin(Stdio::null()).output();
        started.map_err(|source| self.not_there(source))
    }

    fn spawn(&self, arguments: &[&str], stdin: Stdio, stdout: Stdio) -> Result<Running> {
        let mut command = Command::new(&self.program);
        let started = command.args(arguments).stdin(stdin).stdout(stdout).stderr(Stdio::piped()).spawn();
        let mut child = started.map_err(|source| self.not_there(source))?;
        let said = child.stderr.take().map(collect);
        Ok(Running(child, said))
    }

    fn not_there(&self, source: io::Error) -> Error {
        let (engine, variable) = (self.kind.name(), self.kind.variable());
        Error::NoEngine { program: self.program.clone(), engine, variable, source }
    }

    fn failed(&self, arguments: &[&str], status: &str, said: &str) -> Error {
        let command = format!("{} {}", self.program, arguments.join(" "));
        let said = if said.is_empty() { "it said nothing" } else { said };
        Error::Engine {
            command,
            program: self.program.clone(),
            status: status.to_owned(),
            said: said.to_owned(),
        }
    }
}

/// A command that runs, and what it says on stderr. Killed when dropped before its end.
struct Running(Child, Option<Words>);

/// The last lines of a stream, read by a thread so that the other side never waits.
struct Words(Arc<Mutex<Vec<String>>>, JoinHandle<()>);

const LINES: usize = 20;

fn collect(stream: impl Read + Send + 'static) -> Words {
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
        last_words(lines.join("\n").as_bytes())
    }
}

/// The last line that says something, without control characters.
fn last_words(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    last.trim().chars().filter(|c| !c.is_control()).take(500).collect()
}

impl Running {
    /// Waits for the end. Returns how it ended, where that was no success, with its last words.
    fn end(&mut self) -> io::Result<Option<(String, String)>> {
        let status = self.0.wait()?;
        let said = self.1.take().map(Words::text).unwrap_or_default();
        Ok((!status.success()).then(|| (status.to_string(), said)))
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
}

impl Read for Saving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(out) = &mut self.out else { return Ok(0) };
        let count = out.read(buffer)?;
        if count > 0 || buffer.is_empty() {
            return Ok(count);
        }
        self.out = None;
        let ended = self.child.take().map_or(Ok(None), |mut child| child.end())?;
        match ended {
            None => Ok(0),
            Some((status, said)) => {
                Err(io::Error::other(self.engine.failed(&[&self.arguments], &status, &said)))
            }
        }
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
