//! Settings: flag > `LARDER_*` variable > larder.local.toml > larder.toml > larder/config.toml in
//! the user's config folder > default.
//!
//! The nearest larder.toml upward from the working folder counts, or the file that `LARDER_TOML`
//! names; and above it what lies beside it as `.local.toml`. Each tool reads its own table;
//! paths in a settings file are relative to the folder of that file.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};
use miette::{Diagnostic, IntoDiagnostic, NamedSource, SourceSpan, WrapErr};
use serde::de::{DeserializeOwned, IntoDeserializer};
use storekit::files::replace;
use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::Common;
use crate::nearest::nearest_expected;
use crate::print::output;
use crate::tables::unknown_table;

/// The project's settings file.
pub const PROJECT_FILE: &str = "larder.toml";

/// The variable that names another one.
pub const PROJECT_VARIABLE: &str = "LARDER_TOML";

/// What a process is started with; the library itself never looks at its own.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The folder that the process works in.
    pub folder: Utf8PathBuf,
    /// The environment variables, by name.
    pub variables: BTreeMap<String, String>,
}

impl Environment {
    /// This process's own. Variables that are not UTF-8 are left out.
    ///
    /// # Errors
    /// A working folder that is gone, or not UTF-8.
    pub fn of_process() -> io::Result<Self> {
        let folder = Utf8PathBuf::try_from(std::env::current_dir()?).map_err(io::Error::other)?;
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Ok(Self { folder, variables })
    }

    /// The variable, unless it is empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Where this user's larder keeps what it has to know of earlier runs, if there is such a
    /// place: `larder` in the user's state folder.
    #[must_use]
    pub fn state_folder(&self) -> Option<Utf8PathBuf> {
        self.user_folder("XDG_STATE_HOME", ".local/state").map(|dir| dir.join("larder"))
    }

    /// Where the user's own settings are.
    fn user_file(&self) -> Option<Utf8PathBuf> {
        self.user_folder("XDG_CONFIG_HOME", ".config").map(|dir| dir.join("larder/config.toml"))
    }

    /// The user's folder that `variable` names, else the one below the home folder.
    fn user_folder(&self, variable: &str, below_home: &str) -> Option<Utf8PathBuf> {
        let absolute = |text: &str| Some(Utf8PathBuf::from(text)).filter(|path| path.is_absolute());
        self.get(variable).and_then(absolute).or_else(|| Some(absolute(self.get("HOME")?)?.join(below_home)))
    }
}

/// A settings file that is there.
#[derive(Clone, Debug)]
enum File {
    Read(Text),
    /// It is not TOML, or has a table that no tool knows.
    Bad(Box<BadSettings>),
    /// The system refused to read it.
    Unread(Unread),
}

/// A settings file that was read.
#[derive(Clone, Debug)]
struct Text {
    path: Utf8PathBuf,
    text: String,
}

/// Why a file was not read, to be said as often as the file is asked for.
#[derive(Clone, Debug)]
struct Unread {
    path: Utf8PathBuf,
    kind: io::ErrorKind,
    code: Option<i32>,
}

/// The settings files that count, the one that goes first at the front.
#[derive(Clone, Debug)]
pub struct Settings {
    environment: Environment,
    files: Vec<File>,
}

/// A settings file that says something wrong.
#[derive(Clone, Debug, Error, Diagnostic)]
#[error("`{path}` says something wrong: {message}")]
#[diagnostic(code(toolkit::settings))]
pub struct BadSettings {
    path: Utf8PathBuf,
    message: String,
    #[source_code]
    source_code: NamedSource<String>,
    #[label("here")]
    span: Option<SourceSpan>,
    /// The word that was probably meant.
    #[help]
    help: Option<String>,
}

impl BadSettings {
    /// In which line of the file, from 1.
    fn line(&self) -> Option<usize> {
        let before = self.source_code.inner().get(..self.span?.offset())?;
        Some(before.bytes().filter(|byte| *byte == b'\n').count() + 1)
    }

