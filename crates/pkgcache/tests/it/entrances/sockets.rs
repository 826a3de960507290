//! Sockets in the file system, and sockets that a service manager gives.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use larder_tests::http::get;
use larder_tests::{Part, Ran, Session, have, signal, until};

use crate::support::{Answer, Cached, Origin, session};

const FRESH: &str = "cache-control: max-age=600";

/// A server that says where it listens, line by line.
struct Serving {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Serving {
    fn begin(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn ends(&mut self, name: &str) {
        signal(&self.child, name);
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask(socket: &Utf8Path, path: &str) -> Answer {
    let mut stream = UnixStream::connect(socket).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    Answer::read(&mut BufReader::new(stream), "GET")
}

fn serve(session: &Session, settings: &[&str]) -> Command {
    let mut command = session.command("serve");
    command.args(settings);
    command
}

#[test]
fn clients_come_in_by_a_socket_in_the_file_system() {
    let large = "x".repeat(1 << 20);
    let origin = Origin::fixed(FRESH, &large);
    let settings = "[pkgcache]\nlisten = \"unix:in.sock\"\nsocket-mode = \"0660\"\naccess-log = \"log\"\n";
    let session = session().file("larder.toml", settings);
    let upstream = format!("/={}", origin.url());
    let path = session.path("in.sock");
    let mut serving = Serving::begin(&mut serve(&session, &["--upstream", &upstream]));
    assert_eq!(serving.line(), format!("unix:{path}"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    ask(&path, "/a").is(200, "stored", &large);
    // By the short way, which sends the file itself.
    until("it is stored", || ask(&path, "/a").cache().contains("hit"));
    ask(&path, "/a").is(200, "hit", &large);
    let quick = |line: &str| line.strip_prefix("pkgcache_quick_total ").is_some_and(|it| it != "0");
    assert!(ask(&path, "/metrics").text().lines().any(quick));
    until("it is logged", || fs::read_to_string(session.path("log")).is_ok_and(|log| log.contains("hit")));
    let line: serde_json::Value =
        serde_json::from_str(fs::read_to_string(session.path("log")).unwrap().lines().next().unwrap())
            .unwrap();
    assert!(line["client"].is_null() && line["url"] == "/a", "{line}");
    // Another one does not take it away.
    let refused = Ran::of(&mut serve(&session, &["--upstream", &upstream])).ends(2);
    refused.says(&format!("cannot listen on `unix:{path}`")).says("another process answers there");
    ask(&path, "/a").is(200, "hit", &large);
    // One that was killed leaves it behind, and the next one takes its place.
    serving.child.kill().unwrap();
    serving.child.wait().unwrap();
    assert!(path.exists());
    let mut serving = Serving::begin(&mut serve(&session, &["--upstream", &upstream]));
    serving.line();
    ask(&path, "/a").is(200, "hit", &large);
    serving.ends("TERM");
    assert!(!path.exists(), "it is taken away at the end");
    // What leads clients here is a URL.
    Ran::of(&mut session.command("env")).ends(2).says("they want a URL").says("--url");
    Ran::of(session.command("run").args(["--listen", "unix:a", "--", "true"])).ok().says("they want a URL");
}

/// Binds two sockets, and becomes the server with them, as systemd starts one.
const ACTIVATED: &str = "\
import os, socket, sys
net = socket.socket(); net.bind(('127.0.0.1', 0)); net.listen()
unix = socket.socket(socket.AF_UNIX); unix.bind(sys.argv[1]); unix.listen()
for place, listener in enumerate([net, unix], 10): os.dup2(listener.fileno(), place)
for place in (0, 1): os.dup2(10 + place, 3 + place); os.set_inheritable(3 + place, True)
os.environ.update(LISTEN_FDS='2', LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
";

fn told(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let count = manager.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..count]).into_owned()
}

#[test]
fn a_service_manager_gives_the_sockets_and_is_told_what_the_server_does() {
    if !have(&[Part::Python]) {
        return;
    }
    let origin = Origin::fixed(FRESH, "body");
    let session = Arc::new(session());
    let manager = UnixDatagram::bind(session.path("manager").as_std_path()).unwrap();
    manager.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    let unix: Utf8PathBuf = session.path("given.sock");
    let mut command = session.program("python3");
    command.args(["-c", ACTIVATED, unix.as_str(), env!("CARGO_BIN_EXE_pkgcache"), "serve"]);
    command.args(["--listen", "127.0.0.1:1", "--upstream", &format!("/={}", origin.url())]);
    command.env("NOTIFY_SOCKET", session.path("manager"));
    let mut serving = Serving::begin(&mut command);
    let url = serving.line();
    assert_eq!(serving.line(), format!("unix:{unix}"));
    assert_eq!(told(&manager).trim(), "READY=1");
    ask(&unix, "/a").is(200, "stored", "body");
    until("it is stored", || {
        get(url.trim_start_matches("http://"), "/a").is_ok_and(|it| it.cache().contains("hit"))
    });
    signal(&serving.child, "HUP");
    let reloading = told(&manager);
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(told(&manager).trim(), "READY=1");
    serving.ends("TERM");
    assert_eq!(told(&manager).trim(), "STOPPING=1");
    assert!(unix.exists(), "what was given is not ours to take away");
}

/// The file of a service that systemd reads.
#[test]
fn systemd_takes_the_unit_files() {
    if !have(&[Part::SystemdAnalyze]) {
        return;
    }
    let session = session();
    let folder = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/systemd");
    for name in ["pkgcache.service", "pkgcache.socket"] {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        // Where it is installed, it is found by its name.
        let text = text.replace("=pkgcache serve", concat!("=", env!("CARGO_BIN_EXE_pkgcache"), " serve"));
        session.write(name, text.replace("=kill", "=/bin/kill"));
    }
    let mut verify = session.program("systemd-analyze");
    let ran = Ran::of(verify.args(["verify", "pkgcache.service", "pkgcache.socket"])).ok();
    assert_eq!(ran.stderr(), "", "{ran}");
}
