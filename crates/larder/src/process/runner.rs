//! Runs commands: with their output captured, shown, or piped into one another.
//!
//! A command's own messages always reach stderr. Stdout of what is only shown goes to stderr too:
//! ours is for data.

use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use crate::process::background::Background;
use crate::process::children::{Children, Kind};
use crate::process::command::{Cmd, quoted};
pub use crate::process::error::RunError;
use crate::process::live::Live;
use crate::process::masked::{Masked, Secrets};
use toolkit::output;
use toolkit::words::span;

/// How much larder says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Warnings and errors; the output of a build only when it fails.
    Quiet,
    /// What a build prints, too.
    #[default]
    Normal,
    /// Each command, too.
    Verbose,
}

/// Runs commands in one folder.
#[derive(Clone, Debug)]
pub struct Runner {
    folder: Utf8PathBuf,
    verbosity: Verbosity,
    children: Children,
    /// Whether what a build prints is shown when it has ended.
    holds_builds: bool,
    /// What is drawn below all that is said.
    live: Live,
}

impl Runner {
    /// A runner for the folder; `-v` begins with the line that goes there.
    #[must_use]
    pub fn new(folder: Utf8PathBuf, verbosity: Verbosity, children: Children) -> Self {
        let live = Live::default();
        let runner = Self { folder, verbosity, children, holds_builds: false, live };
        runner.say(&format!("cd {}", quoted(runner.folder.as_str())));
        runner
    }

    /// The same, for builds that run at once: what one prints is shown in one piece when it has
    /// failed, and with `-v` whenever it has ended.
    #[must_use]
    pub fn holding_builds(&self) -> Self {
        Self { holds_builds: true, ..self.clone() }
    }

    /// The same, with all that is said put above a live view.
    #[must_use]
    pub(crate) fn below(&self, live: &Live) -> Self {
        Self { live: live.clone(), ..self.clone() }
    }

    /// What is drawn below all that is said.
    pub(crate) fn live(&self) -> &Live {
        &self.live
    }

    /// Says a line on stderr.
    pub(crate) fn tell(&self, line: &str) {
        self.live.aside(|| output::say(line));
    }

    /// The folder that the commands run in.
    #[must_use]
    pub fn folder(&self) -> &Utf8Path {
        &self.folder
    }

    /// How much to say.
    #[must_use]
    pub fn verbosity(&self) -> Verbosity {
        self.verbosity
    }

    /// An error once a signal has asked larder to stop.
    ///
    /// # Errors
    /// [`RunError::Interrupted`].
    pub fn uninterrupted(&self) -> Result<(), RunError> {
        self.children.interrupted().map_or(Ok(()), |code| Err(RunError::Interrupted(code)))
    }

    /// Runs the command; its stdout and how it ended.
    ///
    /// # Errors
    /// Only where it did not run to its end: any exit code is the caller's to judge.
    pub fn capture(&self, cmd: &Cmd) -> Result<(ExitStatus, Vec<u8>), RunError> {
        self.say(&cmd.to_string());
        let said = self.said(cmd)?;
        let child = self.start_guarded(cmd, Stdio::null(), Stdio::piped(), said.stdio(cmd)?)?;
        let ended = self.heard(cmd, child);
        self.show_said(said);
        ended
    }

    /// How the command ended, and what it wrote; it is read while its time runs.
    fn heard(&self, cmd: &Cmd, mut child: Child) -> Result<(ExitStatus, Vec<u8>), RunError> {
        let stdout = child.stdout.take();
        let read = move || {
            let mut data = Vec::new();
            let read = stdout.map_or(Ok(0), |mut stdout| stdout.read_to_end(&mut data));
            read.map(|_| data)
        };
        if cmd.limit().is_none() {
            let read = read();
            return Ok((self.wait(cmd, &mut child)?, read.map_err(lost(cmd))?));
        }
        std::thread::scope(|scope| {
            let reader = scope.spawn(read);
            let status = self.wait(cmd, &mut child)?;
            let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok((status, read.map_err(lost(cmd))?))
        })
    }

