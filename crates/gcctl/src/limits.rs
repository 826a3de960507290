//! The limits of a store: flag > `LARDER_*` variable > `[gcctl]` and `[pkgcache]` of a settings
//! file > none.

use std::fmt::Display;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use storekit::{Age, ByteSize, WrittenSize};
use thiserror::Error;
use toolkit::settings::{Settings, SettingsError};
use toolkit::tables::{StoreLimits, count};

/// How long removed things stay in the trash, unless another time is said.
pub const TRASH_GRACE: Age = Age(Duration::from_secs(24 * 3600));

/// A limit of bytes without a unit that is smaller than this may be one whose unit was forgotten: 1
/// MB.
const SMALL: ByteSize = ByteSize(1_000_000);

/// What a store may hold. What is `None` has no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// How many images. What refers to an image (a signature, an SBOM) does not count; disks do,
    /// where they have no limit of their own.
    pub max_images: Option<u64>,
    /// How many disks.
    pub max_disks: Option<u64>,
    /// How many images of one name.
    pub max_per_image: Option<u64>,
    /// How many images of each name stay whatever the other limits are: the last used ones.
    pub keep_last: Option<u64>,
    /// How many bytes on disk: images, packages, what nothing needs, unfinished files and trash.
    pub max_size: Option<WrittenSize>,
    /// How long an image, or a package, may stay unused.
    pub max_age: Option<Age>,
    /// How many bytes of package downloads.
    pub packages_max_size: Option<WrittenSize>,
    /// How long a package may stay unused, where that is not as long as an image may.
    pub packages_max_age: Option<Age>,
    /// How long a model may stay unused, where that is not as long as another package may.
    pub models_max_age: Option<Age>,
    /// How many bytes stay free on the file system.
    pub min_free: Option<WrittenSize>,
    /// How long removed things could be brought back; [`TRASH_GRACE`] where nothing is said.
    pub trash_grace: Option<Age>,
}

/// Of the table `[pkgcache]`, what is a limit. All else in it is pkgcache's to judge.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, expecting = "settings, such as `max-size = \"10GB\"`")]
struct PackageTable {
    max_size: Option<WrittenSize>,
    max_age: Option<Age>,
    models_max_age: Option<Age>,
}

/// A variable with a wrong value, or wrong settings.
#[derive(Debug, Error, miette::Diagnostic)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum LimitsError {
    /// A settings file.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Settings(#[from] SettingsError),
    /// A variable.
    #[error("the variable `{name}` is wrong: {reason}")]
    #[diagnostic(code(gcctl::variable), help("correct it, or unset it"))]
    Variable { name: &'static str, reason: String },
    /// Patterns of names that are too many, or too large together.
    #[error("the patterns of `keep` cannot be used: {reason}")]
    #[diagnostic(code(gcctl::keep), help("write fewer of them"))]
    Keep { reason: String },
}

impl Limits {
    /// What the variables and the settings files say.
    ///
    /// # Errors
    /// Wrong values in either.
    pub fn load(settings: &Settings) -> Result<Self, LimitsError> {
        let variables = Self {
            max_images: variable(settings, "LARDER_MAX_IMAGES", count)?,
            max_disks: variable(settings, "LARDER_MAX_DISKS", count)?,
            max_per_image: variable(settings, "LARDER_MAX_PER_IMAGE", count)?,
            keep_last: variable(settings, "LARDER_KEEP_LAST", count)?,
            packages_max_size: variable(settings, "LARDER_PKGCACHE_MAX_SIZE", str::parse)?,
            packages_max_age: variable(settings, "LARDER_PKGCACHE_MAX_AGE", str::parse)?,
            models_max_age: variable(settings, "LARDER_PKGCACHE_MODELS_MAX_AGE", str::parse)?,
            max_size: variable(settings, "LARDER_MAX_SIZE", str::parse)?,
            max_age: variable(settings, "LARDER_MAX_AGE", str::parse)?,
            min_free: variable(settings, "LARDER_MIN_FREE", str::parse)?,
            trash_grace: variable(settings, "LARDER_TRASH_GRACE", str::parse)?,
        };
        Ok(variables.or(Self::of_tables(&settings.values("gcctl")?, &settings.table("pkgcache")?)))
    }

