//! The course of a bake, with stand-ins for the tools: small scripts that note how they were
//! called.

#![expect(clippy::disallowed_methods, reason = "tests write what they like")]

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use camino::Utf8PathBuf;
use larder::bake::{BakeError, Options, bake};
use larder::config;
use larder::process::children::Children;
use larder::process::runner::{Runner, Verbosity};
use larder::process::tools::Tools;
use tempfile::TempDir;
use toolkit::{Outcome, Output};

/// A project with stand-ins. Each notes its call in `calls`, then does what its script says.
struct Project {
    _dir: TempDir,
    root: Utf8PathBuf,
    options: Options,
}

/// What came of a bake.
struct Result {
    outcome: Outcome,
    report: Vec<serde_json::Value>,
    calls: Vec<String>,
}

const HASHCTX: &str = "case \" $* \" in
    *' --images '*) while [ $1 != -f ]; do shift; done; cat uses-of-$2 2>/dev/null || true;;
    *' --manifest '*) cat source;;
    *' --tar '*) while [ $1 != --key-file ]; do shift; done; cat key-of-$(cat source) >\"$2\"; printf TAR;;
    esac";
const IMGTAR: &str = "case $1 in has|load) exit 1;; esac";
const DOCKER: &str = "case $1 in
    buildx) exit 1;;
    --version) echo 'Docker version 20.10.24, build 297e128';;
    version) exit 1;;
    image) [ \"$3\" = sha256:cafe ] && echo '[{\"Id\":\"sha256:cafe\",\"Os\":\"OS\",\"Architecture\":\"ARCH\"}]';;
    build) case \"$*\" in *' -') cat >/dev/null;; esac
       while [ $# -gt 0 ]; do [ $1 = --iidfile ] && echo sha256:cafe >$2; shift; done;;
    esac";

impl Project {
    fn new(toml: &str) -> Self {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).expect("UTF-8");
        fs::create_dir(root.join("bin")).expect("a folder");
        fs::write(root.join("source"), "one").expect("a file");
        for word in ["one", "two"] {
            let key = blake3::hash(word.as_bytes()).to_hex();
            fs::write(root.join(format!("key-of-{word}")), format!("{key}\n")).expect("a file");
        }
        fs::write(root.join("larder.toml"), toml).expect("a file");
        let options = Options { json: true, ..Options::default() };
        let project = Self { _dir: dir, root, options };
        project.tool("hashctx", HASHCTX).tool("imgtar", IMGTAR).docker(DOCKER)
    }

    /// A stand-in for docker that builds for the platform of this machine.
    fn docker(self, script: &str) -> Self {
        self.tool("docker", &script.replace("OS", "linux").replace("ARCH", arch()))
    }

    fn app() -> Self {
        Self::new("[image.app]\n")
    }

    fn packed() -> Self {
        Self::new("[image.app]\npack = { dir = \"d\" }\n")
    }

    fn tool(self, name: &str, script: &str) -> Self {
        let path = self.root.join("bin").join(name);
        // The temporary folder's name is different each time: it is noted as T.
        let note = "echo \"${0##*/} $*\" | sed 's#/[^ ]*/bake-[^ /]*#T#g' >>calls";
        // Written by another process: while this one holds the file open, a test beside it may
        // fork, and the script would be "busy".
        let mut cat = Command::new("sh");
        cat.args(["-c", "cat >\"$0\" && chmod +x \"$0\"", path.as_str()]).stdin(Stdio::piped());
        let mut cat = cat.spawn().expect("sh");
        let text = format!("#!/bin/sh\n{note}\n{script}\n");
        cat.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("a pipe");
        assert!(cat.wait().expect("sh").success());
        self
    }

    /// With an engine whose daemon answers.
    fn answering(self) -> Self {
        self.docker(&DOCKER.replace("version) exit 1", "version) exit 0"))
    }

    fn without(self, name: &str) -> Self {
        fs::remove_file(self.root.join("bin").join(name)).expect("a file");
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }

    fn bake(&self) -> Result {
        let mut out = Vec::new();
        let outcome = self.bake_to(&mut out).expect("it ran");
        let report = String::from_utf8(out).expect("UTF-8");
        let report = report.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        Result { outcome, report, calls: self.calls() }
    }

    fn bake_to(&self, out: &mut impl Write) -> std::result::Result<Outcome, BakeError> {
        let project = config::load(&self.root.join("larder.toml")).expect("a good file");
        let runner = Runner::new(self.root.clone(), Verbosity::Quiet, Children::default());
        let tools = Tools::all_in(&self.root.join("bin"));
        bake(&project, &self.options, &tools, &runner, out)
    }

    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.root.join("calls")).unwrap_or_default();
        let key = blake3::hash(b"one").to_hex();
        let platform = format!("linux/{}", arch());
        calls.lines().map(|line| line.replace(key.as_str(), "KEY").replace(&platform, "P")).collect()
    }
}

