//! Images that are built from one another.

use std::fs;

use toolkit::Engine;
use toolkit::Outcome;

use crate::project::{DOCKER, HASHCTX, Project, Result, arch, refused};

/// A project of three images: `app` is built from `base` and copies from `tools`.
fn family() -> Project {
    let project = Project::new(
        "[image.app]\n[image.base]\ndockerfile = \"Base\"\ntags = [\"team/base\"]\n\
         [image.tools]\ndockerfile = \"Tools\"\n[image.other]\ndockerfile = \"Other\"\n",
    );
    let uses =
        "{\"image\":\"docker.io/team/base:latest\"}\n{\"image\":\"tools\"}\n{\"image\":\"x@sha256:00\"}\n";
    fs::write(project.root.join("uses-of-Dockerfile"), uses).expect("a file");
    project
}

impl Result {
    #[track_caller]
    fn baked(&self, states: &[(&str, &str)]) -> &Self {
        let line = |line: &serde_json::Value| {
            (
                line["image"].as_str().expect("a name").to_owned(),
                line["state"].as_str().expect("a state").to_owned(),
            )
        };
        let baked: Vec<_> = self.report.iter().map(line).collect();
        let wanted: Vec<_> =
            states.iter().map(|(image, state)| ((*image).to_owned(), (*state).to_owned())).collect();
        assert_eq!(baked, wanted);
        self
    }
}

#[test]
fn what_an_image_is_built_from_comes_first_and_is_in_its_key() {
    let result = family().bake();
    result.baked(&[("app", "built"), ("base", "built"), ("tools", "built"), ("other", "built")]);
    let is_build = |call: &String| call.starts_with("docker build ") && call.contains("-f Dockerfile ");
    let build = result.calls.iter().position(is_build).expect("a build");
    for name in ["team/base", "tools:latest"] {
        let named = result.calls.iter().position(|call| *call == format!("docker tag sha256:cafe {name}"));
        assert!(named.is_some_and(|named| named < build), "{name}: {:?}", result.calls);
    }
    let hash = "hashctx --manifest -f Dockerfile --platform P --base docker.io/team/base:latest=larder:KEY --base tools=larder:KEY .";
    assert!(result.calls.iter().any(|call| call == hash), "{:?}", result.calls);
}

#[test]
fn an_image_brings_what_it_is_built_from() {
    let named = |name: &str| family().with(|options| options.names = vec![name.into()]).bake();
    named("app").baked(&[("app", "built"), ("base", "built"), ("tools", "built")]);
    named("tools").baked(&[("tools", "built")]);
}

#[test]
fn a_rebuild_is_of_the_images_that_were_named() {
    let project = family().with(|options| (options.names, options.rebuild) = (vec!["app".into()], true));
    let result = project.tool("imgtar", "true").bake();
    result.baked(&[("app", "built"), ("base", "hit"), ("tools", "hit")]);
}

#[test]
fn on_a_base_that_failed_nothing_is_built() {
    let docker = format!("case \"$*\" in *Base*) exit 1;; version*) exit 0;; esac\n{DOCKER}");
    let result = family().docker(&docker).bake();
    result.baked(&[("app", "failed"), ("base", "failed"), ("tools", "built"), ("other", "built")]);
    assert_eq!(result.outcome, Outcome::Code(2));
    assert_eq!(result.report[0]["error"], "`base`, which comes before it, could not be baked");
}

#[test]
fn a_base_that_was_not_saved_is_known_by_its_id() {
    let docker = DOCKER.replace("image) ", "image) [ \"$3\" = tools ] && echo '[{\"Id\":\"sha256:1d\"}]'; ");
    let imgtar = "case \"$*\" in has*|load*) exit 1;; save*tools*) exit 2;; esac";
    let result = family().docker(&docker).tool("imgtar", imgtar).bake();
    let hash = "hashctx --manifest -f Dockerfile --platform P --base docker.io/team/base:latest=larder:KEY --base tools=sha256:1d .";
    assert!(result.calls.iter().any(|call| call == hash), "{:?}", result.calls);
}

