//! A repository of a registry as a place.

use std::fs;

use camino::Utf8PathBuf;
use larder_tests::{Part, Ran, have, sh};
use serde_json::{Value, json};
use storekit::Digest;

use super::scene::{INPUTS, Scene, flip, noted, number, saved, saved_another};
use crate::kit::remotes::{Fake, PASSWORD, Real, Reply};
use crate::kit::session::Session;
use crate::kit::tars::layer;

const KIND: &str = "application/vnd.larder.entry.v1";

#[test]
fn skopeo_copies_the_image_out_by_its_key() {
    let Some(scene) = Scene::registry() else { return };
    if !have(&[Part::Skopeo]) {
        return;
    }
    let session = Session::new();
    saved(&session);
    scene.run(&session, "push k").ok();
    let repository = scene.place.strip_prefix("registry:").unwrap();
    let inspect = |tag: &str| -> String {
        sh(&format!("skopeo inspect --raw --tls-verify=false docker://{repository}:{tag}"))
    };
    assert_eq!(inspect("k"), session.run("info k --manifest").ok().stdout().trim());
    let artifact: Value = serde_json::from_str(&inspect("k.entry")).unwrap();
    assert_eq!(artifact["artifactType"], KIND);
    assert_eq!(artifact["subject"]["digest"], noted(&session, "k")["digest"]);
    assert_eq!(artifact["layers"][1]["digest"], Digest::of(INPUTS.as_bytes()).to_string());
    let copy = session.path("copy");
    sh(&format!("skopeo copy -q --src-tls-verify=false docker://{repository}:k oci-archive:{copy}"));
    session.run(&format!("import copied {copy}")).ok();
    assert_eq!(session.ids("copied"), session.ids("k"));
}

#[test]
fn an_image_without_its_artifact_comes_without_notes() {
    let session = Session::new();
    let Some(registry) = Real::start(&session) else { return };
    saved(&session);
    let repository = format!("{}/cache", registry.host);
    session.run(&format!("push k {repository}:k")).ok();
    let other = Session::new();
    other.run(&format!("pull k --tier registry:{repository}")).ok();
    assert_eq!(other.ids("k"), session.ids("k"));
    let info = noted(&other, "k");
    assert_eq!((&info["names"], &info["build_seconds"]), (&json!([]), &Value::Null));
    // A push notes what is missing, and moves no layer.
    let pushed = session.run(&format!("push k --tier registry:{repository} --json")).ok().json();
    assert_eq!((number(&pushed, "moved_blobs"), &pushed["saved"]), (0, &false.into()));
    other.run(&format!("pull k --force --tier registry:{repository}")).ok();
    assert_eq!(noted(&other, "k"), noted(&session, "k"));
}

#[test]
fn a_push_replaces_the_notes_of_another_image() {
    let (session, reader, scene) = (Session::new(), Session::new(), Scene::serve());
    saved(&session);
    scene.run(&session, "push k").ok();
    // The tag of one image beside the notes of another, as two pushes at once may leave it.
    let other = Session::new();
    saved_another(&other);
    scene.run(&other, "push k --force").ok();
    let repository = scene.place.strip_prefix("registry:").unwrap();
    session.run(&format!("push k {repository}:k")).ok();
    scene.run(&reader, "pull k").ok();
    assert_eq!(noted(&reader, "k")["names"], json!([]));
    let again = scene.run(&session, "push k --json").ok().json();
    assert_eq!((&again["saved"], number(&again, "moved_blobs")), (&false.into(), 0));
    scene.run(&reader, "pull k --force").ok();
    assert_eq!(noted(&reader, "k"), noted(&session, "k"));
}

#[test]
fn notes_of_another_image_are_left_out() {
    let (session, other, fake) = (Session::new(), Session::new(), Fake::start(|_| None));
    saved(&session);
    let place = format!("registry:{}/cache", fake.host);
    session.run(&format!("push k --tier {place}")).ok();
    // Half of a push of another image: the artifact goes first.
    let id = fake.image("k", &[&layer("a", "b")]);
    other.run(&format!("pull k --tier {place}")).ok();
    let info = noted(&other, "k");
    assert_eq!((&info["digest"], &info["names"]), (&id.into(), &json!([])));
}

