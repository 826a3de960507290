//! Work on a list, by all processors at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Applies `work` to each item, the last first, and returns the results in the order of the items.
///
/// # Errors
/// The first error that `work` returned; what was not begun by then is left undone.
pub fn map<T: Sync, R: Send, E: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    map_by(usize::MAX, items, work)
}

/// The same with so many threads at most.
///
/// # Errors
/// As [`map`].
pub fn map_by<T: Sync, R: Send, E: Send>(
    most: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    map_with(thread::available_parallelism().map_or(1, usize::from).min(most), items, work)
}

/// The same with so many threads, whatever number of processors there is: for work that waits for
/// others.
///
/// # Errors
/// As [`map`].
pub fn map_with<T: Sync, R: Send, E: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let threads = threads.clamp(1, 64).min(items.len());
    let left = AtomicUsize::new(items.len());
    let done = Mutex::new((Vec::new(), None));
    let step = || {
        while let Some(at) = take(&left) {
            let result = work(&items[at]);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            match result {
                Ok(value) => done.0.push((at, value)),
                Err(error) => {
                    left.store(0, Ordering::Relaxed);
                    done.1.get_or_insert(error);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(step);
        }
    });
    let (mut values, error) = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    values.sort_by_key(|(at, _)| *at);
    error.map_or_else(|| Ok(values.into_iter().map(|(_, value)| value).collect()), Err)
}

/// The next index, from the end.
fn take(left: &AtomicUsize) -> Option<usize> {
    let next = |count: usize| count.checked_sub(1);
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok().map(|before| before - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_their_order() {
        let items: Vec<u32> = (0..100).collect();
        assert_eq!(
            map(&items, |item| Ok::<_, ()>(item * 2)).unwrap(),
            items.iter().map(|i| i * 2).collect::<Vec<_>>()
        );
        assert_eq!(map(&[], |item: &u32| Ok::<_, ()>(*item)).unwrap(), Vec::<u32>::new());
    }

    #[test]
    fn an_error_ends_it() {
        let items: Vec<u32> = (0..100).collect();
        assert_eq!(map(&items, |item| if *item == 50 { Err("no") } else { Ok(()) }), Err("no"));
    }
}
