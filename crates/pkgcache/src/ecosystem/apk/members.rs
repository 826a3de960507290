//! The gzip members of a package, or of an index: where each begins and ends, and what is in the
//! small ones.

use std::io::{BufRead, Read, Seek, SeekFrom};

use flate2::bufread::GzDecoder;
use storekit::Checksum;

/// What is in a signature or a control member has no more bytes: 16 MiB.
const SMALL: u64 = 16 << 20;

/// A member.
#[derive(Debug)]
pub(crate) struct Member {
    /// Where it begins.
    pub(crate) start: u64,
    /// Where the next one begins.
    pub(crate) end: u64,
    /// What is in it.
    pub(crate) plain: Vec<u8>,
}

/// The member that begins here.
///
/// # Errors
/// Why there is none, in words.
pub(crate) fn member(file: &mut (impl BufRead + Seek)) -> Result<Member, String> {
    let said = |error: std::io::Error| error.to_string();
    let start = file.stream_position().map_err(said)?;
    let (mut decoder, mut plain) = (GzDecoder::new(&mut *file), Vec::new());
    decoder.by_ref().take(SMALL + 1).read_to_end(&mut plain).map_err(said)?;
    if plain.len() as u64 > SMALL {
        return Err("a member that has to be small is larger than 16 MiB".to_owned());
    }
    let end = file.stream_position().map_err(said)?;
    Ok(Member { start, end, plain })
}

impl Member {
    /// The name of the first file in it.
    fn first(&self) -> Option<Vec<u8>> {
        let mut tar = tar::Archive::new(self.plain.as_slice());
        let entry = tar.entries().ok()?.next()?.ok()?;
        Some(entry.path_bytes().into_owned())
    }

    /// Whether it is a signature.
    #[must_use]
    pub(crate) fn is_signature(&self) -> bool {
        self.first().is_some_and(|name| name.starts_with(b".SIGN."))
    }

    /// The text of the file of this name in it.
    #[must_use]
    pub(crate) fn file(&self, wanted: &dyn Fn(&[u8]) -> bool) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut tar = tar::Archive::new(self.plain.as_slice());
        for entry in tar.entries().ok()? {
            let mut entry = entry.ok()?;
            let name = entry.path_bytes().into_owned();
            if wanted(&name) {
                let mut text = Vec::new();
                entry.read_to_end(&mut text).ok()?;
                return Some((name, text));
            }
        }
        None
    }
}

/// The checksum of a package's control member, by the algorithm of `like`, once the data member is
/// found to be the one that it names.
///
/// # Errors
/// Why it cannot be told, in words.
pub(crate) fn control(file: &mut (impl BufRead + Seek), like: Checksum) -> Result<Checksum, String> {
    let mut control = member(file)?;
    if control.is_signature() {
        control = member(file)?;
    }
    let (_, info) = control.file(&|name| name == b".PKGINFO").ok_or("it has no `.PKGINFO`")?;
    let info = String::from_utf8_lossy(&info);
    let hash = info.lines().find_map(|line| line.strip_prefix("datahash")?.trim_start().strip_prefix('='));
    let hash = hash.and_then(|hash| Checksum::from_hex("sha256", hash.trim()));
    let hash = hash.ok_or("its `.PKGINFO` has no datahash of SHA-256")?;
    if hashed(file, control.end, u64::MAX, hash)? != hash {
        return Err("its data is not what its own control member names".to_owned());
    }
    hashed(file, control.start, control.end, like)
}

/// What the bytes from `start` to `end` hash to.
fn hashed(file: &mut (impl Read + Seek), start: u64, end: u64, like: Checksum) -> Result<Checksum, String> {
    let said = |error: std::io::Error| error.to_string();
    file.seek(SeekFrom::Start(start)).map_err(said)?;
    let (mut hasher, mut buffer) = (like.hasher(None), vec![0; 64 << 10]);
    let mut part = file.take(end.saturating_sub(start));
    loop {
        let count = part.read(&mut buffer).map_err(said)?;
        if count == 0 {
            return hasher.finish().ok_or_else(|| "it cannot be hashed".to_owned());
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
    }
}
