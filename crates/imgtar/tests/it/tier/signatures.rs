//! Entries that somebody has signed, with keys that openssl makes, in places of every kind.

use larder_tests::{Part, Ran, have};

use crate::kit::session::Session;
use crate::tier::scene::{Scene, saved, saved_another};

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

/// A push by who has this private key.
#[track_caller]
fn push(scene: &Scene, session: &Session, key: Option<&str>) -> Ran {
    let mut command = scene.command(session, "push k");
    command.envs(key.map(|key| ("LARDER_SIGNING_KEY", key)));
    Ran::of(&mut command).ok()
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
    for scene in Scene::each() {
        shell(&session, "rm -rf taken");
        push(&scene, &session, None);
        assert_eq!(taken(&scene, &session), None, "{}", scene.place);
        push(&scene, &session, Some("other.key"));
        assert_eq!(taken(&scene, &session), None, "{}", scene.place);
        // Anybody takes it who trusts whoever can write there.
        scene.run(&session, "pull k --force --store any").ok();
        // The same image, signed now: by a path, and by the key itself.
        push(&scene, &session, Some("team.key"));
        assert_eq!(taken(&scene, &session).as_deref(), Some("[\"app:1\"]"), "{}", scene.place);
        let key = std::fs::read_to_string(session.path("team.key")).unwrap();
        push(&scene, &session, Some(&key));
        assert!(taken(&scene, &session).is_some(), "{}", scene.place);
        // It is still signed where it goes on from there.
        shell(&session, "rm -rf on");
        session.run("push k --store taken --tier store:on").ok();
        session.run("has k --tier store:on --signed-by other.pub --signed-by team.pub").ok();
    }
}

#[test]
fn who_signs_replaces_what_was_put_there_first() {
    let Some(session) = session() else { return };
    saved_another(&session);
    session.run("push k --tier store:evil").ok();
    session.run("rm k").ok();
    saved(&session);
    for scene in Scene::each() {
        shell(&session, "rm -rf taken");
        scene.run(&session, "push k --store evil").ok();
        // Without a key the first save stands.
        push(&scene, &session, None).says("another image stands");
        assert_eq!(taken(&scene, &session), None, "{}", scene.place);
        push(&scene, &session, Some("team.key"));
        assert_eq!(taken(&scene, &session).as_deref(), Some("[\"app:1\"]"), "{}", scene.place);
        // And a signed one stands against those who sign and those who do not.
        for key in [None, Some("team.key")] {
            let mut command = scene.command(&session, "push k --store evil --signed-by team.pub");
            command.envs(key.map(|key| ("LARDER_SIGNING_KEY", key)));
            Ran::of(&mut command).ok();
            assert_eq!(taken(&scene, &session).as_deref(), Some("[\"app:1\"]"), "{}", scene.place);
        }
    }
}

/// As FORMAT.md tells people to.
#[test]
fn openssl_checks_a_signature() {
    let Some(session) = session() else { return };
    saved(&session);
    let place = "--tier store:there";
    let mut command = session.command(&format!("push k {place}"));
    Ran::of(command.env("LARDER_SIGNING_KEY", "team.key")).ok();
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
        let mut command = session.command(&format!("push k {place}"));
        Ran::of(command.env("LARDER_SIGNING_KEY", key)).ends(2).says(why);
    }
    session.run(&format!("pull k {place} --signed-by team.key")).ends(2).says("no public key");
    session.run("pull k --signed-by team.pub").ends(2).says("--tier");
}
