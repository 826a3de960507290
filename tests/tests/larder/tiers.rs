//! Images in other places, kinds of build, and names in registries.

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
fn a_pull_request_writes_nothing_whatever_its_checkout_says() {
    let kinds = |host: &str| {
        format!(
            "[tier.team]\nregistry = \"{host}/cache\"\n[tier.scratch]\nregistry = \"{host}/cache-pr\"\n\
             [profile.pr]\nwhen = {{ event = \"pull_request\" }}\nread = [\"scratch\", \"team\"]\nwrite = [\"scratch\"]\n\
             [profile.dev]\nwhen = {{ branch = \"dev\" }}\ntrust = 1\nread = [\"team\"]\nwrite = [\"team\"]\ntags = [\"{host}/{{image}}:dev\"]\n"
        )
    };
    let Some(scene) = Scene::start(kinds) else { return };
    let session = &scene.session;
    let pr = "GITHUB_ACTIONS=true GITHUB_EVENT_NAME=pull_request GITHUB_REF=refs/pull/1/merge GITHUB_REF_NAME=1/merge GITHUB_HEAD_REF=dev";
    let push = "GITHUB_ACTIONS=true GITHUB_EVENT_NAME=push GITHUB_REF=refs/heads/dev GITHUB_REF_NAME=dev";
    session.run(&format!("{pr} LARDER_DIR=../pr larder bake")).ok();
    assert_eq!((scene.tags("cache").len(), scene.tags("app").len()), (0, 0));
    assert!(!scene.tags("cache-pr").is_empty());

    // The checkout widens its own profile: what the user or the CI says goes before.
    let file = session.run("cat larder.toml").ok().stdout();
    let wide = file.replace("write = [\"scratch\"]", "trust = 1\nwrite = [\"scratch\", \"team\"]");
    session.write("larder.toml", &wide);
    session.write("src/file", "two");
    session.run(&format!("{pr} LARDER_READ_ONLY=1 LARDER_DIR=../pr larder bake")).ok();
    session.run("mkdir -p \"$HOME/.config/larder\" && printf '[larder]\\nread-only = true\\n' > \"$HOME/.config/larder/config.toml\"").ok();
    session.write("src/file", "three");
    session.run(&format!("{pr} LARDER_DIR=../pr larder bake --profile dev")).ok();
    assert_eq!((scene.tags("cache").len(), scene.tags("app").len()), (0, 0));
    session.run("rm \"$HOME/.config/larder/config.toml\"").ok();

    // A build of the branch writes and tags, and does not take what the pull request left.
    session.write("larder.toml", file);
    session.write("src/file", "one");
    let built = session.run(&format!("{push} LARDER_DIR=../dev larder bake")).ok().stdout();
    assert_eq!(from(&built)[1], "built", "{built}");
    assert_eq!(scene.tags("app"), ["dev"]);
    assert!(!scene.tags("cache").is_empty());
}

