//! Registries that refuse one way of asking or sending, and take another.

use std::io::Write;

use larder_tests::http::{Origin, answer};
use serde_json::Value;
use storekit::Digest;

use crate::kit::remotes::{Asked, Fake, Real, Reply};
use crate::kit::session::Session;
use crate::kit::tars::{docker, layer};
use crate::network::registries::noise;

/// A store with an image of a large and a small layer.
fn saved() -> Session {
    let session = Session::new();
    session.feed("import k", &docker("app:1", &[&noise(5), &layer("top", "small")]).end()).ok();
    session
}

/// Whether all of the stored image's blobs are in the registry.
fn has_all(session: &Session, fake: &Fake) -> bool {
    let document: Value = serde_json::from_str(&session.run("info k --manifest").ok().stdout()).unwrap();
    let layers = document["layers"].as_array().unwrap().iter().chain([&document["config"]]);
    layers.into_iter().all(|blob| fake.holds(blob["digest"].as_str().unwrap()))
}

fn is_upload(asked: &Asked, method: &str) -> bool {
    asked.is(method, "/blobs/uploads/")
}

#[test]
fn what_a_get_brings_counts_for_more_than_what_a_head_says() {
    for status in [400, 403, 404, 405, 501] {
        let fake =
            Fake::start_changing(
                move |asked, reply| {
                    if asked.is("HEAD", "/manifests/") { Reply::new(status) } else { reply }
                },
            );
        let digest = fake.image("1", &[&layer("a", "b")]);
        let session = Session::new();
        let there = format!("{}/app:1", fake.host);
        assert_eq!(session.run(&format!("resolve {there}")).ok().stdout().trim(), digest, "{status}");
        session.run(&format!("has --remote {there}")).ok();
        session.run(&format!("has --remote {}/app@{digest}", fake.host)).ok();
        session.run(&format!("has --remote {}/app:2", fake.host)).ends(1).says("there is no");
        session.run(&format!("pull {there} --key k")).ok();
        // What is there already is seen to be.
        session.run(&format!("push k {there}")).ok().says("0B in 0 blobs moved");
        assert_eq!(fake.count("PUT", "/manifests/"), 0, "{status}");
    }
}

#[test]
fn where_no_head_tells_of_blobs_they_are_sent() {
    for status in [400, 405, 501] {
        let fake = Fake::start_changing(
            move |asked, reply| {
                if asked.is("HEAD", "/blobs/") { Reply::new(status) } else { reply }
            },
        );
        let session = saved();
        session.run(&format!("push k {}/app:1", fake.host)).ok();
        assert!(has_all(&session, &fake), "{status}");
    }
    // No right to ask is not a right to send.
    let fake = Fake::start(|asked| asked.is("HEAD", "/blobs/").then(|| Reply::new(403)));
    saved().run(&format!("push k {}/app:1", fake.host)).ends(2).says("does not let you push");
}

#[test]
fn where_a_whole_body_is_refused_pieces_are_sent() {
    for status in [400, 404, 405, 411, 413, 415, 501] {
        let fake = Fake::start(move |asked| {
            (is_upload(asked, "PUT") && !asked.body.is_empty()).then(|| Reply::new(status))
        });
        let session = saved();
        session.run(&format!("push k {}/app:1 --jobs 1", fake.host)).ok();
        assert!(has_all(&session, &fake), "{status}");
        // It is asked once: what one blob teaches holds for the rest.
        let puts = fake.log().into_iter().filter(|asked| is_upload(asked, "PUT") && !asked.body.is_empty());
        assert_eq!(puts.count(), 1, "{status}");
        assert!(fake.seen("content-range").iter().all(|range| range.starts_with("0-")), "{status}");
        Session::new().run(&format!("pull {}/app:1", fake.host)).ok();
    }
}

/// One that takes no request's body above this size, and wants so much of each piece but the last.
fn narrow(most: usize, least: usize) -> Fake {
    Fake::start_changing(move |asked, reply| match asked.method.as_str() {
        "PATCH" | "PUT" if asked.path.contains("/uploads/") && asked.body.len() > most => Reply::new(413),
        "POST" if least > 0 => reply.with("OCI-Chunk-Min-Length", least),
        _ => reply,
    })
}

#[test]
fn pieces_are_as_small_as_the_registry_wants_them() {
    for (most, least, expected) in [(1 << 20, 0, 1 << 20), (1_300_000, 1_200_000, 1_200_000)] {
        let fake = narrow(most, least);
        let session = saved();
        session.run(&format!("push k {}/app:1", fake.host)).ok();
        assert!(has_all(&session, &fake));
        let sent: Vec<_> = fake
            .log()
            .into_iter()
            .filter(|asked| is_upload(asked, "PATCH") && asked.body.len() <= most)
            .collect();
        assert!(sent.iter().any(|asked| asked.body.len() == expected), "no piece of {expected} bytes");
        for asked in &sent {
            let (from, to) = asked.header("content-range").unwrap().split_once('-').unwrap();
            let length = to.parse::<usize>().unwrap() + 1 - from.parse::<usize>().unwrap();
            assert_eq!(length, asked.body.len());
        }
        Session::new().run(&format!("pull {}/app:1", fake.host)).ok();
    }
}

