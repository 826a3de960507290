//! What engines ask for: the manifest of a name, that of the platform, and its blobs.

use serde::Deserialize;
use storekit::{Descriptor, Digest, NotAReference, Platform, Reference, printable};

use super::{Bringer, Failure, Load};
use crate::index::oci::MANIFESTS;

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
}

impl Bringer {
    pub(super) async fn image(&self, load: &mut Load) -> Result<(), Failure> {
        let reference: Reference =
            load.locked.name.parse().map_err(|error: NotAReference| error.to_string())?;
        let (registry, repository) = (reference.registry(), reference.repository());
        if !self.here.registries.iter().any(|it| it == registry) {
            return Err(format!(
                "the registry `{}` is not mirrored: add it to [pkgcache.registry]",
                printable(registry)
            ));
        }
        let at = |kind: &str, target: &str| format!("/v2/{registry}/{repository}/{kind}/{target}");
        let mut document = self.manifest(&at("manifests", &reference.target())).await?;
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
