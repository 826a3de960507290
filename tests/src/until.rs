//! Waiting for what happens.

use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

/// How long anything is waited for; what has not happened by then will not.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long it takes to look again.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until the condition holds, and fails where it does not for a minute. `what` says what that
/// is.
#[track_caller]
pub fn until(what: impl Display, mut holds: impl FnMut() -> bool) {
    until_some(what, || holds().then_some(()));
}

/// Waits until there is something, and returns it.
#[track_caller]
pub fn until_some<T>(what: impl Display, mut find: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        // The one place where a test waits for somebody who does not call.
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_later_is_found() {
        let mut looks = 0;
        let found = until_some("the third look", || {
            looks += 1;
            (looks == 3).then_some("found")
        });
        assert_eq!((found, looks), ("found", 3));
    }
}