/// A layer that is compressed on its way has no length until it is over.
#[test]
fn a_layer_whose_length_is_not_known_goes_in_pieces_too() {
    let fake = Fake::start(|asked| {
        let is_unsized = asked.method == "PATCH" && asked.header("content-length").is_none();
        is_unsized.then(|| Reply::new(411))
    });
    let session = saved();
    session.run(&format!("push k {}/app:1 --compress gzip", fake.host)).ok();
    let fresh = Session::new();
    fresh.run(&format!("pull {}/app:1 --key k", fake.host)).ok();
    assert_eq!(fresh.ids("k"), session.ids("k"));
    fresh.run("verify").ok();

    let narrow = narrow(1 << 20, 0);
    session.run(&format!("push k {}/app:1 --compress gzip", narrow.host)).ok();
    fresh.run(&format!("pull {}/app:1 --key again", narrow.host)).ok();
    assert_eq!(fresh.ids("again"), session.ids("k"));
    // Nobody makes it hold more than that in memory.
    let greedy = self::narrow(1 << 20, 1 << 40);
    session
        .run(&format!("push k {}/app:1 --compress gzip", greedy.host))
        .ends(2)
        .says("bytes of a blob at once");
}

#[test]
fn a_registry_that_takes_no_body_at_all_is_trouble_soon() {
    let fake = narrow(0, 0);
    let session = saved();
    session.run(&format!("push k {}/app:1 --jobs 1", fake.host)).ends(2).says("the registry answered 413");
    assert!(fake.count("POST", "/uploads/") <= 4, "{}", fake.count("POST", "/uploads/"));
    assert_eq!(fake.count("PUT", "/manifests/"), 0);
}

/// Real registries take pieces, and put them together.
#[test]
fn docker_registry_and_our_own_take_pieces() {
    let (session, there) = (saved(), Session::new());
    let own = there.serve("");
    let real = Real::start(&session);
    for host in real.iter().map(|real| real.host.clone()).chain([own.address.clone()]) {
        // Between here and there stands one that lets no large body pass.
        let target = host.clone();
        let fake = Fake::start_passing(&target, |asked| {
            let is_large = asked.path.contains("/uploads/") && asked.body.len() > 1 << 20;
            (is_large || asked.header("transfer-encoding").is_some()).then(|| Reply::new(413))
        });
        session.run(&format!("push k {}/app:1", fake.host)).ok();
        session.run(&format!("push k {}/app:gzip --compress gzip", fake.host)).ok();
        assert!(fake.seen("content-range").iter().any(|range| range.starts_with("1048576-")));
        let other = Session::new();
        for tag in ["1", "gzip"] {
            other.run(&format!("pull {host}/app:{tag} --key {tag}")).ok();
            assert_eq!(other.ids(tag), session.ids("k"));
        }
        other.run("verify").ok();
    }
}

/// As with docker: a name with a digest leaves no name, for nobody has asked what the tag stands
/// for.
#[test]
fn a_pull_by_digest_leaves_no_tag() {
    let fake = Fake::start(|_| None);
    let digest = fake.image("1", &[&layer("a", "b")]);
    fake.image("2", &[&layer("c", "d")]);
    let session = Session::new();
    let names = |words: &str| {
        let line = session.run(&format!("pull {}/app{words} --json", fake.host)).ok().json();
        line["names"].clone()
    };
    assert_eq!(names(&format!(":2@{digest} --key both")), serde_json::json!([]));
    assert_eq!(names(&format!("@{digest} --key digest")), serde_json::json!([]));
    assert_eq!(names(&format!(":2@{digest} --key named --name own:1")), serde_json::json!(["own:1"]));
    assert_eq!(names(":2 --key tag"), serde_json::json!([format!("{}/app:2", fake.host)]));
    // It is the digest's image that came.
    let document = session.run("info both --manifest").ok().stdout();
    assert_eq!(Digest::of(document.as_bytes()).to_string(), digest);
}

#[test]
fn the_digest_of_a_file_is_told_where_it_stands() {
    let origin = Origin::new(|request, stream| {
        let reply = match request.path.as_str() {
            "/f" => answer(200, "", b"content"),
            "/moved" => answer(302, "Location: /f\r\n", b""),
            "/round" => answer(302, "Location: /round\r\n", b""),
            _ => answer(404, "", b"no"),
        };
        drop(stream.write_all(&reply));
    });
    let session = Session::new();
    let resolve = |path: &str| session.run(&format!("resolve {}{path}", origin.url()));
    let digest = Digest::of(b"content").to_string();
    assert_eq!(resolve("/f").ok().stdout().trim(), digest);
    assert_eq!(resolve("/moved").ok().stdout().trim(), digest);
    resolve("/none").ends(1).says("there is no file at");
    resolve("/round").ends(2).says("redirects again and again");
    session.run("resolve https://user:secret@127.0.0.1/f").ends(2).says("is not an address");
}
