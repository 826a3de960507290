//! Keys out of a place. What an entry, index or referrer that stays needs, stays.

use std::collections::BTreeSet;

use camino::Utf8Path;
use jiff::Timestamp;
use storekit::{Digest, Key, Store};

use crate::error::Result;
use crate::error::tier::Error;
use crate::parallel;
use crate::registry::Purpose;
use crate::registry::push::upload::{self, Content};
use crate::registry::tags::Deletion;
use crate::tier::config::Config;
use crate::tier::kinds::artifact;
use crate::tier::kinds::registry::RegistryTier;
use crate::tier::kinds::s3::client::Bucket;
use crate::tier::kinds::s3::tier::S3Tier;
use crate::tier::kinds::store::{self, patient};
use crate::tier::place::{Place, Repository};
use crate::tier::removal::Removal;

/// Removes what stands under these keys in the place.
///
/// # Errors
/// A place that does not answer, says no, or does not delete. What was removed before stays
/// removed.
pub fn remove(config: &Config, place: &Place, keys: &[Key]) -> Result<Removal> {
    let threads = config.registries.parallel;
    match place {
        Place::Store(folder) => from_store(config, folder, keys),
        Place::Registry(repository) => from_registry(config, repository, keys),
        Place::S3(address) => S3Tier { bucket: Bucket::open(config, address)? }.remove(keys, threads),
    }
}

/// Into the store's own trash; its blobs are left to its own collections.
fn from_store(config: &Config, folder: &Utf8Path, keys: &[Key]) -> Result<Removal> {
    let mut removal = Removal::default();
    let store = patient(Store::open_or_empty(folder)?, config.timeout);
    let images = store.images();
    let place = format!("store:{folder}");
    for key in keys {
        let standing = images.get(key).map_err(|error| store::foreign(error.into(), &place));
        // One that cannot be understood can be removed.
        if standing.is_ok_and(|entry| entry.is_none()) {
            removal.absent.push(key.clone());
        } else {
            removal.removed.push(key.clone());
        }
    }
    if removal.removed.is_empty() {
        return Ok(removal);
    }
    let batch = store.trash().batch(Timestamp::now());
    let hanging = images.hanging(&removal.removed)?;
    images.remove(&removal.removed, &batch)?;
    removal.followed = images.remove(&hanging, &batch)?;
    Ok(removal)
}

fn from_registry(config: &Config, repository: &Repository, keys: &[Key]) -> Result<Removal> {
    keys.iter().try_for_each(artifact::check_key)?;
    let tier = RegistryTier::open(&config.network(), repository, Purpose::Remove)?;
    let mut remover = Remover { tier: &tier, threads: config.registries.parallel, keys, needed: None };
    let mut removal = Removal::default();
    for key in keys {
        if remover.remove(key)? {
            removal.removed.push(key.clone());
        } else {
            removal.absent.push(key.clone());
        }
    }
    Ok(removal)
}

struct Remover<'a> {
    tier: &'a RegistryTier,
    threads: usize,
    /// All that are to go.
    keys: &'a [Key],
    /// What the other tags of the repository need; read once it is asked for.
    needed: Option<BTreeSet<Digest>>,
}

impl Remover<'_> {
    /// Whether anything stood under the key.
    fn remove(&mut self, key: &Key) -> Result<bool> {
        let stood = self.remove_tag(key.as_str())?;
        // Readers find the image by the key: what is noted with it goes after it.
        self.remove_tag(&artifact::tag(key))?;
        Ok(stood)
    }

    fn remove_tag(&mut self, tag: &str) -> Result<bool> {
        let client = &self.tier.client;
        let Some(digest) = client.resolve(tag)? else { return Ok(false) };
        // Where a registry deletes a tag, what it leads to is the registry's own affair.
        if let Deletion::Done = client.delete(tag)?
            && client.resolve(tag)?.is_none()
        {
            return Ok(true);
        }
        self.remove_manifest(tag, &digest).map(|()| true)
    }

    /// Where a registry deletes by digest alone, all tags of the manifest go with it.
    fn remove_manifest(&mut self, tag: &str, digest: &Digest) -> Result<()> {
        if self.needed()?.contains(digest) {
            return self.lead_away(tag);
        }
        let below = self.tier.documents(tag)?;
        self.delete(digest)?;
        for child in below {
            if !self.needed()?.contains(&child) {
                self.delete(&child)?;
            }
        }
        Ok(())
    }

    /// Makes the tag that of a manifest of its own, which is deleted then: what it led to stays.
    fn lead_away(&self, tag: &str) -> Result<()> {
        let client = &self.tier.client;
        let (empty, stone) = artifact::tombstone(tag);
        upload::send(client, Content::Bytes(artifact::EMPTY_BYTES), &empty, &[], &())?;
        client.put_manifest(tag, &stone.descriptor, &stone.bytes)?;
        self.delete(&stone.descriptor.digest)
    }

    fn delete(&self, digest: &Digest) -> Result<()> {
        match self.tier.client.delete(&digest.to_string())? {
            Deletion::Done => Ok(()),
            Deletion::Refused(said) => Err(Error::NoDeletion { place: self.tier.place(), said }.into()),
        }
    }

    fn needed(&mut self) -> Result<&BTreeSet<Digest>> {
        if self.needed.is_none() {
            self.needed = Some(self.read_needed()?);
        }
        Ok(self.needed.get_or_insert_with(BTreeSet::new))
    }

    /// What the tags that stay name, and refer to.
    fn read_needed(&self) -> Result<BTreeSet<Digest>> {
        let going: BTreeSet<String> =
            self.keys.iter().flat_map(|key| [key.to_string(), artifact::tag(key)]).collect();
        let mut tags = self.tier.client.tags()?;
        tags.retain(|tag| !going.contains(tag) && tag.parse::<Key>().is_ok());
        let read = parallel::map_with(self.threads, &tags, |tag| self.tier.documents_and_subject(tag))?;
        Ok(read.into_iter().flatten().collect())
    }
}
