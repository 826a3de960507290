//! Images in other places (here), who may write and is believed (`trust`), and names in registries
//! (`names`).

mod checkouts;
mod names;
mod trust;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use larder_tests::{DockerRegistry, Part, Session, have};

/// A project with one packed image, and a registry.
struct Scene {
    session: Session,
    registry: DockerRegistry,
}

impl Scene {
    /// `None` where this machine has no registry. `file`: what stands below the image's table.
    fn start(file: impl Fn(&str) -> String) -> Option<Self> {
        if !have(&[Part::Registry]) {
            return None;
        }
        let session = Session::new();
        let registry = DockerRegistry::start_deleting(&session.aside("registry"));
        session.write("src/file", "one");
        session.write("larder.toml", format!("{}{}", image(&session), file(registry.host())));
        Some(Self { session, registry })
    }

    /// A bake on another machine, which has a store of its own.
    fn bake_on(&self, machine: &str) -> String {
        let line = format!("LARDER_DIR=../{machine} larder bake");
        self.session.run(&line).ok().stdout()
    }

    /// The tags in the repository; nothing where there is none.
    fn tags(&self, repository: &str) -> Vec<String> {
        let ran = self.session.run(&format!("imgtar tags {}/{repository}", self.registry.host()));
        ran.stdout().lines().map(str::to_owned).collect()
    }

    fn digest(&self, name: &str) -> String {
        self.session.run(&format!("imgtar resolve {}/{name}", self.registry.host())).ok().stdout()
    }
}

fn image(session: &Session) -> String {
    format!("[image.app]\npack = {{ dir = \"src\", {} }}\n", session.labels())
}

/// Where an image came from, by its line of the report.
#[track_caller]
fn from(report: &str) -> Vec<&str> {
    report.lines().next().expect("a line").split_whitespace().collect()
}

const BOTH: &str = "[profile.all]\nread = [\"near\", \"team\"]\nwrite = [\"near\", \"team\"]\n";

#[test]
fn a_far_hit_fills_the_near_tier() {
    let tiers = |host: &str| {
        format!("[tier.near]\nstore = \"../near\"\n[tier.team]\nregistry = \"{host}/team/cache\"\n{BOTH}")
    };
    let Some(scene) = Scene::start(tiers) else { return };
    let built = scene.bake_on("a");
    assert_eq!(from(&built)[1..4], ["built", from(&built)[2], "pack"], "{built}");
    assert!(built.contains("; 1 to near (") && built.contains("; 1 to team ("), "{built}");
    let near = scene.bake_on("b");
    assert_eq!((from(&near)[1], from(&near)[3]), ("hit", "near"), "{near}");

    scene.session.run("rm -r ../near").ok();
    let far = scene.bake_on("c");
    assert_eq!((from(&far)[1], from(&far)[3]), ("hit", "team"), "{far}");
    assert!(far.contains("; 1 to near (") && far.contains("; 1 from team ("), "{far}");
    assert_eq!(from(&scene.bake_on("d"))[3], "near");
    // Once it is here, nobody is asked.
    let here = scene.bake_on("d");
    assert!(!here.contains("near") && !here.contains("team"), "{here}");

    // What was made elsewhere explains what is made here.
    scene.session.write("src/file", "two");
    let why = scene.session.run("LARDER_DIR=../d larder why app").ends(1).stdout();
    assert!(why.contains("src/file") || why.contains("file"), "{why}");
}

