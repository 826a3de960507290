//! The engines that build images.

use serde::Deserialize;

/// What builds images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Docker, by its command line client.
    #[default]
    Docker,
    /// Podman.
    Podman,
}

impl Engine {
    /// The engine of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Docker, Self::Podman].into_iter().find(|engine| engine.name() == name)
    }

    /// The engine's name, which is that of its command too.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}
