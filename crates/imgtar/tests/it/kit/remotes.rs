//! Registries for tests: Debian's own, and one that does whatever a test tells it to.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use storekit::Digest;

use crate::engine::engines::{available, sh};
use crate::kit::session::Session;

/// A running docker-registry, killed when dropped.
pub(crate) struct Real {
    child: Child,
    pub(crate) host: String,
}

/// `user` may do everything, with this password.
pub(crate) const PASSWORD: &str = "secret";
const HTPASSWD: &str = "user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

impl Real {
    /// Starts one with its files in the session's folder; nothing where the program is not there.
    #[track_caller]
    pub(crate) fn start(session: &Session) -> Option<Self> {
        Self::start_with(session, "", "")
    }

    /// One with TLS, of an authority in `ca.pem`, and a password.
    #[track_caller]
    pub(crate) fn start_guarded(session: &Session) -> Option<Self> {
        if !available("openssl version") {
            return None;
        }
        let at = |name: &str| session.path(name);
        session.write("names", "subjectAltName=DNS:localhost,IP:127.0.0.1");
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        let line = format!(
            "cd {} && openssl req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=test-authority &&
             openssl req {key} -keyout key.pem -out asked -subj /CN=localhost &&
             openssl x509 -req -in asked -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out cert.pem -extfile names",
            at("")
        );
        sh(&line);
        session.write("htpasswd", HTPASSWD);
        let tls = format!(", tls: {{certificate: {}, key: {}}}", at("cert.pem"), at("key.pem"));
        let auth = format!("auth: {{htpasswd: {{realm: test, path: {}}}}}", at("htpasswd"));
        Self::start_with(session, &tls, &auth)
    }

    #[track_caller]
    fn start_with(session: &Session, tls: &str, auth: &str) -> Option<Self> {
        if !available("docker-registry --version") {
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let folder = session.path("registry");
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {folder}}}}}\nhttp: {{addr: '{host}', secret: x{tls}}}\n{auth}\n"
        );
        let config = session.write("registry.yml", config);
        let mut command = Command::new("docker-registry");
        command
            .args(["serve", config.as_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let started = Instant::now();
        while TcpStream::connect(&host).is_err() {
            assert!(started.elapsed() < Duration::from_secs(30), "the registry does not answer");
            // It tells nobody when it is ready.
            thread::sleep(Duration::from_millis(20));
        }
        Some(Self { child, host })
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a client asked for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// Whether the body broke off where the handler wanted it to.
    pub(crate) partial: bool,
}

impl Asked {
    pub(crate) fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.path.contains(part)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What it gets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The connection is cut after so many bytes of the body.
    pub(crate) cut: Option<usize>,
    /// The body comes byte by byte, with this pause after each.
    pub(crate) drip: Option<Duration>,
    /// No `Content-Length`.
    pub(crate) unsized_: bool,
}

impl Reply {
    pub(crate) fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub(crate) fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn body(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.body = bytes.as_ref().to_vec();
        self
    }
}

type Handler = dyn Fn(&Asked) -> Option<Reply> + Send + Sync;
type Stop = dyn Fn(&Asked) -> Option<usize> + Send + Sync;
type Change = dyn Fn(&Asked, Reply) -> Reply + Send + Sync;

/// A registry of a test's own: it serves what it holds, takes what is pushed, and does what the
/// handler wants instead.
pub(crate) struct Fake {
    pub(crate) host: String,
    state: Arc<State>,
}

struct State {
    handler: Box<Handler>,
    /// What becomes of its own answers.
    change: Box<Change>,
    /// After how many bytes of a request's body the connection is cut.
    stop: Box<Stop>,
    log: Mutex<Vec<Asked>>,
    blobs: Mutex<HashMap<String, Vec<u8>>>,
    manifests: Mutex<HashMap<String, (String, Vec<u8>)>>,
    uploads: Mutex<HashMap<String, Vec<u8>>>,
}

impl Fake {
    pub(crate) fn start(handler: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static) -> Self {
        Self::start_cutting(handler, |_| None)
    }

    pub(crate) fn start_cutting(
        handler: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static,
        stop: impl Fn(&Asked) -> Option<usize> + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(Box::new(handler), Box::new(stop), Box::new(|_, reply| reply))
    }

    /// One whose answers come changed.
    pub(crate) fn start_changing(change: impl Fn(&Asked, Reply) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(Box::new(|_| None), Box::new(|_| None), Box::new(change))
    }

    /// One that passes on what this answers nothing to, to a registry that speaks plain HTTP.
    pub(crate) fn start_passing(
        target: &str,
        handler: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let target = target.to_owned();
        Self::start(move |asked| handler(asked).or_else(|| passed(asked, &target)))
    }

    fn start_with(handler: Box<Handler>, stop: Box<Stop>, change: Box<Change>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State {
            handler,
            change,
            stop,
            log: Mutex::default(),
            blobs: Mutex::default(),
            manifests: Mutex::default(),
            uploads: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || state.serve(&stream));
            }
        });
        Self { host, state }
    }

    pub(crate) fn blob(&self, bytes: &[u8]) -> String {
        let digest = Digest::of(bytes).to_string();
        self.state.blobs.lock().unwrap().insert(digest.clone(), bytes.to_vec());
        digest
    }

    pub(crate) fn manifest(&self, tag: &str, media_type: &str, document: &Value) -> String {
        let bytes = document.to_string().into_bytes();
        let digest = Digest::of(&bytes).to_string();
        let mut manifests = self.state.manifests.lock().unwrap();
        for name in [tag, &digest] {
            manifests.insert(name.to_owned(), (media_type.to_owned(), bytes.clone()));
        }
        digest
    }

    /// Holds an image with these layers, plain; its config comes first.
    pub(crate) fn image(&self, tag: &str, layers: &[&[u8]]) -> String {
        self.blob(crate::kit::tars::config(layers).to_string().as_bytes());
        let forms: Vec<_> = layers.iter().map(|layer| ("", *layer)).collect();
        for layer in layers {
            self.blob(layer);
        }
        self.manifest(
            tag,
            "application/vnd.oci.image.manifest.v1+json",
            &crate::kit::tars::manifest(layers, &forms),
        )
    }

    pub(crate) fn holds(&self, digest: &str) -> bool {
        self.state.blobs.lock().unwrap().contains_key(digest)
    }

    /// All that was asked.
    pub(crate) fn log(&self) -> Vec<Asked> {
        self.state.log.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        self.log().iter().filter(|asked| asked.is(method, part)).count()
    }

    /// The values of a header in all requests.
    pub(crate) fn seen(&self, name: &str) -> Vec<String> {
        self.log().iter().filter_map(|asked| asked.header(name).map(str::to_owned)).collect()
    }
}

