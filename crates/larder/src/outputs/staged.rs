//! Files that lie ready to be put into the project.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use super::OutputError;
use crate::outputs::Output;

/// A file that lies ready, and where it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Staged {
    pub(crate) from: Utf8PathBuf,
    /// Relative to the project.
    pub(crate) to: Utf8PathBuf,
}

/// How many leading parts of a path are dropped, so that what the pattern names lies at the top.
pub(crate) fn leading(pattern: &str) -> usize {
    let parts: Vec<_> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    parts.iter().position(|part| is_wild(part)).unwrap_or(parts.len().saturating_sub(1))
}

fn is_wild(part: &str) -> bool {
    let mut letters = part.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '*' | '?' => return true,
            '\\' => drop(letters.next()),
            _ => {}
        }
    }
    false
}

/// Where the files in `folder`, taken out by the pattern, belong. As `COPY` has it: of a folder
/// that is named plainly, what is in it; a file that is named plainly gets the output's own name.
pub(crate) fn placed(folder: &Utf8Path, output: &Output, pattern: &str) -> Result<Vec<Staged>, OutputError> {
    let unread = |source| OutputError::Write { path: output.to.clone(), source };
    let wild = pattern.split('/').any(is_wild);
    let top = if wild { None } else { entries(folder).map_err(unread)?.into_iter().next() };
    let Some(top) = top else { return below(folder, &output.to).map_err(unread) };
    let is_folder = top.symlink_metadata().map_err(unread)?.is_dir();
    if is_folder {
        return below(&top, &output.to).map_err(unread);
    }
    let name = top.file_name().unwrap_or_default();
    let to = if output.folder { output.to.join(name) } else { output.to.clone() };
    Ok(vec![Staged { from: top, to }])
}

/// All files and links in a folder, each to stand in the folder `to`.
pub(crate) fn below(folder: &Utf8Path, to: &Utf8Path) -> io::Result<Vec<Staged>> {
    let mut found = Vec::new();
    let mut open = vec![(folder.to_owned(), to.to_owned())];
    while let Some((folder, to)) = open.pop() {
        for from in entries(&folder)? {
            let to = to.join(from.file_name().unwrap_or_default());
            if from.symlink_metadata()?.is_dir() {
                open.push((from, to));
            } else {
                found.push(Staged { from, to });
            }
        }
    }
    found.sort_by(|one, other| one.to.cmp(&other.to));
    Ok(found)
}

fn entries(folder: &Utf8Path) -> io::Result<Vec<Utf8PathBuf>> {
    folder.read_dir_utf8()?.map(|entry| entry.map(camino::Utf8DirEntry::into_path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_ends_up_at_the_top() {
        let leads = ["/a", "/a/b/c", "/a/b/*.whl", "/a/*/c", "/**", "/a/\\*/b/?", "/a/b/"].map(leading);
        assert_eq!(leads, [0, 2, 2, 1, 0, 3, 1]);
    }
}
