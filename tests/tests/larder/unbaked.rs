//! Images that are pinned in the compose files themselves, and files that get back what they were.

use std::fs;

use larder_tests::{Part, Session, have};

/// As people write them: comments, anchors, odd spacing, line ends of another system.
const COMPOSE: &str = "# Our services.\r\n\r\nx-build: &build   # for both\r\n  context: .\r\n  args: {A: \"1\"}\r\n\r\nservices:\r\n\
    \x20 web:\r\n    # of the site\r\n    build: *build\r\n    image: 'old:1'   # kept\r\n\r\n\
    \x20 job: &job {build: {<<: *build, target: two}, network_mode: none} # all on one line\r\n\
    \x20 db:\r\n    image: scratch\r\n";

const DEVCONTAINER: &str = "{\n\t// where we work\n\t\"name\": \"x\",\n\t\"dockerComposeFile\": [\n\t\t\"../docker-compose.yml\", // ours\n\t],\n\t\"service\": \"web\",\n}\n";

/// A project whose images are baked already: each bake from now on is quick.
fn baked() -> Session {
    let mut session = Session::new();
    let name = session.image("p");
    for service in ["p-web", "p-job", "old"] {
        let _ = session.image(service);
    }
    session.write(
        "Dockerfile",
        session.from("scratch") + "COPY file /file\nFROM scratch AS two\nCOPY file /two\n",
    );
    session.write("file", "x\n");
    session.write("docker-compose.yml", COMPOSE.replace("old:1", &format!("{name}-web:1")));
    session.write(".devcontainer/devcontainer.json", DEVCONTAINER);
    let session = session.env("COMPOSE_PROJECT_NAME", &name).env("LARDER_DOCKER", "docker");
    session.run("cp docker-compose.yml ../before.yml && larder bake --compose && larder unbake").ok();
    session
}

#[track_caller]
fn is_as_before(session: &Session) {
    session.run("cmp docker-compose.yml ../before.yml").ok();
    let json = fs::read_to_string(session.path(".devcontainer/devcontainer.json")).expect("a file");
    assert_eq!(json, DEVCONTAINER);
    let files = session.run("ls -A . .devcontainer").ok().stdout();
    assert!(!files.contains("larder"), "{files}");
}

#[test]
fn only_what_must_change_is_changed_and_all_comes_back() {
    if !have(&[Part::Docker, Part::DockerCompose]) {
        return;
    }
    let session = baked();
    session.run("larder bake --compose --in-place").ok();
    let diff = session.run("diff ../before.yml docker-compose.yml").ends(1).stdout();
    let changed: Vec<_> = diff.lines().filter(|line| line.starts_with(['<', '>'])).collect();
    assert_eq!(changed.len(), 5, "{diff}");
    assert!(diff.contains("   # kept\r") && diff.contains(">     pull_policy: never\r"), "{diff}");
    assert!(
        diff.contains(
            ", pull_policy: never, build: {<<: *build, target: two}, network_mode: none} # all on one line\r"
        ),
        "{diff}"
    );
    session.run("cmp docker-compose.yml.larder-backup ../before.yml").ok();
    // Compose starts from it as it stands: with the images that are there.
    let images = session.run("docker-compose config | grep image:").ok().stdout();
    assert_eq!(images.matches(":larder-").count(), 2, "{images}");
    // Again, nothing is to be done; with another key, the same lines change.
    let again = session.run("larder bake --compose --in-place").ok();
    assert!(again.stderr().contains("already pinned in place"), "{again}");
    session.write("file", "y\n");
    session.run("larder bake --compose --in-place").ok();
    let other = session.run("diff ../before.yml docker-compose.yml").ends(1).stdout();
    assert!(other != diff && other.lines().count() == diff.lines().count(), "{other}");
    // The file above the others in its place.
    session.run("larder bake --compose --devcontainer .devcontainer/devcontainer.json").ok();
    session.run("cmp docker-compose.yml ../before.yml && test -e docker-compose.larder.yml").ok();
    session.run("larder bake --compose --in-place && test ! -e docker-compose.larder.yml").ok();
    assert_eq!(session.run("larder unbake").ok().stdout(), "restored docker-compose.yml\n");
    is_as_before(&session);
}

