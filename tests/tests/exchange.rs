//! Other tools read the store and what comes out of it.

use larder_tests::{Part, Session, have};

/// A session with an image of two files under `key`.
fn packed() -> Session {
    let session = Session::new().file("d/bin/app", "#!/bin/true\n").file("d/etc/conf", "x = 1\n");
    session.run("imgtar pack key d --entrypoint /bin/app --env A=1 --name packed:1").ok();
    session
}

/// The image's ID, as the store has it.
fn id(session: &Session, key: &str) -> String {
    session.run("imgtar ls --json").ok().rows().iter().find(|row| row["key"] == key).expect("a key")["ids"][0]
        .as_str()
        .expect("an ID")
        .to_owned()
}

#[test]
fn skopeo_reads_the_store_as_the_image_layout_that_it_is() {
    if !have(&[Part::Skopeo]) {
        return;
    }
    let session = packed();
    let config = session.run("skopeo inspect --config oci:../store/images:key").ok().json();
    assert_eq!(
        (&config["config"]["Entrypoint"][0], &config["config"]["Env"][0]),
        (&"/bin/app".into(), &"A=1".into())
    );
    session.run("skopeo copy -q oci:../store/images:key oci-archive:../copy.tar:packed").ok();
    session.run("imgtar import copied ../copy.tar").ok();
    assert_eq!(id(&session, "copied"), id(&session, "key"), "the ID survives the round trip");
}

#[test]
fn an_image_that_skopeo_puts_into_the_store_is_adopted() {
    if !have(&[Part::Skopeo]) {
        return;
    }
    let session = packed();
    session.run("imgtar export key ../image.tar --compress none").ok();
    session.run("skopeo copy -q docker-archive:../image.tar oci:../store/images:theirs").ok();
    // It writes the config anew, so the ID is another; the files are the same.
    assert_ne!(id(&session, "theirs"), id(&session, "key"));
    session.run("imgtar verify theirs && imgtar verify key").ok();
    session.run("gcctl run --max-images 9 && imgtar verify theirs key").ok();
}

#[test]
fn podman_loads_what_is_exported_and_gives_it_back() {
    if !have(&[Part::Podman]) {
        return;
    }
    let session = packed().with_podman();
    session.run("imgtar export key | $LARDER_PODMAN load -q").ok();
    let shown = session.run("$LARDER_PODMAN image inspect --format '{{.Id}}' packed:1").ok().stdout();
    assert_eq!(format!("sha256:{}", shown.trim()), id(&session, "key"));
    for format in ["docker-archive", "oci-archive"] {
        session
            .run(&format!("$LARDER_PODMAN save -q --format {format} packed:1 | imgtar import from-{format}"))
            .ok();
    }
    assert_eq!(id(&session, "from-docker-archive"), id(&session, "key"));
    session.run("imgtar verify").ok();
}
