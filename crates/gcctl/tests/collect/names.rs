//! One image name in all its spellings.

use crate::scratch::Scratch;

/// Three images of one name, each spelt otherwise, and one of another name; `c` is the oldest.
fn spelt() -> Scratch {
    let scratch = Scratch::new();
    scratch.three().save("d", 40, &["base", "d"]);
    scratch.name("a", &["app:3"]).name("b", &["docker.io/library/app:2"]);
    scratch.name("c", &["index.docker.io/app:1"]).name("d", &["docker.io/team/app:1"]);
    scratch
}

#[test]
fn images_of_one_name_are_counted_together_however_it_is_spelt() {
    let scratch = spelt();
    let table = scratch.run("df --verbose").ends(0).stdout();
    assert!(table.lines().any(|line| line.starts_with("app  ") && line.contains("  3  ")), "{table}");
    scratch.run("run --max-images 1 --keep-last 2").ends(1);
    assert_eq!(scratch.keys(), "a b d");
    scratch.run("run --max-per-image 1").ends(0);
    assert_eq!(scratch.keys(), "a d");
}

#[test]
fn a_pattern_means_a_name_however_it_is_spelt() {
    for pattern in ["app:*", "docker.io/library/app:*", "*/library/app:?"] {
        let scratch = spelt();
        let listed = scratch.run(&format!("ls --name {pattern} -0")).ends(0).stdout();
        assert_eq!(listed, "a\0b\0c\0", "{pattern}");
        scratch.run(&format!("pin {pattern}")).ends(0);
        assert!(scratch.run("pins").ends(0).stdout().contains("3 images"));
        let plan = scratch.run("plan --json --max-images 0").ends(0).stdout();
        scratch.feed("apply", &plan).ends(1);
        assert_eq!(scratch.keys(), "a b c", "{pattern}");
    }
    for pattern in ["app", "docker.io/library/app"] {
        let scratch = spelt();
        let listed = scratch.run(&format!("ls --name {pattern} -0")).ends(0).stdout();
        assert_eq!(listed, "a\0b\0c\0", "{pattern}");
        scratch.run(&format!("run --limit kind=images,name={pattern},max-entries=1")).ends(0);
        assert_eq!(scratch.keys(), "a d", "{pattern}");
    }
}
