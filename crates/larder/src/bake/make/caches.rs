//! The layers that an engine keeps of builds, beyond this machine: which of them a build is told
//! of.

use camino::Utf8PathBuf;
use toolkit::Engine;

use super::plain;
use crate::bake::engines::builder::{Builder, Keeps};
use crate::bake::flow::Bake;
use crate::bake::options::Options;
use crate::config::image::{Handed, Image};
use crate::process::command::Cmd;
use crate::process::runner::RunError;
use crate::tier::Repositories;

/// What a build is told of layers elsewhere.
#[derive(Debug, Default)]
pub(super) struct Caches {
    /// Flags of the build, with their values.
    pub(super) flags: Vec<(&'static str, String)>,
    /// The repository that podman sends its layers to when the image is built: a build that sends
    /// them on the way fails where the registry does.
    pub(super) after: Option<String>,
    /// Settings of podman's for registries on this machine without TLS.
    settings: Option<Utf8PathBuf>,
}

impl Caches {
    /// The command of a build, told of them.
    pub(super) fn told(&self, cmd: Cmd) -> Cmd {
        self.flags.iter().fold(self.settled(cmd), |cmd, (flag, value)| cmd.flag(flag, value))
    }

    fn settled(&self, cmd: Cmd) -> Cmd {
        match &self.settings {
            Some(file) => cmd.env(plain::VARIABLE, file.as_str()),
            None => cmd,
        }
    }
}

impl Bake<'_> {
    /// Whether the build takes nothing from the engine's cache.
    pub(super) fn is_from_scratch(&self) -> bool {
        let Options { rebuild, from_scratch, .. } = self.baker.options;
        *rebuild || *from_scratch || self.image.as_build().is_some_and(|build| build.no_cache)
    }

    /// What the image's `engine-cache` means for the engine that builds. What it cannot do is left
    /// out, with a warning.
    pub(super) fn caches(&mut self) -> Result<Caches, RunError> {
        let Some(build) = self.image.as_build() else { return Ok(Caches::default()) };
        let options = self.baker.options;
        let to = if options.route.no_engine_cache { &[][..] } else { &build.cache_to };
        let tiers = self.baker.layers.as_ref().filter(|_| build.cache_tiers);
        if to.is_empty() && tiers.is_none() {
            return Ok(Caches::default());
        }
        let engine = self.image.builder();
        let has_builder = options.variables.contains_key("BUILDX_BUILDER");
        let keeps = Keeps::probe(engine, has_builder, self.baker.tools, self.baker.runner)?;
        let mut caches = Caches::default();
        let mut left_out = Vec::new();
        match keeps.exports {
            Ok(()) => caches.flags.extend(to.iter().map(|image| written(image, ""))),
            Err(why) if !to.is_empty() => left_out.push(format!("`engine-cache.to` is left out: {why}")),
            Err(_) => {}
        }
        if let Some(layers) = tiers {
            let found = match keeps.imports {
                Ok(()) => layers.repositories(engine == Engine::Docker)?,
                Err(_) => Repositories::default(),
            };
            match (engine, keeps.imports) {
                (_, Err(why)) => left_out.push(format!("`engine-cache.tiers` is left out: {why}")),
                (Engine::Podman, Ok(())) => {
                    for name in layers.without_tls() {
                        left_out.push(format!(
                            "the tier `{name}` keeps no layers of podman's: it would be served without TLS"
                        ));
                    }
                    // Older ones take one of each.
                    caches.flags.extend(found.read.first().map(|from| ("--cache-from", from.clone())));
                    caches.after = found.written.into_iter().next();
                    let used: Vec<_> =
                        found.read.first().into_iter().chain(&caches.after).map(String::as_str).collect();
                    caches.settings = plain::settings(&used, &options.variables, &self.temp);
                    if let Some(file) = &caches.settings {
                        self.baker.runner.say(&format!("# writes {file}: a registry here without TLS"));
                    }
                }
                (Engine::Docker, Ok(())) => {
                    let of = |repository: &String| format!("{repository}:{}", tag(self.image));
                    let from = |from| ("--cache-from", format!("type=registry,ref={}", of(from)));
                    caches.flags.extend(found.read.iter().map(from));
                    let to = found.written.iter().map(|to| written(&of(to), ",ignore-error=true"));
                    match keeps.exports {
                        Ok(()) => caches.flags.extend(to),
                        Err(why) if !found.written.is_empty() => {
                            left_out.push(format!("the engine's layers are not written to tiers: {why}"));
                        }
                        Err(_) => {}
                    }
                }
            }
        }
        for warning in left_out {
            self.warn(warning);
        }
        Ok(caches)
    }

    /// Sends podman's layers of what was just built: the same build once more, which finds every
    /// step in its cache. Only a signal is an error: the image is there.
    pub(super) fn send_layers(
        &mut self,
        builder: Builder,
        handed: Handed<'_>,
        context: Option<&Cmd>,
        (caches, repository): (&Caches, &str),
    ) -> Result<(), RunError> {
        if self.is_from_scratch() {
            return Ok(());
        }
        self.step("sending layers");
        let cmd = caches.settled(self.baker.build_command(builder)?).flag("--cache-to", repository);
        let sent = self.baker.runner.build(context, &self.image.build(cmd, handed), Box::new(|_| ()));
        match sent {
            Err(error) if error.is_interruption() => Err(error),
            Err(error) => {
                self.warn(format!("its layers were not sent to `{repository}`: {error}"));
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

fn written(image: &str, more: &str) -> (&'static str, String) {
    ("--cache-to", format!("type=registry,ref={image},mode=max{more}"))
}

/// The image's name as a tag: the layers of each image have one of their own.
fn tag(image: &Image) -> String {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    image.name.chars().map(|c| if is_fine(c) { c } else { '-' }).collect()
}
