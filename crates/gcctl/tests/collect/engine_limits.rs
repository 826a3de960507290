//! `[[gcctl.engine]]` over a stand-in for docker that removes what it is asked to.

use std::fs;

use larder_tests::Session;

use crate::scratch::{Scratch, session};

/// A docker with an image without a name, two that have names, and a step of a build: each unused
/// since 2026, and each in one file until it is removed.
fn docker() -> Session {
    let session = session();
    let image = |id: &str, repository: &str, tag: &str| {
        format!(
            r#"{{"ID":"sha256:{id}","Repository":"{repository}","Tag":"{tag}","Containers":"0","UniqueSize":"5MB","CreatedAt":"2026-01-0{} 10:00:00 +0000 UTC"}}"#,
            id.len()
        )
    };
    session.write("images/a", image("a", "<none>", "<none>"));
    session.write("images/app:1", image("bb", "app", "1"));
    session.write("images/debian:12", image("ccc", "debian", "12"));
    let script = r#"
case "$1 $2" in
"info --format") echo place ;;
"system df") printf '{"Images":[%s],"Containers":[],"BuildCache":[]}\n' "$(cd ../work/images && cat * | sed 's/}{/},{/g')" ;;
"image inspect") ;;
"rmi --no-prune") shift 2; for name; do rm -- "../work/images/${name#sha256:}" || exit 1; done ;;
*) echo "not known: $*" >&2; exit 1 ;;
esac"#;
    let program = session.script("../bin/stand-in-docker", script);
    session.env("LARDER_DOCKER", program.as_str())
}

/// The names, or the beginnings of IDs, of what would go, in their order.
fn goes(session: &Session, flags: &str) -> Vec<String> {
    let rows = session.run(&format!("engine plan --json {flags}")).ok().rows();
    let items = rows.iter().filter(|row| row["kind"] == "item");
    items.map(|row| row["names"][0].as_str().or(row["id"].as_str()).unwrap().to_owned()).collect()
}

fn of_user(session: &Session, text: &str) {
    let folder = session.store().parent().unwrap().join("home/.config/larder");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config.toml"), text).unwrap();
}

#[test]
fn what_may_go_of_an_engine_is_said_in_settings_and_by_options() {
    let session = docker();
    assert_eq!(goes(&session, ""), ["sha256:a"]);
    session.run("engine plan --max-age 90y --keep debian:*").ok().says(
        "nothing goes: 1 kept by `keep`, 1 an image with a name (`--named` lets those go), 1 unused for less than",
    );
    session.write("larder.toml", "[[gcctl.engine]]\nnamed = true\nmax-size = \"5MB\"\n");
    assert_eq!(goes(&session, ""), ["sha256:a", "app:1"]);
    assert_eq!(goes(&session, "--max-size none"), ["sha256:a", "app:1", "debian:12"]);
    assert_eq!(goes(&session, "--named=false --max-size 0"), ["sha256:a"]);
    // What the user keeps stays, whatever the project and the options say.
    of_user(&session, "[[gcctl.engine]]\nengine = \"docker\"\nmax-age = \"90y\"\nkeep = [\"app:*\"]\n");
    assert!(goes(&session, "--max-size none").is_empty());
    let age = "--max-age 0s --max-size none";
    assert_eq!(goes(&session, age), ["sha256:a", "debian:12"]);
    assert_eq!(goes(&session, &format!("{age} --keep debian:1?")), ["sha256:a"]);
    // It is no limit of the store, and asks no engine.
    let store = Scratch::new();
    let limits = session.run(&format!("limits --store {}", store.root)).ok().stdout();
    let line = |name: &str| limits.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(line("engine=docker: keep").ends_with("config.toml"), "{limits}");
    assert!(line("engine=podman: named").contains("yes"), "{limits}");
    assert!(line("engine=podman: keep").is_empty(), "{limits}");
}

#[test]
fn what_the_settings_let_go_is_removed_and_nothing_else() {
    let session = docker();
    session.write("larder.toml", "[[gcctl.engine]]\nnamed = true\nkeep = [\"debian:*\"]\n");
    let plan = session.run("engine plan --json").ok().stdout();
    session.feed("engine apply", plan.as_bytes()).ok();
    let left: Vec<_> =
        fs::read_dir(session.path("images")).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left, ["debian:12"]);
}

#[test]
fn wrong_settings_of_engines_are_refused_with_the_right_word() {
    let session = docker();
    let wrong = |text: &str, says: &str| {
        session.write("larder.toml", text);
        session.run("engine plan").ends(2).says(says);
        // What asks for no rule does not read them.
        session.run("engine ls").ok();
    };
    wrong("[[gcctl.engine]]\nkeeep = [\"a\"]\n", "is `keep` meant?");
    wrong("[[gcctl.engine]]\nengine = \"dockr\"\nnamed = true\n", "is `docker` meant?");
    wrong("[[gcctl.engine]]\nkeep = [\"[\"]\n", "is no pattern of names");
    wrong("[gcctl.engine]\nnamed = true\n", "[[gcctl.engine]]");
}
