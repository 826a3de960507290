//! One image: what is called, in which order, and what is saved.

use std::fs;

use toolkit::Outcome;

use crate::project::{
    AGAIN, BUILD, DOCKER, DOUBTS, HASH, HASHCTX, LOAD, MADE, PROBE, Project, SAVE, TAG, UNTAG, USES,
};

#[test]
fn a_hit_is_loaded_and_nothing_else() {
    let result = Project::app().tool("imgtar", "true").bake();
    result.ended(Outcome::Yes, "hit").saved(true).silent().called(&[USES, HASH, LOAD]);
}

#[test]
fn a_report_in_json_asks_once_what_could_make_the_key_lie() {
    let result = Project::app().tool("imgtar", "true").bake();
    assert_eq!(result.calls, [USES, HASH, &format!("{DOUBTS} -f Dockerfile --platform P ."), LOAD]);
}

#[test]
fn a_miss_is_built_hashed_again_and_saved() {
    let calls = [USES, HASH, LOAD, PROBE[0], PROBE[1], BUILD, MADE, USES, AGAIN, SAVE, TAG, UNTAG];
    Project::app().bake().ended(Outcome::Yes, "built").saved(true).silent().called(&calls);
}

#[test]
fn an_edit_during_the_build_is_never_saved() {
    let docker = DOCKER.replace("build) ", "build) printf two >source; ");
    let result = Project::app().docker(&docker).bake();
    result.ended(Outcome::Yes, "built").saved(false).warned("inputs changed").never_called("imgtar save");
}

#[test]
fn damage_is_built_through_and_saved_over() {
    let result = Project::app().tool("imgtar", "[ $1 = load ] && exit 3; true").bake();
    result.ended(Outcome::Yes, "built").saved(true).warned("damaged");
    assert!(result.calls.iter().any(|call| call.starts_with("imgtar save") && call.ends_with("--force")));
}

#[test]
fn a_store_in_trouble_does_not_keep_an_image_from_being_built() {
    let result = Project::app().answering().tool("imgtar", "exit 2").bake();
    result.ended(Outcome::Yes, "built").saved(false).warned("cannot be used").warned("not saved");
    let result = Project::app().answering().without("imgtar").bake();
    result.ended(Outcome::Yes, "built").saved(false).warned("cannot run");
}

#[test]
fn without_hashctx_an_image_is_built_all_the_same() {
    let result = Project::app().without("hashctx").bake();
    result.ended(Outcome::Yes, "built").saved(false).warned("without the image cache");
    assert!(result.report[0]["key"].is_null());
}

#[test]
fn a_failed_build_fails_the_bake_after_the_other_images() {
    let project = Project::new("[image.app]\n[image.bad]\ndockerfile = \"Bad\"\n[image.last]\n");
    let docker = format!("case \"$*\" in *Bad*) exit 1;; version*) exit 0;; esac\n{DOCKER}");
    let result = project.docker(&docker).bake();
    let states: Vec<_> = result.report.iter().map(|line| line["state"].as_str().expect("a state")).collect();
    assert_eq!((result.outcome, states), (Outcome::Code(2), vec!["built", "failed", "built"]));
    assert_eq!(result.report[1]["error"], "`docker build` ended with code 1");
}

#[test]
fn a_missing_engine_is_named() {
    let result = Project::app().without("docker").bake();
    let error = result.ended(Outcome::Code(2), "failed").report[0]["error"].to_string();
    assert!(error.contains("cannot run") && error.contains("docker"), "{error}");
}

#[test]
fn without_an_engine_each_image_fails_with_one_line() {
    let project = Project::new("[image.app]\n[image.last]\n").without("docker").tool("imgtar", "exit 2");
    let result = project.bake();
    let error = format!("no engine: cannot run `{}/bin/docker`", project.root);
    for line in &result.report {
        assert_eq!(
            (&line["state"], &line["error"], &line["warnings"]),
            (&"failed".into(), &error.as_str().into(), &serde_json::json!([]))
        );
    }
    let result = Project::app().tool("imgtar", "exit 2").bake();
    let error = result.ended(Outcome::Code(2), "failed").report[0]["error"].to_string();
    assert!(error.contains("the daemon of") && error.contains("does not answer"), "{error}");
}

#[test]
fn the_reason_of_a_build_is_told() {
    Project::app().bake().because("no earlier save");
    Project::app().with(|options| options.rebuild = true).bake().because("asked for with `--rebuild`");
    Project::app().with(|options| options.no_image_cache = true).bake().because("the image cache is off");
    Project::app().without("hashctx").bake().because("the inputs cannot be hashed");
    let app = |imgtar: &str| Project::app().answering().tool("imgtar", imgtar).bake();
    app("[ $1 = load ] && exit 3; true").because("the stored image is damaged");
    app("[ $1 = load ] && exit 2; true").because("the image cannot be loaded");
    app("exit 2").because("the store cannot be used");
}

