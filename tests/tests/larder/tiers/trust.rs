//! Who may write to a tier, and whose images are taken from it.

use larder_tests::{Part, have};

use super::{Scene, from};

#[test]
fn a_pull_request_writes_nothing_whatever_its_checkout_says() {
    let kinds = |host: &str| {
        format!(
            "[tier.team]\nregistry = \"{host}/cache\"\n[tier.scratch]\nregistry = \"{host}/cache-pr\"\n\
             [profile.pr]\nwhen = {{ event = \"pull_request\" }}\nread = [\"scratch\", \"team\"]\nwrite = [\"scratch\"]\n\
             [profile.dev]\nwhen = {{ branch = \"dev\" }}\ntrust = 1\nread = [\"team\"]\nwrite = [\"team\"]\ntags = [\"{host}/{{image}}:dev\"]\n"
        )
    };
    let Some(scene) = Scene::start(kinds) else { return };
    let session = &scene.session;
    let pr = "GITHUB_ACTIONS=true GITHUB_EVENT_NAME=pull_request GITHUB_REF=refs/pull/1/merge GITHUB_REF_NAME=1/merge GITHUB_HEAD_REF=dev";
    let push = "GITHUB_ACTIONS=true GITHUB_EVENT_NAME=push GITHUB_REF=refs/heads/dev GITHUB_REF_NAME=dev";
    session.run(&format!("{pr} LARDER_DIR=../pr larder bake")).ok();
    assert_eq!((scene.tags("cache").len(), scene.tags("app").len()), (0, 0));
    assert!(!scene.tags("cache-pr").is_empty());

    // The checkout widens its own profile: what the user or the CI says goes before.
    let file = session.run("cat larder.toml").ok().stdout();
    let wide = file.replace("write = [\"scratch\"]", "trust = 1\nwrite = [\"scratch\", \"team\"]");
    session.write("larder.toml", &wide);
    session.write("src/file", "two");
    session.run(&format!("{pr} LARDER_READ_ONLY=1 LARDER_DIR=../pr larder bake")).ok();
    session.run("mkdir -p \"$HOME/.config/larder\" && printf '[larder]\\nread-only = true\\n' > \"$HOME/.config/larder/config.toml\"").ok();
    session.write("src/file", "three");
    session.run(&format!("{pr} LARDER_DIR=../pr larder bake --profile dev")).ok();
    assert_eq!((scene.tags("cache").len(), scene.tags("app").len()), (0, 0));
    session.run("rm \"$HOME/.config/larder/config.toml\"").ok();

    // A build of the branch writes and tags, and does not take what the pull request left.
    session.write("larder.toml", file);
    session.write("src/file", "one");
    let built = session.run(&format!("{push} LARDER_DIR=../dev larder bake")).ok().stdout();
    assert_eq!(from(&built)[1], "built", "{built}");
    assert_eq!(scene.tags("app"), ["dev"]);
    assert!(!scene.tags("cache").is_empty());
}

#[test]
fn a_release_takes_only_what_its_team_has_signed() {
    let tiers = |host: &str| {
        format!(
            "[tier.team]\nregistry = \"{host}/cache\"\nsigned-by = [\"ci.pub\"]\n\
             [profile.all]\nread = [\"team\"]\nwrite = [\"team\"]\n"
        )
    };
    let Some(scene) = Scene::start(tiers).filter(|_| have(&[Part::Openssl])) else { return };
    let session = &scene.session;
    session.run("openssl genpkey -algorithm ed25519 -out ../ci.key && openssl pkey -in ../ci.key -pubout -out ci.pub").ok();
    // Whoever has the credentials of the registry can put anything under the key of the release.
    session.write("src/file", "evil");
    session.run("LARDER_DIR=../evil larder bake").ok().says("LARDER_SIGNING_KEY is not set");
    let evil = session.run("LARDER_DIR=../evil imgtar ls --json").ok().json()["key"].clone();
    session.write("src/file", "one");
    let row = &session.run("LARDER_READ_ONLY=1 larder bake --dry-run --json").rows()[0];
    let key = row["key"].as_str().expect("a key");
    let evil = evil.as_str().expect("a key");
    session
        .run(&format!("LARDER_DIR=../evil imgtar export {evil} | LARDER_DIR=../forged imgtar import {key}"))
        .ok();
    session
        .run(&format!(
            "LARDER_DIR=../forged imgtar push {key} --tier registry:{}/cache",
            scene.registry.host()
        ))
        .ok();

    let sign = "LARDER_SIGNING_KEY=../ci.key";
    let ran = session.run(&format!("{sign} LARDER_DIR=../ci larder bake")).ok();
    assert_eq!(from(&ran.stdout())[1], "built", "{ran}");
    let ran = ran.says("is not signed by a trusted key: it is not taken");
    assert!(!ran.stderr().contains("left out"), "{ran}");
    let built = session.run("LARDER_DIR=../ci imgtar ls --json").ok().json();
    // It has taken the place of the other one, and the next machine has it without a key.
    let report = session.run("LARDER_DIR=../next larder bake").ok();
    assert_eq!((from(&report.stdout())[1], from(&report.stdout())[3]), ("hit", "team"), "{report}");
    let taken = session.run("LARDER_DIR=../next imgtar ls --json").ok().json();
    assert_eq!((&taken["key"], &taken["digest"]), (&key.into(), &built["digest"]));
    session.write("ci.pub", "no key");
    let ran = session.run("LARDER_DIR=../last larder bake").ok().says("cannot be used as a public key");
    assert_eq!(from(&ran.stdout())[1], "built", "{ran}");
}
