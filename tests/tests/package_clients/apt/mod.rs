//! apt, through the forward proxy and a mount, by-hash and without.

pub(crate) mod repository;

use std::collections::BTreeMap;
use std::io::{BufReader, Write};

use larder_tests::http::{Answer, Fault};
use larder_tests::{Part, Ran, Session, have};

use self::repository::{Apt, Door, INDEX, RELEASE, Repository, checked, install};
use crate::served::{at_once, stored, verified};

/// Every way to the cache, by-hash and without.
fn ways(test: impl Fn(&mut Repository<'_>, Door)) {
    if !have(&[Part::Apt]) {
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
        verified(&lines, ".deb", "signed");
        let index = if repository.by_hash { "/by-hash/" } else { "/Packages" };
        verified(&lines, index, "signed");
        // Another process, and the index's time is over: it is asked for it, and for nothing else.
        let cache = repository.checked("index-ttl = \"0s\"\n");
        repository.client(&cache, door, "again").works();
        assert!(repository.site.count(RELEASE) >= 1);
        assert_eq!(repository.site.answered(RELEASE, 304), repository.site.requests());
    });
}

#[test]
fn without_a_keyring_the_index_vouches() {
    ways(|repository, door| {
        let cache = repository.unchecked("");
        repository.client(&cache, door, "cold").works();
        let lines = cache.stop();
        verified(&lines, ".deb", "indexed");
    });
}

#[test]
fn everything_works_when_the_upstream_is_cut_off() {
    ways(|repository, door| {
        let cache = repository.checked("index-ttl = \"0s\"\n");
        repository.client(&cache, door, "cold").works();
        repository.site.unplug();
        repository.client(&cache, door, "cut").works();
        repository.site.heal();
        repository.site.forget();
        let cache = cache.offline();
        repository.client(&cache, door, "offline").works();
        assert_eq!(repository.site.requests(), 0);
        let lines = cache.stop();
        verified(&lines, ".deb", "signed");
    });
}

