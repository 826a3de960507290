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
        "docker build --iidfile T/id -t larder-build:T -f T/Dockerfile --platform P .".to_owned(),
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

/// Without a registry: the engine has the image under the digest of the file `digest`.
fn on_the_engines() -> Project {
    let digest = "debian@$(cat digest)";
    let inspect = format!(
        "image) [ \"$3\" = debian:12 ] && echo \"[{{\\\"Id\\\":\\\"sha256:1d\\\",\\\"RepoDigests\\\":[\\\"{digest}\\\"]}}]\"; "
    );
    let resolve = "case $1 in has|load) exit 1;; resolve) [ $3 = --engine ] && cat digest || exit 2;; esac";
    on_a_tag("").tool("imgtar", resolve).docker(&DOCKER.replace("image) ", &inspect))
}

#[test]
fn what_the_engine_told_is_asked_of_it_again() {
    let project = on_the_engines();
    project.bake().ended(Outcome::Yes, "built").silent();
    let lock = project.lock().expect("a lock");
    assert!(lock.contains(&"1".repeat(64)) && lock.ends_with("engine = true\n"), "{lock}");
    assert_eq!(project.bake().report[0]["key_warnings"], serde_json::json!([]));
    let project = project.has("2").with(|options| options.doubts = true);
    let result = project.bake();
    let doubts = result.report[0]["key_warnings"].to_string();
    assert!(doubts.contains("`larder bake --update debian:12`"), "{doubts}");
    assert!(result.calls.iter().any(|call| call.contains(&format!("=sha256:{}", "1".repeat(64)))));
    assert_eq!(project.lock(), Some(lock));
    let project = project.with(|options| options.update = Some(Vec::new()));
    assert_eq!(project.bake().report[0]["key_warnings"], serde_json::json!([]));
    assert!(project.lock().expect("a lock").contains(&"2".repeat(64)));
}

