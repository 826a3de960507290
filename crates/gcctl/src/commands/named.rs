//! What is named on the command line, to go.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use storekit::Store;

use super::collect::Force;
use super::console::{Console, lookup};
use super::view::Id;
use crate::error::Result;
use crate::events::Told;
use crate::holds::{Holds, pins_of};
use crate::plan::Names;
use crate::snapshot::Image;
use crate::survey::survey;

/// The things that are meant; with `force` also a damaged image by its whole key that a pin may
/// hold, unless its key itself is pinned. `None`, with a word about each, where one is not there.
///
/// # Errors
/// A text that is neither a key, a name nor a URL, or that may mean several; a store that cannot be
/// read.
pub fn meant(
    store: &Store,
    ids: &[String],
    force: Force,
    console: &mut Console<'_>,
) -> Result<Option<Names>> {
    let mut names = Names::default();
    let mut all = true;
    let snapshot = survey(store, &Told::default())?;
    let holds = Holds::read(&store.images(), snapshot.now)?;
    let pinned = snapshot.images.iter().filter(|it| it.pinned);
    let pinned: HashMap<_, _> = pinned.map(|it| (&it.key, it)).collect();
    let known: HashSet<_> = snapshot.packages.iter().map(|package| package.url()).collect();
    for text in ids {
        match text.parse::<Id>() {
            Ok(Id::Package(url)) if holds.url(&url) => {
                all = false;
                console.warn(format!("`{url}` is held by a pin: `gcctl pins` lists the pins"));
            }
            Ok(Id::Package(url)) if known.contains(url.as_str()) => drop(names.urls.insert(url)),
            Ok(Id::Package(url)) => {
                all = false;
                console.warn(format!("nothing is stored of `{url}`; `gcctl ls packages` lists the URLs"));
            }
            Ok(Id::Image(id)) => match lookup(store, &id)? {
                Some(key) if let Some(image) = pinned.get(&key) => {
                    let pins = pins(store, image)?;
                    let may_go = image.unknown && !holds.has_key(&key);
                    if may_go && force == Force::Yes && id.as_str() == key.as_str() {
                        console.warn(format!("`{key}` is damaged, and goes although held by {pins}"));
                        names.keys.insert(key.clone());
                        names.forced.insert(key);
                        continue;
                    }
                    all = false;
                    let or = format!("; it is damaged, and `gcctl rm --force {key}` removes it all the same");
                    let or = if may_go { or.as_str() } else { "" };
                    console.warn(format!("`{key}` is pinned by {pins}: `gcctl unpin` lets go{or}"));
                }
                Some(key) => drop(names.keys.insert(key)),
                None => {
                    all = false;
                    console.warn(format!("{}; `gcctl ls` lists the keys", id.absent()));
                }
            },
            Err(error) => {
                all = false;
                console.warn(error.to_string());
            }
        }
    }
    if !all {
        console.warn("nothing was removed: of what is named, all goes or none");
    }
    Ok(all.then_some(names))
}

/// The pins that hold an image, in words.
fn pins(store: &Store, image: &Image) -> Result<String> {
    let pins = pins_of(&store.images(), image, Timestamp::now())?;
    // What it refers to, or goes with, may be what is pinned.
    let pins = if pins.is_empty() { "a pin of what needs it".to_owned() } else { pins.join(", ") };
    Ok(pins)
}
