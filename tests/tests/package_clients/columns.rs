//! What holds for every client: the columns of the table in the manual.

use std::fmt::Write;
use std::fs;
use std::process::{Command, Stdio};

use larder_tests::http::Fault;
use larder_tests::{Part, Ran, have};

use crate::world::World;

/// A package client.
pub(crate) trait Client {
    /// What it needs.
    const PARTS: &'static [Part];

    /// Whether it shows the words of a status line, or the body of a refusal.
    const SHOWS_REASONS: bool = true;

    /// Its upstreams, and a cache in front of them that does not run yet.
    fn world() -> World;

    /// What installs the package into a new folder `place`, with nothing kept from before, from the
    /// index at this URL.
    fn install(world: &World, place: &str, index: &str) -> Command;

    /// The files that are in the folder then, and what has to be in them.
    fn installed() -> Vec<(&'static str, String)>;

    /// An index document in which a file lies at another URL.
    fn with_link(document: &str, url: &str) -> String;
}

/// The noise that each package has in it: more than a server holds back.
pub(crate) fn noise(seed: &str) -> String {
    let mut state = seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut text = String::new();
    while text.len() < 200_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let _ = writeln!(text, "{state:016x}");
    }
    text
}

#[track_caller]
fn installs<C: Client>(world: &World, place: &str) {
    let ran = World::run(C::install(world, place, &world.url())).ok();
    is_installed::<C>(world, place, &ran);
}

#[track_caller]
pub(crate) fn is_installed<C: Client>(world: &World, place: &str, ran: &Ran) {
    for (path, content) in C::installed() {
        let found = fs::read_to_string(world.session.path(place).join(path));
        assert!(found.is_ok_and(|it| it == content), "{place}/{path} is not what it has to be after {ran}");
    }
}

#[track_caller]
fn fails<C: Client>(world: &World, place: &str) -> Ran {
    World::run(C::install(world, place, &world.url())).fails()
}

fn started<C: Client>() -> Option<World> {
    have(C::PARTS).then(|| {
        let mut world = C::world();
        world.serve("");
        world
    })
}

/// How often each index and each file was fetched, and that nothing else was. A question for a head
/// alone fetches nothing.
#[track_caller]
fn asked(world: &World, indexes: usize, artifacts: usize) {
    let log = lines(world);
    let count = |path: &str| log.iter().filter(|it| it.starts_with(&format!("GET {path} "))).count();
    for path in &world.indexes {
        assert_eq!(count(path), indexes, "{path} of {log:?}");
    }
    for (path, _) in &world.artifacts {
        assert_eq!(count(path), artifacts, "{path} of {log:?}");
    }
    let all = world.indexes.len() * indexes + world.artifacts.len() * artifacts;
    assert_eq!(log.iter().filter(|it| !it.starts_with("HEAD ")).count(), all, "{log:?}");
}

/// What the upstreams were asked.
pub(crate) fn lines(world: &World) -> Vec<String> {
    world
        .log()
        .into_iter()
        .map(|it| format!("{} {} {}", it.request.method, it.request.path, it.status))
        .collect()
}

pub(crate) fn cold<C: Client>() {
    let Some(world) = started::<C>() else { return };
    installs::<C>(&world, "cold");
    asked(&world, 1, 1);
    for (path, below) in &world.artifacts {
        assert_eq!(world.level_of(&world.file_url(path)), "indexed", "{path}");
        let answer = world.ask("GET", &world.below(below), "");
        let status = answer.header("cache-status").unwrap_or_default();
        assert!(status.contains("hit") && status.contains("verified=indexed"), "{path}: {answer:?}");
        assert!(answer.whole);
    }
}

pub(crate) fn warm<C: Client>() {
    let Some(world) = started::<C>() else { return };
    installs::<C>(&world, "cold");
    world.forget();
    installs::<C>(&world, "warm");
    asked(&world, 0, 0);
    world.age();
    installs::<C>(&world, "stale");
    asked(&world, 1, 0);
    assert!(lines(&world).iter().all(|it| it.ends_with(" 304")), "{:?}", lines(&world));
}

pub(crate) fn cut<C: Client>() {
    let Some(mut world) = started::<C>() else { return };
    installs::<C>(&world, "cold");
    world.unplug();
    world.age();
    installs::<C>(&world, "cut");
    world.serve("offline = true");
    world.forget();
    installs::<C>(&world, "offline");
    asked(&world, 0, 0);
    let missing = world.ask("GET", &world.below("/absent-package/"), "");
    assert!(missing.status == 504 && missing.text().contains("absent-package"), "{missing:?}");
}

