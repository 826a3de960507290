//! Which image is meant by a key, a name, or the beginning of a key.

use std::fs;

use jiff::Timestamp;
use storekit::images::lookup::By;
use storekit::{Entry, Error, KeyOrName, Origin, Overwrite};

use crate::{Scratch, add_foreign, entry, image, key};

const ONE: &str = "3f2a000000000000000000000000000000000000000000000000000000000001";
const TWO: &str = "3f2a000000000000000000000000000000000000000000000000000000000002";
const OTHER: &str = "cafe000000000000000000000000000000000000000000000000000000000003";

/// Saves an image in the given second, with names and its name in larder.toml.
fn save(scratch: &Scratch, name: &str, second: i64, names: &[&str], called: Option<&str>) {
    let (descriptor, leases) = image(&scratch.store, name.as_bytes());
    let origin = Origin { image: called.map(|image| image.parse().unwrap()), ..Origin::default() };
    let entry = Entry {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        saved: Timestamp::from_second(second).unwrap(),
        origin,
        ..entry(descriptor)
    };
    scratch.store.images().commit(&key(name), &entry, None, &leases, Overwrite::Yes).unwrap();
}

fn lookup(scratch: &Scratch, text: &str) -> Result<Option<(String, By)>, Error> {
    let found = scratch.store.images().lookup(&text.parse::<KeyOrName>().unwrap())?;
    Ok(found.map(|found| (found.key.to_string(), found.by)))
}

#[track_caller]
fn means(scratch: &Scratch, text: &str, key: &str, by: By) {
    assert_eq!(lookup(scratch, text).unwrap(), Some((key.to_owned(), by)), "{text}");
}

#[track_caller]
fn means_nothing(scratch: &Scratch, text: &str) {
    assert_eq!(lookup(scratch, text).unwrap(), None, "{text}");
}

#[test]
fn a_key_goes_before_a_name_and_a_name_before_the_beginning_of_a_key() {
    let scratch = Scratch::new();
    save(&scratch, OTHER, 1, &["app:1"], None);
    means(&scratch, "cafe", OTHER, By::Beginning);
    save(&scratch, ONE, 2, &[], Some("cafe"));
    means(&scratch, "cafe", ONE, By::Image);
    save(&scratch, TWO, 3, &["cafe:latest"], None);
    means(&scratch, "cafe", TWO, By::Name);
    save(&scratch, "cafe", 4, &[], None);
    means(&scratch, "cafe", "cafe", By::Key);
    means(&scratch, "cafe0", OTHER, By::Beginning);
    means(&scratch, OTHER, OTHER, By::Key);
}

#[test]
fn a_name_is_found_in_whichever_form_it_is_written() {
    let scratch = Scratch::new();
    save(&scratch, ONE, 10, &["app:latest", "r.example:5000/team/app:1"], None);
    save(&scratch, TWO, 5, &["localhost/app:latest"], Some("tool"));
    save(&scratch, OTHER, 1, &["docker.io/library/app:latest"], Some("tool"));
    for text in ["app", "app:latest", "localhost/app", "docker.io/app", "index.docker.io/library/app:latest"]
    {
        means(&scratch, text, ONE, By::Name);
    }
    means(&scratch, "r.example:5000/team/app:1", ONE, By::Name);
    means(&scratch, "tool", TWO, By::Image);
    for text in ["app:1", "team/app:1", "r.example:5000/team/app", "tool:latest", "ap"] {
        means_nothing(&scratch, text);
    }
}

#[test]
fn the_beginning_of_several_keys_lists_them() {
    let scratch = Scratch::new();
    save(&scratch, ONE, 1_767_323_045, &["app:1", "app:2"], None);
    save(&scratch, TWO, 1_767_323_105, &[], None);
    fs::write(scratch.store.root().join("images/keys").join(TWO), "damaged").unwrap();
    let error = lookup(&scratch, "3f2a").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "`3f2a` is the beginning of 2 keys\n  {ONE}  2026-01-02 03:04  app:1 app:2\n  {TWO}  damaged"
        )
    );
    assert!(!error.is_corrupt(), "it is trouble, not damage");
    let longer = &TWO[..63];
    assert!(matches!(lookup(&scratch, longer), Err(Error::Ambiguous { count: 2, .. })));
    for number in 0..12 {
        fs::write(scratch.store.root().join(format!("images/keys/abcd{number:060}")), "damaged").unwrap();
    }
    assert!(lookup(&scratch, "abcd").unwrap_err().to_string().ends_with("damaged\n  and 2 more"));
}

