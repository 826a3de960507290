//! Git LFS, as far as a store that lies in a repository meets it: the small files that stand for
//! content that was not fetched. Such a file is not damage: one command brings the content.
//!
//! Runs nothing and knows no git but the name of its folder.
//!
//! Source: git-lfs, docs/spec.md, "The Pointer".

use camino::{Utf8Path, Utf8PathBuf};

use crate::Digest;

/// No pointer is larger.
pub const POINTER_CAP: usize = 1024;
const VERSION: &str = "version https://git-lfs.github.com/spec/v1";

/// Whether these bytes stand for the content with this digest: LFS calls content by the same digest
/// as a store does.
#[must_use]
pub fn is_pointer(bytes: &[u8], digest: &Digest) -> bool {
    if bytes.len() > POINTER_CAP {
        return false;
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut lines = text.lines();
    lines.next() == Some(VERSION) && lines.any(|line| line.strip_prefix("oid ") == Some(&digest.to_string()))
}

/// The repository that the folder lies in: the nearest folder upward with a `.git`.
#[must_use]
pub fn repository(folder: &Utf8Path) -> Option<Utf8PathBuf> {
    let folder = folder.canonicalize_utf8().ok()?;
    folder.ancestors().find(|above| above.join(".git").exists()).map(Utf8Path::to_owned)
}

/// The command that fetches the blobs in this folder, to be run anywhere in the repository. Short
/// enough for one line.
#[must_use]
pub fn fetch_command(blobs: &Utf8Path) -> String {
    let whole = blobs.canonicalize_utf8().unwrap_or_else(|_| blobs.to_owned());
    let root = repository(blobs);
    match root.and_then(|root| Some(whole.strip_prefix(root).ok()?.to_owned())) {
        Some(below) => format!("git lfs pull --include {}", quoted(below.as_str())),
        None => "git lfs pull".to_owned(),
    }
}

/// For a shell, where the text needs it.
#[must_use]
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_known_by_the_digest_in_them() {
        let digest = Digest::of(b"x");
        let pointer = format!("{VERSION}\noid {digest}\nsize 1\n");
        assert!(is_pointer(pointer.as_bytes(), &digest));
        assert!(!is_pointer(pointer.as_bytes(), &Digest::of(b"y")));
        assert!(!is_pointer(b"", &digest));
        assert!(!is_pointer(format!("oid {digest}\n{VERSION}\n").as_bytes(), &digest));
        assert!(!is_pointer(format!("{pointer}{}", "x".repeat(2000)).as_bytes(), &digest));
    }

    #[test]
    fn the_command_names_the_repository_and_the_blobs() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap().canonicalize_utf8().unwrap();
        let blobs = root.join("my cache/blobs");
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::create_dir(root.join(".git")).unwrap();
        assert_eq!(repository(&blobs), Some(root.clone()));
        assert_eq!(fetch_command(&blobs), "git lfs pull --include 'my cache/blobs'");
    }
}
