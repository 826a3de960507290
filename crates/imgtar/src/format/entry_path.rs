//! Names of archive entries: always inside the archive, or refused.
//!
//! Nothing is ever unpacked; these names only find one entry from another.

/// Why a name is refused.
pub type Reason = &'static str;

/// Brings an entry's name into one form: no `.` parts, no slash at the ends.
///
/// # Errors
/// Names that are absolute, climb out, hold a NUL or are not UTF-8.
pub fn normalize(name: &[u8]) -> Result<String, Reason> {
    resolve("", name)
}

/// Where a symbolic link at `link` with this target leads, inside the archive.
///
/// # Errors
/// Targets that are absolute, climb out, hold a NUL or are not UTF-8.
pub fn follow(link: &str, target: &[u8]) -> Result<String, Reason> {
    resolve(link.rsplit_once('/').map_or("", |(folder, _)| folder), target)
}

fn resolve(folder: &str, name: &[u8]) -> Result<String, Reason> {
    let name = std::str::from_utf8(name).map_err(|_| "it is not UTF-8")?;
    if name.starts_with('/') {
        return Err("it is absolute");
    }
    if name.contains('\0') {
        return Err("it contains a NUL");
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in name.split('/').filter(|part| !matches!(*part, "" | ".")) {
        if part == ".." {
            // In a name of its own `..` is refused even where it stays inside: no tool writes such
            // names.
            if folder.is_empty() || parts.pop().is_none() {
                return Err("it leads out of the archive");
            }
        } else {
            parts.push(part);
        }
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(name: &[u8]) {
        assert!(normalize(name).is_err(), "{} was accepted", String::from_utf8_lossy(name));
    }

    #[test]
    fn names_stay_inside() {
        assert_eq!(normalize(b"./a//b/.").unwrap(), "a/b");
        assert_eq!(normalize(b"./").unwrap(), "");
        for name in [&b"/etc/passwd"[..], b"..", b"a/../../b", b"a/../b", b"a\0b", b"\xff"] {
            refused(name);
        }
    }

    #[test]
    fn links_stay_inside() {
        assert_eq!(follow("id/layer.tar", b"../other/layer.tar").unwrap(), "other/layer.tar");
        assert_eq!(follow("a/b/c", b"./d").unwrap(), "a/b/d");
        for target in [&b"/etc/passwd"[..], b"../../x", b"../other/../../x"] {
            assert!(follow("id/layer.tar", target).is_err());
        }
        assert!(follow("top", b"../x").is_err());
    }
}
