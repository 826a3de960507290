//! One table for several platforms, with real engines.

use std::collections::BTreeSet;

use larder_tests::{DockerRegistry, Part, Ran, Session, have};
use serde_json::{Value, json};

const ENGINES: [(&str, Part); 2] = [("docker", Part::Docker), ("podman", Part::Podman)];

fn column(ran: &Ran, name: &str) -> Vec<Value> {
    ran.rows().iter().map(|row| row[name].clone()).collect()
}

#[test]
fn each_platform_has_its_image_its_key_and_its_base() {
    for (engine, part) in ENGINES {
        if !have(&[part]) {
            continue;
        }
        let mut session = Session::new();
        let [below, app] = ["base", "app"].map(|name| session.image_in(engine, name));
        let (own, other) =
            if cfg!(target_arch = "aarch64") { ("arm64", "amd64") } else { ("amd64", "arm64") };
        for arch in [own, other] {
            session.write(arch, format!("{arch}\n"));
        }
        session
            .write("Dockerfile.base", session.from("scratch") + "ARG TARGETARCH\nCOPY $TARGETARCH /arch\n");
        session.write("Dockerfile.app", format!("ARG BASE={below}:1\nFROM $BASE\nCOPY app /app\n"));
        session.write("app", "1\n");
        session.write(
            "larder.toml",
            format!(
                "[defaults]\nplatforms = [\"linux/{own}\", \"linux/{other}\"]\n\
                 [image.app]\ndockerfile = \"Dockerfile.app\"\ntags = [\"{app}:1\"]\noutputs = {{ \"out/{{platform}}\" = \"/arch\" }}\n\
                 [image.base]\ndockerfile = \"Dockerfile.base\"\ntags = [\"{below}:1\"]\n"
            ),
        );
        let bake = format!("larder bake --engine {engine} --json");
        let first = session.run(&bake).ok();
        // The index of each table comes after its images.
        assert_eq!(column(&first, "state"), ["built"; 6], "{first}");
        assert_eq!(column(&first, "saved"), [true; 6], "{first}");
        let names = ["app", "base"]
            .map(|name| [format!("{name}@linux/{own}"), format!("{name}@linux/{other}"), name.to_owned()]);
        assert_eq!(column(&first, "image"), names.concat());
        assert_eq!(first.rows()[1]["platform"], format!("linux/{other}"));
        let keys: BTreeSet<_> = column(&first, "key").iter().map(Value::to_string).collect();
        assert_eq!(keys.len(), 6, "{first}");
        assert_eq!(session.file_of(engine, &format!("{app}:1"), "/arch"), format!("{own}\n"));
        assert_eq!(session.file_of(engine, &format!("{app}:1-linux-{other}"), "/arch"), format!("{other}\n"));
        let architecture =
            format!("{engine} image inspect -f '{{{{.Architecture}}}}' {below}:1-linux-{other}");
        assert_eq!(session.run(&architecture).ok().stdout().trim(), other);
        assert_eq!(
            session.run(&format!("cat out/linux-{own} out/linux-{other}")).ok().stdout(),
            format!("{own}\n{other}\n")
        );

        assert_eq!(column(&session.run(&bake).ok(), "state"), ["hit"; 6]);
        // What one platform's image reads is a change of it and of what stands on it.
        session.write(other, "changed\n");
        let changed = session.run(&bake).ok();
        assert_eq!(column(&changed, "state"), ["hit", "built", "built"].repeat(2), "{changed}");
        assert_eq!(session.file_of(engine, &format!("{app}:1-linux-{other}"), "/arch"), "changed\n");
        let one = session.run(&format!("{bake} app@linux/{other}")).ok();
        // Without all platforms there is no index.
        assert_eq!(column(&one, "image"), [names[0][1].clone(), names[1][1].clone()]);
        let told = session.run(&format!("larder bake --engine {engine} base")).ok().stdout();
        assert_eq!(told.lines().filter(|line| line.starts_with("base")).count(), 3, "{told}");

        // A build for another machine that fails says what it may lack.
        session.write("Dockerfile.app", format!("FROM {below}:1\nRUN [\"/none\"]\n"));
        let failed = session.run(&format!("{bake} app@linux/{other}")).ends(2);
        let failed = failed.says(&format!("for linux/{other} on a machine of linux/{own}"));
        failed.says("install qemu-user-static");
    }
}

/// Packed images for two platforms: no engine is needed for any of them.
fn packed(session: &Session) {
    session.write("d/file", format!("{}\n", session.path("")));
    session.write(
        "larder.toml",
        "[image.tool]\npack = { dir = \"d\" }\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\ntags = [\"tool:1\"]\n\
         [image.told]\npack = { dir = \"d\" }\nplatforms = [\"linux/s390x\", \"linux/386\"]\ntags = [\"told:{platform}\"]\n",
    );
}

const BAKE: &str = "DOCKER_HOST=unix:///none larder bake --engine docker --json";

