//! A docker daemon of a test's own, to be stopped when the test likes.
//!
//! It shares nothing with the machine's daemon, and has a network of its own that leads nowhere; or
//! the machine's, where it reaches nothing but this machine.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use camino::{Utf8Path, Utf8PathBuf};

use crate::{tools, until};

/// So many bridges this process has made.
static BRIDGES: AtomicU8 = AtomicU8::new(0);

/// A running dockerd, killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    folder: Utf8PathBuf,
    bridge: Option<String>,
}

/// Changes the machine's network.
fn ip(words: &[&str]) {
    let ran = Command::new("ip").env("PATH", tools::path()).args(words).output().expect("ip");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

impl Daemon {
    /// Starts one with all its files below the folder, and waits until it answers.
    #[must_use]
    pub fn start(folder: &Utf8Path) -> Self {
        // In a network name space of its own: a daemon makes and removes the machine's default
        // bridge as it likes.
        let mut command = Command::new("unshare");
        Self::run(folder, command.args(["--net", "dockerd"]))
    }

    /// The same with a mirror of the default registry, which is an `http` URL of this machine. What
    /// the mirror does not have is asked for nowhere else.
    #[must_use]
    pub fn with_mirror(folder: &Utf8Path, url: &str) -> Self {
        // A bridge of its own: without one, it would take the machine's default bridge away.
        let number = BRIDGES.fetch_add(1, Ordering::Relaxed);
        let bridge = format!("lrd{}-{number}", std::process::id());
        ip(&["link", "add", "name", &bridge, "type", "bridge"]);
        ip(&["address", "add", &format!("198.18.{number}.1/24"), "dev", &bridge]);
        let mut command = Command::new("dockerd");
        // Nobody listens at port 1.
        command.args(["--bridge", &bridge, "--max-download-attempts=1", "--registry-mirror", url]);
        command.env("HTTPS_PROXY", "http://127.0.0.1:1").env("NO_PROXY", "127.0.0.1");
        let mut daemon = Self::run(folder, &mut command);
        daemon.bridge = Some(bridge);
        daemon
    }

    fn run(folder: &Utf8Path, command: &mut Command) -> Self {
        std::fs::create_dir_all(folder).expect("a folder");
        let log = File::create(folder.join("log")).expect("a log");
        let at = |name: &str| folder.join(name).into_string();
        command.env("PATH", tools::path());
        command.args(["--host", &format!("unix://{}", at("sock"))]);
        command.args(["--data-root", &at("data"), "--exec-root", &at("exec"), "--pidfile", &at("pid")]);
        command.args([
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--shutdown-timeout",
            "1",
        ]);
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("dockerd");
        let mut daemon = Self { child, folder: folder.to_owned(), bridge: None };
        daemon.wait_until_it_answers();
        daemon
    }

    /// The value of `DOCKER_HOST` for it.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.folder.join("sock"))
    }

    /// What it said.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Stops it now, in the middle of whatever it does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The containerd that it started for itself.
        if let Ok(pid) = std::fs::read_to_string(self.folder.join("exec/containerd/containerd.pid")) {
            let _ = Command::new("kill").args(["-9", pid.trim()]).stderr(Stdio::null()).status();
        }
    }

    fn wait_until_it_answers(&mut self) {
        let (host, log) = (self.host(), self.folder.join("log"));
        // It tells nobody when it is ready.
        until("dockerd answers", || {
            let gone = self.child.try_wait().is_ok_and(|status| status.is_some());
            assert!(!gone, "dockerd ended:\n{}", std::fs::read_to_string(&log).unwrap_or_default());
            let mut ask = Command::new("docker");
            ask.env("PATH", tools::path()).args(["--host", &host, "version"]);
            ask.output().is_ok_and(|output| output.status.success())
        });
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        if let Some(bridge) = &self.bridge {
            let ip = Command::new("ip").env("PATH", tools::path()).args(["link", "delete", bridge]).status();
            drop(ip);
        }
        // What it mounted must go before the test's folder can.
        let below = format!("grep -o ' {}/[^ ]*' /proc/mounts | sort -r | xargs -r umount -l", self.folder);
        let _ = Command::new("sh").args(["-c", &below]).stderr(Stdio::null()).status();
    }
}
