//! Folders of other tools: what is listed, what goes, and what stays whatever lies there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use larder_tests::parts::{HUGGINGFACE, installed};
use larder_tests::{Part, Ran, Session, have};
use serde_json::Value;

use crate::scratch::{Scratch, session};

/// A session with a store, whose larder.toml says this of extra folders.
fn settled(text: &str) -> (Scratch, Session) {
    let session = session();
    session.write("larder.toml", text);
    (Scratch::new(), session)
}

fn gcctl(scratch: &Scratch, session: &Session, words: &str) -> Ran {
    session.run(&format!("{words} --store {}", scratch.root))
}

/// A file whose access and change lie so many hours back.
fn aged(path: impl AsRef<Path>, hours: u64) {
    let time = SystemTime::now() - Duration::from_secs(hours * 3600);
    let file = fs::File::open(path).unwrap();
    file.set_times(fs::FileTimes::new().set_accessed(time).set_modified(time)).unwrap();
}

fn file(session: &Session, path: &str, bytes: usize, hours: u64) {
    aged(session.write(path, vec![7; bytes]), hours);
}

/// The paths below the working folder of what would go, in their order.
fn goes(scratch: &Scratch, session: &Session) -> Vec<String> {
    let rows = gcctl(scratch, session, "plan --json").ends(0).rows();
    let extras = rows.into_iter().filter(|row| row["kind"] == "extra");
    extras.map(|row| row["path"].as_str().unwrap().to_owned()).collect()
}

/// What a folder occupies.
fn du(session: &Session, folder: &str) -> u64 {
    let du = Ran::of(session.program("du").args(["-s", "--block-size=1"]).arg(session.path(folder))).ok();
    du.stdout().split_whitespace().next().unwrap().parse().unwrap()
}

const CACHE: &str = "[[extra]]\npath = \"cache\"\nkind = \"dir\"\n";

#[test]
fn a_folder_is_listed_and_stands_beside_the_store() {
    let (scratch, session) = settled(CACHE);
    gcctl(&scratch, &session, "ls extra").ends(0).says("there are none");
    file(&session, "cache/old", 5000, 50);
    file(&session, "cache/deep/er/new", 100, 1);
    let list = gcctl(&scratch, &session, "ls extra --unused 5h -0").ends(0).stdout();
    assert!(list.ends_with("/cache/old\0") && !list.contains("new"), "{list}");
    let rows = gcctl(&scratch, &session, "ls extra --json --sort size").ends(0).rows();
    assert_eq!((rows[0]["size"].as_u64(), rows[1]["size"].as_u64()), (Some(8192), Some(4096)));
    let before = scratch.run("df --json").ends(0).rows();
    let beside = gcctl(&scratch, &session, "df --json").ends(0).rows();
    assert_eq!(beside[0]["total"], before[0]["total"], "it is in no sum");
    let extra = &beside[0]["extra"][0];
    let du = du(&session, "cache");
    assert_eq!((extra["bytes"].as_u64(), extra["items"].as_u64()), (Some(du), Some(2)));
    let table = gcctl(&scratch, &session, "df").ends(0).stdout();
    assert!(table.lines().last().unwrap().ends_with("/cache"), "{table}");
    // Without a limit nothing goes.
    assert!(goes(&scratch, &session).is_empty());
    let rows = gcctl(&scratch, &session, "limits --json").ends(0).rows();
    let of = |name: &str| rows.iter().find(|row| row["name"].as_str().is_some_and(|it| it.ends_with(name)));
    let row = of("/cache").unwrap();
    assert_eq!((row["value"].as_str(), row["now"].as_u64()), (Some("none"), Some(du)));
    session.write("larder.toml", format!("{CACHE}max-size = \"1MB\"\nmax-age = \"30h\"\n"));
    let table = gcctl(&scratch, &session, "limits").ends(0).stdout();
    for (name, value, now) in [("max-size", "1.00MB", "24.6kB"), ("max-age", "30 h", "2 d")] {
        let line = table.lines().find(|line| line.contains(&format!("/cache: {name}"))).unwrap();
        let words: Vec<_> = line.split("  ").map(str::trim).filter(|it| !it.is_empty()).collect();
        assert_eq!(words[1..3], [value, now], "{table}");
        assert!(words[3].ends_with("/larder.toml"), "{table}");
    }
    let page = gcctl(&scratch, &session, "report").ends(0).stdout();
    assert!(page.contains("Folders of other tools") && page.contains("1.00MB, 30 h"), "{page}");
    assert!(page.contains("<td class=\"number\">8.19kB</td></tr>"), "what the next run frees: {page}");
}

