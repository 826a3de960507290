//! What is known of indexes beside what is stored of them: tables that were read, pages that were
//! written anew, repositories. All of it can be worked out again.

pub(crate) mod contents;
pub(crate) mod given;
pub(crate) mod grants;
pub(crate) mod releases;
pub(crate) mod rendered;
pub(crate) mod repomds;
pub(crate) mod repositories;
pub(crate) mod sumdbs;
pub(crate) mod tables;
pub(crate) mod turns;

use std::sync::atomic::{AtomicU64, Ordering};

/// What is known of indexes.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Grows whenever an index that was not known before is read.
    epoch: AtomicU64,
    /// What indexes say of files.
    pub(crate) tables: tables::Tables,
    /// Versions that indexes name.
    pub(crate) releases: releases::Known,
    /// Indexes as clients get them.
    pub(crate) rendered: rendered::Rendered,
    /// Debian repositories.
    pub(crate) apt: repositories::Repositories,
    /// Indexes of RPM repositories.
    pub(crate) dnf: repomds::Repomds,
    /// Trees of Go's checksum databases.
    pub(crate) sumdbs: sumdbs::Sumdbs,
    /// Files that are known by what they have in them.
    pub(crate) contents: contents::LookedAt,
    /// Which generation of an index each client has.
    pub(crate) given: given::Given,
    /// What clients of Git LFS may have.
    pub(crate) grants: grants::Grants,
    /// Questions that one asks for all.
    pub(crate) turns: turns::Turns,
}

impl Index {
    /// A number that is another when what indexes say may be another.
    #[must_use]
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Another index is known from now on.
    pub(crate) fn changed(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }
}
