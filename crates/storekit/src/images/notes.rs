//! What the key files and the documents of very many images say, in one file: `.images`. See
//! FORMAT.md, ".images".
//!
//! It is derived: what it does not say, or says of files that were changed since, is read from
//! these, so that a stale, damaged or missing one costs time and nothing else. A note holds as long
//! as the key file and all documents below it are the same files in the same state, and each blob
//! is there with the size that it had.
//!
//! Deliberately absent: when an image was last used (a stamp that does not change what it says),
//! and entries that are not whole.
//!
//! Limit: who can write to the store can write a lie here, as into a key file itself.

use std::collections::BTreeMap;
use std::io::Write;

use camino::Utf8PathBuf;
use jiff::Timestamp;

use super::Images;
use super::entry::Entry;
use super::origin::{Origin, Remark};
use super::reach::Reach;
use crate::error::{At, Result};
use crate::files::packed::{put_number, put_text, take, take_digest, take_number, take_text};
use crate::files::replace::{self, Durability, Staged};
use crate::files::state::FileState;
use crate::oci::Descriptor;
use crate::{Digest, Key};

/// The file's name in the store.
const FILE: &str = ".images";
/// How it begins; another version is not read, and written anew.
const BEGIN: &[u8] = b"# images 1\n";
/// How it ends.
const END: &[u8] = b"# end\n";
/// No file is larger: 1 GiB. What would be is not noted.
const CAP: u64 = 1 << 30;
/// With fewer entries than this, reading them takes no time that anybody would notice.
const FEW: usize = 1000;
/// The file stays while it lacks, or has too many, no more than one in so many entries.
const WORTH: usize = 64;
/// The state of a key file, and the length of what comes behind it.
const HEAD: usize = 24 + 4;

/// What is noted of a store's images.
#[derive(Debug, Default)]
pub struct Notes {
    bytes: Vec<u8>,
    /// Where each record begins. They are sorted by their keys.
    records: Vec<usize>,
}

/// What is noted of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// What its key file says.
    pub entry: Entry,
    /// The blobs that it needs, sorted; all were there.
    pub blobs: Vec<Noted>,
    /// What its own document refers to by its `subject`.
    pub subject: Option<Digest>,
    /// Whether its own document is a disk's.
    pub is_disk: bool,
}

/// A blob that an image needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted {
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// The state of its file, where it is a document, as [`FileState::to_bytes`] gives it.
    pub document: Option<[u8; 24]>,
}

/// New notes, by key: records without it.
#[derive(Debug, Default)]
pub struct Fresh(BTreeMap<Key, Vec<u8>>);

impl Images {
    /// Reads the notes. Where they are not there, or not sound, or of another version, there are
    /// none.
    #[must_use]
    pub fn notes(&self) -> Notes {
        let bytes = replace::read_capped(&self.notes_path(), CAP).ok().flatten();
        bytes.and_then(Notes::parse).unwrap_or_default()
    }

    fn notes_path(&self) -> Utf8PathBuf {
        self.store().root().join(FILE)
    }

    /// Writes the notes anew where there are so many images, and so much has changed, that it is
    /// worth it: those at the places `known`, which hold still, and what was read. Where they
    /// cannot be written, the old ones stand.
    pub fn note(&self, notes: &Notes, known: &[usize], fresh: &Fresh) {
        let entries = known.len() + fresh.0.len();
        let gone = notes.records.len().saturating_sub(known.len());
        if entries >= FEW && fresh.0.len().max(gone) * WORTH > entries {
            // Without them, the entries are read.
            let _ = self.write_notes(notes, known, fresh);
        }
    }

    fn write_notes(&self, notes: &Notes, known: &[usize], fresh: &Fresh) -> Result<()> {
        let known = known.iter().filter_map(|place| split(notes.record(*notes.records.get(*place)?)));
        let mut records: BTreeMap<&str, &[u8]> = known.collect();
        records.extend(fresh.0.iter().map(|(key, record)| (key.as_str(), record.as_slice())));
        let mut bytes = BEGIN.to_vec();
        for (key, record) in records {
            put_text(&mut bytes, key);
            bytes.extend_from_slice(&record[..length(record).min(record.len())]);
        }
        let digest = Digest::of(&bytes);
        bytes.extend_from_slice(digest.bytes());
        bytes.extend_from_slice(END);
        if bytes.len() as u64 > CAP {
            return Ok(());
        }
        let path = self.notes_path();
        let mut staged = Staged::new(self.store().root())?;
        staged.file().write_all(&bytes).at("write", &path)?;
        staged.publish(&path, Durability::Unsynced).map(drop)
    }
}

