//! The rest of a body that the disk had no room for: it goes to the requests that read along, and
//! is stored nowhere.
//!
//! Limit: from there on all of them go at the pace of the slowest; one that takes nothing for a
//! while is cut off.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use storekit::Hasher;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::ecosystem::ruling::{Check, Mismatch};

/// Pieces that wait for a reader.
const WAITING: usize = 8;
/// Between two looks for the first reader.
const LOOK: Duration = Duration::from_millis(1);
/// A reader that takes nothing for so long is cut off.
const PATIENCE: Duration = Duration::from_secs(30);

/// What comes behind the end of the file. Where nothing comes any more and there was no end, it
/// broke off.
#[derive(Clone, Debug)]
pub(crate) enum Rest {
    /// The next bytes.
    Bytes(Bytes),
    /// That was all.
    End,
}

/// The requests that read along; `None` where it is too late for that.
#[derive(Debug)]
pub(crate) struct Readers(Mutex<Option<Vec<mpsc::Sender<Rest>>>>);

impl Default for Readers {
    fn default() -> Self {
        Self(Mutex::new(Some(Vec::new())))
    }
}

impl Readers {
    /// Joins them. `None` where the file has ended already, so that a part of the body would be
    /// missing.
    #[must_use]
    pub(crate) fn attach(&self) -> Option<mpsc::Receiver<Rest>> {
        let mut readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let readers = readers.as_mut()?;
        let (sender, receiver) = mpsc::channel(WAITING);
        readers.retain(|reader| !reader.is_closed());
        readers.push(sender);
        Some(receiver)
    }

    /// Waits until somebody reads along, or a while: what is not to be stored is for them alone.
    pub(crate) async fn begun(&self) {
        let none = || {
            let readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            readers.as_ref().is_some_and(Vec::is_empty)
        };
        let waiting = async {
            while none() {
                tokio::time::sleep(LOOK).await;
            }
        };
        let _ = timeout(PATIENCE, waiting).await;
    }

    fn close(&self) -> Vec<mpsc::Sender<Rest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }
}

/// A body whose file has ended before it did.
#[derive(Debug)]
pub(crate) struct Overflow {
    readers: Vec<mpsc::Sender<Rest>>,
    hasher: Hasher,
    size: u64,
    /// Kept until the next come, where the last bytes depend on what all of them hash to.
    held: Option<Bytes>,
    check: Check,
}

impl Overflow {
    /// `size` bytes are in the file, and the hasher has seen them.
    pub(crate) fn new(readers: &Readers, hasher: Hasher, size: u64, check: Check) -> Self {
        Self { readers: readers.close(), hasher, size, held: None, check }
    }

    /// How many bytes there were.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The next bytes. Returns whether a request is left that wants them.
    pub(crate) async fn push(&mut self, bytes: Bytes) -> bool {
        self.hasher.update(&bytes);
        self.check.update(&bytes);
        self.size += bytes.len() as u64;
        let ready = if self.check.is_strict() { self.held.replace(bytes) } else { Some(bytes) };
        if let Some(bytes) = ready {
            self.send(&Rest::Bytes(bytes)).await;
        }
        !self.readers.is_empty()
    }

    /// There are no more. Where they are not what they have to be, the end is not handed on.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub(crate) async fn end(mut self) -> Result<(), Box<Mismatch>> {
        self.check.verdict(self.hasher.clone().finish())?;
        if let Some(bytes) = self.held.take() {
            self.send(&Rest::Bytes(bytes)).await;
        }
        self.send(&Rest::End).await;
        Ok(())
    }

    async fn send(&mut self, rest: &Rest) {
        let mut kept = Vec::with_capacity(self.readers.len());
        for reader in self.readers.drain(..) {
            if matches!(timeout(PATIENCE, reader.send(rest.clone())).await, Ok(Ok(()))) {
                kept.push(reader);
            }
        }
        self.readers = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecosystem::ruling::Expected;
    use storekit::Digest;

    fn expected(bytes: &[u8]) -> Expected {
        Expected { checksum: Digest::of(bytes).into(), size: None }
    }

    fn spilled(announced: Option<Expected>) -> (Vec<Bytes>, bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let readers = Readers::default();
            let mut reader = readers.attach().unwrap();
            let mut spill = Overflow::new(&readers, Hasher::new(), 0, Check::new(announced));
            assert!(readers.attach().is_none());
            assert!(
                spill.push(Bytes::from_static(b"ab")).await && spill.push(Bytes::from_static(b"c")).await
            );
            assert_eq!(spill.size(), 3);
            let right = spill.end().await.is_ok();
            let (mut pieces, mut ended) = (Vec::new(), false);
            while let Some(rest) = reader.recv().await {
                match rest {
                    Rest::Bytes(bytes) => pieces.push(bytes),
                    Rest::End => ended = true,
                }
            }
            assert_eq!(right, ended);
            (pieces, ended)
        })
    }

    #[test]
    fn the_rest_reaches_its_readers_and_ends() {
        assert_eq!(spilled(None), (vec![Bytes::from("ab"), Bytes::from("c")], true));
        assert_eq!(spilled(Some(expected(b"abc"))), (vec![Bytes::from("ab"), Bytes::from("c")], true));
    }

    #[test]
    fn the_last_bytes_of_something_else_stay_here() {
        assert_eq!(spilled(Some(expected(b"other"))), (vec![Bytes::from("ab")], false));
    }
}
