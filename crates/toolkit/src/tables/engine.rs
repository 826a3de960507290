//! `[[gcctl.engine]]`: what may go of the images, containers and build steps of an engine.

use serde::Deserialize;
use storekit::{Age, ByteSize};
use toml::Spanned;

use super::BadLimit;
use crate::amount::Setting;
use crate::engine::Engine;
use crate::nearest::question;

/// The keys of what is said of an engine.
pub const ENGINE: &[&str] = &["engine", "max-age", "max-size", "named", "keep"];

/// The engines that there are.
pub const ENGINES: &[&str] = &[Engine::Docker.name(), Engine::Podman.name()];

/// What is said of an engine. What is `None` says nothing.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct EngineLimit {
    /// Of which, one of [`ENGINES`]; `None` is each of them.
    pub engine: Option<String>,
    /// How long a thing has to be unused to go.
    pub max_age: Option<Age>,
    /// How many bytes may stay of what may go.
    pub max_size: Option<Setting<ByteSize>>,
    /// Whether images that have names may go.
    pub named: Option<bool>,
    /// Patterns of the names of what stays, each with its place in the file.
    pub keep: Vec<Spanned<String>>,
}

/// What is written of it.
#[derive(Debug, Default, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "limits of an engine, such as `{ engine = \"docker\", max-age = \"30d\" }`"
)]
struct Written {
    engine: Option<String>,
    max_age: Option<Age>,
    max_size: Option<Setting<ByteSize>>,
    named: Option<bool>,
    keep: Vec<Spanned<String>>,
}

impl TryFrom<Written> for EngineLimit {
    type Error = BadLimit;

    fn try_from(written: Written) -> Result<Self, BadLimit> {
        let Written { engine, max_age, max_size, named, keep } = written;
        if let Some(unknown) = engine.as_deref().filter(|name| !ENGINES.contains(name)) {
            let meant = question(unknown, ENGINES.iter().copied());
            return Err(BadLimit(format!(
                "there is no engine `{unknown}`; {meant}there are `{}`",
                ENGINES.join("`, `")
            )));
        }
        if max_age.is_none() && max_size.is_none() && named.is_none() && keep.is_empty() {
            return Err(BadLimit("it says nothing: write `max-age`, `max-size`, `named` or `keep`".into()));
        }
        Ok(Self { engine, max_age, max_size, named, keep })
    }
}

impl EngineLimit {
    /// Whether it is about this engine.
    #[must_use]
    pub fn is_of(&self, engine: &str) -> bool {
        self.engine.as_deref().is_none_or(|name| name == engine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<EngineLimit, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    #[track_caller]
    fn refused(text: &str, word: &str) {
        let message = read(text).unwrap_err();
        assert!(message.contains(word), "{message}");
    }

    #[test]
    fn a_limit_is_of_one_engine_or_of_each() {
        let limit = read("engine = \"docker\"\nmax-age = \"30d\"\nkeep = [\"debian:*\"]\n").unwrap();
        assert!(limit.is_of("docker") && !limit.is_of("podman"));
        assert_eq!(limit.keep[0].get_ref(), "debian:*");
        let limit = read("named = true\nmax-size = \"none\"\n").unwrap();
        assert!(limit.is_of("docker") && limit.is_of("podman"));
        assert_eq!(limit.max_size, Some(Setting::Off));
    }

    #[test]
    fn what_is_wrong_is_said_with_what_is_right() {
        refused("engine = \"dokcer\"\nmax-age = \"1d\"\n", "is `docker` meant?");
        refused("engine = \"podman\"\n", "it says nothing");
        refused("keep = []\n", "it says nothing");
        refused("max-age = 30\n", "\"30\" is not an age");
        refused("max-size = \"much\"\n", "is not a size");
        refused("named = 1\n", "expected a boolean");
        refused("keep = \"debian:*\"\n", "expected a sequence");
    }

    #[test]
    fn limits_know_the_engines_that_there_are() {
        assert_eq!(Engine::ALL.map(Engine::name).as_slice(), ENGINES);
    }

    #[test]
    fn the_keys_are_these() {
        let message = read("max-sise = 1\n").unwrap_err();
        let (_, expected) = message.split_once("expected one of ").unwrap();
        assert_eq!(expected.split('`').skip(1).step_by(2).collect::<Vec<_>>(), ENGINE);
    }
}
