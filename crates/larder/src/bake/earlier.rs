//! By which earlier save a miss is explained: the one whose inputs differ least, of those of the
//! image's name or of one of its tags.
//!
//! Looked for in this machine's store, then in the tiers that are read. One of this project goes
//! before one of which that is not known; one of another project is none at all. An explanation is
//! never worth a failure.

use std::cmp::Reverse;
use std::time::Instant;

use camino::Utf8Path;
use storekit::store::Store;

use super::baker::Baker;
use crate::process::runner::RunError;
use crate::report::changes::{COMPARED, Earlier, Lines, Sought};
use crate::repository::Kin;
use crate::tier::Noted;

/// How many saves of a tier are compared, the newest first: the inputs of each are fetched.
const FETCHED: usize = 8;

/// What has been looked at so far.
struct Nearest<'a> {
    now: Lines<'a>,
    found: Option<((Kin, usize), Earlier)>,
}

impl Nearest<'_> {
    /// Takes it where it is nearer than all before.
    fn offer(&mut self, kin: Kin, earlier: Earlier) {
        let distance = (kin, self.now.difference(&earlier.manifest));
        if self.found.as_ref().is_none_or(|(found, _)| distance < *found) {
            self.found = Some((distance, earlier));
        }
    }
}

impl Baker<'_> {
    /// The earlier save that the image of this key and manifest is compared with. `None` where
    /// there is none, or none to be read.
    ///
    /// # Errors
    /// Only where a signal came.
    pub(super) fn earlier(
        &self,
        sought: &Sought<'_>,
        (key, manifest): (&str, &Utf8Path),
    ) -> Result<Option<Earlier>, RunError> {
        if let Some(against) = self.options.against.clone() {
            let super::Against { key, manifest, tier } = against;
            return Ok(Some(Earlier { key, manifest, tier }));
        }
        let Ok(now) = std::fs::read(manifest) else { return Ok(None) };
        let mut nearest = Nearest { now: Lines::of(&now), found: None };
        self.look_here(sought, &mut nearest);
        if (nearest.found.is_none() && !self.options.no_image_cache) || self.options.thorough {
            self.look_in_tiers(sought, key, &mut nearest)?;
        }
        Ok(nearest.found.map(|(_, earlier)| earlier))
    }

    fn look_here(&self, sought: &Sought<'_>, nearest: &mut Nearest<'_>) {
        let Some(store) = self.options.store.as_deref().and_then(|store| Store::open(store).ok()) else {
            return;
        };
        let saves = sought.saves(&store);
        let origins: Vec<_> = saves.iter().map(|save| &save.entry.origin).collect();
        let mut saves: Vec<_> = self.repository.kin(&origins).into_iter().zip(&saves).collect();
        saves.retain(|(kin, _)| *kin != Kin::Foreign);
        // The newest of each stays the first.
        saves.sort_by_key(|(kin, _)| *kin);
        // A key without a manifest was saved by hand.
        let read = saves.into_iter().filter_map(|(kin, save)| {
            let manifest = store.images().inputs(&save.key).ok()??;
            Some((kin, Earlier { key: save.key.to_string(), manifest, tier: None }))
        });
        read.take(COMPARED).for_each(|(kin, earlier)| nearest.offer(kin, earlier));
    }

    fn look_in_tiers(
        &self,
        sought: &Sought<'_>,
        key: &str,
        nearest: &mut Nearest<'_>,
    ) -> Result<(), RunError> {
        let Some(supply) = &self.supply else { return Ok(()) };
        for at in supply.tiers.read() {
            let noted = supply.tiers.noted(*at)?;
            let is_meant = |one: &&Noted| one.key != key && sought.is_of(&one.origin, &one.names);
            let saves: Vec<_> = noted.iter().filter(is_meant).collect();
            let origins: Vec<_> = saves.iter().map(|one| &one.origin).collect();
            let mut saves: Vec<_> = self.repository.kin(&origins).into_iter().zip(saves).collect();
            saves.retain(|(kin, _)| *kin != Kin::Foreign);
            saves.sort_by_key(|(kin, one)| (*kin, Reverse(one.saved)));
            let end = Instant::now() + supply.tiers.limit(*at);
            for (kin, one) in saves.into_iter().take(FETCHED) {
                let Some(manifest) = supply.tiers.inputs(*at, &one.key)? else { continue };
                let tier = Some(supply.tiers.name(*at).to_owned());
                nearest.offer(kin, Earlier { key: one.key.clone(), manifest, tier });
                if Instant::now() >= end {
                    break;
                }
            }
            if nearest.found.is_some() && !self.options.thorough {
                break;
            }
        }
        Ok(())
    }
}
