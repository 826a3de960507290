//! The running children, and what a signal does to them.
//!
//! The first SIGINT, SIGTERM or SIGHUP (unless that is ignored, as under `nohup`) is handed to
//! every child; a second one kills them. No child starts afterwards. What a child has started is
//! the child's own business, but for two kinds: a build of podman is ended as `podman` says, and
//! has a process group of its own, so that no terminal ends it before; a step of a project's own is
//! signalled with all that it has started, and waited for with all of it.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use signal_hook::iterator::Signals;

use crate::process::podman::Build;
use crate::process::tree::{self, Process};

/// How long a child has to end once it is told to.
const GRACE: Duration = Duration::from_secs(10);

/// The children of this process that it must not outlive.
#[derive(Clone, Debug, Default)]
pub struct Children(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    running: Vec<Running>,
    signal: Option<i32>,
    /// Whether a second signal came.
    is_urgent: bool,
    /// Whether this process can start guards.
    guards: bool,
}

#[derive(Debug)]
struct Running {
    pid: Pid,
    kind: Kind,
    /// What was found below a step when it was told to end.
    below: Vec<Process>,
}

/// How a child is ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By a signal to it.
    #[default]
    Plain,
    /// By a signal to it and to all that it has started.
    Step,
    /// As a build of podman.
    Build(Build),
}

impl Running {
    fn send(&mut self, signal: Signal) -> bool {
        if self.kind == Kind::Step {
            tree::halt(self.pid, &mut self.below);
        }
        // A parent before its children: a shell whose command ends goes on to the next one.
        let is_sent = kill_process(self.pid, signal).is_ok();
        // A terminal's Ctrl-C has reached those of its foreground already, and many take a second
        // one for the wish to end without clearing up. Limit: one that somebody else sends looks
        // the same.
        let is_sent_below = |process: &&Process| signal != Signal::INT || !process.is_in_foreground();
        self.below.iter().filter(is_sent_below).for_each(|process| process.send(signal));
        if self.kind == Kind::Step {
            let _ = kill_process(self.pid, Signal::CONT);
            self.below.iter().for_each(|process| process.send(Signal::CONT));
        }
        is_sent
    }
}

impl Children {
    /// A register that listens to the signals of this process from now on. Its program has to begin
    /// with [`enter`](toolkit::guard::enter).
    ///
    /// # Errors
    /// The operating system's, where the handlers cannot be set.
    pub fn listening() -> io::Result<Self> {
        let children = Self::default();
        children.lock().guards = true;
        let listener = children.clone();
        let mut signals = Signals::new(toolkit::signals::heeded())?;
        thread::Builder::new().name("signals".into()).spawn(move || {
            signals.forever().for_each(|signal| listener.interrupt(signal));
        })?;
        Ok(children)
    }

    /// Whether a child can be started so that it ends with this process.
    pub(crate) fn can_guard(&self) -> bool {
        self.lock().guards
    }

    /// The exit code of an interrupted process (130 for Ctrl-C), once a signal came.
    #[must_use]
    pub fn interrupted(&self) -> Option<u8> {
        self.lock().signal.and_then(|signal| u8::try_from(128 + signal).ok())
    }