#[test]
fn a_check_of_a_damaged_image_promises_nothing() {
    let project = Project::app().tool("imgtar", "exit 3").with(|options| options.check = true);
    let result = project.bake();
    result.ended(Outcome::No, "stale").warned("damaged; it would be built anew");
}

#[test]
fn an_image_named_twice_is_baked_once() {
    let project = Project::app().with(|options| options.names = vec!["app".into(), "app".into()]);
    assert_eq!(project.bake().report.len(), 1);
}

#[test]
fn a_check_builds_nothing_and_says_no() {
    let project = Project::app().with(|options| options.check = true);
    project.bake().ended(Outcome::No, "stale").called(&[USES, HASH, "imgtar has KEY -q"]);
    let project = Project::app().tool("imgtar", "true").with(|options| options.check = true);
    project.bake().ended(Outcome::Yes, "hit").called(&[USES, HASH, "imgtar has KEY -q"]);
}

#[test]
fn a_rebuild_asks_no_cache_and_saves_over() {
    let result = Project::app().tool("imgtar", "true").with(|options| options.rebuild = true).bake();
    let build = "docker build --iidfile T/id -t larder-build:T --no-cache -f Dockerfile --platform P .";
    let save = format!("{SAVE} --force");
    result
        .ended(Outcome::Yes, "built")
        .called(&[USES, HASH, PROBE[0], PROBE[1], build, MADE, USES, AGAIN, &save, TAG, UNTAG]);
}

#[test]
fn without_the_image_cache_the_store_is_left_alone() {
    let result = Project::app().with(|options| options.no_image_cache = true).bake();
    result.ended(Outcome::Yes, "built").saved(false).silent().never_called("imgtar");
    let result = Project::new("[image.app]\nuse-image-cache = false\n").bake();
    result.ended(Outcome::Yes, "built").saved(false).silent().never_called("imgtar");
}

#[test]
fn with_gits_rules_the_engine_is_handed_the_hashed_files() {
    let hash = "hashctx -q --manifest -f Dockerfile --platform P --ignore all .".to_owned();
    let docker = DOCKER.replace("build) ", "build) [ \"$(cat)\" = TAR ] || exit 9; ");
    let result = Project::new("[image.app]\nignore = \"all\"\n").docker(&docker).bake();
    result.ended(Outcome::Yes, "built").saved(true);
    assert!(
        result
            .calls
            .contains(&"hashctx --tar --key-file T/key -f Dockerfile --platform P --ignore all .".to_owned()),
        "{:?}",
        result.calls
    );
    assert!(result.calls.iter().any(|call| call.starts_with("docker build") && call.ends_with(" -")));
    // What git hides is not a secret input there, and hashctx is not to warn of it.
    assert_eq!(result.calls.get(1), Some(&hash));
}

#[test]
fn an_edit_between_key_and_tar_is_never_saved() {
    let hashctx = HASHCTX.replace("cat key-of", "printf two >source; cat key-of");
    let result = Project::new("[image.app]\nignore = \"all\"\n").tool("hashctx", &hashctx).bake();
    result.ended(Outcome::Yes, "built").saved(false).warned("inputs changed").never_called("imgtar save");
    let result = Project::packed().tool("hashctx", &hashctx).bake();
    result.ended(Outcome::Code(2), "failed").warned("inputs changed").never_called("imgtar pack");
}

#[test]
fn what_was_there_before_comes_from_the_engine() {
    let result = Project::app().tool("imgtar", "echo '{\"present\":true}'").bake();
    assert_eq!(result.ended(Outcome::Yes, "hit").report[0]["from"], "engine");
}

#[test]
fn a_context_tar_that_breaks_off_is_no_image() {
    let hashctx = HASHCTX.replace("printf TAR", "printf T; exit 2");
    let project = Project::new("[image.app]\nignore = \"all\"\n").answering();
    let result = project.tool("hashctx", &hashctx).bake();
    result.ended(Outcome::Code(2), "failed").never_called("imgtar save");
    assert_eq!(result.report[0]["error"], "`hashctx` ended with code 2");
}

#[test]
fn another_base_than_the_declared_one_is_not_saved() {
    let docker = DOCKER.replace("image) ", "image) [ \"$5\" = base:1 ] && echo sha256:other && exit 0; ");
    let base = "0".repeat(64);
    let project = Project::new(&format!("[image.app]\nbase = {{ \"base:1\" = \"sha256:{base}\" }}\n"));
    project.docker(&docker).bake().ended(Outcome::Yes, "built").saved(false).warned("`base:1` is not");
}

