//! dnf, through the forward proxy and a mount, with checksums in the names of indexes and without.
//! Each client checks the signature of repomd.xml, so that a mixture of generations shows.

mod builds;
mod generations;
mod repository;

use std::collections::BTreeMap;
use std::io::{BufReader, Write};

use larder_tests::http::{Answer, Fault};
use larder_tests::{Part, Session, have};

use self::repository::{Dnf, Door, REPOMD, Repository, checked, install};
use crate::served::{at_once, stored, verified};

/// Every way to the cache, by-hash and without.
fn ways(test: impl Fn(&mut Repository<'_>, Door)) {
    if !have(&[Part::Dnf]) {
        return;
    }
    for (by_hash, door) in
        [(false, Door::Proxy), (true, Door::Proxy), (false, Door::Mount), (true, Door::Mount)]
    {
        let session = Session::new();
        let mut repository = Repository::new(&session, by_hash);
        test(&mut repository, door);
    }
}

#[test]
fn a_cold_cache_verifies_and_a_warm_one_asks_for_no_package() {
    ways(|repository, door| {
        let cache = repository.checked("");
        repository.client(&cache, door, "cold").works();
        repository.site.forget();
        repository.client(&cache, door, "warm").works();
        assert_eq!(repository.site.requests(), 0, "{door:?} {:#?}", repository.site.log());
        let lines = cache.stop();
        verified(&lines, ".rpm", "signed");
        verified(&lines, "primary.xml", "signed");
        // Another process, and the index's time is over: it is asked for it, and for nothing else.
        let cache = repository.checked("index-ttl = \"0s\"\n");
        repository.client(&cache, door, "again").works();
        assert!(repository.site.count(REPOMD) >= 1);
        assert_eq!(repository.site.answered(REPOMD, 304), repository.site.requests());
    });
}

#[test]
fn without_a_keyring_the_index_vouches() {
    ways(|repository, door| {
        let cache = repository.unchecked("");
        repository.client(&cache, door, "cold").works();
        repository.site.forget();
        repository.client(&cache, door, "warm").works();
        assert_eq!(repository.site.requests(), 0, "{door:?} {:#?}", repository.site.log());
        let lines = cache.stop();
        verified(&lines, ".rpm", "indexed");
        verified(&lines, "primary.xml", "indexed");
    });
}

#[test]
fn everything_works_when_the_upstream_is_cut_off() {
    ways(|repository, door| {
        for checked in [false, true] {
            let more = "index-ttl = \"0s\"\n";
            let cache = if checked { repository.checked(more) } else { repository.unchecked(more) };
            repository.client(&cache, door, "cold").works();
            repository.site.unplug();
            repository.client(&cache, door, "cut").works();
            repository.site.heal();
            repository.site.forget();
            let cache = cache.offline();
            repository.client(&cache, door, "offline").works();
            assert_eq!(repository.site.requests(), 0);
            let lines = cache.stop();
            verified(&lines, ".rpm", if checked { "signed" } else { "indexed" });
        }
    });
}

#[test]
fn what_a_guard_refuses_is_not_installed_and_the_log_says_why() {
    ways(|repository, door| {
        for (guards, words) in [
            ("block = [\"dnf:hello\"]\n", "refused by the guard `block`: dnf hello"),
            ("allow = [\"dnf:oth*\"]\n", "refused by the guard `allow`: dnf hello"),
            ("cooldown = { dnf = \"2d\" }\ncooldown-except = [\"dnf:other\"]\n", "by the guard `cooldown`"),
        ] {
            let cache = repository.checked(&format!("[pkgcache.guards]\n{guards}"));
            let client = repository.client(&cache, door, "guarded");
            client.update().ok();
            client.install("other").ok();
            client.install("hello").fails();
            cache.stop();
            let log = std::fs::read_to_string(repository.session.path("access.log")).unwrap();
            assert!(log.contains(words), "{guards}: {log}");
            assert!(!stored(repository.session).iter().any(|url| url.contains("hello")), "{guards}");
        }
    });
}

#[test]
fn a_damaged_package_is_refused_and_not_kept() {
    ways(|repository, door| {
        let rpm = repository.rpm("hello");
        let cache = repository.checked("");
        let client = repository.client(&cache, door, "a");
        client.update().ok();
        let bad = |what: &str| {
            client.install("hello").fails();
            assert!(!stored(repository.session).iter().any(|url| url.contains(".rpm")), "{what} is kept");
        };
        repository.site.flip(&rpm, 5000);
        bad("a flipped byte");
        repository.site.flip(&rpm, 5000);
        repository.site.put(&rpm, &repository.files[&rpm][..900]);
        bad("a shorter file");
        repository.site.put(&rpm, repository.files[&rpm].clone());
        repository.site.fail(&rpm, Fault::CutAfter(0));
        bad("nothing of a file");
        repository.site.heal();
        // Of what breaks off in the middle, the rest is asked for.
        repository.site.fail_once(&rpm, Fault::CutAfter(900));
        client.install("hello other").ok();
        client.has_all();
    });
}

#[test]
fn a_damaged_index_is_refused_and_not_kept() {
    ways(|repository, door| {
        let cache = repository.checked("");
        let paths = repository.indexes();
        for path in &paths {
            repository.site.flip(path, 60);
        }
        repository.client(&cache, door, "a").update().fails();
        assert!(!stored(repository.session).iter().any(|url| url.contains("primary")));
        for path in &paths {
            repository.site.flip(path, 60);
        }
        repository.client(&cache, door, "b").works();
    });
}

#[test]
fn a_damaged_repomd_is_refused_and_not_kept() {
    ways(|repository, door| {
        for with_keyring in [false, true] {
            let whole = repository.files[REPOMD].clone();
            let text = String::from_utf8(whole.clone()).unwrap();
            let cache = if with_keyring { repository.checked("") } else { repository.unchecked("") };
            let is_refused = |name: &str, document: Vec<u8>| {
                repository.site.put(REPOMD, document);
                repository.client(&cache, door, name).update().fails();
                assert!(!stored(repository.session).iter().any(|url| url.ends_with("/repomd.xml")), "{name}");
            };
            is_refused("half", whole[..whole.len() / 2].to_vec());
            is_refused("entities", b"<!DOCTYPE repomd [<!ENTITY a 'b'>]><repomd>&a;</repomd>".to_vec());
            is_refused("outside", text.replacen("href=\"repodata/", "href=\"../../", 1).into());
            if with_keyring {
                is_refused("changed", text.replacen("<revision>", "<revision>1", 1).into());
            }
            repository.site.put(REPOMD, whole);
            repository.client(&cache, door, "healed").works();
            cache.stop();
            std::fs::remove_dir_all(repository.session.store()).unwrap();
        }
    });
}

#[test]
fn another_key_s_signature_is_refused_where_there_is_a_keyring() {
    ways(|repository, door| {
        repository.publish("wrong");
        let cache = repository.checked("");
        repository.client(&cache, door, "a").update().fails();
        larder_tests::until("the cache says why", || cache.said().contains("cannot be used"));
        repository.publish("right");
        repository.client(&cache, door, "b").works();
    });
}

#[test]
fn ten_at_once_fetch_each_file_once() {
    ways(|repository, door| {
        let cache = repository.checked("");
        let clients: Vec<_> =
            (0..10).map(|number| repository.client(&cache, door, &number.to_string())).collect();
        let all = |words: &str| {
            let lines: Vec<_> = clients.iter().map(|client| client.line(words)).collect();
            for ran in at_once(repository.session, &lines) {
                checked(ran).ok();
            }
        };
        all("makecache");
        all(&install("hello other"));
        clients.iter().for_each(Dnf::has_all);
        let mut counts = BTreeMap::new();
        for exchange in repository.site.log() {
            *counts.entry(exchange.request.path).or_insert(0) += 1;
        }
        assert!(counts.values().all(|count| *count == 1), "{counts:#?}");
    });
}

#[test]
fn both_doors_and_all_spellings_lead_to_one_entry() {
    if !have(&[Part::Dnf]) {
        return;
    }
    let session = Session::new();
    let repository = Repository::new(&session, true);
    let cache = repository.checked("");
    repository.client(&cache, Door::Proxy, "proxy").works();
    repository.site.forget();
    repository.client(&cache, Door::Mount, "mount").works();
    let rpm = repository.rpm("hello");
    for path in [rpm.clone(), rpm.replace('+', "%2b"), rpm.replace('+', "%2B")] {
        let answer = larder_tests::http::get(cache.authority(), &path).unwrap();
        assert_eq!((answer.status, answer.body == repository.files[&rpm]), (200, true), "{path}");
    }
    assert_eq!(repository.site.requests(), 0, "{:#?}", repository.site.log());
    assert_eq!(stored(&session).iter().filter(|url| url.contains("hello")).count(), 1);
}

/// A client that has the list of packages from before asks for a package alone.
#[test]
fn a_package_is_verified_though_nobody_has_asked_for_its_list() {
    ways(|repository, _| {
        let cache = repository.unchecked("");
        let get = |path: &str| larder_tests::http::get(cache.authority(), path);
        assert_eq!(get(REPOMD).unwrap().status, 200);
        let rpm = repository.rpm("hello");
        repository.site.flip(&rpm, 5000);
        let refused = get(&rpm);
        assert!(refused.is_err() || refused.is_ok_and(|answer| !answer.whole || answer.status >= 500));
        repository.site.flip(&rpm, 5000);
        assert!(get(&rpm).unwrap().body == repository.files[&rpm]);
        verified(&cache.stop(), "hello", "indexed");
    });
}

#[test]
fn an_upstream_in_trouble_leaves_what_is_stored() {
    ways(|repository, door| {
        let cache = repository.checked("index-ttl = \"0s\"\n");
        repository.client(&cache, door, "cold").works();
        repository.site.fail("", Fault::Status(500));
        repository.client(&cache, door, "a").works();
        // A mirror that is being updated may have no index for a while.
        repository.site.heal();
        repository.site.fail("", Fault::Status(404));
        repository.client(&cache, door, "a").works();
        repository.site.heal();
        repository.site.unplug();
        repository.client(&cache, door, "a").works();
    });
}

/// A list of mirrors is an index of its own: by the proxy, the client stays here with the servers
/// in it.
#[test]
fn a_list_of_mirrors_is_kept_and_counts_nobody() {
    if !have(&[Part::Dnf]) {
        return;
    }
    let session = Session::new();
    let repository = Repository::new(&session, true);
    let site = repository.site.url();
    repository.site.put("/fedora/mirrorlist", format!("{site}/fedora/39/\n"));
    let cache = repository.checked("");
    for (name, question) in [("one", "?countme=1"), ("two", "")] {
        let list = format!("mirrorlist={site}/fedora/mirrorlist{question}\nproxy={}\n", cache.url());
        repository.client_of(name, &list).works();
    }
    let log = repository.site.log();
    assert_eq!(log.iter().filter(|it| it.request.path == "/fedora/mirrorlist").count(), 1, "{log:#?}");
    assert!(log.iter().all(|it| it.request.header("via").is_some()), "{log:#?}");
    assert!(!log.iter().any(|it| it.request.path.contains("countme")), "{log:#?}");
}

/// What a client with zchunk asks for: the parts of an index that are new to it.
#[test]
fn an_index_is_given_in_256_parts() {
    if !have(&[Part::Dnf]) {
        return;
    }
    let session = Session::new();
    let repository = Repository::new(&session, true);
    let cache = repository.checked("");
    repository.client(&cache, Door::Mount, "a").works();
    let path = repository.rpm("hello");
    let whole = &repository.files[&path];
    let ranges: Vec<_> = (0..256_usize).map(|number| (number * 1500, number * 1500 + 499)).collect();
    let asked: Vec<_> = ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect();
    let mut connection = larder_tests::http::connect(cache.authority());
    write!(connection, "GET {path} HTTP/1.1\r\nhost: x\r\nrange: bytes={}\r\n\r\n", asked.join(",")).unwrap();
    let answer = Answer::read(&mut BufReader::new(connection), "GET");
    let kind = answer.header("content-type").unwrap();
    assert!(answer.status == 206 && kind.starts_with("multipart/byteranges"), "{} {kind}", answer.status);
    let body = String::from_utf8_lossy(&answer.body).to_ascii_lowercase();
    let mut rest = answer.body.as_slice();
    for (first, last) in ranges {
        assert!(body.contains(&format!("content-range: bytes {first}-{last}/{}\r\n", whole.len())));
        let part = &whole[first..=last];
        let at = rest.windows(part.len()).position(|it| it == part);
        rest = &rest[at.unwrap_or_else(|| panic!("{first}")) + part.len()..];
    }
}
