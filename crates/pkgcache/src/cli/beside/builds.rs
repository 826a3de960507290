//! A command of `run` that builds an image: the same command, with a Dockerfile whose steps are led
//! to the cache.

use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::{fs, io};

use camino::Utf8Path;
use miette::{IntoDiagnostic, Result, WrapErr};
use pkgcache::Ecosystem;
use pkgcache::builds::command::BuildCommand;
use pkgcache::builds::context::{self, Passed};
use pkgcache::builds::dockerfile::{self, Rewritten};
use pkgcache::builds::{Doors, Engine, Models, Vendor};
use pkgcache::clients::pointers::Here;
use storekit::files::replace::{self, Durability};
use storekit::printable;
use toolkit::{Environment, output};

/// A command as it is to be run.
pub(crate) struct Led {
    pub(crate) words: Vec<OsString>,
    /// What comes to it on standard input, where that has its Dockerfile.
    pub(crate) piped: Option<Piped>,
}

/// A context on standard input, whose Dockerfile is led.
pub(crate) struct Piped {
    names: Vec<String>,
    engine: Engine,
    doors: Doors,
}

impl Piped {
    /// Passes our standard input on to the build, on a thread of its own: it may never end.
    pub(crate) fn pass_on(self, mut to: fs::File) {
        std::thread::spawn(move || {
            let lead = |text: &str| {
                let written = dockerfile::rewrite(text, self.engine, &self.doors);
                warn_of_unled(&written);
                written.text
            };
            let why = match context::pass(&mut io::stdin().lock(), &mut to, &self.names, &lead) {
                Ok(Passed::Led) => return,
                Ok(Passed::Without) => "no Dockerfile is in the context on standard input".to_owned(),
                Ok(Passed::Unread) => "what comes on standard input is no plain tar".to_owned(),
                // Nobody reads it any more.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return,
                Err(error) => format!("cannot pass standard input on: {error}"),
            };
            // Before the pipe is closed: the build goes on then, and may be at its end soon.
            warn(&format!("{why}: the build's steps are not led to the cache"));
        });
    }
}

/// The command as it is to be run; files for it go into the folder. One that builds no image stays
/// as it is.
pub(crate) fn led_here(
    words: &[OsString],
    (here, authorities): (&Here, Option<&str>),
    environment: &Environment,
    folder: &Utf8Path,
) -> Result<Led> {
    let unled = || Led { words: words.to_vec(), piped: None };
    let texts: Option<Vec<String>> = words.iter().map(|word| word.clone().into_string().ok()).collect();
    let Some(command) = texts.as_deref().and_then(BuildCommand::parse) else { return Ok(unled()) };
    let candidates = command.dockerfiles();
    let file = candidates.iter().map(|it| environment.folder.join(it)).find(|it| it.is_file());
    if file.is_none() && !command.reads_stdin() {
        warn("the build's Dockerfile is not a file here: its steps are not led to the cache");
        return Ok(unled());
    }
    let (engine, doors) = (engine(&command, words, environment), doors(here, authorities));
    let folder = folder.join("build");
    fs::create_dir(&folder).into_diagnostic().wrap_err_with(|| format!("cannot make `{folder}`"))?;
    let Some(file) = file else {
        let needs = dockerfile::beforehand(engine, &doors);
        write_secrets(&needs, &folder)?;
        let words = command.through(&needs, None, &folder).into_iter().map(OsString::from).collect();
        return Ok(Led { words, piped: Some(Piped { names: command.inner_dockerfiles(), engine, doors }) });
    };
    let text = fs::read_to_string(&file).into_diagnostic();
    let text = text.wrap_err_with(|| format!("cannot read `{file}`"))?;
    let written = dockerfile::rewrite(&text, engine, &doors);
    warn_of_unled(&written);
    let own = folder.join("Dockerfile");
    write(&own, written.text.as_bytes())?;
    for kind in ["dockerignore", "containerignore"] {
        if let Ok(bytes) = fs::read(format!("{file}.{kind}")) {
            write(&folder.join(format!("Dockerfile.{kind}")), &bytes)?;
        }
    }
    write_secrets(&written, &folder)?;
    let words = command.through(&written, Some(&own), &folder).into_iter().map(OsString::from).collect();
    Ok(Led { words, piped: None })
}

