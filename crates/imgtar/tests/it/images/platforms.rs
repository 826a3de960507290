//! An image for another platform than that of its key is never saved under it.

use larder_tests::{Part, Ran, have, sh};

use crate::engine::engines::{Image, layers};
use crate::kit::session::Session;
use crate::kit::tars::{docker, layer};

/// hashctx's manifest of a key for this platform.
fn manifest(session: &Session, platform: &str) {
    session.write("inputs", format!("hashctx manifest 1\ndockerfile 00\nplatform {platform}\n"));
}

#[test]
fn an_archive_for_another_platform_is_refused() {
    let session = Session::new();
    let archive = docker("app:1", &[&layer("a", "b")]).end();
    manifest(&session, "linux/arm64");
    session
        .feed("import k --manifest inputs", &archive)
        .ends(2)
        .says("the image is for linux/amd64, and the key `k` is for linux/arm64")
        .says("docker build --platform linux/arm64");
    session.run("has k").ends(1);
    for same in ["linux/amd64", "linux/x86_64"] {
        manifest(&session, same);
        session.feed("import k --manifest inputs --force", &archive).ok();
    }
    assert_eq!(session.run("info k --inputs").ok().stdout().lines().last(), Some("platform linux/x86_64"));
    // A manifest without a platform, and notes that are none of hashctx's, say nothing of it.
    for text in ["hashctx manifest 1\nfile 00  a\n", "platform linux/arm64\n"] {
        session.write("inputs", text);
        session.feed("import k --manifest inputs --force", &archive).ok();
    }
}

#[test]
fn one_of_several_platforms_is_enough() {
    let session = Session::new();
    let (archive, ..) = crate::images::archives::platforms();
    manifest(&session, "linux/arm64/v8");
    session.feed("import k --manifest inputs", &archive).ok();
    manifest(&session, "linux/s390x");
    session
        .feed("import other --manifest inputs", &archive)
        .ends(2)
        .says("the image is for linux/amd64, linux/arm64, and the key `other` is for linux/s390x");
}

#[test]
fn a_packed_image_is_for_its_key_too() {
    let session = Session::new();
    session.write("bin/tool", "x");
    manifest(&session, "linux/arm64");
    session.run("pack k bin --platform linux/amd64 --manifest inputs").ends(2).says("is for linux/amd64");
    session.run("has k").ends(1);
    session.run("pack k bin --platform linux/arm64 --manifest inputs").ok();
}

/// An engine that builds for another machine than its user thinks of.
#[test]
fn an_engines_image_for_another_platform_is_refused() {
    let session = Session::new();
    session.write("image.tar", docker("app:1", &[&layer("a", "b")]).end());
    let engine = session.script("engine", "[ \"$1\" = save ] && exec cat image.tar\nexit 1");
    let save = |words: &str| {
        Ran::of(session.command(&format!("save k app:1 {words}")).env("LARDER_DOCKER", &engine))
    };
    manifest(&session, "linux/arm/v7");
    save("--manifest inputs").ends(2).says("the key `k` is for linux/arm/v7");
    session.run("has k").ends(1);
    manifest(&session, "linux/amd64");
    save("--manifest inputs").ok();
}

fn each_way_refuses(engine: &'static str) {
    if !have(&[Part::engine(engine)]) {
        return;
    }
    let image = Image::new(engine, "platform-of-key");
    let [base, top] = layers(&format!("platform {engine}"));
    let session = Session::new();
    session.feed("import k", &docker(&image.0, &[&base, &top]).end()).ok();
    session.run(&format!("load k --engine {engine}")).ok();
    for way in ["archive", "push"] {
        let save = |key: &str| {
            session.run(&format!("save {key} {} --by {way} --manifest inputs --engine {engine}", image.0))
        };
        manifest(&session, "linux/arm64");
        save(way).ends(2).says("the image is for linux/amd64");
        session.run(&format!("has {way}")).ends(1);
        manifest(&session, "linux/amd64");
        save(way).ok();
    }
    let names = format!("{engine} image inspect --format '{{{{len .RepoTags}}}}' {}", image.0);
    assert_eq!(sh(&names), "1", "a push's name was left");
}

#[test]
fn docker_saves_no_image_of_another_platform() {
    each_way_refuses("docker");
}

#[test]
fn podman_saves_no_image_of_another_platform() {
    each_way_refuses("podman");
}
