//! What is said: only what is true, in words that its reader knows.

use std::fs;
use std::time::{Duration, SystemTime};

use larder_tests::{Part, Ran, have};
use storekit::Key;

use crate::scratch::Scratch;

#[test]
fn a_run_without_limits_says_so() {
    let scratch = Scratch::new();
    for words in ["run", "plan", "run --dry-run", "run --trash-grace 1h"] {
        scratch.three().run(words).ends(0).says("no limit is set");
    }
    let ran = scratch.run("run --max-images 9").ends(0);
    assert!(!ran.stderr().contains("no limit"), "{}", ran.stderr());
    assert_eq!(scratch.run("run -q").ends(0).stderr(), "");
    assert!(!scratch.run("clean").ends(0).stderr().contains("no limit"));
}

#[test]
fn where_an_image_came_from_is_listed() {
    let scratch = Scratch::new();
    scratch.save("a", 1, &["a"]).save("b", 2, &["b"]);
    let path = scratch.root.join("images/keys/a");
    let text = fs::read_to_string(&path).unwrap() + "image = \"app\"\ncommit = \"931ee0b+\"\n";
    fs::write(&path, text).unwrap();
    let ran = scratch.run("ls --json").ends(0);
    let out = ran.stdout();
    let lines: Vec<_> = out.lines().collect();
    assert!(lines[0].contains(r#""image":"app","commit":"931ee0b+""#), "{}", lines[0]);
    assert!(!lines[1].contains("commit"), "{}", lines[1]);
}

#[test]
fn an_image_is_pinned_by_its_name_or_the_beginning_of_its_key() {
    let scratch = Scratch::new();
    let keys = ["3f2a1", "3f2a2", "cafe3"].map(|start| format!("{start}{}", "0".repeat(59)));
    for key in &keys {
        scratch.save(key, 1, &[key]).name(key, &[&format!("{}:1", &key[..4])]);
    }
    let [one, two, other] = &keys;
    let pins = || {
        let pins = scratch.store.images().pins().unwrap();
        pins.iter().map(Key::as_str).collect::<Vec<_>>().join(" ")
    };
    scratch.run("pin cafe 3f2a1").ends(0).says(&format!("`{other}` pinned\n`{one}` pinned"));
    assert_eq!(pins(), format!("{one} {other}"));
    let ran = scratch.run("pin cafe 3f2a").ends(2).says("`3f2a` is the beginning of 2 keys");
    assert!(ran.stderr().contains(&two[..12]) && ran.stderr().contains("3f2a:1"), "{}", ran.stderr());
    // No tag is `latest`, which neither has: a name is no beginning.
    scratch.run("unpin cafe:2").ends(1).says("nothing is stored under `cafe:2`; `gcctl ls`");
    scratch.run("unpin cafe:1").ends(0).says(&format!("`{other}` is no longer pinned"));
    scratch.run("unpin 3f2a2").ends(1).says(&format!("`{two}` was not pinned"));
    scratch.run("unpin 3f2").ends(1).says("the beginning of a key has at least 4 hex digits");
    assert_eq!(pins(), *one);
    // A pin may be there without an image: it goes by its whole key.
    fs::remove_file(scratch.root.join("images/keys").join(one)).unwrap();
    scratch.run(&format!("unpin {one}")).ends(0);
    assert_eq!(pins(), "");
}

#[test]
fn nothing_is_said_to_be_pinned_or_in_use_that_is_not() {
    let scratch = Scratch::new();
    let ran = scratch.run("run --min-free 8EB").ends(1).says("no image is left");
    assert!(!ran.stderr().contains("pinned") && !ran.stderr().contains("in use"), "{}", ran.stderr());
    let ran = scratch.three().run("pin a").ends(0);
    assert!(ran.stderr().contains("pinned"));
    scratch.run("run --max-images 0").ends(1).says("1 image left, over the limit of 0: 1 image is pinned\n");
}

#[test]
fn what_a_limit_would_lose_and_what_keeps_it_is_said() {
    let scratch = Scratch::new();
    scratch.three().name("a", &["app:1"]).name("b", &["app:2"]).store_packages(&["npm x 40 x"]);
    let plan = scratch.run("plan --max-size 10").ends(0).stderr();
    let lost = "It would delete 3 of 3 images (all of them, ";
    assert!(plan.contains(lost) && plan.contains("and 1 of 1 package (all of them, "), "{plan}");
    assert!(plan.contains("`--force` is needed, else `run` and `apply` hold it back"), "{plan}");
    assert!(!scratch.run("plan --max-size 10 --force").ends(0).stderr().contains("--force"));
    scratch.run("plan --min-free 10").ends(0).says("It would remove nothing now");
    scratch.run("plan --limit kind=images,max-size=10").ends(0).says("into the trash");
    // What a count asks for goes, into the trash, and what the bytes ask for stays.
    scratch.run("run --max-size 10 --max-images 2").ends(2).says("for 1 d in the trash");
    assert_eq!(scratch.keys(), "a b");
    scratch.run("undo").ends(0);
    scratch.age("c", 30).run("pin a").ends(0);
    let kept = "2 images left, over the limit of 0: 1 image is pinned and 1 image is kept by `keep-last` as \
                the last of its name";
    scratch.run("run --max-images 0 --keep-last 2").ends(1).says(kept);
    scratch.run("undo").ends(0);
    let ran = scratch.run("run --max-size 1kB --force").ends(1);
    assert!(
        ran.stderr()
            .contains("over the limit of 1.00kB: 1 image is pinned and 1 image is the newest of its name"),
        "{}",
        ran.stderr()
    );
    assert_eq!((scratch.keys().as_str(), scratch.packages().as_str()), ("a b", ""));
    scratch.run("report --json").ends(2).says("knows no `--json`");
}

#[test]
fn unfinished_files_are_said_to_be_deleted() {
    let scratch = Scratch::new();
    scratch.three();
    fs::write(scratch.root.join("images/blobs/sha256/.tmp-dead"), vec![1; 70_000]).unwrap();
    let ran = scratch.run("plan --max-images 9").ends(0);
    assert!(
        ran.stderr().starts_with("73.7kB of unfinished files would be deleted; left: 3 images"),
        "{}",
        ran.stderr()
    );
    let ran = scratch.run("plan --max-images 2").ends(0);
    let words =
        "1 image and 2 blobs (16.4kB) would go into the trash, 73.7kB of unfinished files would be deleted;";
    assert!(ran.stderr().starts_with(words), "{}", ran.stderr());
    let ran = scratch.run("run --max-images 2").ends(0);
    let words =
        "deleted 73.7kB of unfinished files, removed 1 image and 2 blobs (16.4kB), for 1 d in the trash";
    assert!(ran.stderr().starts_with(words), "{}", ran.stderr());
}

#[test]
fn undo_brings_back_the_last_run_although_the_clock_was_set_back() {
    let scratch = Scratch::new();
    scratch.three().run("run --max-images 2").ends(0);
    let batch = scratch.store.trash().batches().unwrap().remove(0);
    // It was made while the clock was ahead.
    let trash = scratch.root.join("trash");
    fs::rename(trash.join(batch.name()), trash.join("20990101T000000.000000Z-1")).unwrap();
    scratch.run("run --max-images 1").ends(0);
    let ran = scratch.run("undo").ends(0).says("brought back 1 image in 3 files from trash/20990101T000000");
    assert_eq!(ran.stdout(), "b\n");
    assert_eq!(scratch.run("undo").ends(0).stdout(), "c\n");
    scratch.assert_whole();
}

/// Notes in the store that it was collected at this time, and where a clock was doubted first.
fn collected(scratch: &Scratch, at: SystemTime, doubted: Option<SystemTime>) {
    let file = fs::File::create(scratch.root.join(".clock")).unwrap();
    let doubted = doubted.unwrap_or(SystemTime::UNIX_EPOCH);
    file.set_times(fs::FileTimes::new().set_modified(at).set_accessed(doubted)).unwrap();
}

#[test]
fn a_clock_that_is_years_ahead_deletes_nothing_early() {
    let scratch = Scratch::new();
    scratch.three().store_packages(&["npm x 30 x"]);
    scratch.run("run --max-images 2").ends(0);
    let now = SystemTime::now();
    let batch = scratch.store.trash().batches().unwrap().remove(0);
    let folder = fs::File::open(scratch.root.join("trash").join(batch.name())).unwrap();
    folder.set_modified(now - Duration::from_hours(40)).unwrap();
    collected(&scratch, now - Duration::from_hours(24 * 365 * 3), None);
    let all = || (scratch.keys(), scratch.packages(), scratch.store.trash().batches().unwrap().len());
    let before = all();
    let ran = scratch.run("run --max-age 1h --force").ends(0);
    assert!(ran.stderr().contains("ages are reckoned from"), "{ran}");
    assert_eq!(all(), before);
    // It has run on for a day.
    let first = now - Duration::from_hours(25);
    collected(&scratch, now - Duration::from_hours(24 * 365 * 3), Some(first));
    let ran = scratch.run("run --max-age 1h --force").ends(0);
    assert!(!ran.stderr().contains("the clock"), "{ran}");
    assert_eq!((scratch.keys(), scratch.packages()), (String::new(), String::new()));
}

#[test]
fn a_clock_that_is_years_behind_makes_nothing_older() {
    let scratch = Scratch::new();
    scratch.three();
    let ahead = SystemTime::now() + Duration::from_hours(24 * 365 * 3);
    // To the store, the clock is three years behind.
    collected(&scratch, ahead, None);
    for (key, hours) in [("a", 8), ("b", 9), ("c", 10)] {
        let path = scratch.store.images().folder().join("keys").join(key);
        let file = fs::File::options().append(true).open(path).unwrap();
        file.set_modified(ahead - Duration::from_hours(hours)).unwrap();
    }
    let stamps = || {
        let path = |key: &str| scratch.store.images().folder().join("keys").join(key);
        ["a", "b"].map(|key| fs::metadata(path(key)).unwrap().modified().unwrap())
    };
    let before = stamps();
    scratch.store.images().touch(&"a".parse().unwrap());
    let ran = scratch.run("run --max-age 1h").ends(0);
    assert!(ran.stderr().contains("ages are reckoned from"), "{ran}");
    assert_eq!(stamps(), before);
    // What is named goes, for nobody has used it since.
    scratch.run("rm b").ends(0);
    assert_eq!(scratch.keys(), "a c");
    let batch = scratch.store.trash().batches().unwrap().pop().unwrap();
    let year = jiff::Timestamp::try_from(ahead).unwrap().strftime("%Y").to_string();
    assert!(batch.name().starts_with(&year), "{}", batch.name());
}

#[test]
fn what_came_into_the_trash_since_a_plan_stays() {
    let scratch = Scratch::new();
    scratch.three();
    let blob = |name: &str| scratch.store.images().blobs().path(&crate::scratch::layer(name));
    let aside = |name: &str| {
        fs::write(blob(name), "damaged").unwrap();
        scratch.run("verify --repair").ends(3);
    };
    aside("c");
    let damaged = scratch.root.join("trash/damaged");
    let old = SystemTime::now() - Duration::from_hours(100);
    fs::File::open(&damaged).unwrap().set_modified(old).unwrap();
    let plan = scratch.run("plan --json").ends(0).stdout();
    assert!(plan.contains("\"name\":\"damaged\""), "{plan}");
    aside("b");
    scratch.feed("apply", &plan).ends(0);
    scratch.run("run").ends(0);
    assert!(damaged.exists(), "its grace has begun anew");
    fs::File::open(&damaged).unwrap().set_modified(old).unwrap();
    scratch.run("run").ends(0);
    assert!(!damaged.exists());
}

#[test]
fn a_folder_of_the_trash_is_as_old_as_its_name_says() {
    let scratch = Scratch::new();
    scratch.three().run("run --max-images 2").ends(0);
    let batch = scratch.store.trash().batches().unwrap().remove(0);
    // The clock was behind when it was filled.
    let folder = fs::File::open(scratch.root.join("trash").join(batch.name())).unwrap();
    folder.set_modified(SystemTime::UNIX_EPOCH + Duration::from_hours(1)).unwrap();
    scratch.run("run").ends(0);
    assert_eq!(scratch.run("undo").ends(0).stdout(), "c\n");
}

#[test]
fn undo_says_which_run_it_cannot_bring_back() {
    let scratch = Scratch::new();
    scratch.three().run("run --max-images 2").ends(0);
    scratch.run("run --max-images 1").ends(0);
    // `b` is there again, all of it.
    scratch.save("b", 20, &["base", "b"]);
    let last = scratch.store.trash().batches().unwrap().pop().unwrap();
    let said = format!("nothing of trash/{} can be brought back", last.name());
    assert_eq!(scratch.run("undo").ends(0).says(&said).stdout(), "c\n");
    let ran = scratch.run("undo").ends(1).says(&said);
    assert!(!ran.stderr().contains("empty"), "{}", ran.stderr());
}

#[test]
fn a_wrong_value_is_named_in_words() {
    let scratch = Scratch::new();
    let refused = |toml: &str, variable: (&str, &str), words: &str, said: &str| {
        fs::write(scratch.root.join("larder.toml"), toml).unwrap();
        let ran = Ran::of(scratch.command(words).env(variable.0, variable.1)).ends(2);
        let text = ran.stderr().split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
        assert!(text.contains(said), "{text}");
        for rust in ["untagged", "variant", "struct ", "u64", "invalid digit"] {
            assert!(!text.contains(rust), "{text}");
        }
    };
    let none = ("X", "");
    refused("", none, "run --max-images many", "\"many\" is not a number of images");
    refused("", none, "run --max-size many", "\"many\" is not a size: write it like `500MB`");
    refused("", none, "run --max-age 30", "\"30\" is not an age: write it like `90s`");
    refused("", ("LARDER_MAX_IMAGES", "-1"), "run", "\"-1\" is not a number of images");
    refused("", ("LARDER_TRASH_GRACE", "1"), "run", "\"1\" is not an age");
    refused("[gcctl]\nmax-size = []\n", none, "run", "expected a size");
    refused("[gcctl]\nmax-images = 1.5\n", none, "run", "expected a number of images");
    refused("gcctl = 1\n", none, "run", "expected limits");
    fs::write(scratch.root.join("larder.toml"), "[gcctl]\nmax-size = \"1PB\"\n").unwrap();
    scratch.run("run --min-free 0PiB").ends(0);
}

#[test]
fn apply_on_a_terminal_says_that_it_waits() {
    if !have(&[Part::Script]) {
        return;
    }
    let scratch = Scratch::new();
    let program = scratch.command("apply");
    let mut words = vec![program.get_program().to_str().unwrap()];
    words.extend(program.get_args().map(|word| word.to_str().unwrap()));
    let mut command = scratch.session.program("script");
    command.args(["-qec", &words.join(" "), "/dev/null"]).current_dir(&scratch.root);
    let ran = Ran::of(&mut command).ends(2);
    assert!(ran.stdout().contains("waiting for a plan on stdin"), "{}", ran.stdout());
}

#[test]
fn a_pin_says_what_it_holds_and_a_clean_what_pins_keep() {
    let scratch = Scratch::new();
    scratch.three().name("a", &["app:1"]);
    scratch.run("pin none:*").ends(0).says("`none:*` pinned: holds nothing yet");
    scratch.run("pin [abc]").ends(0).says("`[abc]` pinned: holds 3 images");
    let table = scratch.run("pins").ends(0).stdout();
    assert!(table.lines().any(|line| line.starts_with("none:*") && line.ends_with("nothing yet")), "{table}");
    for words in ["clean", "clean --dry-run"] {
        scratch.run(words).ends(0).says("3 images stay, for they are held by pins (`gcctl pins`)");
    }
    scratch.run("clean --packages").ends(0).says("nothing to remove");
}
