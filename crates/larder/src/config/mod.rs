//! larder.toml: the images of a project, read and checked.
//!
//! `parse` sees text only; `load` finds and reads the file. Tables of other tools are known by
//! their names and not looked into. What a value would only be refused for later, by hashctx or an
//! engine, is refused here, where it stands.

use std::collections::BTreeMap;
use std::ops::Range;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use miette::{Diagnostic, NamedSource, SourceSpan};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use storekit::Platform;
use storekit::size::Age;
use thiserror::Error;
use toml::Spanned;
use toml::de::DeTable;

pub mod disk;
pub mod image;
pub mod names;
pub mod outputs;

use self::disk::{Cache, Disk, DiskTable};
use self::image::{Ignore, Image, Pack, Source};
use crate::engine::Engine;

/// The file's name.
pub const FILE: &str = "larder.toml";

/// What larder.toml says, as far as it concerns larder.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Project {
    /// The images, in the order of their names.
    pub images: Vec<Image>,
    /// The disks, in the order of their names.
    pub disks: Vec<Disk>,
    /// The steps that `ci` runs after the bake.
    pub steps: Vec<Step>,
}

/// One of the project's own steps of `ci`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What the table of times calls it.
    pub name: String,
    /// The line that `sh -c` runs in the project's folder.
    pub run: String,
}

/// Why larder.toml cannot be used.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum ConfigError {
    #[error("there is no `larder.toml` in {folder} or above it")]
    #[diagnostic(
        code(larder::no_config),
        help("write one beside the project's sources; `[image.NAME]` with `context = \".\"` is enough")
    )]
    Missing { folder: Utf8PathBuf },

    #[error("cannot read {path}")]
    #[diagnostic(code(larder::config_unreadable), help("check that the file can be read by this user"))]
    Read { path: Utf8PathBuf, source: std::io::Error },

    #[error(transparent)]
    #[diagnostic(transparent)]
    Invalid(#[from] Box<Invalid>),
}

/// A larder.toml that says something that larder does not know.
#[derive(Debug, Error, Diagnostic)]
#[error("{path} is not understood: {message}")]
#[diagnostic(code(larder::config))]
pub struct Invalid {
    path: Utf8PathBuf,
    message: String,
    #[source_code]
    text: NamedSource<String>,
    #[label("here")]
    at: Option<SourceSpan>,
    #[help]
    help: String,
}

/// Finds the nearest larder.toml from `folder` upward.
///
/// # Errors
/// `Missing`, where there is none.
pub fn find(folder: &Utf8Path) -> Result<Utf8PathBuf, ConfigError> {
    let found = folder.ancestors().map(|dir| dir.join(FILE)).find(|path| path.is_file());
    found.ok_or_else(|| ConfigError::Missing { folder: folder.to_owned() })
}

/// Reads and checks one larder.toml.
///
/// # Errors
/// Unreadable, not TOML, or not what larder knows: the error marks the place.
pub fn load(path: &Utf8Path) -> Result<Project, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    parse(&text).map_err(|fault| fault.in_file(path, text))
}

/// What is wrong, and where in the text.
#[derive(Debug)]
pub(crate) struct Fault {
    message: String,
    at: Option<Range<usize>>,
    help: String,
}

impl Fault {
    fn new(message: impl Into<String>, at: Range<usize>, help: impl Into<String>) -> Self {
        Self { message: message.into(), at: Some(at), help: help.into() }
    }

    fn in_file(self, path: &Utf8Path, text: String) -> ConfigError {
        ConfigError::Invalid(Box::new(Invalid {
            path: path.to_owned(),
            message: self.message,
            at: self.at.map(SourceSpan::from),
            text: NamedSource::new(FILE, text),
            help: self.help,
        }))
    }
}

/// The tables of larder.toml, those of other tools too. One that begins with `x-` is its user's.
const TABLES: [&str; 7] = ["cache", "ci", "disk", "gcctl", "image", "pkgcache", "store"];

/// Reads the text of a larder.toml.
pub(crate) fn parse(text: &str) -> Result<Project, Fault> {
    known_tables(text)?;
    let file: File = toml::from_str(text).map_err(|error| misread(&error))?;
    one_owner_each(&file.image)?;
    no_namesakes(&file)?;
    let cached = file.cache.images;
    let disks = file.disk.into_iter().map(|(name, table)| table.into_inner().checked(&name, cached));
    let disks = disks.collect::<Result<_, _>>()?;
    let images = file.image.into_iter().map(|(name, table)| checked(&name, table));
    let mut images = images.collect::<Result<Vec<_>, _>>()?;
    for image in &mut images {
        image.use_image_cache &= cached;
    }
    Ok(Project { images, disks, steps: file.ci.steps })
}

