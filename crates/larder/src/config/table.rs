//! `[image.NAME]` as it is written, with what is wrong in it refused.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use camino::Utf8PathBuf;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use storekit::Platform;
use storekit::size::Age;
use toml::Spanned;
use toolkit::Engine;

use super::checks::{
    are_names, clients, is_base, is_limit, is_path, is_secret_name, is_variable, is_word, leaves,
};
use super::disk::Cache;
use super::expand::platforms;
use super::fault::Fault;
use super::image::{Build, Context, Ignore, Image, Pack, Secret, Source};
use super::{names, outputs};

/// One image, with everything that its defaults, its ancestors and its matrix give it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ImageTable {
    description: Option<String>,
    context: Option<Spanned<Utf8PathBuf>>,
    dockerfile: Option<Spanned<Utf8PathBuf>>,
    target: Option<Spanned<String>>,
    #[serde(default)]
    args: Pairs,
    #[serde(default, deserialize_with = "platform")]
    platform: Option<Platform>,
    #[serde(default)]
    base: Pairs,
    #[serde(default)]
    contexts: Pairs,
    #[serde(default)]
    labels: Pairs,
    #[serde(default)]
    secrets: BTreeMap<Spanned<String>, Spanned<SecretTable>>,
    ssh: Option<Spanned<Ssh>>,
    #[serde(default)]
    inputs_env: Vec<Spanned<String>>,
    network: Option<Spanned<String>>,
    #[serde(default)]
    engine_cache: EngineCache,
    #[serde(default)]
    packages: Vec<Spanned<String>>,
    #[serde(default)]
    needs: Vec<Spanned<String>>,
    timeout: Option<Spanned<Age>>,
    tags: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    ignore: Ignore,
    engine: Option<Engine>,
    #[serde(default)]
    cache: Cache,
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

/// Where a secret comes from: one of the two.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table, such as `{ env = \"VARIABLE\" }`")]
struct SecretTable {
    env: Option<Spanned<String>>,
    file: Option<Spanned<Utf8PathBuf>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct EngineCache {
    #[serde(default)]
    tiers: bool,
    #[serde(default)]
    from: Vec<Spanned<String>>,
    #[serde(default)]
    to: Vec<Spanned<String>>,
}

/// Which keys of the user's a build may use.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected `true`, or a list such as `[\"default\"]`")]
enum Ssh {
    Agent(bool),
    Keys(Vec<String>),
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
pub(super) type Pairs = BTreeMap<Spanned<String>, Spanned<String>>;

/// One word, or several.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text, or a list of texts")]
pub(super) enum Words {
    One(String),
    Many(Vec<String>),
}

impl Words {
    pub(super) fn to_vec(&self) -> Vec<String> {
        match self {
            Self::One(word) => vec![word.clone()],
            Self::Many(words) => words.clone(),
        }
    }
}

fn platform<'de, D: Deserializer<'de>>(written: D) -> Result<Option<Platform>, D::Error> {
    let text = String::deserialize(written)?;
    platforms::parsed(&text).map(Some).map_err(D::Error::custom)
}

pub(super) fn yes() -> bool {
    true
}

pub(super) fn plain(pairs: Pairs) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, value)| (name.into_inner(), value.into_inner())).collect()
}

/// An image, with the places of what is checked against others.
pub(super) struct Read {
    pub(super) image: Image,
    pub(super) tags: Vec<Spanned<String>>,
    pub(super) needs: Vec<Spanned<String>>,
    /// Of the named contexts that are images of the file, their names.
    pub(super) contexts: Vec<Spanned<String>>,
    /// Those of its outputs, in their order.
    pub(super) outputs: Vec<Range<usize>>,
}

impl ImageTable {
    /// The image called so, with wrong values refused. `at` is the place of the name. `platform`:
    /// the image is one of several, and its tags are to tell that.
    pub(super) fn checked(
        self,
        name: &str,
        at: Range<usize>,
        platform: Option<&Platform>,
    ) -> Result<Read, Fault> {
        self.check_values()?;
        if self.pack.is_some() && self.builds() {
            return Err(Fault::new(
                format!("image `{name}` has `pack` and settings of a Dockerfile build"),
                at,
                "keep `pack`, or `context`, `dockerfile`, `target`, `args`, `base` and the like",
            ));
        }
        if let Some(file) = self.dockerfile.as_ref().filter(|file| leaves(file.get_ref()))
            && self.ignore == Ignore::All
        {
            return Err(Fault::new(
                format!("image `{name}` has its Dockerfile outside its context"),
                file.span(),
                "with `ignore = \"all\"` the engine is handed a tar of the context: move the Dockerfile into it",
            ));
        }
        let plain = self.tags(name, at)?;
        let own = |tag: &Spanned<String>| match platform {
            Some(platform) => Spanned::new(tag.span(), platforms::tag(tag.get_ref(), platform)),
            None => tag.clone(),
        };
        let tags: Vec<_> = plain.iter().map(own).collect();
        let outputs = outputs::checked(&self.outputs)?;
        let needs = self.needs.clone();
        let contexts = self.contexts.values().filter_map(image_of).collect();
        let plain_tags = texts(&plain);
        let places = self.outputs.keys().map(Spanned::span).collect();
        let image = Image { plain_tags, outputs, ..self.into_image(name, &tags)? };
        Ok(Read { image, tags, needs, contexts, outputs: places })
    }