    /// The line, and the word that was probably meant, in parentheses; empty where neither is
    /// known.
    fn hint(&self) -> String {
        let line = self.line().map(|line| format!("line {line}"));
        let meant = self.help.as_deref().and_then(|help| help.split_inclusive('?').next());
        let meant = meant.filter(|meant| meant.ends_with('?')).map(str::to_owned);
        let parts: Vec<_> = line.into_iter().chain(meant).collect();
        if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(": ")) }
    }
}

/// Why settings could not be had.
#[derive(Debug, Error, Diagnostic)]
pub enum SettingsError {
    /// A file cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Read(#[from] storekit::Error),
    /// A file says something wrong.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Bad(#[from] Box<BadSettings>),
    /// There is no place for the store.
    #[error("no folder for the store: neither HOME nor XDG_CACHE_HOME is set")]
    #[diagnostic(code(toolkit::no_home), help("name one with `--store DIR` or LARDER_DIR"))]
    NoHome,
}

impl Settings {
    /// Finds and reads the settings files. One that cannot be read, that is not TOML, or that has a
    /// table that no tool knows, is an error when it is asked for something that no option,
    /// variable or nearer file says.
    #[must_use]
    pub fn load(environment: Environment) -> Self {
        let user = environment.user_file();
        let named = environment.get(PROJECT_VARIABLE).map(|file| environment.folder.join(file));
        let project = named.or_else(|| find_project_file(&environment.folder));
        let local = project.as_deref().map(local_file);
        let paths = local.into_iter().chain(project).chain(user);
        let files = paths.filter_map(File::read).collect();
        Self { environment, files }
    }

    /// The user's own settings, without those of any project.
    #[must_use]
    pub fn of_user(environment: Environment) -> Self {
        let files = environment.user_file().into_iter().filter_map(File::read).collect();
        Self { environment, files }
    }

    /// This process's own settings. Where an option or a variable says where the store is, files
    /// that cannot be used are a warning.
    ///
    /// # Errors
    /// A working folder that is gone, or not UTF-8.
    pub fn of_process(tool: &str, common: &Common) -> miette::Result<Self> {
        let environment =
            Environment::of_process().into_diagnostic().wrap_err("cannot use the working folder")?;
        let settings = Self::load(environment);
        if common.store.is_some() || settings.environment.get("LARDER_DIR").is_some() {
            settings.warn_of_problems(tool, common);
        }
        Ok(settings)
    }

    /// The settings files that are there, the one that goes first at the front.
    pub fn files(&self) -> impl Iterator<Item = &Utf8Path> {
        self.files.iter().map(File::path)
    }

    /// Warns of the files that cannot be used, unless the command is to be quiet.
    pub fn warn_of_problems(&self, tool: &str, common: &Common) {
        for problem in self.problems().filter(|_| !common.quiet) {
            let why =
                std::error::Error::source(&problem).map(|source| format!(": {source}")).unwrap_or_default();
            let hint = if let SettingsError::Bad(bad) = &problem { bad.hint() } else { String::new() };
            output::say(&format!("{tool}: warning: {problem}{hint}{why}; the file is passed over"));
        }
    }

    /// What is wrong with the files that cannot be used at all.
    fn problems(&self) -> impl Iterator<Item = SettingsError> {
        self.files.iter().filter_map(|file| file.text().err())
    }

    /// What the process was started with.
    #[must_use]
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// A tool's table: the values of the first file that has them, key by key. The default where no
    /// file has the table.
    ///
    /// # Errors
    /// A table that does not fit `T`, with the place marked. Each file must be right by itself.
    pub fn table<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, SettingsError> {
        self.merged(Place::Table(name))
    }

    /// The same without the tables that stand in it, which are about something else each.
    ///
    /// # Errors
    /// As [`Settings::table`].
    pub fn values<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, SettingsError> {
        self.merged(Place::Values(name))
    }

    /// A tool's table of each file that has it, without the tables in it; the one that goes first
    /// at the front.
    ///
    /// # Errors
    /// As [`Settings::table`].
    pub fn values_of_each<T: DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Vec<(&Utf8Path, T)>, SettingsError> {
        let mut each = Vec::new();
        for file in &self.files {
            let value = file.text()?.table::<T>(Place::Values(name))?;
            each.extend(value.map(|value| (file.path(), value)));
        }
        Ok(each)
    }

