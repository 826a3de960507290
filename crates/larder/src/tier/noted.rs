//! What tiers have noted with their images: for explanations, so that a tier which does not tell
//! costs a warning, and is used for images as before.

use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use serde::Deserialize;
use storekit::{Origin, Remark};

use super::reach::Tiers;
use super::reached::{State, Trouble};
use crate::process::runner::RunError;

/// What is noted with an image in a tier. Nothing of it is known to be true.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Noted {
    /// Its key.
    pub(crate) key: String,
    /// The names that it was saved with.
    pub(crate) names: Vec<String>,
    /// When it was saved.
    pub(crate) saved: Option<Timestamp>,
    /// How long its build took.
    pub(crate) build_seconds: Option<f64>,
    /// Where it came from.
    pub(crate) origin: Origin,
}

/// A line of `imgtar ls --tier --brief --json`.
#[derive(Deserialize)]
struct Line {
    key: String,
    #[serde(default)]
    names: Vec<String>,
    saved: Option<Timestamp>,
    build_seconds: Option<f64>,
    image: Option<String>,
    host: Option<String>,
    commit: Option<String>,
    project: Option<String>,
}

/// What is noted in a tier, once it was asked.
pub(super) type Known = Option<Arc<[Noted]>>;

impl Tiers<'_> {
    /// What is noted with the images of the tier, which is asked once in a run; nothing, and a
    /// warning, where it does not tell.
    ///
    /// # Errors
    /// Only where a signal came.
    pub(crate) fn noted(&self, at: usize) -> Result<Arc<[Noted]>, RunError> {
        let none = || Arc::from(Vec::new());
        let Some(reached) = self.all.get(at) else { return Ok(none()) };
        // Others wait for the answer.
        let mut known = reached.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(noted) = &*known {
            return Ok(Arc::clone(noted));
        }
        if reached.state() == State::Down {
            return Ok(none());
        }
        let cmd = self.about("ls", &["--brief", "--json"], reached.tier).within(Some(reached.limit()));
        let (code, listed, said) = self.run(&cmd)?;
        let is_told = code == Some(0);
        let noted: Arc<[Noted]> = if is_told { read(&listed).into() } else { none() };
        *known = Some(Arc::clone(&noted));
        if !is_told {
            self.tell_unsearched(at, said);
        }
        Ok(noted)
    }

    /// The inputs of an image in the tier, where they are noted. After a trouble, which is a
    /// warning, the tier is not searched any more.
    ///
    /// # Errors
    /// Only where a signal came.
    pub(crate) fn inputs(&self, at: usize, key: &str) -> Result<Option<Vec<u8>>, RunError> {
        let Some(reached) = self.all.get(at) else { return Ok(None) };
        let cmd = self.about("info", &[key, "--inputs"], reached.tier).within(Some(reached.limit()));
        let (code, inputs, said) = self.run(&cmd)?;
        match code {
            Some(0) => return Ok(Some(inputs)),
            // Gone meanwhile, without inputs, or damaged.
            Some(1 | 3) => {}
            _ => {
                *reached.noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::from(Vec::new()));
                self.tell_unsearched(at, said);
            }
        }
        Ok(None)
    }

    fn tell_unsearched(&self, at: usize, said: Vec<u8>) {
        let message = format!("the tier `{}` is not searched for earlier saves", self.name(at));
        Trouble { message, said }.tell(self.runner);
    }
}

/// The lines that can be read; a later imgtar may write others.
fn read(listed: &[u8]) -> Vec<Noted> {
    let lines = listed.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    let remark = |text: Option<String>| text.and_then(|text| text.parse::<Remark>().ok());
    let noted = |Line { key, names, saved, build_seconds, image, host, commit, project }: Line| Noted {
        key,
        names,
        saved,
        build_seconds,
        origin: Origin {
            image: remark(image),
            host: remark(host),
            commit: remark(commit),
            project: remark(project),
        },
    };
    lines.map(noted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_imgtar_writes_them() {
        let text = "{\"key\":\"k\",\"names\":[\"app:1\"],\"saved\":\"2026-01-02T03:04:05Z\",\"build_seconds\":1.5,\
                    \"image\":\"app\",\"project\":\"git.example/app\"}\n{}\nno line\n{\"key\":\"bare\",\"image\":\"a\\u0007\"}\n";
        let noted = read(text.as_bytes());
        let keys: Vec<_> = noted.iter().map(|one| one.key.as_str()).collect();
        assert_eq!(keys, ["k", "bare"]);
        assert_eq!(
            (noted[0].names.as_slice(), noted[0].build_seconds),
            (&["app:1".to_owned()][..], Some(1.5))
        );
        assert_eq!(noted[0].origin.project.as_ref().map(Remark::as_str), Some("git.example/app"));
        assert!(noted[1].origin.is_unknown() && noted[1].saved.is_none());
    }
}
