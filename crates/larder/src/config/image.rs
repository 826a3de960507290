//! One image of larder.toml, and the commands that hash, build and pack it.
//!
//! Pure: the same image always gives the same commands, and whatever changes the image is in the
//! hash command.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use storekit::Platform;
use storekit::size::Age;
use toolkit::Engine;

use super::expand::variables::names_one;
use super::names::meant::Called;
use crate::outputs::Output;
use crate::process::command::Cmd;

/// How the tags begin that stand for a key.
pub const PINNED: &str = "larder-";

/// How many digits of it they have.
const PINNED_DIGITS: usize = 12;

/// One `[image.NAME]`, with the defaults filled in. Paths are relative to larder.toml's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The table's name, with the values of its matrix, and `@PLATFORM` where it has several.
    pub name: String,
    /// The table's name alone.
    pub group: String,
    /// The name without the platform.
    pub plain: String,
    /// Where that stands in what was read.
    pub at: Range<usize>,
    /// What it is, for people.
    pub description: Option<String>,
    /// What it is made of.
    pub source: Source,
    /// None means this machine's.
    pub platform: Option<Platform>,
    /// The names in the engine and in the store; never empty.
    pub tags: Vec<String>,
    /// Those that the image of this machine's platform has, where there are several platforms; else
    /// the same.
    pub plain_tags: Vec<String>,
    /// Which ignore files hide inputs.
    pub ignore: Ignore,
    /// What builds it; none means the engine that answers.
    pub engine: Option<Engine>,
    /// Whether the store is asked and filled.
    pub use_image_cache: bool,
    /// Which of its files belong into the project.
    pub outputs: Vec<Output>,
    /// Whether larder.lock says which images the names in its Dockerfile stand for.
    pub lock: bool,
    /// How long that counts before it is resolved anew; none means until it is updated.
    pub refresh: Option<Age>,
    /// Images of the file that it needs without its Dockerfile saying so.
    pub needs: Vec<String>,
    /// How long a build may take; none means as long as it takes.
    pub timeout: Option<Age>,
    /// The package clients of the build that are led to the package cache.
    pub packages: Vec<String>,
    /// What of its args looks like a variable of the shell's and is taken as it stands.
    pub literals: Vec<String>,
    /// The args that are set for this image, and not for all or for those that it extends.
    pub own_args: BTreeSet<String>,
    /// Variables whose values are inputs, each with a digest of what it is set to.
    pub inputs_env: BTreeMap<String, Option<String>>,
    /// Where the name is that stands for a key: a repository's name, of a compose file's service
    /// alone.
    pub pin: Option<String>,
    /// Files that a bake writes, in full: they must not be its inputs.
    pub writes: Vec<Utf8PathBuf>,
}

/// What the address of an image begins with, as a named context.
pub(crate) const IMAGE: &str = "docker-image://";

/// What an image is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A Dockerfile and its context, built by the engine.
    Build(Build),
    /// A folder, made an image without an engine.
    Pack(Pack),
}

/// A Dockerfile, its context and what a build of it is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Build {
    /// The context's folder.
    pub context: Utf8PathBuf,
    /// Relative to the context.
    pub dockerfile: Utf8PathBuf,
    /// The stage to build; none means the last.
    pub target: Option<String>,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// Digests of base images by the name that the Dockerfile uses.
    pub base: BTreeMap<String, String>,
    /// Named contexts.
    pub contexts: BTreeMap<String, Context>,
    /// Labels that the image gets.
    pub labels: BTreeMap<String, String>,
    /// What the build may read and the image must not have, by its id.
    pub secrets: BTreeMap<String, Secret>,
    /// Keys of the user's that the build may use, as the engine's `--ssh` has them.
    pub ssh: Vec<String>,
    /// The network of its `RUN` instructions; none means the engine's default.
    pub network: Option<String>,
    /// Whether the layers of the profile's tiers are taken and written, too.
    pub cache_tiers: bool,
    /// Images in registries whose layers the engine may take for its cache.
    pub cache_from: Vec<String>,
    /// Images in registries that the engine's cache of the build is written to.
    pub cache_to: Vec<String>,
    /// Whether the engine's layer cache is left aside.
    pub no_cache: bool,
    /// What else the engine is told, flag by flag; in no key.
    pub flags: Vec<(String, String)>,
}

