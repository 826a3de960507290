//! One disk, from its key to its output: the counterpart of `flow` for what a command makes.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::sync::PoisonError;
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use miette::Diagnostic;
use tempfile::TempDir;
use toolkit::Engine;

use super::baker::Baker;
use super::before::{Against, Before, chain, not_saved, rebuilt, why};
use super::engines::inspect::{Inspected, inspect};
use super::flow::with_causes;
use super::inputs::digest;
use super::order::pieces::PlannedDisk;
use super::stock::{Found, from, judged};
use crate::config::disk::Disk;
use crate::disk::{WORK, glob};
use crate::outputs::OutputError;
use crate::outputs::place::{Owner, put};
use crate::outputs::record::Ledger;
use crate::outputs::staged::{Staged, below};
use crate::process::command::Cmd;
use crate::process::packages::{Packages, Through};
use crate::process::runner::{RunError, Verbosity};
use crate::report::changes::{Changes, Sought, changes_since};
use crate::report::{Baked, State};
use crate::schedule::Seat;

/// The bake of one disk, while it runs.
struct DiskBake<'a> {
    baker: &'a Baker<'a>,
    seat: &'a Seat<'a, RunError>,
    /// The folder for what it needs meanwhile.
    temp: Utf8PathBuf,
    disk: &'a Disk,
    /// The images and disks that it comes after.
    before: Before<'a>,
    started: Instant,
    /// Whether it is to be made in any case.
    rebuild: bool,
    /// Whether what the store has under the key is to be replaced.
    replace: bool,
    reason: Option<String>,
    /// The images and disks whose rebuild is the reason, the nearest first.
    chain: Vec<String>,
    changes: Option<Changes>,
    warnings: Vec<String>,
    outputs: Option<usize>,
    error: Option<String>,
    /// What its package clients took from the package cache.
    packages: Option<Packages>,
    /// The tier that it came from, or that has it.
    tier: Option<String>,
    /// How long the run took that a hit makes needless.
    saved_seconds: Option<f64>,
}

/// A folder beside the output, on the same file system.
struct Work {
    folder: TempDir,
    // Held for its lock.
    _lock: File,
}

/// The key, and the manifest that it is the digest of.
struct Spec {
    key: String,
    manifest: Utf8PathBuf,
}

impl Baker<'_> {
    /// Brings the disk up to date. An error is an interruption; any other failure is in the report.
    pub(super) fn bake_disk(
        &self,
        planned: &PlannedDisk,
        seat: &Seat<'_, RunError>,
    ) -> Result<Baked, RunError> {
        let disk = &planned.disk;
        let rebuild = self.options.rebuild && planned.asked;
        let bake = DiskBake {
            baker: self,
            seat,
            temp: self.temp_of(&disk.name)?,
            disk,
            before: self.before(disk.needs.iter(), &planned.feeds),
            started: Instant::now(),
            rebuild,
            replace: rebuild,
            reason: None,
            chain: Vec::new(),
            changes: None,
            warnings: Vec::new(),
            outputs: None,
            error: None,
            packages: None,
            tier: None,
            saved_seconds: None,
        };
        bake.run()
    }
}

