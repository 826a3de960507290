//! A bake where nothing changed, beside builds where all is cached; and builds side by side.
//!
//! The images are the engine's already: what is measured is how long it takes to know that. What
//! larder itself takes of that is the difference to a shell that runs the same commands: those that
//! `-v` prints.

use std::fmt::Write as _;
use std::time::Duration;

use camino::Utf8Path;

use super::basics::{say, sh, write};
use super::race::{Contender, Race};
use larder::process::command::Cmd;
use larder::process::runner::{RunError, Runner, succeeded};
use larder::process::tools::Tools;

/// A label by which all that is made here is removed again.
const LABEL: &str = "larder.bench";

/// Images of one file, and how long a bake of all may take.
const FILES: [(u32, Duration); 3] =
    [(1, Duration::from_millis(100)), (10, Duration::from_millis(300)), (100, Duration::from_secs(2))];

/// What larder may take beside the tools that it runs.
const OWN_SHARE: Duration = Duration::from_millis(15);

/// How many files the context of the first image has.
const CONTEXT: u32 = 10_000;

/// Makes the projects, bakes each once, and says what is to be timed.
///
/// # Errors
/// A project that cannot be made or baked.
pub(super) fn races(tools: &Tools, runner: &Runner, folder: &Utf8Path) -> Result<Vec<Race>, RunError> {
    let larder = &tools.folder(runner.folder()).unwrap_or_default().join("larder");
    let mut races = Vec::new();
    for (count, limit) in FILES {
        say(&format!("making a project of {count} images"));
        let project = folder.join(format!("p{count}"));
        make(&project, count)?;
        let bake = bake(larder, &project, &folder.join("store"), "");
        succeeded(&bake, runner.ask(&bake)?.0)?;
        let builds = format!(
            "cd {project} && for n in $(seq 0 {}); do DOCKER_BUILDKIT=1 docker build -q -t larder-bench-{count}-$n i$n || exit; done",
            count - 1
        );
        let built = sh(builds.clone());
        succeeded(&built, runner.ask(&built)?.0)?;
        let mut contenders = vec![
            Contender::new("larder bake", bake.clone()).within(limit),
            Contender::new("docker build, all cached", sh(builds)),
            Contender::new("docker-compose build, all cached", compose(&project, count)?),
        ];
        // Of several images larder runs the commands side by side.
        if count == 1 {
            let commands = commands(larder, &project, &folder.join("store"), runner)?;
            contenders
                .push(Contender::new("the same commands by a shell", commands).at_most_behind(OWN_SHARE));
        }
        races.push(Race {
            title: format!("nothing changed, {count} images in the engine ({} files each)", files(count)),
            rounds: if count < 100 { 9 } else { 3 },
            memory: None,
            contenders,
        });
    }
    races.extend(side_by_side(larder, runner, folder)?);
    Ok(races)
}

/// Four independent images that sleep for three seconds each, at once and one after the other, each
/// time into an empty store. They need a shell: `None` where `LARDER_TEST_BASE` names no root file
/// system.
fn side_by_side(larder: &Utf8Path, runner: &Runner, folder: &Utf8Path) -> Result<Option<Race>, RunError> {
    let base = "larder-bench-base";
    let is_there = sh("test -s \"$LARDER_TEST_BASE\"".to_owned());
    if !runner.ask(&is_there)?.0.success() {
        say("builds side by side are left out: LARDER_TEST_BASE names no root file system");
        return Ok(None);
    }
    let pulled = pulled(base, &larder.with_file_name("imgtar"), &folder.join("registry"));
    succeeded(&pulled, runner.ask(&pulled)?.0)?;
    let project = folder.join("sleeping");
    let mut toml = String::new();
    for n in 0..4 {
        let dockerfile = format!("FROM {base}\nLABEL {LABEL}=1 n={n}\nRUN sleep 3\n");
        write(&project.join(format!("s{n}/Dockerfile")), &dockerfile)?;
        toml.push_str(&table(&format!("s{n}"), &format!("larder-bench-s{n}")));
    }
    write(&project.join("larder.toml"), &toml)?;
    let rebuild = |jobs: &str| {
        let store = folder.join(format!("store{jobs}"));
        bake(larder, &project, &store, &format!("--rebuild {jobs}"))
    };
    Ok(Some(Race {
        title: "four independent images of `RUN sleep 3`, from scratch".to_owned(),
        rounds: 1,
        memory: None,
        contenders: vec![
            Contender::new("larder bake -j4", rebuild("-j4")).within(Duration::from_secs(7)),
            Contender::new("larder bake -j1", rebuild("-j1")),
        ],
    }))
}