/// A named context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Context {
    /// A folder relative to larder.toml, or an address.
    Given(String),
    /// An image of the file.
    Image {
        /// Its name there; it is among the images that are needed, too.
        name: String,
        /// Its first tag.
        tag: String,
    },
}

impl Context {
    /// As `--build-context NAME=` has it.
    fn text(&self) -> String {
        match self {
            Self::Given(text) => text.clone(),
            Self::Image { tag, .. } => format!("{IMAGE}{tag}"),
        }
    }

    /// The folder that it is, relative to larder.toml; `None` for what is, or may be, anything
    /// else.
    pub(crate) fn as_folder(&self) -> Option<&Utf8Path> {
        let Self::Given(text) = self else { return None };
        let is_address = text.contains([':', '@']) || text.starts_with("github.com/");
        (!is_address).then(|| Utf8Path::new(text))
    }

    /// The same for hashctx, which takes the key or ID of an image for its digest: that says which
    /// image it is. `own` is the ID of an image that only the engine has.
    fn hashed(&self, known: &BTreeMap<String, String>, own: Option<&String>) -> String {
        let by = match self {
            Self::Image { name, .. } => known.get(name),
            Self::Given(_) => own,
        };
        let id = by.and_then(|by| by.split_once(':'));
        id.map_or_else(|| self.text(), |(_, id)| format!("{}@sha256:{id}", self.text()))
    }
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// An environment variable.
    Variable(String),
    /// A file, relative to larder.toml.
    File(Utf8PathBuf),
}

/// A folder and the image settings that go with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pack {
    /// The folder whose files become the image's root.
    pub dir: Utf8PathBuf,
    /// The command that the image runs; empty means none.
    pub entrypoint: Vec<String>,
    /// Variables that its processes see.
    pub env: BTreeMap<String, String>,
    /// The folder that they start in.
    pub workdir: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// What an engine builds from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handed<'a> {
    /// The context's folder, and the Dockerfile where it lies.
    Folder,
    /// The context's folder, and another Dockerfile in the place of its own.
    Dockerfile(&'a Utf8Path),
    /// A tar of both, on standard input.
    Tar,
}

/// How a build is to name images, by their names in the Dockerfile.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// By these digests.
    pub pins: &'a BTreeMap<String, String>,
    /// By these names.
    pub uses: &'a BTreeMap<String, String>,
    /// What stands at addresses that it fetches.
    pub sources: &'a BTreeMap<String, String>,
    /// Whether the build checks that.
    pub checks: bool,
    /// The IDs of images that only the engine has and that are named contexts, by the contexts'
    /// names.
    pub contexts: &'a BTreeMap<String, String>,
}

/// Which ignore files hide inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ignore {
    /// The engine's own.
    #[default]
    Docker,
    /// The engine's and git's; the engine is handed a tar of exactly the hashed files.
    All,
}

impl Ignore {
    fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::All => "all",
        }
    }
}

