//! Which compose files count, with which variables, profiles and name: as compose finds them.
//!
//! What the command line says goes before the environment, that before larder.toml, that before
//! `.env`.

use camino::{Utf8Path, Utf8PathBuf};

use super::load::{Loader, Variables};
use super::paths::tidy;
use super::source::ComposeError;
use super::yaml::Node;
use crate::config::Compose;

/// The names of a project's file, the first first.
const NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

/// The names of the file above it.
const ABOVE: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// The file that a bake writes above the others: it is never read, wherever it is named.
pub(crate) const PINS: &str = "docker-compose.larder.yml";

/// What the command line says, with paths as they are written there.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The compose files.
    pub files: Vec<Utf8PathBuf>,
    /// The active profiles.
    pub profiles: Vec<String>,
    /// Files of variables in the place of `.env`.
    pub env_files: Vec<Utf8PathBuf>,
    /// The project's name.
    pub name: Option<String>,
    /// The folder that paths are relative to.
    pub directory: Option<Utf8PathBuf>,
}

/// What the process and larder.toml say.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The working folder.
    pub folder: &'a Utf8Path,
    /// The environment variables.
    pub variables: &'a Variables,
    /// `[compose]` of larder.toml, with the folder of that file.
    pub settings: Option<(&'a Compose, &'a Utf8Path)>,
}

/// What counts.
#[derive(Debug)]
pub(super) struct Found {
    /// In full, the lowest first.
    pub(super) files: Vec<Utf8PathBuf>,
    /// Whether they are those that compose finds by itself.
    pub(super) by_default: bool,
    /// The project's folder.
    pub(super) folder: Utf8PathBuf,
    /// With those of `.env`.
    pub(super) variables: Variables,
    pub(super) profiles: Vec<String>,
    /// A name that goes before that in the files.
    name: Option<String>,
}

/// Finds the files and what belongs to them.
///
/// # Errors
/// No compose file at all; a file of variables that says something wrong.
pub(super) fn find(
    request: &Request,
    around: Surroundings<'_>,
    loader: &mut Loader<'_>,
) -> Result<Found, ComposeError> {
    let mut variables = around.variables.clone();
    let set = |name: &str| around.variables.get(name).filter(|value| !value.is_empty());
    let absolute = |path: &Utf8PathBuf| tidy(&around.folder.join(path));
    let own_folder = request.directory.as_ref().map(absolute);
    let env_files = env_files(request, around);

    let is_read = |path: &Utf8PathBuf| path.file_name() != Some(PINS);
    let mut files: Vec<_> = request.files.iter().map(absolute).filter(is_read).collect();
    if files.is_empty()
        && let Some(named) = set("COMPOSE_FILE")
    {
        files = split(named, &variables).map(|path| absolute(&path)).filter(is_read).collect();
    }
    if files.is_empty()
        && let Some((settings, root)) = around.settings
    {
        files = settings.files.iter().map(|path| tidy(&root.join(path))).filter(is_read).collect();
    }
    // Those of the files' own folder, of the working folder where none is named.
    let beside = own_folder.clone().or_else(|| files.first()?.parent().map(Utf8Path::to_owned));
    read_env(&env_files, beside.as_deref().unwrap_or(around.folder), loader, &mut variables)?;
    if files.is_empty()
        && let Some(named) = variables.get("COMPOSE_FILE").filter(|named| !named.is_empty())
    {
        files = split(named, &variables).map(|path| absolute(&path)).filter(is_read).collect();
    }
    let by_default = files.is_empty();
    if by_default {
        files = default_files(own_folder.as_deref().unwrap_or(around.folder))
            .ok_or_else(|| ComposeError::NotFound { folder: around.folder.to_owned() })?;
    }
    let folder = own_folder.or_else(|| files.first()?.parent().map(Utf8Path::to_owned));
    let folder = folder.unwrap_or_else(|| around.folder.to_owned());
    // That folder may have turned out to be another one.
    read_env(&env_files, &folder, loader, &mut variables)?;
    let profiles = profiles(request, around, &variables);
    let name = request.name.clone().or_else(|| variables.get("COMPOSE_PROJECT_NAME").cloned());
    let name = name.filter(|name| !name.is_empty());
    Ok(Found { files, by_default, folder, variables, profiles, name })
}

