//! What of a folder goes. Touches no disk and reads no clock.

use std::collections::HashMap;

use camino::Utf8Path;
use jiff::Timestamp;

use super::{Folder, Found, Going, Item, Why};
use crate::waiting::Waiting;

/// What goes, in this order: what is unused for longer than `max-age`; then what is unused for
/// longest, until no more than `max-size` is left. For the size no revision goes that a branch or a
/// tag names, and nothing that frees no file: what shares all that it needs goes with the last of
/// those that need the same, or stays. What was used in the future stays.
#[must_use]
pub fn choose(folder: &Folder, found: &Found, now: Timestamp) -> Vec<Going> {
    let mut items: Vec<&Item> = found.items.iter().filter(|it| it.used <= now && !it.is_held).collect();
    items.sort_by(|one, other| (one.used, &one.path).cmp(&(other.used, &other.path)));
    let mut choice = Choice { folder, users: users(found), left: found.bytes, going: Vec::new() };
    let is_old = |item: &Item| {
        folder.max_age.is_some_and(|most| now.duration_since(item.used).unsigned_abs() > most.0)
    };
    let (old, young): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| is_old(item));
    for item in old {
        choice.take(item, Why::MaxAge);
    }
    if let Some(most) = folder.max_size {
        let young: Vec<_> = young.into_iter().filter(|item| item.refs.is_empty()).collect();
        choice.keep_within(most.size.0, &young);
    }
    choice.going
}

/// How many things need each of what several may need.
fn users(found: &Found) -> HashMap<&Utf8Path, usize> {
    let mut users = HashMap::new();
    let of_items = found.items.iter().flat_map(|item| item.blobs.iter().map(|(path, _)| path));
    for path in of_items.chain(&found.held) {
        *users.entry(path.as_path()).or_default() += 1;
    }
    users
}

struct Choice<'a> {
    folder: &'a Folder,
    users: HashMap<&'a Utf8Path, usize>,
    left: u64,
    going: Vec<Going>,
}

