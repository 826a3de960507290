//! `imgtar index`: one key for the images of several platforms.

use std::str::FromStr;

use imgtar::format::oci::Platform;
use imgtar::index::{self, Indexed, Part};
use miette::Result;
use serde::Serialize;
use storekit::{Digest, Key, KeyOrName, Store};
use toolkit::{Outcome, Output};

use crate::cli::NoteArgs;
use crate::cli::run::{Invocation, out};

/// An image that is to be listed, as it is named: `IMAGE` or `IMAGE=PLATFORM`.
#[derive(Clone, Debug)]
pub(crate) struct PartArg {
    image: KeyOrName,
    platform: Option<Platform>,
}

impl FromStr for PartArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (image, platform) = match text.split_once('=') {
            Some((image, platform)) => (image, Some(platform)),
            None => (text, None),
        };
        let said = |error: &dyn std::error::Error| error.to_string();
        let platform = platform.map(str::parse).transpose().map_err(|error| said(&error))?;
        Ok(Self { image: image.parse().map_err(|error| said(&error))?, platform })
    }
}

/// What `index --json` prints.
#[derive(Serialize)]
struct IndexedLine<'a> {
    key: &'a Key,
    /// `false` where the entry that stands was right, or stays.
    saved: bool,
    digest: Digest,
    media_type: &'a str,
    platforms: Vec<String>,
    ids: &'a [Digest],
    names: &'a [String],
}

impl Invocation<'_> {
    pub(crate) fn index(&self, key: &Key, parts: &[PartArg], notes: NoteArgs) -> Result<Outcome> {
        let notes = self.noted(notes)?;
        let mut known = Vec::new();
        for PartArg { image, platform } in parts {
            let Some((_, key)) = self.find(image)? else { return Ok(self.absent(image)) };
            known.push(Part { key, platform: platform.clone() });
        }
        let store = Store::open(&self.root)?;
        let indexed = index::index(&store, key, &known, &notes)?;
        self.view.say(&told(key, &indexed));
        if self.view.common.json {
            let Indexed { saved, entry, platforms, ids, .. } = &indexed;
            out(Output::report().json(&IndexedLine {
                key,
                saved: *saved,
                digest: entry.descriptor.digest,
                media_type: &entry.descriptor.media_type,
                platforms: platforms.iter().map(Platform::to_string).collect(),
                ids,
                names: &entry.names,
            }))?;
        }
        Ok(Outcome::Yes)
    }
}

fn told(key: &Key, indexed: &Indexed) -> String {
    let platforms: Vec<_> = indexed.platforms.iter().map(Platform::to_string).collect();
    let platforms = platforms.join(", ");
    match indexed {
        Indexed { saved: true, .. } => format!("saved {key}: an index for {platforms}"),
        Indexed { is_current: true, .. } => format!("{key} is stored already: an index for {platforms}"),
        _ => format!("{key} is stored already, as something else; it stays (`--force` would replace it)"),
    }
}
