//! Whether a hit is what a build would give.

use larder_tests::{Part, Session, have};

#[test]
fn what_a_fresh_build_gives_is_compared_with_what_is_stored() {
    if !have(&[Part::Docker]) {
        return;
    }
    let mut session = Session::new();
    let base = session.base();
    let name = session.image("app");
    let dockerfile = |session: &Session, run: &str| {
        session.write("Dockerfile", session.from(&base) + &format!("COPY file /\nRUN {run}\n"));
    };
    session.write("file", "1");
    session.write("larder.toml", format!("[image.app]\ntags = [\"{name}:1\"]\n"));
    dockerfile(&session, "echo same >/made && ln -s made /link");
    let ran = session.run("larder bake --prove --strict app").ends(1);
    assert!(ran.stdout().contains("nothing is stored under its key"), "{ran}");
    session.run("larder bake").ok();
    let id = session.image_id(&format!("{name}:1"));
    let ran = session.run("larder bake --prove --strict app").ok();
    assert!(ran.stdout().starts_with("app  hit "), "{ran}");
    assert!(ran.stdout().contains("a fresh build gives the same files"), "{ran}");

    dockerfile(&session, "head -c 8 /dev/urandom | od >/made");
    session.run("larder bake").ok();
    let stored = session.image_id(&format!("{name}:1"));
    let ran = session.run("larder bake --prove app").ok();
    assert!(ran.stdout().contains("a fresh build gives other files"), "{ran}");
    assert!(ran.stdout().contains("    changed made\n"), "{ran}");
    session.run("larder bake --prove --strict app").ends(1);
    // Neither the store nor the engine has changed.
    assert_eq!(session.image_id(&format!("{name}:1")), stored);
    assert_ne!(id, stored);
    assert_eq!(session.run("larder bake --json").ok().rows()[0]["state"], "hit");
    assert_eq!(session.run("docker images -q 'larder-prove-*'").ok().stdout(), "");
}

#[test]
fn a_packed_image_is_proved_without_an_engine() {
    let session = Session::new().file("d/file", "1");
    session.write("larder.toml", "[image.files]\npack = { dir = \"d\" }\n");
    let bake = "LARDER_DOCKER=/none LARDER_PODMAN=/none larder bake";
    session.run(bake).ok();
    session.run(&format!("{bake} --prove --strict")).ok();
    // The name that a proof has meanwhile is nobody's business.
    let row = &session.run(&format!("{bake} --prove --json")).ok().rows()[0];
    assert_eq!(row["tags"], session.run(&format!("{bake} --check --json")).ok().rows()[0]["tags"], "{row}");
}
