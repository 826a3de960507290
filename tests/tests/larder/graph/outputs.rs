//! Files of an image in the project, for real.

use std::fs;
use std::os::unix::fs::MetadataExt;

use larder_tests::{Part, Ran, Session, have, until};

/// A session with a packed image: no engine is needed, and none answers.
fn packed(outputs: &str) -> Session {
    let session = Session::new();
    session.write("src/build/dist/a-1.whl", "wheel 1");
    session.write("src/build/dist/note.txt", "a note");
    session.write(
        "larder.toml",
        format!("[image.wheels]\npack = {{ dir = \"src\" }}\noutputs = {{ {outputs} }}\n"),
    );
    session.env("LARDER_DOCKER", "false")
}

/// The state of each image, and how many files were written.
#[track_caller]
fn bakes(session: &Session, wanted: &[(&str, Option<u64>)]) {
    let ran = session.run("larder bake --json").ok();
    reported(&ran, wanted);
}

#[track_caller]
fn reported(ran: &Ran, wanted: &[(&str, Option<u64>)]) {
    let lines = ran.rows();
    let found: Vec<_> = lines
        .iter()
        .map(|line| (line["state"].as_str().expect("a state"), line["outputs"].as_u64()))
        .collect();
    assert_eq!(found, wanted, "{ran}");
}

#[track_caller]
fn holds(session: &Session, file: &str, text: Option<&str>) {
    assert_eq!(fs::read_to_string(session.path(file)).ok().as_deref(), text, "{file}");
}

const WHEELS: &str = "\"dist\" = \"/build/dist/*.whl\"";

#[test]
fn outputs_follow_the_key_and_leave_the_users_files() {
    let session = packed(WHEELS);
    bakes(&session, &[("built", Some(1))]);
    session.write("dist/mine.txt", "mine");
    bakes(&session, &[("hit", Some(0))]);

    session.run("mv src/build/dist/a-1.whl src/build/dist/a-2.whl").ok();
    bakes(&session, &[("built", Some(1))]);
    holds(&session, "dist/a-1.whl", None);
    holds(&session, "dist/a-2.whl", Some("wheel 1"));
    holds(&session, "dist/mine.txt", Some("mine"));

    // What was saved before comes back, and what was spoiled or lost is mended.
    session.run("mv src/build/dist/a-2.whl src/build/dist/a-1.whl").ok();
    bakes(&session, &[("hit", Some(1))]);
    holds(&session, "dist/a-2.whl", None);
    session.write("dist/a-1.whl", "spoiled");
    bakes(&session, &[("hit", Some(1))]);
    holds(&session, "dist/a-1.whl", Some("wheel 1"));
    session.run("rm -r dist").ok();
    let text = session.run("larder bake").ok().stdout();
    assert!(text.contains("  outputs: 1 file\n"), "{text}");
    // The packed files' own time.
    let time = fs::metadata(session.path("dist/a-1.whl")).expect("a file").mtime();
    assert_eq!(time, 315_619_200);
}

#[test]
fn a_check_writes_nothing() {
    let session = packed(WHEELS);
    bakes(&session, &[("built", Some(1))]);
    session.run("rm -r dist").ok();
    reported(&session.run("larder bake --check --json").ok(), &[("hit", None)]);
    holds(&session, "dist/a-1.whl", None);
}

#[test]
fn a_pattern_that_names_nothing_fails_the_image() {
    let session = packed("\"dist\" = [\"/build/dist/*.whl\", \"/build/none/*\"]");
    let ran = session.run("larder bake --json").ends(2);
    reported(&ran, &[("failed", None)]);
    ran.says("nothing in image `wheels` is called `/build/none/*`");
    holds(&session, "dist/a-1.whl", None);
}

#[test]
fn an_output_among_the_images_own_inputs_is_refused() {
    let session = packed("\"src\" = \"/build/dist/*.whl\"");
    session.run("larder bake").ends(2).says("`src` is an output of `wheels` and would be an input");
    // It is known before anything is made.
    assert!(session.run("imgtar ls --json").ok().rows().is_empty());
    holds(&session, "src/a-1.whl", None);
    session.write("src/.dockerignore", "a-*.whl\n");
    bakes(&session, &[("built", Some(1))]);
    bakes(&session, &[("hit", Some(0))]);
}

