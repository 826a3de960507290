//! larder.toml: the images of a project, read and checked.
//!
//! `parse` sees text only; `load` finds and reads the file. Tables of other tools are not looked at.

use std::collections::BTreeMap;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use miette::{Diagnostic, NamedSource, SourceSpan};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use storekit::Platform;
use thiserror::Error;
use toml::Spanned;

use crate::image::{Engine, Ignore, Image, Pack, Source};

/// The file's name.
pub const FILE: &str = "larder.toml";

/// What larder.toml says, as far as it concerns xtask.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Project {
    /// The images, in the order of their names.
    pub images: Vec<Image>,
    /// The steps that `ci` runs after the bake.
    pub steps: Vec<Step>,
    /// Where there is no image: a table whose name looks like `image`, misspelt.
    pub misspelt: Option<String>,
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
        code(xtask::no_config),
        help("write one beside the project's sources; `[image.NAME]` with `context = \".\"` is enough")
    )]
    Missing { folder: Utf8PathBuf },

    #[error("cannot read {path}")]
    #[diagnostic(code(xtask::config_unreadable), help("check that the file can be read by this user"))]
    Read { path: Utf8PathBuf, source: std::io::Error },

    #[error(transparent)]
    #[diagnostic(transparent)]
    Invalid(#[from] Box<Invalid>),
}

/// A larder.toml that says something that xtask does not know.
#[derive(Debug, Error, Diagnostic)]
#[error("{path} is not understood: {message}")]
#[diagnostic(code(xtask::config))]
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
/// Unreadable, not TOML, or not what xtask knows: the error marks the place.
pub fn load(path: &Utf8Path) -> Result<Project, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    parse(&text).map_err(|fault| fault.in_file(path, text))
}

/// What is wrong, and where in the text.
#[derive(Debug)]
pub(crate) struct Fault {
    message: String,
    at: Option<std::ops::Range<usize>>,
    help: &'static str,
}

impl Fault {
    fn in_file(self, path: &Utf8Path, text: String) -> ConfigError {
        ConfigError::Invalid(Box::new(Invalid {
            path: path.to_owned(),
            message: self.message,
            at: self.at.map(SourceSpan::from),
            text: NamedSource::new(FILE, text),
            help: self.help.to_owned(),
        }))
    }
}

/// Reads the text of a larder.toml.
pub(crate) fn parse(text: &str) -> Result<Project, Fault> {
    let file: File = toml::from_str(text).map_err(|error| Fault {
        // toml's own message has a second line where it names the table; one line is enough beside the mark.
        message: error.message().lines().next().unwrap_or_default().to_owned(),
        at: error.span(),
        help: "the keys of each table are listed in the README under `larder.toml`",
    })?;
    let images: Vec<_> =
        file.image.into_iter().map(|(name, table)| checked(&name, table)).collect::<Result<_, _>>()?;
    let misspelt = if images.is_empty() { misspelt(text) } else { None };
    Ok(Project { images, steps: file.ci.steps, misspelt })
}

/// The first table that is at most two letters from `image`.
fn misspelt(text: &str) -> Option<String> {
    let tables: toml::Table = text.parse().ok()?;
    tables
        .into_iter()
        .map(|(name, _)| name)
        .find(|name| name != "image" && distance(&name.to_lowercase(), "image") <= 2)
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
    context: Option<Utf8PathBuf>,
    dockerfile: Option<Utf8PathBuf>,
    target: Option<String>,
    #[serde(default)]
    args: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "platform")]
    platform: Option<Platform>,
    #[serde(default)]
    base: BTreeMap<String, String>,
    tags: Option<Vec<String>>,
    #[serde(default)]
    ignore: Ignore,
    engine: Option<Engine>,
    #[serde(default = "yes")]
    use_image_cache: bool,
    pack: Option<PackTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PackTable {
    dir: Utf8PathBuf,
    entrypoint: Option<Words>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    workdir: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// One word, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    One(String),
    Many(Vec<String>),
}

fn platform<'de, D: Deserializer<'de>>(written: D) -> Result<Option<Platform>, D::Error> {
    let text = String::deserialize(written)?;
    text.parse().map(Some).map_err(D::Error::custom)
}

fn yes() -> bool {
    true
}

fn checked(name: &str, table: Spanned<ImageTable>) -> Result<Image, Fault> {
    let at = Some(table.span());
    let table = table.into_inner();
    let fault = |message: String, help| Err(Fault { message, at: at.clone(), help });
    let tags = table.tags.clone().unwrap_or_else(|| vec![format!("{name}:latest")]);
    if let Some(bad) = tags.iter().find(|tag| !is_reference(tag)) {
        return fault(
            format!("`{bad}` is no image name"),
            "image names are lower case, as in `team/app:1.2`; `tags = […]` names the image otherwise than its table",
        );
    }
    if tags.is_empty() {
        return fault(format!("image `{name}` has no tag"), "leave `tags` out for NAME:latest");
    }
    if table.pack.is_some() && table.builds() {
        return fault(
            format!("image `{name}` has `pack` and settings of a Dockerfile build"),
            "keep `pack`, or `context`, `dockerfile`, `target`, `args` and `base`",
        );
    }
    if table.ignore == Ignore::All && table.dockerfile.as_deref().is_some_and(leaves) {
        return fault(
            format!("image `{name}` has its Dockerfile outside its context"),
            "with `ignore = \"all\"` the engine is handed a tar of the context: move the Dockerfile into it",
        );
    }
    Ok(table.into_image(name, tags))
}

/// Whether an engine and the store can take `text` as a name with an optional tag. The engine is stricter still.
fn is_reference(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-/:".contains(c);
    let repository = match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') && !tag.is_empty() => name,
        _ => text,
    };
    text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text.chars().all(good)
        && !repository.is_empty()
        && !repository.ends_with([':', '/'])
        && !repository.chars().any(|c| c.is_ascii_uppercase())
}

