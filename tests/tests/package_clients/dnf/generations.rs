//! An upstream that changes while clients ask: none is ever given parts of two generations.

use std::io::{BufReader, Write};

use larder_tests::http::Answer;
use larder_tests::{Part, Ran, Session, have};

use super::repository::{Door, REPOMD, Repository, SIGNATURE, checked};
use super::ways;

/// What a client gets that holds the older indexes, and what one gets that comes after.
#[test]
fn an_upstream_that_changes_between_update_and_install_is_never_a_mismatch() {
    ways(|repository, door| {
        let cache = repository.checked("index-ttl = \"0s\"\n");
        let old = repository.client(&cache, door, "old");
        old.update().ok();
        old.install("hello").ok();
        repository.replace("hello", "2.0");
        repository.client(&cache, door, "new").works();
        // What the older indexes name is stored, and stays.
        repository.session.run("find clients/old/root -name 'hello*.rpm' -delete").ok();
        old.install("hello").ok();
    });
}

/// The repomd.xml is the older one, and what it names is gone before the client asks for it.
#[test]
fn an_upstream_that_changes_within_an_update_is_never_a_mismatch() {
    ways(|repository, door| {
        let cache = repository.checked("index-ttl = \"0s\"\n");
        let paths = repository.indexes();
        let held: Vec<_> = paths.iter().map(|path| repository.site.hold(path)).collect();
        let client = repository.client(&cache, door, "a");
        let update = repository.session.start(&client.line("makecache"));
        larder_tests::until("an index is asked for", || {
            paths.iter().any(|path| repository.site.asked(path) > 0)
        });
        repository.replace("hello", "2.0");
        drop(held);
        checked(Ran::after("update", update));
        client.works();
    });
}

/// The upstream changes when it has given repomd.xml, and not yet the signature.
#[test]
fn a_repomd_and_its_signature_are_of_one_generation() {
    ways(|repository, door| {
        for with_keyring in [true, false] {
            let more = "index-ttl = \"0s\"\n";
            let cache = if with_keyring { repository.checked(more) } else { repository.unchecked(more) };
            for round in 0..2 {
                let before = repository.site.asked(SIGNATURE);
                let held = repository.site.hold(SIGNATURE);
                let client = repository.client(&cache, door, "a");
                let update = repository.session.start(&client.line("makecache"));
                larder_tests::until("the signature is asked for", || {
                    repository.site.asked(SIGNATURE) > before
                });
                repository.replace("hello", &format!("2.{round}{}", u8::from(with_keyring)));
                drop(held);
                let ran = checked(Ran::after("update", update));
                if with_keyring || round > 0 {
                    // Both are fetched before either is given.
                    ran.ok();
                }
                client.works();
                repository.replace("other", &format!("2.{round}{}", u8::from(with_keyring)));
            }
            cache.stop();
            std::fs::remove_dir_all(repository.session.store()).unwrap();
        }
    });
}

/// Two clients on one machine: each goes on with the generation that it was given.
#[test]
fn two_generations_at_a_time_stay_apart() {
    if !have(&[Part::Dnf]) {
        return;
    }
    for with_keyring in [false, true] {
        let session = Session::new();
        let mut repository = Repository::new(&session, false);
        let more = "index-ttl = \"0s\"\n";
        let cache = if with_keyring { repository.checked(more) } else { repository.unchecked(more) };
        repository.client(&cache, Door::Mount, "first").works();
        let old = repository.files.clone();
        let index = repository.indexes().into_iter().find(|path| path.contains("primary")).unwrap();
        let mut connection = larder_tests::http::connect(cache.authority());
        let mut reader = BufReader::new(connection.try_clone().unwrap());
        let mut get = |path: &str| {
            write!(connection, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
            Answer::read(&mut reader, "GET").body
        };
        assert!(get(REPOMD) == old[REPOMD]);
        repository.replace("hello", "2.0");
        repository.client(&cache, Door::Mount, "second").works();
        assert!(get(&index) == old[&index] && get(SIGNATURE) == old[SIGNATURE]);
        for path in [REPOMD, &index, SIGNATURE] {
            assert!(get(path) == repository.files[path], "{path}");
        }
    }
}
