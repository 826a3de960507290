//! A repository of a registry as a place: a key is a tag, and what is noted with its image is an
//! artifact under another tag, which refers to the image.
//!
//! A reader copes without the artifact: it has the image, and nothing is noted with it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use storekit::{Digest, Entry, Key};

use crate::error::Result;
use crate::image::fetch::Source;
use crate::registry::pull::FromRegistry;
use crate::registry::{Client, Config, Purpose};
use crate::tier::kind::{Found, INPUTS_CAP, Tier, Told};
use crate::tier::kinds::artifact::{self, Noted};
use crate::tier::place::Repository;
use crate::tier::reach::{Reach, reach};

/// A repository that is a place.
pub(crate) struct RegistryTier {
    pub(crate) client: Client,
    repository: Repository,
}

impl RegistryTier {
    pub(crate) fn open(config: &Config, repository: &Repository, purpose: Purpose) -> Result<Self> {
        let client = Client::new(config, &repository.at("latest"), purpose)?;
        Ok(Self { client, repository: repository.clone() })
    }

    /// What the place is called in messages.
    pub(crate) fn place(&self) -> String {
        format!("registry:{}", self.repository)
    }

    /// The documents below that of the tag, without it.
    pub(crate) fn documents(&self, tag: &str) -> Result<BTreeSet<Digest>> {
        let Some((root, mut reach)) = self.reach_of(tag)? else { return Ok(BTreeSet::new()) };
        reach.documents.remove(&root);
        Ok(reach.documents)
    }

    /// The documents that a tag needs, and what they refer to.
    pub(crate) fn documents_and_subject(&self, tag: &str) -> Result<BTreeSet<Digest>> {
        let Some((_, reach)) = self.reach_of(tag)? else { return Ok(BTreeSet::new()) };
        Ok(reach.documents.into_iter().chain(reach.subject).collect())
    }

    fn reach_of(&self, tag: &str) -> Result<Option<(Digest, Reach)>> {
        let Some(root) = self.client.manifest(tag, None)? else { return Ok(None) };
        let source = FromRegistry { client: &self.client, reference: self.repository.at(tag).to_string() };
        Ok(Some((root.descriptor.digest, reach(&source, &root)?)))
    }

    fn from(&self, key: &Key) -> FromRegistry<'_> {
        FromRegistry { client: &self.client, reference: self.repository.of_key(key).to_string() }
    }

    /// What is noted with the image under the key. `None` where nothing is.
    fn noted(&self, key: &Key) -> Result<Option<Noted>> {
        let Some(document) = self.client.manifest(&artifact::tag(key), None)? else { return Ok(None) };
        artifact::read(&document, |what, blob, cap| self.client.small_blob(what, blob, cap))
            .map_err(|error| artifact::untrue(error, &self.from(key)))
    }
}

impl Tier for RegistryTier {
    fn has(&self, key: &Key) -> Result<Option<Found>> {
        artifact::check_key(key)?;
        let digest = self.client.resolve(key.as_str())?;
        Ok(digest.map(|digest| Found { digest: Some(digest), is_trusted: true }))
    }

    fn entry(&self, key: &Key) -> Result<Option<Told>> {
        artifact::check_key(key)?;
        let root = self.client.manifest(key.as_str(), None)?;
        let Some(root) = root.filter(|root| !artifact::is_tombstone(root)) else { return Ok(None) };
        let noted = self.noted(key)?;
        // One of an image that was pushed under the key before, or is just being pushed.
        let noted = noted.filter(|noted| noted.entry.descriptor.digest == root.descriptor.digest);
        let is_noted = noted.is_some();
        let (entry, inputs) = match noted {
            Some(Noted { entry, inputs }) => (Entry { descriptor: root.descriptor.clone(), ..entry }, inputs),
            None => (Entry::new(root.descriptor.clone(), Timestamp::now()), None),
        };
        Ok(Some(Told { entry, root: Some(root), inputs, is_noted }))
    }

    fn inputs(&self, _: &Key, told: &Told) -> Result<Option<Vec<u8>>> {
        let Some(inputs) = &told.inputs else { return Ok(None) };
        self.client.small_blob("the manifest of inputs", inputs, INPUTS_CAP).map(Some)
    }

    fn inputs_digest(&self, _: &Key, told: &Told) -> Result<Option<Digest>> {
        Ok(told.inputs.as_ref().map(|inputs| inputs.digest))
    }

    fn keys(&self) -> Result<Vec<Key>> {
        let tags = self.client.tags()?;
        Ok(tags.iter().filter(|tag| !artifact::is_tag(tag)).filter_map(|tag| tag.parse().ok()).collect())
    }

    fn source(&self, key: &Key) -> Box<dyn Source + '_> {
        Box::new(self.from(key))
    }
}
