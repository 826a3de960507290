//! Whether a fresh build of an image gives what is stored under its key.
//!
//! Compared are files, links and modes, by the manifests that hashctx makes of both; not owners and
//! times, nor the image's configuration. Nothing that is stored changes, and no name in the engine.

use camino::Utf8Path;

use super::flow::Bake;
use super::inputs::Inputs;
use super::stock::{Found, Stock, judged};
use crate::process::runner::{RunError, Verbosity};
use crate::report::changes::{Changes, Earlier, changes_since};
use crate::report::{Baked, State};

impl Bake<'_> {
    /// Builds the image from scratch beside the stored one: a hit where both are the same.
    pub(super) fn prove(mut self, inputs: Inputs) -> Result<Baked, RunError> {
        match self.baker.stock.has(&inputs.key) {
            Ok(Found::Hit { .. }) => {}
            Ok(_) => {
                self.reason =
                    Some("nothing is stored under its key to compare a fresh build with".to_owned());
                return Ok(self.report(State::Stale, Some(inputs.key), None, false));
            }
            Err(error) => return self.failed(Some(inputs.key), error),
        }
        if self.baker.runner.verbosity() > Verbosity::Quiet {
            self.say("proving", "it is built from scratch, beside what is stored");
        }
        match self.compared(&inputs) {
            Ok(None) => {
                self.reason = Some("a fresh build gives the same files".to_owned());
                Ok(self.report(State::Hit, Some(inputs.key), Some("store"), true))
            }
            Ok(Some(changes)) => {
                self.reason = Some("a fresh build gives other files".to_owned());
                self.changes = Some(changes);
                Ok(self.report(State::Stale, Some(inputs.key), None, true))
            }
            Err(error) => self.failed(Some(inputs.key), error),
        }
    }

    /// What a fresh build gives otherwise.
    fn compared(&mut self, inputs: &Inputs) -> Result<Option<Changes>, RunError> {
        let aside = self.temp.join("store");
        let (tools, runner) = (self.baker.tools, self.baker.runner);
        let fresh = Stock::new(tools, runner, Some(&aside));
        let extras = self.extras(inputs, 0.0);
        if self.image.is_packed() {
            let tar = self.temp.join("files.tar");
            runner.write(&self.tar(&self.temp.join("key"), false), &tar)?;
            fresh.pack(&inputs.key, &tar, self.image, &extras)?;
        } else {
            let built = self.build_only(Some(inputs))?;
            fresh.save(&inputs.key, &built.id, self.image, &extras)?;
            let engine = self.image.builder();
            // By a name of its own: the same image may stand under another one, which would go with
            // the ID. One that stays is only in the way of a disk.
            self.name_made()?;
            let _ = runner.ask(&tools.engine(engine, "rmi").args(self.image.tags.clone()));
        }
        let then = self.files_of(&self.baker.stock, &inputs.key, "stored")?;
        let now = self.files_of(&fresh, &inputs.key, "fresh")?;
        let lost = |source| RunError::Lost { program: then.to_string(), source };
        let manifest = std::fs::read(&then).map_err(lost)?;
        // The key is the same: what differs is what it does not say.
        let stored = Earlier { key: "stored".to_owned(), manifest, tier: None };
        let changes = changes_since(Some(stored), (&inputs.key, &now), &self.temp, (tools, runner))?;
        Ok(changes.filter(|changes| !changes.lines.is_empty()))
    }

    /// The manifest of an image's files.
    fn files_of(&self, stock: &Stock<'_>, key: &str, name: &str) -> Result<camino::Utf8PathBuf, RunError> {
        let folder = self.temp.join(format!("{name}-files"));
        let runner = self.baker.runner;
        // Also of an image without a file.
        let made = std::fs::create_dir_all(&folder);
        made.map_err(|source| RunError::Lost { program: folder.to_string(), source })?;
        let cmd = stock.imgtar("extract", key).arg("/").arg("-p").arg("-C").path(&folder);
        match judged(&cmd, runner.capture(&cmd))? {
            Found::Hit { .. } | Found::Miss => {}
            Found::Damaged => return Err(RunError::OutputsLost),
            Found::Unusable(why) | Found::Unloadable(why) | Found::NoEngine(why) => {
                return Err(RunError::Unextracted(why));
            }
        }
        let manifest = self.temp.join(format!("{name}-manifest"));
        let hashctx = self.baker.tools.hashctx().args(["-q", "--ignore", "none", "--mode", "full"]);
        let hashctx = hashctx.args(["--no-stat-cache", "--manifest"]).path(&folder);
        runner.write(&hashctx, &manifest)?;
        // A file system may not be read again, but it has to go: it may be large.
        remove(&folder);
        Ok(manifest)
    }
}

fn remove(folder: &Utf8Path) {
    let _ = std::fs::remove_dir_all(folder);
}
