//! Plain files whose names have a SHA-256 in them: `tool-HEX.tar.gz`, `sha256-HEX`, `HEX/tool`.
//!
//! 64 hex digits may be something else: a commit, the digest of what lies beside the file, or of
//! what is in it. So by itself such a name vouches only for bytes that have that digest.

use serde::Deserialize;
use storekit::Digest;

/// What becomes of digests in the names of a mount's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DigestInName {
    /// A file that has the digest in its name cannot change; any other is as if it had none.
    #[default]
    Use,
    /// A file has to have the digest in its name.
    Require,
    /// They mean nothing.
    Ignore,
}

/// The digests in a path, the last first: 64 hex digits with none beside them.
pub(crate) fn digests(path: &str) -> impl Iterator<Item = Digest> {
    let runs = path.rsplit(|c: char| !c.is_ascii_hexdigit()).filter(|run| run.len() == 64);
    runs.filter_map(|run| Digest::from_hex(&run.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[track_caller]
    fn has(path: &str, expected: &[&str]) {
        let found: Vec<_> = digests(path).map(|digest| digest.hex()).collect();
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn a_digest_stands_alone_in_a_path() {
        for path in [
            format!("/tool-{HEX}.tar.gz"),
            format!("/sha256-{HEX}"),
            format!("/{}/tool", HEX.to_uppercase()),
            format!("/x_{HEX}_y"),
        ] {
            has(&path, &[HEX]);
        }
        let other = HEX.replace('b', "c");
        has(&format!("/{HEX}/{other}.gz"), &[&other, HEX]);
        // Part of a longer one, too short, in base32.
        for path in
            [format!("/{HEX}0"), format!("/a{HEX}"), HEX[1..].to_owned(), "/".to_owned(), String::new()]
        {
            has(&path, &[]);
        }
        has("/0c0vn2f0q4qwsv0kbmxsc2q8ds7y3grxjn9l3wvkksyqjd4d2hfn/tool", &[]);
    }
}
