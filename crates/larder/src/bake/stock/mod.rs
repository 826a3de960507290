//! The store, as bake uses it: by `imgtar`, and never relied on.

pub(crate) mod turn;

use std::process::ExitStatus;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use storekit::images::origin::Remark;
use toolkit::Engine;

use crate::config::image::Image;
use crate::process::command::Cmd;
use crate::process::runner::{RunError, Runner, Verbosity, code, succeeded};
use crate::process::tools::Tools;

/// The store's side of a bake.
pub(crate) struct Stock<'a> {
    tools: &'a Tools,
    runner: &'a Runner,
    flag: Option<&'a Utf8Path>,
}

/// What the store answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The image is there, and in the engine where it was to be loaded.
    Hit {
        /// Whether the engine had it before.
        present: bool,
        /// How many bytes of layers it was sent.
        moved: u64,
    },
    /// Never saved.
    Miss,
    /// Saved, but its bytes are not what they were.
    Damaged,
    /// Saved and sound as far as is known, but not to be brought into the engine; why.
    Unloadable(String),
    /// The store cannot be used; why.
    Unusable(String),
    /// The engine cannot be used; why.
    NoEngine(String),
}

impl<'a> Stock<'a> {
    /// `flag` is handed to imgtar as `--store`.
    pub(crate) fn new(tools: &'a Tools, runner: &'a Runner, flag: Option<&'a Utf8Path>) -> Self {
        Self { tools, runner, flag }
    }

    /// Brings the image into the engine under all its names.
    pub(crate) fn load(&self, key: &str, image: &Image) -> Result<Found, RunError> {
        let cmd = self.imgtar("load", key).args(["--json", "--engine", image.builder().name()]);
        let pinned = image.pinned(key);
        let tags = image.tags.iter().chain(&pinned);
        let cmd = tags.fold(cmd, |cmd, tag| cmd.flag("--tag", tag));
        let mut said = Vec::new();
        match judged(&cmd, self.runner.hold(&cmd, &mut said))? {
            Found::Unusable(why) => self.blamed(key, image, why, &said),
            found => {
                self.runner.release(&said);
                Ok(found)
            }
        }
    }

    /// Whose fault it is that an image could not be loaded. Of a missing engine, bake tells itself.
    fn blamed(&self, key: &str, image: &Image, why: String, said: &[u8]) -> Result<Found, RunError> {
        if let Some(trouble) = self.engine_trouble(image.builder())? {
            return Ok(Found::NoEngine(trouble));
        }
        self.runner.release(said);
        let stored = judged(&self.imgtar("has", key), self.runner.ask(&self.imgtar("has", key)))?;
        let stored = matches!(stored, Found::Hit { .. });
        Ok(if stored { Found::Unloadable(why) } else { Found::Unusable(why) })
    }

    /// Why the engine cannot be used, if so.
    pub(crate) fn engine_trouble(&self, engine: Engine) -> Result<Option<String>, RunError> {
        trouble(engine, self.tools, self.runner)
    }

    /// Whether the image is stored.
    pub(crate) fn has(&self, key: &str) -> Result<Found, RunError> {
        self.found(&self.imgtar("has", key))
    }

    /// Saves the engine's image with this ID, and its names.
    pub(crate) fn save(&self, key: &str, id: &str, image: &Image, with: &Extras) -> Result<(), RunError> {
        let cmd = self.imgtar("save", key).arg(id).args(["--engine", image.builder().name()]);
        self.done(&with.on(cmd, image))
    }

    /// Makes the image of a tar of its files.
    pub(crate) fn pack(
        &self,
        key: &str,
        tar: &Utf8Path,
        image: &Image,
        with: &Extras,
    ) -> Result<(), RunError> {
        self.done(&with.on(image.pack(self.imgtar("pack", key).path(tar)), image))
    }

    fn found(&self, cmd: &Cmd) -> Result<Found, RunError> {
        judged(cmd, self.runner.capture(cmd))
    }

    fn done(&self, cmd: &Cmd) -> Result<(), RunError> {
        let (status, _) = self.runner.capture(cmd)?;
        succeeded(cmd, status)
    }

    /// An `imgtar` command about a key of the store's.
    pub(crate) fn imgtar(&self, job: &str, key: &str) -> Cmd {
        let cmd = self.at_store(self.tools.imgtar(job).arg(key));
        if self.runner.verbosity() == Verbosity::Verbose { cmd } else { cmd.arg("-q") }
    }

    /// Names the store's folder, where the user has named one.
    pub(crate) fn at_store(&self, cmd: Cmd) -> Cmd {
        match self.flag {
            Some(store) => cmd.arg("--store").path(store),
            None => cmd,
        }
    }
}

