//! Which builder will build, docker's two or podman's, and what that means for the key; and whether
//! the engine has the bases that larder.toml names by digests.
//!
//! Only asked before a build: a hit costs no question.

use toolkit::Engine;

use crate::config::image::Image;
use crate::config::names;
use crate::process::command::Cmd;
use crate::process::runner::{RunError, Runner};
use crate::process::tools::Tools;

/// How an image is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bake) enum Builder {
    /// `BuildKit`.
    BuildKit,
    /// The builder before it: this docker client has no other.
    Old,
    /// Podman's own.
    Podman,
}

impl Builder {
    /// Asks the client, if it is docker's.
    pub(in crate::bake) fn probe(engine: Engine, tools: &Tools, runner: &Runner) -> Result<Self, RunError> {
        if engine == Engine::Podman {
            return Ok(Self::Podman);
        }
        let (buildx, _) = runner.ask(&tools.engine(engine, "buildx").arg("version"))?;
        if buildx.success() {
            return Ok(Self::BuildKit);
        }
        let (_, version) = runner.ask(&tools.engine(engine, "--version"))?;
        Ok(match major(&String::from_utf8_lossy(&version)) {
            Some(..23) => Self::BuildKit,
            _ => Self::Old,
        })
    }

    /// Whether it takes `--build-context`: podman does, and docker's plugin buildx.
    pub(in crate::bake) fn knows_contexts(self, tools: &Tools, runner: &Runner) -> Result<bool, RunError> {
        if self == Self::Podman {
            return Ok(true);
        }
        Ok(runner.ask(&tools.engine(Engine::Docker, "buildx").arg("version"))?.0.success())
    }

    /// The start of the build command. Clients older than 23 must be told to take `BuildKit`, and
    /// so must any where the user's own variable says otherwise: by its rules the key is made.
    pub(in crate::bake) fn command(self, tools: &Tools) -> Cmd {
        match self {
            Self::BuildKit => tools.engine(Engine::Docker, "build").env("DOCKER_BUILDKIT", "1"),
            Self::Old => tools.engine(Engine::Docker, "build"),
            Self::Podman => tools.engine(Engine::Podman, "build"),
        }
    }
}

/// What a builder can do with layers that registries keep of builds; why not, where it cannot.
#[derive(Clone, Copy, Debug)]
pub(in crate::bake) struct Keeps {
    /// It takes them.
    pub(in crate::bake) imports: Result<(), &'static str>,
    /// It writes them to an image whose name has a tag.
    pub(in crate::bake) exports: Result<(), &'static str>,
}

impl Keeps {
    /// Asks the engine. `has_builder`: the user's variables name a builder of buildx's.
    pub(in crate::bake) fn probe(
        engine: Engine,
        has_builder: bool,
        tools: &Tools,
        runner: &Runner,
    ) -> Result<Self, RunError> {
        let (_, version) = runner.ask(&tools.engine(engine, "--version"))?;
        let version = numbers(&String::from_utf8_lossy(&version));
        if engine == Engine::Podman {
            let is_new = version.is_some_and(|version| version >= (4, 3));
            let imports = if is_new { Ok(()) } else { Err("podman can do that from 4.3 on") };
            return Ok(Self { imports, exports: Err("only docker with its plugin buildx can do that") });
        }
        let (buildx, _) = runner.ask(&tools.engine(engine, "buildx").arg("version"))?;
        // From then on `docker build` is buildx's, where that is installed.
        if !(buildx.success() && version.is_some_and(|version| version >= (23, 0))) {
            let why = Err("docker from 23 on with its plugin buildx can do that");
            return Ok(Self { imports: why, exports: why });
        }
        if has_builder {
            return Ok(Self { imports: Ok(()), exports: Ok(()) });
        }
        let (_, info) = runner.ask(&tools.engine(engine, "info").args(["--format", "{{.DriverStatus}}"]))?;
        let with_containerd = String::from_utf8_lossy(&info).contains("containerd.snapshotter");
        let why = "docker's own builder can do that only where docker keeps images with containerd; BUILDX_BUILDER names another";
        Ok(Self { imports: Ok(()), exports: if with_containerd { Ok(()) } else { Err(why) } })
    }
}

