//! Package downloads: on the books, within limits, and gone as planned.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use larder_tests::Ran;
use storekit::{Digest, Level, PackageEntry, PackageKey, StoredResponse};

use crate::PARTS;
use crate::scratch::{Scratch, content};

impl Scratch {
    /// Stores what some URLs answer, each last used so many hours ago: `"python x 30 a b"` are the
    /// ecosystem, the URL's end, the hours, and the bodies.
    pub(crate) fn store_packages(&self, lines: &[&str]) -> &Self {
        let packages = self.store.packages();
        packages.prepare().unwrap();
        for line in lines {
            let mut words = line.split(' ');
            let (ecosystem, name) = (words.next().unwrap(), words.next().unwrap());
            let hours: u64 = words.next().unwrap().parse().unwrap();
            let mut entry = PackageEntry::new(key(ecosystem, name));
            entry.name = Some(name.to_owned());
            let mut leases = Vec::new();
            for body in words {
                let mut writer = packages.body().unwrap();
                writer.write(&content(body)).unwrap();
                let lease = writer.finish(None).unwrap();
                entry.responses.push(response(lease.digest(), lease.size()));
                leases.push(lease);
            }
            packages.put(&entry, &leases).unwrap();
            drop(leases);
            let used = SystemTime::now() - Duration::from_secs(hours * 3600 + 60);
            let file = fs::File::options().append(true).open(packages.path(&entry.key)).unwrap();
            file.set_modified(used).unwrap();
        }
        // A process that another test is just starting has the leases, too, until it runs.
        for blob in fs::read_dir(packages.blobs().folder()).unwrap() {
            fs::File::open(blob.unwrap().path()).unwrap().lock().unwrap();
        }
        self
    }

    /// The names of the packages that are stored, sorted.
    pub(crate) fn packages(&self) -> String {
        let mut names = Vec::new();
        let each = &mut |found: storekit::FoundPackage| {
            let entry = found.entry?;
            for response in &entry.responses {
                assert!(self.store.packages().blobs().contains(&response.digest), "{:?}", entry.key);
            }
            names.extend(entry.name);
            Ok::<_, storekit::Error>(())
        };
        self.store.packages().each(each).unwrap();
        names.sort();
        names.join(" ")
    }

    fn has_body(&self, name: &str) -> bool {
        self.store.packages().blobs().contains(&Digest::of(&content(name)))
    }

    pub(crate) fn du(&self) -> u64 {
        let mut du = self.session.program("du");
        let du = Ran::of(du.args(["-s", "--block-size=1", self.root.as_str()]));
        du.stdout().split('\t').next().unwrap().parse().unwrap()
    }

    pub(crate) fn json(&self, words: &str) -> serde_json::Value {
        let out = self.run(words).ends(0).stdout();
        serde_json::from_str(out.lines().last().unwrap()).unwrap()
    }
}

pub(crate) fn key(ecosystem: &str, name: &str) -> PackageKey {
    PackageKey::new(ecosystem, "files.example", format!("https://files.example/{name}"), None)
}

pub(crate) fn response(digest: Digest, size: u64) -> StoredResponse {
    let now = Timestamp::now();
    StoredResponse {
        status: 200,
        digest,
        size,
        part: None,
        announced: None,
        level: Level::None,
        requested: now,
        received: now,
        headers: Vec::new(),
        vary: Vec::new(),
        selecting: std::collections::BTreeMap::new(),
    }
}

/// `both` and `twin` share a body; `c` is the oldest.
fn four() -> Scratch {
    let scratch = Scratch::new();
    scratch.store_packages(&["python a 10 a", "npm both 20 b s", "npm twin 30 s", "apt c 40 c"]);
    scratch
}

#[test]
fn what_is_no_entry_keeps_no_body_and_no_image() {
    let scratch = four();
    scratch.three();
    let folder = scratch.store.packages().path(&key("npm", "both"));
    let folder = folder.parent().unwrap();
    let large = folder.join(format!("{}.toml", "1".repeat(64)));
    fs::create_dir(folder.join("sub.toml")).unwrap();
    fs::write(&large, vec![b' '; 2 << 20]).unwrap();
    let bodies = || fs::read_dir(scratch.root.join("packages/blobs/sha256")).unwrap().count();
    let ran = scratch.run("run --packages-max-age 15h --max-images 2 --force");
    assert!(matches!(ran.code(), 0 | 1), "{ran}");
    assert_eq!((scratch.keys().as_str(), bodies()), ("a b", 1), "{ran}");
    scratch.run("verify --repair");
    assert!(!large.exists());
    scratch.run("clean --packages");
    assert_eq!(bodies(), 0);
}

