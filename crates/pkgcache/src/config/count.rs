//! Numbers in larder.toml that say how many of something there may be.

use std::fmt;

use serde::Deserializer;
use serde::de::{Error, Unexpected, Visitor};

/// A number of these.
struct Count(&'static str);

impl Visitor<'_> for Count {
    type Value = usize;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "a number of {}: write a whole number, 1 or more", self.0)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<usize, E> {
        usize::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
    }
}

/// A number of connections.
pub(super) fn connections<'de, D: Deserializer<'de>>(from: D) -> Result<Option<usize>, D::Error> {
    from.deserialize_any(Count("connections")).map(Some)
}

/// A number of requests.
pub(super) fn requests<'de, D: Deserializer<'de>>(from: D) -> Result<Option<usize>, D::Error> {
    from.deserialize_any(Count("requests")).map(Some)
}
