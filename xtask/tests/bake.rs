//! The course of a bake, with stand-ins for the tools: small scripts that note how they were called.

#![expect(clippy::disallowed_methods, reason = "tests write what they like")]

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use tempfile::TempDir;
use toolkit::Outcome;
use xtask::bake::{Options, bake};
use xtask::children::Children;
use xtask::config;
use xtask::runner::{Runner, Verbosity};
use xtask::tools::Tools;

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
    *' --manifest '*) cat source;;
    *' --tar '*) while [ $1 != --key-file ]; do shift; done; cat key-of-$(cat source) >\"$2\"; printf TAR;;
    esac";
const IMGTAR: &str = "case $1 in has|load) exit 1;; esac";
const DOCKER: &str = "case $1 in
    buildx) exit 1;;
    --version) echo 'Docker version 20.10.24, build 297e128';;
    version) exit 1;;
    image) exit 1;;
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
        project.tool("hashctx", HASHCTX).tool("imgtar", IMGTAR).tool("docker", DOCKER)
    }

    fn app() -> Self {
        Self::new("[image.app]\n")
    }

    fn packed() -> Self {
        Self::new("[image.app]\nplatform = \"linux/amd64\"\npack = { dir = \"d\" }\n")
    }

    fn tool(self, name: &str, script: &str) -> Self {
        let path = self.root.join("bin").join(name);
        // The temporary folder's name is different each time: it is noted as T.
        let note = "echo \"${0##*/} $*\" | sed 's#/[^ ]*/bake-[^ /]*#T#g' >>calls";
        // Written by another process: while this one holds the file open, a test beside it may fork, and the script
        // would be "busy".
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
        self.tool("docker", &DOCKER.replace("version) exit 1", "version) exit 0"))
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
        let project = config::load(&self.root.join("larder.toml")).expect("a good file");
        let runner = Runner::new(self.root.clone(), Verbosity::Quiet, Children::default());
        let mut out = Vec::new();
        let tools = Tools::all_in(&self.root.join("bin"));
        let outcome = bake(&project, &self.options, &tools, &runner, &mut out).expect("it ran");
        let report = String::from_utf8(out).expect("UTF-8");
        let report = report.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        Result { outcome, report, calls: self.calls() }
    }

    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.root.join("calls")).unwrap_or_default();
        let key = blake3::hash(b"one").to_hex();
        calls.lines().map(|line| line.replace(key.as_str(), "KEY")).collect()
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

const HASH: &str = "hashctx --manifest -f Dockerfile .";
const DOUBTS: &str = "hashctx -q --json";
const AGAIN: &str = "hashctx -q --manifest -f Dockerfile .";
const LOAD: &str = "imgtar load KEY -q --json --engine docker --tag app:latest";
const PROBE: [&str; 2] = ["docker buildx version", "docker --version"];
const BUILD: &str = "docker build --iidfile T/id -f Dockerfile -t app:latest .";
const SAVE: &str = "imgtar save KEY -q sha256:cafe --engine docker --name app:latest --manifest T/manifest";

#[test]
fn a_hit_is_loaded_and_nothing_else() {
    let result = Project::app().tool("imgtar", "true").bake();
    result.ended(Outcome::Yes, "hit").saved(true).silent().called(&[HASH, LOAD]);
}

#[test]
fn a_report_in_json_asks_once_what_could_make_the_key_lie() {
    let result = Project::app().tool("imgtar", "true").bake();
    assert_eq!(result.calls, [HASH, &format!("{DOUBTS} -f Dockerfile ."), LOAD]);
}

#[test]
fn a_miss_is_built_hashed_again_and_saved() {
    let calls = [HASH, LOAD, PROBE[0], PROBE[1], BUILD, AGAIN, SAVE];
    Project::app().bake().ended(Outcome::Yes, "built").saved(true).silent().called(&calls);
}

