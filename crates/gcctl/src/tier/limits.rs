//! The limits of a place: options, else the table `[gcctl.NAME]` of a settings file.

use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use storekit::{Age, WrittenSize};
use toolkit::settings::Settings;

use crate::limits::{Limits, LimitsError, written_count};
use crate::snapshot::Image;

/// What a place may hold, and what stays whatever the limits are.
#[derive(Clone, Debug, Default)]
pub struct TierLimits {
    /// How much may stand there.
    pub limits: Limits,
    /// Names of images that stay.
    pub keep: GlobSet,
    /// Images stay that the last so many commits of each branch use.
    pub keep_refs: Option<u64>,
}

/// The table `[gcctl.NAME]`.
#[derive(Default, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "limits of a tier, such as `max-age = \"30d\"`"
)]
struct Table {
    #[serde(deserialize_with = "written_count")]
    max_images: Option<u64>,
    #[serde(deserialize_with = "written_count")]
    max_per_image: Option<u64>,
    #[serde(deserialize_with = "written_count")]
    keep_last: Option<u64>,
    max_size: Option<WrittenSize>,
    max_age: Option<Age>,
    keep: Vec<Pattern>,
    #[serde(deserialize_with = "written_count")]
    keep_refs: Option<u64>,
}

/// Names of images: `*` stands for any characters.
struct Pattern(Glob);

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Glob::new(&String::deserialize(from)?).map(Self).map_err(D::Error::custom)
    }
}

impl TierLimits {
    /// What the options say, else the table of this tier. The variables and `[gcctl]` itself are
    /// about this machine's store.
    ///
    /// # Errors
    /// Wrong settings.
    pub fn load(settings: &Settings, name: &str, options: Limits) -> Result<Self, LimitsError> {
        let table: Table = settings.table_in("gcctl", name)?;
        let written = Limits {
            max_images: table.max_images,
            max_per_image: table.max_per_image,
            keep_last: table.keep_last,
            max_size: table.max_size,
            max_age: table.max_age,
            // Nothing comes back there.
            trash_grace: Some(Age(std::time::Duration::ZERO)),
            ..Limits::default()
        };
        let mut keep = GlobSetBuilder::new();
        for Pattern(pattern) in table.keep {
            keep.add(pattern);
        }
        let keep = keep.build().map_err(|error| LimitsError::Keep { reason: error.to_string() })?;
        Ok(Self { limits: options.or(written), keep, keep_refs: table.keep_refs })
    }

    /// Whether the image stays for its name.
    #[must_use]
    pub fn keeps(&self, image: &Image) -> bool {
        let own = image.origin.image.iter().map(storekit::Remark::as_str);
        image.names.iter().map(String::as_str).chain(own).any(|name| self.keep.is_match(name))
    }
}
