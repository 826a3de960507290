//! Values of limits as people write them: a size or a share of a whole, and `none`.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, IntoDeserializer, Visitor};
use serde::{Deserialize, Deserializer};
use storekit::{ByteSize, WrittenSize};
use thiserror::Error;

/// A number of bytes, written as a size or as a share of a whole: `20GB`, `5%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many bytes.
    Bytes(WrittenSize),
    /// A share of a whole.
    Share {
        /// In hundredths of a percent: 500 is 5 %.
        hundredths: u32,
        /// No more than this, however large the whole is. Cannot be written, only be a default.
        at_most: Option<ByteSize>,
    },
}

/// Text that is neither a size nor a share.
#[derive(Clone, Debug, Error)]
#[error(
    "{0:?} is not a size: write it like `500MB`, `10GB` (powers of 1000), `10GiB` (powers of 1024) or `5%`"
)]
pub struct NotAnAmount(String);

/// All of the whole, in hundredths of a percent.
const ALL: u32 = 10_000;

impl Amount {
    /// The bytes, of a whole of so many.
    #[must_use]
    pub fn of(self, whole: u64) -> u64 {
        match self {
            Self::Bytes(written) => written.size.0,
            Self::Share { hundredths, at_most } => {
                let share = u128::from(whole) * u128::from(hundredths) / u128::from(ALL);
                u64::try_from(share).unwrap_or(u64::MAX).min(at_most.map_or(u64::MAX, |most| most.0))
            }
        }
    }

    /// The same as plain bytes.
    #[must_use]
    pub fn settled(self, whole: u64) -> Self {
        match self {
            Self::Bytes(_) => self,
            Self::Share { .. } => Self::Bytes(WrittenSize { size: ByteSize(self.of(whole)), bare: false }),
        }
    }

    /// The size, where it was written as one.
    #[must_use]
    pub fn written(self) -> Option<WrittenSize> {
        match self {
            Self::Bytes(written) => Some(written),
            Self::Share { .. } => None,
        }
    }
}

impl FromStr for Amount {
    type Err = NotAnAmount;

    fn from_str(text: &str) -> Result<Self, NotAnAmount> {
        let wrong = || NotAnAmount(text.to_owned());
        let Some(percent) = text.trim().strip_suffix('%') else {
            return text.parse().map(Self::Bytes).map_err(|_| wrong());
        };
        // A percent has a hundred hundredths.
        let (whole, fraction) = percent.trim().split_once('.').unwrap_or((percent.trim(), ""));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let is_written = !whole.is_empty() && is_number(whole) && is_number(fraction) && fraction.len() <= 2;
        let number = if is_written { format!("{whole}{fraction:0<2}").parse().ok() } else { None };
        let hundredths = number.filter(|hundredths| *hundredths <= ALL).ok_or_else(wrong)?;
        Ok(Self::Share { hundredths, at_most: None })
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(written) => written.size.fmt(to),
            Self::Share { hundredths, at_most } => {
                let (whole, rest) = (hundredths / 100, hundredths % 100);
                let fraction = if rest == 0 { String::new() } else { format!(".{rest:02}") };
                write!(to, "{whole}{} %", fraction.trim_end_matches('0'))?;
                at_most.map_or(Ok(()), |most| write!(to, ", at most {most}"))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Written;

        impl Visitor<'_> for Written {
            type Value = Amount;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("a size or a share, such as `\"10GB\"` or `\"5%\"`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Amount, E> {
                self.visit_str(&number.to_string())
            }
        }

        from.deserialize_any(Written)
    }
}

/// What is said of a limit: a value, or that there is none, whatever a farther place says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting<T> {
    /// `none`: the limit is switched off.
    Off,
    /// The limit.
    Is(T),
}

/// The word that switches a limit off.
pub const NONE: &str = "none";

impl<T> Setting<T> {
    /// The value, where there is one.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Off => None,
            Self::Is(value) => Some(value),
        }
    }
}

impl<T: fmt::Display> fmt::Display for Setting<T> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => to.write_str(NONE),
            Self::Is(value) => value.fmt(to),
        }
    }
}

impl<T: FromStr> FromStr for Setting<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text.trim() == NONE { Ok(Self::Off) } else { text.parse().map(Self::Is) }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Setting<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(OrNone(PhantomData))
    }
}

/// Reads `none`, and hands on all else, so that errors are those of the value.
struct OrNone<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OrNone<T> {
    type Value = Setting<T>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a limit, or `\"none\"`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Setting<T>, E> {
        if text == NONE {
            return Ok(Setting::Off);
        }
        T::deserialize(text.into_deserializer()).map(Setting::Is)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Setting<T>, E> {
        T::deserialize(number.into_deserializer()).map(Setting::Is)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Setting<T>, E> {
        T::deserialize(number.into_deserializer()).map(Setting::Is)
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Setting<T>, E> {
        T::deserialize(truth.into_deserializer()).map(Setting::Is)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<Setting<T>, A::Error> {
        T::deserialize(de::value::SeqAccessDeserializer::new(list)).map(Setting::Is)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Setting<T>, A::Error> {
        T::deserialize(de::value::MapAccessDeserializer::new(map)).map(Setting::Is)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn amount(text: &str, of_a_million: Option<u64>) {
        assert_eq!(text.parse::<Amount>().ok().map(|amount| amount.of(1_000_000)), of_a_million, "{text}");
    }

    #[test]
    fn an_amount_is_a_size_or_a_share() {
        amount("5%", Some(50_000));
        amount("2.5 %", Some(25_000));
        amount("0.01%", Some(100));
        amount("100%", Some(1_000_000));
        amount("7kB", Some(7000));
        for text in ["101%", "%", "-5%", "5 percent", "1.234%", "a%", "+5%", ".5%"] {
            amount(text, None);
        }
        assert_eq!("5%".parse::<Amount>().unwrap().of(u64::MAX), u64::MAX / 20);
        let least = Amount::Share { hundredths: 500, at_most: Some(ByteSize(10)) };
        assert_eq!((least.of(100), least.of(1000)), (5, 10));
        assert_eq!(least.to_string(), "5 %, at most 10B");
        assert_eq!("2.50%".parse::<Amount>().unwrap().to_string(), "2.5 %");
    }

    #[test]
    fn none_switches_a_limit_off() {
        #[derive(Deserialize)]
        struct File {
            a: Setting<Amount>,
        }
        assert_eq!("none".parse::<Setting<Amount>>().unwrap(), Setting::Off);
        let read = |text: &str| toml::from_str::<File>(text).map(|file| file.a);
        assert_eq!(read("a = \"none\"").unwrap(), Setting::Off);
        assert_eq!(read("a = \"5%\"").unwrap().to_string(), "5 %");
        assert_eq!(read("a = 7").unwrap().to_string(), "7B");
        assert!(read("a = true").unwrap_err().to_string().contains("a size or a share"));
        assert!(read("a = \"nothing\"").unwrap_err().to_string().contains("is not a size"));
    }
}
