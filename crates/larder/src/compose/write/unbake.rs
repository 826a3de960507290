//! Takes back what bakes have written: files get back what they were, byte for byte.

use super::plan::{Places, restored};
use super::record::WriteError;
use super::steps::{Step, carry_out};

/// Takes back what bakes have written. Returns what was done, a line each; none where there is
/// nothing to take back.
///
/// # Errors
/// A file that was edited since the bake, or that is not what its backup says: nothing is changed
/// then. I/O errors.
pub(crate) fn unbake(places: &Places) -> Result<Vec<String>, WriteError> {
    let _lock = places.lock()?;
    let (said, steps) = undoing(places)?;
    carry_out(&steps).map(|()| said)
}

/// What is to be done for that, and what there is to say of it.
pub(super) fn undoing(places: &Places) -> Result<(Vec<String>, Vec<Step>), WriteError> {
    let standing = places.standing()?;
    let files = &standing.record.files;
    let mut steps = restored(&places.folder, files.iter())?;
    let mut said: Vec<_> = files.iter().map(|file| format!("restored {}", file.path)).collect();
    // What names it is restored before.
    if standing.above.is_some() {
        let path = places.override_file();
        said.extend(path.file_name().map(|name| format!("removed {name}")));
        steps.push(Step::Remove { path: places.real_override()? });
    }
    steps.extend(files.iter().map(|file| Step::Remove { path: places.folder.join(file.backup()) }));
    if places.record_file().is_file() {
        steps.push(Step::Remove { path: places.record_file() });
    }
    Ok((said, steps))
}
