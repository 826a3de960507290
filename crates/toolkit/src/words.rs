//! Numbers and times as a person would say them. Sizes are storekit's `ByteSize`.

use jiff::Timestamp;

/// How long ago, in the largest unit of which there are two or more: `now`, `5 min ago`, `3 d ago`.
#[must_use]
pub fn ago(time: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(time).as_secs().max(0);
    let units = [(365 * 86_400, "y"), (86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    match units.into_iter().find(|(unit, _)| seconds >= 2 * unit) {
        Some((unit, name)) => format!("{} {name} ago", seconds / unit),
        None => "now".to_owned(),
    }
}

/// A span of time as a person would say it: `24 h`, `30 d`.
#[must_use]
pub fn span(seconds: u64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "min")];
    match units.into_iter().find(|(unit, _)| seconds >= 2 * unit || seconds == *unit) {
        Some((unit, name)) => format!("{} {name}", seconds / unit),
        None => format!("{seconds} s"),
    }
}

/// How long something took, in its two largest units: `9 min 40 s`, `2 h`, `1 d 3 h`. The seconds
/// are rounded; what is less than none, or not a number, took none.
#[must_use]
pub fn took(seconds: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is a whole number, and a cast of a float saturates"
    )]
    let seconds = seconds.round() as u64;
    let units = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let first = units.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(units.len() - 1);
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, name) in units.iter().skip(first).take(2) {
        parts.push((rest / unit, *name));
        rest %= unit;
    }
    let is_shown = |(at, (count, _)): &(usize, (u64, &str))| *at == 0 || *count > 0;
    let shown = parts.into_iter().enumerate().filter(is_shown);
    shown.map(|(_, (count, name))| format!("{count} {name}")).collect::<Vec<_>>().join(" ")
}

/// `1 image`, `2 images`, `3 bodies`.
#[must_use]
pub fn count(number: impl TryInto<u64>, one: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    // `day` keeps its y.
    let stem = one.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u']));
    match stem {
        _ if number == 1 => format!("1 {one}"),
        Some(stem) => format!("{number} {stem}ies"),
        None => format!("{number} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    #[track_caller]
    fn check(seconds: i64, text: &str) {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 4000);
        assert_eq!(ago(now - SignedDuration::from_secs(seconds), now), text);
    }

    #[test]
    fn two_units_are_enough() {
        for (seconds, text) in
            [(0.0, "0 s"), (59.0, "59 s"), (580.0, "9 min 40 s"), (7200.0, "2 h"), (97_205.0, "1 d 3 h")]
        {
            assert_eq!(took(seconds), text);
        }
    }

    #[test]
    fn seconds_are_rounded_and_never_below_none() {
        for (seconds, text) in [(0.4, "0 s"), (0.5, "1 s"), (59.6, "1 min"), (-7.0, "0 s"), (f64::NAN, "0 s")]
        {
            assert_eq!(took(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn times_are_relative() {
        check(-5, "now");
        check(1, "now");
        check(59, "59 s ago");
        check(119, "119 s ago");
        check(120, "2 min ago");
        check(7200, "2 h ago");
        check(3 * 86_400 + 5, "3 d ago");
        check(800 * 86_400, "2 y ago");
    }

    #[test]
    fn things_are_counted_in_words() {
        let counted =
            [count(1_u64, "image"), count(0_usize, "image"), count(2_u64, "entry"), count(7_u64, "day")];
        assert_eq!(counted, ["1 image", "0 images", "2 entries", "7 days"]);
    }
}
