//! An object store of a test's own: `moto_server`, which keeps to the conditions of writes as
//! Amazon's does, and looks at no signature.

use std::io::Write;
use std::process::Command;

use super::quiet::QuietServer;
use crate::{http, parts};

/// The one bucket.
const BUCKET: &str = "larder";

/// A running `moto_server`, killed when dropped. It keeps everything in memory.
#[derive(Debug)]
pub struct Moto {
    server: QuietServer,
}

impl Moto {
    /// Starts one with its bucket, and waits until it answers.
    #[must_use]
    pub fn start() -> Self {
        let server = QuietServer::start(|host| {
            let (address, port) = host.split_once(':').expect("a port");
            let mut command = Command::new(parts::installed(parts::MOTO));
            command.args(["-H", address, "-p", port]);
            command
        });
        let mut stream = http::connect(server.host());
        let head = format!("PUT /{BUCKET} HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\n\r\n", server.host());
        stream.write_all(head.as_bytes()).expect("a request");
        let answer = http::Answer::read(&mut std::io::BufReader::new(stream), "PUT");
        assert_eq!(answer.status, 200, "{answer:?}");
        Self { server }
    }

    /// Its address and port.
    #[must_use]
    pub fn host(&self) -> &str {
        self.server.host()
    }

    /// The bucket's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/{BUCKET}", self.host())
    }
}