impl Image {
    /// Whether people may mean it by this name.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        [&self.name, &self.group, &self.plain].into_iter().any(|own| own == name)
    }

    /// By what others of the file may name it.
    pub(super) fn called(&self) -> Called {
        let names = [&self.name, &self.group, &self.plain].map(String::clone);
        Called { names, platform: self.platform() }
    }

    /// The name that stands for its image of this key, and for no other: the key is in it.
    #[must_use]
    pub fn pinned(&self, key: &str) -> Option<String> {
        Some(format!("{}:{PINNED}{}", self.pin.as_ref()?, key.get(..PINNED_DIGITS)?))
    }

    /// The same of an image that no key describes, by the engine's ID of it.
    #[must_use]
    pub fn pinned_by_id(&self, id: &str) -> Option<String> {
        let digits = id.rsplit(':').next()?.get(..PINNED_DIGITS)?;
        Some(format!("{}:{PINNED}id-{digits}", self.pin.as_ref()?))
    }

    /// Has an image of the file, by this tag, for the named context.
    pub(crate) fn take_context(&mut self, name: &str, image: String, tag: String) {
        let Source::Build(build) = &mut self.source else { return };
        if !self.needs.contains(&image) {
            self.needs.push(image.clone());
        }
        build.contexts.insert(name.to_owned(), Context::Image { name: image, tag });
    }

    /// The images of the file that are its named contexts, each with the tag that the build takes
    /// it by.
    pub(crate) fn context_images(&self) -> impl Iterator<Item = (&String, &String)> {
        let contexts = self.as_build().into_iter().flat_map(|build| build.contexts.values());
        contexts.filter_map(|context| match context {
            Context::Image { name, tag } => Some((name, tag)),
            Context::Given(_) => None,
        })
    }

    /// Names the digest of a named context that is an image, or the commit of one that is a
    /// repository.
    pub(crate) fn pin_context(&mut self, name: &str, pin: &str) {
        let Source::Build(build) = &mut self.source else { return };
        if let Some(Context::Given(address)) = build.contexts.get_mut(name) {
            if address.starts_with(IMAGE) {
                *address = format!("{address}@{pin}");
                return;
            }
            let (place, fragment) = address.split_once('#').unwrap_or((address.as_str(), ""));
            let folder = fragment.split_once(':').map(|(_, folder)| format!(":{folder}")).unwrap_or_default();
            *address = format!("{place}#{pin}{folder}");
        }
    }

    /// Whether the named context is an image without a digest.
    pub(crate) fn is_open_context(&self, name: &str) -> bool {
        let context = self.as_build().and_then(|build| build.contexts.get(name));
        matches!(context, Some(Context::Given(address)) if address.starts_with(IMAGE) && !address.contains('@'))
    }

    /// What builds it, once that is settled.
    #[must_use]
    pub fn builder(&self) -> Engine {
        self.engine.unwrap_or_default()
    }

    /// Whether it is packed from a folder, without an engine.
    #[must_use]
    pub fn is_packed(&self) -> bool {
        matches!(self.source, Source::Pack(_))
    }

    /// Completes a `hashctx` command so that its key covers whatever decides about the image's
    /// content. `bases` are the digests, keys or IDs of images that the build uses, beside those of
    /// larder.toml; `needs` the keys or IDs of those that it needs, by their names there; `named`
    /// how it is to name images.
    #[must_use]
    pub fn describe(
        &self,
        hashctx: Cmd,
        bases: &BTreeMap<String, String>,
        needs: &BTreeMap<String, String>,
        named: &Named<'_>,
    ) -> Cmd {
        let needed = needs.iter().map(|(name, by)| format!("needs.{name}={by}"));
        let hashctx = needed.fold(hashctx, |cmd, input| cmd.flag("--input", &input));
        let variables = self.inputs_env.iter();
        let variables =
            variables.map(|(name, value)| format!("env.{name}={}", value.as_deref().unwrap_or("unset")));
        let hashctx = variables.fold(hashctx, |cmd, input| cmd.flag("--input", &input));
        match &self.source {
            Source::Build(build) => {
                let cmd = self.hashed_build(build, (needs, named.contexts), hashctx);
                let cmd = if self.ignore == Ignore::All { cmd.flag("--ignore", "all") } else { cmd };
                let inputs = build.labels.iter().map(|(name, value)| format!("label.{name}={value}"));
                let cmd = inputs.fold(cmd, |cmd, input| cmd.flag("--input", &input));
                let cmd = pairs(pairs(cmd, "--base", &build.base), "--base", bases);
                let cmd = pairs(pairs(cmd, "--pin", named.pins), "--use", named.uses);
                let source = if named.checks { "--pin-source" } else { "--source" };
                pairs(cmd, source, named.sources).path(&build.context)
            }
            Source::Pack(pack) => {
                let cmd = hashctx.flag("--ignore", self.ignore.name());
                pack.inputs(&self.platform().to_string())
                    .iter()
                    .fold(cmd, |cmd, input| cmd.flag("--input", input))
                    .path(&pack.dir)
            }
        }
    }

    /// Completes a `hashctx --images` command, which says what images the build uses. `None` where
    /// no engine builds it.
    #[must_use]
    pub fn images(&self, hashctx: Cmd) -> Option<Cmd> {
        let none = BTreeMap::new();
        self.as_build().map(|build| self.hashed_build(build, (&none, &none), hashctx))
    }

    /// The folder that it is made from, relative to larder.toml.
    #[must_use]
    pub fn folder(&self) -> &Utf8Path {
        match &self.source {
            Source::Build(build) => &build.context,
            Source::Pack(pack) => &pack.dir,
        }
    }

    /// Completes a `hashctx --check-ignore` command, which asks of what it is made.
    #[must_use]
    pub fn check_ignore(&self, hashctx: Cmd) -> Cmd {
        let none = BTreeMap::new();
        let cmd = match &self.source {
            Source::Build(build) => {
                let cmd = self.hashed_build(build, (&none, &none), hashctx);
                if self.ignore == Ignore::All { cmd.flag("--ignore", "all") } else { cmd }
            }
            Source::Pack(_) => hashctx.flag("--ignore", self.ignore.name()),
        };
        cmd.path(self.folder())
    }

    /// What an engine builds it from.
    #[must_use]
    pub fn as_build(&self) -> Option<&Build> {
        match &self.source {
            Source::Build(build) => Some(build),
            Source::Pack(_) => None,
        }
    }

    /// What of a build both of hashctx's questions have. `needs` and `contexts` say by what images
    /// are known that are named contexts.
    fn hashed_build(
        &self,
        build: &Build,
        (needs, contexts): (&BTreeMap<String, String>, &BTreeMap<String, String>),
        hashctx: Cmd,
    ) -> Cmd {
        let cmd = hashctx.arg("-f").path(&build.file());
        let cmd = optional(cmd, "--target", build.target.as_deref());
        let cmd = pairs(cmd.flag("--platform", &self.platform().to_string()), "--build-arg", &build.args);
        let cmd = named_contexts(cmd, build, |name, context| context.hashed(needs, contexts.get(name)));
        // Other ignore files, read by other rules; other args that are set by themselves.
        if self.builder() == Engine::Podman { cmd.flag("--engine", "podman") } else { cmd }
    }

    /// Completes a `docker build` command; the Dockerfile and the context come from where `handed`
    /// says. It gives the image no name.
    ///
    /// The platform is always named: engines have a default of their own
    /// (`DOCKER_DEFAULT_PLATFORM`, another machine's). A packed image gives the command back as it
    /// was.
    #[must_use]
    pub fn build(&self, docker_build: Cmd, handed: Handed<'_>) -> Cmd {
        let Some(build) = self.as_build() else { return docker_build };
        // In a piped context the Dockerfile is named as the context sees it.
        let file = match handed {
            Handed::Folder => build.file(),
            Handed::Dockerfile(file) => file.to_owned(),
            Handed::Tar if self.builder() == Engine::Podman => only_within(&build.dockerfile),
            Handed::Tar => plain(&build.dockerfile),
        };
        let cmd = optional(docker_build.arg("-f").path(&file), "--target", build.target.as_deref());
        let cmd = cmd.flag("--platform", &self.platform().to_string());
        let cmd = pairs(pairs(cmd, "--build-arg", &build.args), "--label", &build.labels);
        let cmd = named_contexts(cmd, build, |_, context| context.text());
        let cmd = build.secrets.iter().fold(cmd, |cmd, (id, secret)| cmd.flag("--secret", &secret.flag(id)));
        let cmd = build.ssh.iter().fold(cmd, |cmd, key| cmd.flag("--ssh", key));
        let cmd = optional(cmd, "--network", build.network.as_deref());
        let cmd = build.cache_from.iter().fold(cmd, |cmd, image| cmd.flag("--cache-from", image));
        let cmd = build.flags.iter().fold(cmd, |cmd, (flag, value)| cmd.flag(flag, value));
        if handed == Handed::Tar { cmd.arg("-") } else { cmd.path(&build.context) }
    }

    /// Completes an `imgtar pack KEY` command with the image's settings.
    #[must_use]
    pub fn pack(&self, imgtar_pack: Cmd) -> Cmd {
        let Source::Pack(pack) = &self.source else { return imgtar_pack };
        let cmd = imgtar_pack.flag("--platform", &self.platform().to_string());
        let cmd = optional(cmd, "--entrypoint", words(&pack.entrypoint).as_deref());
        let cmd = optional(pairs(cmd, "--env", &pack.env), "--workdir", pack.workdir.as_deref());
        pairs(cmd, "--label", &pack.labels)
    }

    /// What of its settings looks like a variable of the shell's and is taken as it stands.
    #[must_use]
    pub fn literals(&self) -> Vec<String> {
        let in_map = |table: &str, map: &BTreeMap<String, String>| {
            let odd = map.iter().filter(|(_, value)| names_one(value, true));
            odd.map(|(name, value)| format!("`{table}.{name}` has the text `{value}`")).collect::<Vec<_>>()
        };
        match &self.source {
            Source::Build(_) => self.literals.clone(),
            Source::Pack(pack) => {
                [in_map("pack.env", &pack.env), in_map("pack.labels", &pack.labels)].concat()
            }
        }
    }

    /// The platform that it is hashed and built for. It is always spelt out: two machines of
    /// different kinds must not share a key.
    #[must_use]
    pub fn platform(&self) -> Platform {
        self.platform.clone().unwrap_or_default()
    }
}

