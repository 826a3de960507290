//! Where credentials go when a registry sends its client elsewhere, and where they do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use imgtar::registry::{Config, Credentials};
use serde_json::json;

use crate::kit::remotes::{Fake, Reply};
use crate::kit::session::Session;
use crate::kit::tars::layer;
use crate::strangers::untrusted::{BASIC, blob_path, credentials, pull, pull_with, quick, refused};

#[test]
fn a_redirect_takes_no_credentials_along() {
    let plain = layer("a", "b");
    let elsewhere = Arc::new(Fake::start(|_| None));
    elsewhere.blob(&plain);
    let (path, to) = (blob_path(&plain), format!("http://{}/v2/x{}", elsewhere.host, blob_path(&plain)));
    let fake = Fake::start(move |asked| {
        if asked.header("authorization").is_none() {
            return Some(Reply::new(401).with("WWW-Authenticate", "Basic realm=\"r\""));
        }
        asked.is("GET", &path).then(|| Reply::new(307).with("Location", &to))
    });
    fake.image("1", &[&plain]);
    let session = Session::new();
    let config = Config { credentials: credentials(&session, &fake.host), ..quick() };
    pull_with(&session, &fake, &config).unwrap().unwrap();
    assert!(fake.seen("authorization").iter().all(|header| header == BASIC));
    assert_eq!((elsewhere.log().len(), elsewhere.seen("authorization").len()), (1, 0));
}

#[test]
fn redirects_have_bounds() {
    let plain = layer("a", "b");
    for (to, says) in [
        ("/v2/app/blobs/again", "redirects more than 5 times"),
        ("http://192.0.2.1/x", "not encrypted"),
        ("ftp://127.0.0.1/x", "redirects to an address that cannot be used"),
        ("http://user:password@127.0.0.1/x", "redirects to an address that cannot be used"),
    ] {
        let fake = Fake::start(move |asked| {
            asked.is("GET", "/blobs/").then(|| Reply::new(302).with("Location", to))
        });
        fake.image("1", &[&plain]);
        refused(&Session::new(), &fake, says);
    }
}

/// A registry that wants a token from another place; the two, and what the registry was shown.
fn with_realm() -> (Fake, Arc<Fake>) {
    let realm = Arc::new(Fake::start(|asked| {
        let wanted = asked.header("authorization") == Some(BASIC);
        let token = if wanted { "for-user" } else { "for-anybody" };
        Some(Reply::new(200).body(json!({ "token": token, "expires_in": 300 }).to_string()))
    }));
    let place = format!("http://{}/token", realm.host);
    let fake = Fake::start(move |asked| {
        let challenge = format!(r#"Bearer realm="{place}",service="s v",scope="repository:app:pull""#);
        let known = asked.header("authorization").is_some_and(|header| header.starts_with("Bearer for-"));
        (!known).then(|| Reply::new(401).with("WWW-Authenticate", challenge))
    });
    fake.image("1", &[&layer("a", "b")]);
    (fake, realm)
}

#[test]
fn another_host_that_hands_out_tokens_sees_no_password() {
    let (fake, realm) = with_realm();
    let session = Session::new();
    let config = Config { credentials: credentials(&session, &fake.host), ..quick() };
    pull_with(&session, &fake, &config).unwrap().unwrap();
    assert_eq!(realm.seen("authorization"), [""; 0]);
    assert_eq!(realm.log()[0].path, "/token?service=s%20v&scope=repository:app:pull");
    assert!(fake.seen("authorization").iter().all(|header| header == "Bearer for-anybody"));
}

#[test]
fn a_trusted_host_that_hands_out_tokens_sees_the_password() {
    let (fake, realm) = with_realm();
    let session = Session::new();
    let realms = vec![realm.host.clone()];
    let config = Config { credentials: credentials(&session, &fake.host), realms, ..quick() };
    pull_with(&session, &fake, &config).unwrap().unwrap();
    assert_eq!(realm.seen("authorization"), [BASIC]);
    assert!(fake.seen("authorization").iter().all(|header| header == "Bearer for-user"));
}

#[test]
fn where_a_token_is_refused_the_realm_is_named() {
    let realm = Fake::start(|_| Some(Reply::new(401).body("who are you")));
    let place = format!("Bearer realm=\"http://{}/token\"", realm.host);
    let fake = Fake::start(move |_| Some(Reply::new(401).with("WWW-Authenticate", &place)));
    let session = Session::new();
    let words = format!("resolve {}/app", fake.host);
    session.run(&words).ends(2).says("docker login");
    let file = credentials(&session, &fake.host).files.remove(0);
    let mut command = session.command(&words);
    let run = larder_tests::Ran::of(command.env("REGISTRY_AUTH_FILE", file));
    let run = run.ends(2).says(&format!("--auth-realm {}", realm.host));
    assert!(!run.stderr().contains("hunter2") && !run.stderr().contains("dXNlcj"), "{}", run.stderr());
    assert!(realm.seen("authorization").is_empty());
}

#[test]
fn an_identity_is_exchanged_for_a_token() {
    let realm = Fake::start(|_| Some(Reply::new(200).body(r#"{"access_token":"for-it"}"#)));
    let place = format!("Bearer realm=\"http://{}/token\",service=s", realm.host);
    let fake = Fake::start(move |asked| {
        let known = asked.header("authorization") == Some("Bearer for-it");
        (!known).then(|| Reply::new(401).with("WWW-Authenticate", &place))
    });
    fake.image("1", &[&layer("a", "b")]);
    let session = Session::new();
    let text = format!(r#"{{"auths":{{"{}":{{"identitytoken":"a secret"}}}}}}"#, fake.host);
    let credentials = Credentials { files: vec![session.write("auth.json", text)] };
    let config = Config { credentials, realms: vec![realm.host.clone()], ..quick() };
    pull_with(&session, &fake, &config).unwrap().unwrap();
    let asked = &realm.log()[0];
    let body = String::from_utf8(asked.body.clone()).unwrap();
    assert!(asked.method == "POST" && body.ends_with("refresh_token=a%20secret"), "{body}");
}

#[test]
fn a_token_that_ends_is_got_anew() {
    let handed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&handed);
    let realm = Fake::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        Some(Reply::new(200).body(json!({ "token": format!("t{number}") }).to_string()))
    });
    let place = format!("Bearer realm=\"http://{}/token\"", realm.host);
    let plain = layer("a", "b");
    let path = blob_path(&plain);
    let fake = Fake::start(move |asked| {
        // For blobs, only the second token serves.
        let wanted = if asked.path.contains(&path) { "Bearer t1" } else { "Bearer t" };
        let known = asked.header("authorization").is_some_and(|header| header.starts_with(wanted));
        (!known).then(|| Reply::new(401).with("WWW-Authenticate", &place))
    });
    fake.image("1", &[&plain]);
    pull(&Session::new(), &fake).unwrap().unwrap();
    assert_eq!(handed.load(Ordering::SeqCst), 2);
}