#[test]
fn a_place_that_lies_is_refused_and_nothing_stands_here() {
    let lies = |word: &'static str, said: &str| {
        let (session, other) = (Session::new(), Session::new());
        saved(&session);
        let fake = Fake::start_changing(move |asked, reply| match word {
            "blob"
                if asked.method == "GET"
                    && asked.path.contains("/blobs/sha256")
                    && reply.body.len() > 9999 =>
            {
                let mut body = reply.body.clone();
                body[5000] ^= 1;
                Reply { body, ..reply }
            }
            "image" if asked.method == "GET" && asked.path.ends_with("/manifests/k") => {
                reply.body(b"{\"schemaVersion\":2}")
            }
            "entry" if asked.method == "GET" && asked.path.ends_with("/manifests/k.entry") => {
                let text = String::from_utf8(reply.body.clone()).unwrap();
                let start = text.find("\"data\":\"").unwrap() + 8;
                let bad = "bm90IHRvbWwK";
                let digest = Digest::of(b"not toml\n");
                let end = start + text[start..].find('"').unwrap();
                let text = format!("{}{bad}{}", &text[..start], &text[end..]);
                let at = start + text[start..].find("\"digest\":\"").unwrap() + 10;
                let text = format!("{}{digest}{}", &text[..at], &text[at + 71..]);
                let digest = Digest::of(text.as_bytes());
                Reply { headers: vec![("Docker-Content-Digest".to_owned(), digest.to_string())], ..reply }
                    .with("Content-Type", "application/vnd.oci.image.manifest.v1+json")
                    .body(text)
            }
            _ => reply,
        });
        let place = format!("registry:{}/cache", fake.host);
        session.run(&format!("push k --tier {place}")).ok();
        other.run(&format!("pull k --tier {place}")).ends(3).says(said);
        other.run("has k").ends(1);
        other.run("verify").ok();
    };
    lies("blob", "is something else");
    lies("image", "hashes to");
    lies("entry", "what is noted with the image cannot be understood");
}

/// The files of blobs in the data of a scene's registry, the largest first.
fn kept(scene: &Scene) -> Vec<Utf8PathBuf> {
    let folder = scene.files.aside("registry").join("data/docker/registry/v2/blobs");
    let found = sh(&format!("find {folder} -type f -name data -printf '%s %p\n' | sort -rn | cut -d' ' -f2"));
    found.lines().map(Utf8PathBuf::from).collect()
}

#[test]
fn a_forced_push_sends_what_the_registry_has_lost_and_says_what_it_keeps() {
    let Some(scene) = Scene::registry() else { return };
    let (session, other, third) = (Session::new(), Session::new(), Session::new());
    saved(&session);
    scene.run(&session, "push k").ok();
    // It goes on announcing the blob, by what it remembers.
    fs::remove_file(&kept(&scene)[0]).unwrap();
    scene.run(&other, "pull k").ends(3).says("what stands under `k` in").says("is damaged");
    other.run("has k").ends(1);
    scene.run(&other, "has k").ok();
    let mended = scene.run(&session, "push k --force --json").ok().json();
    assert_eq!((number(&mended, "moved_blobs"), &mended["saved"]), (1, &true.into()), "{mended}");
    scene.run(&other, "pull k").ok();
    assert_eq!(noted(&other, "k"), noted(&session, "k"));

    // What it has under a name it does not write again.
    flip(&kept(&scene)[0]);
    scene.run(&third, "pull k").ends(3).says("is something else");
    let ran = scene.run(&session, "push k --force --json").ends(3).says("no push mends that");
    let kept = ran.json()["kept_damaged"].as_str().unwrap().to_owned();
    assert!(session.blobs().iter().any(|blob| blob.to_string() == kept), "{kept}");
}

