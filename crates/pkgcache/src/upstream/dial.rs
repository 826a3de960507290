//! A connection to an upstream's server: by its checked addresses, or through a parent proxy.
//!
//! Deliberately absent: TLS ([`super::tls`]), and what is said over the connection.

use std::net::SocketAddr;

use http::Uri;
use http::header::HeaderValue;
use storekit::printable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Origin, Route, SendError};
use crate::config::Limits;
use crate::config::hosts::{self, Reach};

/// Opens a connection, through the parent where there is one.
pub(super) async fn reach(origin: &Origin, route: &Route) -> Result<TcpStream, SendError> {
    let Some(parent) = &route.parent else {
        return open(&origin.host, origin.port, route.private, &route.limits).await;
    };
    if leads_astray(origin, route.private).await {
        return Err(SendError::Forbidden(origin.name()));
    }
    through(parent, origin, route).await
}

/// Whether the host is an address, in any notation, that may not be asked. A name is left to the
/// parent, which looks it up; here it may be unknown.
async fn leads_astray(origin: &Origin, private: bool) -> bool {
    let host = origin.host.trim_matches(['[', ']']);
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    if !host.contains(':') && !last.starts_with(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let found = tokio::net::lookup_host((host, origin.port)).await;
    found.is_ok_and(|mut found| found.any(|address| !may_ask(address, private)))
}

fn may_ask(address: SocketAddr, private: bool) -> bool {
    match hosts::reach(address.ip()) {
        Reach::Public => true,
        Reach::Private => private,
        Reach::Never => false,
    }
}

async fn open(host: &str, port: u16, private: bool, limits: &Limits) -> Result<TcpStream, SendError> {
    let name = format!("{host}:{port}");
    let failed = |why: String| SendError::Unreachable(name.clone(), why);
    let attempt = async {
        let host = host.trim_matches(['[', ']']);
        let found: Vec<SocketAddr> =
            tokio::net::lookup_host((host, port)).await.map_err(|error| failed(error.to_string()))?.collect();
        let mut last = if found.is_empty() {
            failed("no address".to_owned())
        } else {
            SendError::Forbidden(name.clone())
        };
        for address in found.iter().filter(|address| may_ask(**address, private)) {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => last = failed(error.to_string()),
            }
        }
        Err(last)
    };
    timeout(limits.connect, attempt)
        .await
        .unwrap_or_else(|_| Err(failed(format!("no connection within {} s", limits.connect.as_secs()))))
}

/// Through the parent proxy: as it is for plain upstreams, in a tunnel for those with TLS.
async fn through(parent: &Uri, origin: &Origin, route: &Route) -> Result<TcpStream, SendError> {
    let limits = &route.limits;
    let failed = |why: String| SendError::Unreachable(origin.name(), format!("the parent proxy {why}"));
    let opened = open(parent.host().unwrap_or_default(), parent.port_u16().unwrap_or(80), true, limits).await;
    let mut stream = opened.map_err(|error| match error {
        SendError::Unreachable(name, why) => failed(format!("`{name}`: {why}")),
        error => error,
    })?;
    if !origin.secure {
        return Ok(stream);
    }
    match timeout(limits.connect, ask_tunnel(&mut stream, &origin.name(), &route.via)).await {
        Ok(Ok(status)) if status.starts_with('2') => Ok(stream),
        Ok(Ok(status)) => Err(failed(format!("opens no tunnel: {status}"))),
        Ok(Err(error)) => Err(failed(format!("opens no tunnel: {error}"))),
        Err(_) => Err(failed("does not answer".to_owned())),
    }
}

/// Asks for a tunnel. Returns the status code and the reason.
async fn ask_tunnel(stream: &mut TcpStream, name: &str, via: &[HeaderValue]) -> std::io::Result<String> {
    let mut head = format!("CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n").into_bytes();
    for value in via {
        head.extend([b"Via: ", value.as_bytes(), b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    stream.write_all(&head).await?;
    let mut head = Vec::new();
    // Byte by byte: what follows the head belongs to the tunnel.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > 16 << 10 {
            return Err(std::io::Error::other("its answer is too long"));
        }
        head.push(stream.read_u8().await?);
    }
    let text = String::from_utf8_lossy(&head);
    let line = printable(text.lines().next().unwrap_or_default()).into_owned();
    let status = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "));
    status.map(str::to_owned).ok_or_else(|| std::io::Error::other("its answer is not HTTP"))
}
