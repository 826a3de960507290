//! In which pieces a registry takes blobs: whole, until it refuses that.
//!
//! What is learnt with one blob holds for all that follow.
//!
//! Source: OCI distribution-spec v1.1, "Pushing a blob in chunks".

use std::sync::atomic::{AtomicU64, Ordering};

use super::retry::Failure;
use super::transport::Answer;
use crate::error::registry::Error;

/// The sizes of pieces, one tried after the other. Proxies before registries seldom take less than
/// the last.
const SIZES: [u64; 2] = [16 << 20, 1 << 20];

/// What is known of a registry.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    /// 0: it takes blobs whole, as far as is known.
    size: AtomicU64,
    /// The least that it wants of all pieces but the last.
    least: AtomicU64,
}

impl Pieces {
    /// The size of the pieces that blobs are sent in; `None`: whole.
    pub(crate) fn size(&self) -> Option<u64> {
        Some(self.size.load(Ordering::Relaxed)).filter(|size| *size > 0)
    }

    /// Heeds what an answer to the begin of an upload says of pieces.
    pub(crate) fn heed(&self, answer: &Answer) {
        if let Some(least) = answer.header("oci-chunk-min-length").and_then(|text| text.trim().parse().ok()) {
            self.least.fetch_max(least, Ordering::Relaxed);
        }
    }

    /// After a refusal of pieces of this size (`None`: of a whole blob): whether smaller ones are
    /// left to be tried.
    pub(crate) fn go_down(&self, used: Option<u64>) -> bool {
        let least = self.least.load(Ordering::Relaxed);
        let used = used.unwrap_or(u64::MAX);
        let smaller = SIZES.iter().map(|size| *size.max(&least)).find(|size| *size < used);
        if let Some(smaller) = smaller {
            self.size.store(smaller, Ordering::Relaxed);
        }
        smaller.is_some()
    }
}

/// Whether a registry said no to what it was sent, for good.
pub(crate) fn is_refusal(failure: &Failure) -> bool {
    matches!(failure, Failure::Final(crate::Error::Registry(Error::Refused { .. })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_get_smaller_down_to_what_the_registry_wants() {
        let pieces = Pieces::default();
        assert_eq!(pieces.size(), None);
        assert!(pieces.go_down(None));
        assert_eq!(pieces.size(), Some(16 << 20));
        assert!(pieces.go_down(pieces.size()));
        assert_eq!(pieces.size(), Some(1 << 20));
        assert!(!pieces.go_down(pieces.size()));

        let pieces = Pieces { least: AtomicU64::new(40 << 20), ..Pieces::default() };
        assert!(pieces.go_down(None));
        assert_eq!(pieces.size(), Some(40 << 20));
        assert!(!pieces.go_down(pieces.size()));
    }
}
