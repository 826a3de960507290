//! Container registries: tags, manifests and blobs.
//!
//! Source: OCI distribution-spec v1.1.

use storekit::Checksum;

use crate::ecosystem::path::canonical;
use crate::ecosystem::{Asked, Class, Package};

/// A path of a registry, below its `/v2/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RegistryPath {
    /// The repository's name.
    pub(crate) name: String,
    /// What of the repository is meant.
    pub(crate) what: What,
}

/// What of a repository a path means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// `manifests/TAG`.
    Tag(String),
    /// `manifests/DIGEST`.
    Manifest(Checksum),
    /// `blobs/DIGEST`.
    Blob(Checksum),
    /// `tags/list`.
    Tags,
    /// `referrers/DIGEST`.
    Referrers(Checksum),
}

/// A repository's name has no more bytes: clients count that of the registry too.
const LONGEST: usize = 255;

/// Paths `/v2/NAME/manifests/TAG` (a tag), `/v2/NAME/manifests/DIGEST` and `/v2/NAME/blobs/DIGEST`
/// (self-certifying), `tags/list` and `referrers` (indexes), anything else below `/v2/` an
/// interface.
#[must_use]
pub(crate) fn ask(path: &str, _query: Option<&str>) -> Asked {
    let Some(RegistryPath { name, what }) = parse(path) else {
        let path = canonical(path);
        let interface = path == "/v2" || path.starts_with("/v2/");
        return Asked::of(if interface { Class::Api } else { Class::Unknown });
    };
    let (class, version) = match what {
        What::Tag(tag) => (Class::Tag, Some(tag)),
        What::Manifest(digest) => (Class::SelfCertifying(digest), Some(digest.to_string())),
        What::Blob(digest) => (Class::SelfCertifying(digest), None),
        What::Tags | What::Referrers(_) => (Class::Index, None),
    };
    Asked { package: Package { name: Some(name), version, architecture: None }, ..Asked::of(class) }
}

/// The parts of a path; `None` where it does not keep to the specification.
#[must_use]
pub(crate) fn parse(path: &str) -> Option<RegistryPath> {
    let path = canonical(path);
    let path = path.strip_prefix("/v2/")?;
    let (rest, last) = path.rsplit_once('/')?;
    let (name, kind) = rest.rsplit_once('/')?;
    let what = match kind {
        "manifests" => digest(last).map(What::Manifest).or_else(|| tag(last).map(What::Tag))?,
        "blobs" => What::Blob(digest(last)?),
        "tags" if last == "list" => What::Tags,
        "referrers" => What::Referrers(digest(last)?),
        _ => return None,
    };
    is_name(name).then(|| RegistryPath { name: name.to_owned(), what })
}

/// A digest of an algorithm that is known here, in lower case as the specification has it.
fn digest(text: &str) -> Option<Checksum> {
    let (algorithm, hex) = text.split_once(':')?;
    let known = matches!(algorithm, "sha256" | "sha512");
    let lower = hex.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
    if known && lower { Checksum::from_hex(algorithm, hex) } else { None }
}

fn tag(text: &str) -> Option<String> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let (first, rest) = text.as_bytes().split_first()?;
    let rest_is_plain = rest.iter().all(|byte| word(*byte) || matches!(byte, b'.' | b'-'));
    (text.len() <= 128 && word(*first) && rest_is_plain).then(|| text.to_owned())
}

fn is_name(name: &str) -> bool {
    name.len() <= LONGEST && name.split('/').all(is_component)
}

/// Lower-case letters and digits in groups; between two of them one `.`, one or two `_`, or any
/// number of `-`.
fn is_component(text: &str) -> bool {
    let separator = |c: char| matches!(c, '.' | '_' | '-');
    let alike = |part: &str| part.chars().all(|c| c.is_ascii_digit() || c.is_ascii_lowercase());
    let ends = text.starts_with(separator) || text.ends_with(separator) || text.is_empty();
    let between = text.split(|c| !separator(c)).filter(|part| !part.is_empty());
    let mut between = between.map(|part| matches!(part, "." | "_" | "__") || part.bytes().all(|b| b == b'-'));
    !ends && text.split(separator).all(alike) && between.all(|fits| fits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_is_taken_apart() {
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let what = |rest: &str| parse(&format!("/v2/a/b/{rest}")).map(|path| (path.name, path.what));
        let is = |what| Some(("a/b".to_owned(), what));
        let digest = Checksum::from_hex("sha256", hex).unwrap();
        assert_eq!(what("manifests/latest"), is(What::Tag("latest".to_owned())));
        assert_eq!(what(&format!("manifests/sha256:{hex}")), is(What::Manifest(digest)));
        assert_eq!(what(&format!("blobs/sha256:{hex}")), is(What::Blob(digest)));
        assert_eq!(what(&format!("referrers/sha256:{hex}")), is(What::Referrers(digest)));
        assert_eq!(what("tags/list"), is(What::Tags));
        assert_eq!(what("blobs/latest"), None);
        assert_eq!(what(&format!("manifests/sha1:{}", &hex[..40])), None);
    }

    fn segment() -> impl Strategy<Value = String> {
        let known = prop::sample::select(vec![
            "v2",
            "manifests",
            "blobs",
            "tags",
            "list",
            "referrers",
            "latest",
            "library",
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "sha256%3aba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "..",
            "",
            "%2e%2e",
        ]);
        prop_oneof![8 => known.prop_map(str::to_owned), 1 => "[ -~]{0,6}", 1 => any::<String>()]
    }

    proptest! {
        #[test]
        fn nothing_but_a_digest_is_taken_for_what_cannot_change(
            segments in prop::collection::vec(segment(), 0..6),
        ) {
            let path = format!("/v2/{}", segments.join("/"));
            let asked = ask(&path, None);
            if let Class::SelfCertifying(digest) = asked.class {
                prop_assert!(canonical(&path).ends_with(&digest.to_string()));
            }
            prop_assert!(asked.class != Class::Artifact && asked.class != Class::PinnedByName);
            let name = asked.package.name.unwrap_or_default();
            prop_assert!(!name.contains("..") && !name.contains('%'), "{}", name);
        }
    }
}
