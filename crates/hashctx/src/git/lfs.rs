//! Git LFS pointers: small texts that stand where a large file should be.

/// No pointer is larger.
const LIMIT: usize = 1024;

/// Whether a file's content is a Git LFS pointer rather than the file itself: it is under 1 KiB and
/// begins with the version line of the pointer specification.
#[must_use]
pub fn is_lfs_pointer(content: &[u8]) -> bool {
    let first = content.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let url = first.strip_prefix(b"version ").unwrap_or_default();
    let known =
        url.starts_with(b"https://git-lfs.github.com/spec/v") || url == b"https://hawser.github.com/spec/v1";
    content.len() < LIMIT && known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn pointer(content: &[u8], expected: bool) {
        assert_eq!(is_lfs_pointer(content), expected, "{}", content.escape_ascii());
    }

    #[test]
    fn a_pointer_is_told_by_its_first_line_and_size() {
        let text = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        pointer(text, true);
        pointer(&[&text[..], &[b' '; 1024]].concat(), false);
        pointer(b"version https://hawser.github.com/spec/v1\noid sha256:4d7a\nsize 1\n", true);
    }

    #[test]
    fn other_texts_are_no_pointers() {
        for text in [&b""[..], b"version 1\n", b"# version https://git-lfs.github.com/spec/v1\n", b"\xff\x00"]
        {
            pointer(text, false);
        }
    }
}
