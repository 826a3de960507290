//! `ls` of what is neither an image nor a package, and `df` in more detail.

use std::fs;
use std::time::{Duration, SystemTime};

use camino::Utf8PathBuf;
use storekit::Digest;

use crate::scratch::{Scratch, write};

/// A store with something of each kind.
fn all_kinds() -> Scratch {
    let scratch = Scratch::new();
    scratch.three().save("d", 50, &["d"]).run("run --max-images 3").ends(0);
    for (path, bytes) in [
        ("images/blobs/sha256/.tmp-dead", 70_000),
        ("packages/blobs/sha256/.tmp-dead", 5000),
        ("contexts/one", 9000),
        ("contexts/two", 100),
        ("images/inputs/a", 100),
        ("trash/damaged/images/blobs/sha256/x", 100),
    ] {
        let path = scratch.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![1; bytes]).unwrap();
    }
    fs::create_dir_all(note(&scratch).parent().unwrap()).unwrap();
    fs::write(note(&scratch), "# larder seen 1\n").unwrap();
    write(&scratch.store, &["idle"]);
    scratch
}

/// The note of when versions of a package were first seen.
fn note(scratch: &Scratch) -> Utf8PathBuf {
    scratch.store.packages().first_seen().path("go", &Digest::of(b"go"))
}

#[test]
fn a_note_of_first_sight_goes_when_it_was_not_used_for_over_a_year() {
    let scratch = all_kinds();
    let used = |days: u64| {
        let file = fs::File::options().append(true).open(note(&scratch)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(days * 86_400)).unwrap();
        scratch.run("run").ends(0);
        note(&scratch).exists()
    };
    assert!(used(399) && !used(401));
    assert_eq!(scratch.json("df --json")["first-seen"], 0);
}

#[test]
fn each_kind_of_files_adds_up_to_what_df_says() {
    let scratch = all_kinds();
    let df = scratch.json("df --json");
    let listed = |kind: &str| -> Vec<serde_json::Value> {
        let out = scratch.run(&format!("ls {kind} --json")).ends(0).stdout();
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let sum = |kind: &str| listed(kind).iter().map(|row| row["size"].as_u64().unwrap()).sum::<u64>();
    for kind in ["contexts", "events", "unfinished", "first-seen"] {
        assert_eq!(Some(sum(kind)), df[kind].as_u64(), "{kind}");
    }
    assert_eq!(Some(sum("trash")), df["trash"].as_u64().zip(df["damaged"].as_u64()).map(|(a, b)| a + b));
    assert_eq!((sum("first-seen"), listed("first-seen").len()), (4096, 1));
    assert_eq!((sum("inputs"), listed("inputs").len()), (4096, 1));
    assert_eq!((listed("trash").len(), listed("unfinished").len()), (2, 2));
}

#[test]
fn files_are_chosen_and_put_in_order_as_images_are() {
    let scratch = all_kinds();
    let run = |words: &str| scratch.run(words).ends(0).stdout();
    assert_eq!(run("ls contexts --sort size -0"), "contexts/one\0contexts/two\0");
    assert_eq!(run("ls contexts --larger 5kB -0"), "contexts/one\0");
    assert_eq!(run("ls contexts --name tw* -0"), "contexts/two\0");
    assert_eq!(run("ls contexts --unused 1h -0"), "");
    let table = run("ls contexts --sort name");
    assert_eq!(
        table,
        "  SIZE  WRITTEN  PATH\n12.3kB      now  contexts/one\n4.10kB      now  contexts/two\n"
    );
    scratch.run("ls unfinished --larger 1GB").ends(0).says("none match");
}

#[test]
fn df_tells_images_by_name() {
    let scratch = Scratch::new();
    scratch.three().save("d", 1, &["base", "own"]).name("a", &["app:1"]).name("b", &["app:2"]);
    let text = scratch.run("df --verbose").ends(0).stdout();
    // Tags make no other name, and `d` and `c` have none. Each image has a layer, a manifest and a
    // key file of its own.
    assert!(text.contains("NAME  IMAGES     OWN  SHARED\n"), "{text}");
    assert!(text.contains("app        2  32.8kB  12.3kB\n"), "{text}");
    assert!(text.contains("-          2  32.8kB  12.3kB\n"), "{text}");
}
