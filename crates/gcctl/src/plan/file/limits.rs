//! Limits as plans have them: in plain numbers, bytes and seconds.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use storekit::{Age, ByteSize, WrittenSize};
use toolkit::amount::{Amount, Setting};
use toolkit::tables::{Kind, Order, Selector};

use crate::limits::{Limits, Scoped};

/// Limits in plain numbers: bytes and seconds.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of the format")]
pub(super) struct WrittenLimits {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_images: Option<u64>,
    /// Since version 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_disks: Option<u64>,
    /// Since version 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_per_image: Option<u64>,
    /// Since version 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_last: Option<u64>,
    /// Since version 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    packages_max_size: Option<u64>,
    /// Since version 3.
    #[serde(skip_serializing_if = "is_false")]
    packages_max_size_has_no_unit: bool,
    /// Since version 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    packages_max_age: Option<u64>,
    /// Since version 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    models_max_age: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_size: Option<u64>,
    /// Since version 2.
    #[serde(skip_serializing_if = "is_false")]
    max_size_has_no_unit: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_free: Option<u64>,
    /// Since version 2.
    #[serde(skip_serializing_if = "is_false")]
    min_free_has_no_unit: bool,
    /// Since version 4.
    #[serde(skip_serializing_if = "is_false")]
    min_free_by_default: bool,
    /// Since version 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    high: Option<u64>,
    /// Since version 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    low: Option<u64>,
    /// Since version 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    reserved: Option<u64>,
    /// Since version 4.
    #[serde(skip_serializing_if = "is_lru")]
    order: Order,
    /// Since version 4.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    limit: Vec<WrittenScoped>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trash_grace: Option<u64>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    once: BTreeSet<String>,
}

/// A limit of some things.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct WrittenScoped {
    kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ecosystem: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_size: Option<u64>,
    #[serde(default, skip_serializing_if = "is_false")]
    max_size_has_no_unit: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_age: Option<u64>,
    #[serde(default, skip_serializing_if = "is_false")]
    any_age: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_entries: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keep_last: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_lru(order: &Order) -> bool {
    *order == Order::Lru
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl From<&Limits> for WrittenLimits {
    fn from(limits: &Limits) -> Self {
        let bytes = |limit: Option<Amount>| limit.map(|limit| limit.of(0));
        let has_no_unit = |limit: Option<WrittenSize>| limit.is_some_and(|limit| limit.bare);
        Self {
            max_images: limits.max_images,
            max_disks: limits.max_disks,
            max_per_image: limits.max_per_image,
            keep_last: limits.keep_last,
            packages_max_size: limits.packages_max_size.map(|limit| limit.size.0),
            packages_max_size_has_no_unit: has_no_unit(limits.packages_max_size),
            packages_max_age: limits.packages_max_age.map(|age| age.0.as_secs()),
            models_max_age: limits.models_max_age.map(|age| age.0.as_secs()),
            max_size: limits.max_size.map(|limit| limit.size.0),
            max_size_has_no_unit: has_no_unit(limits.max_size),
            max_age: limits.max_age.map(|age| age.0.as_secs()),
            min_free: bytes(limits.min_free),
            min_free_has_no_unit: has_no_unit(limits.min_free.and_then(Amount::written)),
            min_free_by_default: limits.min_free_by_default,
            high: bytes(limits.high),
            low: bytes(limits.low),
            reserved: bytes(limits.reserved),
            order: limits.order,
            limit: limits.scoped.iter().map(WrittenScoped::from).collect(),
            trash_grace: limits.trash_grace.map(|age| age.0.as_secs()),
            once: limits.once.clone(),
        }
    }
}

impl From<&Scoped> for WrittenScoped {
    fn from(limit: &Scoped) -> Self {
        Self {
            kind: limit.of.kind,
            ecosystem: limit.of.ecosystem.clone(),
            name: limit.of.name.clone(),
            max_size: limit.max_size.map(|size| size.size.0),
            max_size_has_no_unit: limit.max_size.is_some_and(|size| size.bare),
            max_age: limit.max_age.and_then(Setting::value).map(|age| age.0.as_secs()),
            any_age: limit.max_age == Some(Setting::Off),
            max_entries: limit.max_entries,
            keep_last: limit.keep_last,
        }
    }
}

impl From<WrittenScoped> for Scoped {
    fn from(written: WrittenScoped) -> Self {
        let WrittenScoped { kind, ecosystem, name, max_size, max_entries, keep_last, .. } = written;
        let age = |seconds| Setting::Is(Age(std::time::Duration::from_secs(seconds)));
        let bare = written.max_size_has_no_unit;
        Self {
            of: Selector { kind, ecosystem, name },
            max_size: max_size.map(|bytes| WrittenSize { size: ByteSize(bytes), bare }),
            max_age: written.max_age.map(age).or(written.any_age.then_some(Setting::Off)),
            max_entries,
            keep_last,
        }
    }
}

impl From<WrittenLimits> for Limits {
    fn from(written: WrittenLimits) -> Self {
        let age = |seconds| Age(std::time::Duration::from_secs(seconds));
        let size = |bytes: Option<u64>, bare| bytes.map(|bytes| WrittenSize { size: ByteSize(bytes), bare });
        Self {
            max_images: written.max_images,
            max_disks: written.max_disks,
            max_per_image: written.max_per_image,
            keep_last: written.keep_last,
            packages_max_size: size(written.packages_max_size, written.packages_max_size_has_no_unit),
            packages_max_age: written.packages_max_age.map(age),
            models_max_age: written.models_max_age.map(age),
            max_size: size(written.max_size, written.max_size_has_no_unit),
            max_age: written.max_age.map(age),
            min_free: size(written.min_free, written.min_free_has_no_unit).map(Amount::Bytes),
            min_free_by_default: written.min_free_by_default,
            high: size(written.high, false).map(Amount::Bytes),
            low: size(written.low, false).map(Amount::Bytes),
            reserved: size(written.reserved, false).map(Amount::Bytes),
            order: written.order,
            scoped: written.limit.into_iter().map(Scoped::from).collect(),
            trash_grace: written.trash_grace.map(age),
            once: written.once,
        }
    }
}
