//! What an engine knows an image by in registries.

use storekit::Digest;

use super::process::telling;
use super::{Engine, is_unknown};
use crate::error::Result;
use crate::reference::Reference;

/// The digests of an engine's image.
#[derive(Clone, Debug)]
pub struct Digests {
    /// The image's ID.
    pub id: Digest,
    /// Its references with digests in registries.
    pub remote: Vec<Reference>,
}

impl Engine {
    /// The image's ID, and the references with digests that it has in registries. `None`: there is no such image.
    ///
    /// # Errors
    /// No engine; an engine that cannot be asked.
    pub fn digests(&self, name: &str) -> Result<Option<Digests>> {
        let arguments = ["image", "inspect", "--format", "{{.Id}} {{json .RepoDigests}}", name];
        let output = self.output(&arguments)?;
        let (status, said) = (output.status.to_string(), telling(&output.stderr));
        if !output.status.success() {
            return if is_unknown(&said) { Ok(None) } else { Err(self.failed(&arguments, &status, &said)) };
        }
        let found = parse(&String::from_utf8_lossy(&output.stdout));
        found.map(Some).ok_or_else(|| self.failed(&arguments, &status, "it names no image ID"))
    }
}

/// Podman leaves out the ID's algorithm.
fn parse(text: &str) -> Option<Digests> {
    let (id, names) = text.trim().split_once(' ')?;
    let id = Digest::from_hex(id.trim_start_matches("sha256:"))?;
    let names: Option<Vec<String>> = serde_json::from_str(names).ok()?;
    let remote = names.unwrap_or_default().iter().filter_map(|name| name.parse().ok()).collect();
    Some(Digests { id, remote })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_both_engines_are_understood() {
        let id = Digest::of(b"x");
        for start in [id.to_string(), id.hex()] {
            let found = parse(&format!("{start} [\"a.example/b@{id}\",\"<none>@<none>\"]\n")).unwrap();
            assert_eq!((found.id, found.remote[0].repository(), found.remote.len()), (id, "b", 1));
            assert!(parse(&format!("{start} null")).unwrap().remote.is_empty());
        }
        assert!(parse("").is_none() && parse("sha256:00 []").is_none());
    }
}
