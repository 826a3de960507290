//! Work side by side: each piece as soon as all that it needs is done.
//!
//! Knows nothing of images.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Does `work` for each piece, `jobs` of them at a time at most, and tells `done` of each on the
/// calling thread, in the order of `told`, as soon as it and all before it there are done. `needs`
/// has for each piece those before it that it needs. Work that finds out on the way that it has to
/// come after others says so to its seat.
///
/// # Errors
/// The first error of `work`. No piece is begun after one; those that run are waited for.
pub(crate) fn run<E: Send>(
    needs: &[Vec<usize>],
    jobs: usize,
    work: impl Fn(usize, &Seat<'_, E>) -> Result<(), E> + Sync,
    told: &[usize],
    mut done: impl FnMut(usize),
) -> Result<(), E> {
    let board = Board::new(needs, jobs.max(1));
    thread::scope(|scope| {
        // One that waits has no seat, but a thread.
        let threads = if jobs <= 1 { 1 } else { needs.len() };
        for _ in 0..threads {
            scope.spawn(|| board.work(&work));
        }
        for piece in told.iter().copied() {
            if !board.wait_for(piece) {
                break;
            }
            done(piece);
        }
    });
    board.state.into_inner().unwrap_or_else(PoisonError::into_inner).error.map_or(Ok(()), Err)
}

/// The place at which a piece is worked on.
pub(crate) struct Seat<'b, E>(&'b Board<'b, E>);

impl<E> Seat<'_, E> {
    /// Waits until the pieces are done, all of them before the own one; another may have the seat
    /// meanwhile. `false`: the work has ended by an error.
    pub(crate) fn after(&self, pieces: &[usize]) -> bool {
        self.0.wait_midway(pieces)
    }
}

/// What is begun, and what is done.
struct Board<'n, E> {
    needs: &'n [Vec<usize>],
    state: Mutex<State<E>>,
    changed: Condvar,
}

struct State<E> {
    begun: Vec<bool>,
    done: Vec<bool>,
    /// How many more pieces may be worked on at once.
    seats: usize,
    error: Option<E>,
    /// Whether a worker has panicked: its piece will never be done.
    is_broken: bool,
}

impl<E> State<E> {
    /// Whether no other piece is to be begun.
    fn is_over(&self) -> bool {
        self.is_ended() || self.begun.iter().all(|begun| *begun)
    }

    fn is_ended(&self) -> bool {
        self.error.is_some() || self.is_broken
    }

    fn are_done(&self, pieces: &[usize]) -> bool {
        pieces.iter().all(|piece| self.done.get(*piece).copied().unwrap_or(true))
    }
}

impl<'n, E> Board<'n, E> {
    fn new(needs: &'n [Vec<usize>], seats: usize) -> Self {
        let none = vec![false; needs.len()];
        let state = State { begun: none.clone(), done: none, seats, error: None, is_broken: false };
        Self { needs, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, as soon as it is so.
    fn once(&self, is_so: impl Fn(&State<E>) -> bool) -> MutexGuard<'_, State<E>> {
        self.changed.wait_while(self.state(), |state| !is_so(state)).unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one piece after the other until none is left.
    fn work(&self, work: &impl Fn(usize, &Seat<'_, E>) -> Result<(), E>) {
        let _watch = Watch(self);
        while let Some(piece) = self.take() {
            let result = work(piece, &Seat(self));
            let mut state = self.state();
            state.seats += 1;
            match result {
                Ok(()) => state.done.iter_mut().skip(piece).take(1).for_each(|done| *done = true),
                Err(error) => drop(state.error.get_or_insert(error)),
            }
            self.changed.notify_all();
        }
    }

    /// The next piece of which all needs are done, with a seat; waits for one. `None` where none is
    /// left.
    fn take(&self) -> Option<usize> {
        let mut state = self.once(|state| state.is_over() || (state.seats > 0 && self.next(state).is_some()));
        let piece = if state.is_over() { None } else { self.next(&state) }?;
        state.begun.iter_mut().skip(piece).take(1).for_each(|begun| *begun = true);
        state.seats -= 1;
        Some(piece)
    }

    fn next(&self, state: &State<E>) -> Option<usize> {
        let is_ready = |(begun, needs): (&bool, &Vec<usize>)| !begun && state.are_done(needs);
        state.begun.iter().zip(self.needs).position(is_ready)
    }

    fn wait_midway(&self, pieces: &[usize]) -> bool {
        let mut state = self.state();
        if state.are_done(pieces) {
            return true;
        }
        state.seats += 1;
        drop(state);
        self.changed.notify_all();
        let mut state = self.once(|state| state.is_ended() || (state.seats > 0 && state.are_done(pieces)));
        state.seats = state.seats.saturating_sub(1);
        !state.is_ended()
    }

    /// Whether the piece came to be done.
    fn wait_for(&self, piece: usize) -> bool {
        self.once(|state| state.is_ended() || state.are_done(&[piece])).are_done(&[piece])
    }
}

/// Wakes all others where its thread panics.
struct Watch<'b, 'n, E>(&'b Board<'n, E>);

impl<E> Drop for Watch<'_, '_, E> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.state().is_broken = true;
            self.0.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    /// `0 ← 1 ← 3`, `2` alone.
    fn needs() -> Vec<Vec<usize>> {
        vec![vec![], vec![0], vec![], vec![1]]
    }

    #[test]
    fn what_is_needed_comes_first_and_all_is_told_in_the_order_that_is_asked_for() {
        for jobs in [1, 2, 8] {
            let (finished, mut told) = (Mutex::new(Vec::new()), Vec::new());
            let work = |piece: usize, _: &Seat<'_, ()>| {
                let before = finished.lock().expect("a list").clone();
                assert!(needs()[piece].iter().all(|need| before.contains(need)), "{piece} before its need");
                finished.lock().expect("a list").push(piece);
                Ok(())
            };
            run(&needs(), jobs, work, &[3, 0, 1, 2], |piece| told.push(piece)).expect("no error");
            assert_eq!(told, [3, 0, 1, 2]);
        }
    }

    #[test]
    fn independent_pieces_run_at_once() {
        let both = Barrier::new(2);
        let work = |_, _: &Seat<'_, ()>| {
            both.wait();
            Ok(())
        };
        run(&[vec![], vec![]], 2, work, &[], |_| ()).expect("each waited for the other");
    }

