//! A project whose tools are stand-ins.

use std::fs;
use std::io::Write;

use camino::Utf8PathBuf;
use larder::bake::{BakeError, Options, bake};
use larder::config;
use larder::process::children::Children;
use larder::process::runner::{Runner, Verbosity};
use larder::process::tools::Tools;
use larder::tier::Route;
use larder_tests::stand_in;
use tempfile::TempDir;
use toolkit::Outcome;

/// A project with stand-ins. Each notes its call in `calls`, then does what its script says.
pub(crate) struct Project {
    _dir: TempDir,
    pub(crate) root: Utf8PathBuf,
    pub(crate) options: Options,
}

/// What came of a bake.
pub(crate) struct Result {
    pub(crate) outcome: Outcome,
    pub(crate) report: Vec<serde_json::Value>,
    pub(crate) calls: Vec<String>,
}

pub(crate) const HASHCTX: &str = "case \" $* \" in
    *' --images '*) while [ $1 != -f ]; do shift; done; cat uses-of-$2 2>/dev/null || true;;
    *' --manifest '*) cat source;;
    *' --tar '*) while [ $1 != --key-file ]; do shift; done; cat key-of-$(cat source) >\"$2\"; printf TAR;;
    esac";
pub(crate) const IMGTAR: &str = "case $1 in has|load) exit 1;; esac";
pub(crate) const DOCKER: &str = "case $1 in
    buildx) exit 1;;
    --version) echo 'Docker version 20.10.24, build 297e128';;
    version) exit 1;;
    image) [ \"$3\" = sha256:cafe ] && echo '[{\"Id\":\"sha256:cafe\",\"Os\":\"OS\",\"Architecture\":\"ARCH\"}]';;
    build) case \"$*\" in *' -') cat >/dev/null;; esac
       while [ $# -gt 0 ]; do [ $1 = --iidfile ] && echo sha256:cafe >$2; shift; done;;
    esac";

impl Project {
    pub(crate) fn new(toml: &str) -> Self {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).expect("UTF-8");
        fs::create_dir(root.join("bin")).expect("a folder");
        fs::write(root.join("source"), "one").expect("a file");
        for word in ["one", "two"] {
            let key = blake3::hash(word.as_bytes()).to_hex();
            fs::write(root.join(format!("key-of-{word}")), format!("{key}\n")).expect("a file");
        }
        // What is in them only the stand-ins say.
        let named = toml.split("dockerfile = \"").skip(1).filter_map(|rest| rest.split('"').next());
        for file in named.chain(["Dockerfile"]) {
            fs::write(root.join(file), "").expect("a file");
        }
        fs::write(root.join("larder.toml"), toml).expect("a file");
        let options = Options { json: true, ..Options::default() };
        let project = Self { _dir: dir, root, options };
        project.tool("hashctx", HASHCTX).tool("imgtar", IMGTAR).docker(DOCKER)
    }

    /// A stand-in for docker that builds for the platform of this machine.
    pub(crate) fn docker(self, script: &str) -> Self {
        self.tool("docker", &script.replace("OS", "linux").replace("ARCH", arch()))
    }

    pub(crate) fn app() -> Self {
        Self::new("[image.app]\n")
    }

    pub(crate) fn packed() -> Self {
        Self::new("[image.app]\npack = { dir = \"d\" }\n")
    }

    pub(crate) fn tool(self, name: &str, script: &str) -> Self {
        let path = self.root.join("bin").join(name);
        // The temporary folder's name is different each time: it is noted as T.
        let note = "echo \"${0##*/} $*\" | sed 's#/[^ ]*/larder-bake-[^ /]*#T#g; s#larder-build:[^ ]*#larder-build:T#g' >>calls";
        stand_in(path, &format!("{note}\n{script}"));
        self
    }

    /// With an engine whose daemon answers.
    pub(crate) fn answering(self) -> Self {
        self.docker(&DOCKER.replace("version) exit 1", "version) exit 0"))
    }

    pub(crate) fn without(self, name: &str) -> Self {
        fs::remove_file(self.root.join("bin").join(name)).expect("a file");
        self
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }

    /// With the tiers of the only profile.
    pub(crate) fn with_route(self, read_only: bool) -> Self {
        let project = loaded(&self.root);
        let route = Route::of(&project, project.profiles.first(), read_only);
        self.with(|options| options.route = route)
    }

    pub(crate) fn bake(&self) -> Result {
        let mut out = Vec::new();
        let outcome = self.bake_to(&mut out).expect("it ran");
        let report = String::from_utf8(out).expect("UTF-8");
        let report = report.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        Result { outcome, report, calls: self.calls() }
    }

    pub(crate) fn bake_to(&self, out: &mut impl Write) -> std::result::Result<Outcome, BakeError> {
        let project = loaded(&self.root);
        let runner = Runner::new(self.root.clone(), Verbosity::Quiet, Children::default());
        let tools = Tools::all_in(&self.root.join("bin"));
        bake(&project, &self.options, &tools, &runner, out)
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.root.join("calls")).unwrap_or_default();
        let key = blake3::hash(b"one").to_hex();
        let platform = format!("linux/{}", arch());
        calls.lines().map(|line| line.replace(key.as_str(), "KEY").replace(&platform, "P")).collect()
    }
}

