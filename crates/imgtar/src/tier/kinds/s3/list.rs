//! The objects of a bucket below a path: page by page, with a bound on all of them.

use rusty_s3::actions::ListObjectsV2;
use storekit::Digest;

use crate::error::Result;
use crate::registry::retry::{Failure, retrying};
use crate::registry::transport::RequestBody;
use crate::tier::kinds::s3::client::Bucket;

/// No page is larger, in bytes.
const PAGE_CAP: u64 = 8 << 20;
/// No place has more objects.
const MOST: usize = 2_000_000;

/// An object, by the end of its name.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) name: String,
    pub(crate) size: u64,
}

struct Page {
    objects: Vec<Object>,
    next: Option<String>,
}

impl Bucket {
    /// The objects below the path, which ends in `/`. Names that are deeper still are left out.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<Object>> {
        let prefix = self.object(path);
        let (mut objects, mut next) = (Vec::new(), None::<String>);
        loop {
            let page = retrying(self.patience(), || self.page(&prefix, next.as_deref()))?;
            let brought = page.objects.len();
            objects.extend(page.objects);
            if page.next.is_some() && (page.next == next || brought == 0 || objects.len() > MOST) {
                return Err(self.untrue(format!("its list of `{path}` does not end")));
            }
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        objects.retain(|object| !object.name.is_empty() && !object.name.contains('/'));
        Ok(objects)
    }

    fn page(&self, prefix: &str, next: Option<&str>) -> Result<Page, Failure> {
        let mut action = self.names().list_objects_v2(self.credentials());
        action.with_prefix(prefix);
        if let Some(next) = next {
            action.with_continuation_token(next);
        }
        let answer = self.send(action, &[], RequestBody::None)?;
        let shown = prefix.trim_start_matches(self.prefix());
        if answer.status != 200 {
            return Err(self.refusal(answer, "list", shown));
        }
        let odd = || self.untrue(format!("its list of `{shown}` cannot be understood"));
        let bytes = answer.read(PAGE_CAP)?.ok_or_else(odd)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| odd())?;
        let page = ListObjectsV2::parse_response(text).map_err(|_| odd())?;
        let object = |name: String, size: Option<u64>| {
            Some(Object { name: name.strip_prefix(prefix)?.to_owned(), size: size? })
        };
        let objects = page.contents.into_iter().filter_map(|found| object(found.key, found.size));
        Ok(Page { objects: objects.collect(), next: page.next_continuation_token })
    }

    /// The blobs that are there, with their sizes in bytes.
    pub(crate) fn blobs(&self) -> Result<Vec<(Digest, u64)>> {
        let objects = self.list("blobs/sha256/")?;
        Ok(objects.iter().filter_map(|object| Some((Digest::from_hex(&object.name)?, object.size))).collect())
    }
}
