//! A stored body into the bucket: whole, or in parts where it is large. It is read through and
//! compared with its digest first.
//!
//! Limit: of a process that was killed, the parts stay with the server; a bucket's own rule on
//! incomplete uploads removes them.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use http::header::ETAG;
use http_body_util::{Either, Full};
use storekit::{Digest, Hasher, StoredResponse};
use tokio::task::spawn_blocking;
use toolkit::bucket::element;

use crate::remote::bucket::{Trouble, nothing};
use crate::remote::{Remote, blob_path, lock};
use crate::upstream::upload::Upload;

/// A body up to this size is one request; a part has at least this size.
const PART: u64 = 64 << 20;
/// An upload has so many parts at most.
const PARTS: u64 = 10_000;

impl Remote {
    /// Writes a body, unless it is there. Returns whether it is there then: one that is damaged
    /// here, or was collected, is not.
    pub(super) async fn put_body(self: &Arc<Self>, response: &StoredResponse) -> Result<bool, Trouble> {
        let (digest, size) = (response.digest, response.size);
        if size == 0 || lock(&self.present).get(&digest).is_some() {
            return Ok(true);
        }
        let path = blob_path(&digest);
        let there = self.bucket.head(&path, self.deadline()).await?;
        // One that was refused may be there still.
        if self.is_refused(&digest) || there.is_none_or(|head| head.size != Some(size)) {
            // No collection takes it meanwhile.
            let blobs = self.packages.blobs();
            let Ok(Some(lease)) = blobs.lease(&digest) else { return Ok(false) };
            let found = blobs.path(&digest);
            let opened = spawn_blocking(move || sound(File::open(found).ok()?, &digest, size)).await;
            let Ok(Some(file)) = opened else { return Ok(false) };
            self.send(&path, file, size).await?;
            drop(lease);
        }
        lock(&self.present).insert(digest, ());
        lock(&self.wrong).remove(&digest);
        Ok(true)
    }

    async fn send(&self, path: &str, file: File, size: u64) -> Result<(), Trouble> {
        if size <= PART {
            let body = Either::Right(Upload::file(file, 0..size));
            return self.bucket.put(path, body, false, None).await.map(drop);
        }
        let object = self.bucket.object(path);
        let (names, credentials) = (self.bucket.names(), self.bucket.credentials());
        let begin = names.create_multipart_upload(credentials, &object);
        let (_, words) = self.bucket.say(begin, nothing(), Some(self.deadline())).await?;
        let id = element(&words, "UploadId").filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| Trouble("it does not say how to go on with an upload".to_owned()))?;
        let sent = self.send_parts(&object, &id, &file, size).await;
        if sent.is_err() {
            // Why it failed is what counts; the bucket's own rule removes what this leaves.
            let abort = names.abort_multipart_upload(credentials, &object, &id);
            let _ = self.bucket.say(abort, nothing(), Some(self.deadline())).await;
        }
        sent
    }

    async fn send_parts(&self, object: &str, id: &str, file: &File, size: u64) -> Result<(), Trouble> {
        let (names, credentials) = (self.bucket.names(), self.bucket.credentials());
        let odd = |why: &str| Trouble(why.to_owned());
        let (part, mut at, mut tags) = (PART.max(size.div_ceil(PARTS)), 0, Vec::new());
        while at < size {
            let number = u16::try_from(tags.len() + 1).unwrap_or(u16::MAX);
            let end = size.min(at + part);
            let file = file.try_clone().map_err(|error| odd(&error.to_string()))?;
            let action = names.upload_part(credentials, object, number, id);
            let body = Either::Right(Upload::file(file, at..end));
            let (headers, _) = self.bucket.say(action, body, None).await?;
            let tag = headers.get(ETAG).and_then(|tag| tag.to_str().ok());
            tags.push(tag.ok_or_else(|| odd("it does not name a part that it took"))?.to_owned());
            at = end;
        }
        let complete =
            || names.complete_multipart_upload(credentials, object, id, tags.iter().map(String::as_str));
        let body = Either::Left(Full::new(Bytes::from(complete().body())));
        // It may read all of it again before it answers, and tell an error as a success.
        let (_, words) = self.bucket.say(complete(), body, None).await?;
        let is_done = words.contains("CompleteMultipartUploadResult");
        if is_done { Ok(()) } else { Err(odd("it could not put the parts together")) }
    }
}

/// The file, at its beginning, if its bytes are the right ones.
fn sound(mut file: File, digest: &Digest, size: u64) -> Option<File> {
    let (mut hasher, mut buffer, mut read) = (Hasher::new(), vec![0; 256 << 10], 0);
    loop {
        let count = file.read(&mut buffer).ok()?;
        if count == 0 {
            return (read == size && hasher.finish() == *digest).then_some(file);
        }
        read += count as u64;
        hasher.update(buffer.get(..count)?);
    }
}
