//! The limits of a store: flag > `LARDER_*` variable > `[gcctl]` and `[pkgcache]` of a settings
//! file > default (`layer`); global ones, and those of some things (`scoped`).

pub mod layer;
pub mod scoped;
mod why;

use std::collections::BTreeSet;
use std::time::Duration;

use camino::Utf8PathBuf;
use storekit::{Age, ByteSize, WrittenSize};
use thiserror::Error;
use toolkit::amount::Amount;
use toolkit::nearest::question;
use toolkit::settings::{Settings, SettingsError};
use toolkit::tables::{GCCTL, LISTS, Order};

pub use layer::{Layer, Layers};
pub use scoped::Scoped;
pub use why::{Part, Why};

/// How long removed things stay in the trash, unless another time is said.
pub const TRASH_GRACE: Age = Age(Duration::from_secs(24 * 3600));

/// A limit of bytes without a unit that is smaller than this may be one whose unit was forgotten: 1
/// MB.
const SMALL: ByteSize = ByteSize(1_000_000);

/// What a store may hold. What is `None` has no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// Over so many bytes it is that something goes for `max_size`; `max_size` itself where
    /// nothing is said. A share is one of `max_size`.
    pub high: Option<Amount>,
    /// So many bytes are left then; `max_size` itself where nothing is said.
    pub low: Option<Amount>,
    /// How many bytes stay free on the file system; a share is one of the file system.
    pub min_free: Option<Amount>,
    /// Whether nobody asked for `min_free`: then it takes packages and trash alone, and is no
    /// failure where it cannot be had.
    pub min_free_by_default: bool,
    /// So many bytes of images and packages stay, whatever a limit of bytes of the whole store
    /// says. Where nothing is said, the newest image of each name stays, whatever `min_free` says.
    pub reserved: Option<Amount>,
    /// In which order things go.
    pub order: Order,
    /// How long removed things could be brought back; [`TRASH_GRACE`] where nothing is said.
    pub trash_grace: Option<Age>,
    /// Limits of some things, each by itself.
    pub scoped: Vec<Scoped>,
    /// Which of them options of this one run say, by the names that `gcctl limits` gives them. What
    /// goes for these says nothing of the limits that stand.
    pub once: BTreeSet<String>,
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
    /// A table in `[gcctl]` that means nothing.
    #[error("`{path}` says something wrong: {message}")]
    #[diagnostic(code(gcctl::table), help("{help}"))]
    Table { path: Utf8PathBuf, message: String, help: String },
    /// Limits that do not go together, or cannot be used.
    #[error("{0}")]
    #[diagnostic(code(gcctl::limits), help("`gcctl limits` shows where each limit comes from"))]
    Apart(String),
    /// Patterns of names that are too many, or too large together.
    #[error("the patterns of `keep` cannot be used: {reason}")]
    #[diagnostic(code(gcctl::keep), help("write fewer of them"))]
    Keep { reason: String },
    /// A pattern of names in a settings file that means nothing.
    #[error("`{path}` says something wrong: {message}")]
    #[diagnostic(code(gcctl::pattern), help("`*` stands for any letters: `debian:*`"))]
    Pattern { path: Utf8PathBuf, message: String },
}

impl Limits {
    /// Whether what goes for this goes for an option of this one run.
    #[must_use]
    pub fn is_once(&self, why: Why) -> bool {
        let said = |name: &str| self.once.contains(name);
        match why {
            Why::MaxSize => ["max-size", "high", "low"].into_iter().any(said),
            Why::Limit(place, part) => {
                let limit = self.scoped.get(usize::from(place));
                limit.is_some_and(|limit| said(&format!("{}: {}", limit.of, part.word())))
            }
            why => said(&why.name()),
        }
    }

    /// What the variables and the settings files say, else the defaults.
    ///
    /// # Errors
    /// Wrong values in either.
    pub fn load(settings: &Settings) -> Result<Self, LimitsError> {
        Ok(Layers::load(settings, Layer::default())?.limits())
    }

