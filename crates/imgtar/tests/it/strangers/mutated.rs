//! Input that is nearly right, by the hundred: whatever comes, nothing panics, nothing that is
//! stored fails to verify, nothing is written outside.
//!
//! `LARDER_FUZZ_SEED`, `LARDER_FUZZ_ROUNDS` make another or a longer run.

use std::sync::Mutex;
use std::time::Duration;

use camino::Utf8Path;
use imgtar::archive::export::{self, export};
use imgtar::archive::import::import;
use imgtar::disk::to_file;
use imgtar::extract::{self, Folder, Pattern, extract};
use imgtar::image::Stored;
use imgtar::image::commit::Notes;
use imgtar::image::disk::Disk;
use imgtar::image::{show, verify};
use imgtar::registry::{Config, Patience};
use imgtar::source::Source;
use miette::Diagnostic;
use serde_json::Value;
use storekit::{Descriptor, Key, Overwrite, Store};

use crate::kit::dice::{self, Dice};
use crate::kit::remotes::{Asked, Fake, Reply};
use crate::kit::session::Session;
use crate::kit::tars::{docker, layer};
use crate::strangers::untrusted::{hasty, pull_with, push, store};

/// The most rounds over one store.
const FRESH: u64 = 50;

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

/// Whatever is stored is as it should be.
#[track_caller]
fn is_sound(store: &Store, round: u64) {
    let report = verify::verify(&store.images(), &[], &()).unwrap();
    assert!(report.problems.is_empty(), "round {round}: {:?}", report.problems);
    let blobs = store.images().blobs();
    for digest in blobs.list().unwrap() {
        blobs.verify(&digest).unwrap_or_else(|error| panic!("round {round}: {error}"));
    }
    let left = storekit::files::replace::names(blobs.folder()).unwrap();
    assert!(left.iter().all(|name| name.len() == 64 || name.starts_with(".tmp-partial-")), "{left:?}");
}

/// Calls each round with its dice and a store, which is a new one now and then.
fn rounds(count: u64, mut each: impl FnMut(u64, &mut Dice, &Session, &Store)) {
    let (seed, count) = dice::run(count);
    let mut session = Session::new();
    for round in 0..count {
        if round % FRESH == FRESH - 1 {
            session = Session::new();
        }
        // By its number a round can be had again alone.
        let mut dice = Dice::seeded(seed.wrapping_mul(1_000_003).wrapping_add(round));
        each(round, &mut dice, &session, &store(&session));
    }
}

#[test]
fn archives_that_are_nearly_right_do_no_harm() {
    let mut taken = 0;
    rounds(400, |round, dice, session, store| {
        let archive = dice.archive();
        let source = if dice.once_in(2) {
            Source::File(session.write("a.tar", &archive))
        } else {
            Source::Stream(Box::new(std::io::Cursor::new(archive)))
        };
        let notes = Notes { force: true, ..Notes::default() };
        match import(store, &key(&format!("k{}", round % 4)), source, &notes, &()) {
            Ok(_) => taken += 1,
            // Bad input is trouble; only what was stored can be damaged.
            Err(error) => {
                let code = error.code().map(|code| code.to_string()).unwrap_or_default();
                assert!(!code.ends_with("::corrupt"), "round {round}: {error}");
            }
        }
        is_sound(store, round);
        read_back(session, store, round);
    });
    // Most of them get somewhere, or this tests little.
    assert!(taken > 0 || dice::run(400).1 < 100, "none was taken");
}

