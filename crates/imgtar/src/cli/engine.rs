//! Which engine a command works with.

use std::path::Path;
use std::process::Command;

use camino::Utf8PathBuf;
use imgtar::engine::{Engine, Kind};
use toolkit::guard;

use crate::cli::EngineArgs;
use crate::cli::docker_host;
use crate::cli::run::Invocation;

/// A command that ends with this process, however that ends.
fn guarded(program: &str) -> Command {
    guard::command(program, Path::new("."), None)
}

impl Invocation<'_> {
    /// Works with the engine that was asked for; by default with docker where its command is there,
    /// else podman. Docker's command may be there without its daemon: then podman works, if it is
    /// there. That is looked into only when docker has failed, so that it costs nothing where
    /// docker answers.
    pub(crate) fn with_engine<T>(
        &self,
        args: &EngineArgs,
        work: impl Fn(&Engine) -> imgtar::Result<T>,
    ) -> imgtar::Result<T> {
        let engine = self.engine(args);
        let done = work(&engine);
        let is_choice =
            args.engine.is_none() && engine.kind() == Kind::Docker && !self.is_named(Kind::Docker);
        let stands = done.is_ok() || !is_choice || self.signals.ended().is_some();
        if stands || !self.is_there(Kind::Podman) || engine.answers() {
            return done;
        }
        self.view.say("docker does not answer; podman is used (`--engine` chooses)");
        work(&Engine::new(Kind::Podman, self.program(Kind::Podman)).guarded(guarded))
    }

    fn engine(&self, args: &EngineArgs) -> Engine {
        let kind = args.engine.unwrap_or_else(|| self.kind_there());
        if self.view.common.verbose {
            let through = match self.socket(kind) {
                Some(socket) => format!("`{socket}`, or else `{}`", self.program(kind)),
                None => format!("`{}`", self.program(kind)),
            };
            self.view.say(&format!("engine: {}, through {through}", kind.name()));
        }
        self.engine_of(kind)
    }

    fn kind_there(&self) -> Kind {
        let is_podman = !self.is_there(Kind::Docker) && self.is_there(Kind::Podman);
        if is_podman { Kind::Podman } else { Kind::Docker }
    }

    pub(crate) fn engine_of(&self, kind: Kind) -> Engine {
        Engine::with_socket(kind, self.program(kind), self.socket(kind)).guarded(guarded)
    }

    /// The socket of the docker that its command would ask, where that is one of this machine and
    /// the command is the usual one.
    fn socket(&self, kind: Kind) -> Option<Utf8PathBuf> {
        if kind != Kind::Docker || self.is_named(kind) {
            return None;
        }
        docker_host::socket(self.settings.environment())
    }

    fn program(&self, kind: Kind) -> String {
        self.settings.environment().get(kind.variable()).unwrap_or(kind.name()).to_owned()
    }

    /// Whether the environment names its command.
    fn is_named(&self, kind: Kind) -> bool {
        self.settings.environment().get(kind.variable()).is_some()
    }

    fn is_there(&self, kind: Kind) -> bool {
        let program = self.program(kind);
        let path = self.settings.environment().get("PATH").unwrap_or_default();
        program.contains('/') || std::env::split_paths(path).any(|folder| folder.join(&program).is_file())
    }
}
