//! Parts of a growing body that are fetched ahead of it, for requests that begin far behind what
//! has come: these would wait for longer than their clients do.
//!
//! This module holds what is known of the parts alone; `fetch::ahead` fetches them. All parts and
//! the body itself are in one file, at their places, so what has come of any of them is read from
//! there.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{mpsc, watch};

/// What is nearer than this is waited for: 1 MiB.
const NEAR: u64 = 1 << 20;
/// What comes within so many milliseconds, at the pace so far, is waited for.
const SOON: u128 = 500;
/// No more parts are fetched at a time.
const MOST: usize = 16;

/// The parts of one body.
#[derive(Debug)]
pub(crate) struct Segments {
    known: Mutex<Known>,
    changed: watch::Sender<()>,
    wanted: mpsc::UnboundedSender<Range<u64>>,
    begun: Instant,
    /// Where the body itself goes on behind what an earlier fetch left.
    own: u64,
}

#[derive(Debug, Default)]
struct Known {
    /// By where they begin.
    parts: BTreeMap<u64, Part>,
    /// Whether no more may be begun.
    is_over: bool,
}

/// A part.
#[derive(Clone, Copy, Debug)]
struct Part {
    /// Up to where its bytes are in the file.
    filled: u64,
    /// Where it is to end.
    until: u64,
    /// Whether more comes.
    is_open: bool,
}

