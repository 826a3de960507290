//! The store on disk: whatever more than one larder tool touches there. FORMAT.md gives every file
//! in it.
//!
//! Deliberately absent: engines, registries, networks, archives, terminals, command lines.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests write what they like"))]

pub mod blobs;
pub mod checksum;
pub mod clock;
pub mod digest;
pub mod error;
pub mod events;
pub mod files;
pub mod image_name;
pub mod images;
pub mod key;
pub mod oci;
pub mod packages;
pub mod platform;
mod printable;
pub mod reference;
pub mod size;
pub mod store;
pub mod trash;

pub use crate::images::entry::Entry;
pub use crate::images::fetched::{Fetched, Given, Unread};
pub use crate::images::listing::{Damaged, Listed, Standing};
pub use crate::images::lookup::KeyOrName;
pub use crate::images::origin::{Origin, Remark};
pub use crate::images::pins::{Pin, Pins};
pub use crate::images::reach::{Reach, Walker};
pub use crate::images::referrers::Referrers;
pub use crate::packages::entry::{Level, PackageEntry, PackageKey, Part, StoredResponse};
pub use blobs::{BlobWriter, Blobs, Discarded, Lease, VerifiedReader};
pub use checksum::{Checksum, ChecksumHasher};
pub use digest::{Digest, Hasher};
pub use error::{At, Error, Result};
pub use events::{Event, Events, Kind};
pub use images::{Beside, Committed, Images, NotBack, Overwrite};
pub use key::Key;
pub use oci::Descriptor;
pub use packages::{BodyWriter, FoundPackage, Kept, NeededBodies, Notes, Noting, PackageId, Packages};
pub use platform::{NotAPlatform, Platform};
pub use printable::{printable, printable_lines};
pub use reference::{NotAReference, Reference};
pub use size::{Age, ByteSize, WrittenSize};
pub use store::Store;
pub use trash::{Batch, Trash};