/// Whether a path relative to the context leads out of it.
fn leaves(path: &Utf8Path) -> bool {
    path.is_absolute() || path.components().any(|part| part == Utf8Component::ParentDir)
}

impl ImageTable {
    fn builds(&self) -> bool {
        self.context.is_some()
            || self.dockerfile.is_some()
            || self.target.is_some()
            || !self.args.is_empty()
            || !self.base.is_empty()
    }

    fn into_image(self, name: &str, tags: Vec<String>) -> Image {
        let source = match self.pack {
            Some(pack) => Source::Pack(pack.into_pack()),
            None => Source::Build {
                context: self.context.unwrap_or_else(|| ".".into()),
                dockerfile: self.dockerfile.unwrap_or_else(|| "Dockerfile".into()),
                target: self.target,
                args: self.args,
                base: self.base,
            },
        };
        Image {
            name: name.to_owned(),
            source,
            platform: self.platform,
            tags,
            ignore: self.ignore,
            engine: self.engine,
            use_image_cache: self.use_image_cache,
        }
    }
}

impl PackTable {
    fn into_pack(self) -> Pack {
        let entrypoint = match self.entrypoint {
            None => Vec::new(),
            Some(Words::One(word)) => vec![word],
            Some(Words::Many(words)) => words,
        };
        Pack { dir: self.dir, entrypoint, env: self.env, workdir: self.workdir, labels: self.labels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(text: &str) -> Image {
        parse(text).expect("a good file").images.remove(0)
    }

    #[track_caller]
    fn rejected(text: &str, message: &str, marked: &str) {
        let fault = parse(text).expect_err("a bad file");
        assert!(fault.message.contains(message), "message is `{}`", fault.message);
        let at = fault.at.expect("a place");
        assert!(text[at.clone()].contains(marked), "marked is `{}`", &text[at]);
    }

    #[test]
    fn an_empty_table_builds_the_dockerfile_beside_it() {
        let image = image("[image.app]\n");
        let Source::Build { context, dockerfile, .. } = &image.source else { panic!("packs") };
        assert_eq!((context.as_str(), dockerfile.as_str()), (".", "Dockerfile"));
        assert_eq!(image.tags, ["app:latest"]);
        assert!(image.use_image_cache);
        assert_eq!((image.ignore, image.engine), (Ignore::Docker, None));
    }

    #[test]
    fn a_pack_takes_one_word_or_several() {
        for text in ["entrypoint = \"/app\"", "entrypoint = [\"/app\"]"] {
            let image = image(&format!("[image.app]\npack = {{ dir = \"dist\", {text} }}\n"));
            let Source::Pack(pack) = image.source else { panic!("builds") };
            assert_eq!(pack.entrypoint, ["/app"]);
        }
    }

    #[test]
    fn tables_of_other_tools_are_left_alone() {
        let text = "[gcctl]\nmax-images = 3\n[pkgcache.apt]\nport = 1\n[store]\ndir = \"cache\"\n";
        assert_eq!(parse(text).expect("a good file"), Project::default());
    }

    #[test]
    fn a_table_that_was_meant_for_an_image_is_noticed() {
        let noticed = |text: &str| parse(text).expect("a good file").misspelt;
        for name in ["imag", "images", "Image", "iamge"] {
            assert_eq!(noticed(&format!("[gcctl]\n[{name}.app]\n")).as_deref(), Some(name));
        }
        assert_eq!(noticed("[image]\n[imgtar]\n[gcctl]\n"), None);
        assert_eq!(noticed("[image.app]\n[images]\n"), None);
    }

    #[test]
    fn a_misspelt_key_is_marked() {
        rejected("[image.app]\ncontxt = \"x\"\n", "unknown field `contxt`", "contxt");
        rejected("[store]\nfolder = \"x\"\n", "unknown field `folder`", "folder");
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_marked() {
        rejected("[image.app]\nignore = \"git\"\n", "unknown variant `git`", "git");
        rejected("[image.app]\nengine = \"rkt\"\n", "unknown variant `rkt`", "rkt");
    }

    #[test]
    fn what_is_not_a_platform_is_refused_when_it_is_read() {
        rejected(
            "[image.app]\nplatform = \"amd64\"\n",
            "write the whole of it, such as `linux/amd64`",
            "amd64",
        );
        rejected("[image.app]\nplatform = \"linux/i686\"\n", "write `linux/386`", "i686");
        rejected("[image.app]\nplatform = \"\"\n", "it is empty", "\"\"");
    }

    #[test]
    fn pack_and_dockerfile_exclude_each_other() {
        rejected("[image.app]\ntarget = \"x\"\npack = { dir = \"d\" }\n", "`pack`", "image.app");
    }

    #[test]
    fn a_piped_context_holds_its_dockerfile() {
        rejected(
            "[image.app]\nignore = \"all\"\ndockerfile = \"../D\"\n",
            "outside its context",
            "image.app",
        );
        image("[image.app]\ndockerfile = \"../D\"\n");
    }

    #[test]
    fn a_tag_that_could_be_a_flag_is_refused() {
        for tag in ["-x", "", "a b", "App", "a:", "a/:b"] {
            rejected(&format!("[image.app]\ntags = [{tag:?}]\n"), "is no image name", "image.app");
        }
        rejected("[image.App]\n", "is no image name", "image.App");
    }

    #[test]
    fn names_that_engines_know_are_taken() {
        for tag in ["app", "app:1.0-Beta", "host:5000/team/app", "host:5000/team/app:v1"] {
            assert!(is_reference(tag), "{tag} was refused");
        }
    }
}
