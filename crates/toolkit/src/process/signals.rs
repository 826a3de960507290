//! What INT, TERM and HUP do, alike in every tool: 130, 143 and 129.
//!
//! A command ends where it stands, since nothing half-written has a final name; its unfinished
//! files are removed and one line says what happened. Work that has to put something right first is
//! held ([`Signals::held`]): a signal is then heeded when the work looks for it, or when it is
//! over. A second signal ends a command at once. Where HUP was ignored when the process was started
//! (`nohup`), it stays ignored.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use storekit::files::replace;

use crate::Outcome;
use crate::print::output;

/// What is run when a signal comes.
type Notice = Box<dyn FnOnce(u8) + Send>;

/// What a signal does to this process. Clones share their state.
#[derive(Clone)]
pub struct Signals(Arc<State>);

struct State {
    tool: &'static str,
    /// Whether a signal only asks.
    held: AtomicBool,
    /// Whether a signal came.
    stop: Arc<AtomicBool>,
    /// The exit code that the first signal asked for, or 0.
    code: AtomicUsize,
    notice: Mutex<Option<Notice>>,
}

impl Signals {
    /// Listens from now on, on a thread of its own. Where that cannot be, a signal ends the process
    /// all the same.
    #[must_use]
    pub fn listen(tool: &'static str) -> Self {
        let signals = Self::deaf(tool);
        let listener = signals.clone();
        if let Ok(mut coming) = signal_hook::iterator::Signals::new(heeded()) {
            let listen = move || coming.forever().for_each(|signal| listener.came(signal));
            // Without the thread the handlers would swallow signals; the process is about to fail
            // for want of threads.
            let _ = thread::Builder::new().name("signals".to_owned()).spawn(listen);
        }
        signals
    }

    /// Hears nothing: for a command that listens by itself, and for tests.
    #[must_use]
    pub fn deaf(tool: &'static str) -> Self {
        Self(Arc::new(State {
            tool,
            held: AtomicBool::new(false),
            stop: Arc::default(),
            code: AtomicUsize::new(0),
            notice: Mutex::new(None),
        }))
    }

    fn came(&self, signal: i32) {
        let code = u8::try_from(128 + signal).unwrap_or(u8::MAX);
        let first = self.0.code.compare_exchange(0, code.into(), Ordering::SeqCst, Ordering::SeqCst).is_ok();
        self.0.stop.store(true, Ordering::SeqCst);
        if !first || !self.0.held.load(Ordering::SeqCst) {
            self.end_now(code);
        }
        self.give_notice(code);
    }

    /// Calls the notice, if it was not called before.
    fn give_notice(&self, code: u8) {
        let notice = self.0.notice.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(notice) = notice {
            notice(code);
        }
    }

    /// Ends the process where it stands. Its unfinished files go; none is begun any more.
    fn end_now(&self, code: u8) -> ! {
        replace::remove_unfinished_at_exit();
        self.say(code);
        signal_hook::low_level::exit(code.into())
    }

    /// Says that the signal which the exit code stands for ended the work.
    pub fn say(&self, code: u8) {
        let name = match code {
            130 => "SIGINT",
            143 => "SIGTERM",
            129 => "SIGHUP",
            _ => "a signal",
        };
        output::say(&format!("{}: stopped by {name}", self.0.tool));
    }

    /// From now on a signal only asks: there is something to be put right first.
    pub fn hold(&self) {
        self.0.held.store(true, Ordering::SeqCst);
    }

    /// From now on a signal ends the process where it stands; one that has come stays for
    /// [`Signals::ended`].
    pub fn release(&self) {
        self.0.held.store(false, Ordering::SeqCst);
    }

    /// Does work that has to clean up behind itself: a signal is heeded when the work is over, or
    /// where it looks for one.
    ///
    /// # Errors
    /// Those of the work, where no signal came.
    pub fn held<E>(&self, work: impl FnOnce() -> Result<Outcome, E>) -> Result<Outcome, E> {
        self.hold();
        let done = work();
        if let Some(ended) = self.ended() {
            return Ok(ended);
        }
        self.release();
        done
    }

    /// Whether a signal came.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.0.code.load(Ordering::SeqCst) != 0
    }

    /// A flag that the first signal raises.
    #[must_use]
    pub fn stop(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0.stop)
    }

    /// An error where a signal came.
    ///
    /// # Errors
    /// `Interrupted`.
    pub fn check(&self) -> io::Result<()> {
        if self.is_asked() {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "a signal ended it"));
        }
        Ok(())
    }

    /// How the process ends where a signal came: with the exit code for it.
    #[must_use]
    pub fn ended(&self) -> Option<Outcome> {
        u8::try_from(self.0.code.load(Ordering::SeqCst)).ok().filter(|code| *code != 0).map(Outcome::Code)
    }

    /// Calls `notice` with the exit code when the first signal comes, also where it has come
    /// already. It is for a held process that waits for something else.
    pub fn on_asked(&self, notice: impl FnOnce(u8) + Send + 'static) {
        *self.0.notice.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(notice));
        // One that came meanwhile found no notice.
        if let Some(Outcome::Code(code)) = self.ended() {
            self.give_notice(code);
        }
    }

    /// Forgets the signal: it was what the command waited for.
    pub fn answered(&self) {
        self.0.code.store(0, Ordering::SeqCst);
    }

    /// Says that a signal ended the work.
    pub(crate) fn say_ended(&self) {
        if let Some(Outcome::Code(code)) = self.ended() {
            self.say(code);
        }
    }
}

/// The signals that end this process: INT and TERM, and HUP unless it was ignored from the start.
#[must_use]
pub fn heeded() -> Vec<i32> {
    let hangup = (!is_ignored(SIGHUP)).then_some(SIGHUP);
    [SIGINT, SIGTERM].into_iter().chain(hangup).collect()
}

/// Whether the process was started with the signal ignored. Source: proc(5), `SigIgn`.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or_default();
    u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_work_ends_with_the_signals_code() {
        let signals = Signals::deaf("test");
        let held = signals.held(|| {
            signals.came(SIGTERM);
            assert!(signals.check().is_err());
            Ok::<_, io::Error>(Outcome::Yes)
        });
        assert_eq!(held.unwrap(), Outcome::Code(143));
    }

    #[test]
    fn work_that_no_signal_met_ends_with_its_own_outcome() {
        let signals = Signals::deaf("test");
        assert_eq!(signals.held(|| Ok::<_, io::Error>(Outcome::No)).unwrap(), Outcome::No);
        assert!(signals.ended().is_none());
    }

    #[test]
    fn a_notice_is_given_once_also_late() {
        let signals = Signals::deaf("test");
        let (send, receive) = std::sync::mpsc::channel();
        signals.hold();
        signals.came(SIGINT);
        signals.on_asked(move |code| send.send(code).unwrap());
        assert_eq!(receive.iter().collect::<Vec<_>>(), [130]);
    }
}
