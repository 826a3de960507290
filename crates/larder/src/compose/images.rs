//! The services of a project's compose files, read and made images of larder's.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use camino::{Utf8Path, Utf8PathBuf};
use storekit::Platform;

use super::build::{Around, Built, built};
use super::load::{Loader, Originals};
use super::merge::settle;
use super::project::{Found, Request, Surroundings, find, is_active};
use super::source::{ComposeError, Fault, Place, Sources};
use super::yaml::{Key, Map, Node};
use crate::config::compose::services::{Said, Service, Services};
use crate::config::image::PINNED;
use crate::config::names;
use toolkit::nearest::question;

/// A project's compose files, read.
pub(crate) struct Composed {
    /// The files that are named, in full, the lowest first.
    pub(crate) files: Vec<Utf8PathBuf>,
    /// Whether they are those that compose finds by itself.
    pub(crate) by_default: bool,
    /// The project's folder.
    pub(crate) folder: Utf8PathBuf,
    /// All that was read.
    pub(crate) sources: Sources,
    /// What all files say together.
    pub(crate) whole: Node,
    /// Which services each text says something of, the lowest first: by its number among the
    /// sources.
    pub(crate) said_in: Vec<(usize, String)>,
    /// The services that are built, as images.
    pub(crate) services: Services,
    /// The names of those to be baked.
    pub(crate) chosen: Vec<String>,
    /// What people should know.
    pub(crate) notes: Vec<String>,
    /// Has inline Dockerfiles and the like, as long as this lives.
    _temp: tempfile::TempDir,
}

/// What of the compose files is wanted, and where.
pub(crate) struct Wanted<'a> {
    /// What the command line says of the files.
    pub(crate) request: &'a Request,
    /// What the process and larder.toml say.
    pub(crate) around: Surroundings<'a>,
    /// The folder that larder works in; the project's own where none is given.
    pub(crate) root: Option<&'a Utf8Path>,
    /// The services; none means those of larder.toml, else all that are built.
    pub(crate) names: &'a [String],
}

/// Reads the compose files. `originals`: what counts in the place of a file's bytes.
///
/// # Errors
/// Files that are not there or say something wrong; a service that is not there.
pub(crate) fn read(wanted: &Wanted<'_>, originals: Originals<'_>) -> Result<Composed, ComposeError> {
    let around = wanted.around;
    let home = around.variables.get("HOME").map(String::as_str);
    let mut loader = Loader::new(around.folder, home, originals);
    let mut found = find(wanted.request, around, &mut loader)?;
    let in_files = name_in(&found, around.folder, home, originals)?;
    let project = found.with_name(in_files)?;
    let mut whole = loader.together(&found.files, &found.folder, &found.variables, &mut Vec::new())?;
    settle(&mut whole);
    let temp = tempfile::Builder::new().prefix("larder-compose-").tempdir();
    let temp = temp.map_err(|source| ComposeError::Temp { path: "TMPDIR".into(), source })?;
    let odd = || std::io::Error::other("its path is not UTF-8");
    let temp_path = Utf8Path::from_path(temp.path())
        .ok_or_else(|| ComposeError::Temp { path: "TMPDIR".into(), source: odd() })?
        .to_owned();

    let none = Map::default();
    let services = whole.get("services").and_then(Node::as_map).unwrap_or(&none);
    let own_platform = Platform::default().to_string();
    let root = wanted.root.unwrap_or(&found.folder);
    let around_service = Around {
        root,
        folder: &found.folder,
        project: &project,
        secrets: whole.get("secrets").and_then(Node::as_map),
        services,
        variables: &found.variables,
        environment: around.variables,
        temp: &temp_path,
        platform: &own_platform,
    };
    let mut read = Vec::new();
    for (key, node) in services.iter() {
        is_service_name(key).map_err(|fault| loader.explained(fault))?;
        let one = built(key.name, key.at, node, &around_service);
        read.extend(one.map_err(|fault| loader.explained(fault))?.map(|one| (one, node)));
    }
    let settings = around.settings.map_or(&[][..], |(settings, _)| settings.services.as_slice());
    let names = if wanted.names.is_empty() { settings } else { wanted.names };
    let chosen = chosen(names, services, &read, &found.profiles)?;
    let notes = notes(&loader, &read, &chosen);
    // The rest is left to compose, and said where it was asked for.
    read.retain(|(one, _)| one.foreign.is_none());
    let chosen: Vec<_> =
        chosen.into_iter().filter(|name| read.iter().any(|(one, _)| one.service.name == *name)).collect();
    if chosen.is_empty() {
        return Err(ComposeError::Nothing);
    }
    let read: Vec<_> = read.into_iter().map(|(one, _)| one).collect();
    for (path, text) in read.iter().flat_map(|one| &one.files) {
        write_private(path, text)?;
    }
    let services = one_owner_each(read).map_err(|fault| loader.explained(fault))?;
    let texts = loader.sources.iter().map(|source| (source.name.clone(), source.text.clone())).collect();
    Ok(Composed {
        files: found.files,
        by_default: found.by_default,
        folder: found.folder,
        sources: loader.sources,
        said_in: loader.said_in,
        whole,
        services: Services { texts, services },
        chosen,
        notes,
        _temp: temp,
    })
}

/// Refuses what compose takes for the name of no service.
fn is_service_name(key: Key<'_>) -> Result<(), Fault> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !key.name.is_empty() && key.name.chars().all(is_fine) {
        return Ok(());
    }
    let message = format!("`{}` cannot be the name of a service", key.name);
    Err(Fault::new(message, key.at, "compose takes letters, digits, `.`, `_` and `-`"))
}

