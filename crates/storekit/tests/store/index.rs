//! index.json: what other tools read in it, and what they write.

use super::*;

#[test]
fn the_index_names_each_key_for_other_tools() {
    let scratch = Scratch::new();
    let (saved, _) = save(&scratch.store, "k", b"layer");
    let index = scratch.index();
    let listed = &index["manifests"][0];
    assert_eq!(listed["digest"], saved.descriptor.digest.to_string());
    assert_eq!(listed["annotations"]["dev.larder.key"], "k");
    assert_eq!(listed["annotations"]["org.opencontainers.image.ref.name"], "k");
    scratch.store.images().remove(&[key("k")], &scratch.store.trash().batch(Timestamp::now())).unwrap();
    assert_eq!(scratch.index()["manifests"], serde_json::json!([]));
}

#[test]
fn another_tools_image_is_adopted_under_its_name() {
    let scratch = Scratch::new();
    let (descriptor, _leases) = image(&scratch.store, b"foreign");
    add_foreign(&scratch, &descriptor, Some("theirs"));
    let adopted = scratch.store.images().get(&key("theirs")).unwrap().expect("adopted");
    assert!(adopted.adopted);
    assert_eq!(adopted.descriptor.digest, descriptor.digest);
    assert_eq!(scratch.store.images().list().unwrap().len(), 1);
    assert!(scratch.store.images().foreign().unwrap().is_empty());
}

#[test]
fn another_tools_image_takes_no_key_from_ours() {
    let scratch = Scratch::new();
    let (ours, _) = save(&scratch.store, "k", b"ours");
    let (theirs, _leases) = image(&scratch.store, b"theirs");
    add_foreign(&scratch, &theirs, Some("k"));
    add_foreign(&scratch, &theirs, None);
    let keys: Vec<_> = scratch.store.images().list().unwrap().into_iter().map(|listed| listed.key).collect();
    assert_eq!(keys, [key("k"), Key::of_digest(&theirs.digest)]);
    assert_eq!(scratch.store.images().get(&key("k")).unwrap(), Some(ours));
}

#[test]
fn another_tools_unfinished_image_stays_in_the_index() {
    let scratch = Scratch::new();
    let missing = Descriptor::new(MANIFEST, Digest::of(b"not there"), 9);
    add_foreign(&scratch, &missing, Some("later"));
    save(&scratch.store, "k", b"layer");
    assert!(scratch.store.images().get(&key("later")).unwrap().is_none());
    assert_eq!(scratch.store.images().foreign().unwrap()[0].digest, missing.digest);
    assert_eq!(scratch.index()["manifests"].as_array().unwrap().len(), 2);
}

#[test]
fn a_missing_or_broken_index_is_derived_anew() {
    let scratch = Scratch::new();
    save(&scratch.store, "k", b"layer");
    let path = scratch.store.images().folder().join("index.json");
    let whole = scratch.index();
    for damage in [None, Some("{\"manifests\": [")] {
        match damage {
            None => fs::remove_file(&path).unwrap(),
            Some(text) => fs::write(&path, text).unwrap(),
        }
        assert_eq!(scratch.store.images().list().unwrap().len(), 1);
        assert_eq!(scratch.index(), whole);
    }
    let kept = scratch.store.root().join("trash/damaged/images/index.json");
    assert_eq!(fs::read_to_string(kept).unwrap(), "{\"manifests\": [");
}

/// Key files that together ask for an index.json of more than 20 MiB, as some 40000 short ones do.
fn crowd(scratch: &Scratch) {
    let blob = scratch.store.images().blobs().put(b"x").unwrap();
    let text = entry(Descriptor::new("x/".to_owned() + &"y".repeat(1 << 19), blob.digest(), 1)).to_text();
    for number in 0..48 {
        fs::write(scratch.store.images().folder().join(format!("keys/crowd-{number}")), &text).unwrap();
    }
    scratch.store.images().sync_index().unwrap();
    let length = fs::metadata(scratch.store.images().folder().join("index.json")).unwrap().len();
    assert!(length > storekit::oci::DOCUMENT_CAP, "{length} bytes");
}

#[test]
fn an_index_of_any_number_of_keys_stops_nobody() {
    let scratch = Scratch::new();
    crowd(&scratch);
    // Known for ours by its note; and read, where the note is gone.
    for note in [true, false] {
        if !note {
            fs::remove_file(scratch.store.root().join(".indexed")).unwrap();
        }
        assert!(scratch.store.images().get(&key("never")).unwrap().is_none());
        assert_eq!(scratch.store.images().list().unwrap().len(), 48);
    }
    save(&scratch.store, "k", b"layer");
    let (descriptor, _leases) = image(&scratch.store, b"foreign");
    add_foreign(&scratch, &descriptor, Some("theirs"));
    assert!(scratch.store.images().get(&key("theirs")).unwrap().expect("adopted").adopted);
    assert_eq!(scratch.index()["manifests"].as_array().unwrap().len(), 50);
    assert!(!scratch.store.root().join("trash").exists());
}

#[test]
fn an_index_that_another_tool_has_blown_up_is_derived_anew() {
    let scratch = Scratch::new();
    save(&scratch.store, "k", b"layer");
    let whole = scratch.index();
    let path = scratch.store.images().folder().join("index.json");
    fs::write(&path, serde_json::json!({"schemaVersion": 2, "junk": "x".repeat(21 << 20)}).to_string())
        .unwrap();
    assert_eq!(scratch.store.images().list().unwrap().len(), 1);
    assert_eq!(scratch.index(), whole);
    assert!(scratch.store.root().join("trash/damaged/images/index.json").is_file());
}

#[test]
fn an_index_that_is_not_the_noted_one_is_read() {
    let scratch = Scratch::new();
    save(&scratch.store, "k", b"layer");
    let note = scratch.store.root().join(".indexed");
    assert!(!fs::read(&note).unwrap().is_empty());
    let (descriptor, _leases) = image(&scratch.store, b"foreign");
    add_foreign(&scratch, &descriptor, Some("theirs"));
    assert!(scratch.store.images().get(&key("theirs")).unwrap().is_some());
    // What is another tool's still is looked at each time.
    add_foreign(&scratch, &Descriptor::new(MANIFEST, Digest::of(b"not there"), 9), Some("later"));
    save(&scratch.store, "l", b"another");
    assert_eq!(fs::read(&note).unwrap(), b"");
    assert_eq!(scratch.store.images().foreign().unwrap().len(), 1);
}
