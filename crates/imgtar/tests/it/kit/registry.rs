//! `imgtar serve` as a process, and a client that sends what it is told to, word by word.

use std::io::{Read, Write};
use std::ops::Deref;
use std::process::Command;
use std::time::Duration;

use larder_tests::Server;
use larder_tests::http::Answer;
use serde_json::{Value, json};
use storekit::Digest;

use crate::kit::session::Session;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A running registry, killed when dropped.
pub(crate) struct Registry {
    server: Server,
    pub(crate) address: String,
    token: Option<String>,
    /// How long an answer is waited for.
    pub(crate) patience: Duration,
}

impl Session {
    /// Starts a registry on any port, and waits until it answers.
    pub(crate) fn serve(&self, words: &str) -> Registry {
        Registry::start(&mut self.command(&format!("serve --listen 127.0.0.1:0 {words}")))
    }
}

impl Registry {
    pub(crate) fn start(command: &mut Command) -> Self {
        let server = Server::start(command);
        let address = server.authority().to_owned();
        Self { server, address, token: None, patience: Duration::from_secs(20) }
    }

    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// Sends bytes, and returns whatever comes.
    pub(crate) fn raw(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
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
        let bytes = self.raw(&request);
        let mut rest = bytes.as_slice();
        let mut answer = Answer::read(&mut rest, method);
        answer.whole &= rest.is_empty();
        answer
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
        self.signal(signal);
        self.server.wait()
    }
}

impl Deref for Registry {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// What an answer of a registry must be.
pub(crate) trait Checked {
    fn is(self, status: u16) -> Self;

    /// An error of this status and code, with a body of the spec's form.
    fn fails(self, status: u16, code: &str) -> Self;

    fn has(self, name: &str, value: &str) -> Self;

    fn brings(self, bytes: &[u8]) -> Self;
}

impl Checked for Answer {
    #[track_caller]
    fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?} {}", self.headers, String::from_utf8_lossy(&self.body));
        assert!(self.whole, "the answer is not whole");
        self
    }

    #[track_caller]
    fn fails(self, status: u16, code: &str) -> Self {
        let answer = self.is(status);
        let error = &answer.json()["errors"][0];
        assert_eq!(error["code"], code, "{error}");
        assert!(error["message"].is_string());
        answer
    }

    #[track_caller]
    fn has(self, name: &str, value: &str) -> Self {
        assert_eq!(self.header(name), Some(value), "{name} in {:?}", self.headers);
        self
    }

    #[track_caller]
    fn brings(self, bytes: &[u8]) -> Self {
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
