//! Reads stored images through: every blob against its digest, every layer against its diffID.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use storekit::{Blobs, Digest, Images, Key};

use crate::error::{Error, Result};
use crate::format::compression::Form;
use crate::image::Stored;
use crate::image::disk::Disk;
use crate::layer;
use crate::progress::Progress;

/// What is wrong with a stored image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The image's key.
    pub key: Key,
    /// The blob, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// What is wrong.
    pub problem: String,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many images were read.
    pub images: usize,
    /// How many blobs were read, each once.
    pub blobs: usize,
    /// What is wrong, by key.
    pub problems: Vec<Problem>,
    /// The blobs that are as they should be.
    pub sound: BTreeSet<Digest>,
}

/// Reads the images of these keys through; of all keys where none is given. Damaged blobs are moved
/// aside, so that the next save mends the store.
///
/// # Errors
/// [`Error::NoSuchKey`]; I/O errors. Damage is not an error here.
pub fn verify(images: &Images, keys: &[Key], progress: &dyn Progress) -> Result<Report> {
    let all = if keys.is_empty() { images.keys()? } else { keys.to_vec() };
    let mut report = Report::default();
    let mut jobs: BTreeMap<Digest, BlobCheck> = BTreeMap::new();
    for key in &all {
        match Stored::open(images, key) {
            Ok(Some(stored)) => {
                add_jobs(&mut jobs, &stored);
                if let Err(error) = disk(images, &stored) {
                    report.problems.push(documents_problem(key, error)?);
                }
            }
            Ok(None) if keys.is_empty() => continue,
            Ok(None) => return Err(Error::NoSuchKey { key: key.to_string() }),
            Err(error) => report.problems.push(documents_problem(key, error)?),
        }
        report.images += 1;
    }
    report.blobs = jobs.len();
    progress.expect(jobs.values().map(|job| job.size).sum());
    let read: Vec<_> = jobs.keys().copied().collect();
    report.problems.extend(run(&images.blobs(), jobs.into_values().collect(), progress)?);
    let damaged: BTreeSet<_> = report.problems.iter().filter_map(|problem| problem.digest).collect();
    report.sound = read.into_iter().filter(|digest| !damaged.contains(digest)).collect();
    report.problems.sort_by(|a, b| (&a.key, a.digest).cmp(&(&b.key, b.digest)));
    Ok(report)
}

/// Whether the manifest of a disk says what it can mean. One of a later version is not judged.
fn disk(images: &Images, stored: &Stored) -> Result<()> {
    if !stored.images.is_empty() {
        return Ok(());
    }
    match Disk::read(&images.blobs(), &stored.key, &stored.entry.descriptor) {
        Err(Error::NewerDisk { .. }) => Ok(()),
        disk => disk.map(drop),
    }
}

/// A blob to be read.
struct BlobCheck {
    digest: Digest,
    size: u64,
    layer: Option<(Form, Digest)>,
    keys: Vec<Key>,
}

fn add_jobs(jobs: &mut BTreeMap<Digest, BlobCheck>, stored: &Stored) {
    for (digest, size) in &stored.blobs {
        let job = jobs.entry(*digest);
        let new = || BlobCheck { digest: *digest, size: *size, layer: None, keys: Vec::new() };
        job.or_insert_with(new).keys.push(stored.key.clone());
    }
    for layer in stored.images.iter().flat_map(crate::image::Image::layers) {
        if let Some(job) = jobs.get_mut(&layer.descriptor.digest) {
            job.layer = Some((layer.form(), layer.diff_id));
        }
    }
}

fn documents_problem(key: &Key, error: Error) -> Result<Problem> {
    let digest = match &error {
        Error::Store(storekit::Error::Damaged { digest, .. } | storekit::Error::Missing { digest, .. }) => {
            Some(*digest)
        }
        Error::Store(error) if error.is_corrupt() => None,
        Error::Corrupt { .. } => None,
        _ => return Err(error),
    };
    Ok(Problem { key: key.clone(), digest, problem: error.to_string() })
}

fn run(blobs: &Blobs, mut jobs: Vec<BlobCheck>, progress: &dyn Progress) -> Result<Vec<Problem>> {
    jobs.sort_by_key(|job| job.size);
    let found = crate::parallel::map(&jobs, |job| {
        let problem = job.run(blobs);
        progress.add(job.size);
        problem
    })?;
    let problems = jobs.iter().zip(found).filter_map(|(job, problem)| Some((job, problem?)));
    Ok(problems.flat_map(|(job, problem)| job.problems(&problem)).collect())
}

impl BlobCheck {
    /// What is wrong with the blob, if anything.
    fn run(&self, blobs: &Blobs) -> Result<Option<String>> {
        let Some((form, diff_id)) = self.layer.filter(|(form, _)| *form != Form::Plain) else {
            return problem(blobs.verify(&self.digest));
        };
        let missing = || storekit::Error::Missing { digest: self.digest, path: blobs.folder().to_owned() };
        let reader = match blobs.reader(&self.digest)?.ok_or_else(missing) {
            Err(error) => return problem(Err(error)),
            Ok(reader) => reader,
        };
        let plain = form.decoder(reader).and_then(|mut plain| layer::hash_plain(&mut plain, &()));
        match plain {
            Ok((found, _)) if found == diff_id => Ok(None),
            Ok((found, _)) => {
                Ok(Some(format!("the layer `{}` unpacks to `{found}`, not to `{diff_id}`", self.digest)))
            }
            // The decoder fails before the digest is known: the blob's own bytes decide what is
            // wrong.
            Err(error) => match crate::image::unreadable(blobs, &self.digest, error) {
                Error::Store(error) => problem(Err(error)),
                error => Ok(Some(format!("the layer `{}` does not unpack: {error}", self.digest))),
            },
        }
    }

    fn problems(&self, problem: &str) -> Vec<Problem> {
        let problem =
            |key: &Key| Problem { key: key.clone(), digest: Some(self.digest), problem: problem.to_owned() };
        self.keys.iter().map(problem).collect()
    }
}

fn problem(result: storekit::Result<()>) -> Result<Option<String>> {
    match result {
        Ok(()) => Ok(None),
        Err(error) if error.is_corrupt() => Ok(Some(error.to_string())),
        Err(error) => Err(error.into()),
    }
}
