//! Requests to the cache.

use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use storekit::{Checksum, printable};
use tokio::net::TcpStream;

use super::{Failure, Progress};
use crate::rules::fields::cache_status::CACHE_STATUS;

/// No index is larger: 256 MiB.
const LARGEST: usize = 256 << 20;
/// No more of the words of a refusal is shown.
const MOST: usize = 400;

/// A cache that answers.
pub(super) struct Client {
    authority: String,
    progress: Arc<dyn Progress>,
}

/// A file that was read to its end.
pub(super) struct Got {
    pub(super) bytes: u64,
    /// Whether it was stored before.
    pub(super) is_hit: bool,
}

impl Client {
    pub(super) fn new(authority: &str, progress: Arc<dyn Progress>) -> Self {
        Self { authority: authority.to_owned(), progress }
    }

    /// The bytes of an index.
    ///
    /// # Errors
    /// What was answered in its place; a body that ends too soon, or never.
    pub(super) async fn document(&self, target: &str, accept: &str) -> Result<Vec<u8>, Failure> {
        let mut body = self.ask(target, accept).await?.into_body();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| format!("`{}` broke off: {error}", printable(target)))?;
            let data = frame.data_ref().map_or(&[][..], |data| data);
            if bytes.len() + data.len() > LARGEST {
                return Err(format!("`{}` is larger than any index", printable(target)));
            }
            bytes.extend_from_slice(data);
        }
        Ok(bytes)
    }

    /// Reads a file to its end, and compares it.
    ///
    /// # Errors
    /// As [`Self::document`]; another checksum.
    pub(super) async fn file(
        &self,
        target: &str,
        accept: &str,
        checksum: Option<Checksum>,
    ) -> Result<Got, Failure> {
        let mut hasher = checksum.map(|it| it.hasher(None));
        let take = |data: &[u8]| {
            if let Some(hasher) = hasher.as_mut() {
                hasher.update(data);
            }
            Ok(())
        };
        let got = self.read(target, accept, take).await?;
        let found = hasher.and_then(storekit::ChecksumHasher::finish);
        match (checksum, found) {
            (Some(wanted), Some(found)) if wanted != found => {
                Err(format!("`{}` is `{found}`, and the lock file says `{wanted}`", printable(target)))
            }
            _ => Ok(got),
        }
    }

    /// Writes a file into one of this machine's.
    ///
    /// # Errors
    /// As [`Self::document`]; a disk that is full.
    pub(super) async fn copy(
        &self,
        target: &str,
        accept: &str,
        to: &mut std::fs::File,
    ) -> Result<Got, Failure> {
        self.read(target, accept, |data| to.write_all(data)).await
    }

    /// Reads a file to its end.
    async fn read(
        &self,
        target: &str,
        accept: &str,
        mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<Got, Failure> {
        let response = self.ask(target, accept).await?;
        let is_hit = is_hit(response.headers());
        let mut body = response.into_body();
        let mut bytes = 0_u64;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| format!("`{}` was cut off: {REFUSED}", printable(target)))?;
            let Some(data) = frame.data_ref() else { continue };
            bytes += data.len() as u64;
            self.progress.add(data.len() as u64);
            take(data).map_err(|error| error.to_string())?;
        }
        Ok(Got { bytes, is_hit })
    }

    async fn ask(&self, target: &str, accept: &str) -> Result<Response<Incoming>, Failure> {
        let response = self.send(target, accept).await.map_err(|error| format!("no answer: {error}"))?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let said = said(response).await;
        Err(format!("`{}`: {status}{said}", printable(target)))
    }

    async fn send(
        &self,
        target: &str,
        accept: &str,
    ) -> Result<Response<Incoming>, Box<dyn std::error::Error + Send + Sync>> {
        let request = Request::get(target)
            .header(HOST, &self.authority)
            .header(ACCEPT, accept)
            .header(USER_AGENT, "pkgcache")
            .body(Empty::<Bytes>::new())?;
        let stream = TcpStream::connect(&self.authority).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender.send_request(request).await?)
    }
}

/// Why the cache cuts an answer off.
const REFUSED: &str = "the upstream broke off, or its bytes are not those that its index announced";

/// Whether the cache had it. It is the last to speak.
fn is_hit(headers: &HeaderMap) -> bool {
    let last = headers.get_all(CACHE_STATUS).iter().filter_map(|it| it.to_str().ok()).next_back();
    last.and_then(|it| it.rsplit(',').next()).is_some_and(|it| it.split(';').any(|word| word.trim() == "hit"))
}

/// The beginning of what a refusal says.
async fn said(response: Response<Incoming>) -> String {
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = body.frame().await
        && bytes.len() < MOST
    {
        bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
    }
    bytes.truncate(MOST);
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() { String::new() } else { format!(", {}", printable(line)) }
}