/// Every image is read in every way that there is.
fn read_back(session: &Session, store: &Store, round: u64) {
    let images = store.images();
    let blobs = images.blobs();
    for row in show::list(&images).unwrap() {
        assert!(row.problem.is_none(), "round {round}: {:?}", row.problem);
        show::info(&images, &row.key).unwrap().unwrap();
        let stored = Stored::expect(&images, &row.key).unwrap();
        if stored.images.is_empty() {
            continue;
        }
        let mut archive = Vec::new();
        if export(&images, &stored, &export::Options::default(), &mut archive, &()).is_ok() {
            imgtar::archive::walk::walk(&archive[..], "-", &mut |_, _| Ok(())).unwrap();
        }
        let out = session.path("out");
        let mut folder = Folder::new(&out, false).unwrap();
        let patterns = ["/", "a/b/", "*/e"].map(|text| Pattern::parse(text.as_bytes()).unwrap());
        let options = extract::Options { patterns: patterns.to_vec(), ..extract::Options::default() };
        if extract(&blobs, &stored, &options, &mut folder, &()).is_ok() {
            // Two things of one name are refused here.
            let _ = folder.finish();
        }
        std::fs::remove_dir_all(&out).unwrap();
    }
    let beside = storekit::files::replace::names(&session.path("")).unwrap();
    assert!(
        beside.iter().all(|name| matches!(name.as_str(), "a.tar" | "store")),
        "round {round}: {beside:?}"
    );
}

/// Puts the document under a key, as another tool would that believes it.
fn enter(store: &Store, name: &str, media_type: &str, bytes: &[u8]) -> bool {
    let images = store.images();
    let lease = images.blobs().put(bytes).unwrap();
    let descriptor = Descriptor::new(media_type, lease.digest(), lease.size());
    let entry = storekit::Entry::new(descriptor, jiff::Timestamp::UNIX_EPOCH);
    images.commit(&key(name), &entry, None, &[lease], Overwrite::Yes).is_ok()
}

#[test]
fn documents_in_a_store_that_are_nearly_right_do_no_harm() {
    rounds(150, |round, dice, session, store| {
        let archive = docker("app:1", &[&dice.tar()]).end();
        let source = Source::Stream(Box::new(std::io::Cursor::new(archive)));
        if import(store, &key("sound"), source, &Notes::default(), &()).is_err() {
            return;
        }
        let disk = session.write("disk.raw", [vec![1; 5 << 20], vec![0; 4 << 20], vec![2; 100]].concat());
        let sound = if dice.once_in(2) {
            session.run("import disk disk.raw --type raw").ok();
            "disk"
        } else {
            "sound"
        };
        let images = store.images();
        let blobs = images.blobs();
        let entry = images.get(&key(sound)).unwrap().unwrap();
        let document: Value =
            serde_json::from_slice(&blobs.read(&entry.descriptor.digest, 1 << 20).unwrap()).unwrap();
        let changed = dice.document(&document);
        if enter(store, "k", &entry.descriptor.media_type, &changed) {
            // They may be wrong, and then say so; each of these ends.
            let _ = show::list(&images).unwrap();
            let _ = show::info(&images, &key("k"));
            let _ = verify::verify(&images, &[], &()).unwrap();
            if let Ok(Some(disk)) =
                Disk::read(&blobs, &key("k"), &images.get(&key("k")).unwrap().unwrap().descriptor)
            {
                let out = std::fs::File::create(session.path("out.raw")).unwrap();
                let _ = to_file(&blobs, &key("k"), &disk, (&out, "out.raw"), &());
            }
        }
        hurt_files(dice, store, sound);
        let _ = show::list(&images);
        let _ = verify::verify(&images, &[], &());
        let other = docker("other:1", &[&layer("a", &round.to_string())]).end();
        let source = Source::Stream(Box::new(std::io::Cursor::new(other)));
        import(store, &key("other"), source, &Notes { force: true, ..Notes::default() }, &()).unwrap();
        assert!(verify::verify(&images, &[key("other")], &()).unwrap().problems.is_empty());
        std::fs::remove_file(disk).unwrap();
        std::fs::remove_dir_all(store.root()).unwrap();
    });
}

/// Changes bytes of a key file and of the index.
fn hurt_files(dice: &mut Dice, store: &Store, name: &str) {
    for path in [store.images().folder().join("keys").join(name), store.images().folder().join("index.json")]
    {
        if dice.once_in(2) {
            let mut bytes = std::fs::read(&path).unwrap();
            dice.hurt(&mut bytes);
            std::fs::write(&path, bytes).unwrap();
        }
    }
}