/// The files of variables that are named; `.env` counts where none is.
fn env_files(request: &Request, around: Surroundings<'_>) -> Vec<Utf8PathBuf> {
    if !request.env_files.is_empty() {
        return request.env_files.iter().map(|path| tidy(&around.folder.join(path))).collect();
    }
    if let Some(named) = around.variables.get("COMPOSE_ENV_FILES").filter(|named| !named.is_empty()) {
        return named.split(',').map(|path| tidy(&around.folder.join(path.trim()))).collect();
    }
    let settings = around.settings.into_iter();
    settings
        .flat_map(|(settings, root)| settings.env_files.iter().map(|path| tidy(&root.join(path))))
        .collect()
}

fn read_env(
    named: &[Utf8PathBuf],
    folder: &Utf8Path,
    loader: &mut Loader<'_>,
    variables: &mut Variables,
) -> Result<(), ComposeError> {
    if !named.is_empty() {
        return loader.variables(named, variables);
    }
    let is_off =
        variables.get("COMPOSE_DISABLE_ENV_FILE").is_some_and(|value| matches!(value.as_str(), "1" | "true"));
    let own = folder.join(".env");
    if is_off || !own.is_file() { Ok(()) } else { loader.variables(&[own], variables) }
}

/// The files in `COMPOSE_FILE`.
fn split<'n>(named: &'n str, variables: &Variables) -> impl Iterator<Item = Utf8PathBuf> + use<'n> {
    let separator = variables.get("COMPOSE_PATH_SEPARATOR").filter(|separator| !separator.is_empty());
    let separator = separator.map_or_else(|| ":".to_owned(), Clone::clone);
    let paths: Vec<_> =
        named.split(separator.as_str()).filter(|path| !path.is_empty()).map(Utf8PathBuf::from).collect();
    paths.into_iter()
}

/// The file that compose finds from the folder upward, and the one above it.
fn default_files(folder: &Utf8Path) -> Option<Vec<Utf8PathBuf>> {
    let first = |folder: &Utf8Path, names: &[&str]| {
        names.iter().map(|name| folder.join(name)).find(|path| path.is_file())
    };
    folder.ancestors().find_map(|folder| {
        let own = first(folder, &NAMES)?;
        Some(std::iter::once(own).chain(first(folder, &ABOVE)).collect())
    })
}

fn profiles(request: &Request, around: Surroundings<'_>, variables: &Variables) -> Vec<String> {
    let split = |named: &String| named.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>();
    let settings = around.settings.map_or(&[][..], |(settings, _)| settings.profiles.as_slice());
    let named = if !request.profiles.is_empty() {
        request.profiles.clone()
    } else if let Some(named) = around.variables.get("COMPOSE_PROFILES") {
        split(named)
    } else if settings.is_empty() {
        variables.get("COMPOSE_PROFILES").map(split).unwrap_or_default()
    } else {
        settings.to_vec()
    };
    named.into_iter().filter(|name| !name.is_empty()).collect()
}

impl Found {
    /// Sets the project's name as a variable, before the files are read.
    ///
    /// # Errors
    /// A name that compose would not take.
    pub(super) fn with_name(&mut self, in_files: Option<String>) -> Result<String, ComposeError> {
        let name = match (&self.name, in_files) {
            (Some(name), _) if normal(name) != *name => {
                return Err(ComposeError::ProjectName { name: name.clone() });
            }
            (Some(name), _) => name.clone(),
            (None, Some(name)) => normal(&name),
            (None, None) => normal(self.folder.file_name().unwrap_or_default()),
        };
        if name.is_empty() {
            return Err(ComposeError::ProjectName {
                name: self.folder.file_name().unwrap_or_default().to_owned(),
            });
        }
        self.variables.insert("COMPOSE_PROJECT_NAME".to_owned(), name.clone());
        Ok(name)
    }
}

/// The name as compose makes one of any text.
fn normal(text: &str) -> String {
    let is_kept = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    let name: String = text.to_lowercase().chars().filter(is_kept).collect();
    name.trim_start_matches(['_', '-']).to_owned()
}

/// Whether a service counts: it has no profile, or an active one.
pub(super) fn is_active(service: &Node, profiles: &[String]) -> bool {
    let own: Vec<_> = service
        .get("profiles")
        .and_then(Node::as_list)
        .into_iter()
        .flatten()
        .filter_map(Node::scalar)
        .collect();
    own.is_empty() || profiles.iter().any(|name| name == "*" || own.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_as_compose_makes_them() {
        for (text, name) in [("My App.v2", "myappv2"), ("_-x_y-", "x_y-"), ("Ünder", "nder"), ("日本", "")]
        {
            assert_eq!(normal(text), name, "{text}");
        }
    }
}
