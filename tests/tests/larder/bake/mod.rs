//! A project's images, baked for real.

mod podman;

use std::fs;

use larder_tests::{Part, Ran, Session, have};
use serde_json::Value;

use self::podman::with_podman;

/// The one line of a bake's report.
#[track_caller]
fn report(ran: &Ran) -> Value {
    let mut lines = ran.rows();
    assert_eq!(lines.len(), 1, "{ran}");
    lines.remove(0)
}

/// Bakes; the image must be found or built as `state` says. Returns the report.
#[track_caller]
fn bakes(session: &Session, state: &str) -> Value {
    bakes_by(session, "larder bake --json", state)
}

#[track_caller]
fn bakes_by(session: &Session, line: &str, state: &str) -> Value {
    let ran = session.run(line).ok();
    let line = report(&ran);
    assert_eq!(line["state"], state, "{ran}");
    assert_eq!(
        (&line["saved"], &line["warnings"]),
        (&true.into(), &Value::from(Vec::<Value>::new())),
        "{ran}"
    );
    line
}

/// A project whose image has a root file system of a few hundred MB below it. Its name in the
/// engine.
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
        let line = report(&session.run("larder bake --check --json").ends(1));
        let said = line["key_warnings"].as_array().expect("a list");
        assert_eq!(said.len(), wanted, "{line}");
        assert!(line.to_string().contains("`nowhere:1` may name another image later"), "{line}");
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

/// A project of `app`, which is named before what it is built from: `base` by FROM, `tools` by COPY
/// --from. Their names in the engine.
fn family(session: &mut Session) -> [String; 3] {
    let [app, base, tools] = ["app", "base", "tools"].map(|name| session.image(name));
    let scratch = session.from("scratch");
    session.write("base/Dockerfile", format!("{scratch}COPY file /base\n"));
    session.write("tools/Dockerfile", format!("{scratch}COPY file /tool\n"));
    let app_file = format!(
        "ARG BASE=nowhere\nARG TAG=1\nFROM $BASE:$TAG AS run\nCOPY --from={tools} /tool /tool\n\
         FROM nowhere:2 AS unneeded\n"
    );
    session.write("app/Dockerfile", app_file);
    session.write("base/file", "base 1");
    session.write("tools/file", "tool 1");
    session.write(
        "larder.toml",
        format!(
            "[image.app]\ncontext = \"app\"\ntarget = \"run\"\nargs = {{ BASE = \"docker.io/library/{base}\" }}\n\
             tags = [\"{app}\"]\n[image.base]\ncontext = \"base\"\ntags = [\"x/{base}\", \"{base}:1\"]\n\
             [image.tools]\ncontext = \"tools\"\ntags = [\"{tools}\"]\n"
        ),
    );
    [app, base, tools]
}

/// Bakes; the images must be found or built as it says, in that order. Returns the report.
#[track_caller]
fn bakes_all(session: &Session, line: &str, states: &[(&str, &str)]) -> Vec<Value> {
    let ran = session.run(line);
    let lines = ran.rows();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let baked: Vec<_> = lines.iter().map(|line| (text(&line["image"]), text(&line["state"]))).collect();
    let wanted: Vec<_> =
        states.iter().map(|(name, state)| ((*name).to_owned(), (*state).to_owned())).collect();
    assert_eq!(baked, wanted, "{ran}");
    lines
}

/// What a file of an image says.
fn inside(session: &Session, image: &str, path: &str) -> String {
    let id = session.run(&format!("docker create {image} none")).ok().stdout();
    let file = session.run(&format!("docker cp {0}:{path} - | tar -xO", id.trim())).ok().stdout();
    session.run(&format!("docker rm {id}")).ok();
    file
}

const ALL: &str = "larder bake --json";