    fn of_tables(table: &StoreLimits, packages: &PackageTable) -> Self {
        Self {
            max_images: table.max_images,
            max_disks: table.max_disks,
            max_per_image: table.max_per_image,
            keep_last: table.keep_last,
            max_size: table.max_size,
            max_age: table.max_age,
            packages_max_size: packages.max_size,
            packages_max_age: packages.max_age,
            models_max_age: packages.models_max_age,
            min_free: table.min_free,
            trash_grace: table.trash_grace,
        }
    }

    /// These limits; the others where these say nothing.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            max_images: self.max_images.or(others.max_images),
            max_disks: self.max_disks.or(others.max_disks),
            max_per_image: self.max_per_image.or(others.max_per_image),
            keep_last: self.keep_last.or(others.keep_last),
            packages_max_size: self.packages_max_size.or(others.packages_max_size),
            packages_max_age: self.packages_max_age.or(others.packages_max_age),
            models_max_age: self.models_max_age.or(others.models_max_age),
            max_size: self.max_size.or(others.max_size),
            max_age: self.max_age.or(others.max_age),
            min_free: self.min_free.or(others.min_free),
            trash_grace: self.trash_grace.or(others.trash_grace),
        }
    }

    /// How long removed things could be brought back.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.trash_grace.unwrap_or(TRASH_GRACE).0
    }

    /// Whether no limit is set. How long the trash is kept, and what stays in any case, do not
    /// count as one.
    #[must_use]
    pub fn is_none(&self) -> bool {
        Self { trash_grace: None, keep_last: None, ..*self } == Self::default()
    }

    /// Whether these limits are a reason for something to go that goes for `why`.
    #[must_use]
    pub fn allow(&self, why: Why) -> bool {
        match why {
            Why::MaxAge => self.max_age.is_some(),
            Why::MaxImages => self.max_images.is_some(),
            Why::MaxDisks => self.max_disks.is_some(),
            Why::MaxPerImage => self.max_per_image.is_some(),
            Why::PackagesMaxAge => self.packages_max_age.is_some(),
            Why::ModelsMaxAge => self.models_max_age.is_some(),
            Why::PackagesMaxSize => self.packages_max_size.is_some(),
            Why::MaxSize => self.max_size.is_some(),
            Why::MinFree => self.min_free.is_some(),
            Why::Clean => self.is_none(),
            Why::TrashGrace | Why::Subject => true,
        }
    }

    /// Whether with these limits something may be deleted at once, and not moved to the trash.
    #[must_use]
    pub fn may_delete_at_once(&self) -> bool {
        self.grace().is_zero() || self.max_size.is_some() || self.min_free.is_some()
    }

    /// The limit of bytes that looks as if its unit was forgotten. `min-free = 0` asks for nothing,
    /// and is meant so.
    #[must_use]
    pub fn without_unit(&self) -> Option<(Why, ByteSize)> {
        let free = self.min_free.filter(|free| free.size.0 > 0);
        let packages = (Why::PackagesMaxSize, self.packages_max_size);
        let limits = [(Why::MaxSize, self.max_size), (Why::MinFree, free), packages];
        let mut bare =
            limits.into_iter().filter_map(|(why, limit)| Some((why, limit.filter(|it| it.bare)?.size)));
        bare.find(|(_, size)| *size < SMALL)
    }
}

fn variable<T, E: Display>(
    settings: &Settings,
    name: &'static str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Option<T>, LimitsError> {
    let text = settings.environment().get(name);
    text.map(parse).transpose().map_err(|error| LimitsError::Variable { name, reason: error.to_string() })
}

/// Which limit a thing goes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Unused for longer than the age limit.
    MaxAge,
    /// More images than the limit.
    MaxImages,
    /// More disks than the limit.
    MaxDisks,
    /// More images of one name than the limit.
    MaxPerImage,
    /// A package, unused for longer than the age limit of packages.
    PackagesMaxAge,
    /// A model, unused for longer than the age limit of models.
    ModelsMaxAge,
    /// More bytes of packages than the limit.
    PackagesMaxSize,
    /// More bytes than the limit.
    MaxSize,
    /// Too few bytes free on the file system.
    MinFree,
    /// In the trash for longer than its grace.
    TrashGrace,
    /// All is to go.
    Clean,
    /// The image that it refers to goes.
    Subject,
}

