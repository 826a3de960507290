//! What builds and pushes each commit: larder with tiers, and a script of `docker build`.

use std::fs;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use larder::process::command::Cmd;
use larder::process::runner::{RunError, Runner, succeeded};
use larder_tests::{Daemon, DockerRegistry};

use super::super::basics::{lost, sh};
use super::history::{self, Commit, IMAGES};
use super::link::Link;

/// How a commit is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `larder bake`, by profile, with the tiers of a registry.
    Larder,
    /// `docker build --cache-from`, with BuildKit's inline cache, and `docker push`.
    Docker,
}

/// One of them, with a registry, a docker and a project of its own.
pub(super) struct Pipeline<'a> {
    kind: Kind,
    runner: &'a Runner,
    larder: Utf8PathBuf,
    folder: Utf8PathBuf,
    link: Link,
    daemon: Daemon,
    _registry: DockerRegistry,
}

/// What one commit took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Took {
    pub(super) time: Duration,
    /// What went over the wire, both ways.
    pub(super) bytes: u64,
    /// Images of which nothing had to be run.
    pub(super) hits: usize,
}

impl<'a> Pipeline<'a> {
    /// Starts what it needs, with the root file system in the registry, as bases are.
    ///
    /// # Errors
    /// A docker that does not take the root file system.
    pub(super) fn start(
        kind: Kind,
        folder: &Utf8Path,
        root: &Utf8Path,
        larder: &Utf8Path,
        runner: &'a Runner,
    ) -> Result<Self, RunError> {
        let registry = DockerRegistry::start(&folder.join("registry"));
        let link = Link::to(registry.host().to_owned());
        let daemon = Daemon::with_mirror(&folder.join("docker"), link.address);
        let place = link.address;
        let bottom = format!("{place}/bench-root:1");
        history::create(
            &folder.join("project"),
            &bottom,
            &format!(
                "[tier.team]\nregistry = \"{place}/team\"\n[tier.scratch]\nregistry = \"{place}/scratch\"\n\
                 [profile.pr]\nwhen = {{ event = \"pull_request\" }}\nread = [\"scratch\", \"team\"]\nwrite = [\"scratch\"]\n\
                 [profile.dev]\nwhen = {{ branch = \"dev\" }}\ntrust = 1\nread = [\"team\"]\nwrite = [\"team\"]\n\
                 [profile.release]\nwhen = {{ tag = \"v*\" }}\ntrust = 1\nread = [\"team\"]\nwrite = [\"team\"]\n"
            ),
        )?;
        let pipeline = Self {
            kind,
            runner,
            larder: larder.to_owned(),
            folder: folder.to_owned(),
            link,
            daemon,
            _registry: registry,
        };
        pipeline.told(&format!("docker import {root} {bottom} && docker push -q {bottom}"))?;
        Ok(pipeline)
    }

    /// Builds the commit on a machine that has nothing.
    ///
    /// # Errors
    /// A build or a push that fails.
    pub(super) fn build(&self, at: usize, commit: Commit) -> Result<Took, RunError> {
        history::apply(&self.folder.join("project"), at, commit)?;
        self.forget()?;
        let before = self.link.bytes();
        let started = Instant::now();
        let hits = match self.kind {
            Kind::Larder => self.bake(commit)?,
            Kind::Docker => self.script(commit)?,
        };
        Ok(Took { time: started.elapsed(), bytes: self.link.bytes() - before, hits })
    }

    /// Removes what an earlier build left on the machine.
    fn forget(&self) -> Result<(), RunError> {
        let store = self.folder.join("store");
        if store.exists() {
            fs::remove_dir_all(&store).map_err(lost)?;
        }
        self.told("docker system prune -af").map(drop)
    }

    fn bake(&self, commit: Commit) -> Result<usize, RunError> {
        let text = self.told(&format!(
            "LARDER_DIR={} {} bake --engine docker --json --profile {}",
            self.folder.join("store"),
            self.larder,
            commit.profile
        ))?;
        let states = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        Ok(states.filter(|line| line.get("state").is_some_and(|state| state == "hit")).count())
    }

    /// The images one after the other, each from the layers of the last build of its kind, and of
    /// those of the merges.
    fn script(&self, commit: Commit) -> Result<usize, RunError> {
        let mut hits = 0;
        for image in IMAGES {
            let place = format!("{}/{image}", self.link.address);
            // What a request pushed is not taken into what is released.
            let caches: &[&str] = if commit.profile == "pr" { &["pr", "dev"] } else { &["dev"] };
            let from: Vec<_> = caches.iter().map(|cache| format!("--cache-from {place}:{cache}")).collect();
            let tag = if commit.profile == "release" { "dev" } else { commit.profile };
            let said = self.told(&format!(
                "DOCKER_BUILDKIT=1 docker build --progress=plain --build-arg BUILDKIT_INLINE_CACHE=1 {} \
                 -t {image} -t {place}:{tag} {image} && docker push -q {place}:{tag}",
                from.join(" ")
            ))?;
            hits += usize::from(is_cached(&said));
        }
        Ok(hits)
    }

    /// Runs a line in the project, with docker its own one; what it prints.
    fn told(&self, line: &str) -> Result<String, RunError> {
        let project = self.folder.join("project");
        let cmd =
            sh(format!("export DOCKER_HOST={}; cd {project} && {{ {line}; }} 2>&1", self.daemon.host()));
        let (status, text) = self.runner.ask(&cmd)?;
        if !status.success() {
            // Who looks for the reason finds it here.
            let _ = io::stderr().write_all(&text);
        }
        succeeded(&Cmd::new("sh").arg(line), status)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Whether BuildKit says of each `RUN` and `COPY` that it was not run.
fn is_cached(said: &str) -> bool {
    let steps: Vec<_> =
        said.lines().filter(|line| line.contains("] RUN ") || line.contains("] COPY ")).collect();
    let is_cached = |step: &&str| {
        let number = step.split(' ').next().unwrap_or_default();
        said.lines().any(|line| line == format!("{number} CACHED"))
    };
    !steps.is_empty() && steps.iter().all(is_cached)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_ran_is_no_hit() {
        let said = "#5 [2/3] COPY . /src\n#5 CACHED\n\n#6 [3/3] RUN make\n";
        assert!(is_cached(&format!("{said}#6 CACHED\n")));
        assert!(!is_cached(said) && !is_cached(&format!("{said}#6 DONE 1.0s\n")) && !is_cached(""));
    }
}
