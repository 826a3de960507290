//! `imgtar serve` as a process, and a client that sends what it is told to, word by word.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use storekit::Digest;

use crate::kit::session::Session;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A running registry, killed when dropped.
pub(crate) struct Registry {
    pub(crate) child: Child,
    pub(crate) address: String,
    token: Option<String>,
    /// How long an answer is waited for.
    pub(crate) patience: Duration,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the connection ended before the announced length.
    pub(crate) broken: bool,
}

impl Session {
    /// Starts a registry on any port, and waits until it answers.
    pub(crate) fn serve(&self, words: &str) -> Registry {
        let mut command = self.command(&format!("serve --listen 127.0.0.1:0 {words}"));
        self.started(&mut command)
    }

    pub(crate) fn started(&self, command: &mut std::process::Command) -> Registry {
        let log = std::fs::File::create(self.path("serve.log")).unwrap();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").unwrap_or_else(|| panic!("{line}")).to_owned();
        Registry { child, address, token: None, patience: Duration::from_secs(20) }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("serve.log")).unwrap()
    }
}

impl Registry {
    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// Sends bytes, ends the sending side, and returns whatever comes.
    pub(crate) fn raw(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(self.patience)).unwrap();
        // It may refuse before it has read everything.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut head = vec![format!("{method} {path} HTTP/1.1"), "Connection: close".to_owned()];
        let has = |name: &str| headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        if !has("host") {
            head.push(format!("Host: {}", self.address));
        }
        if !has("content-length") && (!body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH")) {
            head.push(format!("Content-Length: {}", body.len()));
        }
        head.extend(self.token.as_ref().map(|token| format!("Authorization: Bearer {token}")));
        head.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
        let head = head.join("\r\n") + "\r\n\r\n";
        let request = [head.as_bytes(), body].concat();
        Answer::parse(&self.raw(&request), method == "HEAD")
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    pub(crate) fn head(&self, path: &str) -> Answer {
        self.request("HEAD", path, &[], b"")
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path, &[], b"")
    }

    /// Uploads a blob in one request.
    #[track_caller]
    pub(crate) fn upload(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        self.request("POST", &path, &[], bytes).is(201);
        digest
    }

    /// Begins an upload. Returns where it goes on.
    #[track_caller]
    pub(crate) fn begin(&self, repository: &str) -> String {
        let answer = self.request("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"").is(202);
        answer.header("location").unwrap().to_owned()
    }

    pub(crate) fn put(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        manifest: &Value,
    ) -> Answer {
        let path = format!("/v2/{repository}/manifests/{reference}");
        self.request("PUT", &path, &[("Content-Type", media_type)], manifest.to_string().as_bytes())
    }

    /// Pushes an image of these layers, in these forms. Returns its manifest.
    #[track_caller]
    pub(crate) fn push(&self, name: &str, plain: &[&[u8]], forms: &[(&str, &[u8])]) -> Value {
        let (repository, tag) = name.rsplit_once(':').unwrap();
        self.upload(repository, crate::kit::tars::config(plain).to_string().as_bytes());
        for (_, bytes) in forms {
            self.upload(repository, bytes);
        }
        let manifest = crate::kit::tars::manifest(plain, forms);
        self.put(repository, tag, MANIFEST, &manifest).is(201);
        manifest
    }

    /// Ends it with a signal, and waits.
    pub(crate) fn end(mut self, signal: &str) -> Option<i32> {
        let id = self.child.id().to_string();
        std::process::Command::new("kill").args([signal, &id]).status().unwrap();
        let code = self.child.wait().unwrap().code();
        std::mem::forget(self);
        code
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answer {
    fn parse(bytes: &[u8], is_head: bool) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let Some(end) = end else {
            return Self { status: 0, headers: Vec::new(), body: bytes.to_vec(), broken: true };
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = Self { status, headers, body: bytes[end + 4..].to_vec(), broken: false };
        // After `100 Continue` comes the answer.
        if status == 100 {
            return Self::parse(&answer.body, is_head);
        }
        let length = answer.header("content-length").and_then(|length| length.parse::<usize>().ok());
        answer.broken = !is_head && length.is_some_and(|length| length != answer.body.len());
        answer
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?} {}", self.headers, String::from_utf8_lossy(&self.body));
        assert!(!self.broken, "the answer broke off");
        self
    }

    /// An error of this status and code, with a body of the spec's form.
    #[track_caller]
    pub(crate) fn fails(self, status: u16, code: &str) -> Self {
        let answer = self.is(status);
        let error = &answer.json()["errors"][0];
        assert_eq!(error["code"], code, "{error}");
        assert!(error["message"].is_string());
        answer
    }

    #[track_caller]
    pub(crate) fn has(self, name: &str, value: &str) -> Self {
        assert_eq!(self.header(name), Some(value), "{name} in {:?}", self.headers);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    #[track_caller]
    pub(crate) fn brings(self, bytes: &[u8]) -> Self {
        assert!(self.body == bytes, "other bytes came: {} of {}", self.body.len(), bytes.len());
        self
    }
}

/// A manifest that refers to another.
pub(crate) fn referrer(subject: &str, size: usize, kind: &str) -> Value {
    let empty = crate::kit::tars::descriptor("application/vnd.oci.empty.v1+json", b"{}");
    json!({ "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind, "config": empty, "layers": [empty],
        "subject": { "mediaType": MANIFEST, "digest": subject, "size": size }, "annotations": { "note": kind } })
}