    /// Whether the limits go together.
    fn check(&self) -> Result<(), LimitsError> {
        let apart = |text: String| Err(LimitsError::Apart(text));
        if self.scoped.len() > scoped::MOST {
            return apart(format!("there are more than {} limits of some things", scoped::MOST));
        }
        for limit in &self.scoped {
            if let Some(Err(error)) = limit.of.name.as_deref().map(scoped::pattern) {
                return apart(error);
            }
        }
        let is_share = |it: Option<Amount>| matches!(it, Some(Amount::Share { .. }));
        if self.max_size.is_none() && (is_share(self.high) || is_share(self.low)) {
            return apart("`high` and `low` in percent are of `max-size`, and there is none".into());
        }
        let Watermarks { high, low } = match self.watermarks() {
            Some(marks) => marks,
            None if self.low.is_some() => return apart("`low` needs a `max-size` or a `high`".into()),
            None => return Ok(()),
        };
        if self.max_size.is_some_and(|most| high > most.size.0) {
            return apart(format!("`high` ({}) is more than `max-size`", ByteSize(high)));
        }
        if low > high {
            return apart(format!("`low` ({}) is more than `high` ({})", ByteSize(low), ByteSize(high)));
        }
        Ok(())
    }

    /// Over how many bytes something goes, and how many are left then; `None` where the store may
    /// have any size. Without `low`, `high` where there is one.
    #[must_use]
    pub fn watermarks(&self) -> Option<Watermarks> {
        let most = self.max_size.map(|most| most.size.0);
        let high = self.high.map(|high| high.of(most.unwrap_or(u64::MAX))).or(most)?;
        Some(Watermarks { high, low: self.low.map_or(high, |low| low.of(most.unwrap_or(u64::MAX))) })
    }

    /// The same with bytes for shares, where the file system has so many.
    #[must_use]
    pub fn settled(&self, capacity: u64) -> Self {
        let most = self.max_size.map_or(u64::MAX, |most| most.size.0);
        Self {
            high: self.high.map(|high| high.settled(most)),
            low: self.low.map(|low| low.settled(most)),
            min_free: self.min_free.map(|free| free.settled(capacity)),
            reserved: self.reserved.map(|reserved| reserved.settled(capacity)),
            ..self.clone()
        }
    }

