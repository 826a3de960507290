//! The engines that build and keep images: which there are, and what their words are.
//!
//! Deliberately absent: what one is asked. Each tool asks what it needs, by the engine's command.

use clap::ValueEnum;
use clap::builder::PossibleValue;
use serde::{Deserialize, Serialize};

/// A container engine. An option of the command line, a settings file and a document name it by
/// [`Engine::name`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Docker.
    #[default]
    Docker,
    /// Podman.
    Podman,
}

impl Engine {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::Docker, Self::Podman];

    /// The engine of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|engine| engine.name() == name)
    }

    /// The engine's name, which is that of its command too.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }

    /// The variable that names another command.
    #[must_use]
    pub const fn variable(self) -> &'static str {
        match self {
            Self::Docker => "LARDER_DOCKER",
            Self::Podman => "LARDER_PODMAN",
        }
    }
}

// By hand: a derived one would print the comments above in each tool's help.
impl ValueEnum for Engine {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_engine_has_one_name_everywhere() {
        for engine in Engine::ALL {
            let quoted = format!("{:?}", engine.name());
            assert_eq!(Engine::named(engine.name()), Some(engine));
            assert_eq!(Engine::from_str(engine.name(), false), Ok(engine));
            assert_eq!(serde_json::to_string(&engine).unwrap(), quoted);
            assert_eq!(serde_json::from_str::<Engine>(&quoted).unwrap(), engine);
        }
        assert_eq!(Engine::named("Docker"), None);
    }
}
