//! The servers that are measured, and the origin behind them, each on a port of its own.

use std::fs::File;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use super::super::basics::lost;
use super::client::Client;
use super::ground::{Ground, reason};
use super::origin::SMALL;
use larder::process::background::Background;
use larder::process::command::Cmd;
use larder::process::runner::RunError;
use larder_tests::others::rclone::{ACCESS_KEY, SECRET_KEY};

/// The name under which an upstream is mirrored as a registry.
pub(super) const REGISTRY: &str = "registry.example";

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
    /// Those that do not run, and why.
    pub(super) absent: Vec<(&'static str, String)>,
    pub(super) origin: Server,
}

impl Servers {
    /// Starts them. A peer that is not there is left out.
    pub(super) fn start(ground: &Ground<'_>) -> Result<Self, RunError> {
        let origin = origin(ground)?;
        let upstream = origin.url();
        let pkgcache = pkgcache(ground, &upstream)?;
        let mut servers = Self { pkgcache, peers: Vec::new(), absent: Vec::new(), origin };
        servers.take("nginx", nginx(ground, &upstream).map(Ok))?;
        // A worker for each processor, as nginx has them.
        servers.take("proxpi", proxpi(ground, &upstream, 2, &in_index(SMALL)))?;
        Ok(servers)
    }

