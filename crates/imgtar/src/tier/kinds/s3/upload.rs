//! A blob into a bucket: whole, or in parts where it is large. What was written of one that breaks
//! off is not to be seen.
//!
//! Limit: of a process that was killed, the parts stay with the server; a bucket's own rule on
//! incomplete uploads removes them.

use std::io::Read;

use storekit::{Blobs, Descriptor};
use toolkit::bucket;

use crate::error::Result;
use crate::progress::Progress;
use crate::registry::push::upload::Content;
use crate::registry::retry::{Failure, retrying};
use crate::registry::transport::RequestBody;
use crate::tier::kinds::s3::client::{Bucket, path_of};

/// A blob up to this size is one request; a part has at least this size.
const PART: u64 = 64 << 20;
/// An upload has so many parts at most.
const PARTS: u64 = 10_000;
/// No answer of a few words is larger, in bytes.
const ANSWER_CAP: u64 = 64 << 10;

impl Bucket {
    /// Sends a stored blob. It is verified while it is sent: the last of its bytes leaves only
    /// where all match.
    ///
    /// # Errors
    /// A stored blob that is damaged; a server that says no, or does not answer.
    pub(crate) fn put_blob(&self, blobs: &Blobs, blob: &Descriptor, progress: &dyn Progress) -> Result<()> {
        if blob.size > PART {
            return self.put_in_parts(blobs, blob, progress);
        }
        let object = self.object(&path_of(&blob.digest));
        retrying(self.patience(), || {
            let mut body = Content::Stored(blobs).body(blob, 0, progress)?;
            let action = self.names().put_object(self.credentials(), &object);
            let body = RequestBody::Stream { from: &mut body, length: Some(blob.size) };
            let answer = self.send(action, &[], body)?;
            match answer.status {
                200..300 => Ok(()),
                _ => Err(self.refusal(answer, "PUT", &path_of(&blob.digest))),
            }
        })
    }

    fn put_in_parts(&self, blobs: &Blobs, blob: &Descriptor, progress: &dyn Progress) -> Result<()> {
        let path = path_of(&blob.digest);
        let object = self.object(&path);
        let id = retrying(self.patience(), || self.begin(&object, &path))?;
        let upload = Upload { bucket: self, object: &object, path: &path, id: &id };
        let sent = upload
            .parts(blobs, blob, progress)
            .and_then(|etags| retrying(self.patience(), || upload.complete(&etags)));
        if sent.is_err() {
            // Why it failed is what counts; the bucket's own rule removes what this leaves.
            let _ = upload.abort();
        }
        sent
    }

    fn begin(&self, object: &str, path: &str) -> Result<String, Failure> {
        let action = self.names().create_multipart_upload(self.credentials(), object);
        let answer = self.send(action, &[], RequestBody::Bytes(b""))?;
        if answer.status != 200 {
            return Err(self.refusal(answer, "begin an upload of", path));
        }
        let odd = || self.untrue("it does not say how to go on with an upload".to_owned());
        let bytes = answer.read(ANSWER_CAP)?.ok_or_else(odd)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| odd())?;
        // The reader of the library wants a name space, which not every server gives.
        let id = bucket::element(text, "UploadId").filter(|id| !id.is_empty()).ok_or_else(odd)?;
        Ok(id)
    }
}

/// An upload in parts that was begun.
struct Upload<'a> {
    bucket: &'a Bucket,
    object: &'a str,
    path: &'a str,
    id: &'a str,
}

impl Upload<'_> {
    /// Sends all parts, one after the other. Returns what the server calls them.
    fn parts(&self, blobs: &Blobs, blob: &Descriptor, progress: &dyn Progress) -> Result<Vec<String>> {
        let size = PART.max(blob.size.div_ceil(PARTS));
        let mut etags = Vec::new();
        let mut body = None;
        let mut at = 0;
        while at < blob.size {
            let length = size.min(blob.size - at);
            let number = u16::try_from(etags.len() + 1).unwrap_or(u16::MAX);
            let etag = retrying(self.bucket.patience(), || {
                // A part that is sent again is read again.
                let mut from = match body.take() {
                    Some(body) => body,
                    None => Content::Stored(blobs).body(blob, at, progress)?,
                };
                let etag = self.part(number, &mut from, length)?;
                body = Some(from);
                Ok(etag)
            })?;
            etags.push(etag);
            at += length;
        }
        Ok(etags)
    }

    fn part(&self, number: u16, from: &mut dyn Read, length: u64) -> Result<String, Failure> {
        let bucket = self.bucket;
        let action = bucket.names().upload_part(bucket.credentials(), self.object, number, self.id);
        let mut from = from.take(length);
        let body = RequestBody::Stream { from: &mut from, length: Some(length) };
        let answer = bucket.send(action, &[], body)?;
        if answer.status != 200 {
            return Err(bucket.refusal(answer, "PUT a part of", self.path));
        }
        let odd = || bucket.untrue("it does not name a part that it took".to_owned());
        Ok(answer.header("etag").ok_or_else(odd)?.to_owned())
    }

    fn complete(&self, etags: &[String]) -> Result<(), Failure> {
        let bucket = self.bucket;
        let parts = || etags.iter().map(String::as_str);
        let complete =
            || bucket.names().complete_multipart_upload(bucket.credentials(), self.object, self.id, parts());
        let body = complete().body();
        let answer = bucket.send(complete(), &[], RequestBody::Bytes(body.as_bytes()))?;
        if answer.status != 200 {
            return Err(bucket.refusal(answer, "end the upload of", self.path));
        }
        let bytes = answer.read(ANSWER_CAP)?.unwrap_or_default();
        // An error may come as a success, with its words in the body.
        if String::from_utf8_lossy(&bytes).contains("CompleteMultipartUploadResult") {
            return Ok(());
        }
        Err(Failure::passing(bucket.untrue(format!("it could not put `{}` together", self.path))))
    }

    fn abort(&self) -> Result<(), Failure> {
        let bucket = self.bucket;
        let action = bucket.names().abort_multipart_upload(bucket.credentials(), self.object, self.id);
        bucket.send(action, &[], RequestBody::None).map(drop)
    }
}
