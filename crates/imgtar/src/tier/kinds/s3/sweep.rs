//! Keys out of a bucket, and then the blobs that nothing needs.
//!
//! Doubt keeps: where one entry that stays cannot be read, no blob goes. A young blob stays too,
//! since a push may be about to name it; how old it is, the server's own clock says, and says again
//! at the last moment.

use std::collections::BTreeSet;
use std::time::Duration;

use storekit::{Digest, Key};

use crate::error::{Error, Result};
use crate::parallel;
use crate::tier::kind::Tier;
use crate::tier::kinds::s3::client::path_of;
use crate::tier::kinds::s3::tier::{S3Tier, inputs_path, key_path};
use crate::tier::removal::Removal;

/// A blob that is younger stays.
pub(crate) const YOUNG: Duration = Duration::from_secs(3600);

impl S3Tier {
    /// Removes the keys, then all blobs that no other key needs.
    pub(crate) fn remove(&self, keys: &[Key], threads: usize) -> Result<Removal> {
        let mut removal = Removal::default();
        for key in keys {
            if self.has(key)?.is_none() {
                removal.absent.push(key.clone());
                continue;
            }
            self.bucket.remove(&key_path(key))?;
            self.bucket.remove(&inputs_path(key))?;
            removal.removed.push(key.clone());
        }
        match self.needed(threads) {
            Ok(needed) => self.sweep(&needed, threads, &mut removal)?,
            Err(error) if error.is_about_content() => removal.spared = Some(error.to_string()),
            Err(error) => return Err(error),
        }
        Ok(removal)
    }

    /// All that the entries that stand need.
    fn needed(&self, threads: usize) -> Result<BTreeSet<Digest>> {
        let keys = self.keys()?;
        let reached = parallel::map_with(threads, &keys, |key| {
            let Some(told) = self.entry(key)? else { return Ok::<_, Error>(Vec::new()) };
            Ok(self.reach(key, &told)?.blobs.into_keys().collect())
        })?;
        Ok(reached.into_iter().flatten().collect())
    }

    fn sweep(&self, needed: &BTreeSet<Digest>, threads: usize, removal: &mut Removal) -> Result<()> {
        let mut doomed = self.bucket.blobs()?;
        doomed.retain(|(digest, _)| !needed.contains(digest));
        let gone = parallel::map_with(threads, &doomed, |(digest, _)| self.sweep_one(digest))?;
        for ((_, size), gone) in doomed.iter().zip(gone) {
            if gone {
                removal.blobs += 1;
                removal.bytes = removal.bytes.saturating_add(*size);
            }
        }
        Ok(())
    }

    fn sweep_one(&self, digest: &Digest) -> Result<bool> {
        let path = path_of(digest);
        let head = self.bucket.head(&path)?;
        // One whose age is not told may be young.
        if head.and_then(|head| head.age).is_none_or(|age| age < YOUNG) {
            return Ok(false);
        }
        self.bucket.remove(&path).map(|()| true)
    }
}
