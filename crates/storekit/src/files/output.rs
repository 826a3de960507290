//! Files that a user names for a command's output. A pipe or a device that stands there is written
//! to as it is, and stays.

use std::fs::File;
use std::io::Write;

use camino::{Utf8Path, Utf8PathBuf};

use super::replace::{Durability, replace};
use crate::error::{At, Result};

/// Whether something stands there that is not a file: a pipe, a device.
#[must_use]
pub fn is_device(path: &Utf8Path) -> bool {
    path.exists() && !path.is_file()
}

/// Opens a pipe or a device, to write to it.
///
/// # Errors
/// I/O errors.
pub fn open_device(path: &Utf8Path) -> Result<File> {
    File::options().write(true).open(path).at("open", path)
}

/// Writes an output; a file whole or not at all, behind a link what it leads to.
///
/// # Errors
/// I/O errors; an old file stands then.
pub fn write(path: &Utf8Path, bytes: &[u8]) -> Result<()> {
    if is_device(path) {
        return open_device(path)?.write_all(bytes).at("write", path);
    }
    replace(&behind_links(path), bytes, Durability::Unsynced)
}

/// What a link leads to, also where nothing is there yet; the path where it is none.
fn behind_links(path: &Utf8Path) -> Utf8PathBuf {
    if let Ok(there) = path.canonicalize_utf8() {
        return there;
    }
    match path.read_link_utf8() {
        Ok(target) => path.parent().unwrap_or(Utf8Path::new("")).join(target),
        Err(_) => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::FileTypeExt;

    use super::*;

    #[test]
    fn a_device_stays_and_a_file_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let [null, file] = ["null", "file"].map(|name| Utf8Path::from_path(dir.path()).unwrap().join(name));
        std::os::unix::fs::symlink("/dev/null", &null).unwrap();
        write(&null, b"x").unwrap();
        assert!(fs::metadata(&null).unwrap().file_type().is_char_device());
        let link = file.with_file_name("link");
        std::os::unix::fs::symlink("file", &link).unwrap();
        write(&link, b"zero").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "zero");
        for text in ["one", "two"] {
            write(&file, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
    }
}
