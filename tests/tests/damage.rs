//! Stored bytes that are not what they were: noticed, never loaded, and built through.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use camino::Utf8Path;
use larder_tests::{Part, Session, have};

/// Flips one bit in the middle of the file.
fn flip(path: &Utf8Path) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("a blob");
    let middle = file.metadata().expect("a blob").len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).expect("a byte");
    file.write_all_at(&[byte[0] ^ 1], middle).expect("a byte");
}

/// Cuts off the second half of the file.
fn truncate(path: &Utf8Path) {
    let file = OpenOptions::new().write(true).open(path).expect("a blob");
    file.set_len(file.metadata().expect("a blob").len() / 2).expect("half a blob");
}

/// Removes the file.
fn delete(path: &Utf8Path) {
    fs::remove_file(path).expect("a blob");
}

/// Bakes an image, damages one of its blobs (0: the layer, the largest), and tries to use it.
#[track_caller]
fn is_noticed(blob: usize, damage: fn(&Utf8Path)) {
    if !have(&[Part::Docker]) {
        return;
    }
    let mut session = Session::new();
    session.write("Dockerfile", session.from("scratch") + "COPY data /\n");
    let app = session.image("app");
    session.write("larder.toml", format!("[image.app]\ntags = [\"{app}\"]\n"));
    // The other tests' images have other layers.
    session.write("data", [app.as_bytes(), &noise(1 << 20)].concat());
    let key = session.run("larder bake --json").ok().rows()[0]["key"].as_str().expect("a key").to_owned();
    let id = session.image_id(&app).expect("an image");
    session.run(&format!("docker rmi -f {app}")).ok();
    damage(&session.blobs()[blob]);

    // All of it is read here; a load reads what the engine lacks, and BuildKit's cache may keep the
    // layer there.
    session.run(&format!("imgtar export {key} --compress none ../tmp/out")).ends(3);
    session.run(&format!("docker load -i ../tmp/out && docker image inspect {id}")).fails();
    session.run(&format!("imgtar load {key} --tag {app}")).ends(3);
    assert_eq!(session.image_id(&app), None, "no engine takes a damaged image");

    let ran = session.run("larder bake --json").ok().says("damaged");
    let line = &ran.rows()[0];
    assert_eq!((&line["state"], &line["saved"]), (&"built".into(), &true.into()), "{ran}");
    session.run("imgtar verify").ok();
    session.run(&format!("docker rmi -f {app}")).ok();
    assert_eq!(session.run("larder bake --json").ok().quiet().rows()[0]["state"], "hit");
    assert!(session.image_id(&app).is_some());
}

/// Bytes that do not compress, always the same.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..size).map(|_| next()).collect()
}

#[test]
fn a_flipped_bit_in_a_layer_is_noticed() {
    is_noticed(0, flip);
}

#[test]
fn a_truncated_layer_is_noticed() {
    is_noticed(0, truncate);
}

#[test]
fn a_missing_layer_is_noticed() {
    is_noticed(0, delete);
}

#[test]
fn a_flipped_bit_in_a_config_or_manifest_is_noticed() {
    is_noticed(1, flip);
    is_noticed(2, flip);
}

#[test]
fn a_missing_config_or_manifest_is_noticed() {
    is_noticed(1, delete);
    is_noticed(2, delete);
}
