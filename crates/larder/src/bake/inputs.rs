//! What an image is made from, whether it is there at all, and what its key may not cover.

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

use crate::config::image::Image;
use crate::process::runner::RunError;
use toolkit::nearest::nearest;

/// What an image is made from, at one moment.
pub(super) struct Inputs {
    pub(super) key: String,
    pub(super) manifest: Utf8PathBuf,
}

/// Why the image cannot be made, where its context or its Dockerfile is not what it has to be:
/// hashctx and the engine would say so one after the other, or wait for a pipe without end.
pub(super) fn unusable(image: &Image, folder: &Utf8Path) -> Option<RunError> {
    let build = image.as_build()?;
    match std::fs::metadata(folder.join(&build.context)) {
        Ok(metadata) if metadata.is_dir() => {}
        // What cannot be looked at, hashctx tells of.
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {}
        found => {
            let why = if found.is_ok() { "is not a folder" } else { "does not exist" };
            return Some(RunError::NoContext { path: build.context.clone(), why });
        }
    }
    if let Some(path) = special_file(image, folder) {
        return Some(RunError::SpecialFile { path });
    }
    let file = build.file();
    if is_missing(&folder.join(&file)) {
        let meant = beside(&folder.join(&file));
        let meant = meant.map(|meant| format!("is `{meant}` meant? ")).unwrap_or_default();
        let help = format!("{meant}`dockerfile` in larder.toml is relative to `context`");
        return Some(RunError::NoDockerfile { path: file, help });
    }
    let folders = build.contexts.iter().filter_map(|(name, context)| Some((name, context.as_folder()?)));
    let mut missing = folders.filter(|(_, path)| is_missing(&folder.join(path)));
    missing.next().map(|(name, path)| RunError::NoNamedContext { name: name.clone(), path: path.to_owned() })
}

fn is_missing(path: &Utf8Path) -> bool {
    std::fs::metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// The name of the file beside the missing one that is probably meant.
fn beside(path: &Utf8Path) -> Option<String> {
    let entries = path.parent()?.read_dir_utf8().ok()?.flatten();
    let files = entries.filter(|entry| entry.metadata().is_ok_and(|found| found.is_file()));
    let names: Vec<_> = files.map(|entry| entry.file_name().to_owned()).collect();
    nearest(path.file_name()?, names.iter().map(String::as_str)).map(str::to_owned)
}

/// The image's Dockerfile, where something else stands in its place, as a folder or a pipe.
pub(super) fn special_file(image: &Image, folder: &Utf8Path) -> Option<Utf8PathBuf> {
    let path = image.as_build()?.file();
    let metadata = std::fs::metadata(folder.join(&path)).ok()?;
    (!metadata.is_file()).then_some(path)
}

/// The key of a manifest: its BLAKE3 digest, as `b3sum` prints it.
pub(super) fn digest(manifest: &Utf8Path) -> Result<String, RunError> {
    let lost = |source| RunError::Lost { program: format!("the manifest {manifest}"), source };
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(manifest).map_err(lost)?).map_err(lost)?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// As much of what `hashctx --json` prints as matters here.
#[derive(Deserialize)]
struct Key {
    warnings: Vec<Doubt>,
}

#[derive(Deserialize)]
struct Doubt {
    code: String,
    message: String,
}

/// The warnings' texts. Who builds `from_tar` reads nothing that git hides, so that this is none
/// then.
pub(super) fn doubts(json: &[u8], from_tar: bool) -> Vec<String> {
    let key = serde_json::from_slice::<Key>(json).map_or(Vec::new(), |key| key.warnings);
    let counts = |doubt: &Doubt| !(from_tar && doubt.code == "hashctx::hidden_source");
    key.into_iter().filter(counts).map(|doubt| doubt.message).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_hides_is_no_doubt_about_a_tar() {
        let json = br#"{"key":"c0","inputs":1,"unknown":[],"warnings":[
            {"code":"hashctx::hidden_source","message":"hidden"},{"code":"hashctx::private","message":"private"}]}"#;
        assert_eq!(doubts(json, false), ["hidden", "private"]);
        assert_eq!(doubts(json, true), ["private"]);
        assert_eq!(doubts(b"", false), [""; 0]);
    }
}