#[test]
fn packages_are_on_the_books_to_the_block() {
    let scratch = four();
    scratch.three();
    let body = scratch.root.join("packages/blobs/sha256").join(Digest::of(b"idle").hex());
    fs::write(body, "idle").unwrap();
    fs::create_dir(scratch.root.join("contexts")).unwrap();
    fs::write(scratch.root.join("contexts/x"), "x").unwrap();
    let holes = fs::File::create(scratch.root.join("packages/blobs/sha256/holes")).unwrap();
    holes.set_len(1 << 30).unwrap();
    let again = scratch.root.join("again");
    fs::hard_link(scratch.store.packages().path(&key("apt", "c")), again).unwrap();
    let df = scratch.json("df --json");
    assert_eq!(PARTS.iter().map(|part| df[part].as_u64().unwrap()).sum::<u64>(), scratch.du());
    // Four bodies of their own, three files of 4096 (of the fourth, no removal of one name frees a
    // byte).
    assert_eq!(df["packages"], 3 * 8192 + 3 * 4096, "{df}");
    assert_eq!((df["packages-shared"].as_u64(), df["contexts"].as_u64()), (Some(8192), Some(4096)));
    assert_eq!((df["packages-unneeded"].as_u64(), df["urls"].as_u64()), (Some(4096), Some(4)));
    assert!(df["other"].as_u64().unwrap() >= 4096, "{df}");
    scratch.run("run").ends(0);
    assert!(scratch.has_body("c"));
    let table = scratch.run("df -v").ends(0).stdout();
    assert!(table.contains("npm           2  16.4kB  8.19kB"), "{table}");
}

#[test]
fn models_have_an_age_of_their_own() {
    let scratch = Scratch::new();
    let all = [
        "python a 10 a",
        "python old 90 b",
        "huggingface m 40 c",
        "ollama n 90 d",
        "generic w-1a2b.pth 50 e",
    ];
    let models = |scratch: &Scratch| {
        scratch.store_packages(&all);
    };
    models(&scratch);
    // Longer than other packages, or as long as all, or no limit.
    let plan = scratch.run("plan --max-age 30h --models-max-age 60h").ends(0).stdout();
    assert!(plan.contains("a model, unused for over 2 d"), "{plan}");
    scratch.run("run --max-age 30h --models-max-age 60h").ends(0);
    assert_eq!(scratch.packages(), "a m w-1a2b.pth");
    fs::write(scratch.root.join("larder.toml"), "[pkgcache]\nmodels-max-age = \"45h\"\n").unwrap();
    scratch.run("run").ends(0);
    assert_eq!(scratch.packages(), "a m");
    fs::write(scratch.root.join("larder.toml"), "").unwrap();
    models(&scratch);
    scratch.run("run --packages-max-age 30h --models-max-age 1000h").ends(0);
    assert_eq!(scratch.packages(), "a m n w-1a2b.pth");
    let plan = scratch.run("plan --json --models-max-age 60h").ends(0).stdout();
    fs::write(scratch.root.join("plan"), plan).unwrap();
    scratch.run("apply plan").ends(0).says("deleted 1 package");
    assert_eq!(scratch.packages(), "a m w-1a2b.pth");
}

#[test]
fn limits_of_packages_take_those_unused_for_longest() {
    let scratch = four();
    let words = scratch.run("plan --packages-max-age 25h").ends(0).stdout();
    assert!(words.contains("1 package of apt  12.3kB") && words.contains("1 package of npm"), "{words}");
    scratch.run("run --packages-max-age 25h").ends(0).says("deleted 2 packages and 1 package body (16.4kB)");
    assert_eq!(scratch.packages(), "a both");
    assert!(!scratch.has_body("c") && scratch.has_body("s"));
    scratch.run("run --packages-max-age 25h").ends(0).says("nothing to remove");
    // 3 bodies and 2 entries of one block each.
    scratch.run("run --packages-max-size 32768B").ends(0).says("nothing to remove");
    scratch.run("run --packages-max-size 32767B").ends(0);
    assert_eq!(scratch.packages(), "a");
    scratch.run("run --packages-max-size 1kB").ends(2).says("1 of 1 package (all of them, 12.3kB)");
    scratch.run("run --packages-max-size 1kB --force").ends(0);
    assert_eq!(scratch.packages(), "");
    assert_eq!(scratch.json("df --json")["packages"], 0);
}

