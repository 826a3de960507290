//! Which ignore file counts: each engine has its own list of names.
//!
//! Absent: the Dockerfile and the ignore file themselves, which engines send (or need) whatever the
//! patterns say.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use camino::{Utf8Path, Utf8PathBuf};

use super::matcher::Patterns;
use crate::error::dockerignore::LoadError;
use crate::files::regular;

/// As many links as the kernel's own limits allow, and more.
const MAX_LINKS: usize = 255;

/// The builder, as far as ignore files differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Engine {
    /// BuildKit: `docker build` of today, `docker buildx`, `buildctl`.
    #[default]
    BuildKit,
    /// The builder that Docker had before (`DOCKER_BUILDKIT=0`).
    DockerLegacy,
    /// Podman and Buildah.
    Podman,
}

impl Engine {
    /// Whether it makes an empty file of a socket. The others leave sockets out.
    #[must_use]
    pub fn sends_sockets(self) -> bool {
        self == Self::BuildKit
    }
}

/// A place where an ignore file may lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Where the ignore file is.
    pub path: Utf8PathBuf,
    /// An empty file there is passed over.
    pub passed_over_when_empty: bool,
    /// A folder there is passed over.
    pub passed_over_when_folder: bool,
    /// It has to exist: the user named it.
    pub required: bool,
    /// Links of the file are followed as though this folder were the root of the file system.
    pub confined_to: Option<Utf8PathBuf>,
}

/// An ignore file, read.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// Where it was found.
    pub path: Utf8PathBuf,
    /// What it says.
    pub patterns: Patterns,
    /// An empty file of the Dockerfile's own, in whose place this one counts. Some releases of the
    /// engine take that one.
    pub instead_of: Option<Utf8PathBuf>,
}

/// An ignore file as it was found: its path, its bytes and [`Chosen::instead_of`].
pub type Found = (Utf8PathBuf, Vec<u8>, Option<Utf8PathBuf>);

/// The places to look at, the first one that is there wins. `dockerfile` is the path of the
/// Dockerfile where the build has one; `named` is the file that the user asked for (`podman build
/// --ignorefile`).
#[must_use]
pub fn candidates(
    engine: Engine,
    context: &Utf8Path,
    dockerfile: Option<&Utf8Path>,
    named: Option<&Utf8Path>,
) -> Vec<Candidate> {
    if let Some(named) = named {
        return vec![Candidate { required: true, ..Candidate::at(named.to_owned()) }];
    }
    let beside =
        |suffix: &str| dockerfile.map(|dockerfile| Candidate::at(format!("{dockerfile}{suffix}").into()));
    let within =
        |name: &str| Candidate { confined_to: Some(context.to_owned()), ..Candidate::at(context.join(name)) };
    match engine {
        Engine::BuildKit => {
            let own = beside(".dockerignore").map(|own| Candidate {
                passed_over_when_empty: true,
                passed_over_when_folder: true,
                confined_to: dockerfile.and_then(Utf8Path::parent).map(Utf8Path::to_owned),
                ..own
            });
            let shared = Candidate { passed_over_when_folder: true, ..within(".dockerignore") };
            own.into_iter().chain([shared]).collect()
        }
        Engine::DockerLegacy => vec![Candidate::at(context.join(".dockerignore"))],
        Engine::Podman => {
            let own = beside(".dockerignore").into_iter().chain(beside(".containerignore"));
            own.chain([within(".containerignore"), within(".dockerignore")]).collect()
        }
    }
}

/// Takes the first candidate that is there. `read` returns None for what does not exist.
///
/// # Errors
/// What `read` says, and a required file that is missing.
pub fn choose(
    candidates: Vec<Candidate>,
    mut read: impl FnMut(&Candidate) -> io::Result<Option<Vec<u8>>>,
) -> Result<Option<Found>, LoadError> {
    let mut empty = None;
    for candidate in candidates {
        let found = match read(&candidate) {
            Ok(None) if candidate.required => Err(io::Error::from(io::ErrorKind::NotFound)),
            found => found,
        };
        match found {
            Ok(Some(bytes)) if bytes.is_empty() && candidate.passed_over_when_empty => {
                empty = Some(candidate.path);
            }
            Ok(Some(bytes)) => return Ok(Some((candidate.path, bytes, empty))),
            Ok(None) => {}
            Err(source) => return Err(LoadError::Read { path: candidate.path, source }),
        }
    }
    Ok(None)
}

/// Finds the ignore file that counts: its path and its bytes. `None` where there is no such file.
///
/// # Errors
/// A file that exists and cannot be read.
pub(crate) fn find(
    engine: Engine,
    context: &Utf8Path,
    dockerfile: &Utf8Path,
) -> Result<Option<(Utf8PathBuf, Vec<u8>)>, LoadError> {
    let found = choose(candidates(engine, context, Some(dockerfile), None), read)?;
    Ok(found.map(|(path, bytes, _)| (path, bytes)))
}

