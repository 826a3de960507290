//! More keys, and more blobs, than anybody looks at one by one.

use std::fs;

use larder_tests::Ran;
use serde_json::json;
use storekit::Digest;

use crate::kit::session::Session;
use crate::kit::tars::{config, descriptor, docker, layer, manifest, oci};

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
    let notes = session.path("../store/.layers");
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
    let listed = session.run("ls --json").ok().stdout();
    let keys: Vec<String> = listed
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["key"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(keys.len(), 300);
    assert!(keys.is_sorted());
    session.run(&format!("rm never {}", keys.join(" "))).ends(1).says("nothing is stored under `never`");
    assert_eq!(session.run("ls --json").ok().stdout(), "");
    let index = fs::read_to_string(session.store().images().folder().join("index.json")).unwrap();
    assert!(!index.contains("dev.larder.key"), "{index}");
}

/// An archive whose index names so many images, each of three blobs of its own.
fn index_of(count: usize) -> Vec<u8> {
    let mut blobs = Vec::new();
    let mut listed = Vec::new();
    for number in 0..count {
        let own = layer("own", &number.to_string());
        let manifest = manifest(&[&own], &[("", &own)]).to_string().into_bytes();
        listed.push(descriptor(storekit::oci::MANIFEST, &manifest));
        blobs.extend([config(&[&own]).to_string().into_bytes(), own, manifest]);
    }
    let index = json!({ "schemaVersion": 2, "manifests": listed }).to_string().into_bytes();
    let root = descriptor(storekit::oci::INDEX, &index);
    blobs.push(index);
    oci(&blobs.iter().map(Vec::as_slice).collect::<Vec<_>>(), &[root]).end()
}

/// Runs with a limit of the shell's `ulimit` on open files.
fn limited(session: &Session, limit: &str, words: &str) -> Ran {
    let mut shell = session.program("sh");
    shell.args(["-c", &format!("ulimit {limit}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_imgtar")]);
    shell.args(words.split_whitespace());
    Ran::of(&mut shell)
}

#[test]
fn an_import_may_have_more_blobs_than_open_files_are_usual() {
    let session = Session::new();
    session.write("many.tar", index_of(120));
    // A soft limit is only what is usual.
    limited(&session, "-Sn 100", "import k many.tar").ok();
    assert_eq!(session.ids("k").len(), 120);
    limited(&session, "-n 100", "import l many.tar --force").ends(2).says("`ulimit -n 65536` allows more");
    session.run("has l").ends(1);
    session.run("verify").ok();
}