#[test]
fn what_a_registry_told_is_not_asked_of_the_engine() {
    let project = on_the_engines();
    let lock = "version = 1\n[[image]]\nname = \"docker.io/library/debian:12\"\n";
    let lock = format!("{lock}digest = \"sha256:{}\"\nresolved = \"2026-03-09\"\n", "3".repeat(64));
    fs::write(project.root.join("larder.lock"), &lock).expect("a file");
    project
        .with(|options| options.update = Some(Vec::new()))
        .bake()
        .never_called("imgtar resolve -q --engine");
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

/// A project with a named context that is an image, with an engine that takes one.
fn with_context(image: &str, inspect: &str) -> Project {
    let docker = DOCKER.replace("buildx) exit 1", "buildx) exit 0").replace("image) ", inspect);
    let toml = format!("[image.app]\ncontexts = {{ tools = \"docker-image://{image}\" }}\n");
    let project = Project::new(&toml)
        .tool("imgtar", "case $1 in has|load) exit 1;; resolve) cat digest;; esac")
        .docker(&docker);
    let told =
        format!("{{\"source\":\"docker-image://{image}\",\"kind\":\"image\",\"context\":\"tools\"}}\n");
    fs::write(project.root.join("uses-of-Dockerfile"), told).expect("a file");
    project.has("1")
}

#[test]
fn an_image_that_is_a_context_is_locked_too() {
    let project = with_context("host.example/tools:1", "image) ");
    let result = project.bake();
    result.ended(Outcome::Yes, "built").saved(true).silent();
    let context =
        format!("--build-context tools=docker-image://host.example/tools:1@sha256:{}", "1".repeat(64));
    for start in ["hashctx --manifest", "hashctx -q --manifest", "docker build "] {
        let call = result.calls.iter().find(|call| call.starts_with(start)).expect("a call");
        assert!(call.contains(&context) && !call.contains("--pin"), "{call}");
    }
    let lock = project.lock().expect("a lock");
    assert!(lock.contains("[[image]]\nname = \"host.example/tools:1\"\n"), "{lock}");
    let project = project.has("2");
    project.bake().never_called("imgtar resolve");
    let project = project.with(|options| options.update = Some(vec!["host.example/tools:1".to_owned()]));
    project.bake();
    assert!(project.lock().expect("a lock").contains(&"2".repeat(64)));
    let project = with_context("host.example/tools:1", "image) ").with(|options| options.locked = true);
    let error = project.bake_to(&mut Vec::new()).expect_err("nothing is locked");
    assert_eq!(error.to_string(), "larder.lock has no digest for `host.example/tools:1`");
}

/// An image `tools:1` that docker alone has, with an ID of the digit in the file `id`.
const LOCAL: &str = "image) [ \"$3\" = tools:1 ] && [ -s id ] && printf '[{\"Id\":\"sha256:%s\"}]' \
                     $(printf '%64s' | tr ' ' $(cat id)); ";

#[test]
fn a_context_that_only_the_engine_has_is_locked_by_its_id() {
    let project = with_context("tools:1", LOCAL);
    fs::write(project.root.join("id"), "1").expect("a file");
    let result = project.bake();
    result.ended(Outcome::Yes, "built").saved(true).never_called("imgtar resolve");
    let lock = project.lock().expect("a lock");
    assert!(
        lock.contains("name = \"docker.io/library/tools:1\"\n") && lock.ends_with("local = \"docker\"\n"),
        "{lock}"
    );
    let by_id = format!("tools=docker-image://tools:1@sha256:{} ", "1".repeat(64));
    let hashed = |call: &&String| call.contains(&by_id);
    assert_eq!(result.calls.iter().filter(|call| call.starts_with("hashctx")).filter(hashed).count(), 3);
    let built = result.calls.iter().find(|call| call.starts_with("docker build ")).expect("a build");
    assert!(built.contains("tools=docker-image://tools:1 "), "{built}");

    // One that becomes another image during the build is not what the key says.
    let moving = LOCAL.replace("image) ", "build) echo 2 >id;; esac; case $1 in image) ");
    let project = with_context("tools:1", &moving);
    fs::write(project.root.join("id"), "1").expect("a file");
    project.bake().ended(Outcome::Yes, "built").saved(false).warned("changed during the build");
}

/// A project on a base that docker alone has.
fn on_a_local() -> Project {
    let docker = DOCKER.replace("image) ", &LOCAL.replace("tools:1", "debian:12"));
    let docker = docker.replace("version) exit 1", "version) exit 0");
    let project = on_a_tag("").docker(&docker);
    fs::write(project.root.join("id"), "1").expect("a file");
    project
}

#[test]
fn a_base_that_only_the_engine_has_is_locked_by_its_id() {
    let project = on_a_local();
    let by_id = format!(" --base debian:12=sha256:{} ", "1".repeat(64));
    let result = project.bake();
    result
        .ended(Outcome::Yes, "built")
        .saved(true)
        .never_called("imgtar resolve")
        .never_called("hashctx --pinned");
    assert!(result.calls.iter().any(|call| call.contains(&by_id)), "{:?}", result.calls);
    let lock = project.lock().expect("a lock");
    assert!(lock.ends_with("local = \"docker\"\n") && lock.contains(&"1".repeat(64)), "{lock}");

    // Another one, built there since: the key is as ever, and nothing is built from that.
    fs::write(project.root.join("id"), "2").expect("a file");
    let project = project.has("1").with(|options| options.doubts = true);
    let result = project.bake();
    result.ended(Outcome::Code(2), "failed").never_called("docker build");
    assert!(result.calls.iter().any(|call| call.contains(&by_id)), "{:?}", result.calls);
    let doubts = result.report[0]["key_warnings"].to_string();
    assert!(doubts.contains("`larder bake --update debian:12`"), "{doubts}");
    let error = result.report[0]["error"].to_string();
    assert!(error.contains(&format!("docker has sha256:{} as `debian:12`", "2".repeat(64))), "{error}");
    assert_eq!(project.lock(), Some(lock));

    // None at all: whatever the name is elsewhere, it is not that.
    fs::write(project.root.join("id"), "").expect("a file");
    let project = project.has("1");
    let result = project.bake();
    result.ended(Outcome::Code(2), "failed").never_called("imgtar resolve");
    let error = result.report[0]["error"].to_string();
    assert!(error.contains("docker has no image `debian:12`"), "{error}");

    fs::write(project.root.join("id"), "2").expect("a file");
    let project = project.with(|options| options.update = Some(vec!["debian:12".to_owned()]));
    project.bake().ended(Outcome::Yes, "built").saved(true);
    assert!(project.lock().expect("a lock").contains(&"2".repeat(64)));
}

#[test]
fn a_local_base_is_locked_before_a_bake_that_may_not_lock_it() {
    let project = on_a_local().with(|options| options.locked = true);
    let error = project.bake_to(&mut Vec::new()).expect_err("nothing is locked");
    assert_eq!(error.to_string(), "larder.lock has no digest for `docker.io/library/debian:12`");
    let project = project.with(|options| options.locked = false);
    project.bake();
    let project = project.with(|options| options.locked = true);
    project.bake().ended(Outcome::Yes, "built").saved(true);
}

#[test]
fn a_context_that_is_an_image_of_the_file_is_baked_first() {
    let docker = DOCKER.replace("buildx) exit 1", "buildx) exit 0");
    let project = Project::new(
        "[image.app]\ncontexts = { tools = \"docker-image://team/tools:1\" }\n\
         [image.tools]\ndockerfile = \"Tools\"\ntags = [\"team/tools:1\"]\n",
    )
    .docker(&docker);
    let told = "{\"source\":\"docker-image://team/tools:1\",\"kind\":\"image\",\"context\":\"tools\"}\n";
    fs::write(project.root.join("uses-of-Dockerfile"), told).expect("a file");
    let result = project.bake();
    assert_eq!(result.report[0]["needs"], serde_json::json!(["tools"]));
    let hash = "hashctx --manifest -f Dockerfile --platform P --build-context tools=docker-image://team/tools:1@sha256:KEY \
                --input needs.tools=larder:KEY .";
    let hashed =
        result.calls.iter().find(|call| call.starts_with("hashctx --manifest") && call.contains("tools="));
    let words = |line: &str| {
        let mut words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        words.sort();
        words
    };
    assert_eq!(words(hashed.expect("a call")), words(hash));
    result.never_called("imgtar resolve");
}