#[test]
fn a_base_that_its_registry_has_otherwise_is_not_saved_on() {
    let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
    let toml = format!("[image.app]\nbase = {{ \"base:1\" = \"{}\" }}\n", digest("1"));
    let bake = |resolve: &str| {
        let imgtar = format!("case \"$*\" in load*) exit 1;; {resolve} esac");
        let project = Project::new(&toml).tool("imgtar", &imgtar);
        fs::write(project.root.join("uses-of-Dockerfile"), "{\"image\":\"base:1\"}\n").expect("a file");
        project.bake()
    };
    let index = format!("'resolve base:1') echo {};;", digest("2"));
    bake(&index).ended(Outcome::Yes, "built").saved(false).warned("its registry has `base:1` as");
    bake(&format!("{index} resolve*--platform*) echo {};;", digest("1"))).saved(true).silent();
    bake(&format!("resolve*) echo {};;", digest("1"))).saved(true).silent();
    bake("resolve*) exit 2;;").saved(true).silent();
}

#[test]
fn the_old_builder_is_trusted_with_what_it_reads_by_the_same_rules_alone() {
    let docker = DOCKER.replace("version 20.10.24", "version 28.2.2");
    Project::app().docker(&docker).bake().ended(Outcome::Yes, "built").saved(true).silent();
    let other = HASHCTX.replace("in\n", "in *' --engine docker '*) printf two;;\n");
    let result = Project::app().tool("hashctx", &other).docker(&docker).bake();
    result.ended(Outcome::Yes, "built").saved(false).warned("no BuildKit").never_called("imgtar save");
}

#[test]
fn an_image_for_another_platform_is_never_saved() {
    let docker = DOCKER.replace("ARCH", "s390x");
    let result = Project::app().docker(&docker).bake();
    result
        .ended(Outcome::Yes, "built")
        .saved(false)
        .warned("built it for linux/s390x")
        .never_called("imgtar save");
    let silent = DOCKER.replace("image) [", "image) false && [");
    Project::app().docker(&silent).bake().saved(false).warned("does not say for which platform");
}

#[test]
fn the_stores_folder_is_handed_on() {
    let project = Project::app().with(|options| options.store_flag = Some("/some/where".into()));
    let result = project.tool("imgtar", "true").bake();
    let hash = "hashctx --store /some/where --manifest -f Dockerfile --platform P .";
    let doubts = "hashctx --store /some/where -q --json -f Dockerfile --platform P .";
    let load = "imgtar load KEY --store /some/where -q --json --engine docker --tag app:latest";
    result.called(&[USES, hash, doubts, load]);
}

#[test]
fn an_engine_that_is_missing_is_not_the_other_ones_fault() {
    let project =
        Project::new("[image.a]\nengine = \"podman\"\n[image.b]\nengine = \"docker\"\n").answering();
    let result = project.bake();
    let states: Vec<_> = result.report.iter().map(|line| line["state"].clone()).collect();
    assert_eq!(states, ["failed", "built"], "{:?}", result.report);
}

#[test]
fn a_context_that_is_not_there_is_one_error() {
    for (line, why) in [("\"none\"", "does not exist"), ("\"source\"", "is not a folder")] {
        let result = Project::new(&format!("[image.app]\ncontext = {line}\n")).bake();
        result.ended(Outcome::Code(2), "failed").silent().never_called("docker");
        let error = result.report[0]["error"].to_string();
        assert!(error.contains(&format!("{} {why}", line.replace('"', "`"))), "{error}");
    }
}

#[test]
fn an_argument_that_no_stage_declares_is_told() {
    let unused = "echo '{\"unused_arg\":\"A\"}{\"unused_arg\":\"B\"}'; true";
    let hashctx = HASHCTX.replace("cat uses-of-$2 2>/dev/null || true", unused);
    // What all images have is not every one's.
    let toml = "[defaults]\nargs = { B = 1 }\n[image.app]\nargs = { A = 1 }\n";
    let project = Project::new(toml).tool("hashctx", &hashctx).tool("imgtar", "true");
    let result = project.with(|options| options.doubts = true).bake();
    result.ended(Outcome::Yes, "hit").warned("declares the build argument `A`");
    assert!(!result.report[0]["warnings"].to_string().contains("`B`"), "{:?}", result.report);
    assert!(result.report[0]["key_warnings"].to_string().contains("`A`"), "{:?}", result.report);
}

