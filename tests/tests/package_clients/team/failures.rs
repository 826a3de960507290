//! What goes wrong for the team: weights that are damaged on their way or in the store, and what
//! was never fetched.

use larder_tests::{Part, Session, have, until};

use super::upstreams::{TOKEN, TOOLS, TORCH, Upstreams};
use super::{PARTS, Team};

const COMPOSE: &str =
    "docker-compose -f docker-compose.yml -f docker-compose.gpu.yml -f docker-compose.larder.yml";

/// Starts the services where there is no network; what each of the two ended with, and said.
fn start(team: &Team, token: &str) -> [(String, String); 2] {
    let compose = format!("export HF_TOKEN={token}; {COMPOSE}");
    team.run(&format!("{compose} up -d --no-build")).ok();
    let ended = ["devcontainer", "test-gen"].map(|service| {
        let code = team.run(&format!("docker wait $({compose} ps -q {service})")).ok().stdout();
        (code.trim().to_owned(), team.run(&format!("{compose} logs --no-color {service}")).ok().stdout())
    });
    team.run(&format!("{compose} down -t 0")).ok();
    ended
}

#[test]
fn what_is_damaged_or_was_not_fetched_is_told_and_the_rest_starts() {
    if !have(&PARTS) || !have(&[Part::Docker, Part::DockerCompose]) {
        return;
    }
    let backstage = Session::new();
    let upstreams = Upstreams::new(&backstage);
    let team = Team::new("docker", &upstreams);
    team.write_project(&upstreams);
    let bake = format!("HF_TOKEN={TOKEN} larder bake --compose");

    // An upstream that is away, and weights that are damaged on their way: no image, no file above.
    upstreams.pypi.unplug();
    let away = team.run(&bake).ends(2);
    assert!(away.stderr().contains("demo_tools"), "{away}");
    upstreams.pypi.heal();
    let weights = format!("/{}", upstreams.ollama.digest);
    upstreams.ollama.cdn.flip(&weights, 1000);
    let tampered = team.run(&bake).ends(2);
    assert!(tampered.stderr().contains(&upstreams.ollama.digest), "{tampered}");
    assert!(tampered.stdout().contains("devcontainer  built"), "{tampered}");
    assert!(!team.session.path("docker-compose.larder.yml").exists());
    let stored = team.run("pkgcache ls").ok().stdout();
    assert!(!stored.contains(&upstreams.ollama.digest), "{stored}");
    upstreams.ollama.cdn.flip(&weights, 1000);
    team.run(&bake).ok();
    upstreams.unplug();
    upstreams.forget();

    // What an account alone may have is not for another one; what is in the image starts.
    let [devcontainer, test_gen] = start(&team, "hf_other");
    assert!(devcontainer.0 != "0" && devcontainer.1.contains("the proxy is offline"), "{devcontainer:?}");
    assert_eq!(test_gen.0, "0", "{}", test_gen.1);
    // What was never fetched is named.
    team.run("sed 's,/library/tiny,/library/huge,' -i docker-compose.yml").ok();
    let [devcontainer, _] = start(&team, TOKEN);
    assert!(devcontainer.0 != "0" && devcontainer.1.contains("config {\"layers\": 1}"), "{devcontainer:?}");
    assert!(devcontainer.1.contains("504"), "{devcontainer:?}");
    team.run("sed 's,/library/huge,/library/tiny,' -i docker-compose.yml").ok();

    // A byte of the stored weights turns: nobody gets them, and the check says so.
    let body = upstreams.ollama.digest.trim_start_matches("sha256:");
    let flip = format!(
        "f=$(find {} -name {body}) && chmod u+w $f && printf x | dd of=$f bs=1 seek=5000 conv=notrunc status=none",
        team.session.store().join("packages")
    );
    team.run(&flip).ok();
    let [devcontainer, test_gen] = start(&team, TOKEN);
    assert!(devcontainer.0 != "0" && devcontainer.1.contains("504"), "{devcontainer:?}");
    assert_eq!(test_gen.0, "0", "{}", test_gen.1);
    assert_eq!(upstreams.requests(), 0);

    // With a network, the next build fetches them anew.
    upstreams.heal();
    team.run(&format!("{bake} --rebuild test-gen")).ok();
    team.run("pkgcache verify").ok();
    upstreams.unplug();
    let [devcontainer, _] = start(&team, TOKEN);
    assert_eq!(devcontainer.0, "0", "{}", devcontainer.1);
}

#[test]
fn a_bake_that_is_killed_while_weights_come_is_taken_up() {
    if !have(&PARTS) || !have(&[Part::Docker]) {
        return;
    }
    let backstage = Session::new();
    let upstreams = Upstreams::new(&backstage);
    let team = Team::new("docker", &upstreams);
    team.write_project(&upstreams);
    let (weights, bake) = (upstreams.weights(), format!("export HF_TOKEN={TOKEN}; {}", team.prepare));
    let held = upstreams.torch.hold(&weights);
    let mut bake_of = team.session.start(&format!("{bake}; exec larder bake --compose"));
    until("the weights are asked for", || upstreams.torch.asked(&weights) > 0);
    bake_of.kill().unwrap();
    bake_of.wait().unwrap();
    drop(held);
    assert!(!team.session.path("docker-compose.larder.yml").exists());
    // Whole steps anew, from what is stored.
    let again = team.run(&format!("{bake}; larder bake --compose --rebuild devcontainer test-gen")).ok();
    assert!(again.stdout().contains("test-gen      built"), "{again}");
    assert_eq!((upstreams.torch.count(TORCH), upstreams.pypi.count(TOOLS)), (1, 1));
    team.run(&format!("{bake}; larder bake --compose")).ok();
    team.run("pkgcache verify").ok();
    assert!(team.session.path("docker-compose.larder.yml").exists());
}
