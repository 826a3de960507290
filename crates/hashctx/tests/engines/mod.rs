//! Real engines for tests: builds a context and lists what came out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use larder_tests::isolate;

/// A small generator with a fixed sequence a seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("small")
    }
}

/// Rounds to run: `LARDER_ENGINE_ROUNDS` where it is set.
pub(crate) fn rounds(usual: u64) -> u64 {
    std::env::var("LARDER_ENGINE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(usual)
}

pub(crate) fn write(path: &Path, text: &str) {
    fs::File::create(path).and_then(|mut file| file.write_all(text.as_bytes())).expect("write");
}

/// A way to build.
pub(crate) struct Build {
    program: PathBuf,
    engine: &'static str,
    how: fn(&Build, &Path, &Path) -> Result<(), String>,
}

impl Build {
    /// `LARDER_BUILDKIT` names a program that is called as `docker build` is: for a `BuildKit`
    /// newer than docker's.
    pub(crate) fn buildkit() -> Option<Self> {
        let named = std::env::var("LARDER_BUILDKIT").ok();
        let programs = named.as_deref().map_or(vec!["docker"], |named| vec![named]);
        Self::found("BuildKit through docker", "1", &programs, Self::docker_output)
    }

    pub(crate) fn legacy() -> Option<Self> {
        Self::found("docker's older builder", "0", &["/usr/bin/docker", "docker"], Self::build_and_export)
    }

    pub(crate) fn podman() -> Option<Self> {
        Self::found("podman", "", &["podman"], Self::build_and_export)
    }

    /// The first program that can build an empty image, or None with the reason.
    fn found(
        name: &str,
        engine: &'static str,
        programs: &[&str],
        how: fn(&Self, &Path, &Path) -> Result<(), String>,
    ) -> Option<Self> {
        let temp = tempfile::tempdir().expect("folder");
        write(&temp.path().join("Dockerfile"), "FROM scratch\nCOPY Dockerfile /\n");
        let mut why = String::new();
        for program in programs {
            let build = Self { program: program.into(), engine, how };
            match build.entries(temp.path()) {
                Ok(_) => return Some(build),
                Err(error) => why = error,
            }
        }
        larder_tests::not_run(&format!("{name} cannot build here: {why}"));
        None
    }

    /// Builds the context, a folder or a tar, with its Dockerfile and lists the image's files and
    /// folders.
    pub(crate) fn entries(&self, context: &Path) -> Result<BTreeSet<String>, String> {
        let out = tempfile::tempdir().expect("folder");
        let tar = out.path().join("out.tar");
        (self.how)(self, context, &tar)?;
        let listed = run(Command::new("tar").arg("-tf").arg(&tar).arg("--quoting-style=literal"))?;
        let names = listed.lines().map(|line| line.trim_start_matches("./").trim_end_matches('/').to_owned());
        Ok(names.filter(|name| !name.is_empty() && !of_the_engine(name)).collect())
    }

    /// Builds with a Dockerfile outside of the context. For each path in the image: `file x
    /// CONTENT` or `file - CONTENT` by its executable bit, `link TARGET`, `folder`.
    pub(crate) fn image(
        &self,
        context: &Path,
        dockerfile: &Path,
    ) -> Result<BTreeMap<String, String>, String> {
        let out = tempfile::tempdir().expect("folder");
        let output = format!("type=local,dest={}", out.path().display());
        // BuildKit's own cache is stale where a link leads to the root, or a pattern excludes the
        // file that is named.
        let args = ["build", "-q", "--no-cache", "-o", &output, "-f"];
        run(self.command().args(args).arg(dockerfile).arg(context))?;
        let describe = |path: String| (path.clone(), described(&out.path().join(path)));
        Ok(entries_of(out.path()).into_iter().map(describe).collect())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        isolate(&mut command, "/nonexistent").env("DOCKER_BUILDKIT", self.engine);
        command
    }

    fn docker_output(&self, context: &Path, tar: &Path) -> Result<(), String> {
        let output = format!("type=tar,dest={}", tar.display());
        run(fed(self.command().args(["build", "-q", "-o", &output]), context)).map(drop)
    }

    fn build_and_export(&self, context: &Path, tar: &Path) -> Result<(), String> {
        // Without the cache each build has an image of its own, which nobody else removes.
        let image = run(fed(self.command().args(["build", "-q", "--no-cache"]), context))?;
        let container = run(self.command().args(["create", image.trim(), "none"]))?;
        let exported = run(self.command().args(["export", "-o"]).arg(tar).arg(container.trim()));
        run(self.command().args(["rm", container.trim()]))?;
        run(self.command().args(["rmi", "--force", image.trim()]))?;
        exported.map(drop)
    }
}

/// The command with a folder as its last argument, or with a tar on its stdin.
fn fed<'c>(command: &'c mut Command, context: &Path) -> &'c mut Command {
    if context.is_dir() {
        return command.arg(context);
    }
    command.arg("-").stdin(fs::File::open(context).expect("a tar"))
}

fn described(path: &Path) -> String {
    let meta = path.symlink_metadata().expect("an entry");
    if meta.is_symlink() {
        format!("link {}", fs::read_link(path).expect("link").display())
    } else if meta.is_dir() {
        "folder".to_owned()
    } else {
        let mode = if meta.permissions().mode() & 0o111 == 0 { '-' } else { 'x' };
        format!("file {mode} {}", fs::read_to_string(path).expect("text"))
    }
}

/// hashctx, with its store beside a context.
pub(crate) fn hashctx(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hashctx"));
    isolate(&mut command, "/nonexistent").env("LARDER_DIR", root.with_file_name("store"));
    command
}

/// What `docker create` puts into every container.
fn of_the_engine(name: &str) -> bool {
    name == ".dockerenv"
        || ["dev", "etc", "proc", "sys"].contains(&name.split('/').next().unwrap_or_default())
}

/// Everything below a folder.
pub(crate) fn entries_of(root: &Path) -> BTreeSet<String> {
    let listed =
        run(Command::new("find").arg(root).args(["-mindepth", "1", "-printf", "%P\n"])).expect("find");
    listed.lines().map(ToOwned::to_owned).collect()
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}
