//! Says of single paths whether they are left out, and which line of which file decided.
//!
//! The path need not exist. Asks the same matchers as a listing does, so that both say the same.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use camino::Utf8Path;
use storekit::store::{TAG_FILE, TAG_LINE, store_line};

use crate::config::{Config, Rules, Selection};
use crate::engine::EngineIgnore;
use crate::error::HashError;
use crate::git::Checker;
use crate::listing::{Rule, Verdict};
use crate::path::{RelPath, escape};

/// Answers for the paths of one context.
pub struct CheckIgnore<'a> {
    root: &'a Utf8Path,
    git: Option<Checker>,
    engine: Option<EngineIgnore>,
}

impl<'a> CheckIgnore<'a> {
    /// Reads the ignore files that the configuration says count.
    ///
    /// # Errors
    /// Where one cannot be read, or is invalid.
    pub fn new(config: &'a Config) -> Result<Self, HashError> {
        let root = config.root.as_path();
        if !root.is_dir() {
            return Err(HashError::NotAFolder { path: root.to_owned() });
        }
        let rules = match config.selection {
            Selection::Rules(rules) => rules,
            Selection::Files(_) => Rules::None,
        };
        let dockerfile = config.build.as_ref().map(|build| build.dockerfile.as_path());
        let git =
            matches!(rules, Rules::All | Rules::Git).then(|| Checker::new(root.as_std_path())).transpose()?;
        let engines = matches!(rules, Rules::All | Rules::Docker);
        let engine = if engines { EngineIgnore::load(config, root, dockerfile)? } else { None };
        Ok(Self { root, git, engine })
    }

    /// Judges a path as a user writes it: relative to the context, or absolute. With a `/` at its end it is a directory,
    /// whatever stands there.
    ///
    /// # Errors
    /// Where it does not lie in the context, or an ignore file on the way is invalid.
    pub fn check(&self, path: &[u8]) -> Result<Verdict, HashError> {
        let Some(inside) = self.inside(path)? else { return Ok(Verdict::default()) };
        if let Some(store) = self.store(&inside) {
            return Ok(store);
        }
        let gits = match &self.git {
            Some(git) => git.check(&inside, path.ends_with(b"/"))?.verdict,
            None => Verdict::default(),
        };
        let engines = match &self.engine {
            Some(engine) => engine.verdict(self.root, inside.as_bytes())?,
            None => Verdict::default(),
        };
        Ok(decisive(gits, engines))
    }

    /// `None` for the root itself, which is never left out.
    fn inside(&self, path: &[u8]) -> Result<Option<RelPath>, HashError> {
        let outside = || HashError::Outside { path: escape(path).into_owned() };
        let below = match Path::new(std::ffi::OsStr::from_bytes(path)) {
            absolute if absolute.is_absolute() => {
                let root = self.root.as_std_path().canonicalize().map_err(HashError::read(self.root))?;
                absolute.strip_prefix(root).map_err(|_| outside())?.to_owned()
            }
            relative => relative.to_owned(),
        };
        // The parts of a path know neither `.` nor a `/` too many.
        let bytes = below.components().filter(|part| *part != std::path::Component::CurDir);
        let bytes = bytes.collect::<std::path::PathBuf>().into_os_string();
        if bytes.is_empty() && !path.is_empty() {
            return Ok(None);
        }
        RelPath::new(bytes.as_bytes()).ok_or_else(outside).map(Some)
    }

    /// A store of larder's is left out by its own tag.
    fn store(&self, path: &RelPath) -> Option<Verdict> {
        let mut folders = path.parents().chain([path.as_bytes()]);
        let marked =
            |folder| Some((folder, store_line(&self.root.as_std_path().join(as_path(folder))).ok()??));
        let (store, line) = folders.find_map(marked)?;
        let file = format!("{}/{TAG_FILE}", escape(store));
        let by = Rule { file, line, pattern: TAG_LINE.to_owned() };
        Some(Verdict { excluded: true, by: Some(by) })
    }
}

/// Both hide: what one leaves out is left out. Of two that keep, the one with a rule says why.
fn decisive(gits: Verdict, engines: Verdict) -> Verdict {
    let engines_decide = engines.excluded || gits.by.is_none();
    if !gits.excluded && engines_decide { engines } else { gits }
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}
