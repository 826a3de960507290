//! Origins, proxies and clients, as small as they can be: bytes on sockets.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use tempfile::TempDir;

/// A request as an origin sees it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    /// How many requests for this path came before.
    pub(crate) before: usize,
    pub(crate) headers: HashMap<String, String>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// A server that answers with whatever bytes its script writes. Each connection serves one request.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Origin {
    pub(crate) fn new(script: impl Fn(&Seen, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::<Seen>::new()));
        let (noted, script) = (Arc::clone(&seen), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (noted, script) = (Arc::clone(&noted), Arc::clone(&script));
                thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let Some(mut request) = read_head(&mut stream) else { return };
                    {
                        let mut noted = noted.lock().unwrap();
                        request.before = noted.iter().filter(|it| it.path == request.path).count();
                        noted.push(request.clone());
                    }
                    script(&request, &mut stream);
                    let _ = stream.shutdown(std::net::Shutdown::Write);
                    // Lets the other side read to the end.
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
                    let _ = stream.read(&mut [0; 1024]);
                });
            }
        });
        Self { address, seen }
    }

    /// Answers every request the same.
    pub(crate) fn fixed(headers: &str, body: &str) -> Self {
        let answer = answer(200, headers, body.as_bytes());
        Self::new(move |_, stream| drop(stream.write_all(&answer)))
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn read_head(stream: &mut TcpStream) -> Option<Seen> {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Some(Seen { method, path, before: 0, headers })
}

/// Lines as they go over the wire.
fn lines(text: &str) -> String {
    text.lines().flat_map(|line| [line, "\r\n"]).collect()
}

/// The bytes of an answer with a length.
pub(crate) fn answer(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let lines = lines(headers);
    let head =
        format!("HTTP/1.1 {status} X\r\n{lines}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// The program as it was built.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pkgcache"));
    for name in ["LARDER_DIR", "XDG_CONFIG_HOME", "http_proxy", "HTTP_PROXY"] {
        command.env_remove(name);
    }
    command
}

