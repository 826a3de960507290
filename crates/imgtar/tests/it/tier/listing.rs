//! What stands in a place, and what is removed from it.

use serde_json::{Value, json};
use storekit::Digest;

use super::scene::{INPUTS, Scene, noted, number, saved, saved_another};
use crate::kit::session::Session;

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn entries_are_listed_with_what_is_noted_and_their_blobs() {
    for scene in Scene::each() {
        let session = Session::new();
        assert_eq!(scene.run(&session, "ls --json").ok().stdout(), "");
        saved(&session);
        scene.run(&session, "push k").ok();
        let listed = lines(&scene.run(&session, "ls --json").ok().stdout());
        assert_eq!(listed.len(), 1, "{listed:?}");
        let (row, info) = (&listed[0], noted(&session, "k"));
        for (field, value) in [
            ("key", json!("k")),
            ("image", json!("app")),
            ("host", json!("build-3")),
            ("commit", json!("5aad80c+")),
            ("project", json!("git.example/team/app")),
            ("names", json!(["app:1"])),
            ("build_seconds", json!(93.0)),
            ("digest", info["digest"].clone()),
            ("saved", info["saved"].clone()),
            ("size", info["bytes"].clone()),
        ] {
            assert_eq!(row[field], value, "{field} in {}", scene.place);
        }
        let mut blobs: Vec<Digest> = row["blobs"].as_array().unwrap().iter().map(digest).collect();
        blobs.sort_unstable();
        assert_eq!(blobs, session.blobs());
        let sizes = row["blobs"].as_array().unwrap().iter().map(|blob| number(blob, "size"));
        assert_eq!(sizes.sum::<u64>(), number(row, "size"));
        let table = scene.run(&session, "ls").ok().stdout();
        assert!(table.starts_with("KEY") && table.contains("app") && table.contains("build-3"), "{table}");
    }
}

#[test]
fn what_is_noted_comes_alone_and_so_do_the_inputs() {
    for scene in Scene::each() {
        let (session, other) = (Session::new(), Session::new());
        saved(&session);
        saved_another(&other);
        other.run("export k a.tar").ok();
        other.run("import bare a.tar").ok();
        scene.run(&session, "push k").ok();
        scene.run(&other, "push bare").ok();
        let listed = lines(&scene.run(&session, "ls --brief --json").ok().stdout());
        let row = &listed[1];
        assert_eq!((&listed[0]["key"], &row["key"]), (&json!("bare"), &json!("k")), "{listed:?}");
        let (saved, names) = (&row["saved"], &row["names"]);
        assert_eq!((saved, names), (&noted(&session, "k")["saved"], &json!(["app:1"])));
        assert_eq!((&row["image"], &row["project"]), (&json!("app"), &json!("git.example/team/app")));
        // Nobody plans with it: it does not say what a key needs.
        assert!(row.get("blobs").is_none() && row.get("tier").is_none(), "{row}");
        let table = scene.run(&session, "ls --brief").ok().stdout();
        assert!(table.starts_with("KEY") && table.contains("build-3") && !table.contains("SIZE"), "{table}");

        assert_eq!(scene.run(&Session::new(), "info k --inputs").ok().stdout(), INPUTS, "{}", scene.place);
        scene.run(&session, "info bare --inputs").ends(1).says("no manifest of inputs was saved");
        scene.run(&session, "info none --inputs").ends(1).says("there is no `none`");
        scene.run(&session, "info k").ends(2).says("`--tier` goes with `--inputs` alone");
    }
}

fn digest(blob: &Value) -> Digest {
    blob["digest"].as_str().unwrap().parse().unwrap()
}

#[test]
fn a_removed_key_is_gone_and_others_are_whole() {
    for scene in Scene::each() {
        let (session, other, reader) = (Session::new(), Session::new(), Session::new());
        saved(&session);
        scene.run(&session, "push k").ok();
        session.run("export k a.tar").ok();
        session.run("import shares a.tar").ok();
        scene.run(&session, "push shares").ok();
        saved_another(&other);
        other.run("export k a.tar").ok();
        other.run("import alone a.tar").ok();
        scene.run(&other, "push alone").ok();

        let gone = scene.run(&session, "rm alone nothing --json").ends(1).says("there is no `nothing`");
        let gone = lines(&gone.stdout());
        assert_eq!((&gone[0]["removed"], &gone[1]["removed"]), (&true.into(), &false.into()));
        scene.run(&reader, "has alone").ends(1);
        scene.run(&reader, "pull alone").ends(1);
        // Two keys of one image: some registries delete no tag alone.
        scene.run(&session, "rm k").ok();
        scene.run(&reader, "has k").ends(1);
        scene.run(&reader, "pull shares").ok();
        reader.run("verify").ok();
        scene.run(&session, "rm shares").ok();
        scene.run(&reader, "has shares k").ends(1);
        assert_eq!(scene.run(&session, "ls --json").ok().stdout(), "", "{}", scene.place);
        // What was removed can be pushed again.
        scene.run(&session, "push k").ok();
        scene.run(&reader, "pull k").ok();
        assert_eq!(noted(&reader, "k"), noted(&session, "k"));
    }
}

#[test]
fn a_registry_that_deletes_nothing_says_so() {
    let session = Session::new();
    let Some(registry) = crate::kit::remotes::Real::start(&session) else { return };
    saved(&session);
    let place = format!("registry:{}/cache", registry.host);
    session.run(&format!("push k --tier {place}")).ok();
    session.run(&format!("rm k --tier {place}")).ends(2).says("does not delete");
    session.run(&format!("has k --tier {place}")).ok();
}
