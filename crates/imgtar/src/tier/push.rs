//! From the store into a place: the image under a key, and what is noted with it. The entry comes
//! last, so that no reader sees half an image.

use std::collections::BTreeSet;

use camino::Utf8Path;
use serde::Serialize;
use storekit::{Descriptor, Digest, Key, Store};
use toolkit::bucket::Address;

use crate::engine::load;
use crate::error::Result;
use crate::image::Stored;
use crate::image::commit::{self, Notes};
use crate::image::fetch::{self, Fetched, Source};
use crate::image::signature::is_signed;
use crate::progress::Progress;
use crate::registry::push::push_whole;
use crate::registry::push::upload::{self, Content};
use crate::registry::{Client, Purpose};
use crate::tally::Tally;
use crate::tier::config::Config;
use crate::tier::kind::{Tier, Told};
use crate::tier::kinds::artifact;
use crate::tier::kinds::registry::RegistryTier;
use crate::tier::kinds::s3::client::Bucket;
use crate::tier::kinds::s3::push::{Job, Sent};
use crate::tier::kinds::s3::tier::S3Tier;
use crate::tier::kinds::store::{FromStore, StoreTier, patient};
use crate::tier::place::{Place, Repository};

/// What a push did.
#[derive(Clone, Debug, Serialize)]
pub struct Pushed {
    /// The key, here and there.
    pub key: Key,
    /// Whether the entry was written now; `false` where an earlier one stands.
    pub saved: bool,
    /// The digest of what stands there under the key.
    pub digest: Digest,
    /// What moved.
    #[serde(flatten)]
    pub tally: Tally,
}

/// Brings what is stored under the key into the place, under the same key. The first save wins,
/// unless `force`: then also what the place has already is read through, and sent anew where it is
/// damaged. `None` where nothing is stored under the key.
///
/// # Errors
/// Damaged or missing blobs; a place that does not answer, says no, or cannot be written to. An
/// entry stands then only if it stood before.
pub fn push(
    store: &Store,
    config: &Config,
    place: &Place,
    key: &Key,
    force: bool,
    progress: &dyn Progress,
) -> Result<Option<Pushed>> {
    let Some(stored) = Stored::open(&store.images(), key)? else { return Ok(None) };
    let is_trusted = is_trusted(store, config, &stored, key)?;
    let push = Push { store, config, stored: &stored, key, force, is_trusted, progress };
    let pushed = match place {
        Place::Store(folder) => push.to_store(folder)?,
        Place::Registry(repository) => push.to_registry(repository)?,
        Place::S3(address) => push.to_bucket(address)?,
    };
    load::note(store, &stored);
    Ok(Some(pushed))
}

fn is_trusted(store: &Store, config: &Config, stored: &Stored, key: &Key) -> Result<bool> {
    if config.signed_by.is_empty() {
        return Ok(false);
    }
    let inputs = store.images().inputs(key)?.map(|inputs| Digest::of(&inputs));
    Ok(is_signed(&config.signed_by, key, &stored.entry, inputs))
}

/// One push.
pub(crate) struct Push<'a> {
    store: &'a Store,
    config: &'a Config,
    stored: &'a Stored,
    key: &'a Key,
    force: bool,
    /// Whether the entry is signed by whom those who take it trust, where they are named.
    pub(crate) is_trusted: bool,
    progress: &'a dyn Progress,
}