fn misread(error: &toml::de::Error) -> Fault {
    // toml's own message has a second line where it names the table; one line is enough beside the
    // mark.
    let message = error.message().lines().next().unwrap_or_default().to_owned();
    let help = nearest_expected(&message).map_or_else(
        || "the keys of each table are listed in the README under `larder.toml`".to_owned(),
        |name| format!("is `{name}` meant?"),
    );
    Fault { message, at: error.span(), help }
}

/// Refuses a table that no tool knows: a misspelt one would silently mean nothing.
fn known_tables(text: &str) -> Result<(), Fault> {
    let Ok(tables) = DeTable::parse(text) else { return Ok(()) };
    for name in tables.get_ref().keys() {
        let word = name.get_ref().as_ref();
        if TABLES.contains(&word) || word.starts_with("x-") {
            continue;
        }
        let meant = nearest(word, TABLES).map(|table| format!("is `[{table}]` meant? "));
        let known = "there are `[image.NAME]`, `[disk.NAME]`, `[store]`, `[cache]`, `[ci]`, `[gcctl]` and `[pkgcache]`; a name that begins with \
                     `x-` is yours";
        let help = format!("{}{known}", meant.unwrap_or_default());
        return Err(Fault::new(format!("no tool knows the table `{word}`"), name.span(), help));
    }
    Ok(())
}

/// Of ``unknown field `x`, expected one of `a`, `b` ``: what is nearest to x.
fn nearest_expected(message: &str) -> Option<String> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = quoted.next().filter(|_| message.starts_with("unknown "))?;
    nearest(unknown, quoted).map(ToOwned::to_owned)
}

/// The word that is at most two letters, and about half of its own, from the other.
fn nearest<'a>(to: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let to = to.to_lowercase();
    let far = |word: &str| distance(&to, word);
    let best = words.into_iter().min_by_key(|word| far(word))?;
    (far(best) <= 2 && far(best) * 2 <= best.len() + 1).then_some(best)
}

