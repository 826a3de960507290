//! Sizes and ages as people write them.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

/// A number of bytes; written `512`, `10kB`, `10MB`, `10GB`, `10TB`, `10PB`, `10EB` (powers of
/// 1000) or `10KiB`, `10MiB`, `10GiB`, `10TiB`, `10PiB`, `10EiB` (powers of 1024). A fraction is
/// allowed: `1.5GiB`. In a settings file, a bare number is bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "u64")]
pub struct ByteSize(pub u64);

/// A span of time; written `90s`, `15m` (or `15min`), `12h`, `30d`, `2w` or `1y` (365 days).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age(pub Duration);

/// A size as it was written: a limit without a unit may be one whose unit was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WrittenSize {
    /// The number of bytes that was written.
    pub size: ByteSize,
    /// Whether it was written without a unit.
    pub bare: bool,
}

impl FromStr for WrittenSize {
    type Err = NotAQuantity;

    fn from_str(text: &str) -> Result<Self, NotAQuantity> {
        Ok(Self { size: text.parse()?, bare: !text.contains(|c: char| c.is_ascii_alphabetic()) })
    }
}

/// Text that is neither a size nor an age. Its message says how one is written.
#[derive(Clone, Debug, Error, miette::Diagnostic)]
#[error("{text:?} is not {what}")]
#[diagnostic(code(storekit::not_a_quantity))]
pub struct NotAQuantity {
    text: String,
    what: &'static str,
}

const SIZE: &str = "a size: write it like `500MB`, `10GB` (powers of 1000) or `10GiB` (powers of 1024)";
const AGE: &str = "an age: write it like `90s`, `15m`, `12h`, `30d` or `2w`, up to a hundred years";

/// A hundred years, in seconds.
const LONGEST: u64 = 36_525 * 86_400;

const SIZES: [(&str, u64); 14] = [
    ("", 1),
    ("b", 1),
    ("kb", 1000),
    ("mb", 1000_u64.pow(2)),
    ("gb", 1000_u64.pow(3)),
    ("tb", 1000_u64.pow(4)),
    ("pb", 1000_u64.pow(5)),
    ("eb", 1000_u64.pow(6)),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("pib", 1 << 50),
    ("eib", 1 << 60),
];

const AGES: [(&str, u64); 7] =
    [("s", 1), ("m", 60), ("min", 60), ("h", 3600), ("d", 86_400), ("w", 604_800), ("y", 365 * 86_400)];

/// Splits the number from the unit and multiplies; `None` for an unknown unit, no number, or too
/// large a value.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim().to_ascii_lowercase();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    scaled(number, *factor)
}

/// `number` × `factor`, exactly for whole numbers, rounded down for fractions.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = u32::try_from(fraction.len()).ok().filter(|digits| *digits <= 9)?;
    let whole: u64 = whole.parse().ok()?;
    let fraction: u64 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let part = u128::from(fraction) * u128::from(factor) / 10_u128.pow(digits);
    whole.checked_mul(factor)?.checked_add(u64::try_from(part).ok()?)
}

impl FromStr for ByteSize {
    type Err = NotAQuantity;

    fn from_str(text: &str) -> Result<Self, NotAQuantity> {
        quantity(text, &SIZES).map(Self).ok_or_else(|| NotAQuantity { text: text.to_owned(), what: SIZE })
    }
}

impl FromStr for Age {
    type Err = NotAQuantity;

    fn from_str(text: &str) -> Result<Self, NotAQuantity> {
        // No clock can be set forward by every number of seconds that fits.
        let seconds = quantity(text, &AGES).filter(|seconds| *seconds <= LONGEST);
        let age = seconds.map(|seconds| Self(Duration::from_secs(seconds)));
        age.ok_or_else(|| NotAQuantity { text: text.to_owned(), what: AGE })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&in_units(self.0, &["kB", "MB", "GB", "TB", "PB", "EB"]))
    }
}

/// Three significant digits in powers of 1000, as engines print sizes: `999B`, `1.23MB`, `456MB`.
fn in_units(bytes: u64, units: &[&str]) -> String {
    if bytes < 1000 {
        return format!("{bytes}B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64 / 1000.0;
    let mut units = units.iter();
    let mut unit = units.next();
    while value >= 999.5 {
        value /= 1000.0;
        unit = units.next();
    }
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$}{}", unit.unwrap_or(&"EB"))
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Written(SIZE, PhantomData))
    }
}

impl<'de> Deserialize<'de> for WrittenSize {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Written(SIZE, PhantomData))
    }
}

impl<'de> Deserialize<'de> for Age {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Written(AGE, PhantomData))
    }
}

/// A quantity in a settings file: text, or a number that is read as its digits are. Its errors are
/// those of the text.
struct Written<T>(&'static str, PhantomData<T>);

impl<T: FromStr<Err = NotAQuantity>> Visitor<'_> for Written<T> {
    type Value = T;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

impl From<ByteSize> for u64 {
    fn from(size: ByteSize) -> Self {
        size.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn size(text: &str, bytes: Option<u64>) {
        assert_eq!(text.parse::<ByteSize>().ok(), bytes.map(ByteSize), "{text}");
    }

    #[test]
    fn an_age_ends_with_a_hundred_years() {
        assert!("36525d".parse::<Age>().is_ok());
        for text in ["36526d", "18446744073709551615s"] {
            assert!(text.parse::<Age>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_in_both_systems() {
        size("0", Some(0));
        size("10GB", Some(10_000_000_000));
        size("10 GiB", Some(10 << 30));
        size("1.5kib", Some(1536));
        size("0.1GB", Some(100_000_000));
        for text in ["", "GB", "10XB", "-1", "1.2.3MB", "1e3", "99999999999TB", "1,5GB", "10 G B"] {
            size(text, None);
        }
    }

    #[test]
    fn ages_are_read() {
        assert_eq!("30d".parse::<Age>().unwrap().0, Duration::from_secs(30 * 86_400));
        assert_eq!("5 min".parse::<Age>().unwrap(), "5m".parse().unwrap());
        assert!("30".parse::<Age>().is_err());
    }

    #[test]
    fn every_unit_that_is_printed_is_read() {
        for power in 0..=18 {
            let size = ByteSize(10_u64.pow(power));
            assert_eq!(size.to_string().parse::<ByteSize>().unwrap(), size, "{size}");
        }
        size("1PB", Some(10_u64.pow(15)));
        size("2EiB", Some(2 << 60));
    }

    #[track_caller]
    fn wrong<T: serde::de::DeserializeOwned + fmt::Debug>(value: &str, message: &str) {
        let error =
            toml::from_str::<std::collections::BTreeMap<String, T>>(&format!("x = {value}")).unwrap_err();
        assert!(error.message().starts_with(message), "{}", error.message());
        assert!(error.message().contains(": write it like `"), "{}", error.message());
    }

    #[test]
    fn what_is_wrong_in_a_settings_file_is_said_in_words() {
        wrong::<ByteSize>("\"many\"", "\"many\" is not a size");
        wrong::<ByteSize>("-1", "\"-1\" is not a size");
        wrong::<ByteSize>("true", "invalid type: boolean `true`, expected a size");
        wrong::<Age>("30", "\"30\" is not an age");
        wrong::<Age>("[]", "invalid type: sequence, expected an age");
    }

    #[test]
    fn sizes_are_printed_with_three_digits() {
        let cases = [
            (999, "999B"),
            (1000, "1.00kB"),
            (9_999, "10.0kB"),
            (99_990, "100kB"),
            (999_600, "1.00MB"),
            (1_234_567, "1.23MB"),
            (u64::MAX, "18.4EB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }
}