#[test]
fn a_base_that_changes_during_the_build_is_not_saved() {
    let inspect = "image) [ \"$3\" = base:1 ] && echo \"[{\\\"Id\\\":\\\"sha256:$(cat id)\\\"}]\"; ";
    let docker = DOCKER.replace("image) ", inspect).replace("build) ", "build) echo 2 >id; ");
    let project = Project::app().docker(&docker);
    fs::write(project.root.join("uses-of-Dockerfile"), "{\"image\":\"base:1\"}\n").expect("a file");
    fs::write(project.root.join("id"), "1\n").expect("a file");
    let result = project.bake();
    result
        .ended(Outcome::Yes, "built")
        .saved(false)
        .warned("changed during the build")
        .never_called("imgtar save");
    assert!(result.calls.iter().any(|call| call.contains("--base base:1=sha256:1 ")), "{:?}", result.calls);
}

#[test]
fn a_base_whose_name_another_build_took_is_not_saved_on() {
    let inspect = "image) [ \"$3\" = base:1 ] && echo \"[{\\\"Id\\\":\\\"sha256:$(cat id)\\\"}]\"; ";
    let taken = "--manifest '*) case \"$*\" in *larder:*) echo 2 >id;; esac; ";
    let project = Project::new("[image.app]\n[image.base]\ndockerfile = \"Base\"\ntags = [\"base:1\"]\n")
        .docker(&DOCKER.replace("image) ", inspect))
        .tool("hashctx", &HASHCTX.replace("--manifest '*) ", taken));
    fs::write(project.root.join("uses-of-Dockerfile"), "{\"image\":\"base:1\"}\n").expect("a file");
    fs::write(project.root.join("id"), "1\n").expect("a file");
    let result = project.bake();
    assert_eq!([&result.report[1]["saved"], &result.report[0]["saved"]], [true, false]);
    let warnings = result.report[0]["warnings"].to_string();
    assert!(warnings.contains("`base:1` became another image"), "{warnings}");
}

#[test]
fn a_context_whose_name_another_build_took_is_not_saved_on() {
    let inspect =
        "buildx) exit 0;; image) [ \"$3\" = base:1 ] && echo \"[{\\\"Id\\\":\\\"sha256:$(cat id)\\\"}]\"; ";
    let takes = "case \"$*\" in *larder:*) echo 2 >id;; esac; ";
    let saved = |context: &str, taken: &str| {
        let project = Project::new(&format!(
            "[image.app]\ncontexts = {{ up = \"{context}\" }}\n\
             [image.base]\ndockerfile = \"Base\"\ntags = [\"base:1\"]\n"
        ))
        .docker(&DOCKER.replace("buildx) exit 1;;", "").replace("image) ", inspect))
        .tool("hashctx", &HASHCTX.replace("--manifest '*) ", &format!("--manifest '*) {taken}")));
        let told = "{\"source\":\"docker-image://base:1\",\"kind\":\"image\",\"context\":\"up\"}\n";
        if context.starts_with("docker-image") {
            fs::write(project.root.join("uses-of-Dockerfile"), told).expect("a file");
        }
        fs::write(project.root.join("id"), "1\n").expect("a file");
        let result = project.bake();
        result.baked(&[("app", "built"), ("base", "built")]);
        assert_eq!(result.report[1]["saved"], true);
        let warnings = result.report[0]["warnings"].to_string();
        assert_eq!(warnings.contains("`base:1` became another image"), !taken.is_empty(), "{warnings}");
        result.report[0]["saved"].clone()
    };
    for context in ["image:base", "docker-image://base:1"] {
        assert_eq!([saved(context, ""), saved(context, takes)], [true, false], "{context}");
    }
}