    #[test]
    fn after_an_error_nothing_is_begun() {
        for jobs in [1, 4] {
            let begun = Mutex::new(Vec::new());
            let work = |piece, _: &Seat<'_, _>| {
                begun.lock().expect("a list").push(piece);
                if piece == 0 { Err("no") } else { Ok(()) }
            };
            assert_eq!(run(&[vec![], vec![0], vec![1]], jobs, work, &[0, 1, 2], |_| ()), Err("no"));
            assert_eq!(*begun.lock().expect("a list"), [0]);
        }
    }

    #[test]
    fn who_waits_midway_gives_the_seat_away() {
        for jobs in [1, 2, 3] {
            let ended = Mutex::new(Vec::new());
            // The last is ready before the second, and waits for it.
            let work = |piece: usize, seat: &Seat<'_, ()>| {
                assert!(seat.after(&(0..piece).collect::<Vec<_>>()));
                ended.lock().expect("a list").push(piece);
                Ok(())
            };
            run(&[vec![], vec![0], vec![0], vec![]], jobs, work, &[], |_| ()).expect("no error");
            assert_eq!(*ended.lock().expect("a list"), [0, 1, 2, 3]);
        }
    }

    #[test]
    fn who_waits_midway_learns_of_an_error() {
        let both = Barrier::new(2);
        let work = |piece: usize, seat: &Seat<'_, &str>| {
            both.wait();
            if piece == 0 {
                return Err("no");
            }
            assert!(!seat.after(&[0]));
            Ok(())
        };
        assert_eq!(run(&[vec![], vec![]], 2, work, &[], |_| ()), Err("no"));
    }

    /// For each of some pieces, some of those before it.
    fn some_before(bits: &[u64]) -> Vec<Vec<usize>> {
        let is_in = |bits: u64, other: usize| bits >> other & 1 == 1;
        let before = |(at, bits): (usize, &u64)| (0..at).filter(|other| is_in(*bits, *other)).collect();
        bits.iter().enumerate().map(before).collect()
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_needed_and_waited_for_all_is_done(
            bits in proptest::collection::vec(proptest::prelude::any::<(u64, u64)>(), 1..12),
            jobs in 1_usize..6,
        ) {
            let (needs, waits): (Vec<_>, Vec<_>) = bits.into_iter().unzip();
            let (needs, waits) = (some_before(&needs), some_before(&waits));
            let (ended, end) = std::sync::mpsc::channel();
            let count = needs.len();
            thread::spawn(move || {
                let finished = Mutex::new(Vec::new());
                let work = |piece: usize, seat: &Seat<'_, String>| {
                    let has_all = |others: &[usize]| {
                        let done = finished.lock().expect("a list");
                        others.iter().all(|other| done.contains(other))
                    };
                    let is_ready = has_all(&needs[piece]);
                    if !(is_ready && seat.after(&waits[piece]) && has_all(&waits[piece])) {
                        return Err(format!("{piece} is too early"));
                    }
                    finished.lock().expect("a list").push(piece);
                    Ok(())
                };
                let mut told = Vec::new();
                let told_in: Vec<_> = (0..needs.len()).rev().collect();
                let ran = run(&needs, jobs, work, &told_in, |piece| told.push(piece));
                let _ = ended.send(ran.map(|()| (told == told_in, finished.into_inner().map(|done| done.len()))));
            });
            // One that waits for ever is told as a failure, and not by a test that never ends.
            let ran = end.recv_timeout(std::time::Duration::from_secs(60)).expect("it ends");
            let (in_order, done) = ran.expect("no piece before what it needs");
            proptest::prop_assert!(in_order && done.expect("a list") == count);
        }
    }
}
