//! Finds the next of sorted things from where the last one was found.

/// The first of `count` sorted places that does not come before what is sought. Few questions are
/// asked where that is not far from `from`; the answer is the same whatever `from` is.
pub(crate) fn seek(from: usize, count: usize, before: impl Fn(usize) -> bool) -> usize {
    let from = from.min(count);
    let (mut low, mut high) = match from.checked_sub(1) {
        Some(last) if !before(last) => (0, last),
        _ => ahead(from, count, &before),
    };
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Two places with the sought one between them: looks ever further ahead.
fn ahead(from: usize, count: usize, before: impl Fn(usize) -> bool) -> (usize, usize) {
    let (mut low, mut step) = (from, 1);
    loop {
        let next = low + step - 1;
        if next >= count {
            return (low, count);
        }
        if !before(next) {
            return (low, next);
        }
        (low, step) = (next + 1, step * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_does_not_depend_on_the_start() {
        for count in 0..20 {
            for wanted in 0..=count {
                for from in 0..count + 3 {
                    assert_eq!(seek(from, count, |at| at < wanted), wanted, "of {count} from {from}");
                }
            }
        }
    }
}