#[test]
fn only_hashes_have_beginnings_of_four_digits_and_more() {
    let scratch = Scratch::new();
    save(&scratch, OTHER, 1, &[], None);
    save(&scratch, "feedback", 1, &[], None);
    save(&scratch, &format!("sha256-{ONE}"), 1, &[], None);
    for text in ["caf", "c", "CAFE", "feed", "cafe1", "afe0", "3f2a", "sha256-", "sha256-3f2"] {
        means_nothing(&scratch, text);
    }
    means(&scratch, "sha256-3f2a", &format!("sha256-{ONE}"), By::Beginning);
    // A whole key is no name and no beginning, whatever stands in the store.
    save(&scratch, ONE, 1, &[TWO], Some(TWO));
    means_nothing(&scratch, TWO);
}

#[test]
fn what_another_tool_wrote_is_found_too() {
    let scratch = Scratch::new();
    let (descriptor, leases) = image(&scratch.store, b"layer");
    add_foreign(&scratch, &descriptor, Some(OTHER));
    drop(leases);
    means(&scratch, "cafe", OTHER, By::Beginning);
}

/// A store of so many images that their names are noted.
fn crowd() -> Scratch {
    let scratch = Scratch::new();
    save(&scratch, ONE, 1, &["app:1"], None);
    let keys = scratch.store.root().join("images/keys");
    let text = fs::read_to_string(keys.join(ONE)).unwrap();
    for number in 0..300 {
        let text = text.replace("app:1", &format!("crowd/app:{number}"));
        fs::write(keys.join(format!("{number:064}")), text).unwrap();
    }
    // What was changed in this tick of the clock is not noted.
    storekit::files::state::FileState::settled(&fs::File::open(&keys).unwrap()).unwrap();
    scratch
}

#[test]
fn the_names_of_many_images_are_noted_and_any_change_shows() {
    let scratch = crowd();
    let note = scratch.store.root().join(".names");
    let twelfth = format!("{:064}", 12);
    means(&scratch, "crowd/app:12", &twelfth, By::Name);
    let noted = fs::read_to_string(&note).unwrap();
    assert!(noted.starts_with("# names 1\n") && noted.ends_with("# end\n"), "{noted}");
    assert!(noted.contains(&format!("\n{ONE} 1970-01-01T00:00:01Z docker.io/library/app:1\n")), "{noted}");
    means(&scratch, "crowd/app:12", &twelfth, By::Name);
    assert_eq!(fs::read_to_string(&note).unwrap(), noted);
    save(&scratch, TWO, 2, &["crowd/app:12"], None);
    means(&scratch, "crowd/app:12", TWO, By::Name);
    scratch.store.images().set_names(&key(TWO), vec!["x:1".into()]).unwrap();
    means(&scratch, "crowd/app:12", &twelfth, By::Name);
    means(&scratch, "x:1", TWO, By::Name);
    // Nor is a note believed that is cut off, or of a store that cannot be written to.
    fs::write(&note, &noted[..noted.len() - 10]).unwrap();
    means(&scratch, "x:1", TWO, By::Name);
    fs::remove_file(&note).unwrap();
    fs::create_dir(&note).unwrap();
    means(&scratch, "x:1", TWO, By::Name);
}

#[test]
fn a_key_file_that_was_changed_in_place_is_not_taken_for_what_was_noted() {
    let scratch = crowd();
    let twelfth = scratch.store.root().join(format!("images/keys/{:064}", 12));
    means_nothing(&scratch, "other");
    assert!(scratch.store.root().join(".names").is_file());
    let text = fs::read_to_string(&twelfth).unwrap().replace("crowd/app:12", "other:latest");
    fs::write(&twelfth, text).unwrap();
    means_nothing(&scratch, "crowd/app:12");
}