#[test]
fn wrong_credentials_are_said_and_not_printed() {
    let session = Session::new();
    let Some(registry) = Real::start_guarded(&session) else { return };
    saved(&session);
    let auth = |password: &str| sh(&format!("printf %s 'user:{password}' | base64"));
    for (name, password) in [("good.json", PASSWORD), ("bad.json", "wrong-secret")] {
        let host = &registry.host;
        session.write(name, format!(r#"{{"auths":{{"{host}":{{"auth":"{}"}}}}}}"#, auth(password)));
    }
    let run = |words: &str, config: &str| {
        let mut command = session.command(&format!("{words} --tier registry:{}/cache", registry.host));
        command.env("SSL_CERT_FILE", session.path("ca.pem")).env("REGISTRY_AUTH_FILE", session.path(config));
        Ran::of(&mut command)
    };
    for words in ["push k", "has k", "pull k --force"] {
        let refused = run(words, "bad.json").ends(2).says("does not let you");
        assert!(!refused.stderr().contains("wrong-secret"), "{}", refused.stderr());
    }
    run("push k", "good.json").ok();
    run("has k", "good.json").ok();
}

#[test]
fn a_place_that_takes_no_push_says_so() {
    let (session, files) = (Session::new(), Session::new());
    saved(&session);
    let registry = files.serve("--read-only");
    let place = format!("registry:{}/cache", registry.address);
    session.run(&format!("push k --tier {place}")).ends(2).says("upload to");
    let ran = session.run(&format!("push k --tier {place}")).ends(2).says("this method is not allowed here");
    assert!(!ran.stderr().contains(":latest"), "{ran}");
    session.run(&format!("has k --tier {place}")).ends(1);
}

#[test]
fn a_killed_push_leaves_no_entry_and_the_next_one_completes_it() {
    let (session, other) = (Session::new(), Session::new());
    saved(&session);
    let blob = session.blobs()[0];
    // The connection of the largest blob stands still until the push is dead.
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let (seen, reached) = std::sync::mpsc::channel();
    let stopped = std::sync::Mutex::new(Some(stopped));
    let seen = std::sync::Mutex::new(seen);
    let fake = Fake::start(move |asked| {
        if asked.method == "PUT" && asked.path.contains("/manifests/k.entry") {
            let stopped = stopped.lock().unwrap().take()?;
            seen.lock().unwrap().send(()).unwrap();
            let _ = stopped.recv();
            return Some(Reply::new(500));
        }
        None
    });
    let words = format!("push k --tier registry:{}/cache", fake.host);
    let mut push = session.command(&words).spawn().unwrap();
    reached.recv().unwrap();
    push.kill().unwrap();
    push.wait().unwrap();
    drop(stop);
    other.run(&format!("pull k --tier registry:{}/cache", fake.host)).ends(1);
    session.run(&words).ok();
    assert!(fake.holds(&blob.to_string()));
    other.run(&format!("pull k --tier registry:{}/cache", fake.host)).ok();
    assert_eq!(noted(&other, "k"), noted(&session, "k"));
}

#[test]
fn an_archive_of_several_images_has_the_same_digest_there() {
    let (session, other, scene) = (Session::new(), Session::new(), Scene::serve());
    let (archive, index, _) = crate::images::archives::platforms();
    session.feed("import k", &archive).ok();
    scene.run(&session, "push k").ok();
    scene.run(&other, "pull k").ok();
    assert_eq!(other.run("info k --manifest").ok().stdout(), index);
}

#[test]
fn a_registry_is_asked_for_what_is_needed_and_no_more() {
    let api = ("docker-distribution-api-version", "registry/2.0");
    let knows = Fake::start_changing(move |_, reply| reply.with(api.0, api.1));
    let other = Fake::start(|_| None);
    let session = Session::new();
    for (fake, gets) in [(&knows, 0), (&other, 1)] {
        session.run(&format!("has k --tier registry:{}/cache", fake.host)).ends(1);
        // Where the API's own words say that there is nothing, no GET has to.
        assert_eq!((fake.count("HEAD", "/manifests/"), fake.count("GET", "/manifests/")), (1, gets));
    }
}

#[test]
fn a_question_that_a_registry_cannot_answer_is_asked_once_more() {
    let fake = Fake::start(|asked| asked.is("HEAD", "/manifests/").then(|| Reply::new(500)));
    let ran = Session::new()
        .run(&format!("has k --tier registry:{}/cache --timeout 10s --json", fake.host))
        .ends(2);
    assert_eq!((fake.count("HEAD", "/manifests/"), fake.count("GET", "/manifests/")), (2, 0), "{ran}");
    assert_eq!(ran.json()["server_error"], 500, "{ran}");
}
