//! What an engine says of its images: docker's daemon in its own words, the commands in the same
//! ones.

use serde::Deserialize;
use storekit::Digest;
use storekit::oci::null_is_empty;

use super::Kind;
use storekit::Reference;

/// An image that an engine has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Seen {
    /// What the engine calls it: its config's digest; with containerd its manifest's, or its
    /// index's.
    #[serde(rename = "Id")]
    pub id: String,
    /// The names that the image has in the engine.
    #[serde(rename = "RepoTags", default, deserialize_with = "null_is_empty")]
    pub names: Vec<String>,
    /// Its names with digests in registries.
    #[serde(rename = "RepoDigests", default, deserialize_with = "null_is_empty")]
    remote: Vec<String>,
    #[serde(rename = "RootFS", default, deserialize_with = "null_is_empty")]
    root: Root,
    /// How large its layers are, in bytes, about.
    #[serde(rename = "Size", default)]
    pub size: u64,
    /// What keeps its layers, where the engine says so.
    #[serde(rename = "GraphDriver", default)]
    driver: serde_json::Value,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct Root {
    #[serde(rename = "Layers", default, deserialize_with = "null_is_empty")]
    layers: Vec<Digest>,
}

impl Seen {
    /// What a command is asked of each image.
    pub(super) fn format(kind: Kind) -> String {
        let driver = if kind == Kind::Docker { ",\"GraphDriver\":{{json .GraphDriver}}" } else { "" };
        format!(
            "\"Id\":\"{{{{.Id}}}}\",\"RepoTags\":{{{{json .RepoTags}}}},\"RepoDigests\":{{{{json .RepoDigests}}}},\
             \"RootFS\":{{{{json .RootFS}}}},\"Size\":{{{{.Size}}}}{driver}"
        )
    }

    /// Understands a line of that format; podman takes none that starts with a bracket.
    pub(super) fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(&format!("{{{}}}", line.trim())).ok()
    }

    /// Its layers, from the base upward.
    #[must_use]
    pub fn layers(&self) -> &[Digest] {
        &self.root.layers
    }

    /// Whether its ID is this digest: podman leaves out the algorithm.
    #[must_use]
    pub fn is(&self, digest: &Digest) -> bool {
        is_digest(&self.id, digest)
    }

    /// Its ID, where that is a digest.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        Digest::from_hex(self.id.trim_start_matches("sha256:"))
    }

    /// Its references with digests in registries.
    pub fn references(&self) -> impl Iterator<Item = Reference> {
        self.remote.iter().filter_map(|name| name.parse().ok())
    }

    /// Whether the image is certainly in Docker's own store. No snapshotter of containerd's is
    /// called overlay2, and none tells its folders.
    #[must_use]
    pub fn is_in_layers(&self) -> bool {
        self.driver["Name"] == "overlay2" && self.driver["Data"]["UpperDir"].is_string()
    }
}

/// Whether an engine's ID is this digest.
pub(crate) fn is_digest(id: &str, digest: &Digest) -> bool {
    id.trim_start_matches("sha256:") == digest.hex()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_understood_as_each_engine_describes_them() {
        let digest = Digest::of(b"x");
        let rest = format!(r#""RootFS":{{"Type":"layers","Layers":["{digest}"]}},"Size":7"#);
        let docker = format!(
            r#""Id":"{digest}","RepoTags":["a:1"],"RepoDigests":["a.example/b@{digest}","<none>@<none>"],{rest}"#
        );
        let podman = format!(r#""Id":"{}","RepoTags":null,"RepoDigests":null,{rest}"#, digest.hex());
        for answer in [&docker, &podman] {
            let seen = Seen::parse(answer).unwrap();
            assert!(seen.is(&digest) && seen.digest() == Some(digest), "{answer}");
            assert!(seen.layers() == [digest] && seen.size == 7, "{answer}");
        }
        let remote: Vec<_> = Seen::parse(&docker).unwrap().references().collect();
        assert_eq!((remote[0].repository(), remote.len()), ("b", 1));
        assert_eq!(Seen::parse(&podman).unwrap().references().count(), 0);
        let empty = Seen::parse(r#""Id":"sha256:00","RepoTags":[],"RootFS":{},"Size":0"#).unwrap();
        assert!(!empty.is(&digest) && empty.layers().is_empty() && empty.digest().is_none());
        assert!(Seen::parse("").is_none() && Seen::parse("true").is_none());
    }

    #[test]
    fn an_image_tells_that_it_is_in_dockers_own_store() {
        let is_in_layers = |driver: &str| {
            let seen = Seen::parse(&format!(r#""Id":"sha256:00"{driver}"#));
            seen.is_some_and(|seen| seen.is_in_layers())
        };
        let folders = r#"{"MergedDir":"/v/1/merged","UpperDir":"/v/1/diff","WorkDir":"/v/1/work"}"#;
        assert!(is_in_layers(&format!(r#","GraphDriver":{{"Data":{folders},"Name":"overlay2"}}"#)));
        for other in [
            "",
            r#","GraphDriver":null"#,
            r#","GraphDriver":{"Data":null,"Name":"overlayfs"}"#,
            r#","GraphDriver":{"Data":null,"Name":"overlay2"}"#,
        ] {
            assert!(!is_in_layers(other), "{other}");
        }
    }
}