/// The key of a record, and what comes behind it.
fn split(mut record: &[u8]) -> Option<(&str, &[u8])> {
    let key = take_text(&mut record)?;
    (record.len() >= HEAD).then_some((key, record))
}

/// The length of a record behind its key.
fn length(rest: &[u8]) -> usize {
    let length = rest.get(24..HEAD).and_then(<[u8]>::first_chunk::<4>);
    length.map_or(HEAD, |length| HEAD.saturating_add(u32::from_le_bytes(*length) as usize))
}

impl Notes {
    fn parse(mut bytes: Vec<u8>) -> Option<Self> {
        let end = bytes.len().checked_sub(32 + END.len())?;
        let (said, footer) = bytes.split_at(end);
        let (digest, rest) = footer.split_first_chunk::<32>()?;
        let is_sound = Digest::of(said).bytes() == digest;
        if !said.starts_with(BEGIN) || rest != END || !is_sound {
            return None;
        }
        bytes.truncate(end);
        let (mut records, mut last) = (Vec::new(), None);
        let mut at = BEGIN.len();
        while at < bytes.len() {
            let (key, rest) = split(bytes.get(at..)?)?;
            // They are sorted, each once.
            if last.is_some_and(|last| last >= key) || length(rest) > rest.len() {
                return None;
            }
            records.push(at);
            at = bytes.len() - rest.len() + length(rest);
            last = Some(key);
        }
        Some(Self { bytes, records })
    }

    fn record(&self, at: usize) -> &[u8] {
        self.bytes.get(at..).unwrap_or_default()
    }

    /// What is noted of the key, whose file is in this state now, and the place of the note. `None`
    /// where that is not known. The caller has to look whether the blobs are as they were: see the
    /// module's first words.
    #[must_use]
    pub fn get(&self, key: &Key, state: &FileState) -> Option<(usize, Note)> {
        let key_at = |at: usize| split(self.record(at)).map_or("", |(key, _)| key);
        let found = self.records.binary_search_by(|at| key_at(*at).cmp(key.as_str())).ok()?;
        let (_, rest) = split(self.record(*self.records.get(found)?))?;
        if !state.is_still_at(rest.first_chunk()?) {
            return None;
        }
        Some((found, Note::read(&mut rest.get(HEAD..length(rest))?)?))
    }
}

impl Fresh {
    /// Notes an entry that was read, whose file was in the state before that. `state_of` gives the
    /// state in which the file of a document was before it was read. What is not whole is not
    /// noted, nor what is so new that its state proves nothing.
    pub fn add(
        &mut self,
        key: &Key,
        state: &FileState,
        entry: &Entry,
        reach: &Reach,
        state_of: impl Fn(&Digest) -> Option<[u8; 24]>,
    ) {
        let Some(state) = state.to_bytes().filter(|_| reach.is_whole() && !reach.is_elsewhere) else {
            return;
        };
        let mut blobs = Vec::new();
        for (digest, size) in &reach.present {
            let document = reach.documents.contains(digest).then(|| state_of(digest));
            if document == Some(None) {
                return;
            }
            blobs.push(Noted { digest: *digest, size: *size, document: document.flatten() });
        }
        let (entry, subject, is_disk) = (entry.clone(), reach.subject, reach.is_disk);
        let mut rest = Vec::new();
        Note { entry, blobs, subject, is_disk }.write(&mut rest);
        let Ok(length) = u32::try_from(rest.len()) else { return };
        let record = [&state[..], &length.to_le_bytes(), &rest].concat();
        self.0.insert(key.clone(), record);
    }

    /// Adds what another thread has read.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }
}

impl Note {
    fn write(&self, to: &mut Vec<u8>) {
        let Entry { descriptor, names, build_seconds, saved, adopted, origin, signatures } = &self.entry;
        put_text(to, &descriptor.media_type);
        to.extend_from_slice(descriptor.digest.bytes());
        put_number(to, descriptor.size);
        to.extend_from_slice(&saved.as_nanosecond().to_le_bytes());
        let remarks = [&origin.image, &origin.host, &origin.commit, &origin.project];
        let bits = [*adopted, self.is_disk, build_seconds.is_some(), self.subject.is_some()]
            .into_iter()
            .chain(remarks.map(Option::is_some));
        to.push(bits.zip(0..).fold(0, |byte, (is, bit)| byte | u8::from(is) << bit));
        to.extend(build_seconds.iter().flat_map(|seconds| seconds.to_le_bytes()));
        to.extend(self.subject.iter().flat_map(|subject| *subject.bytes()));
        remarks.into_iter().flatten().for_each(|remark| put_text(to, remark.as_str()));
        for texts in [names, signatures] {
            put_number(to, texts.len() as u64);
            for text in texts {
                put_text(to, text);
            }
        }
        put_number(to, self.blobs.len() as u64);
        for Noted { digest, size, document } in &self.blobs {
            to.extend_from_slice(digest.bytes());
            put_number(to, size << 1 | u64::from(document.is_some()));
            to.extend(document.iter().flatten());
        }
    }

