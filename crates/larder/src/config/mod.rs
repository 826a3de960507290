//! larder.toml: what a project bakes, read and checked.
//!
//! The texts go through in one direction: `layers` (files and what the command line sets), `expand`
//! (tables with all that they inherit), `table` and `disk` (values, each checked where it stands),
//! and at last what is checked of all images together. Tables of other tools are known
//! by their keys (`foreign`). What a value would only be refused for later, by hashctx or
//! an engine, is refused here.

use std::collections::BTreeMap;
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use storekit::Platform;
use toml::Spanned;
use toml::de::DeValue;

mod checks;
pub mod chosen;
mod command_line;
pub mod compose;
pub mod disk;
mod expand;
mod fault;
mod foreign;
pub mod image;
mod layers;
pub mod names;
pub mod outputs;
pub mod reference;
pub mod secrets;
pub mod step;
mod table;
pub mod tiers;

pub use fault::{ConfigError, Invalid};

pub use self::compose::Compose;
use self::compose::ComposeTable;
use self::compose::services::{self, Services};
use self::disk::{Cache, Disk, DiskTable, ReadDisk};
pub use self::expand::variables::Variables;
use self::expand::{Entry, platforms};
pub(crate) use self::fault::Fault;
use self::fault::{misread, misread_beside};
use self::image::{Context, Image, Source};
use self::layers::{Layers, Table};
use self::names::meant::Names;
use self::step::{CiTable, Step};
use self::table::{ImageTable, Read};
use self::tiers::profile::{self, Around, Profile, ProfileTables};
use self::tiers::tier::{self, Tier, TierTables};
use toolkit::tables::unknown_table;

/// The file's name.
pub const FILE: &str = "larder.toml";

/// What larder.toml says, as far as it concerns larder.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Project {
    /// The images, in the order of their tables and of the values of their matrix.
    pub images: Vec<Image>,
    /// The disks, in the order of their tables.
    pub disks: Vec<Disk>,
    /// The steps that `ci` runs.
    pub steps: Vec<Step>,
    /// Where `ci` keeps what its steps print.
    pub ci_log: Option<Utf8PathBuf>,
    /// Where else images are kept, in the order of their tables.
    pub tiers: Vec<Tier>,
    /// The kinds of build, in the order of their tables.
    pub profiles: Vec<Profile>,
    /// What `bake --compose` does where no flag says otherwise.
    pub compose: Compose,
    /// The texts that it was read from.
    layers: Layers,
}

impl Project {
    /// What is wrong with an image, with its line marked.
    #[must_use]
    pub(crate) fn fault(&self, image: &Image, message: String, help: &str) -> ConfigError {
        self.fault_at(&image.at, message, help)
    }

    /// What is wrong with the image or disk that stands there.
    pub(crate) fn fault_at(&self, at: &Range<usize>, message: String, help: &str) -> ConfigError {
        self.layers.explain("cannot be baked", Fault::new(message, at.clone(), help))
    }

    /// What is wrong with the step of which something stands there.
    pub(crate) fn fault_of_step(&self, at: &Range<usize>, message: String, help: &str) -> ConfigError {
        self.layers.explain("cannot be run", Fault::new(message, at.clone(), help))
    }
}

/// What the command line and the environment add to the files.
pub struct Given<'a> {
    /// `NAME.KEY=VALUE`, above what the files say.
    pub set: &'a [String],
    /// `NAME=VALUE`, or the name of a variable: args of all builds.
    pub build_args: &'a [String],
    /// The environment variables.
    pub variables: Variables<'a>,
}

/// Finds the nearest larder.toml from `folder` upward.
///
/// # Errors
/// `Missing`, where there is none.
pub fn find(folder: &Utf8Path) -> Result<Utf8PathBuf, ConfigError> {
    let found = folder.ancestors().map(|dir| dir.join(FILE)).find(|path| path.is_file());
    found.ok_or_else(|| ConfigError::Missing { folder: folder.to_owned() })
}

