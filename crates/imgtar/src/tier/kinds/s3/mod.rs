//! A bucket of an object store as a place: an OCI image layout with key files beside it, in the
//! same paths as in a store.
//!
//! - `client`: one object. `list`: many. `upload`: a blob.
//! - `tier`: what stands under keys. `push`: an image into it. `sweep`: what nothing needs goes.
//!
//! Correctness rests on no conditional write, since not every server knows them: blobs have the
//! names of their bytes, and a key file is one object, written whole and last.
//!
//! Deliberately absent: how a bucket's address is written (`toolkit::bucket`); index.json, which
//! two pushes at once would overwrite for each other; other sources of credentials than those that
//! are handed in; styles of addresses other than the path's.
//!
//! Source: FORMAT.md, "Places"; Amazon S3's API reference.

pub(crate) mod client;
pub(crate) mod list;
pub(crate) mod push;
pub(crate) mod sweep;
pub(crate) mod tier;
pub(crate) mod upload;