#[test]
fn a_release_takes_only_what_its_team_has_signed() {
    let tiers = |host: &str| {
        format!(
            "[tier.team]\nregistry = \"{host}/cache\"\nsigned-by = [\"ci.pub\"]\n\
             [profile.all]\nread = [\"team\"]\nwrite = [\"team\"]\n"
        )
    };
    let Some(scene) = Scene::start(tiers).filter(|_| have(&[Part::Openssl])) else { return };
    let session = &scene.session;
    session.run("openssl genpkey -algorithm ed25519 -out ../ci.key && openssl pkey -in ../ci.key -pubout -out ci.pub").ok();
    // Whoever has the credentials of the registry can put anything under the key of the release.
    session.write("src/file", "evil");
    session.run("LARDER_DIR=../evil larder bake").ok().says("LARDER_SIGNING_KEY is not set");
    let evil = session.run("LARDER_DIR=../evil imgtar ls --json").ok().json()["key"].clone();
    session.write("src/file", "one");
    let row = &session.run("LARDER_READ_ONLY=1 larder bake --dry-run --json").rows()[0];
    let key = row["key"].as_str().expect("a key");
    let evil = evil.as_str().expect("a key");
    session
        .run(&format!("LARDER_DIR=../evil imgtar export {evil} | LARDER_DIR=../forged imgtar import {key}"))
        .ok();
    session
        .run(&format!(
            "LARDER_DIR=../forged imgtar push {key} --tier registry:{}/cache",
            scene.registry.host()
        ))
        .ok();

    let sign = "LARDER_SIGNING_KEY=../ci.key";
    let ran = session.run(&format!("{sign} LARDER_DIR=../ci larder bake")).ok();
    assert_eq!(from(&ran.stdout())[1], "built", "{ran}");
    let ran = ran.says("is not signed by a trusted key: it is not taken");
    assert!(!ran.stderr().contains("left out"), "{ran}");
    let built = session.run("LARDER_DIR=../ci imgtar ls --json").ok().json();
    // It has taken the place of the other one, and the next machine has it without a key.
    let report = session.run("LARDER_DIR=../next larder bake").ok();
    assert_eq!((from(&report.stdout())[1], from(&report.stdout())[3]), ("hit", "team"), "{report}");
    let taken = session.run("LARDER_DIR=../next imgtar ls --json").ok().json();
    assert_eq!((&taken["key"], &taken["digest"]), (&key.into(), &built["digest"]));
    session.write("ci.pub", "no key");
    let ran = session.run("LARDER_DIR=../last larder bake").ok().says("cannot be used as a public key");
    assert_eq!(from(&ran.stdout())[1], "built", "{ran}");
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
fn releases(host: &str) -> String {
    format!(
        "[profile.release]\nwhen = {{ tag = \"v*\" }}\ntags = [\n\"{host}/team/{{image}}:v{{version}}\",\n\"{host}/team/{{image}}:{{sha}}\",\n\
         {{ name = \"{host}/team/{{image}}:{{minor}}\", move = \"forward\" }},\n{{ name = \"{host}/team/{{image}}:{{major}}\", move = \"forward\" }},\n\
         {{ name = \"{host}/team/{{image}}:latest\", move = \"forward\" }},\n]\n"
    )
}

impl Scene {
    /// Commits another content and tags it.
    fn commit(&self, version: &str) {
        self.session.write("src/file", version);
        self.session.run(&format!("git add -A && git commit -qm {version} && git tag v{version}")).ok();
    }
}

#[test]
fn a_release_moves_names_forward_only() {
    let Some(scene) = Scene::start(releases) else { return };
    let session = &scene.session;
    session.run("git init -q").ok();
    scene.commit("1.0.0");
    let sha = session.run("git rev-parse HEAD").ok().stdout().trim().to_owned();
    let listed = session.run("larder tags").ok().stdout();
    assert_eq!(listed.matches("pushed").count(), 5, "{listed}");
    assert!(scene.tags("team/app").is_empty());
    let said = session.run("larder bake").ok().stdout();
    assert_eq!(said.matches("tagged: app: ").count(), 5, "{said}");
    let mut tags = vec!["1", "1.0", "latest", "v1.0.0", &sha];
    tags.sort_unstable();
    assert_eq!(scene.tags("team/app"), tags);

    scene.commit("1.1.0");
    session.run("larder bake").ok();
    let newest = scene.digest("team/app:v1.1.0");
    assert_ne!(newest, scene.digest("team/app:v1.0.0"));
    assert_eq!(scene.digest("team/app:latest"), newest);

    // A backport has its own series alone.
    session.run("git checkout -q v1.0.0").ok();
    scene.commit("1.0.1");
    let listed = session.run("larder tags").ok().stdout();
    assert_eq!(listed.matches("stays: 1.1.0 is there").count(), 2, "{listed}");
    session.run("larder bake").ok();
    assert_eq!(
        (scene.digest("team/app:latest"), scene.digest("team/app:1")),
        (newest.clone(), newest.clone())
    );
    assert_eq!(scene.digest("team/app:1.0"), scene.digest("team/app:v1.0.1"));

    // A pre-release has its full version alone.
    scene.commit("2.0.0-rc.1");
    session.run("larder bake").ok();
    assert!(scene.tags("team/app").contains(&"v2.0.0-rc.1".to_owned()));
    assert!(!scene.tags("team/app").contains(&"2".to_owned()));
    assert_eq!(scene.digest("team/app:latest"), newest);

    // A build without a version moves nothing forward.
    session.write("src/file", "topic");
    session.run("git checkout -qb topic && git add -A && git commit -qm topic && git tag release-5.0.0").ok();
    let listed = session.run("larder tags --profile release").ok().says("`release-5.0.0` is not a version");
    assert_eq!(listed.stdout().matches("stays: no version is built").count(), 1, "{listed}");
    session.run("git tag -d release-5.0.0 && larder bake --profile release").ok();
    assert_eq!(scene.digest("team/app:latest"), newest);
    let topic = session.run("git rev-parse HEAD").ok().stdout();
    assert_ne!(scene.digest(&format!("team/app:{}", topic.trim())), newest);

    session.run("git checkout -q v2.0.0-rc.1").ok();

    // Where files differ from the commit, no name would say what it is.
    scene.session.write("src/file", "changed");
    let before = scene.tags("team/app");
    session.run("larder bake").ends(1).says("files differ from the git commit");
    let listed = session.run("larder tags").ends(1).says("files differ from the git commit");
    assert!(!listed.stdout().contains("pushed"), "{listed}");
    // Nor where git does not know what it is made from; what is not an input does not matter.
    session.run("git checkout -q src/file && echo '*.tmp' > .git/info/exclude").ok();
    session.write("notes", "mine");
    session.run("larder tags").ok();
    for new in ["src/new", "src/ignored.tmp"] {
        session.write(new, "new");
        let why = format!("`{new}`, an input of `app`, is not in the git commit");
        session.run("larder tags").ends(1).says(&why);
        session.run("larder bake").ends(1).says(&why);
        session.run(&format!("rm {new}")).ok();
    }
    assert_eq!(scene.tags("team/app"), before);
}

#[test]
fn nothing_is_tagged_where_anything_failed() {
    let Some(scene) = Scene::start(releases) else { return };
    let session = &scene.session;
    session.run("git init -q").ok();
    let bad = "[image.bad]\npack = { dir = \"none\" }\n";
    let file = session.run("cat larder.toml").ok().stdout();
    session.write("larder.toml", format!("{file}{bad}"));
    scene.commit("1.0.0");
    session.run("larder bake").ends(2);
    assert!(scene.tags("team/app").is_empty());
    session.run("larder bake app").ok();
    assert_eq!(scene.tags("team/app").len(), 5);
    // A step that fails comes before the names, too.
    session.write("larder.toml", format!("{file}[[ci.step]]\nname = \"test\"\nrun = \"test -e passes\"\n"));
    scene.commit("1.1.0");
    session.run("larder ci").ends(1).says("failed: test: `test -e passes` ended with code 1");
    assert!(!scene.tags("team/app").contains(&"v1.1.0".to_owned()));
    session.run("touch passes && larder ci").ok();
    assert!(scene.tags("team/app").contains(&"v1.1.0".to_owned()));
}

/// A profile that gives the image a name in each of these places.
fn places(places: &[&str]) -> String {
    let names: Vec<_> = places.iter().map(|place| format!("\"{place}\"")).collect();
    format!("[profile.all]\ntags = [{}]\n", names.join(", "))
}

#[test]
fn all_names_are_given_or_none() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let tags = |host: &str| places(&[&format!("{host}/{{image}}:dev"), &format!("{address}/{{image}}:dev")]);
    let Some(scene) = Scene::start(tags) else { return };
    let session = &scene.session;
    session.run("larder bake").ends(2).says(&format!("`{address}/app` takes no push"));
    assert!(scene.tags("app").is_empty());

    // A name that cannot be is known before anything is baked.
    let host = scene.registry.host();
    let bad = places(&[&format!("{host}/{{image}}:dev"), &format!("{host}/{{branch}}/{{image}}:dev")]);
    session.write("larder.toml", format!("{}{bad}", image(session)));
    session.write("src/file", "two");
    let branch = "GITHUB_ACTIONS=true GITHUB_REF=refs/heads/a..b GITHUB_REF_NAME=a..b";
    for job in ["bake", "ci"] {
        let ran = session.run(&format!("{branch} larder {job}")).ends(2).says("a..b");
        assert!(ran.stdout().is_empty() && !ran.stderr().contains("building"), "{ran}");
    }

    // Where a registry fails midway, it is said which names there are.
    let both = places(&[&format!("{host}/{{image}}:dev"), &format!("{host}/other/{{image}}:dev")]);
    session.write("larder.toml", format!("{}{both}", image(session)));
    let repository = "../registry/data/docker/registry/v2/repositories/other/app";
    session.run(&format!("mkdir -p {repository} && touch {repository}/_manifests")).ok();
    let ran = session.run("larder bake").ends(2).says("not all names were given");
    let ran = ran.says(&format!("given: `{host}/app:dev`")).says("another run gives them all");
    assert!(ran.stderr().contains(&format!("`{host}/other/app:dev`")), "{ran}");
    session.run(&format!("rm {repository}/_manifests && larder bake")).ok();
    assert_eq!(
        (scene.tags("app"), scene.tags("other/app")),
        (vec!["dev".to_owned()], vec!["dev".to_owned()])
    );
}

