//! A docker daemon of a test's own, to be stopped when the test likes.
//!
//! It shares nothing with the machine's daemon, and has a network of its own, which leads nowhere,
//! or to a mirror alone.

use std::fs::File;
use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};
use std::thread;

use camino::{Utf8Path, Utf8PathBuf};

use crate::{tools, until};

/// A running dockerd, killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    folder: Utf8PathBuf,
    /// What leads out of its network.
    door: Option<Child>,
}

/// Leads connections to a port of its network to a socket in the file system, which is the same in
/// all networks.
const DOOR: &str = "
import socket, sys, threading
def copy(a, b):
    while data := a.recv(65536):
        b.sendall(data)
    b.shutdown(socket.SHUT_WR)
server = socket.create_server(('127.0.0.1', int(sys.argv[1])))
print(flush=True)
while True:
    here, _ = server.accept()
    there = socket.socket(socket.AF_UNIX)
    there.connect(sys.argv[2])
    for pair in ((here, there), (there, here)):
        threading.Thread(target=copy, args=pair, daemon=True).start()
";

/// Leads connections to this port, in the network of the process, to the machine's address.
fn door(socket: &Utf8Path, process: u32, to: SocketAddr) -> Child {
    let listener = UnixListener::bind(socket).expect("a socket");
    thread::spawn(move || {
        for inside in listener.incoming().map_while(Result::ok) {
            let Ok(outside) = TcpStream::connect(to) else { continue };
            let (mut from, mut back) =
                (inside.try_clone().expect("a socket"), outside.try_clone().expect("a socket"));
            let (mut inside, mut outside) = (inside, outside);
            thread::spawn(move || {
                let _ = io::copy(&mut from, &mut outside);
                let _ = outside.shutdown(Shutdown::Write);
            });
            thread::spawn(move || {
                let _ = io::copy(&mut back, &mut inside);
                let _ = inside.shutdown(Shutdown::Write);
            });
        }
    });
    let mut command = Command::new("nsenter");
    command.env("PATH", tools::path()).args(["--net", "--target", &process.to_string()]);
    command.args(["python3", "-c", DOOR, &to.port().to_string(), socket.as_str()]);
    let mut door = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("nsenter");
    // It says so when it listens.
    let read = door.stdout.as_mut().expect("a pipe").read_exact(&mut [0]);
    read.expect("the door listens");
    door
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

    /// The same with a mirror of the default registry, at this address of the machine: the one
    /// thing that its network leads to.
    #[must_use]
    pub fn with_mirror(folder: &Utf8Path, mirror: SocketAddr) -> Self {
        let mut command = Command::new("unshare");
        let script = "ip link set lo up && exec dockerd \"$@\"";
        command.args(["--net", "sh", "-c", script, "dockerd", "--max-download-attempts=1"]);
        command.args(["--registry-mirror", &format!("http://{mirror}")]);
        let mut daemon = Self::run(folder, &mut command);
        daemon.door = Some(door(&folder.join("door"), daemon.child.id(), mirror));
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
        let mut daemon = Self { child, folder: folder.to_owned(), door: None };
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
        if let Some(mut door) = self.door.take() {
            let _ = door.kill();
            let _ = door.wait();
        }
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
        // What it mounted must go before the test's folder can.
        let below = format!("grep -o ' {}/[^ ]*' /proc/mounts | sort -r | xargs -r umount -l", self.folder);
        let _ = Command::new("sh").args(["-c", &below]).stderr(Stdio::null()).status();
    }
}