#[test]
fn an_image_follows_what_it_is_built_from() {
    if !have(&[Part::Docker]) {
        return;
    }
    let mut session = Session::new();
    let [app, base, tools] = family(&mut session);
    // A fresh machine: what is named first is built from what comes later.
    let first = bakes_all(&session, ALL, &[("app", "built"), ("base", "built"), ("tools", "built")]);
    assert_eq!(first[0]["reason"], "no earlier save");
    let id = session.image_id(&app);
    bakes_all(&session, ALL, &[("app", "hit"), ("base", "hit"), ("tools", "hit")]);

    for (file, path, name) in [("base/file", "/base", "base"), ("tools/file", "/tool", "tools")] {
        session.write(file, "two");
        let only = |image: &'static str, new: &'static str| (image, if image == name { new } else { "hit" });
        let checked = bakes_all(
            &session,
            "larder bake --json --check app",
            &[("app", "stale"), only("base", "stale"), only("tools", "stale")],
        );
        let because = |report: &Value, reason: &str| {
            let said = report["reason"].as_str().expect("a reason");
            assert!(said.starts_with(reason) && said.contains(" since "), "{said}");
        };
        because(&checked[0], &format!("`{name}` would be rebuilt: "));
        let built = bakes_all(
            &session,
            "larder bake --json app",
            &[("app", "built"), only("base", "built"), only("tools", "built")],
        );
        because(&built[0], &format!("`{name}` was rebuilt: "));
        assert!(built[0]["changes"]["lines"].to_string().contains("base-changed "), "{built:?}");
        assert_eq!(checked[0]["key"], built[0]["key"]);
        assert_eq!(inside(&session, &app, path), "two");
        session.write(file, if name == "base" { "base 1" } else { "tool 1" });
        bakes_all(&session, ALL, &[("app", "hit"), ("base", "hit"), ("tools", "hit")]);
        assert_eq!(session.image_id(&app), id);
    }

    // What is loaded for one image alone has what that is built from.
    session.run(&format!("docker rmi -f {app} x/{base} {base}:1 {tools}")).ok();
    bakes_all(&session, "larder bake --json app", &[("app", "hit"), ("base", "hit"), ("tools", "hit")]);
    assert_eq!(session.image_id(&app), id);
    session.run(&format!("docker rmi -f x/{base}")).ok();
}

#[test]
fn an_image_is_built_anew_where_its_base_was_from_the_same_inputs() {
    if !have(&[Part::Docker]) {
        return;
    }
    let mut session = Session::new();
    let [_, base, _] = family(&mut session);
    bakes_all(&session, ALL, &[("app", "built"), ("base", "built"), ("tools", "built")]);
    bakes_all(&session, "larder bake --json --rebuild base", &[("base", "built")]);
    let check = bakes_all(
        &session,
        "larder bake --json --check",
        &[("app", "stale"), ("base", "hit"), ("tools", "hit")],
    );
    assert_eq!(check[0]["reason"], "`base` was rebuilt");
    let built = bakes_all(&session, ALL, &[("app", "built"), ("base", "hit"), ("tools", "hit")]);
    assert_eq!((&built[0]["reason"], &built[0]["saved"]), (&check[0]["reason"], &true.into()));
    bakes_all(&session, ALL, &[("app", "hit"), ("base", "hit"), ("tools", "hit")]);
    session.run(&format!("docker rmi -f x/{base}")).ok();
}

#[test]
fn an_image_may_be_built_from_a_packed_one() {
    if !have(&[Part::Docker]) {
        return;
    }
    let mut session = Session::new().file("dist/file", "one");
    let [app, files] = ["app", "files"].map(|name| session.image(name));
    session.write("Dockerfile", format!("FROM {files}\nLABEL x=y\n"));
    session.write(
        "larder.toml",
        format!(
            "[image.app]\ntags = [\"{app}\"]\n[image.files]\ntags = [\"{files}\"]\npack = {{ dir = \"dist\", {} }}\n",
            session.labels()
        ),
    );
    bakes_all(&session, ALL, &[("app", "built"), ("files", "built")]);
    session.write("dist/file", "two");
    bakes_all(&session, ALL, &[("app", "built"), ("files", "built")]);
    // An image needs a command for a container to be made of it; `docker create` is given one.
    assert_eq!(inside(&session, &app, "/file"), "two");
    bakes_all(&session, ALL, &[("app", "hit"), ("files", "hit")]);
}

