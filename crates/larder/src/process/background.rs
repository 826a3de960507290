//! A server that runs beside us for a while.

use std::io;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::process::children::Children;

/// How long a server has to end in peace.
const PATIENCE: Duration = Duration::from_secs(3);

/// A running process, ended when dropped.
#[derive(Debug)]
pub struct Background {
    child: Child,
    children: Children,
}

impl Background {
    pub(crate) fn new(child: Child, children: Children) -> Self {
        Self { child, children }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn ended(&mut self) -> io::Result<bool> {
        self.child.try_wait().map(|status| status.is_some())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.child);
        let _ = kill_process(pid, Signal::TERM);
        let asked = Instant::now();
        while matches!(self.ended(), Ok(false)) && asked.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
        // Neither can fail but for a child that has ended.
        let _ = self.child.kill();
        let _ = self.children.wait(&mut self.child);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn it_ends_with_the_value() {
        let children = Children::default();
        let child = children.spawn(Command::new("sleep").arg("600")).expect("sleep").expect("no signal");
        let background = Background::new(child, children);
        let folder = format!("/proc/{}", background.id());
        assert!(std::fs::exists(&folder).expect("proc"));
        drop(background);
        assert!(!std::fs::exists(&folder).expect("proc"));
    }
}
