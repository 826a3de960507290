//! Images and disks on one another: what changes below reaches all that stands on it, and nothing
//! else.

use std::fs;

use larder_tests::{Part, Session, have};

/// `top` stands on `middle`, `middle` on `base`, and `other` on nothing of them.
fn project(engine: &'static str) -> Session {
    let mut session = Session::new().file("a", "a1").file("b", "b1").file("c", "c1").file("unread", "1");
    let [base, middle, top, other] =
        ["base", "middle", "top", "other"].map(|name| session.image_in(engine, name));
    let file = |from: String, file: &str| format!("{from}COPY {file} /{file}\n");
    session.write("Base", file(session.from("scratch"), "a"));
    session.write("Middle", file(format!("FROM {base}\n"), "b"));
    session.write("Top", file(session.from("scratch"), "c") + &format!("COPY --from={middle} /a /b /\n"));
    session.write("Other", file(session.from("scratch"), "c"));
    let image = |name: &str, file: &str, tag: &str| {
        format!("[image.{name}]\ndockerfile = \"{file}\"\ntags = [\"{tag}\"]\nengine = \"{engine}\"\n")
    };
    let tables = [
        image("top", "Top", &top),
        image("middle", "Middle", &middle),
        image("base", "Base", &base),
        image("other", "Other", &other),
    ];
    session.write("larder.toml", tables.concat());
    session
}

/// The report in JSON, and of each image its name and state.
fn baked(session: &Session, line: &str) -> (Vec<serde_json::Value>, Vec<String>) {
    let report = session.run(line).rows();
    let words = |line: &serde_json::Value| format!("{} {}", line["image"], line["state"]).replace('"', "");
    let states = report.iter().map(words).collect();
    (report, states)
}

fn follows_a_change(engine: &'static str) {
    let session = project(engine);
    let bake = "larder bake --json";
    let (_, states) = baked(&session, bake);
    assert_eq!(states, ["top built", "middle built", "base built", "other built"]);
    let (_, states) = baked(&session, bake);
    assert_eq!(states, ["top hit", "middle hit", "base hit", "other hit"]);

    // Three levels down.
    session.write("a", "a2");
    let (report, states) = baked(&session, "larder bake --json --check");
    assert_eq!(states, ["top stale", "middle stale", "base stale", "other hit"]);
    let reason = report[0]["reason"].as_str().expect("a reason");
    assert!(
        reason.starts_with("`middle` would be rebuilt because `base` would be rebuilt: 1 change since"),
        "{reason}"
    );
    let (report, states) = baked(&session, bake);
    assert_eq!(states, ["top built", "middle built", "base built", "other hit"]);
    assert_eq!(report[0]["chain"], serde_json::json!(["middle", "base"]));
    assert_eq!(report[1]["chain"], serde_json::json!(["base"]));
    assert_eq!(report[2]["chain"], serde_json::json!([]));
    let reason = report[0]["reason"].as_str().expect("a reason");
    assert!(
        reason.starts_with("`middle` was rebuilt because `base` was rebuilt: 1 change since"),
        "{reason}"
    );

    // In the middle; `bake middle` leaves what stands on it alone.
    session.write("b", "b2");
    let (_, states) = baked(&session, "larder bake --json middle");
    assert_eq!(states, ["middle built", "base hit"]);
    let (_, states) = baked(&session, bake);
    assert_eq!(states, ["top built", "middle hit", "base hit", "other hit"]);

    // What no image reads.
    session.write("unread", "2");
    let (_, states) = baked(&session, bake);
    assert_eq!(states, ["top hit", "middle hit", "base hit", "other hit"]);

    // Back to what was there before: nothing is built.
    session.write("a", "a1");
    session.write("b", "b1");
    let ran = session.run("larder bake").ok();
    assert!(ran.stdout().lines().last().expect("a line").starts_with("4 images: "), "{ran}");
    assert!(!ran.stdout().contains("built"), "{ran}");

    // What the engine lacks comes out of the store, and is counted.
    let top = session.run("grep -o 'larder-test-[^\"]*-top' larder.toml").ok().stdout();
    session.run(&format!("{engine} rmi -f {top}")).ok();
    let ran = session.run("larder bake").ok();
    assert!(ran.stdout().lines().last().expect("a line").starts_with("4 images: 3 hits, 1 loaded"), "{ran}");
}

