//! Reads files through, several at once.

use std::fs::File;
use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use camino::Utf8Path;
use storekit::error::At;
use storekit::{Digest, Error, Hasher, Result};

/// Checks all of these, by all processors. Returns those that failed, in their order.
pub(super) fn each<T: Clone + Sync + Send>(
    all: &[T],
    check: impl Fn(&T) -> Result<()> + Sync,
) -> Vec<(T, Error)> {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((place, one)) = {
            let place = next.fetch_add(1, Ordering::Relaxed);
            all.get(place).map(|one| (place, one))
        } {
            if let Err(error) = check(one) {
                // A thread that panicked ends the others, too.
                failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((place, error));
            }
        }
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut failed = failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    failed.sort_by_key(|(place, _)| *place);
    failed.into_iter().map(|(place, error)| (all[place].clone(), error)).collect()
}

/// Reads the file through and compares it with the digest. One that is gone is none.
pub(super) fn compare(path: &Utf8Path, digest: &Digest) -> Result<()> {
    let Some(mut file) = open(path)? else { return Ok(()) };
    let (mut hasher, mut buffer) = (Hasher::new(), vec![0; 256 << 10]);
    loop {
        match file.read(&mut buffer).at("read", path)? {
            0 => break,
            length => hasher.update(&buffer[..length]),
        }
    }
    let found = hasher.finish();
    if found == *digest { Ok(()) } else { Err(Error::Damaged { digest: *digest, found }) }
}

/// Whether the file begins so. One that is gone does.
pub(super) fn begins_with(path: &Utf8Path, words: &[u8]) -> Result<bool> {
    let Some(file) = open(path)? else { return Ok(true) };
    let mut begin = Vec::new();
    file.take(words.len() as u64).read_to_end(&mut begin).at("read", path)?;
    Ok(begin == words)
}

fn open(path: &Utf8Path) -> Result<Option<File>> {
    storekit::files::replace::open_regular(path)
}