/// An answer of a registry, with something in it that is not so.
fn changed(dice: &mut Dice, asked: &Asked, mut reply: Reply, host: &str) -> Reply {
    if !dice.once_in(3) {
        return reply;
    }
    let long = "x".repeat(70_000);
    let elsewhere = format!("http://{host}/v2/app/blobs/uploads/elsewhere");
    let realm = format!("Bearer realm=\"http://{host}/token\",service=\"x\"");
    let odd = [
        "",
        "0",
        "-1",
        "7",
        "18446744073709551615",
        "sha256:",
        "sha256:00",
        "bytes 0-9/10",
        "bytes 5-/9",
        "0-5",
        "/v2/",
        "//evil",
        "file:///etc/passwd",
        "http://127.0.0.1:1/",
        "?x",
        "\u{e9}",
        "gzip",
        "text/html",
        "Basic",
        "Bearer realm=",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        &long,
        &elsewhere,
        &realm,
        &asked.path,
    ];
    let names = [
        "Content-Length",
        "Content-Type",
        "Content-Range",
        "Content-Encoding",
        "Docker-Content-Digest",
        "Location",
        "Range",
        "WWW-Authenticate",
        "Retry-After",
        "Transfer-Encoding",
        "Connection",
        "OCI-Subject",
        "Link",
    ];
    for _ in 0..=dice.below(2) {
        match dice.below(8) {
            0 => {
                let all = [
                    100, 101, 200, 201, 202, 204, 206, 301, 307, 400, 401, 403, 404, 405, 416, 429, 500, 503,
                    999,
                ];
                reply.status = all[dice.below(all.len())];
            }
            1 | 2 => {
                let name = dice.of(&names);
                reply.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
                reply = reply.with(name, dice.of(&odd));
            }
            3 => reply.headers.clear(),
            4 => reply.body.clear(),
            5 => reply.cut = Some(dice.below(reply.body.len() + 1)),
            6 => reply.unsized_ = true,
            _ => dice.hurt(&mut reply.body),
        }
    }
    reply
}

fn impatient() -> Config {
    let short = Duration::from_millis(150);
    let patience = Patience { connect: short, stall: short, settle: short, ..hasty().patience };
    Config { patience: Patience { retries: 1, ..patience }, ..hasty() }
}

#[test]
fn answers_of_a_registry_that_are_nearly_right_do_no_harm() {
    let plain = layer("file", &"content ".repeat(3000));
    rounds(120, |round, dice, session, store| {
        let inner = Mutex::new(Dice::seeded(dice.below(1 << 30) as u64));
        let host = Mutex::new(String::new());
        let host = std::sync::Arc::new(host);
        let shared = std::sync::Arc::clone(&host);
        let fake = Fake::start_changing(move |asked, reply| {
            changed(&mut inner.lock().unwrap(), asked, reply, &shared.lock().unwrap())
        });
        host.lock().unwrap().clone_from(&fake.host);
        fake.image("1", &[&plain, &dice.tar()]);
        let _ = store.images().remove(&[key("k")], &store.trash().shredder());
        let pulled = pull_with(session, &fake, &impatient());
        assert_eq!(
            matches!(pulled, Ok(Some(_))),
            store.images().get(&key("k")).unwrap().is_some(),
            "round {round}"
        );
        is_sound(store, round);
        let source = Source::Stream(Box::new(std::io::Cursor::new(docker("app:1", &[&plain]).end())));
        import(store, &key("k"), source, &Notes::default(), &()).unwrap();
        let _ = push(session, &fake, &impatient());
        is_sound(store, round);
    });
}

/// What a layer's own reader makes of any bytes: an error or files below the folder.
#[test]
fn layers_that_are_nearly_right_stay_in_their_folder() {
    rounds(300, |round, dice, session, store| {
        let tars: Vec<_> = (0..=dice.below(3)).map(|_| dice.tar()).collect();
        let layers: Vec<&[u8]> = tars.iter().map(Vec::as_slice).collect();
        let source = Source::Stream(Box::new(std::io::Cursor::new(docker("app:1", &layers).end())));
        let notes = Notes { force: true, ..Notes::default() };
        if import(store, &key("k"), source, &notes, &()).is_ok() {
            read_back(session, store, round);
        }
        assert!(!Utf8Path::new("/x").exists() && !session.path("../x").exists());
    });
}