#[test]
fn a_change_three_levels_down_rebuilds_what_stands_on_it() {
    if have(&[Part::Docker]) {
        follows_a_change("docker");
    }
}

#[test]
fn podman_follows_a_change_too() {
    if have(&[Part::Podman, Part::Docker]) {
        follows_a_change("podman");
    }
}

#[test]
fn a_circle_is_shown_in_larder_toml() {
    if !have(&[Part::Docker]) {
        return;
    }
    let session = project("docker");
    let top = session.run("grep -o 'larder-test-[^\"]*-top' larder.toml").ok().stdout();
    session.write("Base", format!("FROM {top}"));
    session
        .run("larder bake")
        .ends(2)
        .says("images are built from one another: `top` from `middle` from `base` from `top`")
        .says("[image.top]");
}

/// A disk of what is in the file of its letter, and of what `from` has; each run adds its name to
/// the file `ran` beside.
fn disk(name: &str, file: &str, from: &str, more: &str) -> String {
    format!(
        "[disk.{name}]\ninputs = [\"{file}\"]\noutput = \"out/{name}\"\n{more}\n\
         run = 'echo {name} >>../ran; cat {file} {from} >\"$LARDER_OUTPUT\"'\n"
    )
}

/// The names of the disks that were made since.
fn made(session: &Session) -> Vec<String> {
    let ran = fs::read_to_string(session.aside("ran")).unwrap_or_default();
    let _ = fs::remove_file(session.aside("ran"));
    let mut names: Vec<_> = ran.lines().map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn disks_follow_a_change_three_levels_down() {
    let session = Session::new().file("a", "a1").file("b", "b1").file("c", "c1").file("unread", "1");
    let tables = [
        disk("top", "c", "out/middle", "needs = [\"middle\"]"),
        disk("middle", "b", "out/base", "needs = [\"base\"]"),
        disk("base", "a", "", ""),
        disk("other", "c", "", ""),
    ];
    session.write("larder.toml", tables.concat());
    for jobs in ["-j1", "-j4"] {
        let bake = format!("larder bake --json {jobs}");
        session.write("a", format!("a{jobs}"));
        let (report, states) = baked(&session, &bake);
        let other = if jobs == "-j1" { "other built" } else { "other hit" };
        assert_eq!(states, ["top built", "middle built", "base built", other]);
        assert_eq!(fs::read_to_string(session.path("out/top")).expect("a disk"), format!("c1b1a{jobs}"));
        let waves: Vec<_> = report.iter().map(|row| row["wave"].as_u64().expect("a number")).collect();
        assert_eq!(waves, [3, 2, 1, 1]);
        assert_eq!(report[0]["needs"], serde_json::json!(["middle"]));
        let (_, states) = baked(&session, &bake);
        assert_eq!(states, ["top hit", "middle hit", "base hit", "other hit"]);
    }
    made(&session);

    session.write("a", "a2");
    let (report, states) = baked(&session, "larder bake --json --dry-run");
    assert_eq!(states, ["top stale", "middle stale", "base stale", "other hit"]);
    assert_eq!(report[0]["chain"], serde_json::json!(["middle", "base"]));
    let would = "`middle` would be rebuilt because `base` would be rebuilt: 1 change since";
    let why = session.run("larder why top").ends(1);
    assert!(why.stdout().contains(would) && !why.stdout().contains("other"), "{why}");
    let (report, states) = baked(&session, "larder bake --json");
    assert_eq!(states, ["top built", "middle built", "base built", "other hit"]);
    let reason = report[0]["reason"].as_str().expect("a reason");
    assert!(
        reason.starts_with("`middle` was rebuilt because `base` was rebuilt: 1 change since"),
        "{reason}"
    );
    assert_eq!(made(&session), ["base", "middle", "top"]);

    // What stands on it is left alone, and what it stands on is baked.
    session.write("b", "b2");
    let (_, states) = baked(&session, "larder bake --json middle");
    assert_eq!(states, ["middle built", "base hit"]);
    let (_, states) = baked(&session, "larder bake --json top");
    assert_eq!(states, ["top built", "middle hit", "base hit"]);
    session.write("unread", "2");
    let (_, states) = baked(&session, "larder bake --json");
    assert_eq!(states, ["top hit", "middle hit", "base hit", "other hit"]);
    assert_eq!(made(&session), ["middle", "top"]);

    // What is made anew by itself is so for what stands on it, whatever the key says.
    let (report, states) = baked(&session, "larder bake --json --rebuild base");
    assert_eq!(states, ["base built"], "{report:?}");
    let (report, states) = baked(&session, "larder bake --json");
    assert_eq!(states, ["top built", "middle built", "base hit", "other hit"]);
    assert_eq!(report[0]["chain"], serde_json::json!(["middle", "base"]));

    // What is not kept is not known: nothing that stands on it is kept.
    session.write(
        "larder.toml",
        tables.concat().replace("[disk.middle]", "[disk.middle]\ncache.images = false"),
    );
    for _ in 0..2 {
        let (report, states) = baked(&session, "larder bake --json");
        assert_eq!(states, ["top built", "middle built", "base hit", "other hit"]);
        assert!(report[0]["warnings"].to_string().contains("`middle`, which it needs, was not saved"));
        assert_eq!(report[0]["saved"], false);
    }
}

#[test]
fn a_disk_that_fails_takes_what_needs_it_with_it_and_nothing_else() {
    let session = Session::new().file("a", "a1");
    let failing = disk("base", "a", "none", "");
    let tables = [disk("top", "a", "", "needs = [\"base\"]"), failing, disk("other", "a", "", "")];
    session.write("larder.toml", tables.concat());
    let (report, states) = baked(&session, "larder bake --json -j2");
    assert_eq!(states, ["top failed", "base failed", "other built"]);
    assert!(report[0]["error"].as_str().expect("an error").starts_with("`base`"), "{}", report[0]);
    assert_eq!(made(&session), ["base", "other"]);
}

#[test]
fn independent_disks_are_made_at_once() {
    let session = Session::new().file("a", "a1");
    session.run("mkfifo ../fifo").ok();
    let meets = |name: &str, meet: &str| {
        disk(name, "a", "", "timeout = \"60s\"").replace("cat", &format!("{meet}; cat"))
    };
    session.write("larder.toml", meets("one", "echo >../fifo") + &meets("two", "read -r _ <../fifo"));
    let (_, states) = baked(&session, "larder bake --json -j2");
    assert_eq!(states, ["one built", "two built"]);
}

#[test]
fn a_disk_comes_after_that_whose_output_it_reads() {
    let session = Session::new().file("a", "a1");
    // Of its own inputs it knows what makes them.
    session.write("larder.toml", disk("top", "out/base", "", "") + &disk("base", "a", "", ""));
    let (report, states) = baked(&session, "larder bake --json --check");
    assert_eq!(states, ["top stale", "base stale"]);
    assert!(report[0]["reason"].as_str().expect("a reason").starts_with("the outputs of `base`"));
    let (_, states) = baked(&session, "larder bake --json -j4 top");
    assert_eq!(states, ["top built", "base built"]);
    // The files are in the key: with the same ones nothing is to be made; a check cannot know that.
    session.run("rm -r out").ok();
    let (report, states) = baked(&session, "larder bake --json --check");
    assert_eq!(states, ["top stale", "base hit"]);
    assert!(report[0]["reason"].as_str().expect("a reason").ends_with("are not all in place"), "{report:?}");
    let (_, states) = baked(&session, "larder bake --json -j4");
    assert_eq!(states, ["top hit", "base hit"]);
}

#[test]
fn what_is_made_of_a_changed_file_of_a_need_is_not_kept() {
    let session = Session::new().file("a", "a1");
    let one = disk("one", "a", "out/base", "needs = [\"base\"]").replace("cat", "echo more >>out/base; cat");
    session.write("larder.toml", one + &disk("base", "a", "", ""));
    let (report, states) = baked(&session, "larder bake --json");
    assert_eq!(states, ["one built", "base built"]);
    assert_eq!((&report[0]["saved"], &report[1]["saved"]), (&false.into(), &true.into()));
    let warnings = report[0]["warnings"].to_string();
    assert!(warnings.contains("the output of `base`, which it needs, was changed"), "{warnings}");
}

#[test]
fn a_circle_of_images_and_disks_is_shown_in_larder_toml() {
    let session = Session::new().file("a", "a1");
    let one = disk("one", "a", "", "needs = [\"app\"]");
    session.write("larder.toml", format!("[image.app]\npack = {{ dir = \".\" }}\nneeds = [\"one\"]\n{one}"));
    let ran = session.run("larder bake one").ends(2);
    ran.says("images and disks are made from one another: `one` from `app` from `one`").says("[disk.one]");
    let two = disk("two", "a", "", "needs = [\"one\"]");
    session.write("larder.toml", disk("one", "a", "", "needs = [\"two\"]") + &two);
    session.run("larder bake").ends(2).says("`one` from `two` from `one`");
    session.write("larder.toml", disk("one", "a", "", "needs = [\"too\"]") + &two);
    session.run("larder bake").ends(2).says("there is no image or disk `too`").says("is `two` meant?");
}

#[test]
fn a_step_of_ci_bakes_disks_and_what_they_need() {
    let session = Session::new().file("a", "a1");
    let tables = [
        disk("web-one", "a", "out/base", "needs = [\"base\"]"),
        disk("base", "a", "", ""),
        disk("other", "a", "", ""),
        "[[ci.step]]\nname = \"make\"\nbake = [\"web-*\"]\nrun = \"grep -q a1a1 out/web-one\"\n".to_owned(),
    ];
    session.write("larder.toml", tables.concat());
    session.run("larder ci").ok();
    assert_eq!(made(&session), ["base", "web-one"]);
}

/// An image of larder.toml on another one, and a disk that is made of it; an image that has the
/// disk in it.
#[test]
fn disks_and_images_stand_on_one_another() {
    if !have(&[Part::Docker]) {
        return;
    }
    let mut session = Session::new().file("a", "a1").file("b", "b1").file("c", "c1");
    let [base, app, last] = ["base", "app", "last"].map(|name| session.image_in("docker", name));
    session.write("Base", session.from("scratch") + "COPY a /a\n");
    session.write("App", format!("FROM {base}\nCOPY b /b\n"));
    session.write("Last", session.from("scratch") + "COPY out/edge.tar /\n");
    let image = |name: &str, file: &str, tag: &str| {
        format!("[image.{name}]\ndockerfile = \"{file}\"\ntags = [\"{tag}\"]\nengine = \"docker\"\n")
    };
    let edge = format!(
        "[disk.edge]\ninputs = [\"c\"]\nneeds = [\"app\"]\noutput = \"out/edge.tar\"\n\
         run = 'echo edge >>../ran; docker save -o \"$LARDER_OUTPUT\" {app}'\n"
    );
    let top = "[disk.top]\ninputs = [\"c\"]\nneeds = [\"edge\"]\noutput = \"out/top\"\n\
               run = 'echo top >>../ran; tar -tf out/edge.tar >\"$LARDER_OUTPUT\"'\n";
    let images = [image("last", "Last", &last), image("app", "App", &app), image("base", "Base", &base)];
    session.write("larder.toml", images.concat() + top + &edge);
    for jobs in ["-j1", "-j4"] {
        session.write("a", format!("a{jobs}"));
        let (report, states) = baked(&session, &format!("larder bake --json {jobs}"));
        assert_eq!(states, ["last built", "app built", "base built", "top built", "edge built"]);
        let waves: Vec<_> = report.iter().map(|row| row["wave"].as_u64().expect("a number")).collect();
        assert_eq!(waves, [4, 2, 1, 4, 3]);
        assert_eq!(made(&session), ["edge", "top"]);
        let (_, states) = baked(&session, &format!("larder bake --json {jobs}"));
        assert_eq!(states, ["last hit", "app hit", "base hit", "top hit", "edge hit"]);
    }
    session.write("a", "a2");
    let (report, states) = baked(&session, "larder bake --json top");
    assert_eq!(states, ["app built", "base built", "top built", "edge built"]);
    assert_eq!(report[2]["chain"], serde_json::json!(["edge", "app", "base"]));
    let reason = report[2]["reason"].as_str().expect("a reason");
    let chain = "`edge` was rebuilt because `app` was rebuilt because `base` was rebuilt: 1 change since";
    assert!(reason.starts_with(chain), "{reason}");

    // Of what another build has taken the name, nothing is kept.
    session.write(
        "larder.toml",
        images.concat() + &edge.replace("echo edge", &format!("docker tag {base} {app}; echo edge")),
    );
    let (report, _) = baked(&session, "larder bake --json edge");
    let edge = report.last().expect("a disk");
    assert!(edge["warnings"].to_string().contains("became another image after it was baked"), "{edge}");
    assert_eq!(edge["saved"], false);
}