/// The project's name as the files have it, with variables put in: they are looked at for this
/// alone before the name can be a variable itself.
fn name_in(
    found: &Found,
    shown_from: &Utf8Path,
    home: Option<&str>,
    originals: Originals<'_>,
) -> Result<Option<String>, ComposeError> {
    let mut loader = Loader::new(shown_from, home, originals);
    let mut name = None;
    for path in &found.files {
        for document in loader.raw(path)? {
            let Some(mut own) = document.get("name").cloned() else { continue };
            loader.interpolate(&mut own, &found.variables)?;
            name = own.scalar().or(name);
        }
    }
    Ok(name.filter(|name| !name.is_empty()))
}

/// The names of the services to be baked.
fn chosen(
    names: &[String],
    services: &Map,
    read: &[(Built, &Node)],
    profiles: &[String],
) -> Result<Vec<String>, ComposeError> {
    let is_read = |name: &str| read.iter().find(|(one, _)| one.service.name == name);
    if names.is_empty() {
        let active = read.iter().filter(|(_, node)| is_active(node, profiles));
        let chosen: Vec<_> = active.map(|(one, _)| one.service.name.clone()).collect();
        return if chosen.is_empty() { Err(ComposeError::Nothing) } else { Ok(chosen) };
    }
    let mut chosen = Vec::new();
    for name in names {
        match (is_read(name), services.get(name)) {
            (Some((Built { foreign: Some(why), .. }, _)), _) => {
                return Err(ComposeError::NotBuilt { name: name.clone(), why: why.clone() });
            }
            (Some(_), _) if chosen.contains(name) => {}
            (Some(_), _) => chosen.push(name.clone()),
            (None, Some(_)) => {
                let why = "it has no `build`".to_owned();
                return Err(ComposeError::NotBuilt { name: name.clone(), why });
            }
            (None, None) => {
                let known: Vec<_> = read.iter().map(|(one, _)| one.service.name.as_str()).collect();
                let help = format!(
                    "{}those that are built are {}",
                    question(name, known.iter().copied()),
                    known.join(", ")
                );
                return Err(ComposeError::NoService { name: name.clone(), help });
            }
        }
    }
    Ok(chosen)
}

fn notes(loader: &Loader<'_>, read: &[(Built, &Node)], chosen: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    if !loader.unset.is_empty() {
        let names: Vec<_> = loader.unset.iter().map(|name| format!("`{name}`")).collect();
        notes.push(format!("not set, and empty in the compose files: {}", names.join(", ")));
    }
    if !loader.unknown.is_empty() {
        let fields: Vec<_> = loader.unknown.iter().map(String::as_str).collect();
        notes.push(format!("not known to compose, and left as it is: {}", fields.join(", ")));
    }
    for (one, _) in read.iter().filter(|(one, _)| chosen.contains(&one.service.name)) {
        notes.extend(one.notes.iter().map(|(at, note)| {
            let place = at.as_ref().and_then(|at| loader.sources.line(at));
            place.map_or_else(|| note.clone(), |place| format!("{place}: {note}"))
        }));
        let foreign = one.foreign.as_ref();
        notes.extend(foreign.map(|why| format!("{}: left to compose: {why}", one.service.name)));
    }
    notes
}

/// Takes names away that another service's image has by the same build, and refuses those that two
/// builds have.
fn one_owner_each(read: Vec<Built>) -> Result<Vec<Service>, Fault> {
    let mut owners: BTreeMap<String, Service> = BTreeMap::new();
    let mut services = Vec::new();
    for Built { mut service, .. } in read {
        let whole = service.clone();
        for line in service.lines.iter_mut().filter(|line| line.name == "tags") {
            let Said::List(tags) = &mut line.said else { continue };
            let mut own = Vec::new();
            for (at, said) in std::mem::take(tags) {
                let Said::Text(tag) = &said else { continue };
                let owner = owners.entry(names::any_engines(tag)).or_insert_with(|| whole.clone());
                if owner.name == whole.name {
                    own.push((at, said));
                } else if !same_build(owner, &whole) {
                    return Err(two_builds(owner, &whole, tag, &at));
                }
            }
            if own.is_empty() {
                // It is known by what stands for its key alone.
                let name = format!("{}:{}", whole.pin, PINNED.trim_end_matches('-'));
                own.push((whole.at.clone(), Said::Text(name)));
            }
            *tags = own;
        }
        services.push(service);
    }
    Ok(services)
}

/// Whether two services are built alike, whatever their images are called.
fn same_build(one: &Service, other: &Service) -> bool {
    let said = |service: &Service| {
        let lines = service.lines.iter().filter(|line| line.name != "tags");
        lines.map(|line| (line.name.clone(), plain(&line.said))).collect::<BTreeMap<_, _>>()
    };
    said(one) == said(other) && (one.no_cache, &one.flags) == (other.no_cache, &other.flags)
}

/// The value without its places.
fn plain(said: &Said) -> String {
    match said {
        Said::Text(text) => format!("{text:?}"),
        Said::List(items) => format!("{:?}", items.iter().map(|(_, said)| plain(said)).collect::<Vec<_>>()),
        Said::Table(lines) => {
            let pairs: BTreeMap<_, _> = lines.iter().map(|line| (&line.name, plain(&line.said))).collect();
            format!("{pairs:?}")
        }
    }
}

fn two_builds(owner: &Service, other: &Service, tag: &str, at: &Place) -> Fault {
    let message = format!(
        "the services `{}` and `{}` are built in two ways, and both are called `{tag}`",
        owner.name, other.name
    );
    Fault::new(message, at, "give each its own `image`: a build of one takes the name from the other")
}

/// Writes a file that only this user may read.
fn write_private(path: &Utf8Path, text: &str) -> Result<(), ComposeError> {
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source| ComposeError::Temp { path: path.to_owned(), source })
}
