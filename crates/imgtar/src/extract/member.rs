//! The entries of one layer: read once, verified against both digests, one after the other.

use std::io::{self, Read};
use std::thread;

use storekit::{Blobs, Digest, Hasher, Key};
use tar::{Archive, Entry, EntryType, Header};

use super::names;
use crate::archive::walk::{Guard, HEADERS, has_no_bytes};
use crate::error::{Error, Result};
use crate::format::compression::Form;
use crate::image::Layer;
use crate::image::unreadable;
use crate::layer::{self, Chunks};
use crate::progress::Progress;

/// Zeros take time, too.
const MOST_INVENTED: u64 = 64 << 30;

/// An entry of a layer.
#[derive(Debug)]
pub(crate) struct Member {
    /// Its name, without `.`, `..` and slashes around it.
    pub(crate) name: Vec<u8>,
    /// What it is.
    pub(crate) kind: Kind,
    /// What else its headers say.
    pub(crate) meta: Meta,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file of so many bytes.
    File(u64),
    /// A folder.
    Folder,
    /// A symbolic link with this very target.
    Symlink(Vec<u8>),
    /// Another name for what has this clean name.
    Link(Vec<u8>),
    /// A device or a named pipe.
    Device,
    /// A file with holes: its bytes are not read here.
    Sparse,
}

/// Modes, times, owners, extended attributes: as the headers have them.
#[derive(Clone, Debug)]
pub struct Meta {
    /// The header's own block.
    pub(crate) header: Header,
    /// The PAX records, less those about name and size.
    pub(crate) pax: Vec<(String, Vec<u8>)>,
}

impl Meta {
    /// The permission bits, set-ID bits among them.
    #[must_use]
    pub fn mode(&self) -> u32 {
        self.header.mode().unwrap_or(0o644) & 0o7777
    }

    /// Seconds and nanoseconds since 1970.
    #[must_use]
    pub fn modified(&self) -> (i64, i64) {
        let pax = self.pax.iter().find(|(key, _)| key == "mtime");
        let pax = pax.and_then(|(_, value)| decimal(std::str::from_utf8(value).ok()?));
        let seconds = || self.header.mtime().ok().and_then(|time| i64::try_from(time).ok()).unwrap_or(0);
        pax.unwrap_or_else(|| (seconds(), 0))
    }
}

/// `12.5` as seconds and nanoseconds; not below 0.
fn decimal(text: &str) -> Option<(i64, i64)> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let nanos: String = part.chars().chain("000000000".chars()).take(9).collect();
    let (whole, nanos): (u64, u64) = (whole.parse().ok()?, nanos.parse().ok()?);
    Some((i64::try_from(whole).ok()?, i64::try_from(nanos).ok()?))
}

/// What is done with each entry: it may read its bytes.
pub(crate) type Visit<'v> = dyn FnMut(Member, &mut dyn Read) -> Result<()> + 'v;

/// Visits each entry of the layer, and then proves that the layer is what it should be: until this
/// returns, nothing that came out of it may be trusted.
///
/// # Errors
/// A damaged layer; entries that are refused; what `visit` returns.
pub(crate) fn walk(
    blobs: &Blobs,
    key: &Key,
    layer: &Layer<'_>,
    progress: &dyn Progress,
    visit: &mut Visit<'_>,
) -> Result<()> {
    let digest = layer.descriptor.digest;
    let missing = || storekit::Error::Missing { digest, path: blobs.folder().to_owned() };
    let reader = blobs.reader(&digest)?.ok_or_else(missing)?;
    thread::scope(|scope| {
        let (mut to, chunks) = layer::pipe();
        let form: Form = layer.form();
        let read = scope.spawn(move || {
            io::copy(&mut form.decoder(reader)?, &mut to).and_then(|_| io::Write::flush(&mut to))
        });
        let (visited, found) = visit_all(chunks, progress, visit);
        let read = read.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (read, found) {
            // The visitor had enough; it says why.
            (_, None) => visited,
            (Err(error), _) => Err(unreadable(blobs, &digest, error)),
            (Ok(()), Some(found)) if found == layer.diff_id => visited,
            (Ok(()), Some(found)) => {
                let reason = format!("its layer `{digest}` unpacks to `{found}`, not to `{}`", layer.diff_id);
                Err(Error::Corrupt { key: key.clone(), reason })
            }
        }
    })
}