    /// How long removed things could be brought back.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.trash_grace.unwrap_or(TRASH_GRACE).0
    }

    /// Whether nobody has set a limit. How long the trash is kept, what stays in any case, and the
    /// order do not count as one.
    #[must_use]
    pub fn is_none(&self) -> bool {
        let nothing = Self {
            min_free: self.min_free.filter(|_| self.min_free_by_default),
            min_free_by_default: self.min_free_by_default,
            keep_last: self.keep_last,
            reserved: self.reserved,
            order: self.order,
            trash_grace: self.trash_grace,
            scoped: self.scoped.iter().filter(|limit| limit.takes_nothing()).cloned().collect(),
            once: self.once.clone(),
            ..Self::default()
        };
        *self == nothing
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
            Why::MaxSize => self.watermarks().is_some(),
            Why::MinFree => self.min_free.is_some(),
            Why::Limit(place, part) => {
                self.scoped.get(usize::from(place)).is_some_and(|limit| limit.has(part))
            }
            Why::Clean | Why::Named => self.is_none(),
            Why::TrashGrace | Why::Subject => true,
        }
    }

    /// The same without a limit.
    #[must_use]
    pub fn without(&self, why: Why) -> Self {
        let mut limits = self.clone();
        match why {
            Why::MaxSize => (limits.max_size, limits.high, limits.low) = (None, None, None),
            Why::MinFree => (limits.min_free, limits.min_free_by_default) = (None, false),
            Why::PackagesMaxSize => limits.packages_max_size = None,
            Why::MaxAge => limits.max_age = None,
            Why::MaxImages => limits.max_images = None,
            Why::MaxDisks => limits.max_disks = None,
            Why::MaxPerImage => limits.max_per_image = None,
            Why::PackagesMaxAge => limits.packages_max_age = None,
            Why::ModelsMaxAge => limits.models_max_age = None,
            Why::Limit(place, part) => {
                if let Some(limit) = limits.scoped.get_mut(usize::from(place)) {
                    limit.clear(part);
                }
            }
            Why::TrashGrace | Why::Named | Why::Clean | Why::Subject => {}
        }
        limits
    }

    /// Whether with these limits something may be deleted at once, and not moved to the trash.
    #[must_use]
    pub fn may_delete_at_once(&self) -> bool {
        let is_asked_for = self.min_free.is_some() && !self.min_free_by_default;
        self.grace().is_zero() || self.watermarks().is_some() || is_asked_for
    }

    /// The limit of bytes that looks as if its unit was forgotten. `min-free = 0` asks for nothing,
    /// and is meant so.
    #[must_use]
    pub fn without_unit(&self) -> Option<(Why, ByteSize)> {
        let written = |amount: Option<Amount>| amount.and_then(Amount::written);
        let free = written(self.min_free).filter(|free| free.size.0 > 0);
        let whole = [
            (Why::MaxSize, self.max_size),
            (Why::MaxSize, written(self.high)),
            (Why::MaxSize, written(self.low)),
            (Why::MinFree, free),
            (Why::PackagesMaxSize, self.packages_max_size),
        ];
        let scoped = (0..).zip(&self.scoped).map(|(place, it)| (Why::Limit(place, Part::Size), it.max_size));
        let limits = whole.into_iter().chain(scoped);
        let mut bare = limits.filter_map(|(why, limit)| Some((why, limit.filter(|it| it.bare)?.size)));
        bare.find(|(_, size)| *size < SMALL)
    }
}

/// Over how many bytes something goes, and how many are left then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// Over so many.
    pub high: u64,
    /// So many.
    pub low: u64,
}