    /// Keeps a peer that runs; only a signal is an error.
    fn take(
        &mut self,
        name: &'static str,
        started: Result<Result<Server, String>, RunError>,
    ) -> Result<(), RunError> {
        match started {
            Err(error) => self.absent.push((name, reason(error)?)),
            Ok(Err(reason)) => self.absent.push((name, reason)),
            Ok(Ok(server)) => self.peers.push(server),
        }
        Ok(())
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

    /// Runs a command in the background that listens at the address, with what it says in
    /// `NAME.log`, and waits until it takes connections.
    ///
    /// # Errors
    /// A command that does not start; a server that takes none within 30 seconds.
    pub(super) fn run(
        ground: &Ground<'_>,
        name: &'static str,
        authority: String,
        cmd: &Cmd,
    ) -> Result<Self, RunError> {
        let process = ground.runner.background(cmd, &ground.folder.join(format!("{name}.log")))?;
        let server = Self::new(name, authority, process);
        server.wait(Duration::from_secs(30), || TcpStream::connect(&server.authority).map(drop))?;
        Ok(server)
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
        if self.is_index { in_index(file) } else { format!("/{file}") }
    }

    /// A line of its `/proc/PID/status` that counts kB, in bytes.
    pub(super) fn memory(&self, line: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        let value = status.lines().find_map(|it| it.strip_prefix(line))?;
        value.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
    }

    /// Waits until it has the file.
    fn once_it_answers(self, path: &str) -> Result<Self, RunError> {
        let ask = || Client::connect(&self.authority).and_then(|mut client| client.get(path).map(drop));
        self.wait(Duration::from_secs(10), ask)?;
        Ok(self)
    }

    fn wait(&self, patience: Duration, ask: impl Fn() -> io::Result<()>) -> Result<(), RunError> {
        let started = Instant::now();
        while let Err(error) = ask() {
            if started.elapsed() > patience {
                let reason = format!("{} does not answer: {error}", self.name);
                return Err(lost(io::Error::other(reason)));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// Where an index cache has the origin's file.
fn in_index(file: &str) -> String {
    format!("/index/bench/{file}")
}

/// pkgcache in front of the upstream, with a store in the folder.
pub(super) fn pkgcache(ground: &Ground<'_>, upstream: &str) -> Result<Server, RunError> {
    let authority = free().map_err(lost)?;
    let serve = serve(ground, &authority, &ground.folder.join("store"));
    let serve = serve.args(["--upstream".to_owned(), format!("/={upstream}")]);
    let serve = serve.args(["--registry".to_owned(), format!("{REGISTRY}={upstream}")]);
    let process = ground.runner.background(&serve, &ground.folder.join("pkgcache.log"))?;
    Server::new("pkgcache", authority, process).once_it_answers("/healthz")
}

/// pkgcache with a settings file of its own and a store, both called `name`: it may ask the
/// upstream, and takes these tables below `[pkgcache]`.
pub(super) fn configured(
    ground: &Ground<'_>,
    name: &str,
    tables: &str,
    upstream: &str,
) -> Result<Server, RunError> {
    let authority = free().map_err(lost)?;
    let file = settings(ground, name, tables, upstream)?;
    let serve = serve(ground, &authority, &ground.folder.join(format!("{name}-store")));
    let serve = serve.env("LARDER_TOML", file.as_str());
    let process = ground.runner.background(&serve, &ground.folder.join(format!("{name}.log")))?;
    Server::new("pkgcache", authority, process).once_it_answers("/healthz")
}

/// A settings file: the upstream may be asked, and these are the tables below `[pkgcache]`.
pub(super) fn settings(
    ground: &Ground<'_>,
    name: &str,
    tables: &str,
    upstream: &str,
) -> Result<Utf8PathBuf, RunError> {
    // An hour, as the peers have it: no index is asked for twice.
    let text = format!("[pkgcache]\nallow = [{upstream:?}]\nindex-ttl = \"1h\"\n{tables}");
    ground.write(&format!("{name}.toml"), text).map_err(lost)
}

/// pkgcache in front of the upstream, with a store called `name`, and a bucket if one is named.
pub(super) fn sharing(
    ground: &Ground<'_>,
    name: &str,
    remote: Option<&str>,
    upstream: &str,
) -> Result<Server, RunError> {
    let authority = free().map_err(lost)?;
    let serve = serve(ground, &authority, &ground.folder.join(format!("{name}-store")));
    let serve = serve.args(["--upstream".to_owned(), format!("/={upstream}")]);
    let serve = serve.args(remote.iter().flat_map(|url| ["--remote", url]));
    let serve = serve.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    let process = ground.runner.background(&serve, &ground.folder.join(format!("{name}.log")))?;
    Server::new("pkgcache", authority, process).once_it_answers("/healthz")
}

fn serve(ground: &Ground<'_>, authority: &str, store: &Utf8Path) -> Cmd {
    ground.tools.pkgcache("serve").args(["--listen", authority, "--store"]).path(store)
}

/// nginx with the origin's files.
pub(super) fn origin(ground: &Ground<'_>) -> Result<Server, RunError> {
    let authority = free().map_err(lost)?;
    let root = ground.folder.join("origin");
    let server = format!(
        "server {{ listen {authority} backlog=4096; root {root}; add_header Cache-Control max-age=86400; }}"
    );
    let process = run_nginx(ground, "origin-nginx", &server)?;
    Server::new("origin", authority, process).once_it_answers(&format!("/{SMALL}"))
}

/// nginx as a cache: two workers, sendfile, no access log.
fn nginx(ground: &Ground<'_>, upstream: &str) -> Result<Server, RunError> {
    let authority = free().map_err(lost)?;
    let folder = &ground.folder;
    let server = format!(
        "proxy_cache_path {folder}/nginx/cache levels=1:2 keys_zone=bench:10m max_size=8g use_temp_path=off;\n\
         server {{ listen {authority} backlog=4096;\n\
         location / {{ proxy_pass {upstream}; proxy_cache bench; proxy_http_version 1.1; }} }}"
    );
    let process = run_nginx(ground, "nginx", &server)?;
    Server::new("nginx", authority, process).once_it_answers(&format!("/{SMALL}"))
}

fn run_nginx(ground: &Ground<'_>, name: &str, server: &str) -> Result<Background, RunError> {
    let own = ground.folder.join(name);
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
    ground.runner.background(&cmd, &ground.folder.join(format!("{name}.log")))
}

/// proxpi under gunicorn, with so many processes, each with a memory of its own, once it answers
/// for this path; or why it does not run.
pub(super) fn proxpi(
    ground: &Ground<'_>,
    upstream: &str,
    workers: usize,
    path: &str,
) -> Result<Result<Server, String>, RunError> {
    let gunicorn = match ground.find("gunicorn")? {
        Ok(gunicorn) => gunicorn,
        Err(reason) => return Ok(Err(reason)),
    };
    let authority = free().map_err(lost)?;
    let cmd = Cmd::new(gunicorn).args(["--workers", &workers.to_string(), "--threads", "4"]);
    let cmd = cmd.args(["--bind", &authority, "--log-level", "error", "proxpi.server:app"]);
    let cmd =
        cmd.env("PROXPI_INDEX_URL", &format!("{upstream}/simple/")).env("PROXPI_LOGGING_LEVEL", "ERROR");
    let cmd = cmd.env("PROXPI_CACHE_DIR", ground.folder.join("proxpi").as_str());
    let cmd = cmd.env("PROXPI_INDEX_TTL", "3600");
    std::fs::create_dir_all(ground.folder.join("proxpi")).map_err(lost)?;
    let process = ground.runner.background(&cmd, &ground.folder.join("proxpi.log"))?;
    let server = Server { is_index: true, ..Server::new("proxpi", authority, process) };
    server.once_it_answers(path).map(Ok)
}

/// An address that nobody listens on. Somebody may, before it is used: then the server does not
/// start.
pub(super) fn free() -> io::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// A listener at a port below 32768, for what knows no others.
pub(super) fn low_port() -> io::Result<TcpListener> {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap_or_default();
    let mut listeners = (first..32_000).map(|port| TcpListener::bind(("127.0.0.1", port)));
    listeners.find_map(Result::ok).ok_or_else(|| io::ErrorKind::AddrInUse.into())
}
