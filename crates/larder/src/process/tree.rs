//! The processes below a child: what it has started, and what those have.
//!
//! A step of a project's own is a line for the shell, and a signal to the shell alone leaves what
//! the line runs. It has no process group of its own: that would be one in the background of the
//! terminal, where whatever asks for a password is stopped. So its processes are looked up.
//!
//! They are stopped first, so that none starts another unseen.
//!
//! Limits: one whose parent has ended before they are looked up is not found; one that another user
//! runs cannot be signalled.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpid, kill_process};

/// So often is looked for what was started meanwhile.
const LOOKS: usize = 100;
/// How long it takes to look again.
const PAUSE: Duration = Duration::from_millis(20);

/// One process, told from a later one of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pid: Pid,
    /// When it began, in the kernel's ticks.
    begun: u64,
}

impl Process {
    fn lives(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.begun == self.begun && !stat.has_ended)
    }

    /// Whether our terminal sends it what is typed there, such as Ctrl-C. It may have another one
    /// of its own.
    pub(crate) fn is_in_foreground(&self) -> bool {
        let ours = stat(getpid()).map(|own| own.terminal);
        stat(self.pid).is_some_and(|stat| stat.foreground == Some(stat.group) && ours == Some(stat.terminal))
    }

    /// Sends it a signal, if it still runs.
    pub(crate) fn send(&self, signal: Signal) {
        if self.lives() {
            // One that ends meanwhile is no matter.
            let _ = kill_process(self.pid, signal);
        }
    }
}

/// Adds the processes below one to those that were found before.
fn find(root: Pid, found: &mut Vec<Process>) {
    let mut children: BTreeMap<i32, Vec<Process>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(pid) = number.and_then(Pid::from_raw) else { continue };
        if let Some(stat) = stat(pid) {
            children.entry(stat.parent).or_default().push(Process { pid, begun: stat.begun });
        }
    }
    let mut next = vec![root.as_raw_nonzero().get()];
    while let Some(parent) = next.pop() {
        for process in children.remove(&parent).unwrap_or_default() {
            next.push(process.pid.as_raw_nonzero().get());
            if !found.contains(&process) {
                found.push(process);
            }
        }
    }
}

/// Stops a process and all below it, and adds these to those that were found before: nothing below
/// it starts another any more, until they are told to [go on](Signal::CONT).
pub(crate) fn halt(root: Pid, found: &mut Vec<Process>) {
    // One that ends meanwhile is no matter.
    let _ = kill_process(root, Signal::STOP);
    let mut halted = 0;
    for _ in 0..LOOKS {
        find(root, found);
        let coming = found.get(halted..).unwrap_or_default();
        if coming.is_empty() {
            return;
        }
        for process in coming {
            process.send(Signal::STOP);
        }
        halted = found.len();
    }
}

/// Waits until all of them have ended, and kills those that have not after so long, or once
/// `is_urgent`.
pub(crate) fn outwait(processes: &[Process], patience: Duration, is_urgent: impl Fn() -> bool) {
    let begun = Instant::now();
    let mut is_killed = false;
    while processes.iter().any(Process::lives) {
        if !is_killed && (begun.elapsed() >= patience || is_urgent()) {
            for process in processes {
                process.send(Signal::KILL);
            }
            is_killed = true;
        } else if is_killed && begun.elapsed() >= patience * 2 {
            // One that the kernel does not let go, or another user's.
            return;
        }
        thread::sleep(PAUSE);
    }
}

struct Stat {
    parent: i32,
    group: i32,
    /// The number of its terminal; 0 without one.
    terminal: i32,
    /// The process group in the foreground of its terminal; none without a terminal.
    foreground: Option<i32>,
    begun: u64,
    has_ended: bool,
    #[cfg(test)]
    is_stopped: bool,
}

/// Source: proc(5), `/proc/pid/stat`; the name in it may hold anything, also brackets.
fn stat(pid: Pid) -> Option<Stat> {
    let text = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    parse(&String::from_utf8_lossy(&text))
}

fn parse(text: &str) -> Option<Stat> {
    let fields: Vec<_> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    Some(Stat {
        has_ended: matches!(*fields.first()?, "Z" | "X"),
        #[cfg(test)]
        is_stopped: *fields.first()? == "T",
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        terminal: fields.get(4)?.parse().ok()?,
        foreground: fields.get(5)?.parse().ok().filter(|group| *group > 0),
        begun: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::{Command, Stdio};

    #[test]
    fn a_name_with_brackets_hides_no_field() {
        let rest = "S 7 8 1 34816 9 4194560 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        let stat = parse(&format!("12 (a) S 1 (b)) {rest}")).expect("a process");
        assert_eq!((stat.parent, stat.begun, stat.has_ended), (7, 4711, false));
        assert_eq!((stat.group, stat.terminal, stat.foreground), (8, 34816, Some(9)));
        let alone = parse(&format!("12 (a) {}", rest.replace(" 34816 9 ", " 0 -1 "))).expect("a process");
        assert_eq!(alone.foreground, None);
        assert!(parse("12 (a) S 7").is_none() && parse("").is_none());
    }

    #[test]
    fn what_a_shell_has_started_is_found_and_ended() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sh -c 'sleep 600; :' & trap '' TERM; echo ready; wait; wait"]);
        let mut shell = shell.stdout(Stdio::piped()).spawn().expect("sh");
        shell.stdout.as_mut().expect("a pipe").read_exact(&mut [0; 6]).expect("ready");
        let mut found = Vec::new();
        larder_tests::until("both run", || {
            find(Pid::from_child(&shell), &mut found);
            found.len() >= 2
        });
        outwait(&found, Duration::from_secs(600), || true);
        assert!(!found.iter().any(Process::lives));
        assert!(shell.wait().expect("sh").success(), "the shell itself was not ended");
    }

    #[test]
    fn what_is_halted_starts_nothing_until_it_may_go_on() {
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            "sh -c 'n=0; while [ $n -lt 2000 ]; do sleep 600 & n=$((n + 1)); echo; done; wait'; :",
        ]);
        let mut shell = shell.stdout(Stdio::piped()).spawn().expect("sh");
        shell.stdout.as_mut().expect("a pipe").read_exact(&mut [0; 5]).expect("some have started");
        let (root, mut found) = (Pid::from_child(&shell), Vec::new());
        halt(root, &mut found);
        let is_stopped = |pid| stat(pid).is_some_and(|stat| stat.is_stopped);
        larder_tests::until("all are stopped", || {
            is_stopped(root) && found.iter().all(|process| is_stopped(process.pid))
        });
        let halted = found.len();
        assert!(halted > 5, "a shell and what it has started: {halted}");
        find(root, &mut found);
        assert_eq!(found.len(), halted, "none was started since");
        shell.kill().expect("it runs");
        outwait(&found, Duration::from_secs(600), || true);
        shell.wait().expect("it has ended");
    }
}