#[test]
fn the_limits_of_the_table_are_those_of_the_options() {
    let scratch = four();
    scratch.three();
    fs::write(scratch.root.join("larder.toml"), "[pkgcache]\nmax-age = \"15h\"\nlisten = \"127.0.0.1:1\"\n")
        .unwrap();
    let asked = scratch.run("run").ends(2);
    asked.says("would delete 3 of 4 packages").says("for good");
    assert_eq!(scratch.packages(), "a both c twin");
    scratch.run("run --force").ends(0);
    assert_eq!((scratch.packages().as_str(), scratch.keys().as_str()), ("a", "a b c"));
    fs::write(scratch.root.join("larder.toml"), "[gcctl]\nmax-age = \"5h\"\n").unwrap();
    scratch.run("run --force").ends(0);
    assert_eq!((scratch.packages(), scratch.keys()), (String::new(), String::new()));
    fs::write(scratch.root.join("larder.toml"), "[gcctl]\nmax-imges = 5\n").unwrap();
    scratch.run("run").ends(2).says("is `max-images` meant?");
}

#[test]
fn one_limit_of_bytes_takes_images_and_packages_by_their_last_use() {
    let scratch = four();
    scratch.three();
    let governed = scratch.json("plan --json")["bytes"].as_u64().unwrap();
    // `c` of apt, then image `c`: 30 h ago as `twin`, whose body stays with `both`.
    scratch.run(&format!("run --max-size {}B", governed - 12_288)).ends(0);
    assert_eq!((scratch.packages().as_str(), scratch.keys().as_str()), ("a both twin", "a b c"));
    scratch.run(&format!("run --max-size {}B", governed - 12_288 - 4096 - 1)).ends(0);
    assert_eq!((scratch.packages().as_str(), scratch.keys().as_str()), ("a both", "a b"));
}

#[test]
fn a_plan_of_packages_is_kept_to_the_letter() {
    let scratch = four();
    let plan = scratch.run("plan --json --packages-max-age 5h").ends(0).stdout();
    assert_eq!(plan.matches("\"kind\":\"package\"").count(), 4);
    let packages = scratch.store.packages();
    packages.touch(&key("apt", "c"));
    scratch.store_packages(&["npm twin 30 s new", "cargo later 99 z"]);
    let ran = scratch.feed("apply --force", &plan).ends(0);
    ran.says("kept 1 package: used since").says("kept 1 package: something else was saved under it");
    assert_eq!(scratch.packages(), "c later twin");
    scratch.feed("apply --force", &plan).ends(0).says("kept 2 packages: gone already");
    assert_eq!(scratch.packages(), "c later twin");
    // No other store, whatever it holds.
    let other = four();
    other.feed("apply", &plan).ends(2).says("the plan was made for the store at");
    assert_eq!(other.packages(), "a both c twin");
}

#[test]
fn a_plan_that_was_made_up_takes_no_body_that_an_entry_names() {
    let scratch = four();
    let plan = scratch.run("plan --json --packages-max-age 35h").ends(0).stdout();
    let forged = plan.replace(&Digest::of(&content("c")).to_string(), &Digest::of(&content("a")).to_string());
    assert_ne!(forged, plan);
    scratch.feed("apply", &forged).ends(0).says("something else was saved under it");
    let end = plan.lines().last().unwrap();
    let body = format!("{{\"kind\":\"body\",\"digest\":\"{}\",\"bytes\":1}}", Digest::of(&content("a")));
    let forged = format!("{}\n{body}\n{end}\n", plan.lines().next().unwrap());
    scratch.feed("apply", &forged).ends(0).says("kept 1 package file: needed by");
    let elsewhere = plan.replace("\"source\":\"files.example\"", "\"source\":\"../../../images/keys\"");
    scratch.feed("apply", &elsewhere).ends(0).says("gone already");
    assert_eq!(scratch.packages(), "a both c twin");
}

#[test]
fn what_is_said_to_be_freed_is_freed() {
    for limits in
        ["--packages-max-age 35h", "--packages-max-age 15h --force", "--packages-max-size 20kB --force"]
    {
        let scratch = four();
        let before = scratch.du();
        let planned =
            scratch.run(&format!("plan --json {}", limits.replace(" --force", ""))).ends(0).stdout();
        let lines = planned.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let promised: u64 =
            lines.filter(|it| it["kind"] == "package").map(|it| it["bytes"].as_u64().unwrap()).sum();
        let end = scratch.json(&format!("run --json {limits}"));
        assert_eq!(end["package-bytes"].as_u64().unwrap(), promised, "{limits}");
        // What went is noted, for the alarm.
        let noted = fs::metadata(scratch.root.join(".evicted")).unwrap().blocks() * 512;
        assert_eq!(before - (scratch.du() - noted), promised, "{limits}");
        assert_eq!(end["left"]["package-bytes"], scratch.json("plan --json")["package-bytes"]);
    }
}

