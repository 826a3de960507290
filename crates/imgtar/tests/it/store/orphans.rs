//! No save leaves a blob that no image needs, whichever way it went and wherever it ended.

use std::fs;

use larder_tests::{Part, have};

use crate::engine::engines::{Image, layers, with, wrapped};
use crate::kit::session::Session;
use crate::kit::tars::{config, descriptor, docker, gzip, id, layer, manifest, oci};

/// Every blob is one that an image needs, and nothing unfinished lies beside them.
#[track_caller]
fn nothing_is_left(session: &Session) {
    let verified = session.run("verify --json").ok().json();
    assert_eq!(verified["blobs"], session.blobs().len());
    assert_eq!(unfinished(session), 0);
}

fn unfinished(session: &Session) -> usize {
    let folder = fs::read_dir(session.path("../store/images/blobs/sha256"));
    let names = folder.into_iter().flatten().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with(".tmp-")).count()
}

/// A layer that is stored as gzip comes plain through a pipe.
#[test]
fn what_a_pipe_brings_in_another_form_leaves_nothing() {
    let (base, top) = (layer("base", "first"), layer("top", "second"));
    let (packed, config) = (gzip(&base), config(&[&base]).to_string());
    let manifest = manifest(&[&base], &[("+gzip", &packed)]).to_string();
    let listed = [descriptor("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes())];
    let session = Session::new();
    session.feed("import base", &oci(&[config.as_bytes(), manifest.as_bytes(), &packed], &listed).end()).ok();
    session
        .feed("import top", &docker("top:1", &[&base, &top]).end())
        .ok()
        .says("1 new layer, 1 stored already");
    nothing_is_left(&session);
    session.feed("pack packed -", &base).ok().says("0 new layers, 1 stored already");
    nothing_is_left(&session);
    // What no image needs, and what is refused in the end.
    session.feed("import odd", &docker("odd:1", &[&base]).file("stray.tar", layer("stray", "x")).end()).ok();
    nothing_is_left(&session);
    session.feed("import cut", &docker("cut:1", &[&layer("new", "y")]).cut()).ends(2);
    nothing_is_left(&session);
}

/// Bytes that do not compress.
fn noise(count: usize) -> String {
    let mut state = 1_u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(33 + (state >> 57) as u8 % 90)
    };
    (0..count).map(next).collect()
}

/// Docker knows no digest of a base that it loaded, so it sends the base, and the push is given up:
/// by then, the small new layer has come as gzip, and the archive brings it again.
#[test]
fn a_push_that_is_given_up_leaves_nothing() {
    if !have(&[Part::Docker]) {
        return;
    }
    let image = Image::new("docker", "given-up");
    let [_, top] = layers("given-up");
    // No run before this one may have taught docker a digest of it.
    let mark = format!("{} {:?}", std::process::id(), std::time::SystemTime::now());
    let base = layer("base", &(noise(48 << 20) + &mark));
    let (session, elsewhere) = (Session::new(), Session::new());
    session.feed("import base", &docker("base:1", &[&base]).end()).ok();
    elsewhere.feed("import k", &docker(&image.0, &[&base, &top]).end()).ok();
    elsewhere.run("load k --engine docker").ok();
    let saved = session.run(&format!("save k {} --engine docker --json", image.0)).ok().json();
    let way = saved["way"].as_str().unwrap();
    assert!(way.starts_with("archive, since docker knows no digest of layers"), "{way}");
    assert_eq!(session.ids("k"), [id(&[&base, &top])]);
    nothing_is_left(&session);

    // A save that is killed in the middle of the push: the next one takes away what it left.
    let program = wrapped(
        &session,
        "docker",
        "[ $1 = push ] && { $ENGINE \"$@\"; kill -9 $PPID; exit 1; }\nexec $ENGINE \"$@\"",
    );
    let before = session.blobs();
    with(&session, &program, "docker", &format!("save killed {} --by push", image.0)).0.ends(137);
    assert_eq!(session.blobs(), before);
    session.run(&format!("save after {} --by push --engine docker", image.0)).ok();
    nothing_is_left(&session);
}