impl Push<'_> {
    fn pushed(&self, saved: bool, digest: Digest, tally: Tally) -> Pushed {
        Pushed { key: self.key.clone(), saved, digest, tally }
    }

    fn root(&self) -> &Descriptor {
        &self.stored.entry.descriptor
    }

    fn inputs(&self) -> Result<Option<Vec<u8>>> {
        Ok(self.store.images().inputs(self.key)?)
    }

    /// Whether another entry that stands there is left as it is: not where nobody takes it, and
    /// this one is signed.
    pub(crate) fn leaves(&self, tier: &dyn Tier, told: &Told) -> Result<bool> {
        Ok(self.config.trusts(tier, self.key, told)? || !self.is_trusted)
    }

    /// Whether an entry stands there that is left as it is.
    fn stays(&self, tier: &dyn Tier) -> Result<bool> {
        match tier.entry(self.key) {
            Err(error) if error.is_about_content() && self.is_trusted => Ok(false),
            told => told?.map_or(Ok(false), |told| self.leaves(tier, &told)),
        }
    }

    /// The other store takes the image as it would from anywhere.
    fn to_store(&self, folder: &Utf8Path) -> Result<Pushed> {
        let to = patient(Store::open_or_create(folder)?, self.config.timeout);
        let images = to.images();
        images.prepare()?;
        images.sweep_spent()?;
        let standing = match images.find(self.key) {
            Err(error) if error.is_corrupt() => None,
            found => found?,
        };
        let standing = standing.filter(|(_, reach)| reach.is_whole() && !self.force);
        if let Some((entry, reach)) = standing
            && self.leaves(&StoreTier::of(&to), &Told::noted(entry.clone()))?
        {
            let same = entry.descriptor.digest == self.root().digest;
            let tally = if same { skipped(reach.present.into_values()) } else { Tally::default() };
            return Ok(self.pushed(false, entry.descriptor.digest, tally));
        }
        let source = FromStore::own(self.store, self.key);
        let root = source.document(self.root())?.ok_or_else(|| source.incomplete(self.root().digest))?;
        let threads = self.config.registries.parallel;
        let fetched = fetch::fetch(&to, &source, &root, &BTreeSet::new(), threads, self.progress)?;
        let Fetched { leases, tally, .. } = fetched;
        let entry = self.stored.entry.clone();
        let origin = entry.origin.clone();
        // What stands and is not left is replaced.
        let force = self.force || self.is_trusted;
        let notes = Notes { inputs: self.inputs()?, force, origin, ..Notes::default() };
        let (saved, entry) = commit::commit(&to, self.key, entry, &notes, &leases)?;
        Ok(self.pushed(saved, entry.descriptor.digest, tally))
    }

    /// What is noted goes before the image: who has the tag of the key has all of it.
    fn to_registry(&self, repository: &Repository) -> Result<Pushed> {
        artifact::check_key(self.key)?;
        let tier = RegistryTier::open(&self.config.network(), repository, Purpose::Push)?;
        let standing = tier.client.resolve(self.key.as_str())?;
        let other = standing.filter(|digest| *digest != self.root().digest);
        if let Some(other) = other.filter(|_| !self.force)
            && self.stays(&tier)?
        {
            return Ok(self.pushed(false, other, Tally::default()));
        }
        let stands = standing == Some(self.root().digest) && !self.force;
        let is_noted = stands && self.is_noted(&tier)?;
        if !is_noted {
            self.send_artifact(&tier.client)?;
        }
        let threads = self.config.registries.parallel;
        let (client, to) = (&tier.client, (self.key.as_str(), stands, self.force));
        let tally = push_whole(self.store, client, self.stored, to, threads, self.progress)?;
        Ok(self.pushed(!stands, self.root().digest, tally))
    }

    /// Whether what stands there has notes, which are of this very image, and signed.
    fn is_noted(&self, tier: &RegistryTier) -> Result<bool> {
        match tier.entry(self.key) {
            Err(error) if error.is_about_content() => Ok(false),
            told => match told? {
                Some(told) if told.is_noted => self.leaves(tier, &told),
                _ => Ok(false),
            },
        }
    }

    fn to_bucket(&self, address: &Address) -> Result<Pushed> {
        let tier = S3Tier { bucket: Bucket::open(self.config, address)? };
        let Sent { saved, digest, tally } = tier.push(&Job {
            push: self,
            store: self.store,
            stored: self.stored,
            key: self.key,
            force: self.force,
            threads: self.config.registries.parallel,
            progress: self.progress,
        })?;
        Ok(self.pushed(saved, digest, tally))
    }

    fn send_artifact(&self, client: &Client) -> Result<()> {
        let made = artifact::make(&self.stored.entry, self.inputs()?);
        for (blob, bytes) in &made.blobs {
            let content = Content::Bytes(bytes);
            if self.force {
                upload::mend(client, content, blob, &())?;
            } else {
                upload::send(client, content, blob, &[], &())?;
            }
        }
        let manifest = &made.manifest;
        client.put_manifest(&artifact::tag(self.key), &manifest.descriptor, &manifest.bytes)?;
        if self.force { client.check_kept(&manifest.descriptor) } else { Ok(()) }
    }
}

fn skipped(sizes: impl Iterator<Item = u64>) -> Tally {
    let mut tally = Tally::default();
    sizes.for_each(|size| tally.add(Tally::skipped(size)));
    tally
}
