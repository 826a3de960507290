//! What a tag stands for is decided once.

use std::fs;

use toolkit::Outcome;

use crate::project::{DOCKER, Project};

/// A project on a base that a registry has, under the digest of the file `digest`.
fn on_a_tag(settings: &str) -> Project {
    let project = Project::new(&format!("[image.app]\n{settings}"))
        .tool("imgtar", "case $1 in has|load) exit 1;; resolve) cat digest;; esac");
    fs::write(project.root.join("uses-of-Dockerfile"), "{\"image\":\"debian:12\"}\n").expect("a file");
    project.has("1")
}

impl Project {
    /// What the registry answers from now on.
    fn has(self, digit: &str) -> Self {
        fs::write(self.root.join("digest"), format!("sha256:{}\n", digit.repeat(64))).expect("a file");
        fs::write(self.root.join("calls"), "").expect("a file");
        self
    }

    fn lock(&self) -> Option<String> {
        fs::read_to_string(self.root.join("larder.lock")).ok()
    }
}

#[test]
fn a_tag_is_resolved_once_and_hashed_and_built_by_its_digest() {
    let project = on_a_tag("");
    let pin = format!("--pin debian:12=sha256:{} .", "1".repeat(64));
    let result = project.bake();
    result.ended(Outcome::Yes, "built").saved(true).silent();
    let called = |calls: &[String], call: &str| calls.iter().any(|one| one == call);
    for call in [
        "imgtar resolve -q debian:12".to_owned(),
        format!("hashctx --manifest -f Dockerfile --platform P {pin}"),
        format!("hashctx --pinned T/Dockerfile -f Dockerfile --platform P {pin}"),
        "docker build --iidfile T/id -f T/Dockerfile --platform P -t app:latest .".to_owned(),
    ] {
        assert!(called(&result.calls, &call), "{call}: {:?}", result.calls);
    }
    let lock = project.lock().expect("a lock");
    let again = project.has("2");
    let result = again.bake();
    result.never_called("imgtar resolve");
    assert!(!called(&result.calls, "docker image inspect debian:12"), "{:?}", result.calls);
    assert_eq!(again.lock(), Some(lock));
}

#[test]
fn a_lock_moves_when_it_is_updated_or_too_old() {
    for (settings, update) in
        [("", Some("app")), ("", Some("docker.io/library/debian:12")), ("refresh = \"0s\"\n", None)]
    {
        let project = on_a_tag(settings);
        project.bake();
        let project = project.has("2").with(|options| {
            options.update = update.map(|update| vec![update.to_owned()]);
        });
        let result = project.bake();
        let pin = format!("--pin debian:12=sha256:{}", "2".repeat(64));
        assert!(result.calls.iter().any(|call| call.contains(&pin)), "{update:?}: {:?}", result.calls);
        assert!(project.lock().expect("a lock").contains(&"2".repeat(64)));
    }
}

#[test]
fn what_may_not_be_written_is_not() {
    let project = on_a_tag("").with(|options| options.locked = true);
    let error = project.bake_to(&mut Vec::new()).expect_err("nothing is locked");
    assert_eq!(error.to_string(), "larder.lock has no digest for `docker.io/library/debian:12`");
    assert_eq!(project.lock(), None);
    let project = on_a_tag("").with(|options| options.check = true);
    project.bake().ended(Outcome::No, "stale");
    assert_eq!(project.lock(), None);
    let project = on_a_tag("lock = false\n").with(|options| options.locked = true);
    project.bake().ended(Outcome::Yes, "built").never_called("imgtar resolve");
}

#[test]
fn without_a_lock_it_is_whatever_the_engine_has() {
    let inspect = "image) [ \"$3\" = debian:12 ] && echo '[{\"Id\":\"sha256:1d\",\"RepoDigests\":[\"debian@sha256:01\"]}]'; ";
    let result = on_a_tag("lock = false\n").docker(&DOCKER.replace("image) ", inspect)).bake();
    assert!(
        result.calls.iter().any(|call| call.contains(" --base debian:12=sha256:1d ")),
        "{:?}",
        result.calls
    );
}

#[test]
fn a_registry_that_does_not_answer_leaves_what_is_locked() {
    let project = on_a_tag("refresh = \"0s\"\n");
    project.bake();
    let lock = project.lock();
    let result = project.tool("imgtar", "case $1 in has|load) exit 1;; resolve) exit 2;; esac").bake();
    result.ended(Outcome::Yes, "built").silent();
    assert!(lock.is_some_and(|lock| lock.contains(&"1".repeat(64))));
}

#[test]
fn a_damaged_lock_is_an_error_before_anything_runs() {
    let project = on_a_tag("");
    fs::write(project.root.join("larder.lock"), "version = 1\n<<<<<<< ours\n").expect("a file");
    let error = project.bake_to(&mut Vec::new()).expect_err("no lock");
    assert!(
        error.to_string().ends_with("larder.lock:2: a merge left both versions of these lines"),
        "{error}"
    );
    assert!(!project.calls().iter().any(|call| call.starts_with("docker")), "{:?}", project.calls());
}
