//! Tests of what is known of the hub.

use http::{HeaderMap, Uri};
use proptest::prelude::*;
use storekit::Checksum;

use super::*;
use crate::ecosystem::base::Base;
use crate::rules::fields::tests::headers;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

#[test]
fn a_path_is_taken_apart() {
    let file = |path: &str| match parse(path) {
        Some(HubPath { kind, repository, what: What::File(revision, path) }) => {
            format!("{kind} {repository} {revision} {path}")
        }
        other => format!("{other:?}"),
    };
    assert_eq!(file("/a/b/resolve/main/x/y.bin"), "models a/b main x/y.bin");
    assert_eq!(file("/b/resolve/refs%2Fpr%2F1/x"), "models b refs%2Fpr%2F1 x");
    assert_eq!(file("/datasets/a/b/resolve/main/x"), "datasets a/b main x");
    assert_eq!(file("/a/resolve/resolve/main/x"), "models a resolve main/x");
    for path in ["/a/b/resolve/main", "/a/b/c/resolve/main/x", "/a/b/resolve/main/", "/a%2Fb/resolve/m/x"] {
        assert_eq!(file(path), "None", "{path}");
    }
    let what = |path: &str| parse(path).map(|path| (path.repository, path.what));
    let document = |name: &str, revision: Option<&str>| {
        Some((name.to_owned(), What::Document(revision.map(str::to_owned))))
    };
    assert_eq!(what("/api/models/a/b"), document("a/b", None));
    assert_eq!(what("/api/models/b"), document("b", None));
    assert_eq!(what("/api/models/a/b/revision/main"), document("a/b", Some("main")));
    assert_eq!(what("/api/models/b/tree/main"), document("b", Some("main")));
    assert_eq!(what("/api/datasets/a/b/tree/main/x/y"), document("a/b", Some("main")));
    assert_eq!(what("/api/models/a/b/xet-read-token/main"), Some(("a/b".to_owned(), What::XetToken)));
    for path in ["/api/models", "/api/whoami-v2", "/api/models/a/b/commits/main", "/api/models/a/../b"] {
        assert_eq!(what(path), None, "{path}");
    }
}

#[test]
fn a_file_is_asked_for_by_its_commit() {
    let path = parse("/datasets/a/b/resolve/main/x/y").unwrap();
    assert_eq!(path.revision("main"), "/api/datasets/a/b/revision/main");
    assert_eq!(path.file_at(COMMIT, "x/y"), format!("/datasets/a/b/resolve/{COMMIT}/x/y"));
    assert_eq!(parse(&path.file_at(COMMIT, "x/y")).unwrap().what, What::File(COMMIT.into(), "x/y".into()));
    let path = parse("/b/resolve/main/x").unwrap();
    assert_eq!(path.file_at(COMMIT, "x"), format!("/b/resolve/{COMMIT}/x"));
}

fn expects(lines: &str) -> Option<String> {
    let fields = fields(&headers(lines), COMMIT, true);
    expected(&fields).map(|it| format!("{} {:?}", it.checksum, it.size))
}

#[test]
fn a_file_is_what_the_hub_names_it_by() {
    let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let git = "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f";
    let linked = format!("etag: \"x\"\nx-linked-etag: \"{hex}\"\nx-linked-size: 3\ncontent-length: 900");
    assert_eq!(expects(&linked), Some(format!("sha256:{hex} Some(3)")));
    let small = format!("etag: W/\"{git}\"\ncontent-length: 3");
    assert_eq!(expects(&small), Some(format!("git-blob:{git} Some(3)")));
    assert_eq!(expects(&format!("etag: \"{git}\"")), None, "its size is not known");
    for lines in ["etag: \"x\"", "content-length: 3", "etag: \"é\"", &format!("etag: \"{}\"", "g".repeat(64))]
    {
        assert_eq!(expects(lines), None, "{lines}");
    }
}

#[test]
fn clients_are_told_nothing_of_other_servers() {
    let said = headers(&format!(
        "x-repo-commit: {COMMIT}\nx-xet-hash: {}\nlink: <https://h.example/t>; rel=\"xet-auth\"\nset-cookie: a=b\n\
         x-xet-refresh-route: /t\nlocation: https://cdn.example/x?signature=1\ncontent-type: text/plain\netag: \"a\"",
        "0".repeat(64)
    ));
    let expected =
        headers(&format!("x-repo-commit: {COMMIT}\netag: \"a\"\ncontent-type: application/octet-stream"));
    assert_eq!(fields(&said, COMMIT, false), expected);
    let mut file = fields(&said, COMMIT, true);
    assert_eq!(file.remove("content-type").unwrap(), "text/plain");
    assert_eq!(fields(&HeaderMap::new(), COMMIT, false)["x-repo-commit"], COMMIT);
}

fn base() -> Base {
    Base {
        here: "http://127.0.0.1:3144".to_owned(),
        mount: "/hf".to_owned(),
        upstream: Uri::from_static("https://hub.example/"),
        keeps_links: false,
    }
}