/// Whether docker's engine knows `ADD --checksum` without a frontend from elsewhere: from 25 on.
pub(in crate::bake) fn checks_by_itself(tools: &Tools, runner: &Runner) -> Result<bool, RunError> {
    let ask = tools.engine(Engine::Docker, "version").args(["--format", "{{.Server.Version}}"]);
    let (status, version) = runner.ask(&ask)?;
    Ok(status.success() && major(&String::from_utf8_lossy(&version)).is_some_and(|major| major >= 25))
}

/// A base image that the engine holds under another digest than larder.toml names, if there is one.
pub(in crate::bake) fn wrong_base(
    image: &Image,
    tools: &Tools,
    runner: &Runner,
) -> Result<Option<String>, RunError> {
    let Some(build) = image.as_build() else { return Ok(None) };
    for (name, digest) in &build.base {
        let inspect = tools
            .engine(image.builder(), "image")
            .args(["inspect", "--format", "{{.Id}} {{.RepoDigests}}"])
            .arg(name);
        let (status, data) = runner.ask(&inspect)?;
        // One that the engine has not got is the registry's to get right.
        if status.success() && !String::from_utf8_lossy(&data).contains(digest.as_str()) {
            return Ok(Some(format!("the engine's `{name}` is not the `{digest}` of larder.toml")));
        }
    }
    Ok(None)
}

/// After a build: a base image that the engine took from its registry, where it stands under
/// another digest than larder.toml names. `uses` are the images of the build. A registry that does
/// not answer says nothing.
pub(in crate::bake) fn moved_base(
    image: &Image,
    uses: &[String],
    tools: &Tools,
    runner: &Runner,
) -> Result<Option<String>, RunError> {
    let Some(build) = image.as_build() else { return Ok(None) };
    let is_read = |name: &String| uses.iter().any(|used| names::full(used) == names::full(name));
    let platform = image.platform().to_string();
    for (name, digest) in build.base.iter().filter(|(name, _)| is_read(name)) {
        let inspect = tools.engine(image.builder(), "image").arg("inspect").arg(name);
        if runner.ask(&inspect)?.0.success() {
            continue;
        }
        // The digest may be the one for all platforms, or that for one.
        let resolve = tools.imgtar("resolve").arg(name);
        let Some(found) = answer(&resolve, runner)?.filter(|found| found != digest) else { continue };
        if answer(&resolve.flag("--platform", &platform), runner)?.as_ref() != Some(digest) {
            return Ok(Some(format!(
                "its registry has `{name}` as `{found}`, not the `{digest}` of larder.toml"
            )));
        }
    }
    Ok(None)
}

/// The one word that a command answers; none where it fails.
fn answer(cmd: &Cmd, runner: &Runner) -> Result<Option<String>, RunError> {
    match runner.ask(cmd) {
        Err(error) if error.is_interruption() => Err(error),
        Ok((status, said)) if status.success() => Ok(Some(String::from_utf8_lossy(&said).trim().to_owned())),
        _ => Ok(None),
    }
}

/// The first number in `Docker version 20.10.24, build …`.
fn major(version: &str) -> Option<u32> {
    numbers(version).map(|(major, _)| major)
}

/// The first two numbers of a version; the second is 0 where there is none.
fn numbers(text: &str) -> Option<(u32, u32)> {
    let from = text.find(|c: char| c.is_ascii_digit())?;
    let mut parts = text.get(from..)?.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((parts.next()?.ok()?, parts.next().and_then(Result::ok).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found() {
        assert_eq!(major("Docker version 20.10.24+dfsg1, build 297e128\n"), Some(20));
        assert_eq!(major("Docker version 28.2.2, build e6534b4\n"), Some(28));
        assert_eq!(major("no such thing\n"), None);
    }
}
