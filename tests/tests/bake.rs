//! A project's images, baked for real.

use std::fs;

use larder_tests::{Part, Ran, Session, have};
use serde_json::Value;

/// The one line of a bake's report.
#[track_caller]
fn report(ran: &Ran) -> Value {
    let mut lines = ran.json();
    assert_eq!(lines.len(), 1, "{ran}");
    lines.remove(0)
}

/// Bakes; the image must be found or built as `state` says. Returns the report.
#[track_caller]
fn bakes(session: &Session, state: &str) -> Value {
    let ran = session.run("xtask bake --json").ok();
    let line = report(&ran);
    assert_eq!(line["state"], state, "{ran}");
    assert_eq!(
        (&line["saved"], &line["warnings"]),
        (&true.into(), &Value::from(Vec::<Value>::new())),
        "{ran}"
    );
    line
}

/// A project whose image has a root file system of a few hundred MB below it. Its name in the engine.
fn project(session: &mut Session, settings: &str) -> String {
    let (base, app) = (session.base(), session.image("app"));
    session.write("Dockerfile", session.from(&base) + "RUN date +%s%N >/built\nCOPY . /src\n");
    session.write(".dockerignore", "*.log\n");
    session.write("src/main.c", "int main(void) { return 0; }\n");
    session.write("larder.toml", format!("[image.app]\ntags = [\"{app}\"]\n{settings}"));
    app
}

#[test]
fn a_report_says_what_could_make_the_key_lie() {
    let session = Session::new();
    session.write("Dockerfile", "FROM nowhere:1\nCOPY gone* x /\n");
    session.write(".gitignore", "x\n");
    session.write("x", "x");
    for (ignore, wanted) in [("docker", 2), ("all", 1)] {
        session.write("larder.toml", format!("[image.app]\nengine = \"docker\"\nignore = \"{ignore}\"\n"));
        session.run("chmod 600 x").ok();
        let line = report(&session.run("xtask bake --check --json").ends(1));
        let said = line["key_warnings"].as_array().expect("a list");
        assert_eq!(said.len(), wanted, "{line}");
        assert!(line.to_string().contains("`nowhere:1` may be another image tomorrow"), "{line}");
    }
}

#[test]
fn the_loop_closes_on_a_real_image() {
    if !have(&[Part::Docker, Part::Base]) {
        return;
    }
    let mut session = Session::new();
    let app = project(&mut session, "");
    let first = bakes(&session, "built");
    let id = session.image_id(&app).expect("an image");

    // Only from the store: the engine has forgotten it.
    session.run(&format!("docker rmi {app}")).ok();
    let hit = bakes(&session, "hit");
    assert_eq!((&hit["key"], session.image_id(&app)), (&first["key"], Some(id.clone())));

    session.write("src/main.c", "int main(void) { return 1; }\n");
    let changed = bakes(&session, "built");
    assert_ne!((&changed["key"], session.image_id(&app)), (&first["key"], Some(id.clone())));
    assert_eq!(changed["changes"]["since"], first["key"]);
    let lines = changed["changes"]["lines"].to_string();
    assert!(lines.contains("src/main.c"), "what changed is {lines}");

    session.write("noise.log", "hidden from the engine");
    assert_eq!(bakes(&session, "hit")["key"], changed["key"]);

    session.write("src/main.c", "int main(void) { return 0; }\n");
    assert_eq!(bakes(&session, "hit")["key"], first["key"]);
    assert_eq!(session.image_id(&app), Some(id));
    session.run("imgtar verify").ok();
}

/// Podman with storage of its own, so that nothing is left behind.
const PODMAN: &str = "#!/bin/sh\nexec podman --root \"$TMPDIR/podman\" --runroot \"$TMPDIR/run\" --storage-driver vfs \"$@\"\n";

/// A session whose podman is that, with an image of one file.
fn with_podman(settings: &str) -> Session {
    let session = Session::new().file("Dockerfile", "FROM scratch\nCOPY . /src\n").file("file", "one");
    session.write("../bin/podman", PODMAN);
    session.run("chmod +x ../bin/podman").ok();
    session.write("larder.toml", format!("[image.app]\n{settings}"));
    let podman = session.aside("bin/podman").into_string();
    session.env("LARDER_PODMAN", &podman)
}

