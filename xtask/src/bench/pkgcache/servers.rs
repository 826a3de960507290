//! The servers that are measured, and the origin behind them, each on a port of its own.

use std::fs::File;
use std::io::{self, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use camino::Utf8Path;

use super::super::lost;
use super::SMALL;
use super::client::Client;
use super::verified::REGISTRY;
use larder::process::background::Background;
use larder::process::command::Cmd;
use larder::process::runner::{RunError, Runner};
use larder::process::tools::Tools;

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: &'static str,
    /// Whether it knows files of an index alone.
    pub(super) is_index: bool,
    authority: String,
    process: Background,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) pkgcache: Server,
    peers: Vec<Server>,
    pub(super) origin: Server,
}

impl Servers {
    /// Starts them. A peer that is not there is left out.
    pub(super) fn start(tools: &Tools, runner: &Runner, folder: &Utf8Path) -> Result<Self, RunError> {
        let origin = origin(runner, folder)?;
        let upstream = origin.url();
        let pkgcache = pkgcache(tools, runner, folder, &upstream)?;
        let peers = [nginx(runner, folder, &upstream), proxpi(runner, folder, &upstream)];
        let mut standing = Vec::new();
        for peer in peers {
            match peer {
                Err(error) if error.is_interruption() => return Err(error),
                Err(_) => {}
                Ok(peer) => standing.push(peer),
            }
        }
        Ok(Self { pkgcache, peers: standing, origin })
    }

    /// The caches, the tool first.
    pub(super) fn caches(&self) -> impl Iterator<Item = &Server> {
        std::iter::once(&self.pkgcache).chain(&self.peers)
    }
}

impl Server {
    fn new(name: &'static str, authority: String, process: Background) -> Self {
        Self { name, is_index: false, authority, process }
    }

    /// Address and port.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// Without a slash at the end.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.authority)
    }

    /// Where it has the origin's file.
    pub(super) fn path(&self, file: &str) -> String {
        if self.is_index { format!("/index/bench/{file}") } else { format!("/{file}") }
    }

    /// A line of its `/proc/PID/status` that counts kB, in bytes.
    pub(super) fn memory(&self, line: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        let value = status.lines().find_map(|it| it.strip_prefix(line))?;
        value.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
    }

    /// Waits until it has the file.
    fn once_it_answers(self, path: &str) -> Result<Self, RunError> {
        let started = Instant::now();
        loop {
            match Client::connect(&self.authority).and_then(|mut client| client.get(path)) {
                Ok(_) => return Ok(self),
                Err(error) if started.elapsed() > Duration::from_secs(10) => return Err(lost(error)),
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}

/// pkgcache in front of the upstream, with a store in the folder.
pub(super) fn pkgcache(
    tools: &Tools,
    runner: &Runner,
    folder: &Utf8Path,
    upstream: &str,
) -> Result<Server, RunError> {
    let authority = free().map_err(lost)?;
    let serve = tools.pkgcache("serve").args(["--listen", &authority, "--store"]).path(&folder.join("store"));
    let serve = serve.args(["--upstream".to_owned(), format!("/={upstream}")]);
    let serve = serve.args(["--registry".to_owned(), format!("{REGISTRY}={upstream}")]);
    let process = runner.background(&serve, &folder.join("pkgcache.log"))?;
    Server::new("pkgcache", authority, process).once_it_answers("/healthz")
}

/// nginx with the origin's files; below `/limited/` they come at 1 Gbit/s.
pub(super) fn origin(runner: &Runner, folder: &Utf8Path) -> Result<Server, RunError> {
    let authority = free().map_err(lost)?;
    let root = folder.join("origin");
    let server = format!(
        "server {{ listen {authority} backlog=4096; root {root}; add_header Cache-Control max-age=86400;\n\
         location /limited/ {{ alias {root}/; limit_rate 120m; add_header Cache-Control max-age=86400; }} }}"
    );
    let process = run_nginx(runner, folder, "origin-nginx", &server)?;
    Server::new("origin", authority, process).once_it_answers(&format!("/{SMALL}"))
}

/// nginx as a cache: two workers, sendfile, no access log.
fn nginx(runner: &Runner, folder: &Utf8Path, upstream: &str) -> Result<Server, RunError> {
    let authority = free().map_err(lost)?;
    let server = format!(
        "proxy_cache_path {folder}/nginx/cache levels=1:2 keys_zone=bench:10m max_size=8g use_temp_path=off;\n\
         server {{ listen {authority} backlog=4096;\n\
         location / {{ proxy_pass {upstream}; proxy_cache bench; proxy_http_version 1.1; }} }}"
    );
    let process = run_nginx(runner, folder, "nginx", &server)?;
    Server::new("nginx", authority, process).once_it_answers(&format!("/{SMALL}"))
}

fn run_nginx(runner: &Runner, folder: &Utf8Path, name: &str, server: &str) -> Result<Background, RunError> {
    let own = folder.join(name);
    std::fs::create_dir_all(&own).map_err(lost)?;
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|kind| format!("{kind}_temp_path {own}/{kind};\n")).concat();
    // Not the user whom the package made: the folder is ours alone.
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let text = format!(
        "{user}daemon off;\nworker_processes 2;\nworker_rlimit_nofile 20000;\npid {own}/pid;\nerror_log {own}/log;\n\
         events {{ worker_connections 8192; }}\n\
         http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;\n\
         types {{ text/html html; }}\n{temporary}{server}\n}}\n"
    );
    let file = own.join("nginx.conf");
    File::create(&file).and_then(|mut file| file.write_all(text.as_bytes())).map_err(lost)?;
    let cmd = Cmd::new("nginx").arg("-p").path(&own).arg("-c").path(&file);
    runner.background(&cmd, &folder.join(format!("{name}.log")))
}

/// proxpi under gunicorn, where both are on PATH and importable.
fn proxpi(runner: &Runner, folder: &Utf8Path, upstream: &str) -> Result<Server, RunError> {
    let authority = free().map_err(lost)?;
    let cmd = Cmd::new("gunicorn").args(["--workers", "2", "--threads", "4", "--bind", &authority]);
    let cmd = cmd.args(["--log-level", "error", "proxpi.server:app"]);
    let cmd =
        cmd.env("PROXPI_INDEX_URL", &format!("{upstream}/simple/")).env("PROXPI_LOGGING_LEVEL", "ERROR");
    let cmd = cmd.env("PROXPI_CACHE_DIR", folder.join("proxpi").as_str());
    std::fs::create_dir_all(folder.join("proxpi")).map_err(lost)?;
    let process = runner.background(&cmd, &folder.join("proxpi.log"))?;
    let server = Server { is_index: true, ..Server::new("proxpi", authority, process) };
    let path = server.path(SMALL);
    server.once_it_answers(&path)
}

/// An address that nobody listens on. Somebody may, before it is used: then the server does not
/// start.
pub(super) fn free() -> io::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