/// This machine's architecture, as images have it.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Result {
    #[track_caller]
    fn ended(&self, outcome: Outcome, state: &str) -> &Self {
        assert_eq!((self.outcome, &self.report[0]["state"]), (outcome, &state.into()), "{:?}", self.report);
        self
    }

    #[track_caller]
    fn called(&self, calls: &[&str]) -> &Self {
        // How long a build took is no fact about the calls.
        let seconds = |call: &String| match call.split_once("--build-seconds ") {
            Some((before, after)) => {
                format!("{before}{}", after.split_once(' ').map_or("", |(_, rest)| rest))
            }
            None => call.clone(),
        };
        // Asked for the report in JSON that the tests read, and for nothing else.
        let own = |call: &&String| !call.starts_with(DOUBTS);
        assert_eq!(self.calls.iter().filter(own).map(seconds).collect::<Vec<_>>(), calls);
        self
    }

    #[track_caller]
    fn never_called(&self, start: &str) -> &Self {
        assert!(!self.calls.iter().any(|call| call.starts_with(start)), "{:?}", self.calls);
        self
    }

    #[track_caller]
    fn saved(&self, saved: bool) -> &Self {
        assert_eq!(self.report[0]["saved"], saved, "{:?}", self.report);
        self
    }

    #[track_caller]
    fn warned(&self, text: &str) -> &Self {
        let warnings = self.report[0]["warnings"].to_string();
        assert!(warnings.contains(text), "warnings are {warnings}");
        self
    }

    #[track_caller]
    fn because(&self, reason: &str) -> &Self {
        assert_eq!(self.report[0]["reason"], reason, "{:?}", self.report);
        self
    }

    #[track_caller]
    fn silent(&self) -> &Self {
        assert_eq!(self.report[0]["warnings"], serde_json::json!([]));
        self
    }
}

const USES: &str = "hashctx --images --json -f Dockerfile --platform P";
const HASH: &str = "hashctx --manifest -f Dockerfile --platform P .";
const DOUBTS: &str = "hashctx -q --json";
const AGAIN: &str = "hashctx -q --manifest -f Dockerfile --platform P .";
const LOAD: &str = "imgtar load KEY -q --json --engine docker --tag app:latest";
const PROBE: [&str; 2] = ["docker buildx version", "docker --version"];
const BUILD: &str = "docker build --iidfile T/id -f Dockerfile --platform P -t app:latest .";
/// Asked after a build: for which platform it was, and whether it was built from the same images.
const MADE: &str = "docker image inspect sha256:cafe";
const SAVE: &str = "imgtar save KEY -q sha256:cafe --engine docker --name app:latest --manifest T/manifest";

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
    let calls = [USES, HASH, LOAD, PROBE[0], PROBE[1], BUILD, MADE, USES, AGAIN, SAVE];
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
    let build = "docker build --iidfile T/id --no-cache -f Dockerfile --platform P -t app:latest .";
    let save = format!("{SAVE} --force");
    result
        .ended(Outcome::Yes, "built")
        .called(&[USES, HASH, PROBE[0], PROBE[1], build, MADE, USES, AGAIN, &save]);
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
    // What git hides is no secret input there, and hashctx is not to warn of it.
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
    result.baked(&[("base", "built"), ("tools", "built"), ("app", "built"), ("other", "built")]);
    let hash = "hashctx --manifest -f Dockerfile --platform P --base docker.io/team/base:latest=larder:KEY --base tools=larder:KEY .";
    assert!(result.calls.iter().any(|call| call == hash), "{:?}", result.calls);
}

#[test]
fn an_image_brings_what_it_is_built_from() {
    let named = |name: &str| family().with(|options| options.names = vec![name.into()]).bake();
    named("app").baked(&[("base", "built"), ("tools", "built"), ("app", "built")]);
    named("tools").baked(&[("tools", "built")]);
}

#[test]
fn a_rebuild_is_of_the_images_that_were_named() {
    let project = family().with(|options| (options.names, options.rebuild) = (vec!["app".into()], true));
    let result = project.tool("imgtar", "true").bake();
    result.baked(&[("base", "hit"), ("tools", "hit"), ("app", "built")]);
}