#[test]
fn what_is_damaged_in_a_registry_counts_as_missing_there_and_is_mended() {
    let tiers = |host: &str| {
        format!(
            "[tier.team]\nregistry = \"{host}/cache\"\n[profile.all]\nread = [\"team\"]\nwrite = [\"team\"]\n"
        )
    };
    let Some(scene) = Scene::start(tiers) else { return };
    let session = &scene.session;
    session.run("head -c 65536 /dev/urandom > src/large").ok();
    session.write(
        "larder.toml",
        session.run("cat larder.toml").ok().stdout()
            + &image(session)
                .replace("image.app", "image.next")
                .replace("pack = {", "pack = { workdir = \"/w\","),
    );
    scene.bake_on("a");
    let largest =
        "find ../registry/data -type f -name data -printf '%s %p\\n' | sort -rn | head -1 | cut -d' ' -f2";
    session.run(&format!("rm $({largest})")).ok();
    let ran = session.run("LARDER_DIR=../b larder bake -j1").ok();
    let ran = ran.says("what the tier `team` has under").says("counts as missing");
    assert!(ran.stdout().contains("2 images: 1 hit, 1 built"), "{ran}");
    assert!(!ran.stderr().contains("left out"), "{ran}");
    let next = session.run("LARDER_DIR=../c larder bake").ok();
    assert!(next.stdout().contains("2 images: 2 hit"), "{next}");

    // What a push does not mend is said once.
    session.run(&format!("printf x | dd of=$({largest}) conv=notrunc status=none")).ok();
    let ran = session.run("LARDER_DIR=../d larder bake -j1").ok().says("no push mends it");
    assert_eq!(ran.stderr().matches("keeps what is damaged").count(), 1, "{ran}");
    assert!(ran.stdout().contains("2 images: 1 hit, 1 built"), "{ran}");
}

/// Five images of layers of their own in a registry, baked on the machine `a`.
fn several() -> Option<Scene> {
    let tiers = |host: &str| {
        format!(
            "[tier.team]\nregistry = \"{host}/cache\"\n[profile.all]\nread = [\"team\"]\nwrite = [\"team\"]\n"
        )
    };
    let scene = Scene::start(tiers)?;
    let session = &scene.session;
    let mut file = session.run("cat larder.toml").ok().stdout();
    for name in ["one", "two", "three", "four"] {
        session.write(&format!("{name}/file"), name);
        file += &image(session).replace("app", name).replace("\"src\"", &format!("\"{name}\""));
    }
    session.write("larder.toml", file);
    session.write("src/file", "zero");
    session.run("LARDER_DIR=../a larder bake").ok();
    Some(scene)
}

/// The key of an image.
fn key_of(session: &Session, image: &str) -> String {
    let rows = session.run("LARDER_DIR=../a imgtar ls --json").ok().rows();
    let row = rows.iter().find(|row| row["image"] == image).expect("it is stored");
    row["key"].as_str().expect("a key").to_owned()
}

#[test]
fn several_damaged_images_of_a_tier_are_one_warning() {
    let Some(scene) = several() else { return };
    let session = &scene.session;
    // The layers of all of them are gone; the documents stand.
    session.run("find ../registry/data -path '*/blobs/*' -name data -size -4k -exec sh -c 'head -c 1 \"$1\" | grep -q \"{\" || rm \"$1\"' sh {} ';'").ok();
    let ran = session
        .run("LARDER_DIR=../b larder bake")
        .ok()
        .says("what the tier `team` has under 5 keys is damaged");
    assert!(ran.stdout().contains("5 images: 5 built"), "{ran}");
    assert_eq!(ran.stderr().matches("warning:").count(), 1, "{ran}");
    let key = key_of(session, "two");
    let named = format!("# damaged in the tier `team`: {key}");
    assert!(!ran.stderr().contains(&named), "{ran}");
    assert!(session.run("LARDER_DIR=../c LARDER_READ_ONLY=1 larder bake").ok().stdout().contains("5 hits"));
}

#[test]
fn a_key_that_a_registry_cannot_answer_for_is_missing_and_two_are_the_registrys_trouble() {
    let Some(scene) = several() else { return };
    let session = &scene.session;
    let breaks = |image: &str| {
        let key = key_of(session, image);
        let link = format!(
            "../registry/data/docker/registry/v2/repositories/cache/_manifests/tags/{key}/current/link"
        );
        session.run(&format!("echo no digest >{link}")).ok();
        key
    };
    let key = breaks("two");
    let ran = session.run("LARDER_READ_ONLY=1 LARDER_DIR=../b larder bake -v").ok();
    assert!(ran.stdout().contains("5 images: 4 hits, 1 built"), "{ran}");
    assert!(ran.stderr().contains(&format!("# damaged in the tier `team`: {key}")), "{ran}");
    assert!(ran.stderr().contains("answered 500") && !ran.stderr().contains("left out"), "{ran}");
    breaks("three");
    let ran = session.run("LARDER_READ_ONLY=1 LARDER_DIR=../c larder bake -j1").ok();
    let ran = ran.says("the tier `team` is left out of the rest of this run");
    assert!(ran.stdout().contains("built"), "{ran}");
    assert_eq!(ran.stderr().matches("left out").count(), 1, "{ran}");
}

