//! What may go of an engine: option > `[[gcctl.engine]]` of a settings file > default.
//!
//! Of several in one file that are about an engine, the last that says a thing counts. Names that
//! stay add up: one that a farther file keeps stays, whatever a nearer one says.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use globset::{Glob, GlobSet, GlobSetBuilder};
use storekit::{Age, ByteSize};
use toolkit::amount::Setting;
use toolkit::settings::Settings;
use toolkit::tables::{EngineLimit, StoreLimits};

use super::Kind;
use crate::limits::layer::last;
use crate::limits::{LimitsError, check_tables};

/// How long nothing has to have used what goes, where nothing is said.
pub const A_WEEK: Age = Age(Duration::from_secs(7 * 86_400));

/// What may go.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Not what was used or made in this time.
    pub max_age: Age,
    /// Until no more than this is left of what may go, those that are oldest; without, all of it.
    pub max_size: Option<ByteSize>,
    /// Whether images that have names may go.
    pub named: bool,
    /// What is called so stays.
    pub keep: GlobSet,
}

/// What the options say. `None`: nothing.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "`Rules` says what each is")]
pub struct Options {
    pub max_age: Option<Age>,
    pub max_size: Option<Setting<ByteSize>>,
    pub named: Option<bool>,
    pub keep: Vec<Glob>,
}

impl Rules {
    /// What the options say of this engine, else the settings files, else the defaults.
    ///
    /// # Errors
    /// Wrong values in a file; patterns that cannot be used.
    pub fn load(settings: &Settings, engine: Kind, options: Options) -> Result<Self, LimitsError> {
        let tables = settings.values_of_each::<StoreLimits>("gcctl")?;
        check_tables(settings)?;
        let files: Vec<(&Utf8Path, Vec<EngineLimit>)> =
            tables.into_iter().map(|(path, table)| (path, table.engine)).collect();
        Self::of(engine, options, &files)
    }

    fn of(
        engine: Kind,
        options: Options,
        files: &[(&Utf8Path, Vec<EngineLimit>)],
    ) -> Result<Self, LimitsError> {
        let engine = engine.name();
        let mut keep = GlobSetBuilder::new();
        for pattern in options.keep {
            keep.add(pattern);
        }
        for (path, limits) in files {
            for name in limits.iter().filter(|limit| limit.is_of(engine)).flat_map(|limit| &limit.keep) {
                keep.add(pattern(path, name.get_ref())?);
            }
        }
        let keep = keep.build().map_err(|error| LimitsError::Keep { reason: error.to_string() })?;
        let max_size = options.max_size.or_else(|| said(files, engine, |limit| limit.max_size));
        Ok(Self {
            max_age: options.max_age.or_else(|| said(files, engine, |it| it.max_age)).unwrap_or(A_WEEK),
            max_size: max_size.and_then(Setting::value),
            named: options.named.or_else(|| said(files, engine, |it| it.named)).unwrap_or_default(),
            keep,
        })
    }
}

/// What the nearest file says that says it.
fn said<T>(
    files: &[(&Utf8Path, Vec<EngineLimit>)],
    engine: &str,
    value: impl Fn(&EngineLimit) -> Option<T>,
) -> Option<T> {
    files.iter().find_map(|(_, limits)| last(limits, engine, &value))
}

