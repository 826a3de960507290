//! Images that are baked at once.

use std::fs;

use larder_tests::{Part, Ran, Session, have, until};

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

/// A step of a build that no narrow terminal has room for.
const STEP: &str = "[1/2] RUN a-line-that-is-longer-than-what-a-narrow-terminal-has-room-for";

/// A project whose builds print the step, and go on when `../go` is there.
fn watched() -> Session {
    let session = project();
    session.wrap_docker(&format!(
        "case $1 in build) echo '#5 {STEP}' >&2; until [ -e ../go ]; do sleep 0.05; done;; esac"
    ));
    session
}

/// Bakes at a terminal of 50 columns; `then` happens when the builds wait, with what the terminal
/// has been sent so far. What it was sent in all, and how the bake ended.
fn at_terminal(session: &Session, setting: &str, shows: &str, then: impl FnOnce(&str)) -> (String, Ran) {
    let typescript = session.aside("typescript");
    session.write("../typescript", "");
    let bake = "stty cols 50 rows 20; echo $$ >../pid; exec larder bake --engine docker -j2 a b";
    let line = format!(
        "export PATH=$PWD/../bin:$PATH {setting}; exec timeout 120 script -qefc '{bake}' {typescript} >/dev/null"
    );
    let child = session.start(&line);
    let sent = || fs::read_to_string(&typescript).unwrap_or_default();
    until("the builds are told of", || sent().contains(shows));
    then(&sent());
    let ran = Ran::after(line, child);
    (sent(), ran)
}

#[test]
fn a_terminal_has_a_line_for_each_image_that_is_built() {
    if !have(&[Part::Docker, Part::Script]) {
        return;
    }
    let session = watched();
    let go = |_: &str| drop(session.write("../go", ""));
    let (sent, ran) = at_terminal(&session, "TERM=xterm", " s  [1/2] RUN a-line", go);
    ran.ok();
    // As wide as the terminal, without colours, and with the cursor as it was.
    assert!(!sent.contains(STEP) && !sent.contains("\u{1b}[?25l"), "{sent:?}");
    let colours = sent
        .split("\u{1b}[")
        .skip(1)
        .filter(|part| part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m'));
    assert_eq!(colours.count(), 0, "{sent:?}");
    // The report stands below, and nothing of the lines is left: each was cleared.
    let (_, report) = sent.rsplit_once("\u{1b}[2K").expect("lines that were cleared");
    assert!(report.contains("built") && report.contains("2 images: 2 built"), "{report:?}");

    // A terminal that cannot move its cursor, or a pipe, has plain lines.
    fs::remove_file(session.aside("go")).expect("removed");
    session.write("file", "two");
    let (sent, ran) = at_terminal(&session, "TERM=dumb", "building: b", go);
    ran.ok();
    assert!(!sent.contains('\u{1b}') && !sent.contains("RUN a-line"), "{sent:?}");
}

#[test]
fn a_bake_that_is_stopped_leaves_the_terminal_as_it_was() {
    if !have(&[Part::Docker, Part::Script]) {
        return;
    }
    let session = watched();
    let stop = |_: &str| drop(session.run("kill -INT $(cat ../pid)").ok());
    let (sent, ran) = at_terminal(&session, "TERM=xterm", " s  [1/2] RUN a-line", stop);
    ran.ends(130);
    let (_, rest) = sent.rsplit_once("\u{1b}[2K").expect("lines that were cleared");
    assert!(rest.contains("stopped by SIGINT") && !rest.contains("RUN a-line"), "{rest:?}");
}