/// Reads and checks one larder.toml, with larder.local.toml above it and what is given above both.
///
/// # Errors
/// Unreadable, not TOML, or not what larder knows: the error marks the place.
pub fn load(path: &Utf8Path, given: &Given<'_>) -> Result<Project, ConfigError> {
    let mut layers = Layers::read(path)?;
    let project = command_line::add(&mut layers, given)
        .and_then(|()| project(&layers, given.variables, None, path.parent()));
    match project {
        Ok(project) => Ok(Project { layers, ..project }),
        Err(fault) => Err(layers.explain("is not understood", fault)),
    }
}

/// The services of compose files as images, with what larder.toml says of them and of other images.
/// There need not be a larder.toml.
///
/// # Errors
/// As `load`; a service that is not what an image of larder.toml could be.
pub(crate) fn with_services(
    path: Option<&Utf8Path>,
    services: &Services,
    given: &Given<'_>,
) -> Result<Project, ConfigError> {
    let mut layers = path.map_or_else(|| Ok(Layers::default()), Layers::read)?;
    let project = command_line::add(&mut layers, given).and_then(|()| {
        services.texts.iter().for_each(|(name, text)| layers.add_foreign(name, text));
        project(&layers, given.variables, Some(services), path.and_then(Utf8Path::parent))
    });
    match project {
        Ok(project) => Ok(Project { layers, ..project }),
        Err(fault) => Err(layers.explain("is not understood", fault)),
    }
}

/// Checks the text of a larder.toml that is not written yet.
///
/// # Errors
/// As `load`.
pub(crate) fn check(text: &str, variables: Variables<'_>) -> Result<(), ConfigError> {
    let mut layers = Layers::default();
    layers.add(FILE, text);
    project(&layers, variables, None, None)
        .map(drop)
        .map_err(|fault| layers.explain("is not understood", fault))
}

/// `folder`: larder.toml's, where there is one.
fn project(
    layers: &Layers,
    variables: Variables<'_>,
    services: Option<&Services>,
    folder: Option<&Utf8Path>,
) -> Result<Project, Fault> {
    let mut file = layers.merged()?;
    right_version(&file)?;
    known_tables(&file)?;
    foreign::check(&file)?;
    let mut images = expand::images(&mut file)?;
    let mut disks = expand::disks(&mut file)?;
    let own = services::tables(&mut file)?;
    if let Some(services) = services {
        let services = services::entries(services, layers, &expand::defaults(&file)?, own)?;
        // A service is what its file says, and not what larder.toml says under the same name.
        images.retain(|image| !services.iter().any(|one| [&image.name, &image.group].contains(&&one.name)));
        disks.retain(|disk| !services.iter().any(|one| one.name == disk.name));
        images.extend(services);
    }
    for (names, over) in layers.of_images()? {
        command_line::set(names, &over, &mut images, &mut disks)?;
    }
    no_namesakes(&images, &disks)?;
    valid_defaults(&mut file)?;
    let at = 0..0;
    let rest = File::deserialize(expand::as_value(at, file).into_deserializer());
    let rest = rest.map_err(|error| misread(&error))?;
    let caches = rest.cache;
    let disks = disks.into_iter().map(|entry| disk(entry, caches, variables)).collect::<Result<_, _>>()?;
    let read = images.into_iter().map(|entry| image(entry, caches, variables));
    let (mut images, disks, names) = settled(read.collect::<Result<_, _>>()?, disks)?;
    for service in services.into_iter().flat_map(|services| &services.services) {
        if let Some(image) = images.iter_mut().find(|image| image.name == service.name) {
            services::complete(image, service);
        }
    }
    // With a compose file's services in the place of images, steps are not what is asked for.
    let steps = if services.is_some() { Vec::new() } else { rest.ci.steps(&names)? };
    let tiers = tier::tiers(rest.tier)?;
    let names: Vec<_> = images.iter().map(|image| image.plain.as_str()).collect();
    let profiles = profile::profiles(rest.profile, &Around { tiers: &tiers, images: &names, folder })?;
    Ok(Project {
        images,
        disks,
        steps,
        compose: rest.compose.checked()?,
        ci_log: rest.ci.log.map(Spanned::into_inner),
        tiers,
        profiles,
        layers: Layers::default(),
    })
}