/// A running proxy with a store of its own.
pub(crate) struct Proxy {
    child: Child,
    pub(crate) address: SocketAddr,
    dir: Arc<TempDir>,
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
        Self::run(Arc::new(tempfile::tempdir().unwrap()), authorities, args)
    }

    /// In a folder with settings.
    pub(crate) fn in_folder(dir: TempDir, args: &[&str]) -> Self {
        Self::on(Arc::new(dir), args)
    }

    fn on(dir: Arc<TempDir>, args: &[&str]) -> Self {
        Self::run(dir, None, args)
    }

    fn run(dir: Arc<TempDir>, authorities: Option<&Utf8Path>, args: &[&str]) -> Self {
        Self::begin(program(), dir, authorities, args)
    }

    /// Another process on the same store, whose system calls are written down.
    pub(crate) fn traced(mut self, trace: &Utf8Path, args: &[&str]) -> Self {
        self.kill();
        let mut command = Command::new("strace");
        command.args(["-D", "-f", "-qq", "-e", "trace=%file,getdents,getdents64,read", "-o", trace.as_str()]);
        command.arg(program().get_program());
        Self::begin(command, Arc::clone(&self.dir), None, args)
    }

    /// Under what a command of the shell's sets, such as `ulimit`.
    pub(crate) fn under(setting: &str, args: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{setting}; exec \"$0\" \"$@\"")]).arg(program().get_program());
        Self::begin(command, Arc::new(tempfile::tempdir().unwrap()), None, args)
    }

    fn begin(mut command: Command, dir: Arc<TempDir>, authorities: Option<&Utf8Path>, args: &[&str]) -> Self {
        if let Some(path) = authorities {
            command.env_remove("SSL_CERT_DIR").env("SSL_CERT_FILE", path);
        }
        command.current_dir(dir.path()).args(["serve", "--listen", "127.0.0.1:0", "--store"]);
        command.arg(dir.path().join("store")).args(args);
        let said = File::options().create(true).append(true).open(dir.path().join("stderr")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(said).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").expect("an URL").parse().unwrap();
        Self { child, address, dir }
    }

    /// Another process on the same store, after this one has ended.
    pub(crate) fn again(mut self, args: &[&str]) -> Self {
        self.kill();
        Self::on(Arc::clone(&self.dir), args)
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// What it and those before it on this store have said on stderr.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.store().join("stderr")).unwrap()
    }

    /// Waits until it has said this.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.said().contains(text) {
            assert!(Instant::now() < deadline, "{text:?} was not said: {}", self.said());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The lines of the access log in `access.ndjson`, as soon as there are so many.
    #[track_caller]
    pub(crate) fn logged(&self, count: usize) -> Vec<serde_json::Value> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let text = std::fs::read_to_string(self.store().join("access.ndjson")).unwrap_or_default();
            let lines: Vec<_> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            if lines.len() >= count {
                return lines;
            }
            assert!(Instant::now() < deadline, "{text}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    pub(crate) fn store(&self) -> &Utf8Path {
        Utf8Path::from_path(self.dir.path()).unwrap()
    }

    pub(crate) fn packages(&self) -> storekit::Packages {
        storekit::Store::open(&self.store().join("store")).unwrap().packages()
    }

    /// Another command on the same store.
    pub(crate) fn command(&self, args: &[&str]) -> Output {
        let store = self.store().join("store");
        program().current_dir(self.dir.path()).args(args).args(["--store", store.as_str()]).output().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The lines of `pkgcache ls`.
    pub(crate) fn listed(&self) -> usize {
        let output = self.command(&["ls"]);
        std::str::from_utf8(&output.stdout).unwrap().lines().count()
    }

    /// Waits until so many URLs are stored, fresh or not.
    #[track_caller]
    pub(crate) fn kept(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.listed() < count {
            assert!(Instant::now() < deadline, "{count} were not stored");
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "")
    }

    pub(crate) fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        // Where there is no body, the end of the connection says so.
        let end = if method == "HEAD" { "connection: close\r\n" } else { "" };
        let lines = lines(headers);
        self.raw(format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{end}{lines}\r\n").as_bytes())
    }

    /// Sends these bytes, and reads the answer to its end.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        // It may be refused before it is all sent.
        let _ = stream.write_all(bytes);
        read_answer(&mut stream)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Waits until what was fetched is stored.
    pub(crate) fn settled(&self, path: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let answer = self.ask("GET", path, "cache-control: only-if-cached");
            if answer.status != 504 {
                return;
            }
            assert!(Instant::now() < deadline, "{path} was not stored");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let _ = writeln!(std::io::stderr(), "{}", self.said());
        }
    }
}

/// An answer as a client sees it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether it came to the end that its head promises.
    pub(crate) whole: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// What this cache said that it did: the last to speak, after its parents.
    pub(crate) fn cache(&self) -> &str {
        let mut lines = self.headers.iter().rev();
        lines.find(|(name, _)| name == "cache-status").map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn is(&self, status: u16, cache: &str, body: &str) -> &Self {
        let found = (self.status, self.cache().contains(cache), self.text(), self.whole);
        assert_eq!(found, (status, true, body, true), "{self:?}");
        self
    }
}

/// Reads an answer, or an empty one with status 0 where the connection just ends.
pub(crate) fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    let _ = reader.read_line(&mut line);
    let status = line.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    let mut headers = Vec::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            break;
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let get = |name: &str| headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.clone());
    let length = get("content-length").and_then(|value| value.parse().ok());
    let (body, whole) = match length {
        Some(length) => exactly(&mut reader, length),
        None if matches!(status, 204 | 304) => (Vec::new(), true),
        None if get("transfer-encoding").is_some() => chunks(&mut reader),
        None => {
            let mut body = Vec::new();
            let read = reader.read_to_end(&mut body);
            (body, read.is_ok() && status != 0)
        }
    };
    Answer { status, headers, body, whole }
}

fn exactly(reader: &mut impl Read, length: usize) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    let _ = reader.take(length as u64).read_to_end(&mut body);
    let whole = body.len() == length;
    (body, whole)
}

fn chunks(reader: &mut impl BufRead) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        let _ = reader.read_line(&mut line);
        let Ok(size) = usize::from_str_radix(line.trim(), 16) else { return (body, false) };
        let (chunk, whole) = exactly(reader, size + 2);
        if size == 0 || !whole {
            return (body, whole);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}