#[test]
fn clean_takes_what_it_is_told() {
    let scratch = four();
    scratch.three();
    scratch.run("clean --packages --dry-run").ends(0).says("4 packages (49.2kB) would be deleted at once");
    scratch.run("clean --packages").ends(0);
    assert_eq!((scratch.packages().as_str(), scratch.keys().as_str()), ("", "a b c"));
    scratch.store_packages(&["apt c 40 c"]).run("clean").ends(0);
    assert_eq!((scratch.packages().as_str(), scratch.keys().as_str()), ("c", ""));
    scratch.three().run("clean --all").ends(0);
    assert_eq!((scratch.packages(), scratch.keys()), (String::new(), String::new()));
}

#[test]
fn what_a_server_holds_stays() {
    let scratch = four();
    let lease = scratch.store.packages().blobs().lease(&Digest::of(&content("c"))).unwrap().unwrap();
    scratch.run("clean --packages").ends(0).says("kept 1 package file: in use");
    assert!(scratch.has_body("c") && !scratch.has_body("a"));
    drop(lease);
    let mut runs = (0..100).map(|_| scratch.run("run").ends(0));
    runs.find(|ran| !ran.stderr().contains("in use")).unwrap();
    assert!(!scratch.has_body("c"));
}

#[test]
fn an_entry_that_a_crash_has_emptied_stops_nothing() {
    let scratch = four();
    fs::write(scratch.store.packages().path(&key("apt", "c")), "").unwrap();
    scratch.run("run --packages-max-age 25h").ends(0);
    assert_eq!(scratch.json("df --json")["urls"], 2);
    let later = scratch.store.packages().path(&key("python", "a"));
    let text = fs::read_to_string(&later).unwrap();
    fs::write(&later, text.replace("version = 1", "version = 2")).unwrap();
    scratch.run("run --packages-max-age 1h").ends(2).says("version 2");
    assert!(scratch.has_body("a"));
}

#[test]
fn packages_are_listed_as_they_are_asked_for() {
    let scratch = four();
    scratch.three();
    let urls = |words: &str| {
        let out = scratch.run(&format!("ls packages -0 {words}")).ends(0).stdout();
        let names: Vec<_> =
            out.split_terminator('\0').map(|url| url.trim_start_matches("https://files.example/")).collect();
        names.join(" ")
    };
    assert_eq!(urls(""), "a both twin c");
    assert_eq!(urls("--sort name"), "a both c twin");
    assert_eq!(urls("--sort size"), "both a c twin");
    assert_eq!(urls("--sort own --larger 12kB"), "a both c twin");
    assert_eq!(urls("--ecosystem npm --unused 25h"), "twin");
    assert_eq!(urls("--name t*"), "twin");
    assert_eq!(urls("--name *example/b*"), "both");
    let table = scratch.run("ls packages --name both").ends(0).stdout();
    assert!(
        table.contains("npm        both  -        20.5kB  12.3kB  20 h ago  https://files.example/both"),
        "{table}"
    );
    let row = scratch.json("ls packages --json --name c");
    assert_eq!((row["ecosystem"].as_str(), row["size"].as_u64()), (Some("apt"), Some(12_288)));
    assert_eq!(scratch.run("ls -0 --name [bc]").ends(0).stdout(), "b\0c\0");
    assert_eq!(scratch.run("ls --unused 15h --sort name -0").ends(0).stdout(), "b\0c\0");
    assert_eq!(scratch.run("ls --older 1h -0").ends(0).stdout(), "");
    assert_eq!(scratch.run("ls --older 0s --sort name -0").ends(0).stdout(), "a\0b\0c\0");
    scratch.run("ls disks").ends(0).says("no images match");
    scratch.run("ls packages --older 1h").ends(2).says("`--older` is for images");
    scratch.run("ls packages --name none").ends(0).says("no packages match");
    scratch.run("ls --sort weight").ends(2).says("not an order");
}

#[test]
fn what_is_known_of_one_thing_is_told() {
    let scratch = four();
    scratch.three();
    let text = scratch.run("info https://files.example/twin").ends(0).stdout();
    assert!(text.starts_with("package https://files.example/twin\nnpm twin\nvouched for: none\n"), "{text}");
    assert!(text.contains("shared with https://files.example/both"), "{text}");
    scratch.run("info https://files.example/none").ends(1).says("nothing is stored of");
    let text = scratch.run("info a").ends(0).stdout();
    assert!(
        text.contains("size 28.7kB, of which 16.4kB its own") && text.contains("shared with b c"),
        "{text}"
    );
    assert_eq!(scratch.json("info --json b")["key"], "b");
    scratch.run("info none").ends(1).says("`gcctl ls` lists the keys");
}
