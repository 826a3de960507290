//! `verify`: whether all that is stored is what it was, and what it had to be.

use std::collections::HashMap;
use std::io::Read as _;
use std::time::SystemTime;

use camino::Utf8Path;
use serde::Serialize;
use storekit::error::At;
use storekit::{Checksum, Digest, FoundPackage, PackageEntry, StoredResponse, printable};
use toolkit::words::count;
use toolkit::{Outcome, output};

use super::{Console, put_unused};
use crate::error::{Error, Result};

/// What is wrong with a stored URL.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Fault {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    problem: String,
}

/// Reads every stored body through, and compares it with its digest and with what its index
/// announced. What is damaged is named and taken out of the store, so that it is fetched anew.
///
/// # Errors
/// [`Error::Damaged`], after all were read; else the first body or entry that could not be read,
/// with a warning for each. That damage cannot be taken out is a warning.
pub fn verify(packages: &storekit::Packages, console: &mut Console<'_>) -> Result<Outcome> {
    let mut bodies = Bodies { blobs: packages.blobs(), known: HashMap::new(), announced: HashMap::new() };
    let (mut all, mut count, mut unread) = (0, 0, None);
    packages.each(&mut |found: FoundPackage| {
        let checked = found.entry.map_err(Error::from).and_then(|entry| {
            let bad = bodies.faults(&entry)?;
            let mended = take_out(packages, &entry, &bad, found.used);
            let faults: Vec<_> = bad.into_iter().map(|(_, fault)| fault).collect();
            Ok((entry.responses.len() as u64, faults, mended))
        });
        let (responses, faults, mended) = match checked {
            Ok(checked) => checked,
            Err(Error::Store(error)) if error.is_corrupt() => {
                (1, vec![unreadable(&found.path, &error)], remove(&found.path))
            }
            // Another release's, or not to be had now: not damaged.
            Err(error) => {
                console.warn(&error);
                unread.get_or_insert(error);
                return Ok(());
            }
        };
        (all, count) = (all + responses, count + faults.len() as u64);
        faults.iter().try_for_each(|fault| print_fault(fault, console)).map_err(Error::Output)?;
        if let Err(error) = mended {
            console.warn(&error);
        }
        Ok::<_, Error>(())
    })?;
    console.out.flush().map_err(Error::Output)?;
    match unread {
        _ if count > 0 => Err(Error::Damaged { count, all }),
        Some(error) => Err(error),
        None => sound(all, bodies.known.len() as u64, console),
    }
}

fn sound(responses: u64, bodies: u64, console: &mut Console<'_>) -> Result<Outcome> {
    if !console.quiet && !console.json {
        let responses = count(responses, "response");
        let bodies = count(bodies, "body");
        writeln!(console.out, "{responses}, {bodies}: all sound").map_err(Error::Output)?;
    }
    Ok(Outcome::Yes)
}

fn unreadable(path: &Utf8Path, error: &storekit::Error) -> Fault {
    Fault { url: path.to_string(), digest: None, problem: error.to_string() }
}

fn remove(path: &Utf8Path) -> Result<()> {
    Ok(std::fs::remove_file(path).at("remove", path)?)
}

/// What is known by now of the bodies: each is read once, however many entries name it.
struct Bodies {
    blobs: storekit::Blobs,
    known: HashMap<Digest, Option<String>>,
    /// The same for what an index announced by another algorithm than the store's own.
    announced: HashMap<(Digest, Checksum), Option<String>>,
}

impl Bodies {
    /// The responses that are not sound, with what is wrong.
    fn faults(&mut self, entry: &PackageEntry) -> Result<Vec<(StoredResponse, Fault)>> {
        let mut faults = Vec::new();
        for stored in &entry.responses {
            if let Some(problem) = self.problem(stored)? {
                let (url, digest) = (entry.key.url.clone(), Some(stored.digest));
                faults.push((stored.clone(), Fault { url, digest, problem }));
            }
        }
        Ok(faults)
    }

    fn problem(&mut self, stored: &StoredResponse) -> Result<Option<String>> {
        let digest = stored.digest;
        let problem = match self.known.get(&digest) {
            Some(problem) => problem.clone(),
            None => self.known.entry(digest).or_insert(damage(&self.blobs, &digest)?).clone(),
        };
        match problem.or_else(|| wrong_size(&self.blobs, stored)) {
            Some(problem) => Ok(Some(problem)),
            None => stored.announced.map_or(Ok(None), |announced| self.unlike(&digest, announced)),
        }
    }

    /// Whether the body is another one than its index announced: npm names tarballs by SHA-512 or
    /// SHA-1, and dnf and apt may.
    fn unlike(&mut self, digest: &Digest, announced: Checksum) -> Result<Option<String>> {
        if let Some(named) = announced.digest() {
            return Ok((named != *digest).then(|| other(announced, Checksum::from(*digest))));
        }
        if let Some(known) = self.announced.get(&(*digest, announced)) {
            return Ok(known.clone());
        }
        let found = hashed(&self.blobs.path(digest), announced)?;
        let problem = found.filter(|found| *found != announced).map(|found| other(announced, found));
        Ok(self.announced.entry((*digest, announced)).or_insert(problem).clone())
    }
}

fn other(announced: Checksum, found: Checksum) -> String {
    format!("its index announced {announced}, and the body has {found}")
}

/// What the body hashes to by the algorithm of the checksum.
fn hashed(path: &Utf8Path, like: Checksum) -> Result<Option<Checksum>> {
    let mut file = std::fs::File::open(path).at("open", path)?;
    let size = file.metadata().at("read", path)?.len();
    let (mut hasher, mut buffer) = (like.hasher(Some(size)), vec![0; 256 << 10]);
    loop {
        match file.read(&mut buffer).at("read", path)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(buffer.get(..count).unwrap_or_default()),
        }
    }
}

/// Whether the file has this checksum.
///
/// # Errors
/// I/O errors.
pub(crate) fn has_checksum(path: &Utf8Path, checksum: Checksum) -> Result<bool> {
    Ok(hashed(path, checksum)? == Some(checksum))
}

/// Takes the responses out of the entry as it stands by now. That is not a use of it: it stays as
/// old as it was.
fn take_out(
    packages: &storekit::Packages,
    entry: &PackageEntry,
    bad: &[(StoredResponse, Fault)],
    used: SystemTime,
) -> Result<()> {
    if bad.is_empty() {
        return Ok(());
    }
    let Some(mut standing) = packages.get(&entry.key)? else { return Ok(()) };
    standing.responses.retain(|it| !bad.iter().any(|(stored, _)| stored == it));
    put_unused(packages, &standing, used)
}

/// What is wrong with the body. One that cannot be read is not damaged.
fn damage(blobs: &storekit::Blobs, digest: &Digest) -> Result<Option<String>> {
    match blobs.verify(digest) {
        Err(error) if error.is_corrupt() => Ok(Some(error.to_string())),
        verified => Ok(verified.map(|()| None)?),
    }
}

fn wrong_size(blobs: &storekit::Blobs, stored: &StoredResponse) -> Option<String> {
    let size = std::fs::metadata(blobs.path(&stored.digest)).ok()?.len();
    let problem = || format!("the body has {size} bytes, and its entry says {}", stored.size);
    (size != stored.size).then(problem)
}

fn print_fault(fault: &Fault, console: &mut Console<'_>) -> std::io::Result<()> {
    if console.json {
        return output::json_line(console.out, fault);
    }
    writeln!(console.out, "{}: {}", printable(&fault.url), printable(&fault.problem))
}