    fn read(from: &mut &[u8]) -> Option<Self> {
        let media_type = take_text(from)?;
        let (digest, size) = (take_digest(from)?, take_number(from)?);
        let saved = Timestamp::from_nanosecond(i128::from_le_bytes(*take(from, 16)?.first_chunk()?)).ok()?;
        let bits = *take(from, 1)?.first()?;
        let is = |bit: u8| bits >> bit & 1 == 1;
        let mut build_seconds = None;
        if is(2) {
            build_seconds = Some(f64::from_le_bytes(*take(from, 8)?.first_chunk()?));
        }
        let subject = if is(3) { Some(take_digest(from)?) } else { None };
        let mut remark = |bit| -> Option<Option<Remark>> {
            if is(bit) { take_text(from)?.parse().ok().map(Some) } else { Some(None) }
        };
        let origin = Origin { image: remark(4)?, host: remark(5)?, commit: remark(6)?, project: remark(7)? };
        let (names, signatures) = (take_texts(from)?, take_texts(from)?);
        let mut blobs = Vec::new();
        for _ in 0..take_number(from)? {
            let (digest, size) = (take_digest(from)?, take_number(from)?);
            let document = if size & 1 == 1 { Some(*take(from, 24)?.first_chunk()?) } else { None };
            blobs.push(Noted { digest, size: size >> 1, document });
        }
        let descriptor = Descriptor::new(media_type, digest, size);
        let entry = Entry { descriptor, names, build_seconds, saved, adopted: is(0), origin, signatures };
        Some(Self { entry, blobs, subject, is_disk: is(1) })
    }

    /// What hangs on its descriptor, where all blobs are as they were.
    #[must_use]
    pub fn reach(&self) -> Reach {
        Reach {
            present: self.blobs.iter().map(|blob| (blob.digest, blob.size)).collect(),
            documents: self.blobs.iter().filter(|it| it.document.is_some()).map(|it| it.digest).collect(),
            subject: self.subject,
            is_disk: self.is_disk,
            ..Reach::default()
        }
    }
}