/// Refuses tables in `[gcctl]` that are neither a tier's nor anything else.
pub(crate) fn check_tables(settings: &Settings) -> Result<(), LimitsError> {
    for (path, name) in settings.all_tables_within("gcctl")? {
        if LISTS.contains(&name.as_str()) {
            let message = format!("`[gcctl.{name}]` is a list of limits");
            let help = format!("write `[[gcctl.{name}]]`, with two brackets; no tier can have this name");
            return Err(LimitsError::Table { path: path.to_owned(), message, help });
        }
    }
    let tiers: Vec<_> = settings.tables_within("tier")?.into_iter().map(|(_, name)| name).collect();
    for (path, name) in settings.tables_within("gcctl")? {
        let wrong =
            |message: String, help: String| Err(LimitsError::Table { path: path.to_owned(), message, help });
        if !tiers.contains(&name) {
            let known = GCCTL.iter().copied().chain(tiers.iter().map(String::as_str));
            let help =
                format!("{}the limits of a tier stand in the table of its name", question(&name, known));
            return wrong(format!("there is no tier `{name}` for `[gcctl.{name}]`"), help);
        }
    }
    Ok(())
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
            min_free: Some("1000".parse().unwrap()),
            min_free_by_default: false,
            trash_grace: Some("1h".parse().unwrap()),
            ..load("", &[]).unwrap()
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
        unit("high = 10", Some(Why::MaxSize));
        unit("limit = [{ kind = \"packages\", max-size = 10 }]", Some(Why::Limit(0, Part::Size)));
    }

    #[test]
    fn where_nobody_says_anything_some_room_stays() {
        let limits = load("", &[]).unwrap();
        assert!(limits.is_none() && limits.min_free_by_default && limits.allow(Why::MinFree));
        assert!(!limits.may_delete_at_once());
        assert_eq!(limits.settled(100_000_000_000).min_free, Some("5GB".parse().unwrap()));
        assert_eq!(limits.settled(u64::MAX).min_free, Some("10GB".parse().unwrap()));
        let off = load("[gcctl]\nmin-free = \"none\"\n", &[]).unwrap();
        assert_eq!((off.min_free, off.min_free_by_default), (None, false));
        let off = load("[gcctl]\nmin-free = \"1GB\"\n", &[("LARDER_MIN_FREE", "none")]).unwrap();
        assert_eq!(off.min_free, None);
        assert!(!load("[gcctl]\nmin-free = \"1GB\"\n", &[]).unwrap().min_free_by_default);
    }

    #[track_caller]
    fn marks(toml: &str, expected: Option<(u64, u64)>) {
        let found = load(&format!("[gcctl]\n{toml}\n"), &[]).unwrap().watermarks();
        assert_eq!(found.map(|it| (it.high, it.low)), expected, "{toml}");
    }

    #[test]
    fn watermarks_are_sizes_or_shares_of_the_limit() {
        marks("", None);
        marks("max-size = \"1MB\"", Some((1_000_000, 1_000_000)));
        marks("max-size = \"1MB\"\nhigh = \"90%\"\nlow = \"50%\"", Some((900_000, 500_000)));
        marks("max-size = \"1MB\"\nlow = \"0.5MB\"", Some((1_000_000, 500_000)));
        marks("high = \"1MB\"", Some((1_000_000, 1_000_000)));
        marks("high = \"none\"", None);
        wrong("[gcctl]\nhigh = \"90%\"\n", &[], "of `max-size`, and there is none");
        wrong("[gcctl]\nlow = \"9GB\"\n", &[], "`low` needs");
        wrong("[gcctl]\nmax-size = \"1GB\"\nhigh = \"2GB\"\n", &[], "more than `max-size`");
        wrong("[gcctl]\nmax-size = \"1GB\"\nhigh = \"50%\"\nlow = \"60%\"\n", &[], "more than `high`");
        wrong("[gcctl]\nhigh = \"101%\"\n", &[], "is not a size");
    }

    #[test]
    fn limits_of_some_things_are_read_and_what_is_wrong_in_them_is_named() {
        let toml = "[[gcctl.limit]]\necosystem = \"npm\"\nmax-size = \"2GB\"\n\
                    [[gcctl.limit]]\nkind = \"images\"\nname = \"app-*\"\nmax-entries = 3\n";
        let limits = load(toml, &[]).unwrap();
        let of: Vec<_> = limits.scoped.iter().map(|limit| limit.of.to_string()).collect();
        assert_eq!(of, ["ecosystem=npm", "kind=images,name=app-*"]);
        assert!(limits.allow(Why::Limit(0, Part::Size)) && !limits.allow(Why::Limit(0, Part::Age)));
        assert!(!limits.allow(Why::Limit(2, Part::Size)) && !limits.is_none());
        let one = |text: &str| format!("[[gcctl.limit]]\n{text}\n");
        wrong(&one("kind = \"image\"\nmax-age = \"1d\""), &[], "is `images` meant?");
        wrong(&one("kind = \"images\"\nname = \"[\"\nmax-age = \"1d\""), &[], "no pattern of names");
        wrong(&one("kind = \"images\"\nmax-images = 3"), &[], "`max-images`");
        wrong("[gcctl.limit]\nkind = \"images\"\n", &[], "is a list of limits");
        wrong("[gcctl.engine]\nmax-age = \"1d\"\n", &[], "is a list of limits");
        wrong("[gcctl.taem]\nmax-age = \"1d\"\n[tier.team]\nstore = \"x\"\n", &[], "no tier `taem`");
        load("[gcctl.team]\nmax-age = \"1d\"\n[tier.team]\nstore = \"x\"\n", &[]).unwrap();
    }
}
