//! Another place where images stand under their keys: what may go there.
//!
//! `imgtar ls --tier PLACE --json` lists it, the planner that is the store's own chooses, and
//! `imgtar rm --tier PLACE --plan FILE` removes what the plan names. Touches no network.

pub mod command;
pub mod limits;
pub mod listing;
mod refs;

use std::collections::HashSet;

use camino::{Utf8Path, Utf8PathBuf};

use crate::error::Result;
use crate::plan::{self, Plan};
use crate::tier::limits::TierLimits;
use crate::tier::listing::Listing;

/// A plan for a place has this, and the place behind it, where another has the folder of its store,
/// so that it is never carried out on a store, nor on another place.
const PLACE: &str = "tier:";

/// Chooses what goes of a place. `folder` lies in the repository whose branches count, where any
/// do.
///
/// # Errors
/// Branches that count and cannot be read.
pub fn decide(listing: &Listing, limits: &TierLimits, folder: &Utf8Path) -> Result<Plan> {
    let mut snapshot = listing.snapshot.clone();
    let used = match limits.keep_refs {
        Some(last) => refs::used(&snapshot.images, last, folder)?,
        None => HashSet::new(),
    };
    for (place, image) in snapshot.images.iter_mut().enumerate() {
        image.pinned = used.contains(&place) || limits.keeps(image);
    }
    // A place has no trash, and nothing of it is known that nothing needs.
    let plan = plan::decide(&snapshot, &limits.limits);
    Ok(Plan { store: Some(Utf8PathBuf::from(format!("{PLACE}{}", listing.place))), ..plan })
}
