//! The tables of larder.toml that one tool reads and another has to know: larder refuses what the
//! tool itself would refuse, when a file is read.
//!
//! What a limit means is gcctl's to say; of `[pkgcache]` the names of the keys are here alone.
//! Tests hold the lists of names against the types, and against the tools.

mod engine;
mod extra;
mod limit;
mod names;

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};
use storekit::{Age, WrittenSize};
use thiserror::Error;

use crate::amount::{Amount, Setting};
pub use engine::{ENGINE, ENGINES, EngineLimit};
pub use extra::{EXTRA, Extra, ExtraKind};
pub use limit::{BadLimit, ECOSYSTEMS, Kind, LIMIT, Limit, Order, Selector, ecosystem};
pub use names::{TABLES, unknown_table};

/// `[gcctl]`, without the tables of tiers in it: what a store may hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "limits, such as `max-size = \"20GB\"`"
)]
#[expect(missing_docs, reason = "gcctl's `Limits` says what each is")]
pub struct StoreLimits {
    pub max_images: Option<Setting<Count>>,
    pub max_disks: Option<Setting<Count>>,
    pub max_per_image: Option<Setting<Count>>,
    pub keep_last: Option<Setting<Count>>,
    pub max_size: Option<Setting<WrittenSize>>,
    pub max_age: Option<Setting<Age>>,
    pub min_free: Option<Setting<Amount>>,
    pub reserved: Option<Setting<Amount>>,
    pub high: Option<Setting<Amount>>,
    pub low: Option<Setting<Amount>>,
    pub order: Option<Order>,
    pub trash_grace: Option<Age>,
    /// Limits of some things.
    pub limit: Vec<Limit>,
    /// What goes of engines' own stores.
    pub engine: Vec<EngineLimit>,
    /// Not a limit: `larder bake` reads it.
    pub after_bake: Option<bool>,
    /// Not a limit: whether what fills the store has it collected in the background.
    pub background: Option<bool>,
}

/// `[gcctl.NAME]`: what a tier may hold. `P` is a pattern of names.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    bound = "P: Deserialize<'de>",
    expecting = "limits of a tier, such as `max-age = \"30d\"`"
)]
#[expect(missing_docs, reason = "gcctl's `Limits` says what each is")]
pub struct TierLimits<P> {
    #[serde(deserialize_with = "written_count")]
    pub max_images: Option<u64>,
    #[serde(deserialize_with = "written_count")]
    pub max_per_image: Option<u64>,
    #[serde(deserialize_with = "written_count")]
    pub keep_last: Option<u64>,
    pub max_size: Option<WrittenSize>,
    pub max_age: Option<Age>,
    /// Names of images that stay.
    pub keep: Vec<P>,
    /// Images stay that the last so many commits of each branch use.
    #[serde(deserialize_with = "written_count")]
    pub keep_refs: Option<u64>,
}

impl<P> Default for TierLimits<P> {
    fn default() -> Self {
        Self {
            max_images: None,
            max_per_image: None,
            keep_last: None,
            max_size: None,
            max_age: None,
            keep: Vec::new(),
            keep_refs: None,
        }
    }
}

/// Text that is not a number of images.
#[derive(Clone, Debug, Error)]
#[error("{0:?} is not a number of images: write a whole number, 0 or more")]
pub struct NotACount(String);

/// Reads a number of images.
///
/// # Errors
/// [`NotACount`].
pub fn count(text: &str) -> Result<u64, NotACount> {
    u64::from_str(text.trim()).map_err(|_| NotACount(text.to_owned()))
}

/// A number of things, as it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count(pub u64);

impl FromStr for Count {
    type Err = NotACount;

    fn from_str(text: &str) -> Result<Self, NotACount> {
        count(text).map(Self)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(to)
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        written_count(from).map(|count| Self(count.unwrap_or_default()))
    }
}

/// A number of images in a settings file.
fn written_count<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    struct Count;

    impl Visitor<'_> for Count {
        type Value = u64;

        fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str("a number of images: write a whole number, 0 or more")
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<u64, E> {
            count(&number.to_string()).map_err(E::custom)
        }
    }

    from.deserialize_any(Count).map(Some)
}

/// The keys of `[gcctl]` that are lists of tables. With one bracket each would be the table of a
/// tier of that name.
pub const LISTS: &[&str] = &["limit", "engine"];

/// The keys of `[gcctl]`; a table in it is a tier's.
pub const GCCTL: &[&str] = &[
    "max-images",
    "max-disks",
    "max-per-image",
    "keep-last",
    "max-size",
    "max-age",
    "min-free",
    "reserved",
    "high",
    "low",
    "order",
    "trash-grace",
    "limit",
    "engine",
    "after-bake",
    "background",
];

/// The keys of `[gcctl.NAME]`: what a tier may hold.
pub const GCCTL_TIER: &[&str] =
    &["max-images", "max-per-image", "keep-last", "max-size", "max-age", "keep", "keep-refs"];

/// The keys of `[pkgcache]`.
pub const PKGCACHE: &[&str] = &[
    "listen",
    "socket-mode",
    "upstream",
    "registry",
    "allow",
    "tunnel",
    "intercept",
    "allow-private",
    "parent",
    "offline",
    "heuristic-freshness",
    "keep-cookies",
    "ttl",
    "index-ttl",
    "stale-window",
    "allow-remote",
    "clients",
    "token-file",
    "max-object",
    "max-connections",
    "max-connections-per-client",
    "head-time",
    "idle-time",
    "answer-time",
    "drain-time",
    "access-log",
    "keep-events",
    "guards",
    "remote",
    "max-size",
    "max-age",
    "models-max-age",
];
