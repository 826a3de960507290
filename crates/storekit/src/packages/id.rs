//! What events call an entry.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use crate::Digest;

/// What events call an entry: the beginning of the digest in the name of its file, 16 hexadecimal
/// digits. They tell apart all entries that a store will ever have, and say nothing of their URLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageId(u64);

impl PackageId {
    /// Of the entry whose file has this digest in its name.
    #[must_use]
    pub fn of(name: &Digest) -> Self {
        Self(name.bytes().first_chunk().map_or(0, |first| u64::from_be_bytes(*first)))
    }
}

impl fmt::Display for PackageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for PackageId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_beginning_of_the_name_of_the_file() {
        let name = Digest::of(b"https://files.example/a");
        let id = PackageId::of(&name);
        assert!(name.hex().starts_with(&id.to_string()) && id.to_string().len() == 16);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(PackageId(7).to_string().parse(), Ok(PackageId(7)));
        for text in ["", "x", "12345678901234567"] {
            assert!(text.parse::<PackageId>().is_err(), "{text}");
        }
    }
}