impl Why {
    /// Whether it is a limit of bytes: what goes for it is deleted at once.
    #[must_use]
    pub fn is_of_bytes(self) -> bool {
        matches!(self, Self::MaxSize | Self::MinFree | Self::PackagesMaxSize)
    }

    /// As it is written in JSON and, for a limit, as the option.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxAge => "max-age",
            Self::MaxImages => "max-images",
            Self::MaxDisks => "max-disks",
            Self::MaxPerImage => "max-per-image",
            Self::PackagesMaxAge => "packages-max-age",
            Self::ModelsMaxAge => "models-max-age",
            Self::PackagesMaxSize => "packages-max-size",
            Self::MaxSize => "max-size",
            Self::MinFree => "min-free",
            Self::TrashGrace => "trash-grace",
            Self::Clean => "clean",
            Self::Subject => "subject",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use toolkit::settings::Environment;

    fn load(toml: &str, variables: &[(&str, &str)]) -> Result<Limits, LimitsError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("larder.toml"), toml).unwrap();
        let folder = camino::Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Limits::load(&Settings::load(Environment { folder, variables }))
    }

    #[test]
    fn a_variable_goes_before_the_file() {
        let toml = "[gcctl]\nmax-images = 5\nmax-size = \"1GB\"\nmax-age = \"30d\"\nmin-free = 1000\n";
        let limits = load(toml, &[("LARDER_MAX_IMAGES", "2"), ("LARDER_TRASH_GRACE", "1h")]).unwrap();
        let expected = Limits {
            max_images: Some(2),
            max_size: Some("1GB".parse().unwrap()),
            max_age: Some("30d".parse().unwrap()),
            min_free: Some(WrittenSize { size: ByteSize(1000), bare: true }),
            trash_grace: Some("1h".parse().unwrap()),
            ..Limits::default()
        };
        assert_eq!(limits, expected);
        assert_eq!(limits.grace(), Duration::from_secs(3600));
    }

    #[track_caller]
    fn wrong(toml: &str, variables: &[(&str, &str)], word: &str) {
        let message = load(toml, variables).unwrap_err().to_string();
        assert!(message.contains(word), "{message}");
        for rust in ["untagged", "variant", "struct ", "u64", "invalid digit"] {
            assert!(!message.contains(rust), "{message}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        wrong("[gcctl]\nmax-pictures = 1\n", &[], "max-pictures");
        wrong("[gcctl]\nmax-images = -1\n", &[], "larder.toml");
        wrong("[gcctl]\nmax-images = -1\n", &[], "\"-1\" is not a number of images");
        wrong("[gcctl]\nmax-images = \"3\"\n", &[], "expected a number of images");
        wrong("[gcctl]\nmax-size = true\n", &[], "expected a size");
        wrong("[gcctl]\nmin-free = \"1ZB\"\n", &[], "\"1ZB\" is not a size");
        wrong("[gcctl]\nmax-age = 30\n", &[], "\"30\" is not an age");
        wrong("gcctl = 3\n", &[], "expected limits");
        wrong("", &[("LARDER_MAX_SIZE", "many")], "LARDER_MAX_SIZE");
        wrong("", &[("LARDER_MAX_IMAGES", "1.5")], "\"1.5\" is not a number of images");
    }

    #[test]
    fn larder_knows_the_keys() {
        let message = load("[gcctl]\nno-such-key = 1\n", &[]).unwrap_err().to_string();
        let (_, expected) = message.split_once("expected one of ").unwrap();
        let names: Vec<_> = expected.split('`').skip(1).step_by(2).collect();
        assert_eq!(names, toolkit::tables::GCCTL);
    }

    #[track_caller]
    fn unit(toml: &str, forgotten: Option<Why>) {
        let found = load(&format!("[gcctl]\n{toml}\n"), &[]).unwrap().without_unit();
        assert_eq!(found.map(|(why, _)| why), forgotten, "{toml}");
    }

    #[test]
    fn a_small_limit_without_a_unit_is_doubtful() {
        unit("max-size = 10", Some(Why::MaxSize));
        unit("max-size = \"10\"", Some(Why::MaxSize));
        unit("min-free = 10", Some(Why::MinFree));
        unit("max-size = \"10B\"", None);
        unit("max-size = 1000000", None);
        unit("min-free = 0", None);
    }
}
