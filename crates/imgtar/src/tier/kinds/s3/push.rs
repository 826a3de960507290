//! An image into a bucket: its blobs at once, then what is noted, the key file last.
//!
//! A blob that is there already may be on its way out: whoever removes blobs spares young ones, so
//! that an old one that is used again is made young, and is looked for once more when the key file
//! stands.

use std::time::{Duration, Instant};

use storekit::{Blobs, Descriptor, Digest, Key, Store};

use crate::error::{Error, Result, tier};
use crate::image::Stored;
use crate::parallel;
use crate::progress::Progress;
use crate::registry::download;
use crate::tally::Tally;
use crate::tier::kind::{INPUTS_CAP, Tier, Told};
use crate::tier::kinds::s3::client::path_of;
use crate::tier::kinds::s3::sweep::YOUNG;
use crate::tier::kinds::s3::tier::{S3Tier, inputs_path, key_path};
use crate::tier::push::Push;

/// What was pushed.
pub(crate) struct Sent {
    pub(crate) saved: bool,
    pub(crate) digest: Digest,
    pub(crate) tally: Tally,
}

/// What is to be pushed, and how.
pub(crate) struct Job<'a> {
    pub(crate) store: &'a Store,
    pub(crate) push: &'a Push<'a>,
    pub(crate) stored: &'a Stored,
    pub(crate) key: &'a Key,
    pub(crate) force: bool,
    pub(crate) threads: usize,
    pub(crate) progress: &'a dyn Progress,
}

/// What stands under the key.
enum Standing {
    Nothing,
    /// The same image, and whether it is signed as it is to be.
    Same {
        is_signed: bool,
    },
    /// Another one, and whether all of it is there, signed as it is to be.
    Other {
        digest: Digest,
        is_whole: bool,
    },
}

impl S3Tier {
    pub(crate) fn push(&self, job: &Job<'_>) -> Result<Sent> {
        let own = job.stored.entry.descriptor.digest;
        let standing = self.standing(job)?;
        if let Standing::Other { digest, is_whole: true } = standing {
            return Ok(Sent { saved: false, digest, tally: Tally::default() });
        }
        let stays = matches!(standing, Standing::Same { is_signed: true }) && !job.force;
        let blobs: Vec<_> =
            job.stored.blobs.iter().map(|(digest, size)| Descriptor::new("", *digest, *size)).collect();
        let begun = Instant::now();
        // What is forced mends what is damaged there, also what other images have in common with
        // it.
        let (tally, reused) = self.send(job, &blobs, job.force)?;
        if stays {
            return Ok(Sent { saved: false, digest: own, tally });
        }
        self.write_layout()?;
        self.write_notes(job, !matches!(standing, Standing::Nothing))?;
        self.bucket.write(&key_path(job.key), job.stored.entry.to_text().as_bytes())?;
        // What a long push sent first is not young any more either.
        let doubtful = if is_old(begun.elapsed()) { &blobs } else { &reused };
        self.send(job, doubtful, false)?;
        Ok(Sent { saved: true, digest: own, tally })
    }

    fn standing(&self, job: &Job<'_>) -> Result<Standing> {
        let told = match self.entry(job.key) {
            // What cannot be understood is replaced.
            Err(Error::Tier(tier::Error::Untrue { .. })) => None,
            Err(error) if error.is_about_content() && job.push.is_trusted => None,
            told => told?,
        };
        let Some(told) = told else { return Ok(Standing::Nothing) };
        let digest = told.entry.descriptor.digest;
        if digest == job.stored.entry.descriptor.digest {
            return Ok(Standing::Same { is_signed: job.push.leaves(self, &told)? });
        }
        let is_whole = !job.force && job.push.leaves(self, &told)? && self.is_whole(job, &told)?;
        Ok(Standing::Other { digest, is_whole })
    }

    /// Whether all blobs of an entry are there, by their sizes.
    fn is_whole(&self, job: &Job<'_>, told: &Told) -> Result<bool> {
        let reach = match self.reach(job.key, told) {
            Err(error) if error.is_about_content() => return Ok(false),
            reach => reach?,
        };
        let blobs: Vec<_> = reach.blobs.into_iter().collect();
        let there = parallel::map_with(job.threads, &blobs, |(digest, size)| {
            let head = self.bucket.head(&path_of(digest))?;
            Ok::<_, Error>(head.is_some_and(|head| head.size.is_none_or(|found| found == *size)))
        })?;
        Ok(there.into_iter().all(|there| there))
    }

    /// Sends those blobs that are not there; `mend` reads those through that are, and sends anew
    /// what is damaged. Returns those that were.
    fn send(&self, job: &Job<'_>, blobs: &[Descriptor], mend: bool) -> Result<(Tally, Vec<Descriptor>)> {
        let mut blobs = blobs.to_vec();
        // The last goes first.
        blobs.sort_by_key(|blob| blob.size);
        job.progress.expect(blobs.iter().map(|blob| blob.size).sum());
        let own = job.store.images().blobs();
        let sent =
            parallel::map_with(job.threads, &blobs, |blob| self.send_one(&own, blob, mend, job.progress))?;
        let (mut tally, mut reused) = (Tally::default(), Vec::new());
        for (blob, moved) in blobs.into_iter().zip(sent) {
            if moved {
                tally.add(Tally::moved(blob.size));
            } else {
                tally.add(Tally::skipped(blob.size));
                reused.push(blob);
            }
        }
        Ok((tally, reused))
    }

    /// Whether the blob had to be sent.
    fn send_one(&self, own: &Blobs, blob: &Descriptor, mend: bool, progress: &dyn Progress) -> Result<bool> {
        let path = path_of(&blob.digest);
        let head = self.bucket.head(&path)?.filter(|head| head.size.is_none_or(|size| size == blob.size));
        let head = match head {
            Some(_) if mend && !download::is_sound(&self.bucket, blob)? => None,
            head => head,
        };
        let Some(head) = head else {
            self.bucket.put_blob(own, blob, progress)?;
            return Ok(true);
        };
        if head.age.is_none_or(is_old) {
            // Where that cannot be done, the second look finds out what became of it.
            let _ = self.bucket.touch(&path);
        }
        progress.add(blob.size);
        Ok(false)
    }

    fn write_layout(&self) -> Result<()> {
        if self.bucket.head("oci-layout")?.is_some() {
            return Ok(());
        }
        self.bucket.write("oci-layout", b"{\"imageLayoutVersion\":\"1.0.0\"}")
    }

    /// The inputs; those of an entry that stood there go.
    fn write_notes(&self, job: &Job<'_>, replaces: bool) -> Result<()> {
        let inputs = job.store.images().inputs(job.key)?;
        match inputs.filter(|inputs| inputs.len() as u64 <= INPUTS_CAP) {
            Some(inputs) => self.bucket.write(&inputs_path(job.key), &inputs),
            None if replaces => self.bucket.remove(&inputs_path(job.key)),
            None => Ok(()),
        }
    }
}

/// Whether it will not be young any more when the push may end.
fn is_old(age: Duration) -> bool {
    age > YOUNG / 2
}
