//! A file behind a URL, as an engine's `ADD` fetches it: its digest.
//!
//! Absent: credentials; the file itself, which is read and dropped.

use std::io::Read;

use storekit::{Digest, Hasher};
use ureq::http::Method;

use super::retry::{Failure, Patience, retrying};
use super::transport::{Answer, Request, Transport, cut};
use super::url::Url;
use crate::error::Result;
use crate::error::registry::Error;

/// How often a file may be elsewhere.
const REDIRECTS: usize = 10;

/// Whether the text is the address of a file, and not an image's name.
#[must_use]
pub fn is_address(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        ["http", "https"].into_iter().any(|known| scheme.eq_ignore_ascii_case(known))
    })
}

/// The digest of the file that stands there now. `None` where there is none.
///
/// # Errors
/// An address that cannot be used; no connection; a server that says no, or leads out of TLS.
pub(crate) fn digest(transport: &Transport, patience: Patience, address: &str) -> Result<Option<Digest>> {
    let url = Url::parse(address).ok_or_else(|| Error::NotAnAddress { address: address.to_owned() })?;
    retrying(patience, || {
        let answer = follow(transport, url.clone())?;
        match answer.status {
            200 => hashed(answer).map(Some),
            404 | 410 => Ok(None),
            _ => Err(answer.failure(&format!("GET {}", url.shown()))),
        }
    })
}

fn follow(transport: &Transport, mut url: Url) -> Result<Answer, Failure> {
    let untrue = |reason: &str| Error::Unreachable { url: url.shown(), reason: reason.to_owned() };
    let unusable = untrue("it redirects to an address that cannot be used");
    let endless = untrue("it redirects again and again");
    for _ in 0..=REDIRECTS {
        let answer = transport.send(Request::new(Method::GET, url))?;
        if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
            return Ok(answer);
        }
        let next = answer.header("location").and_then(|location| answer.url.join(location));
        let Some(next) = next else { return Err(unusable.into()) };
        if answer.url.origin().tls && !next.origin().tls {
            return Err(Error::Insecure { url: next.shown() }.into());
        }
        url = next;
    }
    Err(endless.into())
}

fn hashed(answer: Answer) -> Result<Digest, Failure> {
    let (url, length) = (answer.url.shown(), answer.length());
    let (mut body, mut hasher, mut count) = (answer.into_reader(), Hasher::new(), 0_u64);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = body.read(&mut buffer).map_err(|error| cut(&url, &error))?;
        if read == 0 {
            break;
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
        count += read as u64;
    }
    if length.is_some_and(|length| length != count) {
        let reason = "its answer ended too early".to_owned();
        return Err(Failure::passing(Error::Unreachable { url, reason }));
    }
    Ok(hasher.finish())
}