impl Build {
    /// The Dockerfile, relative to larder.toml.
    pub(crate) fn file(&self) -> Utf8PathBuf {
        plain(&self.context.join(&self.dockerfile))
    }
}

impl Secret {
    /// As `--secret` has it; the value is the engine's to read.
    fn flag(&self, id: &str) -> String {
        match self {
            Self::Variable(name) => format!("id={id},env={name}"),
            Self::File(path) => format!("id={id},src={path}"),
        }
    }
}

impl Pack {
    /// The settings as declared inputs, one each, so that a difference names the setting.
    fn inputs(&self, platform: &str) -> Vec<String> {
        let mut inputs = vec![format!("pack.platform={platform}")];
        inputs.extend(
            self.entrypoint.iter().enumerate().map(|(index, word)| format!("pack.entrypoint.{index}={word}")),
        );
        inputs.extend(self.env.iter().map(|(name, value)| format!("pack.env.{name}={value}")));
        inputs.extend(self.workdir.iter().map(|dir| format!("pack.workdir={dir}")));
        inputs.extend(self.labels.iter().map(|(name, value)| format!("pack.label.{name}={value}")));
        inputs
    }
}

fn optional(cmd: Cmd, flag: &str, value: Option<&str>) -> Cmd {
    match value {
        Some(value) => cmd.flag(flag, value),
        None => cmd,
    }
}