#[test]
fn the_index_of_all_platforms_follows_its_images() {
    let session = Session::new();
    packed(&session);
    let check = session.run(&format!("{BAKE} --check")).ends(1);
    assert_eq!(column(&check, "state"), ["stale"; 6], "{check}");
    let first = session.run(BAKE).ok();
    let names =
        ["tool@linux/amd64", "tool@linux/arm64", "tool", "told@linux/s390x", "told@linux/386", "told"];
    assert_eq!(column(&first, "image"), names);
    let index = first.rows()[2].clone();
    assert_eq!(index["platforms"], json!(["linux/amd64", "linux/arm64"]));
    assert_eq!((&index["from"], &index["needs"]), (&json!("index"), &json!(names[..2])));
    assert_eq!(index["key"], check.rows()[2]["key"], "a check foretells the key");
    let stored = |key: &Value| session.run(&format!("imgtar info {key} --json")).ok().json();
    let stored_index = stored(&index["key"]);
    assert_eq!((&stored_index["names"], &stored_index["image"]), (&json!(["tool:1"]), &json!("tool")));
    let listed = session.run("imgtar info tool --manifest").ok().json();
    for at in 0..2 {
        assert_eq!(listed["manifests"][at]["digest"], stored(&first.rows()[at]["key"])["digest"]);
    }
    // Names that tell the platform are those of each image alone.
    assert_eq!(stored(&first.rows()[5]["key"])["names"], json!([]));

    let hits = session.run(BAKE).ok();
    assert_eq!(column(&hits, "state"), ["hit"; 6], "{hits}");
    assert_eq!(column(&hits, "key"), column(&first, "key"));
    let text = session.run(&BAKE.replace(" --json", "")).ok().says("").stdout();
    assert!(text.contains("for linux/amd64, linux/arm64") && text.contains("4 images: 4 hits"), "{text}");
    let why = session.run(&format!("{} tool", BAKE.replace("bake", "why"))).ok();
    assert_eq!(column(&why, "baked").len(), 3, "{why}");
    assert_eq!(why.rows()[2]["record"]["image"], "tool", "{why}");
    let why = session.run("larder why tool:1").ok().stdout();
    assert!(why.starts_with(index["key"].as_str().expect("a key")), "{why}");

    // An image that is made anew under its key is the one in the index.
    session.run(&format!("{BAKE} tool@linux/arm64 --rebuild")).ok();
    let again = session.run(BAKE).ok();
    assert_eq!(column(&again, "state"), ["hit", "hit", "built", "hit", "hit", "hit"], "{again}");
    assert_eq!(column(&session.run(BAKE).ok(), "state"), ["hit"; 6]);
    session.run("imgtar info tool:1").ok().says(index["key"].as_str().expect("a key"));

    session.write("d/file", "changed");
    let changed = session.run(BAKE).ok();
    assert_eq!(column(&changed, "state"), ["built"; 6], "{changed}");
    assert_eq!(changed.rows()[2]["reason"], "`tool@linux/amd64` was built");
    assert!(column(&changed, "key").iter().all(|key| !column(&first, "key").contains(key)));
    // Nothing that is not stored is joined.
    let scratch = session.run(&format!("{BAKE} --no-image-cache --dry-run")).ok();
    assert_eq!(scratch.rows().len(), 4, "{scratch}");
}

#[test]
fn what_an_index_lists_is_collected_with_it_and_not_before() {
    let session = Session::new();
    packed(&session);
    let baked = session.run(BAKE).ok();
    let key = |at: usize| baked.rows()[at]["key"].as_str().expect("a key").to_owned();
    let measured = || {
        let df = session.run("gcctl df --json").ok().json();
        let du = session.run("du -s --block-size=1 ../store").ok().stdout();
        assert_eq!(df["total"].to_string(), du.split('\t').next().expect("a number"), "{df}");
    };
    measured();
    session.run(&format!("imgtar rm {} {} && gcctl run -q --max-images 100", key(0), key(1))).ok();
    measured();
    session.run("imgtar verify && imgtar export tool --platform linux/arm64 >/dev/null").ok();
    // With the keys of the images gone, they are made anew, and the index is of the same images.
    let before = session.run("imgtar info tool --manifest").ok().stdout();
    let again = session.run(BAKE).ok();
    assert_eq!(column(&again, "state"), ["built", "built", "built", "hit", "hit", "hit"], "{again}");
    assert_eq!(again.rows()[2]["key"], key(2));
    assert_eq!(session.run("imgtar info tool --manifest").ok().stdout(), before);
    session.run(&format!("imgtar rm {} {} {} && gcctl run -q --max-images 100", key(0), key(1), key(2))).ok();
    measured();
    assert_eq!(session.run("imgtar ls --json").ok().rows().len(), 3);
    session.run("imgtar verify").ok();
}

#[test]
fn all_platforms_are_pushed_under_one_name() {
    if !have(&[Part::Registry, Part::Skopeo]) {
        return;
    }
    let session = Session::new();
    packed(&session);
    let baked = session.run(BAKE).ok();
    let registry = DockerRegistry::start(&session.aside("registry"));
    let there = format!("{}/team/tool:1", registry.host());
    session.run(&format!("imgtar push tool {there}")).ok();
    let raw = session.run(&format!("skopeo inspect --raw --tls-verify=false docker://{there}")).ok().json();
    assert_eq!(raw, session.run("imgtar info tool --manifest").ok().json());
    for (at, arch) in ["amd64", "arm64"].into_iter().enumerate() {
        let copy = format!("skopeo copy -q --override-arch {arch} --src-tls-verify=false");
        session.run(&format!("{copy} docker://{there} dir:{arch}")).ok();
        let manifest = session.run(&format!("cat {arch}/manifest.json")).ok().json();
        let key = &baked.rows()[at]["key"];
        let id = session.run(&format!("imgtar info {key} --json")).ok().json()["ids"][0].clone();
        assert_eq!(manifest["config"]["digest"], id);
    }
}