/// Finds and reads the ignore file that counts. `None` where there is no such file.
///
/// # Errors
/// A file that exists and cannot be read, and a line that the engine refuses.
pub fn load(
    engine: Engine,
    context: &Utf8Path,
    dockerfile: Option<&Utf8Path>,
    named: Option<&Utf8Path>,
) -> Result<Option<Chosen>, LoadError> {
    let Some((path, bytes, instead_of)) = choose(candidates(engine, context, dockerfile, named), read)?
    else {
        return Ok(None);
    };
    match Patterns::parse_for(engine, &bytes) {
        Ok(patterns) => Ok(Some(Chosen { path, patterns, instead_of })),
        Err(error) => Err(LoadError::pattern(path, &bytes, error)),
    }
}

impl Candidate {
    fn at(path: Utf8PathBuf) -> Self {
        Self {
            path,
            passed_over_when_empty: false,
            passed_over_when_folder: false,
            required: false,
            confined_to: None,
        }
    }
}

fn read(candidate: &Candidate) -> io::Result<Option<Vec<u8>>> {
    let bytes = match &candidate.confined_to {
        Some(root) => confined(root, &candidate.path).and_then(|path| regular::read(&path)),
        // The file that is named may be a pipe.
        None if candidate.required => fs::read(&candidate.path),
        None => regular::read(candidate.path.as_std_path()),
    };
    match bytes {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) if error.kind() == io::ErrorKind::IsADirectory && candidate.passed_over_when_folder => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Follows the links of a file of `root` without leaving it: `/` and too many `..` lead to the
/// root.
fn confined(root: &Utf8Path, path: &Utf8Path) -> io::Result<PathBuf> {
    let mut todo: Vec<OsString> = vec![path.file_name().unwrap_or_default().into()];
    let mut within: Vec<OsString> = Vec::new();
    let mut links = 0;
    while let Some(part) = todo.pop() {
        if part == ".." {
            within.pop();
            continue;
        }
        let next = root.as_std_path().join(within.iter().collect::<PathBuf>()).join(&part);
        if !fs::symlink_metadata(&next)?.is_symlink() {
            within.push(part);
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(io::ErrorKind::NotFound.into());
        }
        let target = fs::read_link(&next)?;
        if target.is_absolute() {
            within.clear();
        }
        todo.extend(parts(&target).into_iter().rev());
    }
    Ok(root.as_std_path().join(within.iter().collect::<PathBuf>()))
}

fn parts(target: &Path) -> Vec<OsString> {
    let named = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir);
    target.components().filter(|part| named(*part)).map(|part| part.as_os_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn chosen(engine: Engine, files: &[(&str, &str)], want: Option<&str>) {
        let places = candidates(engine, "/ctx".into(), Some("/ctx/sub/My.file".into()), None);
        let read = |place: &Candidate| {
            let found = files.iter().find(|(path, _)| place.path == *path);
            Ok(found.map(|(_, text)| text.as_bytes().to_vec()))
        };
        let found = choose(places, read).unwrap().map(|(path, ..)| path.into_string());
        assert_eq!(found.as_deref(), want);
    }

    const OWN: &str = "/ctx/sub/My.file.dockerignore";
    const OWN_CONTAINER: &str = "/ctx/sub/My.file.containerignore";
    const DOCKER: &str = "/ctx/.dockerignore";
    const CONTAINER: &str = "/ctx/.containerignore";

    #[test]
    fn buildkit_passes_over_an_empty_file_of_the_dockerfile() {
        chosen(Engine::BuildKit, &[(OWN, "a"), (DOCKER, "b")], Some(OWN));
        chosen(Engine::BuildKit, &[(OWN, ""), (DOCKER, "b")], Some(DOCKER));
        chosen(Engine::BuildKit, &[(CONTAINER, "a"), (OWN_CONTAINER, "a")], None);
    }

    #[test]
    fn the_legacy_builder_knows_one_file() {
        chosen(Engine::DockerLegacy, &[(OWN, "a"), (CONTAINER, "a"), (DOCKER, "b")], Some(DOCKER));
    }

    #[test]
    fn podman_asks_four_files() {
        chosen(
            Engine::Podman,
            &[(OWN, ""), (OWN_CONTAINER, "a"), (CONTAINER, "a"), (DOCKER, "b")],
            Some(OWN),
        );
        chosen(Engine::Podman, &[(OWN_CONTAINER, "a"), (CONTAINER, "a")], Some(OWN_CONTAINER));
        chosen(Engine::Podman, &[(DOCKER, "b"), (CONTAINER, "")], Some(CONTAINER));
        chosen(Engine::Podman, &[(DOCKER, "b")], Some(DOCKER));
    }

    #[test]
    fn a_named_file_has_to_exist() {
        let places = candidates(Engine::Podman, "/ctx".into(), None, Some("mine".into()));
        assert!(matches!(choose(places, |_| Ok(None)), Err(LoadError::Read { path, .. }) if path == "mine"));
    }
}
