//! A store with more keys than anybody looks at one by one.

use std::fs;

use storekit::Digest;

use crate::session::Session;
use crate::tars::{config, docker, layer, manifest};

/// Puts images into the store that have one layer in common, without an import of each.
fn crowd(session: &Session, base: &[u8]) -> Vec<Digest> {
    let images = session.store().images();
    let blobs = images.blobs();
    let put = |number: usize| {
        let own = layer("own", &number.to_string());
        let config = config(&[base, &own]).to_string();
        let manifest = manifest(&[base, &own], &[("", base), ("", &own)]).to_string();
        for bytes in [base, &own, config.as_bytes(), manifest.as_bytes()] {
            fs::write(blobs.path(&Digest::of(bytes)), bytes).unwrap();
        }
        let media_type = storekit::oci::MANIFEST;
        let digest = Digest::of(manifest.as_bytes());
        let descriptor = storekit::Descriptor::new(media_type, digest, manifest.len() as u64);
        let entry = storekit::Entry::new(descriptor, "2026-01-02T03:04:05Z".parse().unwrap());
        fs::write(images.folder().join(format!("keys/crowd-{number}")), entry.to_text()).unwrap();
        Digest::of(config.as_bytes())
    };
    (0..300).map(put).collect()
}

#[test]
fn what_many_images_taught_is_read_once() {
    let session = Session::new();
    session.run("init").ok();
    let base = layer("base", "known to all");
    let configs = crowd(&session, &base);
    let import = |key: &str, own: &str| {
        session.feed(&format!("import {key}"), &docker(key, &[&base, &layer("own", own)]).end()).ok()
    };
    import("first", "a").says("1 new layer, 1 stored already");
    // Nothing but the notes tells now what the others have.
    let notes = session.path("store/.layers");
    for config in &configs {
        fs::remove_file(session.store().images().blobs().path(config)).unwrap();
    }
    session.run("rm first").ok();
    import("second", "b").says("1 new layer, 1 stored already");
    session.run("rm second").ok();
    for text in ["", "# layers 1\nX\n# end\n"] {
        fs::write(&notes, text).unwrap();
        import("third", "c").says("2 new layers");
        session.run("rm third").ok();
    }
}

#[test]
fn all_of_many_keys_are_listed_and_removed() {
    let session = Session::new();
    session.run("init").ok();
    crowd(&session, &layer("base", "known to all"));
    let listed = session.run("ls --json").ok().text();
    let keys: Vec<String> = listed
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["key"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(keys.len(), 300);
    assert!(keys.is_sorted());
    session.run(&format!("rm never {}", keys.join(" "))).code(1).says("nothing is stored under `never`");
    assert_eq!(session.run("ls --json").ok().text(), "");
    let index = fs::read_to_string(session.store().images().folder().join("index.json")).unwrap();
    assert!(!index.contains("dev.larder.key"), "{index}");
}
