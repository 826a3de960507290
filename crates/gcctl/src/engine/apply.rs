//! Removes what a plan names, if it still is what it was.

use std::sync::atomic::{AtomicBool, Ordering};

use super::file::Plan;
use super::{Engine, Item, What};
use crate::error::{Error, Result};

/// What became of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Became {
    /// It is gone.
    Removed,
    /// It was gone already.
    Gone,
    /// It stays; why.
    Kept(String),
}

/// Removes the plan's items, containers first, until `stop`; tells of each when it is done.
///
/// # Errors
/// An engine that does not answer, or is another one than the plan's. What it refuses to remove
/// stays.
pub fn apply(
    engine: &Engine,
    plan: &Plan,
    stop: &AtomicBool,
    mut tell: impl FnMut(&Item, &Became) -> Result<()>,
) -> Result<()> {
    let place = engine.place()?;
    if place != plan.place {
        return Err(Error::OtherEngine { engine: engine.kind.name(), place, planned: plan.place.clone() });
    }
    let mut items: Vec<_> = plan.items.iter().collect();
    items.sort_by_key(|item| item.what);
    let (containers, others): (Vec<&Item>, Vec<&Item>) =
        items.into_iter().partition(|item| item.what == What::Container);
    // What a container that goes has held may go then.
    for some in [containers, others] {
        if some.is_empty() {
            continue;
        }
        let now = engine.items()?;
        for planned in some {
            if stop.load(Ordering::SeqCst) {
                return Ok(());
            }
            let became = match judge(planned, &now) {
                Verdict::Gone => Became::Gone,
                Verdict::Keep(why) => Became::Kept(why.to_owned()),
                Verdict::Remove => match engine.remove(planned) {
                    Ok(()) => Became::Removed,
                    Err(Error::Engine { said, .. }) => Became::Kept(said),
                    Err(error) => return Err(error),
                },
            };
            tell(planned, &became)?;
        }
    }
    Ok(())
}

/// What is to become of an item.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Gone,
    Keep(&'static str),
    Remove,
}

fn judge(planned: &Item, now: &[Item]) -> Verdict {
    let Some(item) = now.iter().find(|item| item.what == planned.what && item.id == planned.id) else {
        return Verdict::Gone;
    };
    if item.in_use {
        return Verdict::Keep("it is in use by now");
    }
    if item.what != What::Build && item.names != planned.names {
        return Verdict::Keep("its names have changed");
    }
    match (item.since, planned.since) {
        (Some(now), Some(then)) if now > then => Verdict::Keep("it was used meanwhile"),
        _ => Verdict::Remove,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    #[test]
    fn only_what_is_as_it_was_is_removed() {
        let planned = Item {
            what: What::Image,
            id: "sha256:aa".to_owned(),
            names: vec!["app:1".to_owned()],
            own: 1,
            since: Timestamp::from_second(5).ok(),
            in_use: false,
        };
        let judged = |change: fn(&mut Item)| {
            let mut item = planned.clone();
            change(&mut item);
            judge(&planned, &[item])
        };
        assert_eq!(judged(|_| {}), Verdict::Remove);
        assert_eq!(judged(|item| item.own = 9), Verdict::Remove);
        assert_eq!(judged(|item| item.in_use = true), Verdict::Keep("it is in use by now"));
        assert_eq!(judged(|item| item.names.clear()), Verdict::Keep("its names have changed"));
        assert_eq!(judged(|item| item.names.push("b:1".to_owned())), Verdict::Keep("its names have changed"));
        assert_eq!(
            judged(|item| item.since = Timestamp::from_second(6).ok()),
            Verdict::Keep("it was used meanwhile")
        );
        assert_eq!(judged(|item| item.id.push('b')), Verdict::Gone);
        assert_eq!(judged(|item| item.what = What::Build), Verdict::Gone);
        assert_eq!(judge(&planned, &[]), Verdict::Gone);
    }
}