/// Why the engine cannot be used, if so. Podman has no daemon: there its command is asked.
pub(crate) fn trouble(engine: Engine, tools: &Tools, runner: &Runner) -> Result<Option<String>, RunError> {
    let (format, whose) = match engine {
        Engine::Docker => ("{{.Server.Version}}", "the daemon of "),
        Engine::Podman => ("{{.Client.Version}}", ""),
    };
    let ask = tools.engine(engine, "version").args(["--format", format]);
    match runner.ask(&ask) {
        Ok((status, _)) if status.success() => Ok(None),
        Ok(_) => Ok(Some(format!("{whose}`{}` does not answer", ask.program()))),
        Err(error) if error.is_interruption() => Err(error),
        Err(error) => Ok(Some(error.to_string())),
    }
}

/// What imgtar's end means.
pub(crate) fn judged(cmd: &Cmd, ran: Result<(ExitStatus, Vec<u8>), RunError>) -> Result<Found, RunError> {
    let (status, said) = match ran {
        Ok(ran) => ran,
        Err(error) if error.is_interruption() => return Err(error),
        Err(error) => return Ok(Found::Unusable(error.to_string())),
    };
    Ok(match (code(status), succeeded(cmd, status)) {
        (Some(1), _) => Found::Miss,
        (Some(3), _) => Found::Damaged,
        (_, Ok(())) => loaded(&said),
        (_, Err(error)) => Found::Unusable(error.to_string()),
    })
}

/// What `imgtar load --json` says of each image, as far as it matters here.
#[derive(Deserialize)]
struct Loaded {
    present: bool,
    #[serde(default)]
    bytes_sent: u64,
}

fn loaded(said: &[u8]) -> Found {
    let lines = said.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let loaded: Vec<Option<Loaded>> = lines.map(|line| serde_json::from_slice(line).ok()).collect();
    let is_present = |one: &Option<Loaded>| one.as_ref().is_some_and(|one| one.present);
    Found::Hit {
        present: !loaded.is_empty() && loaded.iter().all(is_present),
        moved: loaded.iter().flatten().map(|one| one.bytes_sent).fold(0, u64::saturating_add),
    }
}

/// What is saved beside an image.
pub(crate) struct Extras {
    /// `hashctx`'s manifest, by which a later miss is explained.
    pub(crate) manifest: Utf8PathBuf,
    /// What the build fetched, as pkgcache has written it.
    pub(crate) fetched: Option<Utf8PathBuf>,
    /// What the build took.
    pub(crate) seconds: f64,
    /// Whether an image that is stored under the key already is replaced.
    pub(crate) force: bool,
    /// The machine that made it, as far as it is known.
    pub(crate) host: Option<String>,
    /// The project's git commit, with a `+` where it had changes.
    pub(crate) commit: Option<String>,
    /// What the project is called.
    pub(crate) project: Option<String>,
}

impl Extras {
    fn on(&self, cmd: Cmd, image: &Image) -> Cmd {
        let cmd = image.tags.iter().fold(cmd, |cmd, tag| cmd.flag("--name", tag));
        let cmd = from(cmd, &image.name, self.host.as_deref(), self.commit.as_deref());
        let cmd = of_project(cmd, self.project.as_deref());
        let cmd = cmd
            .flag("--build-seconds", &format!("{:.3}", self.seconds))
            .arg("--manifest")
            .path(&self.manifest);
        let cmd = match &self.fetched {
            Some(record) => cmd.arg("--packages").path(record),
            None => cmd,
        };
        if self.force { cmd.arg("--force") } else { cmd }
    }
}

/// Says where an image comes from; what imgtar would refuse is left out.
pub(crate) fn from(cmd: Cmd, image: &str, host: Option<&str>, commit: Option<&str>) -> Cmd {
    said(cmd, &[("--image", Some(image)), ("--host", host), ("--commit", commit)])
}

/// Says of which project an image is.
pub(crate) fn of_project(cmd: Cmd, project: Option<&str>) -> Cmd {
    said(cmd, &[("--project", project)])
}

fn said(cmd: Cmd, remarks: &[(&str, Option<&str>)]) -> Cmd {
    let said = remarks.iter().filter_map(|(flag, text)| Some((flag, (*text)?)));
    let plain = said.filter(|(_, text)| text.parse::<Remark>().is_ok());
    plain.fold(cmd, |cmd, (flag, text)| cmd.flag(flag, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::children::Children;

    #[track_caller]
    fn answers(script: &str, expected: &Found) {
        let runner = Runner::new("/".into(), Verbosity::Quiet, Children::default());
        let tools = Tools::all_in(Utf8Path::new("/none"));
        let stock = Stock::new(&tools, &runner, None);
        let found = stock.found(&Cmd::new("sh").args(["-c", script])).expect("no interruption");
        assert_eq!(found, *expected);
    }

    #[test]
    fn the_exit_code_is_the_answer() {
        answers("exit 0", &Found::Hit { present: false, moved: 0 });
        answers("echo '{\"present\":true}'", &Found::Hit { present: true, moved: 0 });
        answers("echo '{\"present\":false,\"bytes_sent\":7}'", &Found::Hit { present: false, moved: 7 });
        answers("exit 1", &Found::Miss);
        answers("exit 3", &Found::Damaged);
        answers("exit 2", &Found::Unusable("`sh` ended with code 2".into()));
    }
}
