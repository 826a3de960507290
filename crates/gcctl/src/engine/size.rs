//! Sizes and times as docker writes them.

use jiff::Timestamp;
use jiff::fmt::strtime;

/// The bytes of a size such as `32.93MB`, `397kB`, `0B` or `0B (virtual 204MB)`. Units are powers
/// of
/// 1000. `None` for anything else.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let text = text.split(' ').next()?;
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    let scale = match unit {
        "B" => 1.0,
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        _ => return None,
    };
    let number: f64 = number.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is no less than 0, and a cast saturates"
    )]
    Some((number * scale).round() as u64)
}

/// The moment of a time such as `2026-11-30 12:40:43 +0000 UTC`, or with a fraction of the second.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    let mut words = text.split(' ');
    let (day, time, zone) = (words.next()?, words.next()?, words.next()?);
    let time = time.split('.').next()?;
    let parsed = strtime::parse("%Y-%m-%d %H:%M:%S %z", format!("{day} {time} {zone}")).ok()?;
    parsed.to_timestamp().ok()
}

/// The time when an image was made. `None` for one from before there were containers: it is a fixed
/// one, of a build that gives the same bytes each time.
pub(super) fn dated(made: Timestamp) -> Option<Timestamp> {
    const FIRST: i64 = 1_000_000_000;
    (made.as_second() >= FIRST).then_some(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_docker() {
        for (text, expected) in [
            ("0B", Some(0)),
            ("23B", Some(23)),
            ("4.086kB", Some(4086)),
            ("32.93MB", Some(32_930_000)),
            ("5.431GB", Some(5_431_000_000)),
            ("1.2TB", Some(1_200_000_000_000)),
            ("12.3kB (virtual 204MB)", Some(12_300)),
            ("N/A", None),
            ("-1B", None),
            ("NaNMB", None),
            ("1e999GB", None),
            ("", None),
            ("12", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn times_are_those_of_docker() {
        assert_eq!(dated("1980-01-02T00:00:00Z".parse().unwrap()), None);
        assert!(dated("2013-03-20T00:00:00Z".parse().unwrap()).is_some());
        let expected = Some("2026-11-30T12:40:43Z".parse().unwrap());
        assert_eq!(moment("2026-11-30 12:40:43 +0000 UTC"), expected);
        assert_eq!(moment("2026-11-30 13:40:43.002049857 +0100 CET"), expected);
        for text in ["", "2026-11-30", "yesterday at noon", "2026-13-30 12:40:43 +0000 UTC"] {
            assert_eq!(moment(text), None, "{text}");
        }
    }
}
