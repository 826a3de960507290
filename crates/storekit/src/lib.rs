//! The store on disk: whatever more than one larder tool touches there. FORMAT.md gives every file in it.
//!
//! Deliberately absent: engines, registries, networks, archives, terminals, command lines.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests write what they like"))]

pub mod blobs;
pub mod digest;
pub mod entry;
pub mod error;
pub mod events;
pub mod images;
mod index;
mod index_file;
pub mod key;
pub mod lfs;
mod listing;
pub mod lock;
pub mod oci;
pub mod packages;
pub mod packages_entry;
mod pins;
pub mod platform;
mod printable;
pub mod reach;
pub mod referrers;
pub mod replace;
pub mod size;
pub mod store;
pub mod trash;

pub use blobs::{BlobWriter, Blobs, Discarded, Lease, VerifiedReader};
pub use digest::{Digest, Hasher};
pub use entry::Entry;
pub use error::{At, Error, Result};
pub use events::{Event, Events, Kind};
pub use images::{Committed, Images, Overwrite};
pub use key::Key;
pub use listing::Listed;
pub use oci::Descriptor;
pub use packages::{BodyWriter, FoundPackage, Packages};
pub use packages_entry::{PackageEntry, PackageKey, Part, StoredResponse};
pub use platform::{NotAPlatform, Platform};
pub use printable::{printable, printable_lines};
pub use reach::{Reach, Walker};
pub use referrers::Referrers;
pub use size::{Age, ByteSize, WrittenSize};
pub use store::Store;
pub use trash::{Batch, Trash};
