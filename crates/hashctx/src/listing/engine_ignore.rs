//! An engine's ignore file as a filter of listings.
//!
//! Judges as the engines walk: what a folder met, its entries inherit. Which folders may be
//! skipped, the patterns say.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use camino::{Utf8Path, Utf8PathBuf};

use crate::config::Config;
use crate::dockerignore::{Chosen, Engine, Folder, LoadError, PatternError, Patterns, load};
use crate::error::HashError;
use crate::files::stat::Kind;
use crate::listed::{Filter, Judgement, Listed, Rule, Verdict};
use crate::path::RelPath;
use crate::warning::Warning;

/// The ignore file that counts for a build.
pub struct EngineIgnore {
    file: Utf8PathBuf,
    patterns: Patterns,
    instead_of: Option<Utf8PathBuf>,
    /// What the folders that were asked about met, by path.
    folders: RwLock<HashMap<Box<[u8]>, Arc<Folder>>>,
    /// The first path that is hidden and that older releases send.
    sent: Mutex<Option<RelPath>>,
}

impl EngineIgnore {
    /// Finds and reads the one for a folder, `dockerfile` where that is the context of a build's
    /// own. `None` where there is no such file, or where it says nothing; Podman reads none in
    /// named contexts.
    ///
    /// # Errors
    /// Where it cannot be read, or has a line that the engine refuses.
    pub fn load(
        config: &Config,
        root: &Utf8Path,
        dockerfile: Option<&Utf8Path>,
    ) -> Result<Option<Self>, HashError> {
        let is_named_context = config.build.is_some() && dockerfile.is_none();
        if is_named_context && config.engine == Engine::Podman {
            return Ok(None);
        }
        let named = config.ignore_file.as_deref().filter(|_| root == config.root);
        let chosen = load(config.engine, root, dockerfile, named)?;
        let chosen = chosen.filter(|chosen| !chosen.patterns.is_empty());
        Ok(chosen.map(|Chosen { path, patterns, instead_of }| Self {
            file: path,
            patterns,
            instead_of,
            folders: RwLock::default(),
            sent: Mutex::default(),
        }))
    }

    /// The ignore file that the engine reads.
    #[must_use]
    pub fn file(&self) -> &Utf8Path {
        &self.file
    }

    /// Where not every release of the engine takes this file, or hides what was hidden so far.
    pub fn warnings(&self) -> impl Iterator<Item = Warning> {
        let empty = self.instead_of.clone().map(|file| Warning::EmptyIgnoreFile { file });
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        empty.into_iter().chain(sent.map(|path| Warning::SentByOlder { path }))
    }

    /// What it says about one path, existing or not, as seen by a walk that comes to it. The ignore
    /// file is named from `root`.
    ///
    /// # Errors
    /// Where a pattern has no meaning, and that shows only when it is used.
    pub fn verdict(&self, root: &Utf8Path, path: &[u8]) -> Result<Verdict, HashError> {
        let verdict = self.patterns.judge_from_root(path).map_err(|error| self.failed(error))?;
        let by = verdict.by.map(|rule| Rule {
            file: self.file.strip_prefix(root).unwrap_or(&self.file).to_string(),
            line: rule.line,
            pattern: String::from_utf8_lossy(rule.pattern).into_owned(),
        });
        Ok(Verdict { excluded: verdict.excluded, by })
    }

    /// The warning that older releases send a path that is hidden, as the verdict says, if they do.
    #[must_use]
    pub fn sent_by_older(&self, verdict: &Verdict, path: &RelPath) -> Option<Warning> {
        let sent = verdict.excluded && self.is_sent_by_older(path.as_bytes());
        sent.then(|| Warning::SentByOlder { path: path.clone() })
    }

    /// Whether older releases send a path that is hidden.
    fn is_sent_by_older(&self, path: &[u8]) -> bool {
        self.patterns.may_part() && self.patterns.matches(path).is_ok_and(|older| !older.excluded)
    }

    /// What the folder met, asking about those above it first where that was not done yet.
    fn folder(&self, path: &[u8]) -> Result<Arc<Folder>, PatternError> {
        if path.is_empty() {
            return Ok(Arc::default());
        }
        let known = self.folders.read().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        match known {
            Some(folder) => Ok(folder),
            None => self.enter(path).map(|(_, folder)| folder),
        }
    }

    fn enter(&self, path: &[u8]) -> Result<(bool, Arc<Folder>), PatternError> {
        let (verdict, folder) = self.patterns.enter(&*self.folder(parent(path))?, path)?;
        let folder = Arc::new(folder);
        let mut folders = self.folders.write().unwrap_or_else(PoisonError::into_inner);
        folders.insert(path.into(), Arc::clone(&folder));
        Ok((verdict.excluded, folder))
    }

    fn judged(&self, path: &[u8], dir: bool) -> Result<Judgement, PatternError> {
        if !dir {
            let hides = self.hides(&*self.folder(parent(path))?, path)?;
            return Ok(if hides { Judgement::Hide } else { Judgement::Keep });
        }
        match self.enter(path)? {
            (false, _) => Ok(Judgement::Keep),
            (true, folder) if self.patterns.prunable(&folder, path) => {
                self.note(path);
                Ok(Judgement::Prune)
            }
            (true, _) => Ok(Judgement::Hide),
        }
    }

    fn keeps_one(&self, near: &mut Near, entry: &Listed) -> Result<bool, PatternError> {
        let path = entry.path.as_bytes();
        if entry.kind == Kind::Dir {
            return Ok(self.judged(path, true)? == Judgement::Keep);
        }
        let folder = parent(path);
        if *near.path != *folder {
            *near = Near { path: folder.into(), met: self.folder(folder)? };
        }
        Ok(!self.hides(&near.met, path)?)
    }

    /// Whether an entry that holds nothing is hidden, in a folder that met this.
    fn hides(&self, folder: &Folder, path: &[u8]) -> Result<bool, PatternError> {
        let excluded = self.patterns.judge(folder, path)?.excluded;
        if excluded {
            self.note(path);
        }
        Ok(excluded)
    }

    /// Takes note of what is hidden, if older releases send it.
    fn note(&self, path: &[u8]) {
        if !self.is_sent_by_older(path) {
            return;
        }
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        if sent.as_ref().is_none_or(|first| path < first.as_bytes()) {
            *sent = RelPath::new(path);
        }
    }

    fn failed(&self, error: PatternError) -> HashError {
        match std::fs::read(&self.file) {
            Ok(bytes) => LoadError::pattern(self.file.clone(), &bytes, error).into(),
            Err(source) => HashError::Read { path: self.file.to_string(), source },
        }
    }
}

impl Filter for EngineIgnore {
    fn judge(&self, path: &[u8], dir: bool) -> Result<Judgement, HashError> {
        self.judged(path, dir).map_err(|error| self.failed(error))
    }

    fn keeps(&self, entries: &[Listed]) -> Result<Vec<bool>, HashError> {
        let mut near = Near::default();
        let keeps = |entry: &Listed| self.keeps_one(&mut near, entry);
        entries.iter().map(keeps).collect::<Result<_, _>>().map_err(|error| self.failed(error))
    }
}

/// A folder and what it met.
#[derive(Default)]
struct Near {
    path: Box<[u8]>,
    met: Arc<Folder>,
}

fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|&byte| byte == b'/').and_then(|at| path.get(..at)).unwrap_or_default()
}