#[test]
fn two_images_never_fight_for_a_file() {
    let session = packed(WHEELS);
    let table = |name: &str, file: &str| {
        format!("[image.{name}]\npack = {{ dir = \"{name}\" }}\noutputs = {{ \"dist\" = \"/{file}\" }}\n")
    };
    session.write("a/x.whl", "a");
    session.write("b/x.whl", "b");
    session.write("c/y.whl", "c");
    session.write("larder.toml", table("a", "*.whl") + &table("b", "*.whl") + &table("c", "*.whl"));
    let ran = session.run("larder bake --json").ends(2);
    reported(&ran, &[("built", Some(1)), ("failed", None), ("built", Some(1))]);
    ran.says("`dist/x.whl` comes from `b` and from `a`");
    holds(&session, "dist/x.whl", Some("a"));
    holds(&session, "dist/y.whl", Some("c"));
}

#[test]
fn damage_found_while_files_are_taken_out_is_built_through() {
    let session = packed(WHEELS);
    bakes(&session, &[("built", Some(1))]);
    session.run("rm -r dist").ok();
    let layer = &session.blobs()[0];
    session
        .run(&format!("for blob in {}/*; do truncate -s -1 $blob; done", layer.parent().expect("a folder")))
        .ok();
    bakes(&session, &[("built", Some(1))]);
    holds(&session, "dist/a-1.whl", Some("wheel 1"));
}

#[test]
fn a_bake_that_was_killed_is_mended_by_the_next() {
    let session = packed("\"dist\" = \"/build\"");
    session.run("for n in $(seq 3000); do echo $n >src/build/f$n; done").ok();
    let mut bake = session.start("exec larder bake");
    until("the bake writes its output, or ends", || {
        session.path("dist").exists() || bake.try_wait().expect("a process").is_some()
    });
    bake.kill().expect("a process");
    bake.wait().expect("a process");
    let ran = session.run("larder bake --json").ok();
    assert_eq!(ran.rows()[0]["saved"], true, "{ran}");
    let count = session.run("find dist -type f | wc -l").ok().stdout();
    assert_eq!(count.trim(), "3002");
    assert_eq!(session.run("ls -A dist | grep '^[.]' || true").ok().stdout(), "");
    // Of the killed bake's files none is taken for the user's.
    session.run("rm src/build/f*").ok();
    session.run("larder bake").ok();
    assert_eq!(session.run("find dist -type f | wc -l").ok().stdout().trim(), "2");
}

/// An image that the engine builds, with its output.
fn built(session: &mut Session, engine: &str) -> String {
    let app = session.image("app");
    session.write("Dockerfile", session.from("scratch") + "COPY a.whl /build/dist/\n");
    session.write(".dockerignore", "dist\n");
    session.write("a.whl", "wheel");
    let toml = format!("[image.app]\n{engine}tags = [\"{app}\"]\noutputs = {{ {WHEELS} }}\n");
    session.write("larder.toml", toml);
    app
}

#[test]
fn outputs_come_from_docker_and_with_the_engine_stopped() {
    if !have(&[Part::Docker]) {
        return;
    }
    let mut session = Session::new();
    let app = built(&mut session, "");
    bakes(&session, &[("built", Some(1))]);
    bakes(&session, &[("hit", Some(0))]);
    session.run(&format!("rm -r dist && docker rmi {app}")).ok();
    bakes(&session, &[("hit", Some(1))]);

    session.run("rm -r dist").ok();
    let ran = session.run("DOCKER_HOST=unix:///nowhere/docker.sock larder bake --json --engine docker").ok();
    reported(&ran, &[("hit", Some(1))]);
    ran.says("could not be loaded into the engine");
    holds(&session, "dist/a.whl", Some("wheel"));

    // Built and not saved: out of the engine's own.
    session.run("rm -r dist").ok();
    let ran = session.run("larder bake --json --no-image-cache").ok();
    reported(&ran, &[("built", Some(1))]);
    assert_eq!(ran.rows()[0]["saved"], false);
    holds(&session, "dist/a.whl", Some("wheel"));
}

#[test]
fn an_output_that_the_dockerfile_reads_is_refused() {
    if !have(&[Part::Docker]) {
        return;
    }
    let mut session = Session::new();
    let _app = built(&mut session, "");
    session.write("Dockerfile", session.from("scratch") + "COPY a.whl /build/dist/\nCOPY . /src\n");
    session.write(".dockerignore", "");
    session.run("larder bake").ends(2).says("would be an input of its own key: Dockerfile:4 reads it");
    holds(&session, "dist/a.whl", None);
}