#[test]
fn the_oldest_files_go_and_only_those_of_the_plan() {
    let (scratch, session) = settled(&format!("{CACHE}max-age = \"30h\"\nmax-size = \"45kB\"\n"));
    file(&session, "cache/a", 4000, 50);
    file(&session, "cache/b", 4000, 40);
    file(&session, "cache/sub/c", 4000, 20);
    file(&session, "cache/d", 30_000, 10);
    assert_eq!(goes(&scratch, &session), ["a", "b", "sub/c"]);
    let table = gcctl(&scratch, &session, "plan").ends(0).says("3 items").stdout();
    assert!(table.contains("unused for over 30 h") && table.contains("over 45.0kB"), "{table}");
    let plan = gcctl(&scratch, &session, "plan --json").ends(0).stdout();
    assert!(plan.starts_with(r#"{"kind":"plan","version":5"#), "{plan}");
    // One is read, one is gone, one comes.
    aged(session.path("cache/a"), 0);
    fs::remove_file(session.path("cache/b")).unwrap();
    file(&session, "cache/e", 10, 90);
    let apply = format!("apply --store {}", scratch.root);
    let ran = session.feed(&apply, plan.as_bytes()).ends(1).says("deleted 1 item (4.10kB) of extra folders");
    assert!(ran.stderr().contains("used since") && ran.stderr().contains("gone already"), "{}", ran.stderr());
    let left = |name: &str| session.path("cache").join(name).exists();
    assert!(left("a") && left("d") && left("e") && left("sub") && !left("sub/c"));
    // A plan about a folder that nobody names does nothing.
    session.write("larder.toml", "");
    session.feed(&apply, plan.as_bytes()).ends(2).says("no settings name it");
    assert!(left("a"));
}

#[test]
fn a_plan_from_a_file_takes_no_unfinished_file_and_no_empty_folder() {
    let (scratch, session) = settled(&format!("{HUB}max-age = \"10d\"\n"));
    scratch.three();
    hub(&session);
    let plan = gcctl(&scratch, &session, "plan --json --max-images 2").ends(0).stdout();
    let empty = session.path("hf/hub/models--a--empty");
    fs::create_dir(&empty).unwrap();
    aged(&empty, 2);
    let dead = ["images", "packages"].map(|it| scratch.root.join(it).join("blobs/sha256/.tmp-dead"));
    for file in &dead {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, [1; 5000]).unwrap();
    }
    let is_there = || dead.iter().chain([&empty]).all(|path| path.exists());
    session.feed(&format!("apply --store {}", scratch.root), plan.as_bytes()).ends(0).says("removed 1 image");
    assert!(is_there() && scratch.keys() == "a b" && !at(&session, &format!("snapshots/{LOST}")));
    gcctl(&scratch, &session, "run").ends(0);
    assert!(!dead[0].exists() && !dead[1].exists() && !empty.exists());
}

#[test]
fn what_goes_of_folders_is_not_said_to_be_nothing_and_one_that_is_not_there_is_told() {
    let (scratch, session) = settled(&format!("{CACHE}max-age = \"30h\"\n"));
    for words in ["plan", "run", "df", "limits", "ls extra"] {
        let ran = gcctl(&scratch, &session, words).ends(0).says("/cache` is not there; `");
        ran.says("larder.toml` names it");
    }
    file(&session, "cache/old", 4000, 50);
    gcctl(&scratch, &session, "plan").ends(0).says("nothing of the store would go; left");
    gcctl(&scratch, &session, "run").ends(0).says("nothing to remove in the store; left");
    let ran = gcctl(&scratch, &session, "run").ends(0).says("nothing to remove; left");
    assert!(!ran.stderr().contains("not there"), "{}", ran.stderr());
}

#[test]
fn most_of_a_folder_goes_for_its_size_only_by_force() {
    let (scratch, session) = settled(&format!("{CACHE}max-size = \"9kB\"\n"));
    for name in ["a", "b", "c", "d"] {
        file(&session, &format!("cache/{name}"), 4000, 50);
    }
    gcctl(&scratch, &session, "plan").ends(0).says("`--force` is needed");
    gcctl(&scratch, &session, "run").ends(2).says("`max-size` of");
    assert!(session.path("cache/a").exists());
    let rows = gcctl(&scratch, &session, "run --force --json").ends(0).rows();
    assert_eq!(rows.iter().filter(|row| row["kind"] == "extra").count(), 3);
    assert!(session.path("cache/d").exists() && !session.path("cache/c").exists());
    gcctl(&scratch, &session, "run --json").ends(0).says("nothing to remove");
}

#[test]
fn one_folder_that_waits_for_force_stops_nothing_else() {
    let limited =
        |path: &str, limit: &str| format!("[[extra]]\npath = \"{path}\"\nkind = \"dir\"\n{limit}\n");
    let text = [
        limited("cache", "max-age = \"60h\"\nmax-size = \"9kB\""),
        limited("other", "max-age = \"60h\""),
        limited("small", "max-size = \"5kB\""),
    ];
    let (scratch, session) = settled(&text.concat());
    scratch.three();
    for (name, hours) in [("cache/a", 90), ("cache/b", 50), ("cache/c", 40), ("cache/d", 30)] {
        file(&session, name, 4000, hours);
    }
    for name in ["cache/e", "cache/f", "other/x", "small/one", "small/two", "small/three"] {
        file(&session, name, 4000, if name.starts_with("other") { 90 } else { 20 });
    }
    let rows = gcctl(&scratch, &session, "run --json --max-images 2").ends(2).rows();
    let of = |kind: &str, field: &str| -> Vec<String> {
        let own = rows.iter().filter(|row| row["kind"] == kind);
        own.map(|row| row[field].as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect()
    };
    assert_eq!(
        (of("extra", "path"), of("held-back", "folder")),
        (vec!["a".to_owned(), "x".to_owned()], vec!["cache".to_owned(), "small".to_owned()],)
    );
    assert_eq!(scratch.keys(), "a b");
    let ran = gcctl(&scratch, &session, "run").ends(2);
    let said = ran.says("would delete 4 of 5 items").stderr();
    assert!(
        said.contains("3 of 3 items (12.3kB) for good") && !said.contains("over its `max-size`"),
        "{said}"
    );
    // A plan is carried out in the same way, and what was used since stays.
    let plan = gcctl(&scratch, &session, "plan --json").ends(0).stdout();
    let apply = format!("apply --force --store {}", scratch.root);
    aged(session.path("cache/b"), 0);
    session.feed(&apply.replace(" --force", ""), plan.as_bytes()).ends(2).says("held back");
    assert!(session.path("cache/c").exists());
    session.feed(&apply, plan.as_bytes()).ends(1).says("used since");
    assert!(session.path("cache/b").exists() && !session.path("cache/c").exists());
}

#[test]
fn nothing_goes_through_links_and_strange_names_are_names() {
    let (scratch, session) = settled(&format!("{CACHE}max-age = \"1h\"\n"));
    file(&session, "outside/precious", 100, 50);
    file(&session, "cache/line\nbreak", 100, 50);
    file(&session, "cache/-rf *", 100, 50);
    fs::create_dir(session.path("cache/sub")).unwrap();
    file(&session, "cache/sub/x", 100, 50);
    symlink("../outside", session.path("cache/folder")).unwrap();
    symlink("../outside/precious", session.path("cache/file")).unwrap();
    let plan = gcctl(&scratch, &session, "plan --json").ends(0).stdout();
    assert_eq!(goes(&scratch, &session).len(), 3);
    // A folder becomes a link before the plan is carried out, and a plan is changed by hand.
    fs::rename(session.path("cache/sub"), session.path("elsewhere")).unwrap();
    symlink("../elsewhere", session.path("cache/sub")).unwrap();
    let plan = plan.replace("-rf *", "../outside/precious");
    let ran = session.feed(&format!("apply --force --store {}", scratch.root), plan.as_bytes()).ends(0);
    assert!(ran.stderr().contains("gone already"), "{}", ran.stderr());
    let left = |path: &str| session.path(path).exists();
    assert!(left("outside/precious") && left("elsewhere/x") && left("cache/-rf *"));
    assert!(!left("cache/line\nbreak"));
    gcctl(&scratch, &session, "run").ends(0);
    assert!(left("outside/precious") && left("elsewhere/x") && left("cache/folder") && !left("cache/-rf *"));
    // The folder itself is a link: what it leads to is meant.
    fs::rename(session.path("cache"), session.path("moved")).unwrap();
    symlink("moved", session.path("cache")).unwrap();
    file(&session, "moved/y", 100, 50);
    assert_eq!(goes(&scratch, &session), ["y"]);
}

#[test]
fn folders_that_hold_more_than_a_cache_are_refused() {
    let (scratch, session) = settled("");
    for path in ["/", ".", "..", "~"] {
        session.write(
            "larder.toml",
            format!("[[extra]]\npath = \"{path}\"\nkind = \"dir\"\nmax-age = \"0s\"\n"),
        );
        gcctl(&scratch, &session, "run").ends(2).says("cannot be an extra folder");
    }
    // Whoever wrote a project's file decides about files of the project alone.
    let precious = session.path("../precious");
    file(&session, "../precious/file", 100, 50);
    let outside = format!("[[extra]]\npath = \"{precious}\"\nkind = \"dir\"\nmax-age = \"1h\"\n");
    session.write("larder.toml", &outside);
    gcctl(&scratch, &session, "run").ends(2).says("the user's own settings");
    assert!(precious.join("file").exists());
    let user = session.store().parent().unwrap().join("home/.config/larder");
    fs::create_dir_all(&user).unwrap();
    fs::write(user.join("config.toml"), outside).unwrap();
    session.write("larder.toml", "");
    gcctl(&scratch, &session, "run").ends(0);
    assert!(!precious.join("file").exists());
    session.write("larder.toml", "[[extra]]\npath = \"c\"\nkind = \"dri\"\n");
    gcctl(&scratch, &session, "ls extra").ends(2).says("is `dir` meant?");
    gcctl(&scratch, &session, "df").ends(0).says("extra folders are left out");
}

#[test]
fn a_table_that_no_tool_knows_is_refused_in_each_settings_file() {
    let (scratch, session) = settled("[[extras]]\npath = \"cache\"\nkind = \"dir\"\nmax-age = \"1h\"\n");
    for words in ["plan", "run", "limits", "ls extra"] {
        gcctl(&scratch, &session, words)
            .ends(2)
            .says("no tool knows the table `extras`")
            .says("`[extra]` meant");
    }
    session.write("larder.toml", "[x-mine]\nextras = 1\n");
    gcctl(&scratch, &session, "run").ends(0);
    let user = session.store().parent().unwrap().join("home/.config/larder");
    fs::create_dir_all(&user).unwrap();
    fs::write(user.join("config.toml"), "[gcctll]\nmax-images = 0\n").unwrap();
    gcctl(&scratch, &session, "run").ends(2).says("no tool knows the table `gcctll`").says("`[gcctl]` meant");
}

const REPO: &str = "hf/hub/models--team--tiny";
const OLD: &str = "a123456789abcdef0123456789abcdef01234567";
const NEW: &str = "b123456789abcdef0123456789abcdef01234567";
const LOST: &str = "c123456789abcdef0123456789abcdef01234567";

/// A cache with three revisions: an old one without a name, one that `main` names, and one that a
/// tag names and that is very old. They share blobs.
fn hub(session: &Session) {
    for (blob, bytes, hours) in [
        ("shared", 40_000, 1),
        ("of-old", 20_000, 50),
        ("of-new", 8000, 1),
        ("of-lost", 12_000, 900),
        ("coming.incomplete", 4000, 1),
    ] {
        file(session, &format!("{REPO}/blobs/{blob}"), bytes, hours);
    }
    let revision = |commit: &str, files: &[(&str, &str)], hours| {
        let folder = session.path(&format!("{REPO}/snapshots/{commit}"));
        for (path, target) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(target, path).unwrap();
        }
        aged(folder, hours);
    };
    revision(OLD, &[("config.json", "../../blobs/of-old"), ("sub/w.bin", "../../../blobs/shared")], 50);
    revision(NEW, &[("config.json", "../../blobs/of-new"), ("sub/w.bin", "../../../blobs/shared")], 1);
    revision(LOST, &[("config.json", "../../blobs/of-lost")], 900);
    session.write(&format!("{REPO}/refs/main"), NEW);
    session.write(&format!("{REPO}/refs/tags/v0"), LOST);
    session.write("hf/hub/.locks/models--team--tiny/of-old.lock", "");
    session.write("hf/token", "1");
}

fn at(session: &Session, path: &str) -> bool {
    session.path(&format!("{REPO}/{path}")).symlink_metadata().is_ok()
}

const HUB: &str = "[[extra]]\npath = \"hf\"\nkind = \"hf\"\n";

#[test]
fn of_models_whole_revisions_go_and_only_blobs_that_nothing_else_needs() {
    let (scratch, session) = settled(&format!("{HUB}max-size = \"100kB\"\n"));
    hub(&session);
    let old = format!("models--team--tiny/snapshots/{OLD}");
    assert_eq!(goes(&scratch, &session), [old.as_str()]);
    // The library has the lock: it is fetching.
    let lock = fs::File::open(session.path("hf/hub/.locks/models--team--tiny/of-old.lock")).unwrap();
    lock.lock().unwrap();
    let ran = gcctl(&scratch, &session, "run");
    assert!(ran.ends(1).stderr().contains("in use"));
    drop(lock);
    let before = du(&session, "hf");
    let rows = gcctl(&scratch, &session, "run --json").ends(1).rows();
    let extras: Vec<&Value> = rows.iter().filter(|row| row["kind"] == "extra").collect();
    assert_eq!(extras[0]["path"], old.as_str());
    assert_eq!(extras[0]["bytes"].as_u64(), Some(before - du(&session, "hf")), "without what others share");
    assert!(!at(&session, &format!("snapshots/{OLD}")) && !at(&session, "blobs/of-old"));
    assert!(!at(&session, ".larder-going"));
    for path in ["blobs/shared", "blobs/of-new", "blobs/of-lost", "blobs/coming.incomplete", "refs/main"] {
        assert!(at(&session, path), "{path}");
    }
    assert!(session.path("hf/hub/.locks/models--team--tiny/of-old.lock").exists());
    // By its age one goes that a tag names, and the tag with it.
    session.write("larder.toml", format!("{HUB}max-age = \"10d\"\n"));
    let table = gcctl(&scratch, &session, "plan").ends(0).stdout();
    assert!(table.contains(&format!("snapshots/{LOST} (tags/v0)\n")), "{table}");
    let before = du(&session, "hf");
    let rows = gcctl(&scratch, &session, "run --json").ends(0).rows();
    assert!(!at(&session, &format!("snapshots/{LOST}")) && !at(&session, "refs/tags/v0"));
    assert_eq!(rows[0]["bytes"].as_u64(), Some(before - du(&session, "hf")), "with its tag");
    assert!(at(&session, &format!("snapshots/{NEW}/config.json")) && at(&session, "refs/main"));
}

#[test]
fn of_models_nothing_goes_that_leads_elsewhere_or_is_named_meanwhile() {
    let (scratch, session) = settled(&format!("{HUB}max-age = \"30h\"\n"));
    hub(&session);
    file(&session, "precious", 100, 900);
    file(&session, "hf/hub/models--b--c/blobs/of-b", 100, 900);
    let folder = session.path(&format!("{REPO}/snapshots/{OLD}"));
    symlink("../../../../../precious", folder.join("out")).unwrap();
    symlink(session.path("precious"), folder.join("absolute")).unwrap();
    symlink("../../../models--b--c/blobs/of-b", folder.join("other")).unwrap();
    symlink("../../blobs", folder.join("folder")).unwrap();
    // Another repository needs a blob of this one.
    let needs = session.path("hf/hub/models--b--c/snapshots/1");
    fs::create_dir_all(&needs).unwrap();
    symlink("../../../models--team--tiny/blobs/of-lost", needs.join("x")).unwrap();
    aged(&folder, 50);
    let plan = gcctl(&scratch, &session, "plan --json").ends(0).stdout();
    assert!(plan.contains(LOST), "{plan}");
    session.write(&format!("{REPO}/refs/again"), LOST);
    let apply = format!("apply --store {}", scratch.root);
    session.feed(&apply, plan.as_bytes()).ends(0).says("other branches or tags");
    assert!(at(&session, &format!("snapshots/{LOST}")));
    gcctl(&scratch, &session, "run").ends(0);
    assert!(!at(&session, &format!("snapshots/{LOST}")) && at(&session, "blobs/of-lost"));
    assert!(session.path("precious").exists() && session.path("hf/hub/models--b--c/blobs/of-b").exists());
}

#[test]
fn a_ref_that_cannot_be_read_holds_its_repository_and_is_named_once() {
    let (scratch, session) = settled(&format!("{HUB}max-age = \"10d\"\n"));
    hub(&session);
    symlink("main", session.path(&format!("{REPO}/refs/other"))).unwrap();
    for words in ["plan", "run"] {
        let said = gcctl(&scratch, &session, words).ends(0).stderr();
        let line =
            "/refs/other` cannot be read as a branch or tag: all revisions of `models--team--tiny` stay";
        assert_eq!(said.matches(line).count(), 1, "{said}");
    }
    assert!(at(&session, &format!("snapshots/{LOST}")) && at(&session, "refs/tags/v0"));
}

#[test]
fn what_a_killed_run_left_aside_goes_with_the_next() {
    let (scratch, session) = settled(&format!("{HUB}max-age = \"10d\"\n"));
    hub(&session);
    fs::create_dir(session.path(&format!("{REPO}/.larder-going"))).unwrap();
    let aside = session.path(&format!("{REPO}/.larder-going/{OLD}"));
    fs::rename(session.path(&format!("{REPO}/snapshots/{OLD}")), &aside).unwrap();
    // One of the blobs is needed again.
    fs::create_dir(aside.join(".larder-blobs")).unwrap();
    for blob in ["shared", "of-old"] {
        let from = session.path(&format!("{REPO}/blobs/{blob}"));
        fs::rename(from, aside.join(".larder-blobs").join(blob)).unwrap();
    }
    gcctl(&scratch, &session, "run --force").ends(0);
    assert!(!at(&session, ".larder-going") && !at(&session, "blobs/of-old") && at(&session, "blobs/shared"));
}

#[test]
fn huggingface_hub_understands_what_is_left() {
    if !have(&[Part::HuggingFace]) {
        return;
    }
    let (scratch, session) = settled(&format!("{HUB}max-size = \"100kB\"\nmax-age = \"10d\"\n"));
    hub(&session);
    let program = "import sys\n\
        from huggingface_hub import scan_cache_dir, snapshot_download\n\
        found = scan_cache_dir(sys.argv[1])\n\
        assert not found.warnings, found.warnings\n\
        for repo in found.repos:\n\
        \x20   for it in sorted(repo.revisions, key=lambda it: it.commit_hash):\n\
        \x20       print(it.commit_hash[0], len(it.files), *sorted(it.refs))\n\
        print(open(snapshot_download('team/tiny', cache_dir=sys.argv[1], local_files_only=True) + '/sub/w.bin').read(3))\n";
    let read = || {
        let mut python = session.program(installed(HUGGINGFACE));
        python.args(["-c", program]).arg(session.path("hf/hub"));
        Ran::of(python.env("HF_HUB_OFFLINE", "1").env("HF_HUB_DISABLE_TELEMETRY", "1")).ok().stdout()
    };
    assert_eq!(read(), "a 2\nb 2 main\nc 1 tags/v0\n\u{7}\u{7}\u{7}\n");
    let rows = gcctl(&scratch, &session, "run --json").rows();
    assert_eq!(rows.iter().filter(|row| row["kind"] == "extra").count(), 2);
    assert_eq!(read(), "b 2 main\n\u{7}\u{7}\u{7}\n");
    // And where no revision is left.
    session.write("larder.toml", format!("{HUB}max-age = \"0s\"\n"));
    gcctl(&scratch, &session, "run --force").ends(0);
    assert!(at(&session, "blobs/coming.incomplete") && !at(&session, "blobs/shared"));
    let scan = "import sys\nfrom huggingface_hub import scan_cache_dir\nfound = scan_cache_dir(sys.argv[1])\nprint(found.warnings, [len(it.revisions) for it in found.repos])\n";
    let mut python = session.program(installed(HUGGINGFACE));
    python.args(["-c", scan]).arg(session.path("hf/hub"));
    assert_eq!(Ran::of(&mut python).ok().stdout(), "[] [0]\n");
    // Folders that hold nothing stay for an hour: the library may be about to write into them.
    fs::remove_file(session.path(&format!("{REPO}/blobs/coming.incomplete"))).unwrap();
    for path in ["refs/main", "refs/tags/v0"] {
        let _ = fs::remove_file(session.path(&format!("{REPO}/{path}")));
    }
    gcctl(&scratch, &session, "run").ends(0);
    assert!(at(&session, "blobs"));
    for path in ["blobs", "refs/tags", "refs", "snapshots", ""] {
        aged(session.path(&format!("{REPO}/{path}")), 2);
    }
    gcctl(&scratch, &session, "run").ends(0);
    assert!(!at(&session, "") && session.path("hf/hub/.locks").exists());
    let mut python = session.program(installed(HUGGINGFACE));
    python.args(["-c", scan]).arg(session.path("hf/hub"));
    assert_eq!(Ran::of(&mut python).ok().stdout(), "[] []\n");
}