fn pattern(path: &Utf8Path, text: &str) -> Result<Glob, LimitsError> {
    let wrong = |message| LimitsError::Pattern { path: Utf8PathBuf::from(path), message };
    crate::limits::scoped::pattern(text).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use toolkit::settings::Environment;
    use toolkit::tables::ENGINES;

    /// The rules where the project's file and the user's own say this.
    fn load(project: &str, user: &str, engine: Kind, options: Options) -> Result<Rules, LimitsError> {
        let dir = tempfile::tempdir().unwrap();
        let folder = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        fs::write(folder.join("larder.toml"), project).unwrap();
        fs::create_dir(folder.join("larder")).unwrap();
        fs::write(folder.join("larder/config.toml"), user).unwrap();
        let variables = [("XDG_CONFIG_HOME".to_owned(), folder.to_string())].into();
        Rules::load(&Settings::load(Environment { folder, variables }), engine, options)
    }

    fn of_files(project: &str, user: &str, engine: Kind) -> Rules {
        load(project, user, engine, Options::default()).unwrap()
    }

    #[test]
    fn where_nothing_is_said_what_is_unused_for_a_week_goes() {
        let rules = of_files("[gcctl]\nmax-age = \"1h\"\n", "", Kind::Docker);
        assert_eq!((rules.max_age, rules.max_size, rules.named), (A_WEEK, None, false));
        assert!(rules.keep.is_empty());
    }

    #[test]
    fn options_go_before_files_and_the_nearer_file_before_the_users() {
        let project = "[[gcctl.engine]]\nmax-age = \"30d\"\nmax-size = \"none\"\n";
        let user = "[[gcctl.engine]]\nmax-age = \"1d\"\nmax-size = \"5GB\"\nnamed = true\n";
        let rules = of_files(project, user, Kind::Podman);
        assert_eq!((rules.max_age, rules.max_size, rules.named), ("30d".parse().unwrap(), None, true));
        let rules = of_files("", user, Kind::Podman);
        assert_eq!(rules.max_size, Some(ByteSize(5_000_000_000)));
        let options = Options {
            max_age: Some("2h".parse().unwrap()),
            max_size: Some("7GB".parse().unwrap()),
            named: Some(false),
            keep: Vec::new(),
        };
        let rules = load(project, user, Kind::Docker, options).unwrap();
        let expected = ("2h".parse().unwrap(), Some(ByteSize(7_000_000_000)), false);
        assert_eq!((rules.max_age, rules.max_size, rules.named), expected);
    }

    #[test]
    fn what_is_said_of_one_engine_is_not_said_of_the_other() {
        let project = "[[gcctl.engine]]\nmax-age = \"30d\"\n[[gcctl.engine]]\nengine = \"podman\"\nmax-age = \"1d\"\nkeep = [\"p:*\"]\n";
        let (docker, podman) = (of_files(project, "", Kind::Docker), of_files(project, "", Kind::Podman));
        assert_eq!(docker.max_age, "30d".parse().unwrap());
        assert_eq!(podman.max_age, "1d".parse().unwrap());
        assert!(podman.keep.is_match("p:1") && !docker.keep.is_match("p:1"));
    }

    #[test]
    fn names_that_stay_add_up() {
        let project = "[[gcctl.engine]]\nkeep = [\"debian:*\"]\n[[gcctl.engine]]\nkeep = [\"app:v*\"]\n";
        let user = "[[gcctl.engine]]\nkeep = [\"mine/*\"]\n";
        let options = Options { keep: vec![Glob::new("x:*").unwrap()], ..Options::default() };
        let rules = load(project, user, Kind::Docker, options).unwrap();
        for name in ["debian:12", "app:v1", "mine/tool:1", "x:1"] {
            assert!(rules.keep.is_match(name), "{name}");
        }
        assert!(!rules.keep.is_match("app:1"));
    }

    #[track_caller]
    fn refused(project: &str, user: &str, word: &str) {
        let error = load(project, user, Kind::Docker, Options::default()).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }

    #[test]
    fn what_is_wrong_in_a_file_is_refused_with_its_path() {
        refused("[[gcctl.engine]]\nkeep = [\"[\"]\n", "", "larder.toml` says something wrong: `[`");
        refused("[[gcctl.engine]]\nmax-sise = 1\n", "", "max-sise");
        refused("[gcctl.engine]\nmax-age = \"1d\"\n", "", "`[gcctl.engine]` is a list of limits");
        refused("", "[gcctl.engine]\nmax-age = \"1d\"\n", "config.toml` says something wrong");
    }

    #[test]
    fn the_files_know_the_engines() {
        assert_eq!([Kind::Docker, Kind::Podman].map(Kind::name).as_slice(), ENGINES);
    }
}