impl State {
    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some(asked) = self.read(&mut reader) {
            self.log.lock().unwrap().push(asked.clone());
            let probe = asked.path == "/v2/" && !asked.headers.contains_key("authorization");
            let reply = if asked.partial {
                return;
            } else if probe {
                Reply::new(200)
            } else {
                (self.handler)(&asked).unwrap_or_else(|| (self.change)(&asked, self.answer(&asked)))
            };
            if send(stream, &asked, &reply).is_none() {
                return;
            }
        }
    }

    fn read(&self, reader: &mut impl BufRead) -> Option<Asked> {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        let mut words = line.split_whitespace();
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let mut asked = Asked { method, path, headers, body: Vec::new(), partial: false };
        let stop = (self.stop)(&asked);
        let length = asked.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        if asked.header("transfer-encoding").is_some() {
            asked.body = chunks(reader)?;
        }
        let wanted = stop.map_or(length, |stop| length.min(stop as u64));
        reader.take(wanted).read_to_end(&mut asked.body).ok()?;
        if wanted < length {
            asked.partial = true;
            self.take(&asked);
        }
        Some(asked)
    }

    fn take(&self, asked: &Asked) {
        if let Some((_, id)) = asked.path.split('?').next().unwrap().split_once("/uploads/") {
            self.uploads.lock().unwrap().entry(id.to_owned()).or_default().extend(&asked.body);
        }
    }

    fn answer(&self, asked: &Asked) -> Reply {
        let path = asked.path.split('?').next().unwrap();
        let Some((_, rest)) = path.split_once("/v2/") else { return Reply::new(404) };
        if let Some((_, target)) = rest.split_once("/manifests/") {
            return self.manifest(asked, target);
        }
        if let Some((name, id)) = rest.split_once("/blobs/uploads/") {
            return self.upload(asked, name, id);
        }
        let Some((_, digest)) = rest.split_once("/blobs/") else { return Reply::new(404) };
        let Some(bytes) = self.blobs.lock().unwrap().get(digest).cloned() else { return Reply::new(404) };
        let range = asked.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        match range.and_then(|from| from.parse::<usize>().ok()) {
            Some(from) => {
                let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
                Reply::new(206).with("Content-Range", range).body(&bytes[from..])
            }
            None => Reply::new(200).body(bytes),
        }
    }

    fn manifest(&self, asked: &Asked, target: &str) -> Reply {
        let mut manifests = self.manifests.lock().unwrap();
        if asked.method == "PUT" {
            let digest = Digest::of(&asked.body).to_string();
            let held = (asked.header("content-type").unwrap().to_owned(), asked.body.clone());
            manifests.insert(target.to_owned(), held.clone());
            manifests.insert(digest.clone(), held);
            return Reply::new(201).with("Docker-Content-Digest", digest);
        }
        let Some((media_type, bytes)) = manifests.get(target) else { return Reply::new(404) };
        let digest = Digest::of(bytes);
        Reply::new(200).with("Content-Type", media_type).with("Docker-Content-Digest", digest).body(bytes)
    }

    fn upload(&self, asked: &Asked, name: &str, id: &str) -> Reply {
        let place = |id: &str| format!("/v2/{name}/blobs/uploads/{id}");
        let mut uploads = self.uploads.lock().unwrap();
        if asked.method == "POST" {
            let id = format!("upload-{}", uploads.len());
            uploads.insert(id.clone(), Vec::new());
            return Reply::new(202).with("Location", place(&id));
        }
        let Some(bytes) = uploads.get_mut(id) else { return Reply::new(404) };
        bytes.extend(&asked.body);
        let range = format!("0-{}", bytes.len().saturating_sub(1));
        let reply = |status| Reply::new(status).with("Location", place(id)).with("Range", &range);
        match asked.method.as_str() {
            "GET" => reply(204),
            "PATCH" => reply(202),
            _ => {
                let digest = Digest::of(bytes).to_string();
                if !asked.path.ends_with(&format!("digest={digest}")) {
                    return Reply::new(400)
                        .body(r#"{"errors":[{"code":"DIGEST_INVALID","message":"other bytes"}]}"#);
                }
                self.blobs.lock().unwrap().insert(digest, bytes.clone());
                Reply::new(201)
            }
        }
    }
}

