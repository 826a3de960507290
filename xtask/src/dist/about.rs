//! What every package says of the release.

/// What every package says of itself.
pub(super) struct About {
    /// As in Cargo.toml.
    pub(super) version: &'static str,
    /// Of the programs, as Rust names it: `x86_64`.
    pub(super) arch: &'static str,
    /// What the programs need.
    pub(super) libc: Libc,
    /// The time of every file, in seconds of the epoch.
    pub(super) time: u64,
}

/// A line for people.
pub(super) const SUMMARY: &str = "Tools that keep container builds from doing the same work twice";
/// Where it comes from.
pub(super) const HOME: &str = "https://github.com/larder-tools/larder";

/// Which C library the programs are built for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Libc {
    /// glibc of this version or any later one: `2.17`.
    Glibc(String),
    /// This machine's.
    Native,
}
