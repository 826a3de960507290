//! Images that are baked at once.

use larder_tests::{Part, Session, have};

/// A stand-in for docker that is the real one, but that lets no build begin before `count` have.
fn meeting_docker(session: &Session, count: usize) {
    let wait = format!(
        "case $1 in build) : >\"$MEET/$$\"; until [ \"$(ls \"$MEET\" | wc -l)\" -ge {count} ]; do sleep 0.05; done;; esac"
    );
    session.wrap_docker(&wait);
    session.run("mkdir ../meet").ok();
}

/// A project of two images and one that stands on both.
fn project() -> Session {
    let mut session = Session::new().file("file", "one");
    let [a, b, top] = ["a", "b", "top"].map(|name| session.image(name));
    session.write("A", session.from("scratch") + "COPY file /a\n");
    session.write("B", session.from("scratch") + "COPY file /b\n");
    session.write("Top", format!("FROM {a}\nCOPY --from={b} /b /b\n"));
    let image = |name: &str, file: &str, tag: &str| {
        format!("[image.{name}]\ndockerfile = \"{file}\"\ntags = [\"{tag}\"]\n")
    };
    session.write("larder.toml", image("a", "A", &a) + &image("b", "B", &b) + &image("top", "Top", &top));
    session
}

fn states(session: &Session, line: &str) -> Vec<(String, String)> {
    let lines = session.run(line).ok().rows();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    lines.iter().map(|line| (text(&line["image"]), text(&line["state"]))).collect()
}

#[test]
fn what_needs_nothing_of_one_another_is_built_at_once() {
    if !have(&[Part::Docker]) {
        return;
    }
    let session = project();
    meeting_docker(&session, 2);
    // One after the other, neither build would ever begin.
    let line = format!(
        "MEET={} PATH=$PWD/../bin:$PATH timeout 120 larder bake --json --engine docker -j2",
        session.aside("meet")
    );
    let built = |name: &str| (name.to_owned(), "built".to_owned());
    assert_eq!(states(&session, &line), [built("a"), built("b"), built("top")]);
    let hit = |name: &str| (name.to_owned(), "hit".to_owned());
    let again = states(&session, "larder bake --json --engine docker -j8");
    assert_eq!(again, [hit("a"), hit("b"), hit("top")]);
}

#[test]
fn a_build_that_fails_beside_others_shows_its_own_output() {
    if !have(&[Part::Docker]) {
        return;
    }
    let session = project();
    session.write("B", session.from("scratch") + "COPY missing /b\n");
    let ran = session.run("larder bake --engine docker -j3").ends(2);
    assert!(ran.stderr().contains("-f B") && ran.stderr().contains("missing"), "{ran}");
    assert!(!ran.stderr().contains("COPY file /a"), "what was built is not shown: {ran}");
    let report = ran.stdout();
    let words: Vec<_> = report.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(words, ["built", "failed", "failed", "images:"], "{report}");
}

#[test]
fn a_signal_stops_all_builds_and_leaves_nothing() {
    if !have(&[Part::Docker]) {
        return;
    }
    let session = project();
    // Neither build ever begins: three would have to.
    meeting_docker(&session, 3);
    let line =
        format!("MEET={} PATH=$PWD/../bin:$PATH exec larder bake --engine docker -j2", session.aside("meet"));
    let child = session.start(&line);
    let both = "until [ \"$(ls ../meet | wc -l)\" -eq 2 ]; do sleep 0.05; done";
    session.run(&format!("timeout 120 sh -c '{both}'")).ok();
    session.run(&format!("kill -INT {}", child.id())).ok();
    let output = child.wait_with_output().expect("larder");
    assert_eq!(output.status.code(), Some(130));
    session.run("test -z \"$(ls ../tmp)\"").ok();
}
