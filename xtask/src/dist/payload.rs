//! The files of a release, by their path below an installation's root.

use std::collections::BTreeMap;

/// The files, sorted by path: `bin/imgtar`, `share/man/man1/imgtar.1`.
pub type Payload = BTreeMap<String, File>;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The whole content.
    pub content: Vec<u8>,
    /// Whether it is a program.
    pub is_program: bool,
}

impl File {
    /// A file that is only read.
    pub(crate) fn text(content: impl Into<Vec<u8>>) -> Self {
        Self { content: content.into(), is_program: false }
    }

    /// A file that is run.
    pub(crate) fn program(content: Vec<u8>) -> Self {
        Self { content, is_program: true }
    }

    /// Its permission bits.
    pub(crate) fn mode(&self) -> u32 {
        if self.is_program { 0o755 } else { 0o644 }
    }
}

/// Where a page of the manual or the completions for a shell belong; `None` for a file that is
/// neither.
pub(crate) fn place(name: &str) -> Option<String> {
    let path = match name.rsplit_once('.') {
        Some((_, "1")) => format!("share/man/man1/{name}"),
        Some((tool, "bash")) => format!("share/bash-completion/completions/{tool}"),
        Some((_, "fish")) => format!("share/fish/vendor_completions.d/{name}"),
        None if name.starts_with('_') => format!("share/zsh/site-functions/{name}"),
        _ => return None,
    };
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_has_the_place_where_it_is_looked_for() {
        let found = |name: &str| place(name).unwrap_or_default();
        assert_eq!(found("imgtar-save.1"), "share/man/man1/imgtar-save.1");
        assert_eq!(found("imgtar.bash"), "share/bash-completion/completions/imgtar");
        assert_eq!(found("_imgtar"), "share/zsh/site-functions/_imgtar");
        assert_eq!(found("imgtar.fish"), "share/fish/vendor_completions.d/imgtar.fish");
        assert_eq!(place("imgtar.txt"), None);
    }
}
