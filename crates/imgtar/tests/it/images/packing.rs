//! Images made without an engine.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::Value;

use crate::kit::session::Session;
use crate::kit::tars::{gzip, layer, zstd};

fn folder(session: &Session, name: &str) {
    session.write(&format!("{name}/bin/app"), "#!/bin/sh\n");
    session.write(&format!("{name}/etc/conf"), "x = 1\n");
    let path = session.path(name);
    fs::set_permissions(path.join("bin/app"), fs::Permissions::from_mode(0o711)).unwrap();
    fs::create_dir(path.join("empty")).unwrap();
    symlink("../bin/app", path.join("etc/link")).unwrap();
}

#[test]
fn the_same_folder_gives_the_same_image_anywhere() {
    let session = Session::new();
    folder(&session, "a");
    folder(&session, "deep/b");
    fs::set_permissions(session.path("deep/b/etc/conf"), fs::Permissions::from_mode(0o600)).unwrap();
    let flags =
        "--entrypoint /bin/app --entrypoint=-v --env A=1 --label v=2 --workdir /srv --platform linux/arm/v7";
    session.run(&format!("pack a a {flags}")).ok();
    session.run(&format!("pack b deep/b {flags} --name app")).ok();
    assert_eq!(session.ids("a"), session.ids("b"));
    // What the image ID is now it must be for ever: a change of it is a change of the format.
    assert_eq!(session.ids("a"), ["sha256:8e6e381b6b5dc170b8f45ba298c622c0f9fa5f9feb3b46d39b71def370c9e177"]);
    session.run("verify").ok();
    session.write("a/etc/conf", "x = 2\n");
    session.run(&format!("pack c a {flags}")).ok();
    assert_ne!(session.ids("c"), session.ids("b"));
}

#[test]
fn a_platform_makes_one_image_however_it_is_spelt() {
    let session = Session::new();
    folder(&session, "a");
    for (same, fields) in [
        (["linux/arm64", "linux/arm64/v8", "linux/aarch64"], ["arm64", "null"]),
        (["linux/amd64", "linux/x86_64", "Linux/AMD64/v1"], ["amd64", "null"]),
        (["linux/arm/v7", "linux/arm", "linux/armhf"], ["arm", "\"v7\""]),
        (["linux/386", "linux/i386", "linux/I386"], ["386", "null"]),
    ] {
        let ids = same.map(|platform| {
            let _ = session.run("rm k");
            session.run(&format!("pack k a --platform {platform}")).ok();
            session.ids("k").remove(0)
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{same:?}");
        let config = session.store().images().blobs().path(&ids[0].parse().unwrap());
        let config: Value = serde_json::from_slice(&fs::read(config).unwrap()).unwrap();
        assert_eq!(config["architecture"], fields[0]);
        assert_eq!(config["variant"].to_string(), fields[1]);
        for platform in same {
            session.run(&format!("export k --platform {platform}")).ok();
            session.run(&format!("extract k bin/app --platform {platform} -C out")).ok();
        }
        session.run("export k --platform linux/s390x").ends(2).says(&format!("it has {}", same[0]));
    }
}

#[test]
fn a_tar_becomes_the_layer_as_it_is() {
    let session = Session::new();
    let tar = layer("app", "content");
    session.feed("pack a -", &tar).ok();
    session.write("a.tar", &tar);
    session.run("pack b a.tar").ok();
    session.write("a.tar.gz", gzip(&tar));
    session.run("pack c a.tar.gz").ok();
    assert_eq!(session.ids("a"), session.ids("b"));
    assert_eq!(session.ids("a"), session.ids("c"));
    let info = session.run("info a --json").ok().json();
    assert_eq!(info["images"][0]["layers"][0]["diff_id"], storekit::Digest::of(&tar).to_string());
}

#[test]
fn what_is_no_layer_is_refused() {
    let session = Session::new();
    session.feed("pack k -", b"").ends(2).says("is empty");
    session.feed("pack k -", &[7; 2000]).ends(2).says("is not a tar");
    let tar = layer("app", "content");
    session.feed("pack k -", &tar[..tar.len() - 1024]).ends(2).says("cut off");
    for form in [gzip, zstd] {
        session.feed("pack k -", &form(&tar[..tar.len() - 1024])).ends(2).says("cut off");
        session.feed("pack k -", &form(b"no tar at all")).ends(2).says("cannot be packed");
        let packed = form(&tar);
        session.feed("pack k -", &packed[..packed.len() - 3]).ends(2).says("cut off");
    }
    session.write("text", "hello\n".repeat(200));
    session.run("pack k text").ends(2).says("`text` cannot be packed").says("name a folder, or a tar");
    session.run("pack k nowhere").ends(2).says("cannot read");
    session.run("has k").ends(1);
}

#[test]
fn what_has_no_place_in_an_image_is_refused() {
    let session = Session::new();
    folder(&session, "a");
    let socket = std::os::unix::net::UnixListener::bind(session.path("a/socket")).unwrap();
    session.run("pack k a").ends(2).says("neither a file, a folder nor a symbolic link");
    drop(socket);
    session.run("has k").ends(1);
}

#[test]
fn flags_that_cannot_be_meant_are_refused() {
    let session = Session::new();
    folder(&session, "a");
    session.run("pack k a --env A").ends(2).says("NAME=VALUE");
    session.run("pack k a --platform linux").ends(2).says("its architecture is missing");
    session.run("pack k a --platform amd64").ends(2).says("write the whole of it, such as `linux/amd64`");
    session.run("pack k a --platform linux/i686").ends(2).says("write `linux/386`");
    session.run("pack k a --entrypoint [1]").ends(2).says("list of strings");
}

#[test]
fn the_time_is_that_of_source_date_epoch() {
    let session = Session::new();
    folder(&session, "a");
    session.run("pack a a").ok();
    let created =
        |key: &str| session.run(&format!("info {key} --json")).ok().json()["images"][0]["created"].clone();
    assert_eq!(created("a"), "1980-01-02T00:00:00Z");
    let output = session.command("pack b a").env("SOURCE_DATE_EPOCH", "1700000000").output().unwrap();
    assert!(output.status.success());
    assert_eq!(created("b"), "2023-11-14T22:13:20Z");
}
