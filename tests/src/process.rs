//! Processes that a test watches and signals.

use std::fs;
use std::process::{Child, Command};

use crate::until;

/// Sends the process a signal, such as `TERM`.
#[track_caller]
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &child.id().to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "SIG{name} is not sent to {}", child.id());
}

/// Waits until one of larder's tools listens to signals: it has a thread of that name then.
#[track_caller]
pub fn until_it_listens(child: &Child) {
    let tasks = format!("/proc/{}/task", child.id());
    let listens = |task: fs::DirEntry| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == "signals")
    };
    until("the tool listens to signals", || {
        fs::read_dir(&tasks).into_iter().flatten().flatten().any(listens)
    });
}

/// Waits until the process sleeps, all of its threads, and goes on sleeping: it has done what it
/// could, and waits for somebody.
#[track_caller]
pub fn until_it_waits(child: &Child) {
    let mut before = None;
    until("the process waits", || {
        let now = sleepers(child.id());
        let waits = now.is_some() && now == before;
        before = now;
        waits
    });
}

/// How often each thread of the process has gone to sleep; nothing where one is awake. One that has
/// ended waits for its parent.
fn sleepers(process: u32) -> Option<Vec<String>> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let status = |task: std::io::Result<fs::DirEntry>| {
        let status = fs::read_to_string(task.ok()?.path().join("status")).ok()?;
        let sleeps =
            status.lines().any(|line| line.starts_with("State:\tS") || line.starts_with("State:\tZ"));
        let count = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches:"))?;
        sleeps.then(|| count.to_owned())
    };
    tasks.map(status).collect()
}
