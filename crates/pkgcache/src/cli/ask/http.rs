//! A request to a cache that runs already. It is answered without a body's length, by the end of
//! the connection (HTTP/1.0): that needs no more than this.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use pkgcache::clients::address;
use pkgcache::clients::check::Answer;

/// An upstream that is asked has a minute; a little more for the way.
const PATIENCE: Duration = Duration::from_secs(70);
/// How long a cache that is there takes to let a client in.
const CONNECT: Duration = Duration::from_secs(5);
/// No more of a body counts.
const MOST: u64 = 1 << 20;

/// Asks the cache at `url` (`http://HOST:PORT`) for a path, or for a URL as a proxy.
///
/// # Errors
/// The system's; an answer that is not one of HTTP's.
pub(crate) fn get(url: &str, target: &str, accept: &str) -> io::Result<Answer> {
    let authority = address::authority(url);
    let host = address::host(url);
    let port = authority.get(host.len() + 1..).and_then(|port| port.parse().ok()).unwrap_or(80);
    let mut stream = connect(host.trim_matches(['[', ']']), port)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(CONNECT))?;
    let asked = if target.starts_with('/') { authority } else { address::authority(target) };
    let head = format!(
        "GET {target} HTTP/1.0\r\nHost: {asked}\r\nAccept: {accept}\r\nUser-Agent: pkgcache\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let mut bytes = Vec::new();
    let read = stream.take(MOST).read_to_end(&mut bytes);
    parse(&bytes).ok_or_else(|| {
        read.err()
            .unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not one of HTTP's"))
    })
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut error = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(refused) => error = refused,
        }
    }
    Err(error)
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n")?;
    let (head, body) = bytes.split_at_checked(end)?;
    let line = std::str::from_utf8(head.split(|byte| *byte == b'\r').next()?).ok()?;
    let mut words = line.split(' ');
    let version = words.next()?;
    let status = words.next()?.parse().ok()?;
    version
        .starts_with("HTTP/1.")
        .then(|| Answer { status, body: body.get(4..).unwrap_or_default().to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_status_and_its_body() {
        let answer = parse(b"HTTP/1.0 502 Bad Gateway\r\na: b\r\n\r\nno\r\n\r\nmore").unwrap();
        assert_eq!(answer, Answer { status: 502, body: b"no\r\n\r\nmore".to_vec() });
        for text in ["", "HTTP/1.1 200 OK\r\n", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 x\r\n\r\n"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