#[test]
fn a_registry_that_does_not_answer_is_named() {
    let session = Session::new();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = silent.local_addr().expect("an address").to_string();
    session.write("src/file", "one");
    session.write("larder.toml", format!("{}{}", image(&session), releases(&host)));
    let release = "GITHUB_ACTIONS=true GITHUB_REF=refs/tags/v1.0.0 GITHUB_REF_NAME=v1.0.0";
    let asks = |line: &str| session.run(&format!("{release} {line}"));
    asks("larder tags").ends(2).says(&format!("`{host}/team/app`"));
    // What is forbidden is not what is not there.
    asks("LARDER_READ_ONLY=1 larder tags").ok().says("forbid those of the profile `release`");
}

#[test]
fn of_two_releases_at_once_the_higher_one_has_the_names() {
    let Some(scene) = Scene::start(releases) else { return };
    let session = &scene.session;
    session.run("git init -q").ok();
    scene.commit("1.0.0");
    scene.commit("2.0.0");
    session.run("git clone -q . ../one && git -C ../one checkout -q v1.0.0 && git clone -q . ../two").ok();
    for round in 0..3 {
        let line = format!(
            "(cd ../one && LARDER_DIR=../one-{round} larder bake) & one=$!; (cd ../two && LARDER_DIR=../two-{round} larder bake) & two=$!; wait $one && wait $two"
        );
        session.run(&line).ok();
        assert_eq!(scene.digest("team/app:latest"), scene.digest("team/app:v2.0.0"), "round {round}");
        assert_eq!(scene.digest("team/app:1"), scene.digest("team/app:v1.0.0"));
    }
}

