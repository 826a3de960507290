//! HTTP dates: the three forms to read, the one to write. Source: RFC 9110, 5.6.7.
//!
//! Names of days and months are read in any case; everything else has to be exact. Whether the day
//! of the week fits the date is not looked at.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
/// Years of two digits from here on are in the last century.
const PIVOT: i16 = 77;

/// Seconds since 1970, `None` for what is not a date.
#[must_use]
pub(crate) fn parse(text: &str) -> Option<i64> {
    let text = text.trim_matches([' ', '\t']).to_ascii_lowercase();
    match text.split_once(", ") {
        Some((day, rest)) if DAYS.iter().any(|name| name.get(..3) == Some(day)) => imf(rest),
        Some((day, rest)) if DAYS.contains(&day) => rfc850(rest),
        None => asctime(&text),
        Some(_) => None,
    }
}

/// `06 nov 1994 08:49:37 gmt`
fn imf(text: &str) -> Option<i64> {
    let [day, month, year, time, "gmt"] = parts(text)? else { return None };
    instant(digits(year, 4)?, month, digits(day, 2)?, time)
}

/// `06-nov-94 08:49:37 gmt`
fn rfc850(text: &str) -> Option<i64> {
    let [date, time, "gmt"] = parts(text)? else { return None };
    let (day, rest) = date.split_once('-')?;
    let (month, year) = rest.split_once('-')?;
    let year = digits(year, 2)?;
    let century = if year < PIVOT { 2000 } else { 1900 };
    instant(century + year, month, digits(day, 2)?, time)
}

/// `sun nov  6 08:49:37 1994`
fn asctime(text: &str) -> Option<i64> {
    let (day_name, rest) = (text.get(..3)?, text.get(3..)?);
    let month = rest.strip_prefix(' ')?.get(..3)?;
    let day = rest.get(4..)?.strip_prefix(' ')?.get(..2)?;
    let [time, year] = parts(rest.get(7..)?.strip_prefix(' ')?)?;
    let day = day.strip_prefix(' ').map_or_else(|| digits(day, 2), |day| digits(day, 1))?;
    DAYS.iter().any(|name| name.get(..3) == Some(day_name)).then_some(())?;
    instant(digits(year, 4)?, month, day, time)
}

fn parts<const N: usize>(text: &str) -> Option<[&str; N]> {
    text.split(' ').collect::<Vec<_>>().try_into().ok()
}

fn digits(text: &str, count: usize) -> Option<i16> {
    let right = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    right.then(|| text.parse().ok()).flatten()
}

fn instant(year: i16, month: &str, day: i16, time: &str) -> Option<i64> {
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let mut clock = time.splitn(3, ':').map(|part| digits(part, 2));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let small = |number: i16| i8::try_from(number).ok();
    // A leap second is the second before.
    let second = second.min(59);
    let civil = DateTime::new(
        year,
        i8::try_from(month).ok()?,
        small(day)?,
        small(hour)?,
        small(minute)?,
        small(second)?,
        0,
    );
    Some(civil.ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

/// The date as it is sent: `Sun, 06 Nov 1994 08:49:37 GMT`.
#[must_use]
pub(crate) fn format(seconds: i64) -> String {
    let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<i64>) {
        assert_eq!(parse(text), expected, "{text}");
    }

    #[test]
    fn the_three_forms_are_read() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "SUN, 06 NOV 1994 08:49:37 gMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            check(text, Some(784_111_777));
        }
        check("Thursday, 18-Aug-50 02:01:18 GMT", Some(2_544_400_878));
        check("Sun, 21 Nov 2286 04:46:39 GMT", Some(10_000_039_599));
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "0",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 31 Feb 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 25:01:18 GMT",
            "Foo, 18 Aug 2050 02:01:18 GMT",
            "Thu, +8 Aug 2050 02:01:18 GMT",
            "Sun Nov ü6 08:49:37 1994",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn a_date_is_written_as_it_is_read() {
        assert_eq!(format(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        check(&format(1_893_456_000), Some(1_893_456_000));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            let _ = parse(&text);
        }
    }
}