fn take_texts(from: &mut &[u8]) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    for _ in 0..take_number(from)? {
        texts.push(take_text(from)?.to_owned());
    }
    Some(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(digest: Digest) -> Note {
        let origin = Origin { host: Some("build-3".parse().unwrap()), ..Origin::default() };
        let entry = Entry {
            names: vec!["app:1".to_owned(), "ü:2".to_owned()],
            build_seconds: Some(1.5),
            adopted: true,
            signatures: vec!["ed25519 a b".to_owned()],
            origin,
            ..Entry::new(Descriptor::new("a/b", digest, 7), "2026-01-02T03:04:05.5Z".parse().unwrap())
        };
        let blob = |text: &[u8], document| Noted { digest: Digest::of(text), size: 300, document };
        let blobs = vec![blob(b"1", None), blob(b"2", Some([7; 24]))];
        Note { entry, blobs, subject: Some(Digest::of(b"s")), is_disk: false }
    }

    /// Whatever stands in a note, reading it ends, and never with a panic.
    #[test]
    fn a_note_is_read_as_it_was_written_and_a_damaged_one_without_harm() {
        let note = note(Digest::of(b"x"));
        let mut bytes = Vec::new();
        note.write(&mut bytes);
        assert_eq!(Note::read(&mut bytes.as_slice()), Some(note.clone()));
        for at in 0..bytes.len() {
            assert_eq!(Note::read(&mut &bytes[..at]), None);
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut other = bytes.clone();
                other[at] = byte;
                let _ = Note::read(&mut other.as_slice());
            }
        }
        assert_eq!(note.reach().documents.into_iter().collect::<Vec<_>>(), [Digest::of(b"2")]);
    }

    fn store() -> (tempfile::TempDir, Images) {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(dir.path().join("store")).unwrap();
        (dir, crate::Store::open_or_create(&root).unwrap().images())
    }

    /// Notes of `FEW` keys and one, each with the file of the same state.
    fn noted(images: &Images) -> (Vec<Key>, FileState) {
        std::fs::write(images.store().root().join("x"), "x").unwrap();
        let state =
            FileState::settled(&std::fs::File::open(images.store().root().join("x")).unwrap()).unwrap();
        let keys: Vec<Key> = (0..=FEW).map(|number| format!("k{number}").parse().unwrap()).collect();
        let mut fresh = Fresh::default();
        for key in &keys {
            let note = note(Digest::of(key.as_str().as_bytes()));
            fresh.add(key, &state, &note.entry, &note.reach(), |_| Some([7; 24]));
        }
        images.note(&Notes::default(), &[], &fresh);
        (keys, state)
    }

    #[test]
    fn what_was_noted_is_known_of_the_file_in_that_state_alone() {
        let (_dir, images) = store();
        let (keys, state) = noted(&images);
        let notes = images.notes();
        for key in &keys {
            let (_, known) = notes.get(key, &state).unwrap();
            assert_eq!(known, note(Digest::of(key.as_str().as_bytes())));
        }
        assert!(notes.get(&"nothing".parse().unwrap(), &state).is_none());
        let other = images.store().root().join("CACHEDIR.TAG");
        let other = FileState::written(&std::fs::metadata(other).unwrap());
        assert!(notes.get(&keys[0], &other).is_none());
    }

    #[test]
    fn notes_that_hold_are_taken_over_and_others_go() {
        let (_dir, images) = store();
        let (keys, state) = noted(&images);
        let notes = images.notes();
        let is_kept = |key: &&Key| key.as_str().ends_with('1') || key.as_str().len() < 4;
        let places = |keys: &mut dyn Iterator<Item = &Key>| -> Vec<usize> {
            keys.map(|key| notes.get(key, &state).unwrap().0).collect()
        };
        // Few have changed: the file stays.
        images.note(&notes, &places(&mut keys.iter().skip(10)), &Fresh::default());
        assert_eq!(images.notes().records.len(), keys.len());
        let mut fresh = Fresh::default();
        for number in 0..FEW {
            let (key, note): (Key, _) = (format!("n{number}").parse().unwrap(), note(Digest::of(b"new")));
            fresh.add(&key, &state, &note.entry, &note.reach(), |_| Some([7; 24]));
        }
        let kept = places(&mut keys.iter().filter(is_kept));
        images.note(&notes, &kept, &fresh);
        let now = images.notes();
        assert_eq!(now.records.len(), kept.len() + FEW);
        assert!(keys.iter().all(|key| now.get(key, &state).is_some() == is_kept(&key)));
        assert!(now.get(&"n7".parse().unwrap(), &state).is_some());
    }

    #[test]
    fn what_may_change_unseen_is_not_noted() {
        let note = note(Digest::of(b"x"));
        let (_dir, images) = store();
        let (_, state) = noted(&images);
        let is_noted = |reach: &Reach, document: Option<[u8; 24]>| {
            let mut fresh = Fresh::default();
            fresh.add(&"k".parse().unwrap(), &state, &note.entry, reach, |_| document);
            fresh.0.len() == 1
        };
        let reach = note.reach();
        assert!(is_noted(&reach, Some([7; 24])) && !is_noted(&reach, None));
        assert!(!is_noted(&Reach { is_elsewhere: true, ..reach.clone() }, Some([7; 24])));
        let lacking = Reach { missing: [Digest::of(b"gone")].into(), ..reach };
        assert!(!is_noted(&lacking, Some([7; 24])));
    }

    #[test]
    fn a_file_that_is_not_sound_says_nothing() {
        let (_dir, images) = store();
        let (keys, state) = noted(&images);
        let path = images.notes_path();
        let whole = std::fs::read(&path).unwrap();
        let knows = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            images.notes().get(&keys[5], &state).is_some()
        };
        assert!(knows(&whole));
        for at in (0..whole.len()).step_by(997) {
            let mut other = whole.clone();
            other[at] ^= 1;
            assert!(!knows(&other) && !knows(&whole[..at]), "{at}");
        }
        // With the right checksum, and wrong lengths.
        let mut lie = whole[..whole.len() - 32 - END.len()].to_vec();
        let length = BEGIN.len() + 3 + 24;
        lie[length..length + 4].copy_from_slice(&[0xff; 4]);
        let digest = Digest::of(&lie);
        assert!(!knows(&[&lie[..], digest.bytes(), END].concat()));
    }
}