#[test]
fn outputs_come_from_podman() {
    if !have(&[Part::Podman]) {
        return;
    }
    let mut session = Session::new();
    let _app = built(&mut session, "engine = \"podman\"\n");
    let session = session.with_podman();
    bakes(&session, &[("built", Some(1))]);
    session.run("rm -r dist").ok();
    bakes(&session, &[("hit", Some(1))]);
    session.run("rm -r dist").ok();
    reported(&session.run("larder bake --json --no-cache").ok(), &[("built", Some(1))]);
    holds(&session, "dist/a.whl", Some("wheel"));
}

#[test]
fn an_image_that_reads_another_ones_outputs_comes_after_it() {
    if !have(&[Part::Docker]) {
        return;
    }
    let mut session = Session::new();
    let [maker, reader, other] = ["maker", "reader", "other"].map(|name| session.image(name));
    session.write("Dockerfile.reader", session.from("scratch") + "COPY gen/*.txt /\n");
    session.write("Dockerfile.other", session.from("scratch") + "COPY src/one.txt /\n");
    session.write("src/Dockerfile", session.from("scratch") + "COPY *.txt /out/\n");
    session.write("src/one.txt", "1\n");
    session.write(
        "larder.toml",
        format!(
            "[image.reader]\ndockerfile = \"Dockerfile.reader\"\ntags = [\"{reader}:1\"]\n\
             [image.other]\ndockerfile = \"Dockerfile.other\"\ntags = [\"{other}:1\"]\n\
             [image.maker]\ncontext = \"src\"\ntags = [\"{maker}:1\"]\noutputs = {{ gen = \"/out/*.txt\" }}\n"
        ),
    );
    let states = |line: &str, code: i32| {
        let rows = session.run(line).ends(code).rows();
        let text = |row: &serde_json::Value| format!("{} {}", row["image"], row["state"]).replace('"', "");
        rows.iter().map(text).collect::<Vec<_>>()
    };
    let bake = "larder bake --engine docker --json";
    // What it reads is not there before.
    assert_eq!(states(&format!("{bake} reader"), 0), ["reader built", "maker built"]);
    assert_eq!(states(bake, 0), ["reader hit", "other built", "maker hit"]);
    let needs = session.run(bake).ok().rows();
    assert_eq!((&needs[0]["needs"], &needs[1]["needs"]), (&["maker"].into(), &serde_json::json!([])));
    assert_eq!((&needs[0]["wave"], &needs[2]["wave"]), (&2.into(), &1.into()));

    session.write("src/two.txt", "2\n");
    assert_eq!(states(&format!("{bake} --check"), 1), ["reader stale", "other hit", "maker stale"]);
    let changed = session.run(bake).ok();
    assert_eq!(changed.rows()[0]["changes"]["lines"].to_string(), "[\"added gen/two.txt\"]", "{changed}");
    assert_eq!(states(bake, 0), ["reader hit", "other hit", "maker hit"]);
    // Outputs that are gone come back before they are read.
    assert_eq!(states(&format!("rm -r gen; {bake}"), 0), ["reader hit", "other hit", "maker hit"]);

    // A folder that another image makes as a whole is packed after it, too.
    let pack = format!("[image.packed]\npack = {{ dir = \"gen\", {} }}\n", session.labels());
    let toml = std::fs::read_to_string(session.path("larder.toml")).expect("a file");
    session.write("larder.toml", toml.clone() + &pack);
    let packed = format!("rm -r gen; {bake} packed --no-image-cache");
    assert_eq!(states(&packed, 0), ["maker built", "packed built"]);

    // Each reads what the other one makes.
    let circle =
        toml.replacen("[image.other]", "outputs = { \"src/one.txt\" = \"/one.txt\" }\n[image.other]", 1);
    session.write("larder.toml", circle);
    session.run(bake).ends(2).says("images are built from one another").says("hide outputs in .dockerignore");
}

#[test]
fn a_check_says_of_outputs_what_a_bake_would() {
    let session = Session::new().file("d/made/one.whl", "1");
    let file = |pattern: &str| {
        let image =
            format!("[image.app]\npack = {{ dir = \"d\" }}\noutputs = {{ \"dist\" = \"{pattern}\" }}\n");
        session.write("larder.toml", image);
    };
    let larder = "LARDER_DOCKER=/none LARDER_PODMAN=/none larder";
    file("/made/*.whl");
    session.run(&format!("{larder} bake")).ok();
    session.run("rm -r dist").ok();
    session.run(&format!("{larder} bake --check")).ok();
    session.run("test ! -e dist").ok();
    file("/made/*.tar");
    let said = "nothing in image `app` is called `/made/*.tar`";
    for words in ["bake --check", "bake --dry-run", "bake"] {
        session.run(&format!("{larder} {words}")).ends(2).says(said);
    }
}