#[test]
fn what_a_tier_missed_is_sent_by_the_next_hit_and_asked_for_no_more() {
    let tiers = |host: &str| {
        format!(
            "[tier.team]\nregistry = \"{host}/cache\"\n[profile.all]\nread = [\"team\"]\nwrite = [\"team\"]\n"
        )
    };
    let Some(mut scene) = Scene::start(tiers) else { return };
    scene.session.run("LARDER_READ_ONLY=1 larder bake").ok();
    scene.session.run("larder tier check team").ends(1);
    let hit = scene.session.run("larder bake").ok().stdout();
    assert!(from(&hit)[1] == "hit" && hit.contains("; 1 to team ("), "{hit}");
    scene.session.run("larder tier check team").ok();
    // A machine that took it from there does not send it back.
    let taken = scene.bake_on("b");
    assert!(from(&taken)[1] == "hit" && !taken.contains("to team"), "{taken}");

    // Whoever asked now would warn.
    scene.registry.kill();
    for machine in ["", "LARDER_DIR=../b"] {
        let ran = scene.session.run(&format!("{machine} larder bake")).ok();
        assert!(ran.stdout().contains("1 hit") && ran.stderr().is_empty(), "{ran}");
    }
}

#[test]
fn tiers_are_listed_checked_and_filled() {
    let tiers = |host: &str| {
        format!(
            "[tier.team]\nregistry = \"{host}/cache\"\n[profile.all]\nread = [\"team\"]\nwrite = [\"team\"]\n"
        )
    };
    let Some(scene) = Scene::start(tiers) else { return };
    let session = &scene.session;
    let listed = session.run("larder tier ls").ok().stdout();
    assert!(listed.contains("machine  read, written") && listed.contains("profile: all"), "{listed}");
    session.run("larder tier check team").ends(1);
    session.run("larder tier warm team").ends(1);
    // Without the profile nothing is sent.
    session.run("LARDER_READ_ONLY=1 larder bake").ok();
    session.run("LARDER_READ_ONLY=1 larder tier warm team").ends(2).says("forbid it");
    assert!(scene.tags("cache").is_empty());
    session.run("larder tier warm team").ok();
    session.run("larder tier check team").ok();
    let size = session.run("larder tier df team").ok().stdout();
    assert!(size.contains("app") && size.contains("1 image"), "{size}");
    let own = session.run("larder tier df machine").ok().stdout();
    assert!(own.contains("1 image") && !own.contains(" 0B"), "{own}");
    let entries = session.run("larder tier ls team --json").ok().rows();
    assert_eq!((entries.len(), &entries[0]["image"]), (1, &"app".into()));
    session.run("larder tier ls tame").ends(2).says("is `team` meant?");
    session.run("LARDER_DIR=../other larder tier warm machine").ok();
    session.run("LARDER_DIR=../other larder tier check machine").ok();
}

/// Saves the image at a commit of its own, which is tagged `name`.
fn commit(session: &Session, name: &str) {
    session.write("src/file", name);
    session.run(&format!("git add . && git commit -qm {name} && git tag {name} && larder bake")).ok();
}