fn pairs(cmd: Cmd, flag: &str, map: &BTreeMap<String, String>) -> Cmd {
    map.iter().fold(cmd, |cmd, (name, value)| cmd.flag(flag, &format!("{name}={value}")))
}

fn named_contexts(cmd: Cmd, build: &Build, text: impl Fn(&String, &Context) -> String) -> Cmd {
    let given = build.contexts.iter().map(|(name, context)| format!("{name}={}", text(name, context)));
    given.fold(cmd, |cmd, given| cmd.flag("--build-context", &given))
}

/// One word as it is, several as a JSON list; `None` for none.
fn words(words: &[String]) -> Option<String> {
    match words {
        [] => None,
        [word] if !word.starts_with('[') => Some(word.clone()),
        several => Some(serde_json::Value::from(several.to_vec()).to_string()),
    }
}

/// The path as podman finds it in a piped context: that looks in its own folder first, where
/// another file may have the name. A folder that is not there leads nowhere then, and within the
/// context its name falls away, as podman joins the two.
fn only_within(path: &Utf8Path) -> Utf8PathBuf {
    Utf8Path::new(".larder-nowhere/..").join(plain(path))
}

/// The path without `./` in front, as one would type it.
fn plain(path: &Utf8Path) -> Utf8PathBuf {
    path.strip_prefix(".").unwrap_or(path).to_owned()
}