#[test]
fn on_a_base_that_failed_nothing_is_built() {
    let docker = format!("case \"$*\" in *Base*) exit 1;; version*) exit 0;; esac\n{DOCKER}");
    let result = family().docker(&docker).bake();
    result.baked(&[("base", "failed"), ("tools", "built"), ("app", "failed"), ("other", "built")]);
    assert_eq!(result.outcome, Outcome::Code(2));
    assert_eq!(result.report[2]["error"], "`base`, which it is built from, could not be baked");
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
    assert_eq!(result.report[0]["saved"], true);
    assert_eq!(result.report[1]["saved"], false);
    let warnings = result.report[1]["warnings"].to_string();
    assert!(warnings.contains("`base:1` became another image"), "{warnings}");
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
    result.ended(Outcome::Yes, "hit").warned("could not be loaded");
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
    refused(&project, "images are built from one another: `app` from `base` from `app`", "another name");
    let own = Project::app();
    fs::write(own.root.join("uses-of-Dockerfile"), "{\"image\":\"app\"}\n").expect("a file");
    refused(&own, "images are built from one another: `app` from `app`", "another name");
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

#[test]
fn what_looks_like_a_variable_is_warned_of() {
    let result = Project::new("[image.app]\nargs = { SHA = \"${GIT_SHA}\" }\n").bake();
    result.ended(Outcome::Yes, "built").saved(true).warned("`args.SHA` is the text `${GIT_SHA}`");
}

/// Takes one line, and then nobody reads any more; or takes none, for another reason.
struct Ends(usize, std::io::ErrorKind);

impl Write for Ends {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0 == 0 {
            return Err(self.1.into());
        }
        self.0 -= usize::from(bytes.contains(&b'\n'));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_report_that_cannot_be_written_ends_no_bake() {
    use std::io::ErrorKind::{BrokenPipe, StorageFull};
    let bakes = |lines, kind| {
        let docker = format!("case \"$*\" in *Bad*) exit 1;; version*) exit 0;; esac\n{DOCKER}");
        let project =
            Project::new("[image.app]\n[image.bad]\ndockerfile = \"Bad\"\n[image.last]\n").docker(&docker);
        let outcome = project.bake_to(&mut Output::report_to(Ends(lines, kind)));
        let saves = project.calls().iter().filter(|call| call.starts_with("imgtar save")).count();
        (outcome.map_err(|error| error.to_string()), saves)
    };
    for lines in [0, 1, 2] {
        assert_eq!(bakes(lines, BrokenPipe), (Ok(Outcome::Code(2)), 2));
    }
    assert_eq!(bakes(1, StorageFull), (Err("cannot write the report".to_owned()), 2));
}

const PACK_HASH: &str = "hashctx --manifest --ignore docker --input pack.platform=P d";
const PACK_TAR: &str = "hashctx -q --tar --key-file T/key --ignore docker --input pack.platform=P d";
const ENGINE: &str = "docker version --format {{.Server.Version}}";

#[test]
fn a_pack_needs_no_engine() {
    let pack = "imgtar pack KEY -q T/files.tar --platform P --name app:latest --manifest T/manifest";
    let calls = [PACK_HASH, "imgtar has KEY -q", PACK_TAR, pack, ENGINE];
    Project::packed().bake().ended(Outcome::Yes, "built").saved(true).silent().called(&calls);
    let result = Project::packed().without("docker").tool("imgtar", "true").bake();
    result.ended(Outcome::Yes, "hit").silent().called(&[PACK_HASH, "imgtar has KEY -q"]);
}

#[test]
fn a_pack_is_loaded_where_an_engine_answers() {
    let result = Project::packed().tool("docker", "true").tool("imgtar", "true").bake();
    result.ended(Outcome::Yes, "hit").called(&[PACK_HASH, "imgtar has KEY -q", ENGINE, LOAD]);
}

#[test]
fn a_pack_that_the_store_does_not_take_goes_to_the_engine() {
    let imgtar = "case \"$*\" in *--store*) exit 0;; esac; exit 2";
    let result = Project::packed().tool("docker", "true").tool("imgtar", imgtar).bake();
    result.ended(Outcome::Yes, "built").saved(false).warned("not saved");
    assert_eq!(
        result.calls.last().expect("a call"),
        "imgtar load KEY --store T/store -q --json --engine docker --tag app:latest"
    );
}

#[test]
fn a_pack_without_store_and_engine_fails() {
    let result = Project::packed().tool("imgtar", "exit 2").bake();
    let error = result.ended(Outcome::Code(2), "failed").report[0]["error"].to_string();
    assert!(error.contains("no place"), "{error}");
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
fn an_unknown_name_names_the_known_ones() {
    let project = Project::app().with(|options| options.names = vec!["ap".into()]);
    refused(&project, "larder.toml has no image `ap`", "it has `app`");
}

#[test]
fn a_project_without_an_image_is_refused() {
    for text in ["", "[gcctl]\n[image]\n"] {
        for check in [false, true] {
            let project = Project::new(text).with(|options| options.check = check);
            refused(&project, "`larder.toml` names no image", "write `[image.NAME]`");
        }
    }
}

#[track_caller]
fn refused(project: &Project, message: &str, help: &str) {
    let config = config::load(&project.root.join("larder.toml")).expect("a good file");
    let runner = Runner::new(project.root.clone(), Verbosity::Quiet, Children::default());
    let tools = Tools::all_in(&project.root.join("bin"));
    let error = bake(&config, &project.options, &tools, &runner, &mut Vec::new()).expect_err("no bake");
    assert_eq!(error.to_string(), message);
    let said = miette::Diagnostic::help(&error).expect("help").to_string();
    assert!(said.contains(help), "help is `{said}`");
}
