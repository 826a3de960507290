//! Files of a folder by patterns: `specs/**`, `*.yml`.
//!
//! A pattern is read from the folder's own level on, and a folder stands for all that is in it.
//! What git keeps for itself is never a file of a project.

use camino::{Utf8Path, Utf8PathBuf};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use ignore::{Error, WalkBuilder};

/// What tells the files of one pattern.
///
/// # Errors
/// A pattern that cannot be read.
pub fn matcher(root: &Utf8Path, glob: &str) -> Result<Gitignore, Error> {
    let glob = glob.trim_start_matches("./");
    let mut builder = GitignoreBuilder::new(root);
    builder.add_line(None, &format!("/{glob}"))?;
    builder.build()
}

/// The files and links below `root` that the pattern names, relative to it, sorted.
///
/// # Errors
/// A pattern that cannot be read; a folder that cannot be, or a name that is no UTF-8.
pub fn files(root: &Utf8Path, glob: &str) -> Result<Vec<Utf8PathBuf>, Error> {
    let matcher = matcher(root, glob)?;
    let start = root.join(literal(glob));
    if std::fs::symlink_metadata(&start).is_err() {
        return Ok(Vec::new());
    }
    let mut walk = WalkBuilder::new(&start);
    walk.standard_filters(false).filter_entry(|entry| entry.file_name() != ".git");
    let mut found = Vec::new();
    for entry in walk.build() {
        let entry = entry?;
        let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
        let path = entry.into_path();
        let Ok(inside) = path.strip_prefix(root) else { continue };
        if !is_folder && matcher.matched_path_or_any_parents(inside, false).is_ignore() {
            let inside = Utf8PathBuf::try_from(inside.to_owned());
            found.push(inside.map_err(|error| Error::Io(error.into_io_error()))?);
        }
    }
    found.sort();
    Ok(found)
}

/// The folders, or the file, that the pattern names without a special letter.
pub(crate) fn literal(glob: &str) -> Utf8PathBuf {
    let plain = |part: &camino::Utf8Component<'_>| !part.as_str().contains(['*', '?', '[', '{', '\\']);
    let parts = Utf8Path::new(glob).components().take_while(plain);
    parts.filter(|part| *part != camino::Utf8Component::CurDir).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests write what they like")]

    use super::*;

    #[track_caller]
    fn finds(glob: &str, wanted: &[&str]) {
        let dir = tempfile::tempdir().expect("a folder");
        let root = Utf8Path::from_path(dir.path()).expect("UTF-8");
        for file in ["a.yml", "b.txt", "specs/a.yml", "specs/deep/b.yml", "specs/.git/c.yml", ".hidden"] {
            std::fs::create_dir_all(root.join(file).parent().expect("a parent")).expect("a folder");
            std::fs::write(root.join(file), "").expect("a file");
        }
        assert_eq!(files(root, glob).expect("a good pattern"), wanted, "{glob}");
    }

    #[test]
    fn patterns_begin_at_the_top() {
        finds("*.yml", &["a.yml"]);
        finds("a.yml", &["a.yml"]);
        finds("./a.yml", &["a.yml"]);
        finds("**/*.yml", &["a.yml", "specs/a.yml", "specs/deep/b.yml"]);
    }

    #[test]
    fn a_folder_stands_for_all_in_it() {
        let all = ["specs/a.yml", "specs/deep/b.yml"];
        finds("specs/**", &all);
        finds("specs", &all);
        finds("spec?", &all);
        finds("specs/*.yml", &["specs/a.yml"]);
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        finds("none/**", &[]);
        finds("none.yml", &[]);
    }
}
