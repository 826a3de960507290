//! Registries for tests: Debian's own, and one that does whatever a test tells it to.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufReader, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

pub(crate) use larder_tests::http::Request as Asked;
use larder_tests::http::{Answer, Connection, Origin};
use larder_tests::{DockerRegistry, Part, have, sh};
use serde_json::Value;
use storekit::Digest;

use crate::kit::session::Session;

/// A running docker-registry, killed when dropped.
pub(crate) struct Real {
    pub(crate) host: String,
    _process: DockerRegistry,
}

/// `user` may do everything, with this password.
pub(crate) const PASSWORD: &str = "secret";
const HTPASSWD: &str = "user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

impl Real {
    /// Starts one with its files beside the session's; nothing where the program is not there.
    pub(crate) fn start(session: &Session) -> Option<Self> {
        have(&[Part::Registry]).then(|| Self::start_with(session, "", ""))
    }

    /// One with TLS, of an authority in `ca.pem`, and a password.
    pub(crate) fn start_guarded(session: &Session) -> Option<Self> {
        if !have(&[Part::Registry, Part::Openssl]) {
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
        Some(Self::start_with(session, &tls, &auth))
    }

    fn start_with(session: &Session, tls: &str, auth: &str) -> Self {
        let process = DockerRegistry::start_with(&session.aside("registry"), tls, auth);
        Self { host: process.host().to_owned(), _process: process }
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
    origin: Origin,
    state: Arc<State>,
}

struct State {
    handler: Box<Handler>,
    /// What becomes of its own answers.
    change: Box<Change>,
    /// After how many bytes of a request's body the connection is cut.
    stop: Box<Stop>,
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
        let state = Arc::new(State {
            handler,
            change,
            stop,
            blobs: Mutex::default(),
            manifests: Mutex::default(),
            uploads: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        let origin = Origin::serving(move |connection| {
            loop {
                shared.serve(connection)?;
            }
        });
        Self { host: origin.address.to_string(), origin, state }
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
        self.origin.seen()
    }

    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        self.origin.count(method, part)
    }

    /// The values of a header in all requests.
    pub(crate) fn seen(&self, name: &str) -> Vec<String> {
        self.log().iter().filter_map(|asked| asked.header(name).map(str::to_owned)).collect()
    }
}

impl State {
    /// Answers the next request; nothing where the connection is at its end.
    fn serve(&self, connection: &mut Connection) -> Option<()> {
        let mut asked = connection.head()?;
        let stop = (self.stop)(&asked);
        let is_all = connection.body(&mut asked, stop)?;
        let asked = connection.note(asked);
        if !is_all {
            self.take(&asked);
            return None;
        }
        let probe = asked.path == "/v2/" && asked.header("authorization").is_none();
        let reply = if probe {
            Reply::new(200)
        } else {
            (self.handler)(&asked).unwrap_or_else(|| (self.change)(&asked, self.answer(&asked)))
        };
        send(connection, &asked, &reply)
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
    const OF_A_CONNECTION: [&str; 3] = ["connection", "content-length", "transfer-encoding"];
    let mut head = format!("{} {} HTTP/1.1\r\nConnection: close\r\n", asked.method, asked.path);
    for (name, value) in asked.headers.iter().filter(|(name, _)| !OF_A_CONNECTION.contains(&name.as_str())) {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    write!(head, "content-length: {}\r\n\r\n", asked.body.len()).unwrap();
    let mut stream = TcpStream::connect(target).ok()?;
    stream.write_all(&[head.as_bytes(), &asked.body].concat()).ok()?;
    let answer = Answer::read(&mut BufReader::new(stream), &asked.method);
    let is_own =
        |name: &str| !OF_A_CONNECTION.contains(&name) || (asked.method == "HEAD" && name == "content-length");
    let headers = answer.headers.into_iter().filter(|(name, _)| is_own(name)).collect();
    Some(Reply { headers, body: answer.body, ..Reply::new(answer.status) })
}

/// Nothing where the connection is at its end.
fn send(connection: &mut Connection, asked: &Asked, reply: &Reply) -> Option<()> {
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
    connection.write(head.as_bytes())?;
    if asked.method == "HEAD" {
        return Some(());
    }
    let body = &reply.body[..reply.cut.unwrap_or(usize::MAX).min(reply.body.len())];
    match reply.drip {
        Some(pause) => body.iter().try_for_each(|byte| {
            // A slow registry.
            thread::sleep(pause);
            connection.write(&[*byte])
        })?,
        None => connection.write(body)?,
    }
    (reply.cut.is_none() && !reply.unsized_).then_some(())
}
