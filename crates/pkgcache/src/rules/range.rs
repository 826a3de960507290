//! Byte ranges: asked for, cut out, and announced. Source: RFC 9110, 14.

use std::ops::Range;

use super::fields::members;

/// A request for more ranges than this is answered with the whole. So many are asked for at once by
/// clients that fetch the parts of an index that are new to them (zchunk).
const MOST_RANGES: usize = 256;

/// One asked range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// From the first to the last byte; to the end where there is no last.
    From(u64, Option<u64>),
    /// So many bytes at the end.
    Last(u64),
}

/// What a `Range` header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asking(Vec<Asked>);

/// What it comes to for a body of a known size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The whole: the ranges make no sense, are too many, or overlap too much.
    Whole,
    /// These, in the order in which they were asked for.
    Ranges(Vec<Range<u64>>),
    /// Nothing: all begin behind the end.
    Nothing,
}

impl Asking {
    /// Reads the header. `None` for another unit than bytes, and for what is malformed: it does not
    /// count then.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (unit, list) = text.split_once('=')?;
        unit.trim().eq_ignore_ascii_case("bytes").then_some(())?;
        let asked: Option<Vec<_>> = members(list).take(MOST_RANGES + 1).map(asked).collect();
        asked.filter(|asked| !asked.is_empty()).map(Self)
    }

    /// What it comes to for a body of `size` bytes.
    #[must_use]
    pub(crate) fn cut(&self, size: u64) -> Cut {
        if self.0.len() > MOST_RANGES {
            return Cut::Whole;
        }
        let ranges: Vec<_> = self.0.iter().filter_map(|asked| asked.within(size)).collect();
        // Ranges that together ask for more than there is are an attempt to make us send much for
        // little.
        let sum = ranges.iter().fold(0_u64, |sum, range| sum.saturating_add(range.end - range.start));
        match ranges.len() {
            0 => Cut::Nothing,
            2.. if sum > size => Cut::Whole,
            _ => Cut::Ranges(ranges),
        }
    }
}

fn asked(text: &str) -> Option<Asked> {
    let (first, last) = text.split_once('-')?;
    match (first, last) {
        ("", last) => number(last).map(Asked::Last),
        (first, "") => number(first).map(|first| Asked::From(first, None)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Asked::From(first, Some(last)))
        }
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

impl Asked {
    fn within(self, size: u64) -> Option<Range<u64>> {
        let (start, end) = match self {
            Self::From(first, last) => (first, last.map_or(size, |last| last.saturating_add(1).min(size))),
            Self::Last(count) => (size.saturating_sub(count), size),
        };
        (start < end).then_some(start..end)
    }
}

/// The value of `Content-Range` for a part.
#[must_use]
pub(crate) fn content_range(range: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1))
}

/// Reads `Content-Range`: the part and the size of the whole. `None` where either is not said, or
/// they contradict.
#[must_use]
pub(crate) fn parse_content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, size) = (number(first)?, number(last)?, number(size)?);
    (first <= last && last < size).then(|| (first..last + 1, size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damaged::each_text;

    #[track_caller]
    fn check(text: &str, size: u64, expected: &[(u64, u64)]) {
        let cut = Asking::parse(text).expect(text).cut(size);
        let expected = expected.iter().map(|(start, end)| *start..*end).collect();
        assert_eq!(cut, Cut::Ranges(expected), "{text}");
    }

    #[test]
    fn ranges_are_cut_to_the_body() {
        check("bytes=0-1", 10, &[(0, 2)]);
        check("Bytes=1-", 10, &[(1, 10)]);
        check("bytes=-3", 10, &[(7, 10)]);
        check("bytes=-30", 10, &[(0, 10)]);
        check("bytes=5-99999999999999999999", 10, &[(5, 10)]);
        check("bytes=0-1, 4-5 ,20-", 10, &[(0, 2), (4, 6)]);
    }

    #[test]
    fn what_begins_behind_the_end_is_nothing() {
        for text in ["bytes=10-", "bytes=10-20, 30-", "bytes=-0"] {
            assert_eq!(Asking::parse(text).unwrap().cut(10), Cut::Nothing, "{text}");
        }
        assert_eq!(Asking::parse("bytes=0-").unwrap().cut(0), Cut::Nothing);
    }

    #[test]
    fn asking_for_more_than_there_is_gives_the_whole() {
        assert_eq!(Asking::parse("bytes=0-9, 0-9").unwrap().cut(10), Cut::Whole);
        let many = format!("bytes={}", vec!["0-0"; 257].join(","));
        assert_eq!(Asking::parse(&many).unwrap().cut(1000), Cut::Whole);
    }

    #[test]
    fn what_is_malformed_does_not_count() {
        for text in
            ["", "bytes", "bytes=", "bytes=a-b", "bytes=2-1", "bytes=-", "bytes=1", "lines=0-1", "bytes=+1-2"]
        {
            assert_eq!(Asking::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_part_announces_itself() {
        assert_eq!(content_range(&(4..10), 10), "bytes 4-9/10");
        assert_eq!(parse_content_range("bytes 4-9/10"), Some((4..10, 10)));
        for text in ["bytes 4-9/*", "bytes */10", "bytes 4-10/10", "bytes 5-4/10", "items 0-1/2"] {
            assert_eq!(parse_content_range(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_cut_lies_in_the_body(text in "bytes=[0-9, -]{0,30}", size in 0_u64..50) {
            if let Some(Cut::Ranges(ranges)) = Asking::parse(&text).map(|asking| asking.cut(size)) {
                proptest::prop_assert!(ranges.iter().all(|range| range.start < range.end && range.end <= size));
            }
        }
    }

    #[test]
    fn what_becomes_of_a_range_is_one_within_the_body_or_none() {
        each_text("bytes=0-4, 10-, -3, 5-99999999999999999999", |text| {
            if let Some(Cut::Ranges(ranges)) = Asking::parse(text).map(|asking| asking.cut(20)) {
                assert!(ranges.iter().all(|it| it.start < it.end && it.end <= 20), "{ranges:?}");
            }
        });
        each_text("bytes 4-9/10", |text| {
            if let Some((range, size)) = parse_content_range(text) {
                assert!(range.start < range.end && range.end <= size, "{range:?} {size}");
            }
        });
    }
}
