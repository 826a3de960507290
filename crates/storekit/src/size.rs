//! Sizes and ages as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A number of bytes; written `512`, `10kB`, `10MB`, `10GB`, `10TB` (powers of 1000) or `10KiB`, `10MiB`,
/// `10GiB`, `10TiB` (powers of 1024). A fraction is allowed: `1.5GiB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "u64")]
pub struct ByteSize(pub u64);

/// A span of time; written `90s`, `15m`, `12h`, `30d` or `2w`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Age(pub Duration);

/// Text that is neither a size nor an age.
#[derive(Clone, Debug, Error, miette::Diagnostic)]
#[error("{text:?} is not {what}")]
#[diagnostic(code(storekit::not_a_quantity), help("{help}"))]
pub struct NotAQuantity {
    text: String,
    what: &'static str,
    help: &'static str,
}

const SIZES: [(&str, u64); 11] = [
    ("", 1),
    ("b", 1),
    ("kb", 1000),
    ("mb", 1000_u64.pow(2)),
    ("gb", 1000_u64.pow(3)),
    ("tb", 1000_u64.pow(4)),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("pib", 1 << 50),
];

const AGES: [(&str, u64); 5] = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400), ("w", 604_800)];

/// Splits the number from the unit and multiplies; `None` for an unknown unit, no number, or too large a value.
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
        quantity(text, &SIZES).map(Self).ok_or_else(|| NotAQuantity {
            text: text.to_owned(),
            what: "a size",
            help: "write it like `500MB`, `10GB` (powers of 1000) or `10GiB` (powers of 1024)",
        })
    }
}

impl FromStr for Age {
    type Err = NotAQuantity;

    fn from_str(text: &str) -> Result<Self, NotAQuantity> {
        quantity(text, &AGES).map(|seconds| Self(Duration::from_secs(seconds))).ok_or_else(|| NotAQuantity {
            text: text.to_owned(),
            what: "an age",
            help: "write it like `90s`, `15m`, `12h`, `30d` or `2w`",
        })
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

/// A quantity in a settings file: a bare number of bytes or text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
}

impl TryFrom<Written> for ByteSize {
    type Error = NotAQuantity;

    fn try_from(written: Written) -> Result<Self, NotAQuantity> {
        match written {
            Written::Number(bytes) => Ok(Self(bytes)),
            Written::Text(text) => text.parse(),
        }
    }
}

impl From<ByteSize> for u64 {
    fn from(size: ByteSize) -> Self {
        size.0
    }
}

impl TryFrom<String> for Age {
    type Error = NotAQuantity;

    fn try_from(text: String) -> Result<Self, NotAQuantity> {
        text.parse()
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
        assert!("30".parse::<Age>().is_err());
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