#[test]
fn the_loop_closes_with_podman() {
    if !have(&[Part::Podman]) {
        return;
    }
    for settings in ["engine = \"podman\"\n", "engine = \"podman\"\nignore = \"all\"\n"] {
        let session = with_podman(settings);
        session.write(".containerignore", "noise\nlarder.toml\n");
        let id = || {
            let ran = session.run("../bin/podman image inspect --format '{{.Id}}' localhost/app:latest");
            (ran.code() == 0).then(|| ran.stdout())
        };
        let first = bakes(&session, "built");
        assert_eq!(first["from"], "podman");
        let built = id().expect("an image");
        session.run("../bin/podman rmi -f app").ok();
        assert_eq!(id(), None);
        let hit = bakes(&session, "hit");
        assert_eq!((&hit["key"], &hit["from"], id()), (&first["key"], &"store".into(), Some(built.clone())));
        assert_eq!(bakes(&session, "hit")["from"], "engine");
        session.write("noise", "hidden from podman");
        assert_eq!(bakes(&session, "hit")["key"], first["key"]);
        session.write("file", "two");
        assert_ne!(bakes(&session, "built")["key"], first["key"]);
        assert_ne!(id(), Some(built));
        session.run("imgtar verify").ok();
    }
}

#[test]
fn the_engine_that_answers_builds() {
    if !have(&[Part::Podman]) {
        return;
    }
    let session = with_podman("").env("LARDER_DOCKER", "/bin/false");
    assert_eq!(bakes(&session, "built")["from"], "podman");
    session.run("xtask bake --engine docker --json").ends(2).says("no engine");
}

#[test]
fn two_bakes_of_one_key_build_it_once() {
    if !have(&[Part::Docker]) {
        return;
    }
    let mut session = Session::new().file("file", "one");
    let app = session.image("app");
    session.write("Dockerfile", session.from("scratch") + "COPY file /\n");
    session.write("larder.toml", format!("[image.app]\ntags = [\"{app}\"]\n"));
    session.write(
        "../bin/docker",
        "#!/bin/sh\n[ \"$1\" = build ] && { echo built >>../builds; sleep 1; }\nPATH=${PATH#*:} exec docker \"$@\"\n",
    );
    session.run("chmod +x ../bin/docker").ok();
    let bakes: Vec<_> =
        (0..3).map(|_| session.start("PATH=$PWD/../bin:$PATH exec xtask bake --json")).collect();
    let mut states: Vec<String> = Vec::new();
    for bake in bakes {
        let output = bake.wait_with_output().expect("xtask");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let line: Value = serde_json::from_slice(&output.stdout).expect("a report");
        states.push(line["state"].as_str().expect("a state").to_owned());
    }
    states.sort();
    assert_eq!(states, ["built", "hit", "hit"]);
    assert_eq!(session.run("cat ../builds").stdout(), "built\n");
    assert_eq!(session.run("ls -A ../store | grep bake").stdout(), "");
}

#[test]
fn with_gits_rules_what_git_hides_is_neither_hashed_nor_in_a_layer() {
    if !have(&[Part::Docker, Part::Base, Part::Git]) {
        return;
    }
    let mut session = Session::new();
    let app = project(&mut session, "ignore = \"all\"\n");
    session.write(".gitignore", "dist/\n");
    session.write("dist/before", "hidden by git");
    session.run("git init -q . && git add .").ok();
    bakes(&session, "built");
    session.write("dist/after", "hidden by git");
    bakes(&session, "hit");
    session.run("rm -r dist").ok();
    let key = bakes(&session, "hit")["key"].as_str().expect("a key").to_owned();
    // Every layer's list of files, as docker's own archive has them.
    let list = session.run(&format!(
        "docker save {app} | tar -x -C ../tmp && for f in ../tmp/*/layer.tar ../tmp/blobs/sha256/*; do \
         tar -tf $f 2>/dev/null; done | grep '^src/'"
    ));
    assert!(list.stdout().contains("src/src/main.c") && !list.stdout().contains("dist"), "{key}: {list}");
}

#[test]
fn versions_share_their_base_and_a_collection_leaves_whole_images() {
    if !have(&[Part::Docker, Part::Base]) {
        return;
    }
    let mut session = Session::new();
    let app = project(&mut session, "");
    let mut one = 0;
    for version in 1..=5 {
        session.write("src/main.c", format!("int main(void) {{ return {version}; }}\n"));
        bakes(&session, "built");
        let size: u64 = session.blobs().iter().map(|blob| fs::metadata(blob).expect("a blob").len()).sum();
        one = if one == 0 { size } else { one };
        assert!(size < one + one / 20, "the base is stored again: {one}, then {size} bytes");
    }
    assert_eq!(session.run("imgtar ls --json").ok().json().len(), 5);

    session.run("gcctl run --max-images 2").ok();
    let left = session.run("imgtar ls --json").ok().json();
    assert_eq!(left.len(), 2);
    session.run("imgtar verify").ok();
    session.run(&format!("docker rmi -f {app}")).ok();
    for image in &left {
        session.run(&format!("imgtar load {} --tag {app}", image["key"].as_str().expect("a key"))).ok();
        session.run(&format!("docker run --rm --network none {app} grep -c main /src/src/main.c")).ok();
    }
    bakes(&session, "hit");
}