fn image(mut entry: Entry<'_>, caches: Cache, variables: Variables<'_>) -> Result<Read, Fault> {
    let at = entry.at.clone();
    expand::settle(&mut entry, variables)?;
    let own: Vec<_> = entry.table.keys().map(Spanned::span).collect();
    let table = ImageTable::deserialize(expand::as_value(entry.at.clone(), entry.table).into_deserializer());
    let other = entry.platform.as_ref().filter(|_| !entry.tells);
    let mut read = table.map_err(|error| misread_beside(&error, &own, &expand::TAKEN))?.checked(
        &entry.plain,
        entry.at,
        other,
    )?;
    read.image.name = entry.name;
    read.image.group = entry.group;
    read.image.at = at;
    read.image.use_image_cache &= caches.images;
    if !caches.packages {
        read.image.packages.clear();
    }
    read.image.literals.extend(entry.literals);
    read.image.own_args = entry.own_args;
    for (name, digest) in &mut read.image.inputs_env {
        *digest = variables(name).map(|value| format!("b3:{}", blake3::hash(value.as_bytes()).to_hex()));
    }
    Ok(read)
}

fn disk(mut entry: Entry<'_>, caches: Cache, variables: Variables<'_>) -> Result<ReadDisk, Fault> {
    expand::settle(&mut entry, variables)?;
    let at = entry.at.clone();
    let table = DiskTable::deserialize(expand::as_value(entry.at, entry.table).into_deserializer());
    table.map_err(|error| misread(&error))?.checked(&entry.name, at, caches)
}

/// Refuses a file for another larder: before anything else in it is judged.
fn right_version(file: &Table<'_>) -> Result<(), Fault> {
    let Some(value) = file.get("larder").and_then(|larder| larder.get_ref().get("version")) else {
        return Ok(());
    };
    let own = env!("CARGO_PKG_VERSION");
    let help = "write the oldest larder that will do: `version = \"0.1\"`, or `\">=0.1, <0.3\"`";
    let wanted = value.get_ref().as_str().unwrap_or_default();
    // semver takes a lone letter for any version.
    let has_digit = wanted.contains(|c: char| c.is_ascii_digit());
    let Some(wanted_is) = semver::VersionReq::parse(wanted).ok().filter(|_| has_digit) else {
        return Err(Fault::new("`version` is not a version", value.span(), help));
    };
    // A version alone means the oldest that will do, and not, as for a crate, a series.
    let alone = wanted.trim().starts_with(|c: char| c.is_ascii_digit());
    let wanted_is = if alone { semver::VersionReq::parse(&format!(">={wanted}")) } else { Ok(wanted_is) };
    let fits =
        semver::Version::parse(own).ok().zip(wanted_is.ok()).is_some_and(|(own, req)| req.matches(&own));
    if fits {
        return Ok(());
    }
    let message = format!("this is larder {own}, and the file is for `{wanted}`");
    Err(Fault::new(message, value.span(), "install that version of larder, or change `[larder] version`"))
}

/// Refuses a table that no tool knows: a misspelt one would silently mean nothing.
fn known_tables(file: &Table<'_>) -> Result<(), Fault> {
    let unknown = file.keys().find_map(|name| Some((unknown_table(name.get_ref())?, name.span())));
    unknown.map_or(Ok(()), |((message, help), at)| Err(Fault::new(message, at, help)))
}

