//! `info`, of one or of several.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use serde_json::Value;
use storekit::oci::DOCUMENT_CAP;
use storekit::{Digest, Fetched, Given, Images, Key, KeyOrName, PackageKey, Standing, Store};
use toolkit::Outcome;

use super::console::{Console, lookup};
use super::view::Id;
use crate::error::Result;
use crate::events::Told;
use crate::holds;
use crate::show;
use crate::show::info::{Beside, Together};
use crate::show::ls::{Filter, PackageRow, Row};
use crate::snapshot::{Image, Snapshot};
use crate::survey::{reach, survey};

/// What is told of.
struct Looked<'a> {
    store: &'a Store,
    snapshot: &'a Snapshot,
    images: Vec<Row<'a>>,
    packages: Vec<PackageRow<'a>>,
    /// The places of the images and of the packages that were told of.
    told: (BTreeSet<usize>, BTreeSet<usize>),
}

/// Tells what is known of images (by key, the beginning of one, or a name) and of packages (by
/// URL); of several also what would be free without all of them.
///
/// # Errors
/// As [`super::ls`]; a text that may mean several.
pub fn info(store: &Store, ids: &[Id], console: &mut Console<'_>) -> Result<Outcome> {
    let snapshot = survey(store, &Told::by(store, Timestamp::now())?)?;
    let mut looked = Looked {
        store,
        snapshot: &snapshot,
        images: show::ls::rows(&snapshot, &Filter::default()),
        packages: show::ls::package_rows(&snapshot.packages, &Filter::default(), snapshot.now),
        told: Default::default(),
    };
    let mut all = true;
    for id in ids {
        all &= match id {
            Id::Image(text) => looked.image(text, console)?,
            Id::Package(url) => looked.package(url, console)?,
        };
    }
    let together = looked.together();
    if ids.len() > 1 && together.images + together.packages > 0 {
        console.either(&together, || together.to_string())?;
    }
    console.flush().map(|()| Outcome::from_bool(all))
}

impl Looked<'_> {
    fn image(&mut self, text: &KeyOrName, console: &mut Console<'_>) -> Result<bool> {
        let key = lookup(self.store, text)?;
        let place = self.snapshot.images.iter().position(|image| key.as_ref() == Some(&image.key));
        let row = self.images.iter().find(|row| key.as_ref() == Some(row.key()));
        let Some((place, row)) = place.zip(row) else {
            console.warn(format!("{}; `gcctl ls` lists the keys", text.absent()));
            return Ok(false);
        };
        let image = &self.snapshot.images[place];
        let beside = beside(self.store, image)?;
        let info = show::info::image_info(self.snapshot, image, row, &beside);
        console.either(&info, || show::info::image_text(&info, self.snapshot.now))?;
        self.told.0.insert(place);
        Ok(true)
    }

    /// The same URL may be stored for several credentials.
    fn package(&mut self, url: &str, console: &mut Console<'_>) -> Result<bool> {
        let packages = &self.snapshot.packages;
        let places: Vec<_> =
            packages.iter().enumerate().filter(|(_, it)| it.url() == url).map(|(place, _)| place).collect();
        for row in self.packages.iter().filter(|row| row.url() == url) {
            let images = self.built_with(row)?;
            let info = show::info::package_info(packages, row, images);
            console.either(&info, || show::info::package_text(&info, self.snapshot.now))?;
        }
        if places.is_empty() {
            console.warn(format!("nothing is stored of `{url}`; `gcctl ls packages` lists the URLs"));
        }
        let found = !places.is_empty();
        self.told.1.extend(places);
        Ok(found)
    }

    /// The keys of the images that were built with a package.
    fn built_with(&self, row: &PackageRow<'_>) -> Result<Vec<&str>> {
        let key = row.package_key();
        let entry = PackageKey::new(&key.ecosystem, &key.source, key.url.as_str(), key.scope).path();
        let mut keys = Vec::new();
        for image in &self.snapshot.images {
            let all = fetched(&self.store.images(), &image.key)?;
            let is_it = |it: &Given| it.status.is_none() && it.entry.as_ref() == Some(&entry);
            if all.iter().any(is_it) {
                keys.push(image.key.as_str());
            }
        }
        Ok(keys)
    }

    fn together(&self) -> Together {
        let (images, packages) = &self.told;
        let going = self.snapshot.going_with(images.iter().copied());
        let places: Vec<_> = packages.iter().copied().collect();
        Together {
            images: images.len() as u64,
            packages: packages.len() as u64,
            frees: self.snapshot.freed_by(&going) + self.snapshot.packages.freed_by(&places),
        }
    }
}

/// What the image's files say of it. What cannot be understood is not told.
fn beside(store: &Store, image: &Image) -> Result<Beside> {
    let images = store.images();
    let mut kinds = HashMap::new();
    let mut open = vec![image.digest];
    while let Some(digest) = open.pop() {
        let Some(document) = document(store, &digest) else { continue };
        let list = |name: &str| document[name].as_array().cloned().unwrap_or_default();
        let each = |some: &[Value]| -> Vec<Digest> {
            some.iter().filter_map(|it| it["digest"].as_str()?.parse().ok()).collect()
        };
        let manifests = each(&list("manifests"));
        kinds.insert(digest, if document["manifests"].is_array() { "index" } else { "manifest" });
        for (some, kind) in [([document["config"].clone()].to_vec(), "config"), (list("layers"), "layer")] {
            kinds.extend(each(&some).into_iter().map(|digest| (digest, kind)));
        }
        open.extend(manifests.into_iter().filter(|it| image.blobs.contains(it) && !kinds.contains_key(it)));
    }
    let pins = holds::pins_of(&images, image, Timestamp::now())?;
    Ok(Beside { pins, lacks: lacks(store, image)?, fetched: fetched(&images, &image.key)?, kinds })
}

/// The blobs that the image needs and that are not there, as far as that is known.
fn lacks(store: &Store, image: &Image) -> Result<Vec<Digest>> {
    let images = store.images();
    let Some(Standing::Sound(listed)) = images.look_at(&image.key)?.filter(|_| image.incomplete) else {
        return Ok(Vec::new());
    };
    Ok(reach(&mut images.walker(), &listed.entry.descriptor)?.missing.into_iter().collect())
}

/// What is on record of the key's builds; nothing where there is no record.
fn fetched(images: &Images, key: &Key) -> Result<Vec<Given>> {
    let record = match images.fetched(key) {
        Err(error) if error.is_unreadable() => Vec::new(),
        record => record?.unwrap_or_default(),
    };
    Ok(Fetched::lenient(&record).collect())
}

fn document(store: &Store, digest: &Digest) -> Option<Value> {
    let bytes = store.images().blobs().read(digest, DOCUMENT_CAP).ok()?;
    serde_json::from_slice(&bytes).ok()
}