fn warn_of_unled(written: &Rewritten) {
    if written.has_untold {
        warn(
            "a step that asks for models or Go's modules, or names a vendor's index, is JSON or a here-document, has that in single quotes or in a shell of its own, \
             or begins with options on several lines: it is not led to the cache",
        );
    }
    if written.has_unintercepted {
        warn(
            "a step that docker's classic builder runs, is JSON or a here-document, or begins with options on several lines \
             is not told of intercepted hosts: it reaches them past the cache",
        );
    }
    if written.has_unled {
        warn(
            "docker's classic builder cannot lead apt, cargo and uv to the cache in steps that are \
             JSON, and apt and cargo in steps with `exec` or `trap`: use BuildKit",
        );
    }
}

fn warn(text: &str) {
    output::say(&format!("pkgcache: warning: {text}"));
}

fn write_secrets(written: &Rewritten, folder: &Utf8Path) -> Result<()> {
    written.secrets.iter().try_for_each(|secret| write(&folder.join(secret.id), secret.text.as_bytes()))
}

fn write(path: &Utf8Path, bytes: &[u8]) -> Result<()> {
    replace::replace(path, bytes, Durability::Unsynced)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot write `{}`", printable(path.as_str())))
}

/// Whether nothing that the command does is left to an engine's own cache, whose steps fetch
/// nothing.
pub(crate) fn is_complete(words: &[OsString]) -> bool {
    let texts: Option<Vec<String>> = words.iter().map(|word| word.clone().into_string().ok()).collect();
    texts.as_deref().and_then(BuildCommand::parse).is_none_or(|command| command.from_scratch)
}

/// Where the steps find the cache: they have this machine's network.
fn doors(here: &Here, authorities: Option<&str>) -> Doors {
    let at = |kind| here.default_of(kind).map(|mount| here.at(mount));
    Doors {
        proxy: here.url.clone(),
        apt: here.hosts_by_proxy(Ecosystem::Apt).into_iter().map(str::to_owned).collect(),
        dnf: here.has_by_proxy(Ecosystem::Dnf),
        python: at(Ecosystem::Python),
        npm: at(Ecosystem::Npm),
        npm_host: here.npm_host().map(str::to_owned),
        cargo: at(Ecosystem::Cargo),
        go: here.go_proxies(),
        huggingface: at(Ecosystem::HuggingFace).map(|url| url.trim_end_matches('/').to_owned()),
        vendors: vendors(here),
        ollama: models(here),
        authorities: authorities.map(str::to_owned),
    }
}

/// The vendors' indexes that are mounted.
pub(crate) fn vendors(here: &Here) -> Vec<Vendor> {
    let mounts = here.mounts.iter().filter(|mount| here.is_vendors(mount));
    mounts.filter_map(|mount| Vendor::new(&mount.url, &here.at(mount))).collect()
}

/// The models that Ollama finds here.
pub(crate) fn models(here: &Here) -> Option<Models> {
    here.models.as_ref().and_then(|name| Models::new(name, here.authority()))
}

/// Who builds: with docker that hangs on a variable, and on what the client has.
fn engine(command: &BuildCommand, words: &[OsString], environment: &Environment) -> Engine {
    if command.podman {
        return Engine::Podman;
    }
    let set = environment.get("DOCKER_BUILDKIT").map(|value| !matches!(value, "0" | "false" | ""));
    if set.unwrap_or(command.buildx) {
        return Engine::BuildKit;
    }
    let program = words.first().cloned().unwrap_or_default();
    let says = |args: &[&str]| {
        let ran = Command::new(&program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).output();
        ran.ok().filter(|it| it.status.success()).map(|it| String::from_utf8_lossy(&it.stdout).into_owned())
    };
    // Since 23, a client that has buildx builds with it.
    let major = |text: String| text.split('.').next().and_then(|it| it.trim().parse::<u32>().ok());
    let newer =
        || says(&["version", "--format", "{{.Client.Version}}"]).and_then(major).is_some_and(|it| it >= 23);
    let builds = set.is_none() && newer() && says(&["buildx", "version"]).is_some();
    if builds { Engine::BuildKit } else { Engine::Classic }
}