#[test]
fn a_context_of_which_nothing_is_known_is_not_saved_on() {
    // The base is not saved, and the engine tells no ID.
    let imgtar = "case \"$*\" in has*|load*) exit 1;; save*base*) exit 2;; esac";
    let project = Project::new(
        "[image.app]\ncontexts = { up = \"image:base\" }\n[image.base]\ndockerfile = \"Base\"\n",
    );
    let docker = DOCKER.replace("buildx) exit 1", "buildx) exit 0");
    let result = project.docker(&docker).tool("imgtar", imgtar).bake();
    result.baked(&[("app", "built"), ("base", "built")]).saved(false).warned("is not known");
}

#[test]
fn what_another_engine_has_is_refused_as_a_base() {
    let project = |app: &str, base: &str, uses: &str| {
        let file = if base.contains("pack") { "" } else { "dockerfile = \"Base\"\n" };
        let toml = format!("[image.app]\n{app}\n[image.base]\ntags = [\"b:1\"]\n{file}{base}\n");
        let project = Project::new(&toml);
        fs::write(project.root.join("uses-of-Dockerfile"), uses).expect("a file");
        project.tool("podman", DOCKER)
    };
    let refused = |app: &str, base: &str, uses: &str, why: &str| {
        let project = project(app, base, uses);
        refused(
            &project,
            &format!("larder.toml cannot be baked: image `app` is built by {why}"),
            "one `engine`",
        );
        let calls = project.calls();
        assert!(calls.iter().all(|call| call.starts_with("hashctx --images ")), "{calls:?}");
    };
    let (docker, podman, from) = ("engine = \"docker\"", "engine = \"podman\"", "{\"image\":\"b:1\"}\n");
    let by_podman = "podman from `base`, which docker builds";
    refused(podman, docker, from, by_podman);
    // That which nobody named is found by asking.
    refused(podman, "", from, by_podman);
    refused(docker, podman, from, "docker from `base`, which podman builds");
    refused(docker, podman, "{\"image\":\"localhost/b:1\"}\n", "docker from `base`, which podman builds");
    let context = format!("{podman}\ncontexts = {{ up = \"image:base\" }}");
    refused(&context, docker, "", by_podman);
    let context = format!("{podman}\ncontexts = {{ up = \"docker-image://b:1\" }}");
    let told = "{\"source\":\"docker-image://b:1\",\"kind\":\"image\",\"context\":\"up\"}\n";
    refused(&context, docker, told, by_podman);
    refused(podman, "pack = { dir = \"d\" }", from, "podman from `base`, which docker gets");

    let baked = |project: Project| project.tool("imgtar", "true").bake().outcome;
    let given = format!("{podman}\nbase = {{ \"b:1\" = \"sha256:{}\" }}", "1".repeat(64));
    let needs = format!("{podman}\nneeds = [\"base\"]");
    let good = [
        project("", "", from),
        project(podman, podman, from),
        project(podman, "pack = { dir = \"d\" }\nengine = \"podman\"", from),
        project(&needs, docker, ""),
        project(&given, docker, from),
        project(podman, docker, from).with(|options| options.engine = Some(Engine::Docker)),
    ];
    for (at, project) in good.into_iter().enumerate() {
        assert_eq!(baked(project), Outcome::Yes, "{at}");
    }
}

#[test]
fn a_packed_base_that_could_not_be_loaded_is_known_by_what_the_engine_has() {
    let docker = DOCKER
        .replace("version) exit 1", "version) exit 0")
        .replace("image) ", "image) [ \"$3\" = base:1 ] && echo '[{\"Id\":\"sha256:1d\"}]'; ");
    let imgtar = "case \"$*\" in load*base:1*) exit 2;; load*) exit 1;; esac";
    let project = Project::new("[image.app]\n[image.base]\npack = { dir = \"d\" }\ntags = [\"base:1\"]\n")
        .docker(&docker)
        .tool("imgtar", imgtar);
    fs::write(project.root.join("uses-of-Dockerfile"), "{\"image\":\"base:1\"}\n").expect("a file");
    let result = project.bake();
    result.baked(&[("app", "built"), ("base", "hit")]);
    assert!(result.report[1]["warnings"].to_string().contains("could not be loaded"));
    assert!(result.calls.iter().any(|call| call.contains("--base base:1=sha256:1d ")), "{:?}", result.calls);
}

