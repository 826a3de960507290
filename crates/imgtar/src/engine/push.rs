//! What a save by a push asks of an engine: whether it runs here, and the push itself.

use std::process::Stdio;

use super::process::collect;
use super::{Engine, Kind};
use crate::error::Result;

impl Engine {
    /// Whether it runs on this machine: docker's daemon behind a socket, podman as no client of
    /// another.
    ///
    /// # Errors
    /// No engine.
    pub(crate) fn is_local(&self) -> Result<bool> {
        if self.daemon().is_some() {
            return Ok(true);
        }
        let output = match self.kind {
            Kind::Docker => self.output(&["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"])?,
            // `podman info` says it too, and takes ten times as long.
            Kind::Podman => self.output(&["version", "--format", "{{json .Server}}"])?,
        };
        let sign: &[u8] = if self.kind == Kind::Docker { b"unix://" } else { b"null" };
        Ok(output.status.success() && output.stdout.starts_with(sign))
    }

    /// Pushes an image to a registry of this machine for as long as `go_on` says so. Docker pushes
    /// by names only, so the image has this one meanwhile.
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
        let arguments = ["rmi", "--no-prune", name];
        if let Some(daemon) = self.daemon() {
            return daemon.untag(name).map_err(|no| self.refused(&arguments, &no));
        }
        self.ask(&arguments).map(drop)
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
