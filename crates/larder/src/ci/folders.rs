//! The folders that steps run in: each is there before anything runs, or something makes it that
//! says so.

use camino::{Utf8Path, Utf8PathBuf};

use crate::config::step::Step;
use crate::config::{ConfigError, Project};
use crate::disk::glob;

const HELP: &str = "nothing was begun; `dir` is relative to larder.toml's folder. Where a step before makes it, that one says so in `outputs`";

/// Refuses a step whose `dir` is not there, unless a step of these before it, an image or a disk
/// has outputs at, in or above it.
pub(super) fn are_there(project: &Project, steps: &[&Step], root: &Utf8Path) -> Result<(), ConfigError> {
    let images = project.images.iter().flat_map(|image| &image.outputs).map(|output| output.to.clone());
    let disks = project.disks.iter().map(|disk| disk.output.clone());
    let mut made: Vec<Utf8PathBuf> = images.chain(disks).collect();
    for step in steps {
        let dir = step.dir.as_ref().filter(|_| step.run.is_some());
        if let Some((dir, at)) = dir
            && !root.join(dir).is_dir()
            && !made.iter().any(|place| may_make(place, dir))
        {
            let message = format!("the folder `{dir}` of step `{}` does not exist", step.name);
            return Err(project.fault_of_step(at, message, HELP));
        }
        made.extend(step.outputs.iter().map(|pattern| glob::literal(pattern)));
    }
    Ok(())
}

fn may_make(place: &Utf8Path, dir: &Utf8Path) -> bool {
    // `./d` is `d`.
    let dir = glob::literal(dir.as_str());
    place.starts_with(&dir) || dir.starts_with(place)
}