#[test]
fn a_file_in_json_stays_json() {
    if !have(&[Part::Docker, Part::DockerCompose]) {
        return;
    }
    let session = baked();
    let texts = [
        "{\n  \"services\": {\n    \"web\": {\n      \"build\": \".\",\n      \"network_mode\": \"none\"\n    },\n    \"job\": {\"image\": \"old:1\", \"build\": {\"context\": \".\", \"target\": \"two\"}}\n  }\n}\n",
        "{\"services\":{\"web\":{\"build\":\".\"},\"job\":{\"build\":{\"context\":\".\",\"target\":\"two\"},\"pull_policy\":null}}}",
    ];
    for text in texts {
        session.write("docker-compose.json", text);
        session.run("larder bake --compose docker-compose.json --in-place").ok();
        let baked = fs::read_to_string(session.path("docker-compose.json")).expect("a file");
        let mut json: serde_json::Value = serde_json::from_str(&baked).expect("JSON");
        for service in ["web", "job"] {
            let own = json["services"][service].as_object_mut().expect("a service");
            assert!(
                own.remove("image")
                    .is_some_and(|image| image.as_str().is_some_and(|image| image.contains(":larder-")))
            );
            assert_eq!(own.remove("pull_policy").as_ref().and_then(serde_json::Value::as_str), Some("never"));
        }
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
        assert!(!text.contains("\n  ") || lines(text).difference(&lines(&baked)).count() == 1, "{baked}");
        let images = session.run("docker-compose -f docker-compose.json config | grep image:").ok().stdout();
        assert_eq!(images.matches(":larder-").count(), 2, "{images}");
        session
            .run("larder bake --compose docker-compose.json --in-place")
            .ok()
            .says("already pinned in place");
        session.run("larder unbake").ok();
        assert_eq!(fs::read_to_string(session.path("docker-compose.json")).expect("a file"), text);
        session.run("rm docker-compose.json").ok();
        is_as_before(&session);
    }
}

#[test]
fn what_was_edited_since_is_not_overwritten() {
    if !have(&[Part::Docker]) {
        return;
    }
    let session = baked();
    session
        .run("larder bake --compose --in-place && sed -i 's/image: scratch/image: other/' docker-compose.yml")
        .ok();
    let text = fs::read(session.path("docker-compose.yml")).expect("a file");
    for line in ["larder unbake", "larder bake --compose --in-place", "larder bake --compose"] {
        let ran = session.run(line).ends(2).says("was edited since the bake, at line");
        assert!(
            ran.stderr().contains("-    image: scratch") && ran.stderr().contains("+    image: other"),
            "{ran}"
        );
    }
    assert_eq!(fs::read(session.path("docker-compose.yml")).expect("a file"), text);
    session.run("sed -i 's/image: other/image: scratch/' docker-compose.yml && larder unbake").ok();
    is_as_before(&session);
}

#[test]
fn a_service_that_another_one_takes_its_settings_from_is_not_edited_alone() {
    if !have(&[Part::Docker]) {
        return;
    }
    let session = baked();
    session.run("printf '  more:\\r\\n    <<: *job\\r\\n' >>docker-compose.yml && cp docker-compose.yml ../before.yml").ok();
    session.run("larder bake --compose --in-place job").ends(2).says("the service `more` would change, too");
    is_as_before(&session);
    // Where both are pinned, each has its own.
    session.run("larder bake --compose --in-place").ok();
    session.run("larder unbake").ok();
    is_as_before(&session);
}

/// Kills a line at the first moment, the second and so on at which it is about to change a name,
/// until it is done before; `then` is looked at after each.
fn killed_at_each(session: &Session, line: &str, then: impl Fn(u32)) {
    for moment in 1.. {
        assert!(moment < 60, "it is never done");
        let calls = "rename,renameat,renameat2,unlink,unlinkat";
        let trace = format!(
            "strace -qq -o /dev/null -e trace={calls} -e inject={calls}:signal=SIGKILL:when={moment} {line}"
        );
        let code = session.run(&trace).code();
        assert!(code == 0 || code == 137, "{code} at {moment}");
        then(moment);
        if code == 0 {
            assert!(moment > 4, "it was killed {} times", moment - 1);
            return;
        }
    }
}

#[test]
fn a_bake_that_is_killed_at_any_step_can_be_taken_back() {
    if !have(&[Part::Docker, Part::Strace]) {
        return;
    }
    let session = baked();
    for flags in ["--in-place", "--devcontainer .devcontainer/devcontainer.json"] {
        killed_at_each(&session, &format!("larder bake --compose {flags}"), |_| {
            session.run("larder unbake").ok();
            session.run("rm -f .tmp-* .devcontainer/.tmp-*").ok();
            is_as_before(&session);
        });
    }
}

#[test]
fn an_unbake_that_is_killed_at_any_step_is_taken_up() {
    if !have(&[Part::Docker, Part::Strace]) {
        return;
    }
    let session = baked();
    for flags in ["--in-place", "--devcontainer .devcontainer/devcontainer.json"] {
        for moment in 1..=6 {
            session.run(&format!("larder bake --compose {flags}")).ok();
            let calls = "rename,renameat,renameat2,unlink,unlinkat";
            let trace = format!(
                "strace -qq -o /dev/null -e trace={calls} -e inject={calls}:signal=SIGKILL:when={moment}"
            );
            let code = session.run(&format!("{trace} larder unbake")).code();
            assert!(code == 0 || code == 137, "{code}");
            session.run("larder unbake && rm -f .tmp-* .devcontainer/.tmp-*").ok();
            is_as_before(&session);
        }
    }
}