#[test]
fn an_edit_during_the_build_is_never_saved() {
    if !have(&[Part::Docker, Part::Base]) {
        return;
    }
    let mut session = Session::new();
    let base = session.base();
    let app = session.image("app");
    session.write("larder.toml", format!("[image.app]\ntags = [\"{app}\"]\n"));
    session.write("Dockerfile", session.from(&base) + "COPY input /\n");
    session.write("input", "before");
    // A docker that lets an editor in while it builds.
    session.write(
        "../bin/docker",
        "#!/bin/sh\n[ \"$1\" = build ] && echo after >input\nPATH=${PATH#*:} exec docker \"$@\"\n",
    );
    session.run("chmod +x ../bin/docker").ok();
    let ran = session.run("PATH=$PWD/../bin:$PATH xtask bake --json").ok().says("inputs changed");
    assert_eq!((&report(&ran)["state"], &report(&ran)["saved"]), (&"built".into(), &false.into()));
    assert_eq!(session.run("imgtar ls --json").ok().stdout(), "");
    bakes(&session, "built");
}

#[test]
fn a_packed_image_needs_no_engine() {
    let session = Session::new()
        .file("dist/bin/app", "#!/bin/true\n")
        .file("larder.toml", "[image.files]\npack = { dir = \"dist\", entrypoint = \"/bin/app\" }\n")
        .env("LARDER_DOCKER", "/nonexistent/docker");
    let first = bakes(&session, "built");
    assert_eq!(bakes(&session, "hit")["key"], first["key"]);
    session.write("dist/bin/app", "#!/bin/false\n");
    let second = bakes(&session, "built");
    assert!(second["changes"]["lines"].to_string().contains("bin/app"), "{second}");
    session.write("larder.toml", "[image.files]\npack = { dir = \"dist\", entrypoint = \"/bin/other\" }\n");
    assert_ne!(bakes(&session, "built")["key"], second["key"], "the settings are in the key");
    session.run("xtask bake --check").ok();
    session.write("dist/new", "");
    session.run("xtask bake --check").ends(1);
    session.run("imgtar verify").ok();
}

#[test]
fn a_packed_image_is_loaded_where_an_engine_answers() {
    if !have(&[Part::Docker]) {
        return;
    }
    let mut session = Session::new().file("dist/hello", "hello\n");
    let app = session.image("files");
    session.write(
        "larder.toml",
        format!(
            "[image.files]\ntags = [\"{app}:1\", \"{app}:2\"]\npack = {{ dir = \"dist\", {} }}\n",
            session.labels()
        ),
    );
    bakes(&session, "built");
    let id = session.image_id(&format!("{app}:1")).expect("an image");
    assert_eq!(session.image_id(&format!("{app}:2")).as_ref(), Some(&id));
    session.run(&format!("docker rmi {app}:1 {app}:2")).ok();
    bakes(&session, "hit");
    assert_eq!(session.image_id(&format!("{app}:2")), Some(id));
}

/// The team that keeps its test image in the repository, as far as one machine goes.
#[test]
fn the_store_lives_in_the_repository_and_a_clone_loads_from_it() {
    if !have(&[Part::Docker, Part::Base, Part::Git]) {
        return;
    }
    let mut session = Session::new().env("LARDER_DIR", "");
    let app = project(&mut session, "[store]\ndir = \"docker-cache\"\n");
    session.write(".dockerignore", "*.log\ndocker-cache\n.git\n");
    let first = bakes(&session, "built");
    assert!(session.path("docker-cache/CACHEDIR.TAG").is_file());
    assert_eq!(bakes(&session, "hit")["key"], first["key"], "the store is no input of its own keys");
    let id = session.image_id(&app).expect("an image");

    session.run("git init -q . && git add . && git commit -qm all && git clone -q . ../work/clone").ok();
    session.run(&format!("docker rmi {app}")).ok();
    let ran = session.run("cd clone && xtask bake --json").ok();
    assert_eq!((&report(&ran)["state"], &report(&ran)["key"]), (&"hit".into(), &first["key"]), "{ran}");
    assert_eq!(session.image_id(&app), Some(id));

    // A blob that git brought back wrong is noticed, and the bake goes through it. (The engine may have the layers in its
    // own build cache, and is not sent those; the config it always gets.)
    let info = format!("cd clone && imgtar info {} --json", first["key"].as_str().expect("a key"));
    let info = report(&session.run(&info).ok());
    let id = info["images"][0]["id"].as_str().and_then(|id| id.strip_prefix("sha256:")).expect("an ID");
    let blob = format!("clone/docker-cache/images/blobs/sha256/{id}");
    session.run(&format!("printf X | dd of={blob} bs=1 seek=20 conv=notrunc status=none")).ok();
    session.run(&format!("docker rmi {app}")).ok();
    let ran = session.run("cd clone && xtask bake --json").ok().says("damaged");
    assert_eq!((&report(&ran)["state"], &report(&ran)["saved"]), (&"built".into(), &true.into()), "{ran}");
    session.run("cd clone && imgtar verify").ok();
}