#[test]
fn an_edit_during_the_build_is_never_saved() {
    let docker = DOCKER.replace("build) ", "build) printf two >source; ");
    let result = Project::app().tool("docker", &docker).bake();
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
    let result = project.tool("docker", &docker).bake();
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
    project.bake().ended(Outcome::No, "stale").called(&[HASH, "imgtar has KEY -q"]);
    let project = Project::app().tool("imgtar", "true").with(|options| options.check = true);
    project.bake().ended(Outcome::Yes, "hit").called(&[HASH, "imgtar has KEY -q"]);
}

#[test]
fn a_rebuild_asks_no_cache_and_saves_over() {
    let result = Project::app().tool("imgtar", "true").with(|options| options.rebuild = true).bake();
    let build = "docker build --iidfile T/id --no-cache -f Dockerfile -t app:latest .";
    let save = format!("{SAVE} --force");
    result.ended(Outcome::Yes, "built").called(&[HASH, PROBE[0], PROBE[1], build, AGAIN, &save]);
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
    let hash = "hashctx -q --manifest -f Dockerfile --ignore all .".to_owned();
    let docker = DOCKER.replace("build) ", "build) [ \"$(cat)\" = TAR ] || exit 9; ");
    let result = Project::new("[image.app]\nignore = \"all\"\n").tool("docker", &docker).bake();
    result.ended(Outcome::Yes, "built").saved(true);
    assert!(
        result.calls.contains(&"hashctx --tar --key-file T/key -f Dockerfile --ignore all .".to_owned()),
        "{:?}",
        result.calls
    );
    assert!(result.calls.iter().any(|call| call.starts_with("docker build") && call.ends_with(" -")));
    // What git hides is no secret input there, and hashctx is not to warn of it.
    assert_eq!(result.calls.first(), Some(&hash));
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
    let docker = DOCKER.replace("image) exit 1", "image) echo sha256:other");
    let project = Project::new("[image.app]\nbase = { \"base:1\" = \"sha256:01\" }\n");
    project
        .tool("docker", &docker)
        .bake()
        .ended(Outcome::Yes, "built")
        .saved(false)
        .warned("`base:1` is not");
}

#[test]
fn the_old_builder_is_not_trusted_with_an_ignore_file_of_its_own() {
    let docker = DOCKER.replace("version 20.10.24", "version 28.2.2");
    let project = Project::app().tool("docker", &docker);
    fs::write(project.root.join("Dockerfile.dockerignore"), "x\n").expect("a file");
    project.bake().ended(Outcome::Yes, "built").saved(false).warned("no BuildKit");
}

const PACK_HASH: &str = "hashctx --manifest --ignore docker --input pack.platform=linux/amd64 d";
const PACK_TAR: &str =
    "hashctx -q --tar --key-file T/key --ignore docker --input pack.platform=linux/amd64 d";
const ENGINE: &str = "docker version --format {{.Server.Version}}";

#[test]
fn a_pack_needs_no_engine() {
    let pack =
        "imgtar pack KEY -q T/files.tar --platform linux/amd64 --name app:latest --manifest T/manifest";
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
    let hash = "hashctx --store /some/where --manifest -f Dockerfile .";
    let doubts = "hashctx --store /some/where -q --json -f Dockerfile .";
    let load = "imgtar load KEY --store /some/where -q --json --engine docker --tag app:latest";
    result.called(&[hash, doubts, load]);
}

#[test]
fn an_unknown_name_names_the_known_ones() {
    let project = Project::app().with(|options| options.names = vec!["ap".into()]);
    refused(&project, "larder.toml has no image `ap`", "it has `app`");
}

#[test]
fn a_project_without_an_image_is_refused() {
    refused(
        &Project::new("[imag.app]\n"),
        "`larder.toml` names no image",
        "is `[imag]` meant to be `[image]`?",
    );
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
    let tools = Tools::all_in(Utf8Path::new("/none"));
    let error = bake(&config, &project.options, &tools, &runner, &mut Vec::new()).expect_err("no such image");
    assert_eq!(error.to_string(), message);
    let said = miette::Diagnostic::help(&error).expect("help").to_string();
    assert!(said.contains(help), "help is `{said}`");
}
