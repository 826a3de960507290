//! A cache in front of upstreams, and what its access log says of requests.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufReader, Write as _};
use std::net::SocketAddr;

use larder_tests::http::{Answer, connect};
use larder_tests::{Ran, Server, Session};
use serde_json::Value;

/// A running `pkgcache serve` with the store of a session.
pub(crate) struct Cache<'a> {
    session: &'a Session,
    server: Server,
    settings: String,
}

/// A request as the access log has it.
#[derive(Debug)]
pub(crate) struct Line {
    /// The URL that was meant.
    pub(crate) url: String,
    /// The status of its answer.
    pub(crate) status: u64,
    /// What `Cache-Status` said.
    pub(crate) cache: String,
}

impl<'a> Cache<'a> {
    /// Starts one with these settings, the rest of the table `[pkgcache]` and tables below it.
    pub(crate) fn start(session: &'a Session, settings: &str) -> Self {
        Self::start_with(session, settings, "")
    }

    /// The same at this address, also when it is started again.
    pub(crate) fn at(session: &'a Session, address: SocketAddr, settings: &str) -> Self {
        Self::start_with(session, &format!("listen = \"{address}\"\n{settings}"), "")
    }

    fn start_with(session: &'a Session, settings: &str, options: &str) -> Self {
        let listen = if settings.starts_with("listen") { "" } else { "listen = \"127.0.0.1:0\"\n" };
        session.write("larder.toml", format!("[pkgcache]\naccess-log = \"access.log\"\n{listen}{settings}"));
        let _ = fs::remove_file(session.path("access.log"));
        let server = Server::new(session.start(&format!("exec pkgcache serve {options}")));
        Self { session, server, settings: settings.to_owned() }
    }

    /// Stops it, and starts another one with the same store and settings, which asks no upstream.
    pub(crate) fn offline(self) -> Self {
        let (session, settings) = (self.session, self.settings.clone());
        self.stop();
        Self::start_with(session, &settings, "--offline")
    }

    /// Where it answers, without a slash at the end.
    pub(crate) fn url(&self) -> &str {
        self.server.url()
    }

    /// Its address and port.
    pub(crate) fn authority(&self) -> &str {
        self.server.authority()
    }

    /// Asks it for a path, with these fields, each with its line end.
    pub(crate) fn ask(&self, path: &str, fields: &str) -> Answer {
        let mut stream = connect(self.authority());
        let host = self.authority();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{fields}\r\n").unwrap();
        Answer::read(&mut BufReader::new(stream), "GET")
    }

    /// All that it has said.
    pub(crate) fn said(&self) -> String {
        self.server.said()
    }

    /// Stops it; what it was asked.
    pub(crate) fn stop(mut self) -> Vec<Line> {
        self.server.signal("TERM");
        assert_eq!(self.server.wait(), Some(0), "{}", self.server.said());
        let log = fs::read_to_string(self.session.path("access.log")).unwrap_or_default();
        let parse = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            Line { url: text("url"), status: line["status"].as_u64().unwrap(), cache: text("cache") }
        };
        log.lines().map(parse).collect()
    }
}

/// All answers to requests for URLs with this text were verified so, and there was one.
#[track_caller]
pub(crate) fn verified(lines: &[Line], part: &str, level: &str) {
    let of: Vec<_> = lines.iter().filter(|line| line.url.contains(part)).collect();
    assert!(!of.is_empty(), "nobody asked for {part}: {lines:#?}");
    for line in of {
        assert!(line.cache.contains(&format!("; verified={level}")), "not {level}: {line:#?}");
    }
}

/// The URLs that are stored, whose bytes are all sound.
pub(crate) fn stored(session: &Session) -> BTreeSet<String> {
    session.run("pkgcache verify").ok();
    let rows = session.run("pkgcache ls --json").ok().rows();
    rows.iter().map(|row| row["url"].as_str().unwrap().to_owned()).collect()
}

/// Bytes in hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Runs all at once; what each gave, in their order.
pub(crate) fn at_once(session: &Session, lines: &[String]) -> Vec<Ran> {
    let started: Vec<_> = lines.iter().map(|line| session.start(line)).collect();
    started.into_iter().zip(lines).map(|(child, line)| Ran::after(line, child)).collect()
}
