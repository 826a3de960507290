//! The store, as bake uses it: by `imgtar`, and never relied on.

use camino::{Utf8Path, Utf8PathBuf};

use crate::command::Cmd;
use crate::image::Image;
use crate::runner::{RunError, Runner, code, succeeded};
use crate::tools::Tools;

/// The store's side of a bake.
pub(super) struct Stock<'a> {
    tools: &'a Tools,
    runner: &'a Runner,
    flag: Option<&'a Utf8Path>,
}

/// What the store answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The image is there (and in the engine, where it was to be loaded).
    Hit,
    /// Never saved.
    Miss,
    /// Saved, but its bytes are not what they were.
    Damaged,
    /// The store or the engine cannot be used; why.
    Unusable(String),
}

impl<'a> Stock<'a> {
    /// `flag` is handed to imgtar as `--store`.
    pub(super) fn new(tools: &'a Tools, runner: &'a Runner, flag: Option<&'a Utf8Path>) -> Self {
        Self { tools, runner, flag }
    }

    /// Brings the image into the engine under all its names.
    pub(super) fn load(&self, key: &str, image: &Image) -> Result<Found, RunError> {
        let cmd = image.tags.iter().fold(self.imgtar("load", key), |cmd, tag| cmd.flag("--tag", tag));
        self.found(&cmd)
    }

    /// Whether the image is stored.
    pub(super) fn has(&self, key: &str) -> Result<Found, RunError> {
        self.found(&self.imgtar("has", key))
    }

    /// Saves the engine's image with this ID, and its names.
    pub(super) fn save(&self, key: &str, id: &str, image: &Image, with: &Extras) -> Result<(), RunError> {
        let cmd = with.on(self.imgtar("save", key).arg(id));
        self.done(&cmd)?;
        self.done(&self.imgtar("tag", key).args(&image.tags))
    }

    /// Makes the image of a tar of its files.
    pub(super) fn pack(
        &self,
        key: &str,
        tar: &Utf8Path,
        image: &Image,
        with: &Extras,
    ) -> Result<(), RunError> {
        self.done(&with.on(image.pack(self.imgtar("pack", key).path(tar))))?;
        self.done(&self.imgtar("tag", key).args(&image.tags))
    }

    fn found(&self, cmd: &Cmd) -> Result<Found, RunError> {
        let status = match self.runner.capture(cmd) {
            Ok((status, _)) => status,
            Err(error) if error.is_interruption() => return Err(error),
            Err(error) => return Ok(Found::Unusable(error.to_string())),
        };
        Ok(match (code(status), succeeded(cmd, status)) {
            (Some(1), _) => Found::Miss,
            (Some(3), _) => Found::Damaged,
            (_, Ok(())) => Found::Hit,
            (_, Err(error)) => Found::Unusable(error.to_string()),
        })
    }

    fn done(&self, cmd: &Cmd) -> Result<(), RunError> {
        let (status, _) = self.runner.capture(cmd)?;
        succeeded(cmd, status)
    }

    fn imgtar(&self, job: &str, key: &str) -> Cmd {
        self.at_store(self.tools.imgtar(job).arg(key))
    }

    fn at_store(&self, cmd: Cmd) -> Cmd {
        match self.flag {
            Some(store) => cmd.arg("--store").path(store),
            None => cmd,
        }
    }
}

/// What is saved beside an image.
pub(super) struct Extras {
    /// `hashctx`'s manifest, by which a later miss is explained.
    pub(super) manifest: Utf8PathBuf,
    /// What the build took.
    pub(super) seconds: f64,
    /// Whether an image that is stored under the key already is replaced.
    pub(super) force: bool,
}

impl Extras {
    fn on(&self, cmd: Cmd) -> Cmd {
        let cmd = cmd
            .flag("--build-seconds", &format!("{:.3}", self.seconds))
            .arg("--manifest")
            .path(&self.manifest);
        if self.force { cmd.arg("--force") } else { cmd }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::children::Children;
    use crate::runner::Verbosity;

    #[track_caller]
    fn answers(code: &str, expected: &Found) {
        let runner = Runner::new("/".into(), Verbosity::Quiet, Children::default());
        let tools = Tools::all_in(Utf8Path::new("/none"));
        let stock = Stock::new(&tools, &runner, None);
        let found =
            stock.found(&Cmd::new("sh").args(["-c", &format!("exit {code}")])).expect("no interruption");
        assert_eq!(found, *expected);
    }

    #[test]
    fn the_exit_code_is_the_answer() {
        answers("0", &Found::Hit);
        answers("1", &Found::Miss);
        answers("3", &Found::Damaged);
        answers("2", &Found::Unusable("`sh` ended with code 2".into()));
    }
}
