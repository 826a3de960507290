//! The file index.json: what another tool wrote into it, and how ours are written.
//!
//! However many keys there are, it can be read: what ours may take in it is counted by the key
//! files. Where nothing in it was another tool's when we wrote it, and it is that file still, it is
//! not read at all; `.indexed` in the store tells.
//!
//! Limit: a tool that changes the file in place in the very tick of the clock in which we wrote it,
//! and leaves it as long as before, is not seen.

use std::fmt;
use std::io::{self, BufWriter, Write};

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{At, Error, Result};
use crate::files::replace::{self, Durability, Staged};
use crate::files::state::FileState;
use crate::images::Images;
use crate::images::listing::Listed;
use crate::oci::{self, DOCUMENT_CAP, Descriptor};

/// Derived and local: it may go at any time.
const INDEXED: &str = ".indexed";
/// What a descriptor of ours takes besides its media type and its digest, at most.
const FRAME: u64 = 2 << 10;

/// What stands under the name index.json.
pub(crate) enum Found {
    /// An index with these descriptors of other tools.
    Index(Vec<Descriptor>),
    None,
    Unreadable,
}

impl Images {
    /// Reads index.json for what is another tool's.
    pub(crate) fn read_index(&self) -> Result<Found> {
        let path = self.index_path();
        let length = match std::fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::None),
            metadata => metadata.at("read", &path)?,
        };
        if self.indexed().is_some_and(|written| written.is_still(&FileState::seen(&length))) {
            return Ok(Found::Index(Vec::new()));
        }
        let cap = if length.len() > DOCUMENT_CAP { self.index_cap()? } else { DOCUMENT_CAP };
        let bytes = match replace::read_capped(&path, cap) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::FileTooLarge => {
                return Ok(Found::Unreadable);
            }
            bytes => bytes?,
        };
        let Some(bytes) = bytes else { return Ok(Found::None) };
        let read: Result<Strangers, _> = serde_json::from_slice(&bytes);
        Ok(read.map_or(Found::Unreadable, |read| Found::Index(read.manifests)))
    }

    /// The length of the largest plausible index.json: what is another tool's is capped
    /// like any document, what is ours is as much as the key files ask for.
    fn index_cap(&self) -> Result<u64> {
        let mut cap = DOCUMENT_CAP;
        for key in self.keys()? {
            let length = std::fs::metadata(self.key_path(&key)).map_or(0, |metadata| metadata.len());
            cap += length + FRAME;
        }
        Ok(cap)
    }

    /// Writes index.json: ours, and what is another tool's still.
    pub(crate) fn write_index(&self, ours: &[Listed], foreign: &[Descriptor]) -> Result<()> {
        let path = self.index_path();
        let index = Written { schema_version: 2, media_type: oci::INDEX, manifests: Both { ours, foreign } };
        let mut staged = Staged::new(&self.folder())?;
        let mut to = BufWriter::with_capacity(64 << 10, staged.file());
        serde_json::to_writer_pretty(&mut to, &index).map_err(io::Error::from).at("write", &path)?;
        to.flush().at("write", &path)?;
        drop(to);
        let unnamed = staged.file().metadata().at("read", &path)?;
        let named = staged.publish(&path, Durability::Synced)?.metadata().at("read", &path)?;
        // Its name changes one of its times; any other change is another tool's.
        let is_ours = unnamed.len() == named.len() && unnamed.modified().ok() == named.modified().ok();
        let noted = FileState::written(&named).to_text().filter(|_| is_ours && foreign.is_empty());
        let noted = noted.unwrap_or_default();
        // Without the note, index.json is read.
        let _ = replace::replace(&self.store().root().join(INDEXED), noted.as_bytes(), Durability::Unsynced);
        Ok(())
    }

    /// The state of the index.json that we wrote last, if nothing in it was another tool's.
    fn indexed(&self) -> Option<FileState> {
        let bytes = replace::read_capped(&self.store().root().join(INDEXED), 256).ok()??;
        FileState::parse(&String::from_utf8(bytes).ok()?)
    }
}

/// An index as it is read: without what is ours.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Strangers {
    #[expect(dead_code, reason = "a text without it is not an index")]
    schema_version: u32,
    #[serde(default, deserialize_with = "strangers")]
    manifests: Vec<Descriptor>,
}

/// Keeps what is another tool's; of ours, there may be too many for memory. `null` is an empty
/// list.
fn strangers<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Vec<Descriptor>, D::Error> {
    struct Sorted;

    impl<'de> Visitor<'de> for Sorted {
        type Value = Vec<Descriptor>;

        fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str("descriptors")
        }

        fn visit_unit<E: serde::de::Error>(self) -> std::result::Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> std::result::Result<Self::Value, A::Error> {
            let mut strangers = Vec::new();
            while let Some(descriptor) = from.next_element::<Descriptor>()? {
                if !descriptor.annotations.contains_key(oci::KEY_ANNOTATION) {
                    strangers.push(descriptor);
                }
            }
            Ok(strangers)
        }
    }

    from.deserialize_any(Sorted)
}

/// An index as it is written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    schema_version: u32,
    media_type: &'static str,
    manifests: Both<'a>,
}

struct Both<'a> {
    ours: &'a [Listed],
    foreign: &'a [Descriptor],
}

impl Serialize for Both<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        use std::borrow::Cow;
        let ours = self.ours.iter().map(|listed| Cow::Owned(listed.entry.listed(&listed.key)));
        to.collect_seq(ours.chain(self.foreign.iter().map(Cow::Borrowed)))
    }
}