    /// As `capture`, without a word from the command: for questions that may be answered with an
    /// error.
    ///
    /// # Errors
    /// As `capture`.
    pub fn ask(&self, cmd: &Cmd) -> Result<(ExitStatus, Vec<u8>), RunError> {
        self.say(&cmd.to_string());
        let child = self.start(cmd, Stdio::null(), Stdio::piped(), Stdio::null())?;
        self.heard(cmd, child)
    }

    /// As `capture`, with what the command says on stderr in `said`, to be shown by `release`; with
    /// `-v` it is shown at once.
    ///
    /// # Errors
    /// As `capture`.
    pub(crate) fn hold(&self, cmd: &Cmd, said: &mut Vec<u8>) -> Result<(ExitStatus, Vec<u8>), RunError> {
        if self.verbosity == Verbosity::Verbose {
            return self.capture(cmd);
        }
        let mut log = tempfile::tempfile().map_err(lost(cmd))?;
        let stderr = log.try_clone().map_err(lost(cmd))?.into();
        let child = self.start_guarded(cmd, Stdio::null(), Stdio::piped(), stderr)?;
        let ended = self.heard(cmd, child);
        log.rewind().and_then(|()| log.read_to_end(said)).map_err(lost(cmd))?;
        ended
    }

    /// Shows what was held back.
    pub(crate) fn release(&self, said: &[u8]) {
        // Nobody is left to tell where stderr is closed.
        self.live.aside(|| drop(io::stderr().write_all(said)));
    }

    /// Where a command's own messages go: to stderr, or below a live view into a file, to be shown
    /// in one piece.
    fn said(&self, cmd: &Cmd) -> Result<Said, RunError> {
        Ok(Said(self.live.is_shown().then(tempfile::tempfile).transpose().map_err(lost(cmd))?))
    }

    fn show_said(&self, said: Said) {
        if let Some(mut file) = said.0 {
            // What cannot be shown is lost.
            self.live.aside(|| drop(file.rewind().and_then(|()| io::copy(&mut file, &mut io::stderr()))));
        }
    }

    /// The stdout of a command that must end with 0.
    ///
    /// # Errors
    /// Where it did not.
    pub fn output(&self, cmd: &Cmd) -> Result<Vec<u8>, RunError> {
        let (status, data) = self.capture(cmd)?;
        succeeded(cmd, status).map(|()| data)
    }

    /// Runs the command with its output shown on stderr.
    ///
    /// # Errors
    /// Only where it did not run to its end.
    pub fn show(&self, cmd: &Cmd) -> Result<ExitStatus, RunError> {
        self.say(&cmd.to_string());
        let mut child = self.start_guarded(cmd, Stdio::null(), ours(cmd)?, Stdio::inherit())?;
        self.wait(cmd, &mut child)
    }

