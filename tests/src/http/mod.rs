//! HTTP as it goes over the wire: a server that a test plays, and a client that sends what it is
//! told to.
//!
//! Neither knows what a registry or a cache is, and neither corrects anything: heads, lengths and
//! ends of connections are what the test makes them.

mod client;
mod origin;
pub mod site;

use std::io::{BufRead, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

pub use client::{Answer, get, read_until};
pub use origin::{Connection, Origin, Request, answer};
pub use site::{Exchange, Fault, Reply, Site};

/// How long a test waits for the other side's next bytes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Serves each connection to a port of its own in a thread of its own, until the test's process
/// ends.
pub fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    listen_on(TcpListener::bind("127.0.0.1:0").expect("a port"), serve)
}

/// The same at a port of the caller's.
pub fn listen_on(listener: TcpListener, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let address = listener.local_addr().expect("an address");
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// An address at which nobody listens, for a server that cannot choose one by itself. Another
/// process may take it first.
#[must_use]
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

/// A connection to a server of this machine, on which nothing is waited for in vain.
#[must_use]
pub fn connect(authority: &str) -> TcpStream {
    let stream = TcpStream::connect(authority).unwrap_or_else(|error| panic!("{authority}: {error}"));
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    stream
}

/// A line with its end; nothing where there is no more.
fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).ok().filter(|count| *count > 0)?;
    Some(String::from_utf8_lossy(&line).into_owned())
}

/// The fields of a head, names in lower case, to its end.
fn fields(reader: &mut impl BufRead) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    while let Some(line) = line(reader) {
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    fields
}

/// A body of this length, and whether it came whole.
fn sized(reader: &mut impl BufRead, length: u64) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    let _ = reader.take(length).read_to_end(&mut body);
    let whole = body.len() as u64 == length;
    (body, whole)
}

/// A body in chunks, and whether it came whole.
fn chunked(reader: &mut impl BufRead) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let size = line(reader).and_then(|line| u64::from_str_radix(line.trim(), 16).ok());
        let Some(size) = size else { return (body, false) };
        let (mut chunk, whole) = sized(reader, size + 2);
        if size == 0 || !whole {
            return (body, whole);
        }
        chunk.truncate(chunk.len() - 2);
        body.append(&mut chunk);
    }
}
