//! Ranges of bytes: which part of a blob is asked for, and where a chunk of an upload belongs.
//!
//! Source: RFC 9110, 14.1 and 14.2; OCI distribution-spec v1.1, "Pushing a blob in chunks".

/// What a `Range` header asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// All of it: no range, or one that is not understood (RFC 9110 lets it be ignored).
    All,
    /// From the first byte to the one before `end`.
    Part {
        /// The first byte that is wanted.
        start: u64,
        /// Behind the last byte.
        end: u64,
    },
    /// Nothing that there is.
    Nothing,
}

impl Asked {
    /// Reads the header for something of `size` bytes. Of several ranges none is heeded.
    pub(crate) fn parse(header: Option<&str>, size: u64) -> Self {
        let Some((first, last)) = header.and_then(split) else { return Self::All };
        let (start, end) = match (number(first), number(last)) {
            (Some(start), Some(last)) if start <= last => (start, last.saturating_add(1).min(size)),
            (Some(start), None) if last.is_empty() => (start, size),
            (None, Some(count)) if first.is_empty() => (size.saturating_sub(count), size),
            _ => return Self::All,
        };
        if start < end { Self::Part { start, end } } else { Self::Nothing }
    }
}

fn split(header: &str) -> Option<(&str, &str)> {
    let (unit, range) = header.split_once('=')?;
    let (first, last) = range.split_once('-')?;
    unit.trim().eq_ignore_ascii_case("bytes").then_some((first.trim(), last.trim()))
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Reads the `Content-Range` of a chunk, `<first>-<last>` (or `bytes <first>-<last>/…`): its first
/// byte and its length.
pub(crate) fn chunk(header: &str) -> Option<(u64, u64)> {
    let range = header.trim().trim_start_matches("bytes").trim_start_matches([' ', '=']);
    let range = range.split_once('/').map_or(range, |(range, _)| range);
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number_of(first)?, number_of(last)?);
    Some((first, last.checked_sub(first)?.checked_add(1)?))
}

fn number_of(text: &str) -> Option<u64> {
    number(text).filter(|_| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn asks(header: &str, expected: Asked) {
        assert_eq!(Asked::parse(Some(header), 100), expected, "{header}");
    }

    #[test]
    fn ranges_are_read() {
        let part = |start, end| Asked::Part { start, end };
        asks("bytes=0-0", part(0, 1));
        asks("bytes=10-", part(10, 100));
        asks("bytes=10-1000", part(10, 100));
        asks("bytes=-5", part(95, 100));
        asks("bytes=-500", part(0, 100));
        asks("bytes=100-", Asked::Nothing);
        asks("bytes=-0", Asked::Nothing);
        asks("bytes=18446744073709551615-", Asked::Nothing);
        for ignored in
            ["bytes=5-4", "bytes=", "bytes=-", "bytes=a-b", "items=0-1", "bytes=0-1,3-4", "bytes=+1-2", ""]
        {
            asks(ignored, Asked::All);
        }
        assert_eq!(Asked::parse(Some("bytes=0-"), 0), Asked::Nothing);
        assert_eq!(Asked::parse(None, 5), Asked::All);
    }

    #[test]
    fn chunks_are_placed() {
        assert_eq!(chunk("0-4"), Some((0, 5)));
        assert_eq!(chunk("bytes 5-9/*"), Some((5, 5)));
        for refused in ["", "-", "5-", "-5", "9-5", "a-b", "0-18446744073709551615"] {
            assert_eq!(chunk(refused), None, "{refused}");
        }
    }
}