impl<'a> Choice<'a> {
    fn keep_within(&mut self, most: u64, items: &[&'a Item]) {
        let mut waiting = Waiting::new();
        for (place, item) in items.iter().enumerate() {
            if self.left <= most {
                return;
            }
            let sized = item.blobs.iter().filter(|(_, bytes)| *bytes > 0);
            let parts = sized.map(|(path, _)| (path.as_path(), 1)).collect();
            let users = &self.users;
            let needed = |part: &&Utf8Path| users.get(*part).copied().unwrap_or(0);
            let going = waiting.turn(place, parts, item.data > 0, needed);
            waiting.went(&going);
            for place in going {
                self.take(items[place], Why::MaxSize);
            }
        }
    }

    fn take(&mut self, item: &'a Item, why: Why) {
        let mut bytes = item.bytes;
        for (path, size) in &item.blobs {
            let Some(users) = self.users.get_mut(path.as_path()) else { continue };
            *users = users.saturating_sub(1);
            if *users == 0 {
                bytes = bytes.saturating_add(*size);
            }
        }
        self.left = self.left.saturating_sub(bytes);
        self.going.push(Going {
            folder: self.folder.path.clone(),
            kind: self.folder.kind,
            path: item.path.clone(),
            used: item.used,
            refs: item.refs.clone(),
            why,
            bytes,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storekit::{Age, ByteSize, WrittenSize};
    use toolkit::tables::ExtraKind;

    fn item(path: &str, hours: i64, bytes: u64, blobs: &[(&str, u64)]) -> Item {
        let used = Timestamp::from_second(1_000_000 - hours * 3600).unwrap();
        let blobs = blobs.iter().map(|(path, bytes)| ((*path).into(), *bytes)).collect();
        let (path, refs, data) = (path.into(), Vec::new(), 0);
        Item { path, used, refs, bytes, data, linked: 0, blobs, is_held: false }
    }

    fn of_size(size: Option<u64>) -> Folder {
        let max_size = size.map(|size| WrittenSize { size: ByteSize(size), bare: false });
        let (path, file) = ("/f".into(), "/larder.toml".into());
        Folder { path, kind: ExtraKind::Hf, max_size, max_age: None, file }
    }

    #[track_caller]
    fn goes(found: &Found, size: Option<u64>, hours: Option<u64>, expected: &[(&str, u64)]) {
        let age = hours.map(|hours| Age(std::time::Duration::from_secs(hours * 3600)));
        let folder = Folder { max_age: age, ..of_size(size) };
        let going = choose(&folder, found, Timestamp::from_second(1_000_000).unwrap());
        assert_eq!(going.iter().map(|it| (it.path.as_str(), it.bytes)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_oldest_go_and_shared_blobs_with_the_last_that_needs_them() {
        let items = vec![
            item("a", 30, 1, &[("x", 10), ("y", 5)]),
            item("b", 20, 1, &[("x", 10)]),
            item("c", 10, 1, &[("z", 7)]),
            item("future", -10, 9, &[]),
        ];
        let found = Found { bytes: 100, items, ..Found::default() };
        goes(&found, None, None, &[]);
        goes(&found, Some(100), None, &[]);
        goes(&found, Some(99), None, &[("a", 6)]);
        goes(&found, Some(93), None, &[("a", 6), ("b", 11)]);
        goes(&found, Some(0), None, &[("a", 6), ("b", 11), ("c", 8)]);
        goes(&found, None, Some(15), &[("a", 6), ("b", 11)]);
        goes(&found, None, Some(30), &[]);
        let held = Found { held: vec!["x".into()], ..found };
        // For the size, what frees no blob stays.
        goes(&held, Some(0), None, &[("a", 6), ("c", 8)]);
        goes(&held, Some(0), Some(15), &[("a", 6), ("b", 1), ("c", 8)]);
    }

    #[test]
    fn for_the_size_those_go_together_that_free_something_together() {
        let named = Item { refs: vec!["main".into()], ..item("main", 5, 1, &[("w", 40)]) };
        let items = vec![
            item("old", 90, 1, &[("w", 40)]),
            item("one", 30, 1, &[("x", 10)]),
            item("two", 20, 1, &[("x", 10), ("w", 40)]),
            item("new", 10, 1, &[("z", 7)]),
            named,
        ];
        let found = Found { bytes: 100, items, ..Found::default() };
        goes(&found, Some(99), None, &[("one", 1), ("two", 11)]);
        goes(&found, Some(80), None, &[("one", 1), ("two", 11), ("new", 8)]);
        goes(&found, Some(0), None, &[("one", 1), ("two", 11), ("new", 8)]);
    }

    #[test]
    fn what_is_held_stays() {
        let held = Item { is_held: true, ..item("a", 30, 1, &[("x", 10)]) };
        let found =
            Found { bytes: 100, items: vec![held, item("b", 20, 1, &[("x", 10)])], ..Found::default() };
        goes(&found, Some(0), None, &[]);
        goes(&found, None, Some(1), &[("b", 1)]);
    }

    #[test]
    fn what_a_ref_names_goes_for_its_age_alone() {
        let file = |path, hours| Item { data: 5, ..item(path, hours, 5, &[]) };
        let named = Item { refs: vec!["main".into()], ..file("a", 30) };
        let found = Found { bytes: 10, items: vec![named, file("b", 20)], ..Found::default() };
        goes(&found, Some(0), None, &[("b", 5)]);
        goes(&found, Some(0), Some(25), &[("a", 5), ("b", 5)]);
    }

    #[test]
    fn for_the_size_nothing_goes_that_frees_nothing() {
        let found = Found { bytes: 10, items: vec![item("linked", 30, 0, &[])], ..Found::default() };
        goes(&found, Some(0), None, &[]);
        goes(&found, None, Some(1), &[("linked", 0)]);
    }

    #[test]
    fn a_tighter_size_takes_a_superset_and_nothing_for_nothing() {
        for seed in 1..200_u32 {
            let mut state = seed;
            let mut below = |bound: u32| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 16) % bound
            };
            let names = ["u", "v", "w", "x", "y"];
            let items: Vec<_> = (0..6_u32)
                .map(|place| {
                    let blobs: Vec<_> =
                        names.into_iter().filter(|_| below(2) == 0).map(|it| (it, 10)).collect();
                    let refs = if below(4) == 0 { vec!["main".to_owned()] } else { Vec::new() };
                    Item { refs, ..item(&place.to_string(), i64::from(below(50)), 1, &blobs) }
                })
                .collect();
            let found = Found { bytes: 56, items, ..Found::default() };
            let mut looser: Vec<Going> = Vec::new();
            for most in (0..56).rev() {
                let going = choose(&of_size(Some(most)), &found, Timestamp::from_second(1_000_000).unwrap());
                assert!(going.starts_with(&looser), "{seed} {most}");
                let stays = |path: &Utf8Path| going.iter().all(|it| it.path != path);
                let is_needed = |blob: &Utf8Path| {
                    let staying = found.items.iter().filter(|item| stays(&item.path));
                    staying.flat_map(|item| &item.blobs).any(|(path, _)| path == blob)
                };
                for it in found.items.iter().filter(|item| !stays(&item.path)) {
                    assert!(it.blobs.iter().any(|(blob, _)| !is_needed(blob)), "{seed} {most} {}", it.path);
                }
                looser = going;
            }
        }
    }
}
