//! Entries that somebody has signed, with keys that openssl makes, in places of every kind.

use larder_tests::{Part, Ran, have};

use crate::kit::session::Session;
use crate::kit::tars::{docker, layer};
use crate::tier::scene::{Scene, saved};

/// A session with keys of the team (`team.key`, `team.pub`) and of somebody else (`other.*`);
/// nothing without openssl.
fn session() -> Option<Session> {
    if !have(&[Part::Openssl]) {
        return None;
    }
    let session = Session::new();
    for who in ["team", "other"] {
        shell(
            &session,
            &format!(
                "openssl genpkey -algorithm ed25519 -out {who}.key && openssl pkey -in {who}.key -pubout -out {who}.pub"
            ),
        );
    }
    Some(session)
}

fn shell(session: &Session, script: &str) {
    Ran::of(session.program("bash").args(["-c", script])).ok();
}

/// A copy of the session's store in which somebody has signed `k`; its name.
fn signed(session: &Session, who: &str) -> String {
    shell(session, &format!("rm -rf {who} && cp -r $LARDER_DIR {who}"));
    let mut command = session.command(&format!("sign k --store {who}"));
    Ran::of(command.env("LARDER_SIGNING_KEY", format!("{who}.key"))).ok();
    who.to_owned()
}

/// A push of what is in this store, for those who trust the team.
#[track_caller]
fn push(scene: &Scene, session: &Session, store: &str) -> Ran {
    scene.run(session, &format!("push k --store {store} --signed-by team.pub")).ok()
}

/// What a pull into a fresh store takes that trusts the team alone: `Some(names)` of the image.
#[track_caller]
fn taken(scene: &Scene, session: &Session) -> Option<String> {
    let words = "--signed-by team.pub --store taken";
    let has = scene.run(session, &format!("has k {words}")).code();
    let ran = scene.run(session, &format!("pull k --force {words} --json"));
    assert_eq!(has, ran.code(), "{ran}");
    if ran.code() == 0 {
        return Some(ran.json()["names"].to_string());
    }
    ran.ends(1).says("is not signed by a trusted key");
    session.run("has k --store taken").ends(1);
    None
}

#[test]
fn what_the_team_has_not_signed_is_not_taken_anywhere() {
    let Some(session) = session() else { return };
    saved(&session);
    shell(&session, "cp -r $LARDER_DIR nobody");
    let (team, other) = (signed(&session, "team"), signed(&session, "other"));
    for scene in Scene::each() {
        shell(&session, "rm -rf taken any on");
        push(&scene, &session, "nobody");
        assert_eq!(taken(&scene, &session), None, "{}", scene.place);
        scene.run(&session, &format!("push k --force --store {other}")).ok();
        assert_eq!(taken(&scene, &session), None, "{}", scene.place);
        // Anybody takes it who trusts whoever can write there.
        scene.run(&session, "pull k --store any").ok();
        push(&scene, &session, &team);
        assert_eq!(taken(&scene, &session).as_deref(), Some("[\"app:1\"]"), "{}", scene.place);
        // It is still signed where it goes on from there.
        session.run("push k --store taken --tier store:on").ok();
        session.run("has k --tier store:on --signed-by other.pub --signed-by team.pub").ok();
    }
}

#[test]
fn who_signs_replaces_what_was_put_there_first() {
    let Some(session) = session() else { return };
    saved(&session);
    let (team, nobody) = (signed(&session, "team"), "nobody");
    shell(&session, "cp -r $LARDER_DIR nobody");
    saved_another_in(&session, "evil");
    for scene in Scene::each() {
        shell(&session, "rm -rf taken");
        push(&scene, &session, "evil");
        // Without a signature the first save stands.
        push(&scene, &session, nobody).says("another image stands");
        assert_eq!(taken(&scene, &session), None, "{}", scene.place);
        push(&scene, &session, &team);
        assert_eq!(taken(&scene, &session).as_deref(), Some("[\"app:1\"]"), "{}", scene.place);
        // And a signed one stands.
        push(&scene, &session, "evil").says("another image stands");
        assert_eq!(taken(&scene, &session).as_deref(), Some("[\"app:1\"]"), "{}", scene.place);
    }
}

/// Another image under `k` in a store of its own.
fn saved_another_in(session: &Session, store: &str) {
    let archive = docker("other:2", &[&layer("other", "x")]).end();
    session.feed(&format!("import k --name other:2 --store {store}"), &archive).ok();
}

