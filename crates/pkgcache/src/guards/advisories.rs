//! The advisories that hold now: read again when their files change, without a restart.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::OsvFiles;
use super::osv::read::{Stamp, read, stamp};
use crate::error::{Result, explained};
use crate::guards::Advisories;
use crate::outside::Outside;

/// The files are looked at no more often.
const LEAST: Duration = Duration::from_secs(1);
/// And not for so many times as long as a look took.
const PEACE: u32 = 20;

/// Advisories, and the files that they are from.
#[derive(Debug, Default)]
pub(crate) struct Watched(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
    /// When the files may be looked at again; `None` while they are.
    next: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Held {
    files: OsvFiles,
    stamp: Stamp,
    advisories: Arc<Advisories>,
}

impl Watched {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads other files from now on, or none. It takes as long as reading takes.
    ///
    /// # Errors
    /// Files that cannot be read; what was held stays then.
    pub(crate) fn set(&self, files: Option<&OsvFiles>) -> Result<()> {
        let held = files.map(Held::read).transpose()?;
        *self.lock() = State { held, next: Some(Instant::now() + LEAST) };
        Ok(())
    }

    /// The advisories, as they were read last.
    pub(crate) fn now(&self) -> Option<Arc<Advisories>> {
        self.lock().held.as_ref().map(|held| Arc::clone(&held.advisories))
    }

    /// Looks whether the files are others by now, and reads these; a file that cannot be read
    /// leaves what is held. Returns whether there is anything new. Of several that call it, one
    /// does it.
    pub(crate) fn refresh(&self, outside: &dyn Outside) -> bool {
        let Some(held) = self.due() else { return false };
        let begun = Instant::now();
        let changed = held.changed();
        let rest = LEAST.max(begun.elapsed() * PEACE);
        let mut state = self.lock();
        state.next = Some(Instant::now() + rest);
        match changed {
            // Other files may be set meanwhile.
            Ok(Some(new)) if state.held.as_ref().is_some_and(|it| it.files == new.files) => {
                outside.note(&format!("the advisories were read again: {} count", new.advisories.len()));
                state.held = Some(new);
                true
            }
            Ok(_) => false,
            Err(error) => {
                drop(state);
                outside.warning(&format!("the advisories stay as they were: {}", explained(&error)));
                false
            }
        }
    }

    /// Whether it is time for a look.
    pub(crate) fn is_due(&self) -> bool {
        let state = self.lock();
        state.held.is_some() && state.next.is_some_and(|next| next <= Instant::now())
    }

    fn due(&self) -> Option<Held> {
        let mut state = self.lock();
        state.next.take_if(|next| *next <= Instant::now())?;
        state.held.clone()
    }
}

impl Held {
    fn read(files: &OsvFiles) -> Result<Self> {
        let stamp = stamp(files)?;
        let advisories = Arc::new(read(files, &stamp)?);
        Ok(Self { files: files.clone(), stamp, advisories })
    }

    fn changed(&self) -> Result<Option<Self>> {
        let stamp = stamp(&self.files)?;
        if stamp == self.stamp {
            return Ok(None);
        }
        let advisories = Arc::new(read(&self.files, &stamp)?);
        Ok(Some(Self { files: self.files.clone(), stamp, advisories }))
    }
}