/// How many letters are to be added, removed or replaced to come from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let first = (0..=to.chars().count()).collect::<Vec<_>>();
    let last = from.chars().enumerate().fold(first, |above, (row, letter)| {
        let pairs = to.chars().zip(above.iter().zip(above.iter().skip(1)));
        let next = pairs.scan(row + 1, |left, (other, (corner, up))| {
            *left = (corner + usize::from(letter != other)).min(up + 1).min(*left + 1);
            Some(*left)
        });
        std::iter::once(row + 1).chain(next).collect()
    });
    last.last().copied().unwrap_or_default()
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    image: BTreeMap<String, Spanned<ImageTable>>,
    #[serde(default)]
    disk: BTreeMap<String, Spanned<DiskTable>>,
    #[serde(default)]
    cache: Cache,
    #[serde(default)]
    ci: CiTable,
    // Only to refuse misspelt keys: where the store lies is storekit's to read.
    #[serde(default, rename = "store")]
    _store: StoreTable,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreTable {
    #[serde(rename = "dir")]
    _dir: Option<Utf8PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CiTable {
    #[serde(default)]
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ImageTable {
    context: Option<Spanned<Utf8PathBuf>>,
    dockerfile: Option<Spanned<Utf8PathBuf>>,
    target: Option<Spanned<String>>,
    #[serde(default)]
    args: Pairs,
    #[serde(default, deserialize_with = "platform")]
    platform: Option<Platform>,
    #[serde(default)]
    base: Pairs,
    tags: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    ignore: Ignore,
    engine: Option<Engine>,
    #[serde(default = "yes")]
    use_image_cache: bool,
    #[serde(default)]
    outputs: outputs::Table,
    #[serde(default = "yes")]
    lock: bool,
    refresh: Option<Refresh>,
    pack: Option<PackTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PackTable {
    dir: Spanned<Utf8PathBuf>,
    entrypoint: Option<Words>,
    #[serde(default)]
    env: Pairs,
    workdir: Option<String>,
    #[serde(default)]
    labels: Pairs,
}

/// How long a lock counts.
#[derive(Clone, Copy)]
struct Refresh(Option<Age>);

impl<'de> Deserialize<'de> for Refresh {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "never" {
            return Ok(Self(None));
        }
        text.parse()
            .map(|age| Self(Some(age)))
            .map_err(|error| D::Error::custom(format!("{error}; or `never`")))
    }
}

/// Names and values, each with its place.
type Pairs = BTreeMap<Spanned<String>, Spanned<String>>;

/// One word, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    One(String),
    Many(Vec<String>),
}

impl Words {
    fn to_vec(&self) -> Vec<String> {
        match self {
            Self::One(word) => vec![word.clone()],
            Self::Many(words) => words.clone(),
        }
    }
}

fn platform<'de, D: Deserializer<'de>>(written: D) -> Result<Option<Platform>, D::Error> {
    let text = String::deserialize(written)?;
    text.parse().map(Some).map_err(D::Error::custom)
}

fn yes() -> bool {
    true
}

fn checked(name: &str, table: Spanned<ImageTable>) -> Result<Image, Fault> {
    let at = table.span();
    let table = table.into_inner();
    table.check_values()?;
    if table.pack.is_some() && table.builds() {
        return Err(Fault::new(
            format!("image `{name}` has `pack` and settings of a Dockerfile build"),
            at,
            "keep `pack`, or `context`, `dockerfile`, `target`, `args` and `base`",
        ));
    }
    if let Some(file) = table.dockerfile.as_ref().filter(|file| leaves(file.get_ref()))
        && table.ignore == Ignore::All
    {
        return Err(Fault::new(
            format!("image `{name}` has its Dockerfile outside its context"),
            file.span(),
            "with `ignore = \"all\"` the engine is handed a tar of the context: move the Dockerfile into it",
        ));
    }
    let tags = table.tags(name, at)?;
    let outputs = outputs::checked(&table.outputs)?;
    Ok(Image { outputs, ..table.into_image(name, tags) })
}

/// Refuses two images that have one name: each bake of one would take it from the other.
fn one_owner_each(images: &BTreeMap<String, Spanned<ImageTable>>) -> Result<(), Fault> {
    let mut owners = BTreeMap::new();
    for (image, table) in images {
        for tag in table.get_ref().tags(image, table.span())? {
            let (tag, at) = (tag.get_ref(), tag.span());
            let owner = *owners.entry(names::any_engines(tag)).or_insert(image);
            if owner != image {
                return Err(Fault::new(
                    format!("images `{owner}` and `{image}` have one name, `{tag}`"),
                    at,
                    "give each its own in `tags`: a build of one takes the name from the other",
                ));
            }
        }
    }
    Ok(())
}

/// Refuses an image and a disk of one name: a bake is asked for by names.
fn no_namesakes(file: &File) -> Result<(), Fault> {
    let twin = file.disk.iter().find(|(name, _)| file.image.contains_key(*name));
    twin.map_or(Ok(()), |(name, table)| {
        let help = "give one of them another name: `larder bake NAME` must mean one";
        Err(Fault::new(format!("`{name}` is both an image and a disk"), table.span(), help))
    })
}

/// Whether a path relative to the context leads out of it.
fn leaves(path: &Utf8Path) -> bool {
    path.is_absolute() || path.components().any(|part| part == Utf8Component::ParentDir)
}

/// Refuses what is not a path of this machine's: an empty one, an address, the standard input.
fn is_path(what: &str, path: &Spanned<Utf8PathBuf>, help: &str) -> Result<(), Fault> {
    let text = path.get_ref().as_str();
    let why = match text {
        "" => "is empty",
        "-" => "is the standard input",
        _ if text.contains("://") || text.starts_with("git@") => "is an address",
        _ if text.contains('\0') => "has a NUL",
        _ => return Ok(()),
    };
    Err(Fault::new(format!("`{what}` {why}"), path.span(), help))
}

/// Refuses names that no variable, build argument or label can have.
fn are_names(what: &str, pairs: &Pairs) -> Result<(), Fault> {
    let bad = |name: &&Spanned<String>| name.get_ref().is_empty() || name.get_ref().contains(['=', '\0']);
    pairs.keys().find(bad).map_or(Ok(()), |name| {
        let message = format!("`{}` cannot be a name in `{what}`", name.get_ref());
        Err(Fault::new(message, name.span(), "a name has at least one letter, and no `=`"))
    })
}

/// Refuses a digest by which no image can be known.
fn is_base((name, digest): (&Spanned<String>, &Spanned<String>)) -> Result<(), Fault> {
    if !names::is_name(name.get_ref()) {
        let help = "write it as `FROM` does, without a digest: `\"debian:12\" = \"sha256:…\"`";
        return Err(Fault::new(format!("`{}` is not a valid image name", name.get_ref()), name.span(), help));
    }
    let digits = match digest.get_ref().split_once(':') {
        Some(("sha256", digits)) if digits.len() == 64 => digits,
        Some(("sha512", digits)) if digits.len() == 128 => digits,
        _ => "not hex",
    };
    if digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(());
    }
    Err(Fault::new(
        format!("`{}` is not a digest", digest.get_ref()),
        digest.span(),
        format!("write `sha256:` and 64 hex digits; `imgtar resolve {}` prints them", name.get_ref()),
    ))
}

