//! What engines ask for: the manifest of a name, that of the platform, and its blobs.

use serde::Deserialize;
use storekit::{Descriptor, Digest, Platform, printable};

use super::{Bringer, Failure, Load};
use crate::index::oci::MANIFESTS;

/// The registry that is meant where none is named.
const DEFAULT: &str = "docker.io";

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
}

/// A reference, in parts.
#[derive(Debug, PartialEq, Eq)]
struct Reference<'r> {
    registry: &'r str,
    repository: String,
    /// A tag or a digest.
    target: &'r str,
}

impl Bringer {
    pub(super) async fn image(&self, load: &mut Load) -> Result<(), Failure> {
        let reference = reference(&load.locked.name).ok_or("it is not a reference to an image")?;
        let Reference { registry, repository, target } = reference;
        if !self.here.registries.iter().any(|it| it == registry) {
            return Err(format!(
                "the registry `{}` is not mirrored: add it to [pkgcache.registry]",
                printable(registry)
            ));
        }
        let at = |kind: &str, target: &str| format!("/v2/{registry}/{repository}/{kind}/{target}");
        let mut document = self.manifest(&at("manifests", target)).await?;
        if let Some(manifests) = document.manifests.take() {
            let descriptor = of_platform(&manifests, &self.machine.platform)
                .ok_or_else(|| format!("it has nothing for {}", self.machine.platform))?;
            document = self.manifest(&at("manifests", &descriptor.digest.to_string())).await?;
        }
        let blobs = document.config.into_iter().chain(document.layers.unwrap_or_default());
        for blob in blobs {
            let target = at("blobs", &blob.digest.to_string());
            self.file(&mut load.outcome, &target, "*/*", Some(blob.digest.into())).await?;
        }
        Ok(())
    }

    /// A manifest, by its name and then by its digest, as engines ask.
    async fn manifest(&self, target: &str) -> Result<Document, Failure> {
        let bytes = self.client.document(target, MANIFESTS).await?;
        let digest = Digest::of(&bytes);
        if let Some((above, last)) = target.rsplit_once('/')
            && last != digest.to_string()
        {
            self.client.document(&format!("{above}/{digest}"), MANIFESTS).await?;
        }
        serde_json::from_slice(&bytes)
            .map_err(|error| format!("`{}` is not a manifest: {error}", printable(target)))
    }
}

/// The one that serves the platform, attestations apart.
fn of_platform<'d>(manifests: &'d [Descriptor], platform: &Platform) -> Option<&'d Descriptor> {
    let with = |it: &'d Descriptor| Some((it, Platform::of(it)?));
    let mut known = manifests.iter().filter_map(with).filter(|(_, own)| own.os() != "unknown");
    let exact = known.clone().find(|(_, own)| own == platform);
    exact.or_else(|| known.find(|(_, own)| own.matches(platform))).map(|(it, _)| it)
}

/// As docker reads a name: the first part is a registry where it could not be one of a repository.
fn reference(text: &str) -> Option<Reference<'_>> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    if text.is_empty() || !text.bytes().all(plain) {
        return None;
    }
    let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
    let (name, tag) = match name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
        Some((name, tag)) => (name, tag),
        None => (name, "latest"),
    };
    let host = name.split_once('/').filter(|(host, _)| host.contains(['.', ':']) || *host == "localhost");
    let (registry, repository) = host.unwrap_or((DEFAULT, name));
    let official = registry == DEFAULT && !repository.contains('/');
    let repository = if official { format!("library/{repository}") } else { repository.to_owned() };
    let is_digest = digest.is_none_or(|it| it.parse::<Digest>().is_ok());
    (is_digest && !repository.is_empty()).then(|| Reference {
        registry,
        repository,
        target: digest.unwrap_or(tag),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_docker_reads_them() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, registry, repository, target) in [
            ("debian", "docker.io", "library/debian", "latest"),
            ("team/app:1", "docker.io", "team/app", "1"),
            ("quay.io/team/app:1", "quay.io", "team/app", "1"),
            ("localhost:5000/app", "localhost:5000", "app", "latest"),
            (&format!("debian:12@{digest}"), "docker.io", "library/debian", &digest),
        ] {
            let repository = repository.to_owned();
            assert_eq!(reference(text), Some(Reference { registry, repository, target }), "{text}");
        }
        for text in ["", "a b", "debian@sha256:x", "quay.io/", "a?b"] {
            assert_eq!(reference(text), None, "{text}");
        }
    }
}