#[test]
fn an_image_of_the_engines_alone_is_an_input() {
    if !have(&[Part::Docker]) {
        return;
    }
    let mut session = Session::new().file("file", "one");
    let [app, local] = ["app", "local"].map(|name| session.image(name));
    session.write("Local", session.from("scratch") + "COPY file /\n");
    session.write("Dockerfile", format!("FROM {local}\n") + "LABEL x=y\n");
    session.write(".dockerignore", "file\n");
    session.write("Local.dockerignore", "");
    session.write("larder.toml", format!("[image.app]\ntags = [\"{app}\"]\n"));
    let build = format!(
        "mkdir -p ../local && cp file Local ../local && docker build -q -f ../local/Local -t {local} ../local"
    );
    session.run(&build).ok();
    let first = bakes(&session, "built");
    assert_eq!(first["key_warnings"], Value::from(Vec::<Value>::new()), "its ID is in the key");
    bakes(&session, "hit");
    session.write("file", "two");
    session.run(&build).ok();
    // What is locked counts, until it is asked for.
    let update = format!("larder bake --json --update {local}");
    assert_eq!(bakes(&session, "hit")["key"], first["key"]);
    session.run(&format!("{update} --check")).ends(1);
    let second = bakes_by(&session, &update, "built");
    assert_eq!(second["changes"]["lines"][0], format!("base-changed {local}"));
    assert_eq!(inside(&session, &app, "/file"), "two");
    session.write("file", "one");
    session.run(&build).ok();
    assert_eq!(bakes_by(&session, &update, "hit")["key"], first["key"]);
}

#[test]
fn images_that_are_built_from_one_another_are_named() {
    let session = Session::new()
        .file("larder.toml", "[image.a]\ndockerfile = \"A\"\n[image.b]\ndockerfile = \"B\"\n[image.c]\n");
    let session = session
        .file("A", "FROM scratch\nCOPY --from=b / /\n")
        .file("B", "FROM a:latest\n")
        .file("Dockerfile", "FROM scratch\n");
    session
        .run("larder bake --engine docker --check")
        .ends(2)
        .says("images are built from one another: `a` from `b` from `a`");
    session.run("larder bake --engine docker --check c").ends(1);
}

#[test]
fn the_platform_of_the_key_is_built_whatever_the_users_default() {
    if !have(&[Part::Docker]) {
        return;
    }
    let mut session = Session::new().file("file", "one").env("DOCKER_DEFAULT_PLATFORM", "linux/s390x");
    let app = session.image("app");
    session.write("Dockerfile", session.from("scratch") + "COPY file /\n");
    session.write("larder.toml", format!("[image.app]\ntags = [\"{app}\"]\n"));
    bakes(&session, "built");
    let arch =
        session.run(&format!("docker image inspect --format '{{{{.Architecture}}}}' {app}")).ok().stdout();
    assert_ne!(arch.trim(), "s390x");
    bakes(&session, "hit");
    session.write("larder.toml", format!("[image.app]\ntags = [\"{app}\"]\nplatform = \"linux/aarch64\"\n"));
    bakes(&session, "built");
    let arch =
        session.run(&format!("docker image inspect --format '{{{{.Architecture}}}}' {app}")).ok().stdout();
    assert_eq!(arch.trim(), "arm64");

    // An engine that builds for another one all the same.
    session.write("file", "two");
    session.wrap_docker(
        "[ \"$1\" = build ] && { shift; set -- build --platform linux/s390x \"$@\"; while [ \"$i\" != $# ]; do i=$((i + 1)); word=$1; shift; [ \"$word\" = linux/arm64 ] && word=linux/s390x; set -- \"$@\" \"$word\"; done; }",
    );
    let ran = session.run("PATH=$PWD/../bin:$PATH larder bake --json").ok().says("its key says linux/arm64");
    assert_eq!((&report(&ran)["state"], &report(&ran)["saved"]), (&"built".into(), &false.into()), "{ran}");
    assert_eq!(session.run("imgtar ls --json").ok().rows().len(), 2);
}