#[test]
fn a_base_whose_instructions_read_the_context_is_not_saved_on() {
    let inspect = "image) [ \"$3\" = base:1 ] && echo '[{\"Id\":\"sha256:1\",\"Config\":{\"OnBuild\":[\"COPY . /\"]}}]'; ";
    let on = |toml: &str| {
        let project = Project::new(toml).docker(&DOCKER.replace("image) ", inspect));
        fs::write(project.root.join("uses-of-Dockerfile"), "{\"image\":\"base:1\"}\n").expect("a file");
        project.bake()
    };
    on("[image.app]\n").saved(false).warned("ONBUILD").never_called("imgtar save");
    on("[image.app]\nignore = \"all\"\n").saved(true);
}

#[test]
fn images_that_are_built_from_one_another_are_refused_by_name() {
    let project = family();
    fs::write(project.root.join("uses-of-Base"), "{\"image\":\"app:latest\"}\n").expect("a file");
    refused(
        &project,
        "larder.toml cannot be baked: images are built from one another: `app` from `base` from `app`",
        "another name",
    );
    let own = Project::app();
    fs::write(own.root.join("uses-of-Dockerfile"), "{\"image\":\"app\"}\n").expect("a file");
    refused(
        &own,
        "larder.toml cannot be baked: images are built from one another: `app` from `app`",
        "another name",
    );
}

#[test]
fn without_a_word_on_what_it_is_built_from_an_image_has_no_key() {
    let hashctx = HASHCTX.replace("in\n", "in *' --images '*) exit 2;;\n");
    let result = Project::app().tool("hashctx", &hashctx).bake();
    result.ended(Outcome::Yes, "built").saved(false).warned("without the image cache").never_called("imgtar");
}

#[test]
fn the_engine_is_told_for_hits_too() {
    let result = Project::app().tool("imgtar", "true").bake();
    assert_eq!(result.report[0]["engine"], "docker");
    let result = Project::packed().without("docker").tool("imgtar", "true").bake();
    assert_eq!(result.report[0]["engine"], serde_json::Value::Null);
}

/// What `app` of this machine takes of `base`, which is for it and for another one.
fn of_two_platforms(platforms: &[&str]) -> Project {
    let own = format!("linux/{}", arch());
    let project = Project::new(&format!(
        "[image.app]\n[image.base]\ndockerfile = \"Base\"\nplatforms = [\"{own}\", \"linux/s390x\"]\n"
    ));
    let line = |platform: &&str| format!("{{\"image\":\"base\",\"platform\":\"{platform}\"}}\n");
    let uses: String = platforms.iter().map(line).collect();
    fs::write(project.root.join("uses-of-Dockerfile"), uses).expect("a file");
    project
}

#[test]
fn an_image_of_several_platforms_is_taken_for_the_one_that_is_asked_for() {
    let own = format!("linux/{}", arch());
    for (platform, tag) in [(own.as_str(), None), ("linux/s390x", Some("base:latest-linux-s390x"))] {
        let project = of_two_platforms(&[platform]).tool("imgtar", "true");
        let result = project.with(|options| options.names = vec!["app".into()]).bake();
        assert_eq!(result.report[0]["needs"], serde_json::json!([format!("base@{platform}")]));
        let hashed = result.calls.iter().find(|call| call.contains("--base base=larder:")).expect("a key");
        assert_eq!(hashed.contains(" --use "), tag.is_some(), "{hashed}");
        assert!(tag.is_none_or(|tag| hashed.contains(&format!("--use base={tag}"))), "{hashed}");
    }
    refused(
        &of_two_platforms(&[&own, "linux/s390x"]),
        "larder.toml cannot be baked: image `app` takes `base` for two platforms",
        "its own tag",
    );
}
