//! Signatures and what else refers to an image: it lives and dies with the image.

use crate::scratch::Scratch;

/// `a` with a signature, `b` with one by cosign's tag, `c` with one that is signed itself.
fn signed() -> Scratch {
    let scratch = Scratch::new();
    scratch.three().refer("sa", "a").refer("sc", "c").refer("tc", "sc");
    let tag = format!("app:sha256-{}.sig", scratch.digest("b").hex());
    scratch.save("sb", 0, &["sb"]).name("sb", &[&tag]);
    scratch
}

#[test]
fn signatures_do_not_count_and_go_with_their_image() {
    let scratch = signed();
    scratch.run("run --max-images 3").ends(0).says("nothing to remove; left: 3 images");
    assert_eq!(scratch.keys(), "a b c sa sb sc tc");
    let ran = scratch.run("run --max-images 2").ends(0).says("removed 1 image, 2 referrers and 6 blobs");
    assert_eq!(ran.stdout().matches("its image goes").count(), 2, "{}", ran.stdout());
    assert_eq!(scratch.keys(), "a b sa sb");
    let ran = scratch.run("undo").ends(0).says("brought back 1 image and 2 referrers in 9 files");
    assert_eq!(ran.stdout(), "c\nsc\ntc\n");
    scratch.assert_whole();
    scratch.run("run --max-images 0").ends(0).says("removed 3 images, 4 referrers and");
    assert_eq!((scratch.keys().as_str(), scratch.blobs().len()), ("", 0));
}

#[test]
fn planning_and_applying_takes_signatures_as_a_run_does() {
    let scratch = signed();
    let plan = scratch.run("plan --json --max-images 1").ends(0).stdout();
    let end: serde_json::Value = serde_json::from_str(plan.lines().last().unwrap()).unwrap();
    assert_eq!(end["images"], 1);
    let swept = scratch.feed("apply --json", &plan).ends(0).stdout();
    let end: serde_json::Value = serde_json::from_str(swept.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&end["images"], &end["referrers"], &end["left"]["images"]),
        (&2.into(), &3.into(), &1.into())
    );
    assert_eq!(scratch.keys(), "a sa");
    scratch.assert_whole();
}

#[test]
fn the_signatures_of_an_image_that_stays_stay() {
    let scratch = signed();
    let plan = scratch.run("plan --json --max-images 0").ends(0).stdout();
    scratch.store.images().touch(&"c".parse().unwrap());
    let ran = scratch.feed("apply", &plan).ends(1).says("kept `c`: used since");
    for key in ["sc", "tc"] {
        let kept = format!("kept `{key}`: the image that it refers to stays");
        assert!(ran.stderr().contains(&kept), "{}", ran.stderr());
    }
    assert_eq!(scratch.keys(), "c sc tc");
    scratch.assert_whole();
}

#[test]
fn an_old_signature_is_as_young_as_its_image_and_a_pinned_one_keeps_it() {
    let scratch = Scratch::new();
    scratch.save("new", 1, &["new"]).save("old", 50, &["old"]);
    scratch.refer("snew", "new").age("snew", 50).refer("sold", "old").run("pin sold").ends(0);
    scratch.run("run --max-age 20h").ends(0).says("nothing to remove");
    scratch.run("run --max-images 0").ends(1).says("1 image left, over the limit of 0: 1 image is pinned");
    assert_eq!(scratch.keys(), "old sold");
    scratch.run("unpin sold").ends(0);
    scratch.run("run --max-age 20h").ends(0).says("removed 1 image, 1 referrer");
    assert_eq!(scratch.keys(), "");
}

#[test]
fn a_signature_whose_image_is_not_there_stands_for_itself() {
    let scratch = signed();
    let batch = scratch.store.trash().batch(jiff::Timestamp::now());
    scratch.store.images().remove(&["a".parse().unwrap()], &batch).unwrap();
    scratch.run("run").ends(0).says("left: 3 images");
    assert!(scratch.keys().contains("sa"), "{}", scratch.keys());
    scratch.run("run --max-images 0").ends(0);
    assert_eq!(scratch.keys(), "");
}

#[test]
fn lists_tell_what_a_signature_belongs_to() {
    let scratch = signed();
    let out = scratch.run("ls").ends(0).stdout();
    for (key, of) in [("sb", "b"), ("tc", "c")] {
        let line = out.lines().find(|line| line.starts_with(key)).unwrap();
        assert!(line.ends_with(&format!("(goes with {of})")), "{out}");
    }
    let json = scratch.run("ls --json").ends(0).stdout();
    let row = |key: &str| {
        let mut rows = json.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        rows.find(|row| row["key"] == key).unwrap()
    };
    assert_eq!(
        (&row("tc")["of"], &row("sb")["subject"]),
        (&"c".into(), &scratch.digest("b").to_string().into())
    );
    assert!(row("a").get("of").is_none());
    let df: serde_json::Value = serde_json::from_str(&scratch.run("df --json").ends(0).stdout()).unwrap();
    assert_eq!((&df["images"], &df["referrers"]), (&3.into(), &4.into()));
}