/// What is left when images and disks are taken out.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    cache: Cache,
    #[serde(default)]
    ci: CiTable,
    #[serde(default)]
    tier: TierTables,
    #[serde(default)]
    profile: ProfileTables,
    #[serde(default)]
    compose: ComposeTable,
    // Only to refuse misspelt keys: where the store lies is storekit's to read.
    #[serde(default, rename = "store")]
    _store: StoreTable,
    // gcctl reads it.
    #[serde(default, rename = "extra")]
    _extra: Vec<toolkit::tables::Extra>,
    #[serde(default, rename = "larder")]
    _larder: LarderTable,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreTable {
    #[serde(rename = "dir")]
    _dir: Option<Utf8PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LarderTable {
    #[serde(rename = "version")]
    _version: Option<String>,
}

/// Takes the defaults out, once it is known that each of them could be an image's: where there is
/// no image, nothing else would tell.
fn valid_defaults(file: &mut Table<'_>) -> Result<(), Fault> {
    let Some(defaults) = file.remove("defaults") else { return Ok(()) };
    let at = defaults.span();
    let DeValue::Table(mut table) = defaults.into_inner() else { return Ok(()) };
    platforms::taken(&mut table)?;
    let mut entry = Entry::new("defaults", at.clone(), table);
    expand::settle(&mut entry, &|_| Some(String::new()))?;
    let own: Vec<_> = entry.table.keys().map(Spanned::span).collect();
    let read = ImageTable::deserialize(expand::as_value(at, entry.table).into_deserializer());
    read.map(drop).map_err(|error| misread_beside(&error, &own, &["platforms"]))
}

/// What is checked of all images and disks together: names and tags that are one image's, places
/// that are one disk's, and what one needs of another.
fn settled(read: Vec<Read>, disks: Vec<ReadDisk>) -> Result<(Vec<Image>, Vec<Disk>, Names), Fault> {
    one_owner_each(&read)?;
    outputs::apart(&read, &disks)?;
    let names = Names {
        images: read.iter().map(|read| read.image.called()).collect(),
        disks: disks.iter().map(|read| read.disk.name.clone()).collect(),
    };
    let tags: BTreeMap<_, _> = read
        .iter()
        .map(|read| (read.image.name.clone(), read.image.tags.first().cloned().unwrap_or_default()))
        .collect();
    let mut images = Vec::new();
    for Read { mut image, needs, contexts, .. } in read {
        let (own, platform) = (image.name.clone(), image.platform());
        for need in needs {
            image.needs.extend(names.needed(&need, &own, &platform)?);
        }
        for context in contexts {
            let members = names.images(&context, &own, &platform)?;
            let [member] = members.as_slice() else {
                let help = format!(
                    "name one of its images, such as `image:{}`",
                    members.first().map_or("", String::as_str)
                );
                let message = format!("`{}` is {} images", context.get_ref(), members.len());
                return Err(Fault::new(message, context.span(), help));
            };
            image.needs.push(member.clone());
            if let Source::Build(build) = &mut image.source {
                let given = Context::Given(format!("image:{}", context.get_ref()));
                let tag = tags.get(member).cloned().unwrap_or_default();
                build
                    .contexts
                    .values_mut()
                    .filter(|own| **own == given)
                    .for_each(|own| *own = Context::Image { name: member.clone(), tag: tag.clone() });
            }
        }
        images.push(image);
    }
    let mut made = Vec::new();
    for ReadDisk { mut disk, needs, .. } in disks {
        for need in needs {
            disk.needs.extend(names.needed(&need, &disk.name, &Platform::host())?);
        }
        made.push(disk);
    }
    Ok((images, made, names))
}

/// Refuses two images that have one name: each bake of one would take it from the other.
fn one_owner_each(read: &[Read]) -> Result<(), Fault> {
    let mut owners = BTreeMap::new();
    for Read { image, tags, .. } in read {
        for tag in tags {
            let owner = *owners.entry(names::any_engines(tag.get_ref())).or_insert(&image.name);
            if *owner != image.name {
                return Err(Fault::new(
                    format!("images `{owner}` and `{}` have one name, `{}`", image.name, tag.get_ref()),
                    tag.span(),
                    "give each its own in `tags`: a build of one takes the name from the other",
                ));
            }
        }
    }
    Ok(())
}

/// Refuses two images or disks of one name: a bake is asked for by names.
fn no_namesakes(images: &[Entry<'_>], disks: &[Entry<'_>]) -> Result<(), Fault> {
    let help = "give one of them another name: `larder bake NAME` must mean one";
    let is_image =
        |name: &String| images.iter().any(|image| [&image.name, &image.group, &image.plain].contains(&name));
    if let Some(disk) = disks.iter().find(|disk| is_image(&disk.name)) {
        return Err(Fault::new(
            format!("`{}` is both an image and a disk", disk.name),
            disk.at.clone(),
            help,
        ));
    }
    let mut seen = BTreeMap::new();
    for image in images {
        let other = seen.insert(&image.name, image);
        if other.is_some() || images.iter().any(|other| other.group == image.name && other.name != image.name)
        {
            return Err(Fault::new(
                format!("two images are called `{}`", image.name),
                image.at.clone(),
                help,
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) fn parse(text: &str) -> Result<Project, Fault> {
    let mut layers = Layers::default();
    layers.add(FILE, text);
    project(&layers, &|_| None, None, None)
}

#[cfg(test)]
mod tests;
