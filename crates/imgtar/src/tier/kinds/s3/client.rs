//! One bucket: its objects one by one.
//!
//! Requests are signed for a short time in their query, which no message shows; bodies are not
//! signed, since each is compared with its digest when it is read. Redirects are not followed.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use rusty_s3::actions::S3Action;
use rusty_s3::{Bucket as Names, Credentials, UrlStyle};
use storekit::{Descriptor, Digest};
use toolkit::bucket::Address;
use ureq::http::Method;

use crate::error::registry::Error as NetworkError;
use crate::error::tier::Error;
use crate::error::{self, Result};
use crate::registry::download::Holder;
use crate::registry::retry::{Failure, Patience, asking, retrying};
use crate::registry::transport::{Answer, Request, RequestBody, Transport};
use crate::registry::url::Url;
use crate::tier::config::Config;

/// How long a signature holds: it is looked at when a request begins.
const EXPIRES: Duration = Duration::from_secs(900);
/// The header that some servers want in every request, and what it says of a body.
const CONTENT: &str = "x-amz-content-sha256";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// A bucket that can be asked.
pub(crate) struct Bucket {
    transport: Transport,
    names: Names,
    credentials: Option<Credentials>,
    address: Address,
    patience: Patience,
}

/// What is known of an object without reading it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) size: Option<u64>,
    /// How old it is by the server's own clock, where it tells.
    pub(crate) age: Option<Duration>,
}

impl Bucket {
    pub(crate) fn open(config: &Config, address: &Address) -> Result<Self> {
        let network = config.network();
        let Address { origin, bucket, .. } = address;
        if !origin.tls && !origin.is_loopback() && !network.plain_http {
            return Err(NetworkError::Insecure { url: address.endpoint() }.into());
        }
        let bad = |reason: &str| Error::BadPlace { text: address.to_string(), reason: reason.to_owned() };
        let endpoint = address.endpoint().parse().map_err(|_| bad("it is not a URL"))?;
        let names = Names::new(endpoint, UrlStyle::Path, bucket.clone(), config.account.region.clone());
        let names = names.map_err(|_| bad("it names no bucket"))?;
        let transport = Transport::new(&network.roots, &network.proxies, network.patience, &network.waits);
        let credentials = config.credentials();
        Ok(Self { transport, names, credentials, address: address.clone(), patience: network.patience })
    }

    /// What the place is called in messages.
    pub(crate) fn place(&self) -> String {
        format!("s3:{}", self.address)
    }

    pub(crate) fn patience(&self) -> Patience {
        self.patience
    }