#[test]
fn what_came_unsigned_is_not_signed_by_the_way() {
    let Some(session) = session() else { return };
    saved(&session);
    session.run("push k --tier store:far").ok();
    let with_key = |words: &str| {
        let mut command = session.command(words);
        Ran::of(command.env("LARDER_SIGNING_KEY", "team.key")).ok()
    };
    with_key("pull k --tier store:far --store ci");
    with_key("push k --tier store:near --store ci --signed-by team.pub");
    session.run("has k --tier store:near --signed-by team.pub").ends(1);
    // An index vouches for what it lists: not for that.
    with_key("index all k --store ci");
    with_key("push all --tier store:near --store ci");
    session.run("has all --tier store:near --signed-by team.pub").ends(1);
    with_key("sign k --store ci");
    with_key("index all k --store ci --force --name all:1");
    with_key("push all --tier store:near --store ci --signed-by team.pub");
    session.run("has all --tier store:near --signed-by team.pub").ok();
    // What is made here is.
    let archive = docker("new:1", &[&layer("new", "y")]).end();
    let mut command = session.command("import new --store ci");
    Ran::fed(command.env("LARDER_SIGNING_KEY", "team.key"), &archive).ok();
    session.run("push new --tier store:near --store ci").ok();
    session.run("has new --tier store:near --signed-by team.pub").ok();
}

#[test]
fn who_signs_mends_what_cannot_be_understood() {
    let Some(session) = session() else { return };
    saved(&session);
    let team = signed(&session, "team");
    let scene = Scene::store();
    push(&scene, &session, &team);
    let (key, inputs) = (scene.files.store().root().join("images/keys/k"), "images/inputs/k");
    let sound = std::fs::read_to_string(&key).unwrap();
    std::fs::write(&key, "garbage").unwrap();
    scene.run(&session, "has k --signed-by team.pub").ends(1);
    push(&scene, &session, &team);
    assert!(taken(&scene, &session).is_some());
    // That of a newer larder is not understood either, and not overwritten.
    std::fs::write(&key, sound.replace("version = 1", "version = 2")).unwrap();
    scene.run(&session, "has k --signed-by team.pub").ends(1);
    scene.run(&session, "push k --signed-by team.pub").ends(2).says("version 2");
    std::fs::write(&key, sound).unwrap();
    // A pipe is never waited for.
    let inputs = scene.files.store().root().join(inputs);
    shell(&session, &format!("rm {inputs} && mkfifo {inputs}"));
    assert_ne!(scene.run(&session, "has k --signed-by team.pub").code(), 0);
    shell(
        &session,
        &format!(
            "rm {inputs}; f=$(ls -S {}/images/blobs/sha256/* | head -1); rm $f; mkfifo $f",
            scene.files.store().root()
        ),
    );
    assert_ne!(scene.run(&session, "pull k --store piped").code(), 0);
}

/// As FORMAT.md tells people to.
#[test]
fn openssl_checks_a_signature() {
    let Some(session) = session() else { return };
    saved(&session);
    let place = "--tier store:there";
    let team = signed(&session, "team");
    session.run(&format!("push k {place} --store {team}")).ok();
    shell(&session, "set -e; file=there/images/keys/k; field() { sed -n \"s/^$1 = //p\" $file; }; plain() { field $1 | tr -d '\"'; }
         { echo 'larder entry 1'; echo 'key k'; echo \"image $(plain digest) $(plain size) $(field media-type)\"
           echo \"inputs sha256:$(sha256sum <there/images/inputs/k | cut -c-64)\"; echo 'name \"app:1\"'; } >statement
         field signatures | tr -d '[]\"' | cut -d' ' -f3 | base64 -d >signature
         openssl pkeyutl -verify -pubin -inkey team.pub -rawin -in statement -sigfile signature",
    );
    // What is changed by hand is not what was signed.
    shell(&session, "sed -i 's/app:1/debian:12/' there/images/keys/k");
    session.run(&format!("pull k {place} --signed-by team.pub --store taken")).ends(1);
    session.run(&format!("pull k {place} --store taken")).ok();
}

#[test]
fn keys_that_cannot_be_used_are_refused_before_anything_is_asked() {
    let Some(session) = session() else { return };
    saved(&session);
    let place = "--tier registry:127.0.0.1:1/cache";
    shell(&session, "openssl genpkey -algorithm ed25519 -aes256 -pass pass:x -out locked.key; : >empty");
    for (key, why) in [
        ("nowhere.key", "No such file"),
        ("empty", "no private key"),
        ("team.pub", "no private key"),
        ("locked.key", "no private key"),
    ] {
        for words in ["sign k", "import new archive"] {
            let mut command = session.command(words);
            Ran::of(command.env("LARDER_SIGNING_KEY", key)).ends(2).says(why);
        }
    }
    session.run(&format!("pull k {place} --signed-by team.key")).ends(2).says("no public key");
    session.run("pull k --signed-by team.pub").ends(2).says("--tier");
    session.run("sign k").ends(2).says("LARDER_SIGNING_KEY is not set");
    let mut command = session.command("sign nothing");
    Ran::of(command.env("LARDER_SIGNING_KEY", "team.key")).ends(1);
}
