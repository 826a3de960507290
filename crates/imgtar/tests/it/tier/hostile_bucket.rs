//! Object stores that do whatever a test tells them to.

use std::sync::atomic::{AtomicUsize, Ordering};

use larder_tests::Ran;

use super::scene::saved;
use crate::kit::remotes::{Asked, Fake, Reply};
use crate::kit::session::Session;

const LIST: &str =
    "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";

/// The path of a request, without its query.
fn path(asked: &Asked) -> &str {
    asked.path.split('?').next().unwrap()
}

#[track_caller]
fn run(session: &Session, fake: &Fake, words: &str) -> Ran {
    let mut command = session.command(&format!("{words} --tier s3:http://{}/larder", fake.host));
    command.env("AWS_ACCESS_KEY_ID", "KEYKEYKEY").env("AWS_SECRET_ACCESS_KEY", "SECRETSECRET");
    Ran::of(command.env("AWS_SESSION_TOKEN", "TOKENTOKEN"))
}

#[test]
fn a_list_without_an_end_ends() {
    let session = Session::new();
    let object = "<Contents><Key>keys/k</Key><Size>1</Size></Contents>";
    for (page, said) in [
        (
            format!(
                "{LIST}{object}<IsTruncated>true</IsTruncated><NextContinuationToken>a</NextContinuationToken></ListBucketResult>"
            ),
            "does not end",
        ),
        (
            format!(
                "{LIST}<IsTruncated>true</IsTruncated><NextContinuationToken>a</NextContinuationToken></ListBucketResult>"
            ),
            "does not end",
        ),
        (format!("{LIST}{object}<IsTruncated>true</IsTruncated></ListBucketResult>"), "cannot be understood"),
        ("<html>".to_owned(), "cannot be understood"),
        ("{}".to_owned(), "cannot be understood"),
        (String::new(), "cannot be understood"),
        ("x".repeat(9 << 20), "cannot be understood"),
    ] {
        let fake = Fake::start(move |_| Some(Reply::new(200).body(&page)));
        run(&session, &fake, "ls").ends(2).says(said);
    }
}

#[test]
fn names_that_lead_elsewhere_are_not_listed() {
    let session = Session::new();
    let names = ["keys/../x", "keys/a/b", "keys/", "other/k", "keys/.tmp", "keys/ü"];
    let objects: String =
        names.map(|name| format!("<Contents><Key>{name}</Key><Size>1</Size></Contents>")).concat();
    let page = format!("{LIST}{objects}</ListBucketResult>");
    let fake = Fake::start(move |asked| {
        Some(if path(asked) == "/larder/" { Reply::new(200).body(&page) } else { Reply::new(404) })
    });
    assert_eq!(run(&session, &fake, "ls --json").ok().stdout(), "");
    assert_eq!(fake.log().len(), 1);
}

#[test]
fn what_is_too_large_or_elsewhere_is_refused() {
    let session = Session::new();
    let large = Fake::start(|_| Some(Reply::new(200).body("x".repeat(2 << 20))));
    run(&session, &large, "pull k").ends(3).says("has more than 1048576 bytes");
    let elsewhere = Fake::start(|_| {
        Some(Reply::new(301).with("Location", "http://127.0.0.1:1/").with("x-amz-bucket-region", "eu-x-1"))
    });
    run(&session, &elsewhere, "has k").ends(2).says("the region `eu-x-1`");
    let page = Fake::start(|_| Some(Reply::new(200).with("Content-Length", 5).body("hello")));
    run(&session, &page, "pull k").ends(3).says("cannot be understood");
    session.run("has k").ends(1);
}

#[test]
fn what_a_server_repeats_of_the_credentials_is_not_printed() {
    let session = Session::new();
    saved(&session);
    let words = "<Error><Code>No\u{1b}]0;such</Code><Message>KEYKEYKEY SECRETSECRET TOKENTOKEN are unknown</Message></Error>";
    for status in [400, 403] {
        let fake = Fake::start(move |_| Some(Reply::new(status).body(words)));
        for line in ["pull k --force", "push k", "ls"] {
            let said = run(&session, &fake, line).ends(2).says("are unknown").stderr();
            for secret in ["KEYKEY", "SECRETSECRET", "TOKENTOKEN", "Signature=", "\u{1b}"] {
                assert!(!said.contains(secret), "{said}");
            }
        }
    }
}

#[test]
fn requests_have_what_strict_servers_want() {
    let session = Session::new();
    saved(&session);
    let fake = Fake::start(|asked| Some(Reply::new(if asked.method == "PUT" { 200 } else { 404 })));
    run(&session, &fake, "push k").ok();
    let log = fake.log();
    assert!(log.len() > 8, "{log:?}");
    for asked in &log {
        assert_eq!(asked.header("x-amz-content-sha256"), Some("UNSIGNED-PAYLOAD"), "{asked:?}");
        assert!(asked.path.contains("X-Amz-SignedHeaders=host%3Bx-amz-content-sha256&"), "{}", asked.path);
        assert!(asked.header("if-none-match").is_none() && asked.header("transfer-encoding").is_none());
        if asked.method == "PUT" {
            let length = asked.header("content-length").unwrap();
            assert_eq!(length, asked.body.len().to_string());
        }
    }
    // The key file is the last of all that is written.
    let written: Vec<_> = log.iter().filter(|asked| asked.method == "PUT").map(path).collect();
    assert_eq!(written.last(), Some(&"/larder/keys/k"));
    assert_eq!(written.len(), 4 + 3);
}

#[test]
fn a_busy_server_is_asked_again() {
    let session = Session::new();
    let asked = AtomicUsize::new(0);
    let fake = Fake::start(move |_| {
        let first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        Some(if first {
            Reply::new(503).body("<Error><Code>SlowDown</Code></Error>")
        } else {
            Reply::new(404)
        })
    });
    run(&session, &fake, "has k").ends(1);
    assert_eq!(fake.log().len(), 2);
}