impl DiskBake<'_> {
    fn run(mut self) -> Result<Baked, RunError> {
        if let Some(base) = self.before.failed() {
            return self.failed(None, RunError::Below { base: base.image.clone() });
        }
        self.step("hashing");
        let spec = match self.spec("manifest") {
            Ok(spec) => spec,
            Err(error) => return self.without_spec(error),
        };
        match self.bake(&spec) {
            Ok((state, from, saved)) => {
                self.saved_seconds = self.baker.build_seconds(&spec.key);
                Ok(self.report(state, Some(spec.key), from, saved))
            }
            Err(error) => self.failed(Some(spec.key), error),
        }
    }

    /// Without a key: in a check, files may not be there that are made before it.
    fn without_spec(mut self, error: RunError) -> Result<Baked, RunError> {
        let absent = || self.before.absent_feed().filter(|_| self.baker.options.check);
        let stale = self.before.stale_feed().or_else(absent).filter(|_| !error.is_interruption());
        if stale.is_none() {
            return self.failed(None, error);
        }
        self.reason = stale;
        Ok(self.report(State::Stale, None, None, false))
    }

    fn bake(&mut self, spec: &Spec) -> Result<(State, Option<&'static str>, bool), RunError> {
        let options = &self.baker.options;
        if self.found(&spec.key)? {
            self.baker.offer(&spec.key);
            // A check brings nothing from a tier.
            return Ok((State::Hit, Some("store"), self.tier.is_none() || !options.check));
        }
        self.explain(spec)?;
        if options.check {
            return Ok((State::Stale, None, false));
        }
        let name = &self.disk.name;
        let turn = self.baker.turn(name, &spec.key, self.cached())?;
        // It may have been saved between the question and the turn, too.
        let may_be_there =
            turn.as_ref().is_some_and(|turn| turn.waited) || self.baker.stored(&spec.key).is_some();
        if may_be_there && !self.rebuild && self.found(&spec.key)? {
            self.changes = None;
            return Ok((State::Hit, Some("store"), true));
        }
        let saved = self.make(spec)?;
        drop(turn);
        Ok((State::Built, Some("run"), saved))
    }

    fn cached(&self) -> bool {
        self.disk.use_image_cache && !self.baker.options.no_image_cache
    }

    /// Whether the store has it and the output stands, unless it is to be made in any case.
    fn found(&mut self, key: &str) -> Result<bool, RunError> {
        let store = self.baker.options.store.as_deref();
        let against = Against::of_options(self.rebuild, self.cached())
            .or_else(|| self.before.against(store, key, &self.disk.needs));
        let Some(against) = against else { return self.look_up(key) };
        (self.reason, self.chain) = (Some(against.reason), against.chain);
        self.replace |= against.replace;
        Ok(false)
    }

    /// Whether the store gives it.
    fn look_up(&mut self, key: &str) -> Result<bool, RunError> {
        self.step("asking for it");
        let mut found = self.baker.stock.has(key)?;
        if matches!(found, Found::Miss | Found::Damaged) {
            self.tier = self.baker.bring(key, found == Found::Damaged)?;
            found = if self.tier.is_some() { Found::Hit { present: false, moved: 0 } } else { found };
        }
        let found = match found {
            Found::Hit { .. } => self.copy_out(key)?,
            other => other,
        };
        let (reason, warning) = match found {
            Found::Hit { .. } => return Ok(true),
            Found::Miss => return Ok(false),
            Found::Damaged => {
                self.replace = true;
                ("the stored disk is damaged", "the stored disk is damaged".to_owned())
            }
            Found::Unusable(why) | Found::Unloadable(why) | Found::NoEngine(why) => {
                ("the store cannot be used", format!("the image cache cannot be used: {why}"))
            }
        };
        self.reason = Some(reason.to_owned());
        self.warn(warning);
        Ok(false)
    }

    /// Brings the stored disk to its place, unless it stands there.
    fn copy_out(&mut self, key: &str) -> Result<Found, RunError> {
        let sound = || self.ledger().read(&self.disk.name).is_sound(self.root(), key, &self.disk.spec());
        if self.baker.options.check || sound() {
            self.outputs = Some(0);
            return Ok(Found::Hit { present: true, moved: 0 });
        }
        let work = self.work()?;
        let file = self.made_in(&work);
        let stock = &self.baker.stock;
        let cmd = if self.disk.folder {
            stock.imgtar("extract", key).arg("/").arg("-p").arg("-C").path(&file)
        } else {
            stock.imgtar("export", key).args(["--compress", "none"]).path(&file)
        };
        let found = judged(&cmd, self.baker.runner.capture(&cmd))?;
        if matches!(found, Found::Hit { .. }) {
            self.put(key, &file)?;
        }
        Ok(found)
    }

    /// Runs the command, keeps what it made and puts it in its place. `false`: not kept.
    fn make(&mut self, spec: &Spec) -> Result<bool, RunError> {
        if self.baker.runner.verbosity() > Verbosity::Quiet {
            self.say("making", &self.why());
        }
        self.step("making");
        let work = self.work()?;
        let file = self.made_in(&work);
        let started = Instant::now();
        let run = Cmd::new("sh").args(["-c", &self.disk.run]);
        let args = self.disk.args.iter().fold(run, |cmd, (name, value)| cmd.env(name, value));
        let cmd = args.env("LARDER_OUTPUT", file.as_str()).within(self.disk.timeout.map(|limit| limit.0));
        let cmd = cmd.step();
        let through = self.baker.through(&self.disk.name, &self.disk.packages, self.in_work(&work));
        let limit = cmd.limit();
        let cmd = match &through {
            Some(through) => through.lead(cmd).within(limit),
            None => cmd,
        };
        let ran = self.baker.runner.build(None, &cmd, Box::new(|_| ()));
        self.packages = through.as_ref().and_then(Through::summary);
        let fetched = through.as_ref().and_then(Through::record);
        match ran {
            Err(RunError::Failed { how, .. }) => {
                return Err(OutputError::RunFailed { disk: self.disk.name.clone(), how }.into());
            }
            ran => ran?,
        }
        self.check_made(&file)?;
        let saved = self.cached() && self.unchanged(spec)? && {
            let kept = self.keep(spec, &file, started.elapsed().as_secs_f64(), fetched.as_deref());
            self.or_unsaved(kept)?
        };
        if saved {
            self.baker.send(&spec.key);
        }
        // What is not kept may be of other inputs than the key's.
        self.put(if saved { &spec.key } else { "" }, &file)?;
        Ok(saved)
    }

    fn check_made(&self, file: &Utf8Path) -> Result<(), RunError> {
        let wanted = if self.disk.folder { "a folder" } else { "a file" };
        let made = match fs::symlink_metadata(file) {
            Ok(made) if made.is_dir() => "a folder",
            Ok(made) if made.is_file() => "a file",
            Ok(_) => "something else",
            Err(_) => "nothing",
        };
        if made == wanted {
            return Ok(());
        }
        Err(OutputError::NoDisk { disk: self.disk.name.clone(), made, wanted }.into())
    }

    fn keep(
        &self,
        spec: &Spec,
        file: &Utf8Path,
        seconds: f64,
        fetched: Option<&Utf8Path>,
    ) -> Result<(), RunError> {
        let stock = &self.baker.stock;
        let mut packed = None;
        let cmd = if self.disk.folder {
            let tar = self.temp.join("disk.tar");
            let cmd = self.baker.tools.hashctx().args(["-q", "--ignore", "none", "--mode", "full", "--tar"]);
            self.baker.runner.write(&cmd.arg("--no-stat-cache").path(file), &tar)?;
            packed = Some(tar.clone());
            stock.imgtar("pack", &spec.key).path(&tar)
        } else {
            let kind = if is_qcow2(file) { "qcow2" } else { "raw" };
            stock.imgtar("import", &spec.key).path(file).flag("--type", kind)
        };
        let cmd = cmd.flag("--name", &disk_name(self.disk));
        let (host, commit) = (self.baker.options.host.as_deref(), self.baker.commit());
        let cmd = self.baker.of_project(from(cmd, &self.disk.name, host, commit.as_deref()));
        let cmd =
            cmd.flag("--build-seconds", &format!("{seconds:.3}")).arg("--manifest").path(&spec.manifest);
        let cmd = fetched.into_iter().fold(cmd, |cmd, record| cmd.arg("--packages").path(record));
        let cmd = if self.replace { cmd.arg("--force") } else { cmd };
        let kept = self.baker.runner.output(&cmd).map(drop);
        // It may be large, and the bake may take long yet.
        if let Some(tar) = packed {
            let _ = fs::remove_file(tar);
        }
        kept
    }

    /// Puts what lies ready in its place.
    fn put(&mut self, key: &str, made: &Utf8Path) -> Result<(), RunError> {
        let lost = |source| RunError::Lost { program: made.to_string(), source };
        let files = if self.disk.folder {
            below(made, &self.disk.output).map_err(lost)?
        } else {
            vec![Staged { from: made.to_owned(), to: self.disk.output.clone() }]
        };
        let spec = self.disk.spec();
        let owner = Owner { name: &self.disk.name, key, spec: &spec };
        self.baker.after_neighbours(&self.disk.name, self.seat)?;
        self.outputs = Some(put(&files, &owner, &self.ledger())?);
        Ok(())
    }

    /// Whether the inputs, and the images that it needs, are still those of the key, and all that
    /// it needs is known by it.
    fn unchanged(&mut self, before: &Spec) -> Result<bool, RunError> {
        let doubt = match self.before.unknown(&self.disk.needs) {
            None => self.moved_need()?,
            Some(name) => Some(not_saved(name)),
        };
        if let Some(doubt) = doubt {
            self.warn(format!("not saved: {doubt}"));
            return Ok(false);
        }
        match self.spec("manifest.after") {
            Ok(after) if after.key == before.key => return Ok(true),
            Ok(_) => self.warn("not saved: its inputs changed while it was made".to_owned()),
            Err(error) if error.is_interruption() => return Err(error),
            Err(error) => self.warn(format!("not saved: {error}")),
        }
        Ok(false)
    }

    /// Whether something that it needs is not what the key says: an image that no engine took, or
    /// that has its name no more, for some other build took it; a disk whose file was changed.
    fn moved_need(&self) -> Result<Option<String>, RunError> {
        let (tools, runner) = (self.baker.tools, self.baker.runner);
        for base in self.before.below() {
            if base.is_disk {
                if !self.is_sound(base) {
                    return Ok(Some(format!("the output of `{}`, which it needs, was changed", base.image)));
                }
                continue;
            }
            let Some(engine) = base.engine.and_then(Engine::named) else {
                return Ok(Some(format!("`{}`, which it needs, is in no engine", base.image)));
            };
            let Some(id) = &base.id else { continue };
            let tags: Vec<&str> = base.tags.iter().map(String::as_str).collect();
            let now = inspect(&tags, engine, tools, runner)?;
            let is_other = |now: &Option<Inspected>| now.as_ref().map(Inspected::id).as_ref() != Some(id);
            if let Some((tag, _)) = tags.iter().zip(&now).find(|(_, now)| is_other(now)) {
                return Ok(Some(format!("`{tag}` became another image after it was baked")));
            }
        }
        Ok(None)
    }

    /// Whether the file of another disk stands as it was written for its key.
    fn is_sound(&self, base: &Baked) -> bool {
        let spec = self.baker.owners.iter().find(|(name, _)| *name == base.image).map(|(_, spec)| spec);
        let key = base.key.as_deref().zip(spec);
        key.is_some_and(|(key, spec)| self.ledger().read(&base.image).is_sound(self.root(), key, spec))
    }

    fn or_unsaved(&mut self, saved: Result<(), RunError>) -> Result<bool, RunError> {
        match saved {
            Err(error) if error.is_interruption() => Err(error),
            Err(error) => {
                self.warn(format!("not saved: {error}"));
                Ok(false)
            }
            Ok(()) => Ok(true),
        }
    }

    /// The key of the inputs as they are now.
    fn spec(&self, file: &str) -> Result<Spec, RunError> {
        let list = self.temp.join("inputs");
        let names = self.files()?;
        let unwritten = |source| RunError::Lost { program: list.to_string(), source };
        let mut to = File::create(&list).map_err(unwritten)?;
        names.iter().try_for_each(|name| write!(to, "{name}\0")).map_err(unwritten)?;
        let hashctx = self.baker.stock.at_store(self.baker.tools.hashctx()).arg("--manifest");
        let cmd = hashctx.arg("--files-from").path(&list).arg("-0");
        let cmd = cmd.flag("--input", &format!("run={}", self.disk.run));
        let kind = if self.disk.folder { "folder" } else { "file" };
        let cmd = self
            .disk
            .args
            .iter()
            .fold(cmd.flag("--input", &format!("output={kind}")), |cmd, (name, value)| {
                cmd.flag("--input", &format!("arg.{name}={value}"))
            });
        let needed = self.before.known(&self.disk.needs);
        let needed = needed.iter().map(|(name, by)| format!("needs.{name}={by}"));
        let cmd = needed.fold(cmd, |cmd, input| cmd.flag("--input", &input));
        let manifest = self.temp.join(file);
        self.baker.runner.write(&cmd.arg("."), &manifest)?;
        Ok(Spec { key: digest(&manifest)?, manifest })
    }

    /// The files of the patterns, each of which must name one.
    fn files(&self) -> Result<Vec<Utf8PathBuf>, RunError> {
        let mut all = Vec::new();
        for glob in &self.disk.inputs {
            let inputs = |source| OutputError::Inputs { glob: glob.clone(), source };
            let found = glob::files(self.root(), glob).map_err(inputs)?;
            if found.is_empty() {
                return Err(OutputError::NoInput { disk: self.disk.name.clone(), glob: glob.clone() }.into());
            }
            let matcher = glob::matcher(self.root(), glob).map_err(inputs)?;
            if matcher.matched_path_or_any_parents(&self.disk.output, false).is_ignore() {
                let (disk, path) = (self.disk.name.clone(), self.disk.output.clone());
                return Err(OutputError::DiskInput { disk, path }.into());
            }
            all.extend(found);
        }
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// A folder beside the output; those of killed bakes are removed.
    fn work(&self) -> Result<Work, RunError> {
        let path = self.root().join(&self.disk.output);
        let beside = path.parent().unwrap_or(self.root());
        let failed = |source| OutputError::Write { path: self.disk.output.clone(), source };
        let _alone = self.baker.making_room.lock().unwrap_or_else(PoisonError::into_inner);
        fs::create_dir_all(beside).map_err(failed)?;
        sweep(beside);
        let folder = tempfile::Builder::new().prefix(WORK).tempdir_in(beside).map_err(failed)?;
        let lock = File::open(folder.path()).map_err(failed)?;
        lock.lock_shared().map_err(failed)?;
        Ok(Work { folder, _lock: lock })
    }

    fn in_work<'w>(&'w self, work: &'w Work) -> &'w Utf8Path {
        Utf8Path::from_path(work.folder.path()).unwrap_or(self.root())
    }

    /// The output's own name, in the folder where it is made: tools go by its end.
    fn made_in(&self, work: &Work) -> Utf8PathBuf {
        let folder = self.in_work(work);
        folder.join(self.disk.output.file_name().unwrap_or("output"))
    }

    fn explain(&mut self, spec: &Spec) -> Result<(), RunError> {
        let tags = [disk_name(self.disk)];
        let wanted = Sought { image: &self.disk.name, tags: &tags };
        let changes = changes_since(
            self.baker.earlier(&wanted, (&spec.key, &spec.manifest))?,
            (&spec.key, &spec.manifest),
            &self.temp,
            (self.baker.tools, self.baker.runner),
        )?;
        self.changes = changes;
        if self.changes.is_some()
            && let Some(base) = self.before.changed().filter(|_| self.reason.is_none())
        {
            (self.reason, self.chain) = (Some(rebuilt(base)), chain(base));
        }
        Ok(())
    }

    fn why(&self) -> String {
        why(self.reason.as_deref(), &self.chain, self.changes.as_ref())
    }

    fn ledger(&self) -> Ledger<'_> {
        Ledger::new(self.baker.options.store.as_deref(), self.root())
    }

    fn root(&self) -> &Utf8Path {
        self.baker.runner.folder()
    }

    fn warn(&mut self, warning: String) {
        self.say("warning", &warning);
        self.warnings.push(warning);
    }

    fn say(&self, what: &str, message: &str) {
        self.baker.runner.tell(&format!("{what}: {}: {message}", self.disk.name));
    }

    /// What is done now, for a live view.
    fn step(&self, step: &str) {
        self.baker.runner.live().step(&self.disk.name, step);
    }

    fn failed(mut self, key: Option<String>, error: RunError) -> Result<Baked, RunError> {
        if error.is_interruption() {
            return Err(error);
        }
        let why = with_causes(&error);
        self.say("error", &why);
        if let Some(help) = error.help() {
            self.baker.runner.tell(&format!("  help: {help}"));
        }
        self.error = Some(why);
        Ok(self.report(State::Failed, key, None, false))
    }

    fn report(self, state: State, key: Option<String>, from: Option<&'static str>, saved: bool) -> Baked {
        // In a check, what would be saved.
        let to_save = state == State::Stale && self.disk.use_image_cache && key.is_some();
        Baked {
            wave: self.before.wave(),
            needs: self.before.names(),
            from,
            tier: self.tier.clone().filter(|_| state == State::Hit),
            saved,
            by_key: saved
                || to_save
                || (state == State::Hit && self.baker.options.check)
                || self.baker.options.no_image_cache,
            outputs: self.outputs,
            reason: matches!(state, State::Built | State::Stale).then(|| self.why()),
            chain: self.chain,
            changes: self.changes,
            warnings: self.warnings,
            packages: self.packages,
            saved_seconds: self.saved_seconds.filter(|_| state == State::Hit),
            pinned: None,
            error: self.error,
            seconds: self.started.elapsed().as_secs_f64(),
            is_disk: true,
            ..Baked::new(&self.disk.name, state, key)
        }
    }
}

/// By what the store remembers it, so that a later miss is explained.
fn disk_name(disk: &Disk) -> String {
    format!("disk/{}", disk.name)
}

fn is_qcow2(file: &Utf8Path) -> bool {
    let mut head = [0; 4];
    File::open(file).and_then(|mut file| file.read_exact(&mut head)).is_ok() && head == *b"QFI\xfb"
}

/// Removes the folders that killed bakes left. What cannot be removed harms nobody.
fn sweep(beside: &Utf8Path) {
    for entry in beside.read_dir_utf8().into_iter().flatten().flatten() {
        let is_left = |path: &Utf8Path| File::open(path).is_ok_and(|folder| folder.try_lock().is_ok());
        if entry.file_name().starts_with(WORK) && is_left(entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