#[test]
fn a_reader_that_leaves_takes_no_verdict_along() {
    let session = Session::new().file("dist/a", "a").file(
        "larder.toml",
        "[image.a]\npack = { dir = \"dist\" }\n[image.bad]\npack = { dir = \"none\" }\n[image.c]\npack = { dir = \"dist\", workdir = \"/\" }\n",
    );
    let session = session.env("LARDER_DOCKER", "/nonexistent/docker");
    let code = |bake: &str, reader: &str| {
        session.run(&format!("{{ {bake}; echo $? >../code; }} | {reader}")).ok();
        session.run("cat ../code").stdout()
    };
    assert_eq!(code("larder bake --check", "head -1"), "2\n");
    assert_eq!(code("larder bake", "true"), "2\n");
    assert_eq!(session.run("imgtar ls --json").ok().rows().len(), 2, "the rest was baked all the same");
    session.write("dist/a", "b");
    assert_eq!(code("larder bake --check a c", "true"), "1\n");
    assert_eq!(code("larder bake a c", "true"), "0\n");
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
    session.wrap_docker("[ \"$1\" = build ] && { echo built >>../builds; sleep 1; }");
    let bakes: Vec<_> =
        (0..3).map(|_| session.start("PATH=$PWD/../bin:$PATH exec larder bake --json")).collect();
    let mut states: Vec<String> = Vec::new();
    for bake in bakes {
        let output = bake.wait_with_output().expect("larder");
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
    assert_eq!(session.run("imgtar ls --json").ok().rows().len(), 5);

    session.run("gcctl run --max-images 2").ok();
    let left = session.run("imgtar ls --json").ok().rows();
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
    session.wrap_docker("[ \"$1\" = build ] && echo after >input");
    let ran = session.run("PATH=$PWD/../bin:$PATH larder bake --json").ok().says("inputs changed");
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
    session.run("larder bake --check").ok();
    session.write("dist/new", "");
    session.run("larder bake --check").ends(1);
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
    assert_eq!(bakes(&session, "hit")["key"], first["key"], "the store is not an input of its own keys");
    let id = session.image_id(&app).expect("an image");

    session.run("git init -q . && git add . && git commit -qm all && git clone -q . ../work/clone").ok();
    session.run(&format!("docker rmi {app}")).ok();
    let ran = session.run("cd clone && larder bake --json").ok();
    assert_eq!((&report(&ran)["state"], &report(&ran)["key"]), (&"hit".into(), &first["key"]), "{ran}");
    assert_eq!(session.image_id(&app), Some(id));

    // A blob that git brought back wrong is noticed, and the bake goes through it. (The engine may
    // have the layers in its own build cache, and is not sent those; the config it always gets.)
    let info = format!("cd clone && imgtar info {} --json", first["key"].as_str().expect("a key"));
    let info = report(&session.run(&info).ok());
    let id = info["images"][0]["id"].as_str().and_then(|id| id.strip_prefix("sha256:")).expect("an ID");
    let blob = format!("clone/docker-cache/images/blobs/sha256/{id}");
    session.run(&format!("printf X | dd of={blob} bs=1 seek=20 conv=notrunc status=none")).ok();
    session.run(&format!("docker rmi {app}")).ok();
    let ran = session.run("cd clone && larder bake --json").ok().says("damaged");
    assert_eq!((&report(&ran)["state"], &report(&ran)["saved"]), (&"built".into(), &true.into()), "{ran}");
    session.run("cd clone && imgtar verify").ok();
}

#[test]
fn an_image_that_another_engine_gets_than_last_time_is_told() {
    if !have(&[Part::Podman]) {
        return;
    }
    let file = |engine: &str| {
        let pack =
            |name: &str| format!("[image.{name}]\npack = {{ dir = \"src\", env = {{ N = \"{name}\" }} }}\n");
        format!("{}engine = \"{engine}\"\n{}engine = \"podman\"\n", pack("app"), pack("web"))
    };
    let session = with_podman("");
    session.write("src/file", "one");
    session.write("larder.toml", file("podman"));
    assert!(!session.run("larder bake").ok().stderr().contains("note"));
    session.script("../bin/docker", "[ $1 = version ]");
    let session = session.env("LARDER_DOCKER", "../bin/docker");
    session.write("larder.toml", file("docker"));
    session.run("larder bake --check").ok().says("note: docker is used for `app`; the last bake used podman");
    let all = session.run("larder bake --check --engine docker").ok();
    all.says("note: docker is used; the last bake of this project used podman");
    assert!(!session.run("larder bake --check web").ok().stderr().contains("note"));
}