impl Segments {
    /// Those that an earlier fetch left in the file, and where wishes for more come out.
    pub(crate) fn new(kept: &[Range<u64>]) -> (Self, mpsc::UnboundedReceiver<Range<u64>>) {
        let (wanted, wishes) = mpsc::unbounded_channel();
        let part =
            |kept: &Range<u64>| (kept.start, Part { filled: kept.end, until: kept.end, is_open: false });
        let known = Mutex::new(Known { parts: kept.iter().map(part).collect(), is_over: false });
        let own = kept.first().filter(|kept| kept.start == 0).map_or(0, |kept| kept.end);
        let changed = watch::Sender::new(());
        (Self { known, changed, wanted, begun: Instant::now(), own }, wishes)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Told of each change.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Up to where there are bytes from `position` on; `None` where there are none.
    #[must_use]
    pub(crate) fn filled(&self, position: u64) -> Option<u64> {
        let known = self.lock();
        let (_, part) = known.parts.range(..=position).next_back()?;
        (position < part.filled).then_some(part.filled)
    }

    /// A request waits at `position`, for what goes up to `last`; `written` bytes have come of the
    /// body. Where that is far ahead, and nobody fetches it yet, it is to be fetched.
    pub(crate) fn wish(&self, position: u64, last: u64, written: u64) {
        if self.is_near(position.saturating_sub(written.max(self.own)), written.saturating_sub(self.own)) {
            return;
        }
        let mut known = self.lock();
        let open = known.parts.values().filter(|part| part.is_open).count();
        if known.is_over || open >= MOST {
            return;
        }
        let before = known.parts.range(..=position).next_back();
        if before.is_some_and(|(_, part)| part.is_open && position < part.until) {
            return;
        }
        let next = known.parts.range(position + 1..).next().map_or(last, |(start, _)| *start);
        let until = last.min(next);
        if until <= position {
            return;
        }
        known.parts.insert(position, Part { filled: position, until, is_open: true });
        drop(known);
        // Whoever fetches may have ended.
        let _ = self.wanted.send(position..until);
    }

    /// Whether what is so far behind what comes is waited for, by the pace at which this much came.
    fn is_near(&self, distance: u64, came: u64) -> bool {
        let so_far = self.begun.elapsed().as_millis().max(1);
        distance <= NEAR || u128::from(distance) * so_far <= u128::from(came) * SOON
    }

    /// More bytes of the part that begins at `start` are in the file.
    pub(crate) fn fill(&self, start: u64, bytes: u64) {
        if let Some(part) = self.lock().parts.get_mut(&start) {
            part.filled = part.filled.saturating_add(bytes).min(part.until);
        }
        self.changed.send_replace(());
    }

    /// No more comes of the part that begins at `start`. One without a byte is forgotten.
    pub(crate) fn end(&self, start: u64) {
        let mut known = self.lock();
        if let Some(part) = known.parts.get_mut(&start) {
            part.is_open = false;
            if part.filled == start {
                known.parts.remove(&start);
            }
        }
        drop(known);
        self.changed.send_replace(());
    }

    /// No more parts are begun.
    pub(crate) fn close(&self) {
        self.lock().is_over = true;
    }

    /// Where the next part begins, at `position` or behind it, of which there are bytes.
    #[must_use]
    pub(crate) fn next(&self, position: u64) -> Option<u64> {
        let known = self.lock();
        let mut parts = known.parts.range(position..).filter(|(start, part)| part.filled > **start);
        parts.next().map(|(start, _)| *start)
    }

    /// Whether more may come of the part that begins at `start`.
    #[must_use]
    pub(crate) fn is_open(&self, start: u64) -> bool {
        self.lock().parts.get(&start).is_some_and(|part| part.is_open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const M: u64 = 1 << 20;

    #[test]
    fn what_is_far_ahead_is_wished_for_once() {
        let (segments, mut wishes) = Segments::new(&[]);
        segments.wish(M / 2, 9 * M, 0);
        assert!(wishes.try_recv().is_err(), "what is near is waited for");
        segments.wish(4 * M, 6 * M, 0);
        segments.wish(5 * M, 6 * M, 0);
        segments.wish(2 * M, 9 * M, 0);
        assert_eq!(wishes.try_recv(), Ok(4 * M..6 * M));
        assert_eq!(wishes.try_recv(), Ok(2 * M..4 * M), "it ends where the next one begins");
        assert!(wishes.try_recv().is_err());
        segments.close();
        segments.wish(7 * M, 9 * M, 0);
        assert!(wishes.try_recv().is_err());
    }

    #[test]
    fn a_part_is_read_as_far_as_it_is_filled() {
        let (segments, _wishes) = Segments::new(&[]);
        segments.wish(4 * M, 6 * M, 0);
        assert_eq!((segments.filled(4 * M), segments.next(0)), (None, None));
        segments.fill(4 * M, M);
        assert_eq!((segments.filled(4 * M), segments.filled(5 * M - 1)), (Some(5 * M), Some(5 * M)));
        assert_eq!((segments.filled(5 * M), segments.filled(3 * M)), (None, None));
        assert_eq!((segments.next(0), segments.next(4 * M + 1)), (Some(4 * M), None));
        assert!(segments.is_open(4 * M));
        segments.end(4 * M);
        assert!(!segments.is_open(4 * M) && segments.filled(4 * M).is_some());
        // The rest of one that broke off may be wished for again.
        segments.wish(5 * M, 6 * M, 0);
        assert!(segments.is_open(5 * M));
        segments.end(5 * M);
        assert_eq!(segments.next(5 * M), None, "one without a byte is forgotten");
    }

    #[test]
    fn what_an_earlier_fetch_left_is_read_and_not_wished_for() {
        let (segments, mut wishes) = Segments::new(&[0..2 * M, 5 * M..6 * M]);
        let filled = (segments.filled(0), segments.filled(2 * M));
        assert_eq!((filled, segments.next(1)), ((Some(2 * M), None), Some(5 * M)));
        segments.wish(2 * M, 9 * M, 0);
        assert!(wishes.try_recv().is_err(), "the body itself goes on there");
        segments.wish(4 * M, 9 * M, 0);
        assert_eq!(wishes.try_recv(), Ok(4 * M..5 * M), "it ends where the next one begins");
    }

    #[test]
    fn no_more_than_so_many_are_fetched_at_a_time() {
        let (segments, mut wishes) = Segments::new(&[]);
        for number in 1..=2 * MOST as u64 {
            segments.wish(2 * number * M, (2 * number + 1) * M, 0);
        }
        assert_eq!(std::iter::from_fn(|| wishes.try_recv().ok()).count(), MOST);
    }
}