pub(crate) fn tampered<C: Client>() {
    let Some(world) = started::<C>() else { return };
    let (path, below) = world.artifacts.last().unwrap();
    let whole = world.content(path);
    let is_refused = |place: &str| {
        let ran = fails::<C>(&world, place);
        let stored = world.stored_of(&world.file_url(path));
        assert!(stored.is_empty(), "{stored:?} after {ran}");
        let answer = world.ask("GET", &world.below(below), "");
        assert!(!answer.whole || answer.status >= 500, "{place}: {} {:?}", answer.status, answer.headers);
    };
    world.files().flip(path, 1000);
    is_refused("flipped");
    world.files().put(path, &whole[..whole.len() / 2]);
    is_refused("shorter");
    world.files().put(path, whole);
    // What breaks off is fetched from there on, and checked as a whole.
    world.files().fail_once(path, Fault::CutAfter(70_000));
    installs::<C>(&world, "healed");
    assert_eq!(world.level_of(&world.file_url(path)), "indexed");
    world.session.run("pkgcache verify").ok();
}

pub(crate) fn bad_index<C: Client>() {
    let Some(world) = started::<C>() else { return };
    let path = world.indexes.first().unwrap();
    let whole = String::from_utf8(world.content(path)).unwrap();
    let half = whole[..whole.len() / 2].to_owned();
    let outside = C::with_link(&whole, "file:///etc/passwd");
    assert_ne!(outside, whole);
    for (place, document) in [("half", half), ("outside", outside), ("nothing", String::new())] {
        world.site.put(path, document);
        let ran = fails::<C>(&world, place);
        assert!(!ran.to_string().contains("root:"), "{ran}");
        let told = ran.to_string().contains("cannot be used: ");
        assert!(told || !C::SHOWS_REASONS || place == "outside", "{ran}");
        if place != "outside" {
            let stored = world.stored_of(&world.index_url(path));
            assert!(stored.is_empty(), "{place}: {stored:?}");
        }
        if !world.stored_of(&world.index_url(path)).is_empty() {
            world.session.run(&format!("pkgcache refresh '{}'", world.index_url(path))).ok();
        }
    }
    world.site.put(path, whole);
    // An index that breaks off is not one of fewer versions.
    world.site.fail_once(path, Fault::CutAfter(100));
    let ran = World::run(C::install(&world, "broken off", &world.url()));
    if ran.code() == 0 {
        is_installed::<C>(&world, "broken off", &ran);
    }
    installs::<C>(&world, "healed");
}

pub(crate) fn ten_at_once<C: Client>() {
    let Some(world) = started::<C>() else { return };
    let places: Vec<_> = (0..10).map(|number| format!("client-{number}")).collect();
    let start = |place: &String| {
        let mut command = C::install(&world, place, &world.url());
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        piped.spawn().unwrap()
    };
    let children: Vec<_> = places.iter().map(start).collect();
    for (place, child) in places.iter().zip(children) {
        let ran = Ran::after(place.as_str(), child).ok();
        is_installed::<C>(&world, place, &ran);
    }
    asked(&world, 1, 1);
}

/// The upstream is there, but does not do what it should.
pub(crate) fn trouble<C: Client>() {
    let Some(world) = started::<C>() else { return };
    installs::<C>(&world, "cold");
    for (place, fault) in [("500", Fault::Status(500)), ("404", Fault::Status(404))] {
        world.age();
        world.site.fail("", fault.clone());
        let ran = World::run(C::install(&world, place, &world.url()));
        if fault == Fault::Status(500) {
            is_installed::<C>(&world, place, &ran.ok());
        }
        world.heal();
        world.unplug();
        installs::<C>(&world, &format!("behind {place}"));
        world.heal();
    }
    world.age();
    world.forget();
    world.site.fail("", Fault::TooManyRequests("3600".to_owned()));
    installs::<C>(&world, "429");
    installs::<C>(&world, "429 again");
    // What one was told holds for all that is asked of this server.
    let asked = lines(&world);
    assert!((1..=world.indexes.len()).contains(&asked.len()), "{asked:?}");
}

/// The tests of a client: one for each column.
macro_rules! columns {
    ($client:ty) => {
        #[test]
        fn an_install_is_verified() {
            crate::columns::cold::<$client>();
        }

        #[test]
        fn a_second_install_asks_for_no_file_and_once_for_a_stale_index() {
            crate::columns::warm::<$client>();
        }

        #[test]
        fn an_install_needs_no_upstream_a_second_time() {
            crate::columns::cut::<$client>();
        }

        #[test]
        fn a_damaged_file_is_not_installed_and_not_stored() {
            crate::columns::tampered::<$client>();
        }

        #[test]
        fn a_bad_index_is_not_used() {
            crate::columns::bad_index::<$client>();
        }

        #[test]
        fn ten_at_once_fetch_each_object_once() {
            crate::columns::ten_at_once::<$client>();
        }

        #[test]
        fn what_is_stored_stands_in_for_an_upstream_in_trouble() {
            crate::columns::trouble::<$client>();
        }
    };
}
pub(crate) use columns;