fn plain(pairs: Pairs) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, value)| (name.into_inner(), value.into_inner())).collect()
}

impl ImageTable {
    fn builds(&self) -> bool {
        self.context.is_some()
            || self.dockerfile.is_some()
            || self.target.is_some()
            || !self.args.is_empty()
            || !self.base.is_empty()
    }

    /// Refuses values that only hashctx or an engine would refuse, at each bake anew.
    fn check_values(&self) -> Result<(), Fault> {
        if let Some(context) = &self.context {
            is_path("context", context, "name a folder, relative to larder.toml; `.` is its own")?;
        }
        if let Some(file) = &self.dockerfile {
            is_path(
                "dockerfile",
                file,
                "name a file, relative to the context; left out, it is `Dockerfile`",
            )?;
        }
        if let Some(pack) = &self.pack {
            is_path("dir", &pack.dir, "name the folder whose files become the image")?;
            are_names("pack.env", &pack.env)?;
            are_names("pack.labels", &pack.labels)?;
        }
        if let Some(target) = self.target.as_ref().filter(|target| target.get_ref().trim().is_empty()) {
            return Err(Fault::new("`target` is empty", target.span(), "left out, the last stage is built"));
        }
        are_names("args", &self.args)?;
        self.base.iter().try_for_each(is_base)
    }

    /// The image's names, each with its place. `at` is the table's.
    fn tags(&self, image: &str, at: Range<usize>) -> Result<Vec<Spanned<String>>, Fault> {
        let tags = match &self.tags {
            Some(tags) => tags.get_ref().clone(),
            None => vec![Spanned::new(at.clone(), format!("{image}:latest"))],
        };
        if tags.is_empty() {
            let at = self.tags.as_ref().map_or(at, Spanned::span);
            return Err(Fault::new(
                format!("image `{image}` has no tag"),
                at,
                "leave `tags` out for NAME:latest",
            ));
        }
        match tags.iter().find(|tag| !names::is_name(tag.get_ref())) {
            Some(bad) => Err(Fault::new(
                format!("`{}` is not a valid image name", bad.get_ref()),
                bad.span(),
                "image names are lower case, as in `team/app:1.2`; `tags = […]` names the image otherwise than its table",
            )),
            None => Ok(tags),
        }
    }

    fn into_image(self, name: &str, tags: Vec<Spanned<String>>) -> Image {
        let source = match self.pack {
            Some(pack) => Source::Pack(pack.into_pack()),
            None => Source::Build {
                context: self.context.map_or_else(|| ".".into(), Spanned::into_inner),
                dockerfile: self.dockerfile.map_or_else(|| "Dockerfile".into(), Spanned::into_inner),
                target: self.target.map(Spanned::into_inner),
                args: plain(self.args),
                base: plain(self.base),
            },
        };
        Image {
            name: name.to_owned(),
            source,
            platform: self.platform,
            tags: tags.into_iter().map(Spanned::into_inner).collect(),
            ignore: self.ignore,
            engine: self.engine,
            use_image_cache: self.use_image_cache,
            outputs: Vec::new(),
            lock: self.lock,
            refresh: self.refresh.and_then(|refresh| refresh.0),
        }
    }
}

impl PackTable {
    fn into_pack(self) -> Pack {
        let entrypoint = match self.entrypoint {
            None => Vec::new(),
            Some(words) => words.to_vec(),
        };
        Pack {
            dir: self.dir.into_inner(),
            entrypoint,
            env: plain(self.env),
            workdir: self.workdir,
            labels: plain(self.labels),
        }
    }
}

#[cfg(test)]
mod tests;