#[test]
fn one_of_several_platforms_that_came_out_for_another_is_an_error() {
    // The stand-in builds for this machine, whatever it is asked for.
    let result = Project::new("[image.app]\nplatforms = [\"linux/s390x\"]\n").answering().bake();
    result.ended(Outcome::Code(2), "failed").never_called("imgtar save");
    let error = result.report[0]["error"].to_string();
    assert!(error.contains("and its key says linux/s390x\""), "{error}");
    // It does not get a name that says so.
    result.never_called("docker tag");
}

/// An image whose cache goes to a registry.
const CACHED: &str = "[image.app]\nengine-cache = { to = [\"r.example/app:cache\"] }\n";

#[test]
fn a_builder_that_can_writes_its_cache_to_a_registry() {
    let docker = DOCKER
        .replace("buildx) exit 1", "buildx) exit 0")
        .replace("Docker version 20.10.24", "Docker version 28.2.2");
    let to = "--cache-to type=registry,ref=r.example/app:cache,mode=max";
    let containerd =
        docker.replace("build) ", "info) echo '[[driver-type io.containerd.snapshotter.v1]]';;\n build) ");
    let result = Project::new(CACHED).docker(&containerd).bake();
    result.ended(Outcome::Yes, "built").saved(true).silent();
    assert!(
        result.calls.iter().any(|call| call.starts_with("docker build") && call.contains(to)),
        "{:?}",
        result.calls
    );

    // Any other builds without.
    for (docker, why) in [
        (docker.as_str(), "keeps images with containerd"),
        (DOCKER, "docker from 23 on with its plugin buildx"),
    ] {
        let result = Project::new(CACHED).docker(docker).bake();
        result.ended(Outcome::Yes, "built").saved(true).warned(why);
        assert!(!result.calls.iter().any(|call| call.contains("--cache-to")), "{:?}", result.calls);
    }
    let result = Project::new(CACHED).docker(&docker).with(|options| {
        options.variables.insert("BUILDX_BUILDER".into(), "mine".into());
    });
    assert!(result.bake().calls.iter().any(|call| call.contains(to)));
}

/// An image whose layers go to two tiers.
const IN_TIERS: &str = "[tier.near]\nstore = \"near\"\n[tier.team]\nregistry = \"r.example/cache\"\n\
                        [tier.depot]\ns3 = \"https://s3.example/b\"\n[profile.all]\n\
                        read = [\"near\", \"team\", \"depot\"]\nwrite = [\"near\", \"team\"]\n\
                        [image.app]\nengine-cache = { tiers = true }\n";

#[test]
fn layers_come_from_tiers_and_go_to_them() {
    let imgtar = "case $1 in has|load) exit 1;; serve) echo http://127.0.0.1:9; exec sleep 600;; esac";
    let docker = DOCKER
        .replace("buildx) exit 1", "buildx) exit 0")
        .replace("Docker version 20.10.24", "Docker version 28.2.2");
    let builds = |docker: &str, read_only: bool| {
        let project = Project::new(IN_TIERS).docker(docker).tool("imgtar", imgtar).with_route(read_only);
        let result = project.with(|options| {
            options.variables.insert("BUILDX_BUILDER".into(), "mine".into());
        });
        let result = result.bake();
        result.ended(Outcome::Yes, "built").saved(true);
        let of = |what: &str| result.calls.iter().find(|call| call.starts_with(what)).cloned();
        (of("docker build --").or_else(|| of("docker build ")).expect("a build"), of("imgtar serve"), result)
    };
    let from = "--cache-from type=registry,ref=127.0.0.1:9/larder/layers:app \
                --cache-from type=registry,ref=r.example/cache-layers:app ";
    let to = "--cache-to type=registry,ref=127.0.0.1:9/larder/layers:app,mode=max,ignore-error=true \
              --cache-to type=registry,ref=r.example/cache-layers:app,mode=max,ignore-error=true ";
    let (build, serve, _) = builds(&docker, false);
    assert!(build.contains(from) && build.contains(to), "{build}");
    assert_eq!(serve.as_deref(), Some("imgtar serve --store near --listen 127.0.0.1:0"));

    // Where nothing may be written, they are only read.
    let (build, serve, _) = builds(&docker, true);
    assert!(build.contains(from) && !build.contains("--cache-to"), "{build}");
    assert_eq!(serve.as_deref(), Some("imgtar serve --store near --listen 127.0.0.1:0 --read-only"));

    // An engine that cannot builds without.
    let (build, serve, result) = builds(DOCKER, false);
    result.warned("`engine-cache.tiers` is left out: docker from 23 on with its plugin buildx can do that");
    assert!(!build.contains("--cache-") && serve.is_none(), "{build}");
}
