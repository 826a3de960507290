//! The limits of a store: flag > `LARDER_*` variable > `[gcctl]` of a settings file > none.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use storekit::{Age, ByteSize};
use thiserror::Error;
use toolkit::settings::{Settings, SettingsError};

/// How long removed things stay in the trash, unless another time is said.
pub const TRASH_GRACE: Age = Age(Duration::from_secs(24 * 3600));

/// What a store may hold. What is `None` has no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Limits {
    /// How many images.
    pub max_images: Option<u64>,
    /// How many bytes on disk: images, what nothing needs, unfinished files and trash.
    pub max_size: Option<ByteSize>,
    /// How long an image may stay unused.
    pub max_age: Option<Age>,
    /// How many bytes stay free on the file system.
    pub min_free: Option<ByteSize>,
    /// How long removed things could be brought back; [`TRASH_GRACE`] where nothing is said.
    pub trash_grace: Option<Age>,
}

/// A variable with a wrong value, or wrong settings.
#[derive(Debug, Error, miette::Diagnostic)]
pub enum LimitsError {
    /// A settings file.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Settings(#[from] SettingsError),
    /// A variable.
    #[error("the variable `{name}` is wrong: {reason}")]
    #[diagnostic(code(gcctl::variable), help("correct it, or unset it"))]
    Variable {
        /// Its name.
        name: &'static str,
        /// Why.
        reason: String,
    },
}

impl Limits {
    /// What the variables and the settings files say.
    ///
    /// # Errors
    /// Wrong values in either.
    pub fn load(settings: &Settings) -> Result<Self, LimitsError> {
        let variables = Self {
            max_images: variable(settings, "LARDER_MAX_IMAGES")?,
            max_size: variable(settings, "LARDER_MAX_SIZE")?,
            max_age: variable(settings, "LARDER_MAX_AGE")?,
            min_free: variable(settings, "LARDER_MIN_FREE")?,
            trash_grace: variable(settings, "LARDER_TRASH_GRACE")?,
        };
        Ok(variables.or(settings.table("gcctl")?))
    }

    /// These limits; the others where these say nothing.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            max_images: self.max_images.or(others.max_images),
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
}

fn variable<T: FromStr<Err: std::fmt::Display>>(
    settings: &Settings,
    name: &'static str,
) -> Result<Option<T>, LimitsError> {
    let text = settings.environment().get(name);
    text.map(str::parse)
        .transpose()
        .map_err(|error: T::Err| LimitsError::Variable { name, reason: error.to_string() })
}

/// Which limit a thing goes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Unused for longer than the age limit.
    MaxAge,
    /// More images than the limit.
    MaxImages,
    /// More bytes than the limit.
    MaxSize,
    /// Too few bytes free on the file system.
    MinFree,
    /// In the trash for longer than its grace.
    TrashGrace,
    /// All is to go.
    Clean,
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
            max_size: Some(ByteSize(1_000_000_000)),
            max_age: Some("30d".parse().unwrap()),
            min_free: Some(ByteSize(1000)),
            trash_grace: Some("1h".parse().unwrap()),
        };
        assert_eq!(limits, expected);
        assert_eq!(limits.grace(), Duration::from_secs(3600));
    }

    #[track_caller]
    fn wrong(toml: &str, variables: &[(&str, &str)], word: &str) {
        let message = load(toml, variables).unwrap_err().to_string();
        assert!(message.contains(word), "{message}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        wrong("[gcctl]\nmax-pictures = 1\n", &[], "max-pictures");
        wrong("[gcctl]\nmax-images = -1\n", &[], "larder.toml");
        wrong("", &[("LARDER_MAX_SIZE", "many")], "LARDER_MAX_SIZE");
    }
}