/// This machine's architecture, as images have it.
pub(crate) fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Result {
    #[track_caller]
    pub(crate) fn ended(&self, outcome: Outcome, state: &str) -> &Self {
        assert_eq!((self.outcome, &self.report[0]["state"]), (outcome, &state.into()), "{:?}", self.report);
        self
    }

    #[track_caller]
    pub(crate) fn called(&self, calls: &[&str]) -> &Self {
        // How long a build took is not a fact about the calls.
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
    pub(crate) fn never_called(&self, start: &str) -> &Self {
        assert!(!self.calls.iter().any(|call| call.starts_with(start)), "{:?}", self.calls);
        self
    }

    #[track_caller]
    pub(crate) fn saved(&self, saved: bool) -> &Self {
        assert_eq!(self.report[0]["saved"], saved, "{:?}", self.report);
        self
    }

    #[track_caller]
    pub(crate) fn warned(&self, text: &str) -> &Self {
        let warnings = self.report[0]["warnings"].to_string();
        assert!(warnings.contains(text), "warnings are {warnings}");
        self
    }

    #[track_caller]
    pub(crate) fn because(&self, reason: &str) -> &Self {
        assert_eq!(self.report[0]["reason"], reason, "{:?}", self.report);
        self
    }

    #[track_caller]
    pub(crate) fn silent(&self) -> &Self {
        assert_eq!(self.report[0]["warnings"], serde_json::json!([]));
        self
    }
}

pub(crate) const USES: &str = "hashctx --images --json -f Dockerfile --platform P";
pub(crate) const HASH: &str = "hashctx --manifest -f Dockerfile --platform P .";
pub(crate) const DOUBTS: &str = "hashctx -q --json";
pub(crate) const AGAIN: &str = "hashctx -q --manifest -f Dockerfile --platform P .";
pub(crate) const LOAD: &str = "imgtar load KEY -q --json --engine docker --tag app:latest";
pub(crate) const PROBE: [&str; 2] = ["docker buildx version", "docker --version"];
pub(crate) const BUILD: &str = "docker build --iidfile T/id -t larder-build:T -f Dockerfile --platform P .";
/// Asked after a build: for which platform it was, and whether it was built from the same images.
pub(crate) const MADE: &str = "docker image inspect sha256:cafe";
pub(crate) const SAVE: &str =
    "imgtar save KEY -q sha256:cafe --engine docker --name app:latest --image app --manifest T/manifest";
/// What is built gets its name when it is saved.
pub(crate) const TAG: &str = "docker tag sha256:cafe app:latest";
/// And the name goes that it had till then.
pub(crate) const UNTAG: &str = "docker rmi --no-prune larder-build:T";

/// The bake does not begin, and says this.
#[track_caller]
pub(crate) fn refused(project: &Project, message: &str, help: &str) {
    let config = loaded(&project.root);
    let runner = Runner::new(project.root.clone(), Verbosity::Quiet, Children::default());
    let tools = Tools::all_in(&project.root.join("bin"));
    let error = bake(&config, &project.options, &tools, &runner, &mut Vec::new()).expect_err("no bake");
    let text = error.to_string();
    assert_eq!(text.replace(&format!("{}/", project.root), ""), message);
    let said = miette::Diagnostic::help(&error).expect("help").to_string();
    assert!(said.contains(help), "help is `{said}`");
}

/// The project's larder.toml, with nothing given beside it.
fn loaded(root: &camino::Utf8Path) -> config::Project {
    let given = config::Given { set: &[], build_args: &[], variables: &|_| None };
    config::load(&root.join("larder.toml"), &given).expect("a good file")
}
