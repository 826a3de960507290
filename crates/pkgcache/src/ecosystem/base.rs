//! Where a client finds this cache: what indexes that are written anew lead to.

use http::Uri;

/// The addresses on both sides of a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    /// Where the client reaches this cache: `http://HOST:PORT`, without a `/` at its end.
    pub(crate) here: String,
    /// The path of the mount: `/NAME`, or nothing at the root.
    pub(crate) mount: String,
    /// The upstream's own URL, as it is mounted.
    pub(crate) upstream: Uri,
    /// Whether links to files stay the upstream's: the client leads them here by itself.
    pub(crate) keeps_links: bool,
}