    /// As `show`, with the secrets masked, and keeps all that the command prints in a file of its
    /// own.
    ///
    /// # Errors
    /// As `show`; a file that cannot be made.
    pub(crate) fn show_and_keep(
        &self,
        cmd: &Cmd,
        log: Option<&Utf8Path>,
        secrets: Secrets,
    ) -> Result<ExitStatus, RunError> {
        if log.is_none() && secrets.is_empty() {
            return self.show(cmd);
        }
        self.say(&cmd.to_string());
        let made = |log: &Utf8Path| {
            let unmade = |source| RunError::Lost { program: log.to_string(), source };
            std::fs::File::create(log).map_err(unmade)
        };
        let file = log.map(made).transpose()?;
        let (reader, stdout) = io::pipe().map_err(lost(cmd))?;
        let stderr = stdout.try_clone().map_err(lost(cmd))?;
        let mut child = self.start_guarded(cmd, Stdio::null(), stdout.into(), stderr.into())?;
        let (ended, end) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            copy_masked(reader, &secrets, Both { file });
            // Who waits no longer is not told.
            let _ = ended.send(());
        });
        let status = self.wait(cmd, &mut child);
        // What runs on in the background may keep the pipe open.
        let _ = end.recv_timeout(Duration::from_secs(1));
        status
    }

    /// Runs the command and hands on each line of its stdout as it comes. What the lines' taker
    /// cannot take ends the handing on, not the command.
    ///
    /// # Errors
    /// Only where it did not run to its end.
    pub fn tee(
        &self,
        cmd: &Cmd,
        take: &mut impl FnMut(&str) -> io::Result<()>,
    ) -> Result<ExitStatus, RunError> {
        self.say(&cmd.to_string());
        let mut child = self.start(cmd, Stdio::null(), Stdio::piped(), Stdio::inherit())?;
        let mut taken = Ok(());
        for line in child.stdout.take().into_iter().flat_map(|stdout| BufReader::new(stdout).split(b'\n')) {
            let Ok(line) = line else { break };
            taken = taken.and_then(|()| take(&String::from_utf8_lossy(&line)));
        }
        let status = self.wait(cmd, &mut child)?;
        taken.map_err(lost(cmd)).map(|()| status)
    }

    /// Runs a build: what it prints is shown as it comes, or with `Quiet` only at a failure.
    /// `from`, if given, is piped into it, and both must end with 0. Below a live view, each line
    /// goes to `line`, too.
    ///
    /// # Errors
    /// Where one of the two did not.
    pub fn build(
        &self,
        from: Option<&Cmd>,
        cmd: &Cmd,
        line: Box<dyn Fn(&str) + Send>,
    ) -> Result<(), RunError> {
        match from {
            None => self.say(&cmd.to_string()),
            Some(from) => self.say(&format!("{from} | {cmd}")),
        }
        let is_held = self.holds_builds || self.verbosity == Verbosity::Quiet;
        let mut log = is_held.then(tempfile::tempfile).transpose().map_err(lost(cmd))?;
        let result = match log.as_ref().filter(|_| self.live.is_shown()) {
            Some(log) => self.build_watched(from, cmd, log, line),
            None => self.build_into(from, cmd, log.as_ref().map(AsFd::as_fd)),
        };
        if let (Kind::Build(build), Err(RunError::Interrupted(_) | RunError::Late { .. })) =
            (cmd.kind(), &result)
        {
            build.clear();
        }
        // Of a build that was stopped nobody asks why it failed.
        let has_failed = result.as_ref().is_err_and(|error| !error.is_interruption());
        let is_shown = has_failed || self.verbosity == Verbosity::Verbose;
        if let Some(log) = log.as_mut().filter(|_| is_shown) {
            self.live.aside(|| {
                // In one piece, whatever other threads have to say.
                let mut stderr = io::stderr().lock();
                if self.holds_builds {
                    output::say(&format!("what `{cmd}` printed:"));
                }
                // What cannot be shown is lost; the failure itself is still told.
                let _ = log.rewind().and_then(|()| io::copy(log, &mut stderr));
            });
        }
        result
    }

    /// Runs the build with what it prints in the log, and handed on line by line.
    fn build_watched(
        &self,
        from: Option<&Cmd>,
        cmd: &Cmd,
        log: &std::fs::File,
        line: Box<dyn Fn(&str) + Send>,
    ) -> Result<(), RunError> {
        let (reader, writer) = io::pipe().map_err(lost(cmd))?;
        let log = log.try_clone().map_err(lost(cmd))?;
        let (ended, end) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            copy_lines(reader, log, &*line);
            // Who waits no longer is not told.
            let _ = ended.send(());
        });
        let result = self.build_into(from, cmd, Some(writer.as_fd()));
        drop(writer);
        // What runs on in the background may keep the pipe open.
        let _ = end.recv_timeout(Duration::from_secs(1));
        result
    }

    /// Runs the command with its stdout in the file.
    ///
    /// # Errors
    /// Where it did not end with 0.
    pub fn write(&self, cmd: &Cmd, path: &Utf8Path) -> Result<(), RunError> {
        self.say(&format!("{cmd} > {}", quoted(path.as_str())));
        let file = std::fs::File::create(path).map_err(lost(cmd))?;
        let said = self.said(cmd)?;
        let mut child = self.start(cmd, Stdio::null(), file.into(), said.stdio(cmd)?)?;
        let status = self.wait(cmd, &mut child)?;
        self.show_said(said);
        succeeded(cmd, status)
    }

    fn build_into(&self, from: Option<&Cmd>, cmd: &Cmd, log: Option<BorrowedFd<'_>>) -> Result<(), RunError> {
        let sink = |otherwise: Stdio| match log {
            Some(log) => log.try_clone_to_owned().map(Stdio::from).map_err(lost(cmd)),
            None => Ok(otherwise),
        };
        let Some(from) = from else {
            let mut child =
                self.start_guarded(cmd, Stdio::null(), sink(ours(cmd)?)?, sink(Stdio::inherit())?)?;
            return succeeded(cmd, self.wait(cmd, &mut child)?);
        };
        let said = self.said(from)?;
        let mut source = self.start_guarded(from, Stdio::null(), Stdio::piped(), said.stdio(from)?)?;
        let pipe = source.stdout.take().map_or_else(Stdio::null, Stdio::from);
        let started = self.start_guarded(cmd, pipe, sink(ours(cmd)?)?, sink(Stdio::inherit())?);
        let ended = started.and_then(|mut child| self.wait(cmd, &mut child));
        let source_ended = self.wait(from, &mut source);
        self.show_said(said);
        // The reader's failure comes first: a source whose reader is gone only says that its pipe
        // broke.
        succeeded(cmd, ended?)?;
        succeeded(from, source_ended?)
    }

    /// Starts a command that runs on beside us, with all it says in the file `log`.
    ///
    /// # Errors
    /// Where it could not be started.
    pub fn background(&self, cmd: &Cmd, log: &Utf8Path) -> Result<Background, RunError> {
        self.say(&format!("{cmd} &"));
        let file = std::fs::File::create(log).and_then(|file| Ok((file.try_clone()?, file)));
        let (stdout, stderr) = file.map_err(lost(cmd))?;
        let child = self.start(cmd, Stdio::null(), stdout.into(), stderr.into())?;
        Ok(Background::new(child, self.children.clone()))
    }

    /// Starts what is soon done, or may run on.
    fn start(&self, cmd: &Cmd, stdin: Stdio, stdout: Stdio, stderr: Stdio) -> Result<Child, RunError> {
        self.spawn(cmd, false, [stdin, stdout, stderr])
    }

    /// Starts what must not go on where this process is killed. This thread has to wait for it.
    fn start_guarded(
        &self,
        cmd: &Cmd,
        stdin: Stdio,
        stdout: Stdio,
        stderr: Stdio,
    ) -> Result<Child, RunError> {
        // podman leaves less behind where it is let, until the next bake ends its step.
        let is_guarded = self.children.can_guard() && !matches!(cmd.kind(), Kind::Build(_));
        self.spawn(cmd, is_guarded, [stdin, stdout, stderr])
    }

    fn spawn(
        &self,
        cmd: &Cmd,
        is_guarded: bool,
        [stdin, stdout, stderr]: [Stdio; 3],
    ) -> Result<Child, RunError> {
        let mut command = cmd.build(&self.folder, is_guarded);
        let child = self.children.spawn_as(cmd.kind(), command.stdin(stdin).stdout(stdout).stderr(stderr));
        match child.map_err(|source| RunError::Start { program: cmd.program().to_owned(), source })? {
            Some(child) => Ok(child),
            None => Err(self.interruption()),
        }
    }

    fn wait(&self, cmd: &Cmd, child: &mut Child) -> Result<ExitStatus, RunError> {
        let (status, is_late) = match cmd.limit() {
            Some(limit) => self.children.wait_at_most(child, limit).map_err(lost(cmd))?,
            None => (self.children.wait(child).map_err(lost(cmd))?, false),
        };
        match (self.children.interrupted(), cmd.limit().filter(|_| is_late)) {
            (Some(code), _) => Err(RunError::Interrupted(code)),
            (None, Some(limit)) => Err(RunError::Late { command: cmd.short(), limit: span(limit.as_secs()) }),
            (None, None) => Ok(status),
        }
    }

    /// Why work that was told to stop has stopped.
    pub(crate) fn interruption(&self) -> RunError {
        RunError::Interrupted(self.children.interrupted().unwrap_or(130))
    }

    /// Prints a line of the script that `-v` shows.
    pub(crate) fn say(&self, line: &str) {
        if self.verbosity == Verbosity::Verbose {
            output::say(&format!("+ {line}"));
        }
    }
}

