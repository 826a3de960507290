//! What a job takes beside time: memory, and disk beyond what it stores.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};

use super::super::basics::lost;
use super::super::figures::{Figure, Figures, Limit, megabytes};
use super::super::race::{Contender, usage};
use super::Place;
use larder::process::runner::RunError;

/// Megabytes that a job may have, whatever it moves.
const MEMORY: f64 = 64.0;
/// How much more may be written than is stored, in percent of the image: keys, documents and notes.
const BEYOND: f64 = 1.0;

/// Something that is done to the image, once.
pub(super) struct Job {
    pub(super) contender: Contender,
    /// The store that it fills, which is empty before.
    pub(super) fills: Option<Utf8PathBuf>,
}

/// What jobs took.
pub(super) struct Costs {
    memory: Figures,
    beyond: Figures,
}

impl Place<'_> {
    /// Does each job once.
    pub(super) fn costs(&self, jobs: &[Job]) -> Result<Costs, RunError> {
        let title = "the most memory of any of its processes".to_owned();
        let mut memory = Figures::new(title, "MB");
        let title = "written to the disk beyond what stays in the store, temporary files too".to_owned();
        let mut beyond = Figures::new(title, "% of the image");
        let image = stored(&self.store).map_err(lost)?;
        for Job { contender, fills } in jobs {
            let used = usage(contender, self.folder, self.runner)?;
            let kept = fills.as_deref().map_or(Ok(0), stored).map_err(lost)?;
            let name = contender.name;
            let peak = used.map(|used| megabytes(used.memory));
            memory.add(Figure::new(name, peak.into_iter().collect()).limit(Limit::AtMost(MEMORY)));
            // Where less was written than is stored, the folder is on no disk.
            let more = used.and_then(|used| used.written.checked_sub(kept));
            let share = more.map(|more| 100.0 * megabytes(more) / megabytes(image));
            beyond.add(Figure::new(name, share.into_iter().collect()).limit(Limit::AtMost(BEYOND)));
        }
        Ok(Costs { memory, beyond })
    }
}

impl Costs {
    /// Prints them. Returns whether the limits are kept.
    pub(super) fn show(&self, out: &mut impl Write) -> Result<bool, RunError> {
        writeln!(out, "{}\n{}", self.memory, self.beyond).and_then(|()| out.flush()).map_err(lost)?;
        Ok(self.memory.is_within() && self.beyond.is_within())
    }
}

/// The bytes on disk of all blobs of a store.
pub(super) fn stored(store: &Utf8Path) -> io::Result<u64> {
    let blobs = fs::read_dir(store.join("images/blobs/sha256"))?;
    blobs.map(|blob| Ok(blob?.metadata()?.blocks() * 512)).sum()
}