/// What another registry answers to the same question.
fn passed(asked: &Asked, target: &str) -> Option<Reply> {
    let mut stream = TcpStream::connect(target).ok()?;
    let mut head = format!("{} {} HTTP/1.1\r\nConnection: close\r\n", asked.method, asked.path);
    let own =
        |name: &&String| !matches!(name.as_str(), "connection" | "content-length" | "transfer-encoding");
    for name in asked.headers.keys().filter(own) {
        write!(head, "{name}: {}\r\n", asked.headers[name]).unwrap();
    }
    write!(head, "content-length: {}\r\n\r\n", asked.body.len()).unwrap();
    stream.write_all(&[head.as_bytes(), &asked.body].concat()).ok()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut reply = Reply::new(line.split(' ').nth(1)?.parse().ok()?);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        let name = name.to_ascii_lowercase();
        let is_heads_length = asked.method == "HEAD" && name == "content-length";
        if is_heads_length || !matches!(name.as_str(), "connection" | "content-length" | "transfer-encoding")
        {
            reply = reply.with(&name, value.trim());
        }
    }
    reader.read_to_end(&mut reply.body).ok()?;
    Some(reply)
}

fn chunks(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let size = u64::from_str_radix(line.trim(), 16).ok()?;
        reader.by_ref().take(size).read_to_end(&mut body).ok()?;
        reader.read_line(&mut line).ok()?;
        if size == 0 {
            return Some(body);
        }
    }
}

/// Nothing where the connection is at its end.
fn send(mut stream: &TcpStream, asked: &Asked, reply: &Reply) -> Option<()> {
    let mut head = format!("HTTP/1.1 {} Whatever\r\n", reply.status);
    for (name, value) in &reply.headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    let own_length = reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    if reply.unsized_ {
        head += "Connection: close\r\n";
    } else if !own_length && reply.status != 204 {
        write!(head, "Content-Length: {}\r\n", reply.body.len()).unwrap();
    }
    head += "\r\n";
    stream.write_all(head.as_bytes()).ok()?;
    if asked.method == "HEAD" {
        return Some(());
    }
    let body = &reply.body[..reply.cut.unwrap_or(usize::MAX).min(reply.body.len())];
    match reply.drip {
        Some(pause) => body.iter().try_for_each(|byte| {
            thread::sleep(pause);
            stream.write_all(&[*byte]).ok()
        })?,
        None => stream.write_all(body).ok()?,
    }
    let over = reply.cut.is_some() || reply.unsized_;
    if over {
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }
    (!over).then_some(())
}
