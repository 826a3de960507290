//! Which clients may talk to the registry.
//!
//! On loopback, every program of this machine; with a token, those that send it. A web page may
//! not: one that is open in a browser can send requests to loopback, and with a name of its own
//! that resolves to it (DNS rebinding) can read the answers. So requests that a page sends are
//! refused, and without a token those for any host but this machine.

use http::HeaderMap;
use http::header;
use storekit::Digest;
use toolkit::net;

use crate::serve::Config;
use crate::serve::fault::{Fault, Result};

/// The rules of one registry.
#[derive(Debug)]
pub(crate) struct Guard {
    /// The digest of the token: digests are compared, so that how long it takes tells nothing.
    token: Option<Digest>,
}

impl Guard {
    pub(crate) fn new(config: &Config) -> Self {
        Self { token: config.token.as_ref().map(|token| Digest::of(token.as_bytes())) }
    }

    /// Refuses what may not be answered.
    pub(crate) fn check(&self, headers: &HeaderMap, authority: Option<&str>) -> Result<()> {
        if headers.contains_key(header::ORIGIN) {
            return Err(Fault::denied("no web page may use this registry"));
        }
        if let Some(token) = self.token {
            let given = headers.get(header::AUTHORIZATION).and_then(|it| net::secret(it.as_bytes()));
            return if given == Some(token) { Ok(()) } else { Err(Fault::unauthorized()) };
        }
        let host = authority.or_else(|| headers.get(header::HOST)?.to_str().ok());
        if host.is_some_and(is_this_machine) {
            Ok(())
        } else {
            Err(Fault::denied("the request is for another host than this machine"))
        }
    }
}

fn is_this_machine(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, port)) => (name, port),
        None => host.find(':').map_or((host, ""), |colon| host.split_at(colon)),
    };
    let port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let loopback = name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    port && (loopback || name.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn host(text: &str, expected: bool) {
        assert_eq!(is_this_machine(text), expected, "{text}");
    }

    #[test]
    fn only_this_machine_is_meant() {
        for text in ["127.0.0.1:5000", "127.1.2.3", "localhost:5000", "LOCALHOST", "[::1]:5000", "[::1]"] {
            host(text, true);
        }
        for text in [
            "evil.example:5000",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "",
            ":5000",
            "127.0.0.1:x",
            "[",
            "[::2]",
        ] {
            host(text, false);
        }
    }
}