/// What a command says on stderr, where it is held back.
struct Said(Option<std::fs::File>);

impl Said {
    fn stdio(&self, cmd: &Cmd) -> Result<Stdio, RunError> {
        match &self.0 {
            Some(file) => file.try_clone().map(Stdio::from).map_err(lost(cmd)),
            None => Ok(Stdio::inherit()),
        }
    }
}

/// An error unless the command ended with 0.
///
/// # Errors
/// `Failed`, with the code.
pub fn succeeded(cmd: &Cmd, status: ExitStatus) -> Result<(), RunError> {
    if status.success() {
        return Ok(());
    }
    Err(RunError::Failed { command: cmd.short(), how: how(status), code: code(status) })
}

/// The exit code as a shell gives it: 128 and the signal's number for a killed process.
#[must_use]
pub fn code(status: ExitStatus) -> Option<u8> {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal))?;
    u8::try_from(code).ok()
}

pub(crate) fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended without a code".to_owned(),
    }
}

fn lost(cmd: &Cmd) -> impl Fn(io::Error) -> RunError + '_ {
    |source| RunError::Lost { program: cmd.program().to_owned(), source }
}

/// Our stderr, and a file beside it.
struct Both {
    file: Option<std::fs::File>,
}

/// The step goes on where nobody reads what it prints, or the disk is full: nothing here fails.
impl Write for Both {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(part);
        let _ = self.file.as_mut().map(|file| file.write_all(part));
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Copies without the secrets, until the end of what comes.
fn copy_masked(mut from: impl Read, secrets: &Secrets, to: Both) {
    let mut masked = Masked::new(secrets, to);
    let mut buffer = vec![0; 1 << 14];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let _ = masked.write(buffer.get(..count).unwrap_or_default());
    }
    let _ = masked.end();
}