/// Visits, then reads on to the end. Returns the digest of all bytes; none where an output failed.
fn visit_all(chunks: Chunks, progress: &dyn Progress, visit: &mut Visit<'_>) -> (Result<()>, Option<Digest>) {
    let (guard, state) = Guard::new(Hashed { input: chunks, hasher: Hasher::new(), progress });
    let mut archive = Archive::new(guard);
    let visited = each(&mut archive, &state, visit);
    if matches!(visited, Err(Error::Write { .. } | Error::Store(_))) {
        return (visited, None);
    }
    state.free();
    let mut rest = archive.into_inner();
    let drained = io::copy(&mut rest, &mut io::sink());
    let found = drained.is_ok().then(|| rest.into_inner().hasher.finish());
    (visited, found)
}

fn each<R: Read>(
    archive: &mut Archive<Guard<R>>,
    state: &crate::archive::walk::State,
    visit: &mut Visit<'_>,
) -> Result<()> {
    let failed = |source: io::Error| Error::Member { entry: "?".to_owned(), reason: source.to_string() };
    let mut entries = archive.entries().map_err(failed)?;
    loop {
        state.limit(HEADERS);
        let Some(entry) = entries.next() else { return Ok(()) };
        let mut entry = entry.map_err(failed)?;
        state.free();
        if has_no_bytes(entry.header().entry_type()) {
            invent(&entry, state)?;
        }
        if let Some(member) = member(&mut entry)? {
            visit(member, &mut entry)?;
        }
        // What the next step passes over would count as headers.
        io::copy(&mut entry, &mut io::sink()).map_err(failed)?;
    }
}

/// The library takes the size of a link for bytes that follow: it is given zeros instead of what is
/// there.
fn invent<R: Read>(entry: &Entry<'_, R>, state: &crate::archive::walk::State) -> Result<()> {
    if entry.size() > MOST_INVENTED {
        let reason =
            format!("it is not a file, and has a size of more than {}", storekit::ByteSize(64 << 30));
        return Err(Error::Member { entry: shown(&entry.path_bytes()), reason });
    }
    state.invent(entry.size().next_multiple_of(512));
    Ok(())
}

/// What the entry is; nothing for headers that concern the whole archive and for kinds that nobody
/// knows.
fn member<R: Read>(entry: &mut Entry<'_, R>) -> Result<Option<Member>> {
    let raw = entry.path_bytes().into_owned();
    let refused = |reason: &str| Error::Member { entry: shown(&raw), reason: reason.to_owned() };
    let kind = entry.header().entry_type();
    if kind == EntryType::XGlobalHeader {
        return Ok(None);
    }
    let name = names::clean(&raw).map_err(refused)?;
    let pax = pax(entry).unwrap_or_default();
    let sparse = pax.iter().any(|(key, _)| key.starts_with("GNU.sparse."));
    let target = entry.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default();
    let kind = match kind {
        EntryType::Directory => Kind::Folder,
        // Before POSIX, a slash made a folder.
        EntryType::Regular if raw.ends_with(b"/") => Kind::Folder,
        // Even passing over one means making up its holes, of which a few bytes announce any
        // number.
        EntryType::GNUSparse => return Err(refused("it is a sparse file")),
        EntryType::Regular | EntryType::Continuous if sparse => Kind::Sparse,
        EntryType::Regular | EntryType::Continuous => Kind::File(entry.size()),
        EntryType::Symlink if target.is_empty() || target.contains(&0) => {
            return Err(refused("it is a link to nowhere"));
        }
        EntryType::Symlink => Kind::Symlink(target),
        EntryType::Link => Kind::Link(names::clean_target(&target).map_err(refused)?),
        EntryType::Char | EntryType::Block | EntryType::Fifo => Kind::Device,
        _ => return Ok(None),
    };
    let meta = Meta { header: entry.header().clone(), pax };
    Ok(Some(Member { name, kind, meta }))
}

fn pax<R: Read>(entry: &mut Entry<'_, R>) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut kept = Vec::new();
    for record in entry.pax_extensions()?.into_iter().flatten() {
        // The library takes a line's end in a value for the record's.
        let Ok(record) = record else { continue };
        if let Ok(key) = record.key()
            && !matches!(key, "path" | "linkpath" | "size")
        {
            kept.push((key.to_owned(), record.value_bytes().to_vec()));
        }
    }
    Ok(kept)
}

/// A name for a message.
pub(crate) fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).escape_debug().take(200).collect()
}

struct Hashed<'p> {
    input: Chunks,
    hasher: Hasher,
    progress: &'p dyn Progress,
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.progress.add(count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_fractions() {
        assert_eq!(decimal("12.5"), Some((12, 500_000_000)));
        assert_eq!(decimal("12"), Some((12, 0)));
        assert_eq!(decimal("-1"), None);
        assert_eq!(decimal("x.y"), None);
    }
}