/// What larder has put into a tier, by what the commits of the images are tagged, sorted.
fn commits_in(session: &Session, tier: &str) -> Vec<String> {
    let rows = session.run(&format!("larder tier ls {tier} --json")).ok().rows();
    let of = |commit: &str| session.run(&format!("git tag --points-at {commit}")).ok().stdout();
    let commits = rows.iter().filter_map(|row| row["commit"].as_str());
    let mut names: Vec<_> = commits.map(|commit| of(commit).trim().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_tier_is_kept_within_limits_of_its_own() {
    let tiers = |host: &str| {
        format!(
            "[tier.near]\nstore = \"../near\"\n[tier.team]\nregistry = \"{host}/cache\"\n\
             [profile.all]\nread = [\"near\", \"team\"]\nwrite = [\"near\", \"team\"]\n\
             [profile.pr]\nwhen = {{ event = \"pull_request\" }}\nread = [\"team\"]\n\
             [gcctl]\nmax-images = 100\n[gcctl.near]\nmax-per-image = 1\n\
             [gcctl.team]\nmax-per-image = 1\nkeep-refs = 1\n"
        )
    };
    let Some(scene) = Scene::start(tiers) else { return };
    let session = &scene.session;
    session.run("git init -qb main && git config user.email t@t && git config user.name t").ok();
    commit(session, "one");
    session.run("git branch old").ok();
    commit(session, "two");
    // Nothing of the image has changed since: the branch uses what was saved before.
    session.run("git commit -qm same --allow-empty").ok();
    session.run("git branch same").ok();
    commit(session, "three");
    commit(session, "four");
    // A tag of another tool's stays, and so does what it needs.
    let three = session.run("git rev-parse three").ok().stdout();
    let rows = session.run("larder tier ls team --json").ok().rows();
    let key = rows.iter().find(|row| row["commit"] == three.trim()).unwrap()["key"].clone();
    let repository = format!("{}/cache", scene.registry.host());
    session.run(&format!("imgtar retag {repository}:{} {repository}:foreign", key.as_str().unwrap())).ok();

    session.run("larder tier collect machine").ends(2).says("gcctl run");
    session.run("larder tier collect team --profile pr").ends(2).says("does not write it");
    let planned = session.run("larder tier collect team --dry-run").ok();
    assert!(planned.stdout().contains("over 1 of its name"), "{planned}");
    planned.says("1 image").says("1 tag without a note");
    assert_eq!(commits_in(session, "team").len(), 4);
    session.run("larder tier collect team").ok().says("removed 1 image");
    // `old` uses the first, `same` the second; the third goes, though its manifest stays.
    assert_eq!(commits_in(session, "team"), ["four", "one", "two"]);
    session.run(&format!("imgtar pull {repository}:foreign")).ok();
    session.run("larder tier collect team").ok().says("nothing would go");

    session.run("larder tier collect near").ok().says("removed 3 images");
    assert_eq!(commits_in(session, "near"), ["four"]);
    let again = scene.bake_on("elsewhere");
    assert_eq!(from(&again)[1], "hit", "{again}");

    let read = fs::read_to_string(session.path("larder.toml")).unwrap();
    session.write("larder.toml", read.replace("keep-refs = 1", "keep_refs = 1"));
    session.run("larder tier collect team").ends(2).says("keep-refs");
}

#[test]
fn a_tier_that_does_not_answer_costs_one_warning() {
    if !have(&[Part::Docker]) {
        return;
    }
    let session = Session::new();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    thread::spawn(move || {
        let mut held = Vec::new();
        for connection in silent.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
            held.push(connection);
        }
    });
    session.write("src/file", "one");
    let image = |number: usize| {
        let labels = session.labels();
        format!("[image.app-{number}]\npack = {{ dir = \"src\", {labels}, env = {{ N = \"{number}\" }} }}\n")
    };
    let images: String = (1..=10).map(image).collect();
    let tier = format!("[tier.far]\nregistry = \"{address}/cache\"\ntimeout = \"1s\"\n");
    session
        .write("larder.toml", format!("{images}{tier}[profile.all]\nread = [\"far\"]\nwrite = [\"far\"]\n"));
    let ran = session.run("larder bake").ok().says("the tier `far` is left out of the rest of this run");
    assert_eq!(ran.stderr().matches("warning: ").count(), 1, "{ran}");
    assert!(ran.stdout().contains("10 images: 10 built"), "{ran}");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "{ran}");
}

