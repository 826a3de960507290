//! The names of an image in a registry: several in one push, what is listed, and further ones.

use larder_tests::{Part, have, sh};

use super::registries::{noise, saved};
use crate::kit::remotes::{Fake, Real, Reply};
use crate::kit::session::Session;

#[test]
fn several_names_are_one_push_and_a_further_one_moves_nothing() {
    let session = Session::new();
    let Some(registry) = Real::start(&session) else { return };
    saved(&session);
    let name = |tag: &str| format!("{}/team/app:{tag}", registry.host);
    session.run(&format!("tags {}/team/app", registry.host)).ends(1).says("there is no");
    let line = format!("push k {} {} {} --json", name("v1.10.0"), name("1.10"), name("latest"));
    let pushed = session.run(&line).ok().json();
    assert_eq!((&pushed["moved_blobs"], &pushed["also"][1]), (&3.into(), &name("latest").into()));
    let tags = session.run(&format!("tags {}/team/app", registry.host)).ok().stdout();
    assert_eq!(tags, "1.10\nlatest\nv1.10.0\n");
    let digest = |tag: &str| session.run(&format!("resolve {}", name(tag))).ok().stdout();
    assert_eq!((digest("latest"), digest("1.10")), (digest("v1.10.0"), digest("v1.10.0")));

    // Where one of them is there, the others are put beside it.
    let line = format!("push k {} {} --json", name("v1.10.0"), name("stable"));
    assert_eq!(session.run(&line).ok().json()["moved_blobs"], 0);
    assert_eq!(digest("stable"), digest("latest"));

    session.feed("import other", &crate::kit::tars::docker("b:1", &[&noise(3)]).end()).ok();
    session.run(&format!("push other {} {}", name("v1.9.0"), name("latest"))).ok();
    assert_ne!(digest("latest"), digest("1.10"));
    session.run(&format!("retag {} {} {}", name("v1.10.0"), name("latest"), name("1"))).ok();
    assert_eq!((digest("latest"), digest("1")), (digest("v1.10.0"), digest("v1.10.0")));
    session.run(&format!("retag {} {}", name("none"), name("x"))).ends(1).says("there is no");
    let elsewhere = format!("{}/team/other:1", registry.host);
    session.run(&format!("retag {} {elsewhere}", name("latest"))).ends(2).says("is not in the repository");
}

#[test]
fn a_registry_is_asked_whether_it_takes_a_push_and_is_sent_nothing() {
    let session = Session::new();
    let Some(registry) = Real::start(&session) else { return };
    saved(&session);
    let host = &registry.host;
    session.run(&format!("push k {host}/team/app:1 {host}/other:1 --check")).ok().says("other takes a push");
    session.run(&format!("tags {host}/team/app")).ends(1).says("there is no");

    let fake =
        Fake::start_changing(
            |asked, reply| {
                if asked.is("POST", "/blobs/uploads/") { Reply::new(403) } else { reply }
            },
        );
    session
        .run(&format!("push k {}/app:1 --check", fake.host))
        .ends(2)
        .says("does not let you push to `app`");
    assert_eq!(fake.count("PUT", "/"), 0);
}

#[test]
fn a_silent_registry_is_waited_for_as_long_as_is_said() {
    let session = Session::new();
    saved(&session);
    // It takes connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = silent.local_addr().expect("an address").to_string();
    for line in [
        format!("push k {host}/app:1 --check=1s"),
        format!("tags {host}/app --timeout 1s"),
        format!("retag {host}/app:1 {host}/app:2 --timeout 1s"),
    ] {
        session.run(&line).ends(2).says(&host);
    }
}

#[test]
fn the_key_is_noted_where_that_is_wanted() {
    let session = Session::new();
    let Some(registry) = Real::start(&session) else { return };
    saved(&session);
    let name = |tag: &str| format!("{}/app:{tag}", registry.host);
    session.run(&format!("push k {}", name("plain"))).ok();
    session.run(&format!("resolve --key {}", name("plain"))).ends(1).says("does not say by what key");
    session.run(&format!("resolve --key {}", name("none"))).ends(1).says("there is no");
    let pushed = session.run(&format!("push k {} {} --note-key --json", name("a"), name("b"))).ok().json();
    assert_eq!(pushed["moved_blobs"], 0);
    for tag in ["a", "b"] {
        assert_eq!(session.run(&format!("resolve --key {}", name(tag))).ok().stdout(), "k\n");
    }
    // The same key gives the same document: a later push has nothing to do.
    let again = session.run(&format!("push k {} --note-key --json", name("c"))).ok().json();
    assert_eq!(again["digest"], pushed["digest"]);
    let other = Session::new();
    other.run(&format!("pull {} --key k", name("a"))).ok();
    assert_eq!(other.ids("k"), session.ids("k"));
    other.run("verify").ok();
    if have(&[Part::Skopeo]) {
        sh(&format!("skopeo inspect --tls-verify=false docker://{}", name("b")));
    }
}

#[test]
fn a_list_comes_in_pages_and_has_an_end() {
    let fake = Fake::start(|asked| {
        let query = asked.path.split_once("/v2/app/tags/list?")?.1;
        let last = query.split_once("last=").map_or(0, |(_, last)| last.parse().expect("a number"));
        let next = format!("</v2/app/tags/list?n=1000&last={}>; rel=\"next\"", last + 1);
        let page = |tags: &str| Reply::new(200).body(format!("{{\"name\":\"app\",\"tags\":{tags}}}"));
        Some(match last {
            0 => page("[\"b\",\"a\"]").with("Link", next),
            1 => page("[\"c\"]").with("Link", next),
            // Go's way of an empty list; and whoever goes on without end is not followed.
            _ => page("null").with("Link", next),
        })
    });
    let session = Session::new();
    assert_eq!(session.run(&format!("tags {}/app", fake.host)).ok().stdout(), "a\nb\nc\n");
}
