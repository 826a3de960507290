//! The order of Debian's versions.
//!
//! Source: Debian Policy, 5.6.12; deb-version(7).

use std::cmp::Ordering;

/// Which of two versions is later.
#[must_use]
pub(super) fn compare(one: &str, other: &str) -> Ordering {
    let (one, other) = (parts(one), parts(other));
    one.0.cmp(&other.0).then_with(|| compare_part(one.1, other.1)).then_with(|| compare_part(one.2, other.2))
}

/// Epoch, upstream's version, revision.
fn parts(text: &str) -> (u64, &str, &str) {
    let (epoch, rest) = match text.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, text),
    };
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, upstream, revision)
}

fn compare_part(mut one: &str, mut other: &str) -> Ordering {
    while !one.is_empty() || !other.is_empty() {
        let (left, right) =
            (cut(&mut one, |c| !c.is_ascii_digit()), cut(&mut other, |c| !c.is_ascii_digit()));
        let words = compare_words(left, right);
        if words != Ordering::Equal {
            return words;
        }
        let (left, right) = (cut(&mut one, |c| c.is_ascii_digit()), cut(&mut other, |c| c.is_ascii_digit()));
        let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
        let numbers = left.len().cmp(&right.len()).then_with(|| left.cmp(right));
        if numbers != Ordering::Equal {
            return numbers;
        }
    }
    Ordering::Equal
}

/// Takes off the beginning as far as its characters are of a kind.
fn cut<'t>(text: &mut &'t str, is: impl Fn(char) -> bool) -> &'t str {
    let end = text.find(|c| !is(c)).unwrap_or(text.len());
    let (taken, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    *text = rest;
    taken
}

/// `~` goes before everything, even before the end; letters go before all else.
fn compare_words(one: &str, other: &str) -> Ordering {
    let rank = |c: Option<char>| match c {
        Some('~') => -1,
        None => 0,
        Some(c) if c.is_ascii_alphabetic() => i64::from(u32::from(c)),
        Some(c) => i64::from(u32::from(c)) + 256,
    };
    let (mut left, mut right) = (one.chars(), other.chars());
    loop {
        let (a, b) = (left.next(), right.next());
        let order = rank(a).cmp(&rank(b));
        if order != Ordering::Equal || (a.is_none() && b.is_none()) {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_dpkg_s_order() {
        for (one, order, other) in [
            ("1.0", Ordering::Equal, "1.0"),
            ("1.0", Ordering::Less, "1.1"),
            ("1.9", Ordering::Less, "1.10"),
            ("1.0~rc1", Ordering::Less, "1.0"),
            ("1.0~~", Ordering::Less, "1.0~"),
            ("1:0.1", Ordering::Greater, "2.0"),
            ("1.0-1", Ordering::Less, "1.0-1+deb12u1"),
            ("1.0-1", Ordering::Less, "1.0-2"),
            ("1.0a", Ordering::Less, "1.0+"),
            ("1.0", Ordering::Less, "1.0a"),
            ("007", Ordering::Equal, "7"),
            ("2.36-9+deb12u9", Ordering::Less, "2.36-9+deb12u10"),
        ] {
            assert_eq!(compare(one, other), order, "{one} {other}");
            assert_eq!(compare(other, one), order.reverse(), "{other} {one}");
        }
    }
}
