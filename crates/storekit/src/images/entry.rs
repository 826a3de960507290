//! What is stored under a key: one small text file in `images/keys/`. See FORMAT.md, "Key files".

use camino::Utf8Path;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::images::origin::{Origin, Remark};
use crate::oci::Descriptor;
use crate::{Digest, oci};

/// The version of the format; a newer one is refused.
pub const VERSION: u64 = 1;
/// No key file is larger: 1 MiB.
pub const CAP: u64 = 1 << 20;
/// More signatures of an entry are not read, nor longer ones, in bytes.
pub const SIGNATURES: usize = 32;
const SIGNATURE: usize = 256;

/// An image under its key.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The image's manifest or index.
    pub descriptor: Descriptor,
    /// The names that a load restores, such as `app:latest`.
    pub names: Vec<String>,
    /// How long the build took that this entry saves, in seconds.
    pub build_seconds: Option<f64>,
    /// When it was saved.
    pub saved: Timestamp,
    /// Whether another OCI tool put it into the layout: nothing in it was verified then.
    pub adopted: bool,
    /// Where it came from.
    pub origin: Origin,
    /// Who vouches for it, and for its key: imgtar's FORMAT.md, "Signatures".
    pub signatures: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    version: u64,
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    build_seconds: Option<f64>,
    saved: Timestamp,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    adopted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    signatures: Vec<String>,
}

#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

impl Entry {
    /// An entry without names, saved `now`.
    #[must_use]
    pub fn new(descriptor: Descriptor, now: Timestamp) -> Self {
        Self {
            descriptor,
            names: Vec::new(),
            build_seconds: None,
            saved: now,
            adopted: false,
            origin: Origin::default(),
            signatures: Vec::new(),
        }
    }

    /// Reads the text of a key file.
    ///
    /// # Errors
    /// [`Error::Newer`], [`Error::BadFile`]; `path` is for the message only.
    pub fn parse(bytes: &[u8], path: &Utf8Path) -> Result<Self> {
        let bad = |reason: String| Error::BadFile { path: path.to_owned(), reason };
        let text = std::str::from_utf8(bytes).map_err(|error| bad(error.to_string()))?;
        let file: Result<File, _> = toml::from_str(text).map_err(|error| bad(error.message().to_owned()));
        // Of what is wrong with a file, that it is a newer one comes first.
        let version = match &file {
            Ok(file) => Some(file.version),
            Err(_) => toml::from_str(text).ok().map(|Versioned { version }| version),
        };
        if let Some(found) = version.filter(|version| *version > VERSION) {
            return Err(Error::Newer { path: path.to_owned(), found, known: VERSION });
        }
        let file = file?;
        Ok(Self {
            descriptor: Descriptor::new(file.media_type, file.digest, file.size),
            names: file.names,
            build_seconds: file.build_seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0),
            saved: file.saved,
            adopted: file.adopted,
            origin: Origin {
                image: remark(file.image),
                host: remark(file.host),
                commit: remark(file.commit),
                project: remark(file.project),
            },
            signatures: signatures(file.signatures),
        })
    }

    /// The text of the key file.
    #[must_use]
    pub fn to_text(&self) -> String {
        let file = File {
            version: VERSION,
            media_type: self.descriptor.media_type.clone(),
            digest: self.descriptor.digest,
            size: self.descriptor.size,
            names: self.names.clone(),
            build_seconds: self.build_seconds,
            saved: self.saved,
            adopted: self.adopted,
            image: self.origin.image.as_ref().map(Remark::to_string),
            host: self.origin.host.as_ref().map(Remark::to_string),
            commit: self.origin.commit.as_ref().map(Remark::to_string),
            project: self.origin.project.as_ref().map(Remark::to_string),
            signatures: self.signatures.clone(),
        };
        toml::to_string(&file).unwrap_or_default()
    }

    /// The descriptor for index.json, marked as ours.
    #[must_use]
    pub fn listed(&self, key: &crate::Key) -> Descriptor {
        let mut descriptor = self.descriptor.clone();
        let annotations = &mut descriptor.annotations;
        annotations.insert(oci::KEY_ANNOTATION.to_owned(), key.to_string());
        annotations.insert(oci::REF_NAME.to_owned(), self.ref_name(key));
        descriptor
    }

    /// What other tools call it by: the key; where that is not a reference name, the first image
    /// name that is one; else the digest.
    fn ref_name(&self, key: &crate::Key) -> String {
        let names = std::iter::once(key.as_str()).chain(self.names.iter().map(String::as_str));
        let mut names = names.filter(|name| oci::is_ref_name(name));
        names.next().map_or_else(|| crate::Key::of_digest(&self.descriptor.digest).to_string(), str::to_owned)
    }
}

