//! What was proved of stored blobs: that they match their digest, and what they unpack to.
//!
//! A fact holds as long as the file is the same (storekit's `FileState`). It is forgotten when the
//! process ends.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use storekit::files::state::FileState;
use storekit::{At, Blobs, Digest, Hasher};

use crate::error::{Error, Result};
use crate::format::compression::{self, Form};
use crate::layer;

/// What a layer unpacks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plain {
    /// The digest of its plain bytes.
    pub(crate) diff_id: Digest,
    /// How many there are.
    pub(crate) size: u64,
}

#[derive(Clone, Copy, Debug)]
struct Fact {
    state: FileState,
    plain: Option<Plain>,
}

/// The facts of one process.
#[derive(Debug)]
pub(crate) struct Facts {
    blobs: Blobs,
    known: Mutex<HashMap<Digest, Fact>>,
    /// What is being read through: a second thread waits rather than reading too.
    busy: Mutex<HashMap<Digest, Arc<Mutex<()>>>>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Facts {
    pub(crate) fn new(blobs: Blobs) -> Self {
        Self { blobs, known: Mutex::default(), busy: Mutex::default() }
    }

    /// Opens the blob; `None` where it is not there.
    pub(crate) fn open(&self, digest: &Digest) -> Result<Option<(File, FileState)>> {
        let path = self.blobs.path(digest);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.at("read", &path)?,
        };
        let state = FileState::seen(&file.metadata().at("read", &path)?);
        Ok(Some((file, state)))
    }

    /// Whether a file in this state was proved to be the blob.
    pub(crate) fn is_proved(&self, digest: &Digest, state: FileState) -> bool {
        held(&self.known).get(digest).is_some_and(|fact| fact.state.is_still(&state))
    }

    /// That a file in this state is the blob.
    pub(crate) fn note(&self, digest: &Digest, state: FileState) {
        let mut known = held(&self.known);
        if known.get(digest).is_none_or(|fact| !fact.state.is_still(&state)) {
            known.insert(*digest, Fact { state, plain: None });
        }
    }

    fn note_plain(&self, digest: &Digest, state: FileState, plain: Plain) {
        held(&self.known).insert(*digest, Fact { state, plain: Some(plain) });
    }

    /// The size of a blob whose bytes match its digest; they are read where that is not known.
    /// `None` where the blob is not there, or was damaged, and is moved aside now.
    pub(crate) fn prove(&self, digest: &Digest) -> Result<Option<u64>> {
        let Some((_, state)) = self.open(digest)? else { return Ok(None) };
        if self.is_proved(digest, state) {
            return Ok(Some(state.size()));
        }
        self.alone(digest, || {
            let Some((_, state)) = self.open(digest)? else { return Ok(None) };
            if self.is_proved(digest, state) {
                return Ok(Some(state.size()));
            }
            match self.blobs.verify(digest) {
                Err(error) if error.is_corrupt() => return Ok(None),
                verified => verified?,
            }
            self.note(digest, state);
            Ok(Some(state.size()))
        })
    }

    /// What the blob unpacks to, where that was seen already.
    pub(crate) fn known_plain(&self, digest: &Digest) -> Option<Plain> {
        let state = self.open(digest).ok()??.1;
        held(&self.known).get(digest).filter(|fact| fact.state.is_still(&state))?.plain
    }

    /// What the blob unpacks to; it is read through where that is not known. Its own digest is
    /// proved by that.
    ///
    /// # Errors
    /// A blob that is missing or damaged (and moved aside); [`Error::Read`] for one that does not
    /// unpack.
    pub(crate) fn plain(&self, digest: &Digest) -> Result<Plain> {
        if let Some(plain) = self.known_plain(digest) {
            return Ok(plain);
        }
        self.alone(digest, || {
            if let Some(plain) = self.known_plain(digest) {
                return Ok(plain);
            }
            let missing =
                || storekit::Error::Missing { digest: *digest, path: self.blobs.folder().to_owned() };
            let (mut file, state) = self.open(digest)?.ok_or_else(missing)?;
            let failed = |error| crate::image::unreadable(&self.blobs, digest, error);
            let head = compression::read_head(&mut file).map_err(failed)?;
            let mut both = Both { input: io::Cursor::new(head.clone()).chain(file), hasher: Hasher::new() };
            let read = read_plain(Form::of(&head), &mut both).map_err(failed)?;
            let found = both.hasher.finish();
            if found != *digest {
                self.blobs.move_aside(digest)?;
                return Err(storekit::Error::Damaged { digest: *digest, found }.into());
            }
            self.note_plain(digest, state, read);
            Ok(read)
        })
    }

    /// Does the work while no other thread does it for the same blob.
    fn alone<T>(&self, digest: &Digest, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let turn = Arc::clone(held(&self.busy).entry(*digest).or_default());
        let result = {
            let _turn = held(&turn);
            work()
        };
        let mut busy = held(&self.busy);
        // Two: this one, and the one in the map.
        if Arc::strong_count(&turn) <= 2 {
            busy.remove(digest);
        }
        result
    }
}

fn read_plain(form: Form, input: &mut (impl Read + Send)) -> io::Result<Plain> {
    let mut plain = form.decoder(&mut *input)?;
    let (diff_id, size) = layer::hash_plain(&mut plain, &())?;
    drop(plain);
    // A decoder may leave what follows its last frame.
    io::copy(input, &mut io::sink())?;
    Ok(Plain { diff_id, size })
}

/// Hashes what passes.
struct Both<R> {
    input: R,
    hasher: Hasher,
}

impl<R: Read> Read for Both<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}
