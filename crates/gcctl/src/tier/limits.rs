//! The limits of a place: options, else the table `[gcctl.NAME]` of a settings file.

use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use storekit::Age;
use storekit::image_name::spellings;
use toolkit::amount::Setting;
use toolkit::settings::Settings;
use toolkit::tables::{self, Count};

use crate::limits::scoped::pattern;
use crate::limits::{Layer, Limits, LimitsError};
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

/// Names of images: `*` stands for any characters.
struct Pattern(Glob);

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        pattern(&String::deserialize(from)?).map(Self).map_err(D::Error::custom)
    }
}

impl TierLimits {
    /// What the options say, else the table of this tier. The variables and `[gcctl]` itself are
    /// about this machine's store.
    ///
    /// # Errors
    /// Wrong settings.
    pub fn load(settings: &Settings, name: &str, options: Layer) -> Result<Self, LimitsError> {
        let table: tables::TierLimits<Pattern> = settings.table_in("gcctl", name)?;
        let count = |count: Option<u64>| count.map(|count| Setting::Is(Count(count)));
        let written = Layer {
            max_images: count(table.max_images),
            max_per_image: count(table.max_per_image),
            keep_last: count(table.keep_last),
            max_size: table.max_size.map(Setting::Is),
            max_age: table.max_age.map(Setting::Is),
            // Nothing comes back there.
            trash_grace: Some(Age(std::time::Duration::ZERO)),
            ..Layer::default()
        };
        let mut keep = GlobSetBuilder::new();
        for Pattern(pattern) in table.keep {
            keep.add(pattern);
        }
        let keep = keep.build().map_err(|error| LimitsError::Keep { reason: error.to_string() })?;
        Ok(Self { limits: options.or(written).limits(), keep, keep_refs: table.keep_refs })
    }

    /// Whether the image stays for its name.
    #[must_use]
    pub fn keeps(&self, image: &Image) -> bool {
        let mut own = image.origin.image.iter().map(storekit::Remark::as_str);
        let mut names = image.names.iter().flat_map(|name| spellings(name));
        own.any(|name| self.keep.is_match(name)) || names.any(|name| self.keep.is_match(&*name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Why;
    use toolkit::settings::Environment;

    fn load(toml: &str, options: Layer) -> Result<TierLimits, LimitsError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("larder.toml"), toml).unwrap();
        let folder = camino::Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        let variables = [("LARDER_MAX_IMAGES".into(), "9".into())].into();
        TierLimits::load(&Settings::load(Environment { folder, variables }), "team", options)
    }

    #[test]
    fn a_tier_has_limits_of_its_own() {
        let toml = "[gcctl]\nmax-size = \"1GB\"\n[gcctl.team]\nmax-per-image = 2\nkeep = [\"*:v*\"]\n";
        let options = Layer { max_age: Some("1d".parse().unwrap()), ..Layer::default() };
        let found = load(toml, options).unwrap();
        let set =
            [Why::MaxAge, Why::MaxPerImage, Why::MaxSize, Why::MaxImages].map(|why| found.limits.allow(why));
        assert_eq!(set, [true, true, false, false]);
        assert!(found.keep.is_match("host/app:v1.2") && !found.keep.is_match("host/app:dev"));
        assert!(load("[gcctl]\nmax-images = 1\n", Layer::default()).unwrap().limits.is_none());
    }

    #[test]
    fn larder_knows_the_keys() {
        let message = load("[gcctl.team]\nno-such-key = 1\n", Layer::default()).unwrap_err().to_string();
        let (_, expected) = message.split_once("expected one of ").unwrap();
        let names: Vec<_> = expected.split('`').skip(1).step_by(2).collect();
        assert_eq!(names, toolkit::tables::GCCTL_TIER);
        load("[gcctl.team]\nkeep = [\"[\"]\n", Layer::default()).unwrap_err();
    }
}
