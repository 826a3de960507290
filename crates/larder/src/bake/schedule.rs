//! Work side by side: each piece as soon as all that it needs is done.
//!
//! Knows nothing of images.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Does `work` for each piece, `jobs` of them at a time at most, and tells `done` of each on the
/// calling thread, in order, as soon as it and all before it are done. `needs` has for each piece
/// those before it that it needs.
///
/// # Errors
/// The first error of `work`. No piece is begun after one; those that run are waited for.
pub(super) fn run<E: Send>(
    needs: &[Vec<usize>],
    jobs: usize,
    work: impl Fn(usize) -> Result<(), E> + Sync,
    mut done: impl FnMut(usize),
) -> Result<(), E> {
    if jobs <= 1 || needs.len() <= 1 {
        return (0..needs.len()).try_for_each(|piece| work(piece).map(|()| done(piece)));
    }
    let board = Board::new(needs);
    thread::scope(|scope| {
        for _ in 0..jobs.min(needs.len()) {
            scope.spawn(|| board.work(&work));
        }
        for piece in 0..needs.len() {
            if !board.wait_for(piece) {
                break;
            }
            done(piece);
        }
    });
    board.state.into_inner().unwrap_or_else(PoisonError::into_inner).error.map_or(Ok(()), Err)
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
    error: Option<E>,
    /// Whether a worker has panicked: its piece will never be done.
    is_broken: bool,
}

impl<E> State<E> {
    fn is_over(&self) -> bool {
        self.error.is_some() || self.is_broken || self.begun.iter().all(|begun| *begun)
    }
}

impl<'n, E> Board<'n, E> {
    fn new(needs: &'n [Vec<usize>]) -> Self {
        let none = vec![false; needs.len()];
        let state = State { begun: none.clone(), done: none, error: None, is_broken: false };
        Self { needs, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one piece after the other until none is left.
    fn work(&self, work: &impl Fn(usize) -> Result<(), E>) {
        let _watch = Watch(self);
        while let Some(piece) = self.take() {
            let result = work(piece);
            let mut state = self.state();
            match result {
                Ok(()) => state.done.iter_mut().skip(piece).take(1).for_each(|done| *done = true),
                Err(error) => drop(state.error.get_or_insert(error)),
            }
            self.changed.notify_all();
        }
    }

    /// The next piece of which all needs are done; waits for one. `None` where none is left.
    fn take(&self) -> Option<usize> {
        let mut state = self.state();
        loop {
            if state.is_over() {
                return None;
            }
            let is_done = |need: &usize| state.done.get(*need).copied().unwrap_or(true);
            let is_ready = |(begun, needs): (&bool, &Vec<usize>)| !begun && needs.iter().all(is_done);
            if let Some(piece) = state.begun.iter().zip(self.needs).position(is_ready) {
                state.begun.iter_mut().skip(piece).take(1).for_each(|begun| *begun = true);
                return Some(piece);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether the piece came to be done.
    fn wait_for(&self, piece: usize) -> bool {
        let mut state = self.state();
        loop {
            if state.done.get(piece).copied().unwrap_or(false) {
                return true;
            }
            if state.error.is_some() || state.is_broken {
                return false;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
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
    fn what_is_needed_comes_first_and_all_is_told_in_order() {
        for jobs in [1, 2, 8] {
            let (finished, mut told) = (Mutex::new(Vec::new()), Vec::new());
            let work = |piece: usize| {
                let before = finished.lock().expect("a list").clone();
                assert!(needs()[piece].iter().all(|need| before.contains(need)), "{piece} before its need");
                finished.lock().expect("a list").push(piece);
                Ok::<_, ()>(())
            };
            run(&needs(), jobs, work, |piece| told.push(piece)).expect("no error");
            assert_eq!(told, [0, 1, 2, 3]);
        }
    }

    #[test]
    fn independent_pieces_run_at_once() {
        let both = Barrier::new(2);
        let work = |_| {
            both.wait();
            Ok::<_, ()>(())
        };
        run(&[vec![], vec![]], 2, work, |_| ()).expect("each waited for the other");
    }

    #[test]
    fn after_an_error_nothing_is_begun() {
        for jobs in [1, 4] {
            let begun = Mutex::new(Vec::new());
            let work = |piece| {
                begun.lock().expect("a list").push(piece);
                if piece == 0 { Err("no") } else { Ok(()) }
            };
            assert_eq!(run(&[vec![], vec![0], vec![1]], jobs, work, |_| ()), Err("no"));
            assert_eq!(*begun.lock().expect("a list"), [0]);
        }
    }
}
