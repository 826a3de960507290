//! What of a build is locked: the images and addresses of other people that nothing else pins.

use crate::bake::order::pieces::{Planned, Remote};
use crate::config::names;

/// The images of other people that a build names by tags.
pub(super) fn open(planned: &Planned) -> Vec<String> {
    let Some(build) = planned.image.as_build() else { return Vec::new() };
    if planned.foreign || !planned.image.lock {
        return Vec::new();
    }
    let given = |name: &String| build.base.keys().any(|given| names::full(given) == names::full(name));
    let is_open = |name: &&String| names::is_name(name) && !given(name) && !planned.bases.contains_key(*name);
    let uses = planned.uses.iter().flatten().chain(&planned.frontend);
    uses.filter(is_open).cloned().collect()
}

/// The images of other people that are named contexts of a build, without a digest.
pub(super) fn contexts(planned: &Planned) -> impl Iterator<Item = (&String, &String)> {
    planned.contexts.iter().filter(|(_, name)| planned.image.lock && names::is_name(name))
}

/// All images of other people that are locked.
pub(super) fn named(planned: &Planned) -> Vec<String> {
    open(planned).into_iter().chain(contexts(planned).map(|(_, name)| name.clone())).collect()
}

/// What a build fetches that its address does not pin.
pub(super) fn remotes(planned: &Planned) -> impl Iterator<Item = &Remote> {
    planned.remotes.iter().filter(|_| planned.image.lock)
}