/// Gives docker a base as it has one for most builds: pulled from a registry.
fn pulled(base: &str, imgtar: &Utf8Path, store: &Utf8Path) -> Cmd {
    sh(format!(
        "set -e; docker import -c 'LABEL {LABEL}=1' \"$LARDER_TEST_BASE\" {base}; \
         {imgtar} --store {store} save base {base} -q; docker rmi {base}; \
         {imgtar} --store {store} serve --listen 127.0.0.1:0 >{store}.address & trap 'kill $!' EXIT; \
         until [ -s {store}.address ]; do kill -0 $!; sleep 0.05; done; \
         from=$(sed 's,.*//,,' {store}.address)/{base}; \
         docker pull -q $from; docker tag $from {base}; docker rmi $from"
    ))
}

fn bake(larder: &Utf8Path, project: &Utf8Path, store: &Utf8Path, flags: &str) -> Cmd {
    sh(format!("cd {project} && LARDER_DIR={store} {larder} bake --engine docker -q {flags}"))
}

/// A build of the same images as services of a compose file, by BuildKit.
fn compose(project: &Utf8Path, count: u32) -> Result<Cmd, RunError> {
    let mut services = "version: '3.7'\nservices:\n".to_owned();
    for n in 0..count {
        let _ = writeln!(services, "  i{n}: {{ build: i{n}, image: larder-bench-{count}-{n} }}");
    }
    write(&project.join("docker-compose.yml"), &services)?;
    let build = "DOCKER_BUILDKIT=1 COMPOSE_DOCKER_CLI_BUILD=1 docker-compose build -q";
    Ok(sh(format!("cd {project} && {build} >compose.log 2>&1")))
}

/// The commands that a bake of the project runs, one after the other.
fn commands(
    larder: &Utf8Path,
    project: &Utf8Path,
    store: &Utf8Path,
    runner: &Runner,
) -> Result<Cmd, RunError> {
    let told = sh(format!("cd {project} && LARDER_DIR={store} {larder} bake --engine docker -v 2>&1 >told"));
    let (status, text) = runner.ask(&told)?;
    succeeded(&told, status)?;
    let text = String::from_utf8_lossy(&text);
    let commands: String =
        text.lines().filter_map(|line| line.strip_prefix("+ ")).flat_map(|line| [line, "\n"]).collect();
    Ok(sh(format!("set -e; export LARDER_DIR={store}\n{{ {commands}}} >{project}/commands.log")))
}

fn files(count: u32) -> u32 {
    if count == 1 { CONTEXT } else { 10 }
}

fn make(project: &Utf8Path, count: u32) -> Result<(), RunError> {
    let mut toml = String::new();
    for n in 0..count {
        let image = project.join(format!("i{n}"));
        let dockerfile = format!("FROM scratch\nLABEL {LABEL}=1 n={n}-{count}\nCOPY . /\n");
        write(&image.join("Dockerfile"), &dockerfile)?;
        for file in 0..files(count) {
            write(&image.join(format!("d{}/f{file}", file % 100)), &format!("{n} {file}\n"))?;
        }
        toml.push_str(&table(&format!("i{n}"), &format!("larder-bench-{count}-{n}")));
    }
    write(&project.join("larder.toml"), &toml)
}

/// An image of the folder that has its name.
fn table(name: &str, tag: &str) -> String {
    format!("[image.{name}]\ncontext = \"{name}\"\ntags = [\"{tag}\"]\n")
}

/// Removes the images that were made.
pub(super) fn clean(runner: &Runner) {
    let script = format!("docker images -q --filter label={LABEL} | sort -u | xargs -r docker rmi -f");
    // What stays is said by nobody: it is only in the way of a disk.
    let _ = runner.ask(&sh(script));
}