#[test]
fn an_image_is_taken_by_the_name_of_another_kind_of_build() {
    let kinds = |host: &str| {
        format!(
            "[profile.dev]\nwhen = {{ branch = \"*\" }}\ntrust = 1\ntags = [\"{host}/{{image}}:dev\"]\n\
             [profile.release]\nwhen = {{ tag = \"v*\" }}\ntrust = 2\nalso-read = [\"{host}/{{image}}:dev\", \"{host}/{{image}}:latest\"]\n\
             tags = [\"{host}/{{image}}:v{{version}}\"]\n"
        )
    };
    let Some(scene) = Scene::start(kinds) else { return };
    let session = &scene.session;
    session.run("git init -q && git add -A && git commit -qm one").ok();
    assert_eq!(from(&scene.bake_on("dev"))[1], "built");
    assert_eq!(scene.tags("app"), ["dev"]);
    session.run("git tag v1.0.0").ok();
    let report = scene.bake_on("release");
    let name = format!("{}/app:dev", scene.registry.host());
    assert_eq!((from(&report)[1], from(&report)[3]), ("hit", name.as_str()), "{report}");
    assert_eq!(scene.digest("app:v1.0.0"), scene.digest("app:dev"));
    // What stands there was made for another key: it is not taken.
    scene.commit("1.1.0");
    assert_eq!(from(&scene.bake_on("release"))[1], "built");
}

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
    session.write("../registries.conf", format!("[[registry]]\nlocation = \"{host}\"\ninsecure = true\n"));
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
