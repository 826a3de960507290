//! The keys of the tables of larder.toml that one tool reads and another has to know: larder
//! refuses what the tool itself would refuse, when a file is read.
//!
//! Names alone: what a value means is the tool's to say. A test holds the lists against the tools.

/// The keys of `[gcctl]`; a table in it is a tier's.
pub const GCCTL: &[&str] = &[
    "max-images",
    "max-disks",
    "max-per-image",
    "keep-last",
    "max-size",
    "max-age",
    "min-free",
    "trash-grace",
    "after-bake",
];

/// The keys of `[gcctl.NAME]`: what a tier may hold.
pub const GCCTL_TIER: &[&str] =
    &["max-images", "max-per-image", "keep-last", "max-size", "max-age", "keep", "keep-refs"];

/// The keys of `[pkgcache]`.
pub const PKGCACHE: &[&str] = &[
    "listen",
    "upstream",
    "registry",
    "allow",
    "tunnel",
    "allow-private",
    "parent",
    "offline",
    "heuristic-freshness",
    "keep-cookies",
    "ttl",
    "index-ttl",
    "stale-window",
    "allow-remote",
    "clients",
    "token-file",
    "max-object",
    "max-connections",
    "head-time",
    "idle-time",
    "answer-time",
    "drain-time",
    "access-log",
    "keep-events",
    "max-size",
    "max-age",
];

/// A key of `[pkgcache]` that is agreed on and that it does not read yet: pkgcache refuses it
/// itself.
pub const PKGCACHE_TO_COME: &[&str] = &["models-max-age"];