    /// The names of the tables that stand in a tool's table of a project's files, each with its
    /// file. Those of the user's own file are left out: they may be about other projects.
    ///
    /// # Errors
    /// Files that cannot be used.
    pub fn tables_within(&self, name: &str) -> Result<Vec<(&Utf8Path, String)>, SettingsError> {
        let user = self.environment.user_file();
        let mut all = self.all_tables_within(name)?;
        all.retain(|(path, _)| Some(*path) != user.as_deref());
        Ok(all)
    }

    /// The same, with those of the user's own file.
    ///
    /// # Errors
    /// As [`Settings::tables_within`].
    pub fn all_tables_within(&self, name: &str) -> Result<Vec<(&Utf8Path, String)>, SettingsError> {
        let mut found = Vec::new();
        for file in &self.files {
            let table = file.text()?.table::<toml::Table>(Place::Table(name))?.unwrap_or_default();
            let tables = table.into_iter().filter(|(_, value)| value.is_table());
            found.extend(tables.map(|(name, _)| (file.path(), name)));
        }
        Ok(found)
    }

    /// A table that stands in a tool's table.
    ///
    /// # Errors
    /// As [`Settings::table`].
    pub fn table_in<T: DeserializeOwned + Default>(
        &self,
        outer: &str,
        name: &str,
    ) -> Result<T, SettingsError> {
        self.merged(Place::Inner(outer, name))
    }

    fn merged<T: DeserializeOwned + Default>(&self, place: Place<'_>) -> Result<T, SettingsError> {
        let mut merged = toml::Table::new();
        for file in self.files.iter().rev() {
            let file = file.text()?;
            file.table::<T>(place)?;
            merged.extend(file.table::<toml::Table>(place)?.unwrap_or_default());
        }
        match self.files.first().filter(|_| !merged.is_empty()) {
            None => Ok(T::default()),
            Some(file) => {
                let file = file.text()?;
                Ok(merged.try_into().map_err(|error| file.bad(&error))?)
            }
        }
    }

    /// The store's folder: `flag`, else `LARDER_DIR`, else `[store] dir`, else `larder` in the
    /// user's cache folder.
    ///
    /// # Errors
    /// Wrong settings; no home folder.
    pub fn store_dir(&self, flag: Option<&Utf8Path>) -> Result<Utf8PathBuf, SettingsError> {
        if let Some(dir) = flag.map(Utf8Path::as_str).or_else(|| self.environment.get("LARDER_DIR")) {
            return Ok(self.environment.folder.join(dir));
        }
        for file in &self.files {
            if let Some(dir) = file.text()?.store_dir()? {
                return Ok(dir);
            }
        }
        let cache = self.environment.user_folder("XDG_CACHE_HOME", ".cache").ok_or(SettingsError::NoHome)?;
        Ok(cache.join("larder"))
    }
}

/// What says things for this checkout alone, above the project's file: `larder.local.toml` beside
/// `larder.toml`.
#[must_use]
pub fn local_file(project: &Utf8Path) -> Utf8PathBuf {
    project.with_extension("local.toml")
}

/// The nearest larder.toml in `folder` or above it.
#[must_use]
pub fn find_project_file(folder: &Utf8Path) -> Option<Utf8PathBuf> {
    folder.ancestors().map(|dir| dir.join(PROJECT_FILE)).find(|path| path.is_file())
}

impl File {
    /// `None` where there is none.
    fn read(path: Utf8PathBuf) -> Option<Self> {
        let bytes = match replace::read_capped(&path, 16 << 20) {
            Ok(bytes) => bytes?,
            Err(error) => return Some(Self::Unread(Unread::new(path, &error))),
        };
        let file = Text { path, text: String::from_utf8_lossy(&bytes).into_owned() };
        Some(match file.check() {
            Ok(()) => Self::Read(file),
            Err(bad) => Self::Bad(bad),
        })
    }