/// Those that can be signatures, so many of them.
fn signatures(texts: Vec<String>) -> Vec<String> {
    let can_be = |text: &String| text.len() <= SIGNATURE && !text.contains(|c: char| c.is_control());
    texts.into_iter().filter(can_be).take(SIGNATURES).collect()
}

/// One that no tool of ours writes is as good as none: nothing depends on it.
fn remark(text: Option<String>) -> Option<Remark> {
    text?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let descriptor = Descriptor::new(oci::MANIFEST, Digest::of(b"x"), 7);
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        Entry { names: vec!["app:latest".into()], build_seconds: Some(1.5), ..Entry::new(descriptor, now) }
    }

    fn read(text: &str) -> Entry {
        Entry::parse(text.as_bytes(), Utf8Path::new("k")).unwrap()
    }

    #[track_caller]
    fn rejected(text: &str) {
        assert!(Entry::parse(text.as_bytes(), Utf8Path::new("k")).is_err(), "{text} was accepted");
    }

    #[test]
    fn an_entry_survives_its_file() {
        let entry = entry();
        assert_eq!(Entry::parse(entry.to_text().as_bytes(), Utf8Path::new("k")).unwrap(), entry);
    }

    #[test]
    fn the_file_is_as_documented() {
        assert_eq!(
            entry().to_text(),
            "version = 1\n\
             media-type = \"application/vnd.oci.image.manifest.v1+json\"\n\
             digest = \"sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\"\n\
             size = 7\n\
             names = [\"app:latest\"]\n\
             build-seconds = 1.5\n\
             saved = \"2026-01-02T03:04:05Z\"\n"
        );
    }

    #[track_caller]
    fn listed_as(key: &str, names: &[&str], expected: &str) {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let listed = Entry { names, ..entry() }.listed(&key.parse().unwrap());
        assert_eq!(listed.annotations[oci::REF_NAME], expected);
        assert_eq!(listed.annotations[oci::KEY_ANNOTATION], key);
    }

    #[test]
    fn other_tools_find_it_by_a_name_that_they_take() {
        listed_as("v1.2", &["app:1"], "v1.2");
        listed_as("team._app..1", &["team/app:1"], "team/app:1");
        listed_as("a__b..1", &["a__b:1", "app:1"], "app:1");
        let digest = "sha256-2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
        listed_as("_x", &["a__b:1"], digest);
    }

    #[test]
    fn where_an_image_came_from_is_kept_and_may_be_unknown() {
        let origin = Origin {
            image: Some("app".parse().unwrap()),
            host: Some("build-3".parse().unwrap()),
            commit: Some("931ee0b+".parse().unwrap()),
            project: Some("git.example/team/app".parse().unwrap()),
        };
        let with = Entry { origin, ..entry() };
        let lines = "image = \"app\"\nhost = \"build-3\"\ncommit = \"931ee0b+\"\nproject = \"git.example/team/app\"\n";
        assert_eq!(with.to_text(), entry().to_text() + lines);
        assert_eq!(read(&with.to_text()), with);
        assert!(read(&entry().to_text()).origin.is_unknown(), "a file of before has none of it");
        let foreign = entry().to_text() + "image = \"a\\u001Bb\"\nhost = \"\"\n";
        assert!(read(&foreign).origin.is_unknown());
    }

    #[test]
    fn what_can_be_no_signature_is_passed_over() {
        let long = "x".repeat(300);
        let many = vec!["\"one\""; 40].join(", ");
        let with = |texts: &str| read(&format!("{}signatures = [{texts}]\n", entry().to_text())).signatures;
        assert_eq!(with(&format!("\"{long}\", \"a\\u001Bb\", \"one\"")), ["one"]);
        assert_eq!(with(&many).len(), SIGNATURES);
    }

    /// So later fields that only describe need no new version.
    #[test]
    fn a_field_that_is_not_known_is_passed_over() {
        assert_eq!(read(&(entry().to_text() + "later = [1]\n")), entry());
    }

    #[test]
    fn a_newer_or_broken_file_is_refused() {
        rejected(&entry().to_text().replace("version = 1", "version = 2"));
        rejected(&entry().to_text().replace("sha256:2d", "sha256:/."));
        rejected("<<<<<<< HEAD\n");
        rejected("");
    }
}
