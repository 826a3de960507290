//! `[compose]`: what `bake --compose` does where no flag says otherwise.

use camino::Utf8PathBuf;
use serde::Deserialize;
use toml::Spanned;

use super::checks::is_path;
use super::fault::Fault;

pub(crate) mod services;

/// What larder.toml says of compose files. Paths are relative to larder.toml.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compose {
    /// The files, the lowest first; none means those that compose finds.
    pub files: Vec<Utf8PathBuf>,
    /// The services to bake; none means all that have `build`.
    pub services: Vec<String>,
    /// The active profiles.
    pub profiles: Vec<String>,
    /// Files of variables in the place of `.env`.
    pub env_files: Vec<Utf8PathBuf>,
    /// Whether the files are edited, and no file is written above them.
    pub in_place: bool,
    /// A devcontainer.json that is to have the file above them.
    pub devcontainer: Option<Utf8PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ComposeTable {
    #[serde(default)]
    files: Vec<Spanned<Utf8PathBuf>>,
    #[serde(default)]
    services: Vec<String>,
    #[serde(default)]
    profiles: Vec<String>,
    #[serde(default)]
    env_files: Vec<Spanned<Utf8PathBuf>>,
    #[serde(default)]
    write: Write,
    devcontainer: Option<Spanned<Utf8PathBuf>>,
}

/// Where the pinned images go.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Write {
    #[default]
    Override,
    InPlace,
}

impl ComposeTable {
    pub(super) fn checked(self) -> Result<Compose, Fault> {
        let help = "name a file, relative to larder.toml";
        self.files.iter().try_for_each(|path| is_path("files", path, help))?;
        self.env_files.iter().try_for_each(|path| is_path("env-files", path, help))?;
        self.devcontainer.iter().try_for_each(|path| is_path("devcontainer", path, help))?;
        let plain = |paths: Vec<Spanned<Utf8PathBuf>>| paths.into_iter().map(Spanned::into_inner).collect();
        Ok(Compose {
            files: plain(self.files),
            services: self.services,
            profiles: self.profiles,
            env_files: plain(self.env_files),
            in_place: self.write == Write::InPlace,
            devcontainer: self.devcontainer.map(Spanned::into_inner),
        })
    }
}