    fn path(&self) -> &Utf8Path {
        match self {
            Self::Read(text) => &text.path,
            Self::Bad(bad) => &bad.path,
            Self::Unread(unread) => &unread.path,
        }
    }

    fn text(&self) -> Result<&Text, SettingsError> {
        match self {
            Self::Read(text) => Ok(text),
            Self::Bad(bad) => Err(bad.clone().into()),
            Self::Unread(unread) => Err(unread.error().into()),
        }
    }
}

impl Unread {
    fn new(path: Utf8PathBuf, error: &storekit::Error) -> Self {
        let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
        let kind = source.map_or(io::ErrorKind::Other, io::Error::kind);
        Self { path, kind, code: source.and_then(io::Error::raw_os_error) }
    }

    fn error(&self) -> storekit::Error {
        let source = self.code.map_or_else(|| self.kind.into(), io::Error::from_raw_os_error);
        storekit::Error::io("read", self.path.clone(), source)
    }
}

/// Which table of a file.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// The one with this name.
    Table(&'a str),
    /// The same without the tables in it.
    Values(&'a str),
    /// The second, which stands in the first.
    Inner(&'a str, &'a str),
}

impl Place<'_> {
    fn find<'a>(self, document: &mut DeTable<'a>) -> Option<Spanned<DeValue<'a>>> {
        let (Self::Table(name) | Self::Values(name) | Self::Inner(name, _)) = self;
        let mut found = document.remove(name)?;
        match (self, found.get_mut()) {
            (Self::Values(_), DeValue::Table(table)) => {
                let tables = table.iter().filter(|(_, value)| value.get_ref().is_table());
                let names: Vec<_> = tables.map(|(name, _)| name.get_ref().to_string()).collect();
                for name in names {
                    table.remove(name.as_str());
                }
            }
            (Self::Inner(_, inner), DeValue::Table(table)) => return table.remove(inner),
            (Self::Inner(..), _) => return None,
            _ => {}
        }
        Some(found)
    }
}

impl Text {
    /// Refuses what is not TOML, and tables that no tool knows.
    fn check(&self) -> Result<(), Box<BadSettings>> {
        let document = DeTable::parse(&self.text).map_err(|error| self.bad(&error))?;
        let mut names = document.get_ref().keys();
        match names.find_map(|name| Some((unknown_table(name.get_ref())?, name.span()))) {
            Some(((message, help), span)) => Err(self.wrong(message, Some(span), Some(help))),
            None => Ok(()),
        }
    }

    fn store_dir(&self) -> Result<Option<Utf8PathBuf>, SettingsError> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields, expecting = "a table, such as `dir = \"cache\"`")]
        struct Store {
            dir: Option<Utf8PathBuf>,
        }
        let dir = self.table::<Store>(Place::Table("store"))?.and_then(|store| store.dir);
        let base = self.path.parent().unwrap_or(Utf8Path::new("/"));
        Ok(dir.map(|dir| base.join(dir)))
    }

    /// One table, read from the text itself, so that an error knows its place.
    fn table<T: DeserializeOwned>(&self, place: Place<'_>) -> Result<Option<T>, SettingsError> {
        let document = DeTable::parse(&self.text).map_err(|error| self.bad(&error))?;
        let Some(value) = place.find(&mut document.into_inner()) else { return Ok(None) };
        Ok(Some(T::deserialize(value.into_deserializer()).map_err(|error| self.bad(&error))?))
    }

    fn bad(&self, error: &toml::de::Error) -> Box<BadSettings> {
        let help = nearest_expected(error.message()).map(|name| format!("is `{name}` meant?"));
        self.wrong(error.message().to_owned(), error.span(), help)
    }

    fn wrong(&self, message: String, span: Option<Range<usize>>, help: Option<String>) -> Box<BadSettings> {
        Box::new(BadSettings {
            path: self.path.clone(),
            message,
            source_code: NamedSource::new(self.path.as_str(), self.text.clone()),
            span: span.map(Into::into),
            help,
        })
    }
}
