//! The outputs of an image: taken out of what is stored, or, where it is not, out of a store beside
//! that the image is saved into for this alone.

use std::cell::Cell;

use camino::{Utf8Path, Utf8PathBuf};

use super::flow::Bake;
use super::order::feeds::{Judged, judged, places_of, real_context};
use super::stock::{Found, Stock};
use crate::config::image::Ignore;
use crate::outputs::place::{Owner, put};
use crate::outputs::record::Ledger;
use crate::outputs::staged::{Staged, leading, placed};
use crate::outputs::{Output, OutputError, lines, spec};
use crate::process::command::Cmd;
use crate::process::runner::{RunError, code, succeeded};

/// Under this key an image is in the store beside that has none.
const NO_KEY: &str = "unsaved";

/// What became of the outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Brought {
    /// So many files were written.
    Files(usize),
    /// What is stored is damaged, or not there.
    Lost,
}

impl Bake<'_> {
    /// Brings the outputs of an image that is stored under the key. `false`: what is stored is
    /// damaged.
    pub(super) fn bring(&mut self, key: &str) -> Result<bool, RunError> {
        if self.image.outputs.is_empty() {
            return Ok(true);
        }
        let spec = spec(&self.image.outputs);
        if self.ledger().read(&self.image.name).is_sound(self.baker.runner.folder(), key, &spec) {
            self.outputs = (!self.baker.options.check).then_some(0);
            return Ok(true);
        }
        if self.baker.options.check {
            return self.would_match(key);
        }
        match self.take(&self.baker.stock, key, key)? {
            Brought::Files(count) => self.outputs = Some(count),
            Brought::Lost => return Ok(false),
        }
        Ok(true)
    }

    /// In a check: whether what is stored is whole, as far as its outputs need; nothing is written.
    /// An image that a tier alone has is not looked into.
    fn would_match(&self, key: &str) -> Result<bool, RunError> {
        if self.tier.is_some() {
            return Ok(true);
        }
        let stock = &self.baker.stock;
        for (_, pattern) in lines(&self.image.outputs) {
            let cmd = stock.imgtar("extract", key).args([pattern, "-o", "/dev/null"]);
            match self.extracted(stock, key, &cmd)? {
                Found::Hit { .. } => {}
                Found::Miss => return Err(self.no_match(pattern)),
                Found::Unusable(why) => return Err(RunError::Unextracted(why)),
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Brings the outputs of an image that was just made. `saved`: it is stored under the key.
    pub(super) fn bring_made(&mut self, key: Option<&str>, saved: bool) -> Result<(), RunError> {
        if self.image.outputs.is_empty() {
            return Ok(());
        }
        let brought = match key.filter(|_| saved) {
            Some(key) => self.take(&self.baker.stock, key, key)?,
            None => self.take_aside(key)?,
        };
        match brought {
            Brought::Files(count) => self.outputs = Some(count),
            Brought::Lost => return Err(RunError::OutputsLost),
        }
        Ok(())
    }

    /// Takes the outputs out of an image that the engine alone has, or a packed one that is stored
    /// beside.
    fn take_aside(&self, key: Option<&str>) -> Result<Brought, RunError> {
        let runner = self.baker.runner;
        let aside = self.temp.join("store");
        let stock = Stock::new(self.baker.tools, runner, Some(&aside));
        let stored = key.filter(|_| self.image.is_packed()).unwrap_or(NO_KEY);
        if let Some(id) = &self.built_id {
            let engine = self.image.builder().name();
            let cmd = stock.imgtar("save", NO_KEY).arg(id).args(["--force", "--engine", engine]);
            runner.output(&cmd)?;
        }
        // What is not kept may be of other inputs than the key's.
        self.take(&stock, stored, "")
    }

    /// Takes the outputs out of the store's image, and notes them for `key`.
    fn take(&self, stock: &Stock<'_>, stored: &str, key: &str) -> Result<Brought, RunError> {
        let temp = tempfile::Builder::new().prefix("outputs-").tempdir_in(&self.temp);
        let lost = |source| RunError::Lost { program: "imgtar extract".to_owned(), source };
        let temp = temp.map_err(lost)?;
        let folder = Utf8Path::from_path(temp.path()).unwrap_or(&self.temp);
        let mut files: Vec<Staged> = Vec::new();
        for (index, (output, pattern)) in lines(&self.image.outputs).enumerate() {
            let to = folder.join(index.to_string());
            match self.extract(stock, stored, pattern, &to)? {
                Found::Hit { .. } => files.extend(self.found_files(&to, output, pattern)?),
                Found::Miss => return Err(self.no_match(pattern)),
                Found::Unusable(why) => return Err(RunError::Unextracted(why)),
                _ => return Ok(Brought::Lost),
            }
        }
        // The last line wins where two give one file.
        files.sort_by(|one, other| one.to.cmp(&other.to));
        files.reverse();
        files.dedup_by(|one, other| one.to == other.to);
        self.check_inputs(&files)?;
        self.baker.after_neighbours(&self.image.name, self.seat)?;
        self.check_owners(&files)?;
        let spec = spec(&self.image.outputs);
        let owner = Owner { name: &self.image.name, key, spec: &spec };
        Ok(Brought::Files(put(&files, &owner, &self.ledger())?))
    }

    /// `Miss`: nothing in the image is called so.
    fn extract(&self, stock: &Stock<'_>, key: &str, pattern: &str, to: &Utf8Path) -> Result<Found, RunError> {
        let cmd = stock.imgtar("extract", key).arg(pattern);
        let cmd = cmd.flag("--strip-components", &leading(pattern).to_string()).arg("-C").path(to);
        self.extracted(stock, key, &cmd)
    }

    /// What became of an extraction: as [`Bake::extract`].
    fn extracted(&self, stock: &Stock<'_>, key: &str, cmd: &Cmd) -> Result<Found, RunError> {
        let is_stored = Cell::new(true);
        let (status, _) = self.baker.runner.capture(cmd)?;
        if code(status) == Some(1) {
            // The same code for both: an image that is gone, and a file that is not in it.
            is_stored.set(matches!(stock.has(key)?, Found::Hit { .. }));
        }
        Ok(match (code(status), succeeded(cmd, status)) {
            (_, Ok(())) => Found::Hit { present: false, moved: 0 },
            (Some(1), _) if is_stored.get() => Found::Miss,
            (Some(1 | 3), _) => Found::Damaged,
            (_, Err(error)) => Found::Unusable(error.to_string()),
        })
    }

    fn found_files(
        &self,
        folder: &Utf8Path,
        output: &Output,
        pattern: &str,
    ) -> Result<Vec<Staged>, RunError> {
        let files = placed(folder, output, pattern)?;
        if files.is_empty() { Err(self.no_match(pattern)) } else { Ok(files) }
    }

    fn no_match(&self, pattern: &str) -> RunError {
        let (image, pattern) = (self.image.name.clone(), pattern.to_owned());
        OutputError::NoMatch { image, pattern }.into()
    }

    /// Refuses files that the image's own key would have as inputs: it would never be a hit again.
    fn check_inputs(&self, files: &[Staged]) -> Result<(), RunError> {
        let image = self.image.name.clone();
        self.first_input(files.iter().map(|file| file.to.as_path()))?.map_or(Ok(()), |judged| {
            let by = judged.reader();
            Err(OutputError::Input { image, path: judged.path, by }.into())
        })
    }

    /// The same before a build, of outputs that would be inputs whatever their files are called. Of
    /// others `check_inputs` tells, once the files are there.
    pub(super) fn check_places(&self) -> Result<(), RunError> {
        let hides = self.image.ignore == Ignore::All || self.has_ignore_file();
        for (output, pattern) in lines(&self.image.outputs) {
            // Which names a pattern stands for is not known, and an ignore file may hide just
            // those.
            if hides && pattern.contains(['*', '?', '[']) {
                continue;
            }
            let mut by = None;
            let mut are_all = true;
            for place in places_of(output, pattern) {
                match self.first_input(std::iter::once(place.as_path()))? {
                    Some(judged) => by = Some(judged.reader()),
                    None => are_all = false,
                }
            }
            if let Some(by) = by.filter(|_| are_all) {
                let (image, path) = (self.image.name.clone(), output.to.clone());
                return Err(OutputError::Input { image, path, by }.into());
            }
        }
        Ok(())
    }

    /// Whether its context has a file that may hide inputs.
    fn has_ignore_file(&self) -> bool {
        let root = self.baker.runner.folder();
        let own = self.image.as_build().map(crate::config::image::Build::file);
        let beside = [".dockerignore", ".containerignore"].into_iter().flat_map(|name| {
            let of_file = own.as_ref().map(|file| Utf8PathBuf::from(format!("{file}{name}")));
            [Some(self.image.folder().join(name)), of_file]
        });
        beside.flatten().any(|path| root.join(path).symlink_metadata().is_ok())
    }

    /// The same of files that the bake writes beside the image, which its key would follow.
    pub(super) fn check_writes(&self) -> Result<(), RunError> {
        let image = self.image.name.clone();
        self.first_input(self.image.writes.iter().map(Utf8PathBuf::as_path))?.map_or(Ok(()), |judged| {
            let by = judged.reader();
            Err(RunError::WrittenInput { image, path: judged.path, by })
        })
    }

    /// The first of the files that would be an input; paths are relative to the project's folder.
    fn first_input<'f>(&self, files: impl Iterator<Item = &'f Utf8Path>) -> Result<Option<Judged>, RunError> {
        let Some((real, real_root)) = real_context(self.image, self.baker.runner.folder()) else {
            return Ok(None);
        };
        let found = |file: &Utf8Path| {
            let parent = file.is_absolute().then(|| file.parent()?.canonicalize_utf8().ok())??;
            Some(parent.join(file.file_name()?))
        };
        let inside = |file: &Utf8Path| {
            let full = found(file).unwrap_or_else(|| real_root.join(file));
            Some(full.strip_prefix(&real).ok()?.to_string())
        };
        let paths: Vec<_> = files.filter_map(inside).collect();
        if paths.is_empty() {
            return Ok(None);
        }
        let cmd = self.describe(self.hashctx().args(["-q", "--json"])).args(["--check-ignore", "--"]);
        let (_, json) = self.baker.runner.ask(&cmd.args(paths))?;
        Ok(judged(&json).find(Judged::is_input))
    }

    /// Refuses files that another image or disk of the project has written.
    fn check_owners(&self, files: &[Staged]) -> Result<(), RunError> {
        let ledger = self.ledger();
        for (other, spec) in &self.baker.owners {
            let record = ledger.read(other);
            if *other == self.image.name || record.spec != *spec {
                continue;
            }
            if let Some(file) = files.iter().find(|file| record.files.contains_key(&file.to)) {
                let (owner, other) = (self.image.name.clone(), other.clone());
                return Err(OutputError::TwoOwners { path: file.to.clone(), owner, other }.into());
            }
        }
        Ok(())
    }

    fn ledger(&self) -> Ledger<'_> {
        Ledger::new(self.baker.options.store.as_deref(), self.baker.runner.folder())
    }
}