/// Copies to the file, and hands on each line as it comes, until the end of what comes.
fn copy_lines(from: impl Read, mut file: std::fs::File, line: &dyn Fn(&str)) {
    let mut from = BufReader::new(from);
    let mut bytes = Vec::new();
    while let Ok(1..) = from.read_until(b'\n', &mut bytes) {
        // The build goes on where the disk is full.
        let _ = file.write_all(&bytes);
        line(&String::from_utf8_lossy(&bytes));
        bytes.clear();
    }
}

/// Our stderr, as another process's stdout.
fn ours(cmd: &Cmd) -> Result<Stdio, RunError> {
    io::stderr().as_fd().try_clone_to_owned().map(Stdio::from).map_err(lost(cmd))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runner() -> Runner {
        Runner::new("/".into(), Verbosity::Quiet, Children::default())
    }

    fn sh(script: &str) -> Cmd {
        Cmd::new("sh").args(["-c", script])
    }

    #[track_caller]
    fn fails(from: Option<&Cmd>, cmd: &Cmd, message: &str) {
        let error = runner().build(from, cmd, Box::new(|_| ())).expect_err("a failure");
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn any_code_is_the_callers_to_judge() {
        let (status, data) = runner().capture(&sh("echo data; exit 3")).expect("it ran");
        assert_eq!((code(status), data.as_slice()), (Some(3), b"data\n".as_slice()));
    }

    #[test]
    fn a_missing_program_is_named() {
        fails(None, &Cmd::new("/none/docker").arg("build"), "cannot run `/none/docker`");
    }

    #[test]
    fn either_end_of_a_pipe_can_fail_it() {
        fails(Some(&sh("exit 4")), &sh("cat >/dev/null"), "`sh` ended with code 4");
        fails(Some(&sh("echo x")), &sh("cat >/dev/null; exit 5"), "`sh` ended with code 5");
        fails(Some(&sh("yes")), &sh("exit 6"), "`sh` ended with code 6");
    }

    #[test]
    fn a_good_pipe_hands_everything_on() {
        runner()
            .build(Some(&sh("printf abc")), &sh("[ \"$(cat)\" = abc ]"), Box::new(|_| ()))
            .expect("the same bytes");
    }

    #[test]
    fn a_killed_program_says_by_what() {
        fails(None, &sh("kill -9 $$"), "`sh` was killed by signal 9");
    }
}