    /// What the names of objects begin with.
    pub(crate) fn prefix(&self) -> &str {
        &self.address.prefix
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    pub(crate) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// The whole name of an object.
    pub(crate) fn object(&self, path: &str) -> String {
        format!("{}{path}", self.address.prefix)
    }

    /// Sends a request. Any answer comes back.
    pub(crate) fn send<'a, A: S3Action<'a>>(
        &self,
        mut action: A,
        headers: &[(&'static str, String)],
        body: RequestBody<'_>,
    ) -> Result<Answer, Failure> {
        let mut signed = headers.to_vec();
        if self.credentials.is_some() {
            signed.push((CONTENT, UNSIGNED.to_owned()));
        }
        for (name, value) in signed.iter().filter(|(name, _)| name.starts_with("x-amz-")) {
            action.headers_mut().insert(*name, value.clone());
        }
        let method = Method::from_bytes(A::METHOD.to_str().as_bytes()).unwrap_or(Method::GET);
        let url = Url::parse(action.sign(EXPIRES).as_str());
        let url = url.ok_or_else(|| self.untrue("a name in it cannot be asked for".to_owned()))?;
        let settles = !matches!(body, RequestBody::None);
        let request = Request { method, url, headers: signed, body, settles };
        self.transport.send(request)
    }

    /// What an answer that was not to come fails of.
    pub(crate) fn refusal(&self, answer: Answer, method: &str, path: &str) -> Failure {
        let place = self.place();
        match answer.status {
            400 if self.credentials.is_none() => {
                let said = "it wants credentials".to_owned();
                Error::Denied { place, doing: format!("{method} {path}"), said }.into()
            }
            401 | 403 => {
                let said = self.without_secrets(said(answer));
                Error::Denied { place, doing: format!("{method} {path}"), said }.into()
            }
            301 | 302 | 307 | 308 => {
                let region = answer.header("x-amz-bucket-region").map(error::registry::tame);
                let reason = region.map_or_else(
                    || "it leads to another address: name that one".to_owned(),
                    |region| {
                        format!(
                            "the bucket is in the region `{region}`: set AWS_REGION, and name its address"
                        )
                    },
                );
                Error::Untrue { place, reason }.into()
            }
            _ => {
                let doing = format!("{method} {path}");
                answer.failure_as(|status, said| {
                    let said = self.without_secrets(said);
                    Error::Refused { place, doing, status, said }.into()
                })
            }
        }
    }

    /// Some servers repeat what they were shown.
    fn without_secrets(&self, said: String) -> String {
        let Some(credentials) = &self.credentials else { return said };
        let shown = [Some(credentials.key()), Some(credentials.secret()), credentials.token()];
        let shown = shown.into_iter().flatten().filter(|text| !text.is_empty());
        shown.fold(said, |said, text| said.replace(text, "…"))
    }

    pub(crate) fn untrue(&self, reason: String) -> crate::Error {
        Error::Untrue { place: self.place(), reason }.into()
    }

    /// Whether an object is there. `None` where it is not.
    pub(crate) fn head(&self, path: &str) -> Result<Option<Head>> {
        let object = self.object(path);
        asking(self.patience, || {
            let action = self.names.head_object(self.credentials(), &object);
            let answer = self.send(action, &[], RequestBody::None)?;
            match answer.status {
                200 => Ok(Some(Head { size: answer.length(), age: age(&answer) })),
                404 => Ok(None),
                _ => Err(self.refusal(answer, "HEAD", path)),
            }
        })
    }

    /// A small object whole. `None` where it is not there.
    pub(crate) fn read(&self, path: &str, cap: u64) -> Result<Option<Vec<u8>>> {
        let bytes = asking(self.patience, || {
            let answer = self.get(path, 0)?;
            match answer.status {
                200 => Ok(Some(answer.read(cap)?)),
                404 => self.absent(answer, path).map(|()| None),
                _ => Err(self.refusal(answer, "GET", path)),
            }
        })?;
        match bytes {
            Some(None) => Err(self.untrue(format!("`{path}` has more than {cap} bytes"))),
            Some(bytes) => Ok(bytes),
            None => Ok(None),
        }
    }

    fn get(&self, path: &str, from: u64) -> Result<Answer, Failure> {
        let object = self.object(path);
        let range = (from > 0).then(|| ("range", format!("bytes={from}-")));
        let headers: Vec<_> = range.into_iter().collect();
        self.send(self.names.get_object(self.credentials(), &object), &headers, RequestBody::None)
    }

    /// That an object is not there is no failure; that its bucket is not, is one.
    fn absent(&self, answer: Answer, path: &str) -> Result<(), Failure> {
        let said = answer.said();
        if said.contains("NoSuchBucket") {
            let (place, doing) = (self.place(), format!("GET {path}"));
            return Err(Error::Refused { place, doing, status: 404, said }.into());
        }
        Ok(())
    }

    /// Writes a small object.
    pub(crate) fn write(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let object = self.object(path);
        retrying(self.patience, || {
            let action = self.names.put_object(self.credentials(), &object);
            let answer = self.send(action, &[], RequestBody::Bytes(bytes))?;
            if (200..300).contains(&answer.status) { Ok(()) } else { Err(self.refusal(answer, "PUT", path)) }
        })
    }

    /// Removes an object. One that is not there is removed.
    pub(crate) fn remove(&self, path: &str) -> Result<()> {
        let object = self.object(path);
        retrying(self.patience, || {
            let action = self.names.delete_object(self.credentials(), &object);
            let answer = self.send(action, &[], RequestBody::None)?;
            match answer.status {
                200..300 | 404 => Ok(()),
                _ => Err(self.refusal(answer, "DELETE", path)),
            }
        })
    }

    /// Makes the object as young as one that was just written, where the server does that.
    pub(crate) fn touch(&self, path: &str) -> Result<bool> {
        let object = self.object(path);
        let from = format!("/{}/{object}", self.address.bucket);
        let headers = [
            ("x-amz-copy-source", from),
            ("x-amz-metadata-directive", "REPLACE".to_owned()),
            // Servers that keep objects as files know their age by this note.
            ("x-amz-meta-mtime", Timestamp::now().as_second().to_string()),
        ];
        retrying(self.patience, || {
            let action = self.names.put_object(self.credentials(), &object);
            let answer = self.send(action, &headers, RequestBody::Bytes(b""))?;
            // An error may come as a success, with its words in the body.
            Ok(answer.status == 200 && !answer.said().contains("Error"))
        })
    }

    /// A small blob whole, whose bytes hash to its digest. `None` where it is not there.
    pub(crate) fn blob(&self, blob: &Descriptor, cap: u64) -> Result<Option<Vec<u8>>> {
        if blob.size > cap {
            return Err(self.untrue(format!("`{}` is too large for a document", blob.digest)));
        }
        let bytes = self.read(&path_of(&blob.digest), blob.size)?;
        match bytes {
            Some(bytes) if bytes.len() as u64 != blob.size || Digest::of(&bytes) != blob.digest => {
                Err(self.untrue(format!("what it sends as `{}` is something else", blob.digest)))
            }
            bytes => Ok(bytes),
        }
    }
}

impl Holder for Bucket {
    fn get(&self, blob: &Descriptor, from: u64) -> Result<Answer, Failure> {
        Self::get(self, &path_of(&blob.digest), from)
    }

    fn refusal(&self, answer: Answer, blob: &Descriptor) -> Failure {
        Self::refusal(self, answer, "GET", &path_of(&blob.digest))
    }

    fn untrue(&self, reason: String) -> crate::Error {
        Self::untrue(self, reason)
    }

    fn patience(&self) -> Patience {
        self.patience
    }
}

/// Where a blob is.
pub(crate) fn path_of(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// What the answer says; the answer to a HEAD has no words.
fn said(answer: Answer) -> String {
    let status = answer.status;
    match answer.said() {
        said if said == "it gives no reason" => format!("it answers {status}"),
        said => said,
    }
}

fn age(answer: &Answer) -> Option<Duration> {
    let time = |name: &str| -> Option<Timestamp> {
        Some(rfc2822::parse(answer.header(name)?.trim()).ok()?.timestamp())
    };
    let age = time("date")?.duration_since(time("last-modified")?);
    Some(Duration::try_from(age).unwrap_or(Duration::ZERO))
}