#[test]
fn a_tier_that_answers_slowly_costs_one_warning() {
    let session = Session::new();
    let slow = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = slow.local_addr().expect("an address");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    thread::spawn(move || {
        for mut connection in slow.incoming().flatten() {
            let count = Arc::clone(&count);
            thread::spawn(move || {
                let mut request = [0; 4096];
                while connection.read(&mut request).is_ok_and(|size| size > 0) {
                    count.fetch_add(1, Ordering::SeqCst);
                    // Time has to pass: that is what is slow.
                    thread::sleep(Duration::from_millis(700));
                    let _ = connection.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
                }
            });
        }
    });
    session.write("src/file", "one");
    let image = |number: usize| {
        let labels = session.labels();
        format!("[image.app-{number}]\npack = {{ dir = \"src\", {labels}, env = {{ N = \"{number}\" }} }}\n")
    };
    let images: String = (1..=10).map(image).collect();
    let tier = format!("[tier.far]\nregistry = \"{address}/cache\"\ntimeout = \"2s\"\n");
    session.write("larder.toml", format!("{images}{tier}[profile.all]\nread = [\"far\"]\n"));
    let ran = session.run("larder bake").ok().says("answers too slowly");
    assert_eq!(ran.stderr().matches("warning: ").count(), 1, "{ran}");
    assert!(ran.stdout().contains("10 images: 10 built"), "{ran}");
    assert!(asked.load(Ordering::SeqCst) <= 9, "{} requests: {ran}", asked.load(Ordering::SeqCst));
}

/// A project in git, whose releases have five names.
/// What podman's storage of this machine says of the first step of `app`: another time, where the
/// step was done again.
fn first_step(session: &Session, machine: &str) -> String {
    let format = "'{{(index .History 0).Created}}'";
    session
        .run(&format!("PODMAN_STORAGE=$PWD/../{machine} $LARDER_PODMAN image inspect --format {format} app"))
        .ok()
        .stdout()
}

#[test]
fn layers_come_from_tiers_where_an_image_does_not() {
    if !have(&[Part::Podman, Part::Registry]) {
        return;
    }
    let session = Session::new().with_podman();
    let registry = DockerRegistry::start_deleting(&session.aside("registry"));
    let host = registry.host();
    session.write(
        "larder.toml",
        format!(
            "[tier.team]\nregistry = \"{host}/team/cache\"\n[tier.other]\nregistry = \"{host}/other\"\n\
             [profile.dev]\nread = [\"team\"]\nwrite = [\"team\"]\n\
             [profile.pr]\nwhen = {{ event = \"pull_request\" }}\nread = [\"team\"]\n\
             [profile.apart]\nwhen = {{ event = \"schedule\" }}\nread = [\"other\"]\n\
             [image.app]\nengine-cache = {{ tiers = true }}\ntags = [\"app\"]\n"
        ),
    );
    session.write("Dockerfile", "FROM scratch\nCOPY one /one\nCOPY two /two\n");
    session.write("one", "one");
    let bake = |machine: &str, profile: &str, two: &str| {
        session.run(&format!("mkdir -p ../{machine}")).ok();
        session.write("two", two);
        let line = format!(
            "LARDER_DIR=../{machine}/store PODMAN_STORAGE=$PWD/../{machine} larder bake --engine podman --profile {profile}"
        );
        session.run(&line).ok().says("");
        first_step(&session, machine)
    };
    let layers = || {
        let ran = session.run(&format!("imgtar tags {host}/team/cache-layers"));
        ran.stdout().lines().count()
    };
    let first = bake("a", "dev", "a");
    assert_eq!(layers(), 2);
    // Another machine, another image: what has not changed is not done again.
    assert_eq!(bake("b", "pr", "b"), first);
    assert_eq!(layers(), 2, "a profile that writes nothing has written layers");
    assert_ne!(bake("c", "apart", "c"), first, "no tier that is read has them");
    // A tier that is gone costs a warning, not the bake.
    drop(registry);
    assert_ne!(bake("d", "dev", "d"), first);
}
