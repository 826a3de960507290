//! Where a link leads, and what it needs on its way.

use std::path::{Component, Path, PathBuf};

use camino::{Utf8Path, Utf8PathBuf};

use super::Spot;

/// A path of more links leads nowhere, as for the system.
const MOST: usize = 40;

/// The blobs and revisions that a link needs: those that it leads to, and those on the way; a
/// folder of blobs, where it leads to that. `at` is the hub, behind links; `link` is below it, and
/// no folder above it is a link; `is_file` says whether a blob is a file.
pub(super) fn needs(
    at: &Utf8Path,
    link: &Path,
    target: &Path,
    is_file: &dyn Fn(&Utf8Path) -> bool,
) -> Vec<Utf8PathBuf> {
    let folder = link.parent().unwrap_or(Path::new(""));
    // As nearly all are: nothing on the way is a link.
    if let Some(Spot::Blob(blob)) = lexical(&folder.join(target)).as_deref().map(Spot::of)
        && is_file(&blob)
    {
        return vec![blob];
    }
    let passed = trace(&at.as_std_path().join(folder), target);
    let below = passed.iter().filter_map(|path| path.strip_prefix(at).ok());
    below
        .filter_map(|path| match Spot::of(path) {
            Spot::Revision(path) | Spot::Blob(path) | Spot::Blobs(path) => Some(path),
            Spot::Repository(_) | Spot::Other => None,
        })
        .collect()
}

/// Where a path leads by its text alone; `None` where that is outside.
fn lexical(path: &Path) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => inside.push(name),
            Component::CurDir => {}
            Component::ParentDir if inside.pop() => {}
            _ => return None,
        }
    }
    Some(inside)
}

/// All links that `target` leads through from this folder, and where it ends. What is not there is
/// taken by its name.
fn trace(folder: &Path, target: &Path) -> Vec<PathBuf> {
    let (mut here, mut passed) = (folder.to_owned(), Vec::new());
    let parts = |path: &Path| path.components().rev().map(|it| it.as_os_str().to_owned()).collect::<Vec<_>>();
    let mut ahead = parts(target);
    while let Some(part) = ahead.pop() {
        match Path::new(&part).components().next() {
            Some(Component::RootDir) => here = PathBuf::from("/"),
            Some(Component::ParentDir) => _ = here.pop(),
            Some(Component::Normal(name)) => {
                here.push(name);
                if let Ok(target) = std::fs::read_link(&here) {
                    passed.push(here.clone());
                    here.pop();
                    ahead.extend(parts(&target));
                }
            }
            _ => {}
        }
        if passed.len() > MOST {
            return passed;
        }
    }
    passed.push(here);
    passed
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_leads_where_its_text_says_or_outside() {
        let leads = |path: &str| lexical(Path::new(path)).map(|path| path.display().to_string());
        assert_eq!(leads("m/snapshots/c/../../blobs/x").as_deref(), Some("m/blobs/x"));
        assert_eq!(leads("m/snapshots/c/../../../../x"), None);
        assert_eq!(leads("/etc/passwd"), None);
    }

    #[test]
    fn each_link_on_the_way_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let at = Utf8PathBuf::from_path_buf(dir.path().canonicalize().unwrap()).unwrap();
        let hub = at.join("hub");
        for folder in ["models--a/blobs", "models--a/snapshots/1", "models--b/snapshots/2"] {
            fs::create_dir_all(hub.join(folder)).unwrap();
        }
        fs::write(hub.join("models--a/blobs/x"), "").unwrap();
        let link = |target: &str, path: &str| symlink(target, at.join(path)).unwrap();
        link("x", "hub/models--a/blobs/alias");
        link("../../blobs/alias", "hub/models--a/snapshots/1/f");
        link("hub/models--a/snapshots/1", "outside");
        link("b", "a");
        link("a", "b");
        let of = |target: &str| {
            let link = Path::new("models--b/snapshots/2/f");
            let needs = needs(&hub, link, Path::new(target), &|blob| hub.join(blob).is_file());
            needs.iter().map(|it| it.as_str().trim_start_matches("models--").to_owned()).collect::<Vec<_>>()
        };
        // A file by all links, and not only one that is a link itself.
        assert_eq!(of("../../../models--a/blobs/x"), ["a/blobs/x"]);
        let absolute = hub.join("models--a/snapshots/1/f");
        assert_eq!(of(absolute.as_str()), ["a/snapshots/1", "a/blobs/alias", "a/blobs/x"]);
        let through = at.join("outside/f");
        assert_eq!(of(through.as_str()), ["a/snapshots/1", "a/blobs/alias", "a/blobs/x"]);
        assert_eq!(of("../../../models--a/snapshots/1/gone"), ["a/snapshots/1"]);
        assert_eq!(of("../../../models--a/blobs/gone"), ["a/blobs/gone"]);
        assert!(of("../../../../../etc/passwd").is_empty() && of(at.join("a").as_str()).is_empty());
    }
}
