//! The running children, and what a signal does to them.
//!
//! The first SIGINT, SIGTERM or SIGHUP (unless that is ignored, as under `nohup`) is handed to
//! every child; a second one kills them. No child starts afterwards. Limit: grandchildren are the
//! children's own business; a terminal's Ctrl-C reaches them all the same. A build of podman is the
//! exception: it is ended as `podman` says, and has a process group of its own, so that no terminal
//! ends it before.

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

/// How long a child has to end once it is told to.
const GRACE: Duration = Duration::from_secs(10);

/// The children of this process that it must not outlive.
#[derive(Clone, Debug, Default)]
pub struct Children(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    running: Vec<Running>,
    signal: Option<i32>,
}

#[derive(Debug)]
struct Running {
    pid: Pid,
    /// The build of podman that it is.
    build: Option<Build>,
}

impl Children {
    /// A register that listens to the signals of this process from now on.
    ///
    /// # Errors
    /// The operating system's, where the handlers cannot be set.
    pub fn listening() -> io::Result<Self> {
        let children = Self::default();
        let listener = children.clone();
        let mut signals = Signals::new(toolkit::signals::heeded())?;
        thread::Builder::new().name("signals".into()).spawn(move || {
            signals.forever().for_each(|signal| listener.interrupt(signal));
        })?;
        Ok(children)
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
        self.spawn_as(None, command)
    }

    /// As `spawn`, for a build of podman, if it is one.
    pub(crate) fn spawn_as(&self, build: Option<&Build>, command: &mut Command) -> io::Result<Option<Child>> {
        if build.is_some() {
            command.process_group(0);
        }
        // Under the lock, so that no signal falls between start and entry.
        let mut state = self.lock();
        if state.signal.is_some() {
            return Ok(None);
        }
        let child = command.spawn()?;
        state.running.push(Running { pid: Pid::from_child(&child), build: build.cloned() });
        Ok(Some(child))
    }

    /// Waits for the child.
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
        state.running.retain(|other| other.pid != pid);
        child.wait()
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
        let state = self.lock();
        state.running.iter().any(|one| one.pid == pid) && kill_process(pid, signal).is_ok()
    }

    /// Tells a child to end, or ends a build of podman. `false`: it had ended by itself.
    fn end(&self, pid: Pid, signal: Signal) -> bool {
        let build = self.lock().running.iter().find(|one| one.pid == pid).map(|one| one.build.clone());
        match build {
            None => false,
            Some(None) => self.send(pid, signal),
            Some(Some(build)) => {
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
        state.signal.get_or_insert(signal);
        for Running { pid, build } in &state.running {
            if build.is_some() && send != Signal::KILL {
                let (children, pid) = (self.clone(), *pid);
                let ending = move || {
                    children.end(pid, send);
                };
                if thread::Builder::new().name("end".into()).spawn(ending).is_ok() {
                    continue;
                }
            }
            // A child that has ended meanwhile is no matter.
            let _ = kill_process(*pid, send);
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
    fn an_ended_child_is_forgotten() {
        let children = Children::default();
        let mut child = start(&children, "exit 7");
        assert_eq!(children.wait(&mut child).expect("wait").code(), Some(7));
        assert!(children.lock().running.is_empty());
        assert_eq!(children.interrupted(), None);
    }
}