    fn builds(&self) -> bool {
        let pairs = [&self.args, &self.base, &self.contexts, &self.labels];
        self.context.is_some()
            || self.dockerfile.is_some()
            || self.target.is_some()
            || self.network.is_some()
            || !self.packages.is_empty()
            || !self.secrets.is_empty()
            || self.ssh.as_ref().is_some_and(|ssh| !matches!(ssh.get_ref(), Ssh::Agent(false)))
            || self.engine_cache.tiers
            || !self.engine_cache.from.is_empty()
            || !self.engine_cache.to.is_empty()
            || pairs.iter().any(|pairs| !pairs.is_empty())
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
        are_names("labels", &self.labels)?;
        are_names("contexts", &self.contexts)?;
        self.secrets.keys().try_for_each(is_secret_name)?;
        self.inputs_env.iter().try_for_each(is_variable)?;
        is_limit(self.timeout.as_ref())?;
        if let Some(network) = &self.network {
            let help = "write `host`, `none` or `default`, as `docker build --network` has it";
            is_word("`network`", network, help)?;
        }
        if let Some(ssh) = &self.ssh
            && let Ssh::Keys(keys) = ssh.get_ref()
        {
            let help =
                "write `\"default\"` for the agent's keys, or `\"ID=PATH\"`, as `docker build --ssh` has it";
            let id = |key: &String| key.split('=').next().unwrap_or_default().to_owned();
            let ids = keys.iter().map(|key| Spanned::new(ssh.span(), id(key)));
            ids.into_iter().try_for_each(|id| is_word("an id of `ssh`", &id, help))?;
        }
        let not_name = |name: &&Spanned<String>| !names::is_name(name.get_ref());
        if let Some(name) = self.engine_cache.from.iter().chain(&self.engine_cache.to).find(not_name) {
            let help = "name an image in a registry, such as `registry.example/team/app:cache`";
            let message = format!("`{}` is not a valid image name", name.get_ref());
            return Err(Fault::new(message, name.span(), help));
        }
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
                tag_help(bad.get_ref()),
            )),
            None => Ok(tags),
        }
    }

    fn into_image(self, name: &str, tags: &[Spanned<String>]) -> Result<Image, Fault> {
        let secrets = self.secrets.into_iter().map(|(id, table)| Ok((id.into_inner(), secret(table)?)));
        let secrets = secrets.collect::<Result<_, Fault>>()?;
        let packages = clients(&self.packages)?;
        let source = match self.pack {
            Some(pack) => Source::Pack(pack.into_pack()),
            None => Source::Build(Build {
                context: self.context.map_or_else(|| ".".into(), Spanned::into_inner),
                dockerfile: self.dockerfile.map_or_else(|| "Dockerfile".into(), Spanned::into_inner),
                target: self.target.map(Spanned::into_inner),
                args: plain(self.args),
                base: plain(self.base),
                contexts: plain(self.contexts)
                    .into_iter()
                    .map(|(name, text)| (name, Context::Given(text)))
                    .collect(),
                labels: plain(self.labels),
                secrets,
                ssh: self.ssh.map(|ssh| ssh.into_inner().keys()).unwrap_or_default(),
                network: self.network.map(Spanned::into_inner),
                cache_tiers: self.engine_cache.tiers,
                cache_from: texts(&self.engine_cache.from),
                cache_to: texts(&self.engine_cache.to),
                ..Build::default()
            }),
        };
        Ok(Image {
            name: name.to_owned(),
            group: name.to_owned(),
            plain: name.to_owned(),
            at: 0..0,
            description: self.description,
            source,
            platform: self.platform,
            tags: texts(tags),
            plain_tags: Vec::new(),
            ignore: self.ignore,
            engine: self.engine,
            use_image_cache: self.use_image_cache && self.cache.images,
            packages: if self.cache.packages { packages } else { Vec::new() },
            outputs: Vec::new(),
            needs: Vec::new(),
            timeout: self.timeout.map(Spanned::into_inner),
            lock: self.lock,
            refresh: self.refresh.and_then(|refresh| refresh.0),
            literals: Vec::new(),
            own_args: BTreeSet::new(),
            inputs_env: self.inputs_env.into_iter().map(|name| (name.into_inner(), None)).collect(),
            pin: None,
            writes: Vec::new(),
        })
    }
}

fn texts(tags: &[Spanned<String>]) -> Vec<String> {
    tags.iter().map(|tag| tag.get_ref().clone()).collect()
}

fn tag_help(tag: &str) -> &'static str {
    if tag.contains('{') {
        "`{image}` stands for the image's name, `{NAME}` for a value of its `matrix`, and `{platform}` for one of its `platforms`"
    } else {
        "image names are lower case, as in `team/app:1.2`; `tags = […]` names the image otherwise than its table"
    }
}

/// The image of the file that a named context is.
fn image_of(context: &Spanned<String>) -> Option<Spanned<String>> {
    let name = context.get_ref().strip_prefix("image:")?;
    Some(Spanned::new(context.span(), name.to_owned()))
}

fn secret(table: Spanned<SecretTable>) -> Result<Secret, Fault> {
    let at = table.span();
    match table.into_inner() {
        SecretTable { env: Some(name), file: None } if !name.get_ref().trim().is_empty() => {
            Ok(Secret::Variable(name.into_inner()))
        }
        SecretTable { env: None, file: Some(path) } => {
            is_path("file", &path, "name a file, relative to larder.toml")?;
            Ok(Secret::File(path.into_inner()))
        }
        _ => Err(Fault::new(
            "a secret comes from one place",
            at,
            "write `{ env = \"VARIABLE\" }` or `{ file = \"PATH\" }`: the value itself never stands here",
        )),
    }
}

impl Ssh {
    fn keys(self) -> Vec<String> {
        match self {
            Self::Agent(false) => Vec::new(),
            Self::Agent(true) => vec!["default".to_owned()],
            Self::Keys(keys) => keys,
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
