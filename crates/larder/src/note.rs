//! Notes that larder leaves in a store for its next run: what they are called.
//!
//! They are this machine's: git ignores them in a store of Git LFS's.

/// The name of the file for a note of this kind, about what these words name together.
pub(crate) fn file_name(kind: &str, about: &[&str]) -> String {
    let whose = blake3::hash(about.join("\0").as_bytes()).to_hex();
    let short: String = whose.chars().take(16).collect();
    format!(".{kind}-{short}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_name_of_its_own() {
        let name = file_name("outputs", &["/p", "app"]);
        assert!(name.starts_with(".outputs-") && name.len() == ".outputs-".len() + 16, "{name}");
        assert_ne!(name, file_name("outputs", &["/p", "other"]));
        assert_ne!(file_name("x", &["a", "b"]), file_name("x", &["ab"]));
    }
}
