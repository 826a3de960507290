//! Images on images on images: what changes below reaches all that stands on it, and nothing else.

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