    /// Starts the command, unless a signal came before: then `None`.
    ///
    /// # Errors
    /// The operating system's, where the command cannot be started.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Option<Child>> {
        self.spawn_as(&Kind::Plain, command)
    }

    /// As `spawn`, for a child that is ended in this way.
    pub(crate) fn spawn_as(&self, kind: &Kind, command: &mut Command) -> io::Result<Option<Child>> {
        if matches!(kind, Kind::Build(_)) {
            command.process_group(0);
        }
        // Under the lock, so that no signal falls between start and entry.
        let mut state = self.lock();
        if state.signal.is_some() {
            return Ok(None);
        }
        let child = command.spawn()?;
        state.running.push(Running { pid: Pid::from_child(&child), kind: kind.clone(), below: Vec::new() });
        Ok(Some(child))
    }

    /// Waits for the child, and where it was told to end for what was found below it.
    ///
    /// # Errors
    /// The operating system's.
    pub fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let pid = Pid::from_child(child);
        // The number stays the child's until it is reaped, which happens under the lock: a signal
        // never meets another process of the same number.
        while waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
            .is_err_and(|error| error == rustix::io::Errno::INTR)
        {}
        let mut state = self.lock();
        let below = state.running.iter_mut().filter(|one| one.pid == pid);
        let below: Vec<_> = below.flat_map(|one| std::mem::take(&mut one.below)).collect();
        state.running.retain(|other| other.pid != pid);
        let status = child.wait();
        drop(state);
        tree::outwait(&below, GRACE, || self.lock().is_urgent);
        status
    }

    /// As `wait`, for a child that is told to end when it has run for so long, and killed ten
    /// seconds later. `true`: it was told.
    ///
    /// # Errors
    /// The operating system's.
    pub fn wait_at_most(&self, child: &mut Child, limit: Duration) -> io::Result<(ExitStatus, bool)> {
        let pid = Pid::from_child(child);
        let (ended, end) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let watch = scope.spawn(move || {
                let is_late = |limit| end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
                let told = is_late(limit) && self.end(pid, Signal::TERM);
                if told && is_late(GRACE) {
                    self.send(pid, Signal::KILL);
                }
                told
            });
            let status = self.wait(child);
            drop(ended);
            Ok((status?, watch.join().unwrap_or_default()))
        })
    }

    /// Sends a signal to a child that still runs.
    fn send(&self, pid: Pid, signal: Signal) -> bool {
        let mut state = self.lock();
        state.running.iter_mut().find(|one| one.pid == pid).is_some_and(|one| one.send(signal))
    }

    /// Tells a child to end, or ends a build of podman. `false`: it had ended by itself.
    fn end(&self, pid: Pid, signal: Signal) -> bool {
        let kind = self.lock().running.iter().find(|one| one.pid == pid).map(|one| one.kind.clone());
        match kind {
            None => false,
            Some(Kind::Plain | Kind::Step) => self.send(pid, signal),
            Some(Kind::Build(build)) => {
                if !build.end(|| self.lock().running.iter().any(|one| one.pid == pid)) {
                    self.send(pid, signal);
                }
                true
            }
        }
    }

    fn interrupt(&self, signal: i32) {
        let mut state = self.lock();
        let send = match (state.signal, Signal::from_named_raw(signal)) {
            (None, Some(first)) => first,
            _ => Signal::KILL,
        };
        state.is_urgent = state.signal.is_some();
        state.signal.get_or_insert(signal);
        for one in &mut state.running {
            if matches!(one.kind, Kind::Build(_)) && send != Signal::KILL {
                let (children, pid) = (self.clone(), one.pid);
                let ending = move || {
                    children.end(pid, send);
                };
                if thread::Builder::new().name("end".into()).spawn(ending).is_ok() {
                    continue;
                }
            }
            // A child that has ended meanwhile is no matter.
            let _ = one.send(send);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use signal_hook::consts::SIGINT;
    use std::io::Read;
    use std::os::unix::process::ExitStatusExt;

    fn start(children: &Children, script: &str) -> Child {
        children.spawn(Command::new("sh").args(["-c", script])).expect("sh").expect("not interrupted")
    }

    #[test]
    fn a_signal_reaches_the_child_and_no_other_starts() {
        let children = Children::default();
        let mut child = start(&children, "exec sleep 600");
        children.interrupt(SIGINT);
        assert_eq!(children.wait(&mut child).expect("wait").signal(), Some(SIGINT));
        assert_eq!(children.interrupted(), Some(130));
        assert!(children.spawn(&mut Command::new("true")).expect("no trouble").is_none());
    }

    #[test]
    fn a_second_signal_kills_a_stubborn_child() {
        let children = Children::default();
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' INT; echo ready; exec sleep 600"]).stdout(std::process::Stdio::piped());
        let mut child = children.spawn(&mut shell).expect("sh").expect("not interrupted");
        child.stdout.take().expect("a pipe").read_exact(&mut [0; 6]).expect("ready");
        children.interrupt(SIGINT);
        children.interrupt(SIGINT);
        assert_eq!(children.wait(&mut child).expect("wait").signal(), Some(9));
    }

    #[test]
    fn a_child_that_takes_too_long_is_ended() {
        let children = Children::default();
        let mut late = start(&children, "exec sleep 600");
        let (status, told) = children.wait_at_most(&mut late, Duration::from_millis(1)).expect("wait");
        assert_eq!((status.signal(), told), (Some(15), true));
        let mut quick = start(&children, "exit 7");
        let (status, told) = children.wait_at_most(&mut quick, Duration::from_secs(600)).expect("wait");
        assert_eq!((status.code(), told), (Some(7), false));
    }

    #[test]
    fn a_step_ends_with_all_that_it_has_started() {
        let children = Children::default();
        let mut shell = Command::new("sh");
        shell.args(["-c", "sh -c 'sleep 600 & echo ready; wait' & wait"]);
        shell.stdout(std::process::Stdio::piped());
        let mut child = children.spawn_as(&Kind::Step, &mut shell).expect("sh").expect("not interrupted");
        let mut stdout = child.stdout.take().expect("a pipe");
        stdout.read_exact(&mut [0; 6]).expect("ready");
        let (status, told) = children.wait_at_most(&mut child, Duration::from_millis(1)).expect("wait");
        assert_eq!((status.signal(), told), (Some(15), true), "the shell did not go on");
        // Nobody holds the pipe any more.
        assert_eq!(stdout.read_to_end(&mut Vec::new()).expect("the end"), 0);
    }

    #[test]
    fn an_ended_child_is_forgotten() {
        let children = Children::default();
        let mut child = start(&children, "exit 7");
        assert_eq!(children.wait(&mut child).expect("wait").code(), Some(7));
        assert!(children.lock().running.is_empty());
        assert_eq!(children.interrupted(), None);
    }
}