#[test]
fn what_a_guard_refuses_is_not_installed_and_the_client_shows_why() {
    ways(|repository, door| {
        for (guards, words) in [
            ("block = [\"apt:hello\"]\n", "refused by the guard `block`: apt hello"),
            ("allow = [\"apt:oth*\"]\n", "refused by the guard `allow`: apt hello"),
            ("cooldown = { apt = \"2d\" }\ncooldown-except = [\"apt:other\"]\n", "by the guard `cooldown`"),
        ] {
            let cache = repository.checked(&format!("[pkgcache.guards]\n{guards}"));
            let client = repository.client(&cache, door, "guarded");
            client.update().ok();
            client.install("other").ok();
            let refused = client.install("hello").fails();
            assert!(refused.to_string().contains(words), "{guards}: {refused}");
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
        let deb = repository.deb("hello");
        let cache = repository.checked("");
        let client = repository.client(&cache, door, "a");
        client.update().ok();
        let bad = |what: &str| {
            client.install("hello").fails();
            assert!(!stored(repository.session).iter().any(|url| url.contains(".deb")), "{what} is kept");
        };
        repository.site.flip(&deb, 700);
        bad("a flipped byte");
        repository.site.flip(&deb, 700);
        repository.site.put(&deb, &repository.files[&deb][..900]);
        bad("a shorter file");
        repository.site.put(&deb, repository.files[&deb].clone());
        repository.site.fail(&deb, Fault::CutAfter(0));
        bad("nothing of a file");
        repository.site.heal();
        // Of what breaks off in the middle, the rest is asked for.
        repository.site.fail_once(&deb, Fault::CutAfter(900));
        client.install("hello other").ok();
        client.has_all();
    });
}

#[test]
fn a_damaged_index_is_refused_and_not_kept() {
    ways(|repository, door| {
        let cache = repository.checked("");
        let paths: Vec<_> = repository
            .files
            .keys()
            .filter(|path| path.contains("/Packages") || path.contains("/by-hash/"))
            .cloned()
            .collect();
        for path in &paths {
            repository.site.flip(path, 60);
        }
        repository.client(&cache, door, "a").update().fails();
        for path in &paths {
            repository.site.flip(path, 60);
        }
        repository.client(&cache, door, "b").works();
    });
}

#[test]
fn a_damaged_release_is_refused_and_not_kept() {
    ways(|repository, door| {
        let cache = repository.checked("");
        for path in ["InRelease", "Release"].map(|name| format!("/debian/dists/stable/{name}")) {
            repository.site.flip(&path, 120);
        }
        repository.client(&cache, door, "a").update().fails();
        let half = |name: &str| {
            let path = format!("/debian/dists/stable/{name}");
            let bytes = &repository.files[&path];
            repository.site.put(&path, &bytes[..bytes.len() / 2]);
        };
        half("InRelease");
        half("Release");
        repository.client(&cache, door, "a").update().fails();
        for (path, bytes) in repository.files.iter().filter(|(path, _)| path.contains("Release")) {
            repository.site.put(path, bytes.clone());
        }
        repository.client(&cache, door, "b").works();
    });
}

#[test]
fn another_key_s_signature_is_refused_where_there_is_a_keyring() {
    ways(|repository, door| {
        repository.publish("wrong");
        let cache = repository.checked("");
        let ran = repository.client(&cache, door, "a").update().fails();
        assert!(ran.stderr().contains("502") && ran.stderr().contains("cannot be used: "), "{ran}");
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
        all("update");
        all(&install("hello other"));
        clients.iter().for_each(Apt::has_all);
        let mut counts = BTreeMap::new();
        for exchange in repository.site.log() {
            *counts.entry(exchange.request.path).or_insert(0) += 1;
        }
        let lines = cache.stop();
        assert!(
            counts.values().all(|count| *count == 1),
            "{counts:#?} {:#?} {lines:#?}",
            repository.site.log()
        );
    });
}

#[test]
fn both_doors_and_all_spellings_lead_to_one_entry() {
    if !have(&[Part::Apt]) {
        return;
    }
    let session = Session::new();
    let repository = Repository::new(&session, true);
    let cache = repository.checked("");
    repository.client(&cache, Door::Proxy, "proxy").works();
    repository.site.forget();
    repository.client(&cache, Door::Mount, "mount").works();
    let deb = repository.deb("hello");
    for path in [deb.clone(), deb.replace('+', "%2b"), deb.replace('+', "%2B")] {
        let answer = larder_tests::http::get(cache.authority(), &path).unwrap();
        assert_eq!((answer.status, answer.body == repository.files[&deb]), (200, true), "{path}");
        let head = session.run(&format!("curl -sfI -x {} {}{path}", cache.url(), repository.site.url()));
        assert!(head.ok().stdout().contains(&format!("ength: {}\r\n", answer.body.len())), "{path}");
    }
    assert_eq!(repository.site.requests(), 0, "{:#?}", repository.site.log());
    assert_eq!(stored(&session).iter().filter(|url| url.contains("hello")).count(), 1);
}

/// What a client gets that holds the older release, and what one gets that comes after.
#[test]
fn an_upstream_that_changes_between_update_and_install_is_never_a_mismatch() {
    ways(|repository, door| {
        let cache = repository.checked("index-ttl = \"0s\"\n");
        let old = repository.client(&cache, door, "old");
        old.update().ok();
        old.install("hello").ok();
        repository.replace("hello", "2.0");
        let new = repository.client(&cache, door, "new");
        new.works();
        // What the older release names is stored, and stays.
        let other = repository.client(&cache, door, "old");
        other.works();
    });
}

/// The release is the older one, and what it names is gone before the client asks for it.
#[test]
fn an_upstream_that_changes_within_an_update_is_never_a_mismatch() {
    ways(|repository, door| {
        let cache = repository.checked("index-ttl = \"0s\"\n");
        let paths: Vec<_> =
            repository.files.keys().filter(|path| path.contains("main/binary-amd64/")).cloned().collect();
        let held: Vec<_> = paths.iter().map(|path| repository.site.hold(path)).collect();
        let client = repository.client(&cache, door, "a");
        let update = repository.session.start(&client.line("update"));
        larder_tests::until("an index is asked for", || {
            paths.iter().any(|path| repository.site.asked(path) > 0)
        });
        repository.replace("hello", "2.0");
        drop(held);
        checked(Ran::after("update", update));
        client.works();
    });
}

/// Two clients on one machine: each goes on with the release that it was given.
#[test]
fn two_generations_at_a_time_stay_apart() {
    if !have(&[Part::Apt]) {
        return;
    }
    let session = Session::new();
    let mut repository = Repository::new(&session, false);
    let cache = repository.checked("index-ttl = \"0s\"\n");
    repository.client(&cache, Door::Mount, "first").works();
    let old = repository.files.clone();
    let mut connection = larder_tests::http::connect(cache.authority());
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut get = |path: &str| {
        write!(connection, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        Answer::read(&mut reader, "GET").body
    };
    assert_eq!(get(RELEASE), old[RELEASE]);
    repository.replace("hello", "2.0");
    repository.client(&cache, Door::Mount, "second").works();
    let index = format!("{INDEX}.xz");
    assert_eq!(get(&index), old[&index]);
    assert_eq!(get(RELEASE), repository.files[RELEASE]);
    assert_eq!(get(&index), repository.files[&index]);
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

#[test]
fn a_busy_upstream_is_left_alone_by_all() {
    ways(|repository, door| {
        let cache = repository.checked("index-ttl = \"0s\"\n");
        repository.client(&cache, door, "cold").works();
        repository.site.forget();
        repository.site.fail("", Fault::TooManyRequests("600".to_owned()));
        for name in ["a", "b", "c"] {
            repository.client(&cache, door, name).works();
        }
        assert_eq!(repository.site.requests(), 1, "{:#?}", repository.site.log());
    });
}
