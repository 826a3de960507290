//! The built proxy between clients and origins of these tests' own, and what only a cache says.

use std::io::BufReader;
use std::ops::{Deref, DerefMut};
use std::process::Command;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
pub(crate) use larder_tests::http::{Answer, Origin, Request, answer, read_until};
use larder_tests::{Ran, Server, Session, until, until_some};

/// A folder to run the program in.
pub(crate) fn session() -> Session {
    Session::of(env!("CARGO_BIN_EXE_pkgcache"))
}

/// A running proxy with a store of its own.
pub(crate) struct Proxy {
    server: Server,
    session: Arc<Session>,
}

impl Proxy {
    /// With the origin at its root.
    pub(crate) fn of(origin: &Origin) -> Self {
        Self::with(&["--upstream", &format!("/={}", origin.url())])
    }

    pub(crate) fn with(args: &[&str]) -> Self {
        Self::trusting(None, args)
    }

    /// With these authorities' certificates and no others.
    pub(crate) fn trusting(authorities: Option<&Utf8Path>, args: &[&str]) -> Self {
        let session = session();
        let session = match authorities {
            Some(path) => session.env("SSL_CERT_FILE", path.as_str()),
            None => session,
        };
        Self::in_session(session, args)
    }

    /// In a folder with these settings.
    pub(crate) fn set(settings: &str, args: &[&str]) -> Self {
        Self::in_session(session().file("larder.toml", settings), args)
    }

    pub(crate) fn in_session(session: impl Into<Arc<Session>>, args: &[&str]) -> Self {
        let session = session.into();
        let command = session.command("");
        Self::begin(command, session, args)
    }

    /// Another process on the same store, whose system calls are written down.
    pub(crate) fn traced(mut self, trace: &Utf8Path, args: &[&str]) -> Self {
        self.kill();
        let mut command = self.session.program("strace");
        command.args(["-D", "-f", "-qq", "-e", "trace=%file,getdents,getdents64,read", "-o", trace.as_str()]);
        command.arg(env!("CARGO_BIN_EXE_pkgcache"));
        Self::begin(command, Arc::clone(&self.session), args)
    }

    /// Under what a command of the shell's sets, such as `ulimit`.
    pub(crate) fn under(setting: &str, args: &[&str]) -> Self {
        let session = session();
        let mut command = session.program("sh");
        command.args(["-c", &format!("{setting}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_pkgcache")]);
        Self::begin(command, session.into(), args)
    }

    fn begin(mut command: Command, session: Arc<Session>, args: &[&str]) -> Self {
        let server = Server::start(command.args(["serve", "--listen", "127.0.0.1:0"]).args(args));
        Self { server, session }
    }

    /// Another process on the same store, after this one has ended.
    pub(crate) fn again(mut self, args: &[&str]) -> Self {
        self.kill();
        Self::in_session(Arc::clone(&self.session), args)
    }

    /// Another process on the same store, after this one has done all that it had begun.
    pub(crate) fn after_its_end(mut self, args: &[&str]) -> Self {
        self.signal("TERM");
        assert_eq!(self.wait(), Some(0));
        self.again(args)
    }

    /// The lines of the access log in `access.ndjson`, as soon as there are so many of this kind.
    #[track_caller]
    pub(crate) fn logs(
        &self,
        count: usize,
        kind: impl Fn(&serde_json::Value) -> bool,
    ) -> Vec<serde_json::Value> {
        until_some(format_args!("{count} lines are logged"), || {
            let text = std::fs::read_to_string(self.path("access.ndjson")).unwrap_or_default();
            let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
            let lines: Vec<_> = lines.filter(&kind).collect();
            (lines.len() >= count).then_some(lines)
        })
    }

    /// The same of any kind.
    #[track_caller]
    pub(crate) fn logged(&self, count: usize) -> Vec<serde_json::Value> {
        self.logs(count, |_| true)
    }

    /// Something in the folder in which it runs.
    pub(crate) fn path(&self, name: &str) -> Utf8PathBuf {
        self.session.path(name)
    }

    pub(crate) fn store(&self) -> storekit::Store {
        storekit::Store::open(&self.session.store()).unwrap()
    }

    pub(crate) fn packages(&self) -> storekit::Packages {
        self.store().packages()
    }

    /// Another command on the same store.
    pub(crate) fn command(&self, args: &[&str]) -> Ran {
        Ran::of(self.session.command("").args(args))
    }

    /// The lines of `pkgcache ls`.
    pub(crate) fn listed(&self) -> usize {
        self.command(&["ls"]).stdout().lines().count()
    }

    /// Waits until so many URLs are stored, fresh or not.
    #[track_caller]
    pub(crate) fn kept(&self, count: usize) {
        until(format_args!("{count} URLs are stored"), || self.listed() >= count);
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "")
    }

    pub(crate) fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        let fields: String = headers.lines().flat_map(|line| [line, "\r\n"]).collect();
        self.raw(format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{fields}\r\n").as_bytes())
    }

    /// Sends these bytes, and reads the answer to its end.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        // It may be refused before it is all sent.
        let _ = std::io::Write::write_all(&mut stream, bytes);
        let method = if bytes.starts_with(b"HEAD ") { "HEAD" } else { "" };
        Answer::read(&mut BufReader::new(stream), method)
    }

    /// Waits until what was fetched is stored.
    #[track_caller]
    pub(crate) fn settled(&self, path: &str) {
        self.settled_for(path, "");
    }

    /// Waits until what a request with these fields asks for is stored.
    #[track_caller]
    pub(crate) fn settled_for(&self, path: &str, fields: &str) {
        let fields = format!("{fields}\ncache-control: only-if-cached");
        let fields = fields.trim_start();
        until(format_args!("{path} is stored"), || self.ask("GET", path, fields).status != 504);
    }

    /// A number of `/metrics`.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics");
        let value = metrics.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{name}: {}", metrics.text())).parse().unwrap()
    }
}

impl Deref for Proxy {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Proxy {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

/// What an answer says of the cache that it comes from.
pub(crate) trait Cached {
    /// What this cache said that it did: the last to speak, after its parents.
    fn cache(&self) -> &str;

    fn is(&self, status: u16, cache: &str, body: &str) -> &Self;
}

impl Cached for Answer {
    fn cache(&self) -> &str {
        let mut lines = self.headers.iter().rev();
        lines.find(|(name, _)| name == "cache-status").map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    #[track_caller]
    fn is(&self, status: u16, cache: &str, body: &str) -> &Self {
        let found = (self.status, self.cache().contains(cache), self.text(), self.whole);
        assert_eq!(found, (status, true, body, true), "{self:?}");
        self
    }
}

/// Reads an answer, or an empty one with status 0 where the connection just ends.
pub(crate) fn read_answer(stream: &mut std::net::TcpStream) -> Answer {
    Answer::read(&mut BufReader::new(stream), "GET")
}
