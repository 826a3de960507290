//! What a save by a push asks of an engine: which image it holds, whether it runs here, and the push itself.

use std::process::Stdio;

use serde::Deserialize;
use storekit::Digest;

use super::process::collect;
use super::{Engine, Kind, or_none};
use crate::error::Result;

/// An image that is to be saved.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Held {
    /// How large its layers are, in bytes, about.
    pub(crate) size: u64,
    /// Its ID.
    pub(crate) id: String,
    /// Its names.
    #[serde(deserialize_with = "or_none")]
    pub(crate) names: Vec<String>,
    /// Its layers, from the base upward.
    #[serde(deserialize_with = "or_none")]
    pub(crate) layers: Vec<Digest>,
}

impl Held {
    const FORMAT: &str = "{{.Size}},\"{{.Id}}\",{{json .RepoTags}},{{json .RootFS.Layers}}";

    /// Understands a line of that format; podman takes none that starts with a bracket.
    fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(&format!("[{}]", line.trim())).ok()
    }
}

impl Engine {
    /// The image, if the engine has it.
    ///
    /// # Errors
    /// No engine.
    pub(crate) fn hold(&self, image: &str) -> Result<Option<Held>> {
        let output = self.output(&["image", "inspect", "--format", Held::FORMAT, image])?;
        Ok(Held::parse(&String::from_utf8_lossy(&output.stdout)))
    }

    /// The IDs of the images of this name, whatever their tags.
    ///
    /// # Errors
    /// No engine; an engine that refuses.
    pub(crate) fn ids_named(&self, name: &str) -> Result<Vec<String>> {
        let said = self.ask(&["image", "ls", "--quiet", "--no-trunc", name])?;
        Ok(said.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect())
    }

    /// Whether it runs on this machine: docker's daemon behind a socket, podman as no client of another.
    ///
    /// # Errors
    /// No engine.
    pub(crate) fn is_local(&self) -> Result<bool> {
        let output = match self.kind {
            Kind::Docker => self.output(&["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"])?,
            // `podman info` says it too, and takes ten times as long.
            Kind::Podman => self.output(&["version", "--format", "{{json .Server}}"])?,
        };
        let sign: &[u8] = if self.kind == Kind::Docker { b"unix://" } else { b"null" };
        Ok(output.status.success() && output.stdout.starts_with(sign))
    }

    /// Pushes an image to a registry of this machine for as long as `go_on` says so. Docker pushes by names only, so
    /// the image has this one meanwhile.
    ///
    /// # Errors
    /// No engine; an engine that refuses, or was stopped.
    pub(crate) fn push(&self, id: &str, name: &str, go_on: &dyn Fn() -> bool) -> Result<()> {
        if self.kind == Kind::Podman {
            return self.run_while(&["push", "--tls-verify=false", id, name], go_on);
        }
        self.tag(id, name)?;
        let pushed = self.run_while(&["push", name], go_on);
        // A name that stays does no harm, and the next save takes it away.
        let _ = self.untag(name);
        pushed
    }

    /// Takes a name away from an image.
    ///
    /// # Errors
    /// No engine; an engine that refuses.
    pub(crate) fn untag(&self, name: &str) -> Result<()> {
        self.ask(&["rmi", "--no-prune", name]).map(drop)
    }

    fn run_while(&self, arguments: &[&str], go_on: &dyn Fn() -> bool) -> Result<()> {
        let mut child = self.spawn(arguments, Stdio::null(), Stdio::piped())?;
        let out = child.0.stdout.take().map(collect);
        let ended = child.end_while(go_on).map_err(|source| self.not_there(source))?;
        drop(out);
        let Some((status, said)) = ended else { return Ok(()) };
        Err(self.failed(arguments, &status, &said))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_understood_as_each_engine_describes_them() {
        let digest = Digest::of(b"x");
        let docker = format!("7,\"{digest}\",[\"a:1\"],[\"{digest}\"]\n");
        let podman = format!("7,\"{}\",null,[\"{digest}\"]\n", digest.hex());
        for answer in [docker, podman] {
            let held = Held::parse(&answer).unwrap();
            assert!(
                held.size == 7 && held.layers == [digest] && held.id.ends_with(&digest.hex()),
                "{answer}"
            );
        }
        assert!(Held::parse("").is_none());
    }
}
