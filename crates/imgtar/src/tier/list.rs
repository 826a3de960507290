//! What stands in a place.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use storekit::{Digest, Key, Origin};

use crate::error::Result;
use crate::parallel;
use crate::registry::Purpose;
use crate::tier::config::Config;
use crate::tier::kind::{Tier, Told};
use crate::tier::open::open;
use crate::tier::place::Place;

/// An entry of a place, as `ls --tier --json` prints it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub struct Row {
    /// The place.
    pub tier: String,
    /// The key that the image stands under.
    pub key: Key,
    /// The digest of its manifest or index; `null` where the key file cannot be read.
    pub digest: Option<Digest>,
    /// The names that are noted with it.
    pub names: Vec<String>,
    /// When it was saved, where that is noted.
    pub saved: Option<Timestamp>,
    /// The bytes of its blobs, every blob once. Those that other keys share are counted here too.
    pub size: u64,
    /// How long its build took.
    pub build_seconds: Option<f64>,
    /// Where it came from: `image`, `host`, `commit` and `project`, as far as they are noted.
    #[serde(flatten)]
    pub origin: Origin,
    /// Its blobs, documents included.
    pub blobs: Vec<BlobRow>,
    /// What is wrong with it, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What is noted with an entry, as `ls --tier --brief --json` prints it. Nothing that plans what
/// goes takes it for a [`Row`]: it has no blobs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub struct NotedRow {
    /// The key that the image stands under.
    pub key: Key,
    /// The names that are noted with it.
    pub names: Vec<String>,
    /// When it was saved, where that is noted.
    pub saved: Option<Timestamp>,
    /// How long its build took.
    pub build_seconds: Option<f64>,
    /// Where it came from.
    #[serde(flatten)]
    pub origin: Origin,
    /// What is wrong with it, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A blob of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BlobRow {
    /// The blob's digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}

/// All entries of a place, sorted by key. One that cannot be understood is listed with what is
/// wrong.
///
/// # Errors
/// A place that does not answer, or says no; a list without an end.
pub fn list(config: &Config, place: &Place) -> Result<Vec<Row>> {
    let tier = open(config, place, Purpose::Pull)?;
    let keys = tier.keys()?;
    let rows = parallel::map_with(config.registries.parallel, &keys, |key| row(&*tier, place, key))?;
    Ok(rows.into_iter().flatten().collect())
}

/// As [`list`], with what is noted alone: neither sizes nor blobs, which need more requests.
///
/// # Errors
/// As [`list`].
pub fn noted(config: &Config, place: &Place) -> Result<Vec<NotedRow>> {
    let tier = open(config, place, Purpose::Pull)?;
    let keys = tier.keys()?;
    let rows = parallel::map_with(config.registries.parallel, &keys, |key| noted_row(&*tier, key))?;
    Ok(rows.into_iter().flatten().collect())
}

/// `None` where the key is gone meanwhile.
fn noted_row(tier: &dyn Tier, key: &Key) -> Result<Option<NotedRow>> {
    let empty = NotedRow {
        key: key.clone(),
        names: Vec::new(),
        saved: None,
        build_seconds: None,
        origin: Origin::default(),
        problem: None,
    };
    match tier.entry(key) {
        Ok(None) => Ok(None),
        Ok(Some(Told { entry, is_noted, .. })) => Ok(Some(NotedRow {
            names: entry.names,
            saved: is_noted.then_some(entry.saved),
            build_seconds: entry.build_seconds,
            origin: entry.origin,
            ..empty
        })),
        Err(error) if error.is_about_content() => {
            Ok(Some(NotedRow { problem: Some(error.to_string()), ..empty }))
        }
        Err(error) => Err(error),
    }
}

/// `None` where the key is gone meanwhile.
fn row(tier: &dyn Tier, place: &Place, key: &Key) -> Result<Option<Row>> {
    let empty = Row {
        tier: place.to_string(),
        key: key.clone(),
        digest: None,
        names: Vec::new(),
        saved: None,
        size: 0,
        build_seconds: None,
        origin: Origin::default(),
        blobs: Vec::new(),
        problem: None,
    };
    let told = match tier.entry(key) {
        Ok(None) => return Ok(None),
        Ok(Some(told)) => told,
        Err(error) if error.is_about_content() => {
            return Ok(Some(Row { problem: Some(error.to_string()), ..empty }));
        }
        Err(error) => return Err(error),
    };
    let row = with_notes(empty, &told);
    match tier.reach(key, &told) {
        Ok(reach) => Ok(Some(with_blobs(row, &reach.blobs))),
        Err(error) if error.is_about_content() => Ok(Some(Row { problem: Some(error.to_string()), ..row })),
        Err(error) => Err(error),
    }
}

fn with_notes(row: Row, told: &Told) -> Row {
    let entry = &told.entry;
    Row {
        digest: Some(entry.descriptor.digest),
        names: entry.names.clone(),
        saved: told.is_noted.then_some(entry.saved),
        build_seconds: entry.build_seconds,
        origin: entry.origin.clone(),
        ..row
    }
}

fn with_blobs(row: Row, blobs: &BTreeMap<Digest, u64>) -> Row {
    let size = blobs.values().fold(0, |sum: u64, size| sum.saturating_add(*size));
    Row {
        size,
        blobs: blobs.iter().map(|(digest, size)| BlobRow { digest: *digest, size: *size }).collect(),
        ..row
    }
}
