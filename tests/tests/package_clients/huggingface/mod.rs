//! `huggingface_hub`, in front of a hub whose large files lie on another server. Xet is installed
//! beside it, as it is by itself.

mod builds;
pub(crate) mod hub;

use std::process::Stdio;

use larder_tests::http::{Answer, Fault, connect};
use larder_tests::{Part, Ran, Session, have, until_some};

use self::hub::{BLOB, COMMITS, Hub, NAME, snapshot};
use crate::served::{Cache, stored, verified};

fn with_hub(test: impl Fn(&Hub<'_>)) {
    if have(&[Part::HuggingFace, Part::Git]) {
        let session = Session::new();
        test(&Hub::new(&session));
    }
}

/// Asks the cache on a connection of its own.
fn ask(cache: &Cache<'_>, method: &str, path: &str, fields: &str) -> Answer {
    use std::io::{BufReader, Write};
    let mut stream = connect(cache.authority());
    let host = cache.authority();
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{fields}\r\n").unwrap();
    Answer::read(&mut BufReader::new(stream), method)
}

fn file(revision: &str, path: &str) -> String {
    format!("/hf/{NAME}/resolve/{revision}/{path}")
}

#[test]
fn a_cold_cache_verifies_and_a_warm_one_asks_for_no_file() {
    with_hub(|hub| {
        let cache = hub.cache("");
        hub.snapshot(&cache, "cold", "main").ok();
        hub.has_all("cold", COMMITS[0]);
        assert_eq!(hub.cdn.requests(), 1, "{:?}", hub.log());
        hub.forget();
        hub.snapshot(&cache, "warm", "main").ok();
        hub.has_all("warm", COMMITS[0]);
        assert_eq!(hub.log(), [""; 0]);
        let lines = cache.stop();
        let of_weights: Vec<_> = lines.into_iter().filter(|line| line.url.contains("weights.bin")).collect();
        verified(&of_weights, "weights.bin", "indexed");
        // Another process, and the branch's time is over: that is asked for, and nothing else.
        let cache = hub.cache("index-ttl = \"0s\"\n");
        hub.snapshot(&cache, "again", "main").ok();
        hub.has_all("again", COMMITS[0]);
        assert!(
            !hub.log().is_empty() && hub.log().iter().all(|line| line.contains("/api/")),
            "{:?}",
            hub.log()
        );
        let urls = stored(hub.session);
        assert!(urls.iter().all(|url| !url.contains("signature")), "{urls:?}");
    });
}

#[test]
fn nothing_is_needed_of_the_hub_a_second_time() {
    with_hub(|hub| {
        let cache = hub.cache("index-ttl = \"0s\"\n");
        hub.snapshot(&cache, "cold", "main").ok();
        hub.unplug();
        hub.snapshot(&cache, "cut", "main").ok();
        hub.has_all("cut", COMMITS[0]);
        hub.snapshot(&cache, "by commit", COMMITS[0]).ok();
        hub.has_all("by commit", COMMITS[0]);
        let cache = cache.offline();
        hub.forget();
        hub.snapshot(&cache, "offline", "main").ok();
        hub.has_all("offline", COMMITS[0]);
        assert_eq!(hub.log(), [""; 0]);
        let absent = ask(&cache, "HEAD", &file(COMMITS[1], "config.json"), "");
        assert_eq!(absent.status, 504, "{absent:?}");
    });
}

#[test]
fn a_file_s_head_is_as_the_library_needs_it() {
    with_hub(|hub| {
        let cache = hub.cache("");
        for _ in 0..2 {
            for revision in ["main", COMMITS[0]] {
                let large =
                    ask(&cache, "HEAD", &file(revision, "weights.bin"), "accept-encoding: identity\r\n");
                let size = hub.content(COMMITS[0], "weights.bin").len().to_string();
                assert_eq!(large.status, 200, "{large:?}");
                assert_eq!(large.header("x-repo-commit"), Some(COMMITS[0]));
                assert_eq!(large.header("content-length"), Some(size.as_str()));
                assert_eq!(large.header("x-linked-size"), Some(size.as_str()));
                assert_eq!(large.header("etag"), large.header("x-linked-etag"));
                assert_eq!(large.header("accept-ranges"), Some("bytes"));
                for gone in ["x-xet-hash", "x-xet-refresh-route", "link", "location", "set-cookie"] {
                    assert_eq!(large.header(gone), None, "{large:?}");
                }
                let small = ask(&cache, "HEAD", &file(revision, "config.json"), "");
                assert_eq!(small.header("content-length"), Some("14"), "{small:?}");
                assert_eq!(small.header("etag").map(str::len), Some(42));
                assert_eq!(small.header("x-repo-commit"), Some(COMMITS[0]));
                let absent = ask(&cache, "HEAD", &file(revision, "adapter.json"), "");
                assert_eq!((absent.status, absent.header("x-error-code")), (404, Some("EntryNotFound")));
                assert_eq!(absent.header("x-repo-commit"), Some(COMMITS[0]));
            }
        }
        assert_eq!(hub.cdn.requests(), 0, "a head needs no body");
        // One question each, however often it was asked.
        let heads = hub.log().iter().filter(|line| line.starts_with("HEAD ")).count();
        assert_eq!(heads, 3, "{:?}", hub.log());
        let got = ask(&cache, "GET", &file("main", "weights.bin"), "");
        assert!(got.whole && got.body == hub.content(COMMITS[0], "weights.bin"));
        assert_eq!(got.header("x-repo-commit"), Some(COMMITS[0]));
        let part = ask(&cache, "GET", &file("main", "weights.bin"), "range: bytes=100-199\r\n");
        assert!(part.status == 206 && part.body == got.body[100..200], "{:?}", part.headers);
        // A repository with another name.
        let moved = ask(&cache, "HEAD", &format!("/hf/team/old/resolve/{}/config.json", COMMITS[0]), "");
        let to = file(COMMITS[0], "config.json");
        assert_eq!((moved.status, moved.header("location")), (307, Some(to.as_str())));
    });
}

#[test]
fn lists_and_descriptions_lead_here_and_not_to_xet() {
    with_hub(|hub| {
        let cache = hub.cache("");
        for path in ["", "/revision/main", "/tree/main?recursive=true&expand=false"] {
            let answer = ask(&cache, "GET", &format!("/hf/api/models/{NAME}{path}"), "");
            assert_eq!(answer.status, 200, "{answer:?}");
            let text = answer.text();
            assert!(!text.contains("xet") && !text.contains(&hub.site.authority()), "{path}: {text}");
            let next = answer.header("link");
            assert_eq!(next.is_some(), path.starts_with("/tree"), "{answer:?}");
            assert!(next.is_none_or(|next| next.starts_with(&format!("<{}/hf/api/models/", cache.url()))));
        }
        let token = ask(&cache, "GET", &format!("/hf/api/models/{NAME}/xet-read-token/main"), "");
        assert_eq!(token.status, 404, "{token:?}");
    });
}

#[test]
fn a_branch_that_moves_is_followed_and_a_commit_stays() {
    with_hub(|hub| {
        let cache = hub.cache("index-ttl = \"0s\"\n");
        hub.snapshot(&cache, "old", "main").ok();
        hub.moves(COMMITS[1]);
        hub.forget();
        hub.snapshot(&cache, "new", "main").ok();
        hub.has_all("new", COMMITS[1]);
        assert_eq!(hub.cdn.requests(), 0, "the large file is the same one: {:?}", hub.log());
        hub.snapshot(&cache, "commit", COMMITS[0]).ok();
        hub.has_all("commit", COMMITS[0]);
        // Within its time a branch is what it was, for all clients.
        cache.stop();
        let cache = hub.cache("");
        let body = |revision: &str| ask(&cache, "GET", &file(revision, "config.json"), "").body;
        assert_eq!(body("main"), hub.content(COMMITS[1], "config.json"));
        hub.moves(COMMITS[0]);
        assert_eq!(body("main"), hub.content(COMMITS[1], "config.json"));
        hub.session
            .run(&format!("pkgcache refresh '{}/api/models/{NAME}/revision/main'", hub.site.url()))
            .ok();
        assert_eq!(body("main"), hub.content(COMMITS[0], "config.json"));
    });
}

#[test]
fn a_damaged_file_reaches_no_client_whole_and_is_not_stored() {
    with_hub(|hub| {
        let cache = hub.cache("");
        hub.cdn.flip(BLOB, 500_000);
        hub.flip("config.json");
        hub.snapshot(&cache, "flipped", "main").fails();
        for path in ["weights.bin", "config.json"] {
            let answer = ask(&cache, "GET", &file("main", path), "");
            assert!(!answer.whole || answer.status >= 500, "{path}: {} {:?}", answer.status, answer.headers);
            let rows = hub.session.run("pkgcache ls --json").ok().rows();
            assert!(!rows.iter().any(|row| row["url"].as_str().unwrap().ends_with(path)), "{rows:?}");
        }
        hub.cdn.flip(BLOB, 500_000);
        hub.flip("config.json");
        // What breaks off is fetched from there on, and checked as a whole.
        hub.cdn.fail_once(BLOB, Fault::CutAfter(300_000));
        hub.snapshot(&cache, "healed", "main").ok();
        hub.has_all("healed", COMMITS[0]);
        hub.session.run("pkgcache verify").ok();
    });
}

#[test]
fn ten_at_once_fetch_each_file_once() {
    with_hub(|hub| {
        let cache = hub.cache("");
        let endpoint = format!("{}/hf", cache.url());
        let start = |number: usize| {
            let mut command = hub.python(&endpoint, &format!("client-{number}"), &snapshot("main"));
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let children: Vec<_> = (0..10).map(start).collect();
        for (number, child) in children.into_iter().enumerate() {
            let place = format!("client-{number}");
            Ran::after(&place, child).ok();
            hub.has_all(&place, COMMITS[0]);
        }
        let mut log = hub.log();
        log.sort();
        let whole = log.len();
        log.dedup();
        assert_eq!(whole, log.len(), "something was asked twice: {log:#?}");
    });
}

#[test]
fn a_client_that_is_killed_goes_on_where_it_was() {
    with_hub(|hub| {
        let cache = hub.cache("");
        let endpoint = format!("{}/hf", cache.url());
        let folder = hub.session.path("killed/hub/models--team--tiny/blobs");
        // The head was asked for before.
        let signed = format!("{BLOB}?signature=2");
        let held = hub.cdn.hold(&signed);
        let mut command = hub.python(&endpoint, "killed", &snapshot("main"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until_some("the large file is asked for", || (hub.cdn.asked(&signed) > 0).then_some(()));
        child.kill().unwrap();
        child.wait().unwrap();
        drop(held);
        assert!(folder.is_dir());
        hub.snapshot(&cache, "killed", "main").ok();
        hub.has_all("killed", COMMITS[0]);
        assert_eq!(hub.cdn.requests(), 1, "the cache went on alone: {:?}", hub.log());
        // As the library asks that has a part of it.
        let part = ask(&cache, "GET", &file("main", "weights.bin"), "range: bytes=1000-\r\n");
        assert!(part.body == hub.content(COMMITS[0], "weights.bin")[1000..]);
    });
}

#[test]
fn what_an_account_may_have_is_not_given_to_others() {
    with_hub(|hub| {
        hub.gate(&["right", "second"]);
        let cache = hub.cache("index-ttl = \"0s\"\n");
        let with = |token: &str| format!("authorization: Bearer {token}\r\n");
        let get = |token: &str, path: &str| ask(&cache, "GET", &file(COMMITS[0], path), &with(token));
        let weights = hub.content(COMMITS[0], "weights.bin");
        assert!(get("right", "weights.bin").body == weights);
        assert_eq!(hub.cdn.requests(), 1);
        let anyone = ask(&cache, "GET", &file(COMMITS[0], "weights.bin"), "");
        assert_eq!((anyone.status, anyone.header("x-error-code")), (401, Some("GatedRepo")), "{anyone:?}");
        assert_eq!(get("wrong", "weights.bin").status, 403);
        // Another account that may have it gets the same bytes, which are there.
        assert!(get("second", "weights.bin").body == weights);
        assert_eq!(hub.cdn.requests(), 1, "{:?}", hub.log());
        // One that may have it no more is told so, though it is stored.
        hub.gate(&["second"]);
        assert_eq!(get("right", "weights.bin").status, 403);
        hub.unplug();
        assert!(get("second", "weights.bin").body == weights);
        let cache = cache.offline();
        let offline = |token: &str| ask(&cache, "GET", &file(COMMITS[0], "weights.bin"), &with(token));
        assert!(offline("second").body == weights);
        assert_eq!(offline("wrong").status, 504);
        assert_eq!(ask(&cache, "GET", &file(COMMITS[0], "weights.bin"), "").status, 504);
        let said = cache.said();
        assert!(!said.contains("Bearer") && !said.contains("second"), "{said}");
    });
}

#[test]
fn one_file_is_fetched_by_its_name_and_one_that_is_absent_is_remembered() {
    with_hub(|hub| {
        let cache = hub.cache("");
        let endpoint = format!("{}/hf", cache.url());
        let program = format!(
            "from huggingface_hub import hf_hub_download\nfrom huggingface_hub.errors import EntryNotFoundError\n\
             print(hf_hub_download('{NAME}', 'words/list.txt'))\n\
             try:\n    hf_hub_download('{NAME}', 'adapter.json')\nexcept EntryNotFoundError:\n    print('absent')\n"
        );
        for place in ["one", "two"] {
            let ran = Ran::of(&mut hub.python(&endpoint, place, &program)).ok();
            assert!(ran.stdout().ends_with("absent\n"), "{ran}");
            let absent = hub.log().iter().filter(|line| line.contains("adapter.json")).count();
            assert_eq!(absent, 1, "{:?}", hub.log());
        }
    });
}