#[track_caller]
fn rendered(document: &str) -> String {
    let mut out = Vec::new();
    render(&mut document.as_bytes(), &base(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_document_leads_here_and_not_to_xet() {
    let document = "{\"sha\":\"x\",\"xetEnabled\":true,\"siblings\":[{\"rfilename\":\"a\",\"xetHash\":\"00\"},{\"xetHash\":\
                    {\"a\":1},\"lfs\":{\"deep\":{\"xetHash\":\"1\",\"url\":\"https://hub.example/a?b\"}}}],\"u\":\
                    \"https://hub.example.org/x\",\"v\":\"https://hub.example\"}";
    let expected = "{\"sha\":\"x\",\"siblings\":[{\"rfilename\":\"a\"},{\"lfs\":{\"deep\":{\"url\":\"http://127.0.0.1:3144/hf/a?b\"}}}],\
                    \"u\":\"https://hub.example.org/x\",\"v\":\"http://127.0.0.1:3144/hf\"}";
    assert_eq!(rendered(document), expected);
    assert_eq!(rendered("[{\"xetHash\":null}]"), "[{}]");
    for wrong in ["\"text\"", "<html>", "", "{\"a\":1", "{\"a\":1,\"a\":2}"] {
        assert!(render(&mut wrong.as_bytes(), &base(), &mut Vec::new()).is_err(), "{wrong}");
    }
}

#[test]
fn further_pages_are_asked_for_here() {
    let url = Uri::from_static("https://hub.example/api/models/a/b/tree/main?recursive=true");
    let here = |field: &str| links(field, &url, &base());
    let next = "<https://hub.example/api/models/a/b/tree/main?cursor=a,b>; rel=\"next\"";
    let expected = "<http://127.0.0.1:3144/hf/api/models/a/b/tree/main?cursor=a,b>; rel=\"next\"".to_owned();
    assert_eq!(here(next), Some(expected.clone()));
    assert_eq!(here("</api/models/a/b/tree/main?cursor=a,b>; rel=\"next\""), Some(expected.clone()));
    assert_eq!(here(&format!("<https://x.example/t>; rel=\"xet-auth\", {next}")), Some(expected));
    assert_eq!(here("<https://x.example/t>; rel=\"xet-auth\""), None);
    for nothing in ["", "x", "<", "<>", "><", "<<>>,<"] {
        let _ = here(nothing);
    }
}

#[test]
fn a_commit_is_read_from_a_description() {
    let read = |text: &str| commit(&mut text.as_bytes());
    assert_eq!(
        read(&format!("{{\"id\":\"a\",\"sha\":\"{COMMIT}\",\"x\":{{\"sha\":\"y\"}}}}")).unwrap(),
        COMMIT
    );
    for wrong in ["{}", "[]", "{\"sha\":\"main\"}", "{\"sha\":1}", "<html>", "{\"x\":{\"sha\":\"y\"}}"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
    let upper = COMMIT.to_uppercase();
    assert!(read(&format!("{{\"sha\":\"{upper}\"}}")).is_err());
}

fn segment() -> impl Strategy<Value = String> {
    let known =
        vec!["api", "models", "datasets", "a", "resolve", "tree", "revision", "main", COMMIT, "..", ""];
    let known = prop::sample::select(known);
    prop_oneof![8 => known.prop_map(str::to_owned), 1 => "[ -~]{0,6}", 1 => any::<String>()]
}

proptest! {
    #[test]
    fn nothing_but_a_commit_is_taken_for_what_cannot_change(
        segments in prop::collection::vec(segment(), 0..8),
    ) {
        let path = format!("/{}", segments.join("/"));
        let asked = ask(&path, None);
        if matches!(asked.class, Class::Artifact | Class::PinnedByName) {
            prop_assert!(path.contains(COMMIT));
            prop_assert_eq!(asked.package.version.as_deref(), Some(COMMIT));
        }
        prop_assert!(!asked.package.name.unwrap_or_default().contains(".."));
    }

    #[test]
    fn no_head_makes_it_panic(tag in "\\PC{0,70}|(W/)?\"?[0-9a-fA-F]{38,66}\"?", size in "[0-9]{0,25}") {
        if let Ok(value) = http::HeaderValue::from_str(&tag) {
            let mut said = HeaderMap::new();
            said.insert("etag", value);
            said.extend(http::HeaderValue::from_str(&size).ok().map(|size| (LINKED_SIZE_NAME, size)));
            let is_git = expected(&fields(&said, "x", true))
                .is_some_and(|it| matches!(it.checksum, Checksum::GitBlob(_)) && it.size.is_none());
            prop_assert!(!is_git);
        }
    }

    #[test]
    fn no_link_makes_it_panic(field in "[<>,;=\" a-z/:?]{0,80}") {
        let _ = links(&field, &Uri::from_static("https://hub.example/a"), &base());
    }
}

const LINKED_SIZE_NAME: http::HeaderName = http::HeaderName::from_static("x-linked-size");
