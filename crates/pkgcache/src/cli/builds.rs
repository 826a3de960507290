//! A command of `run` that builds an image: the same command, with a Dockerfile whose steps are led
//! to the cache.

use std::ffi::OsString;
use std::fs;
use std::process::{Command, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use miette::{IntoDiagnostic, Result, WrapErr};
use pkgcache::Ecosystem;
use pkgcache::builds::command::BuildCommand;
use pkgcache::builds::dockerfile;
use pkgcache::builds::{Doors, Engine};
use pkgcache::clients::pointers::Here;
use storekit::files::replace::{self, Durability};
use storekit::printable;
use toolkit::{Environment, output};

/// The command as it is to be run; files for it go into the folder. One that builds no image stays
/// as it is.
pub(crate) fn led_here(
    words: &[OsString],
    here: &Here,
    environment: &Environment,
    folder: &Utf8Path,
) -> Result<Vec<OsString>> {
    let texts: Option<Vec<String>> = words.iter().map(|word| word.clone().into_string().ok()).collect();
    let Some(command) = texts.as_deref().and_then(BuildCommand::parse) else { return Ok(words.to_vec()) };
    let candidates = command.dockerfiles();
    let Some(file) = candidates.iter().map(|it| environment.folder.join(it)).find(|it| it.is_file()) else {
        output::say(
            "pkgcache: warning: the build's Dockerfile is not a file here: its steps are not led to the cache",
        );
        return Ok(words.to_vec());
    };
    let text = fs::read_to_string(&file).into_diagnostic();
    let text = text.wrap_err_with(|| format!("cannot read `{file}`"))?;
    let engine = engine(&command, words, environment);
    let written = dockerfile::rewrite(&text, engine, &doors(here));
    if engine == Engine::Classic && here.default_of(Ecosystem::Cargo).is_some() && text.contains("cargo") {
        output::say(
            "pkgcache: warning: docker's classic builder cannot lead cargo to the cache: use BuildKit",
        );
    }
    let folder = folder.join("build");
    fs::create_dir(&folder).into_diagnostic().wrap_err_with(|| format!("cannot make `{folder}`"))?;
    let mut files: Vec<(Utf8PathBuf, &[u8])> = vec![(folder.join("Dockerfile"), written.text.as_bytes())];
    files.extend(written.secrets.iter().map(|secret| (folder.join(secret.id), secret.text.as_bytes())));
    let ignores = ["dockerignore", "containerignore"];
    let ignores = ignores.map(|kind| (kind, fs::read(format!("{file}.{kind}"))));
    for (kind, bytes) in &ignores {
        files.extend(
            bytes.as_ref().ok().map(|bytes| (folder.join(format!("Dockerfile.{kind}")), bytes.as_slice())),
        );
    }
    for (path, bytes) in files {
        replace::replace(&path, bytes, Durability::Unsynced)
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot write `{}`", printable(path.as_str())))?;
    }
    let words = command.through(&written, &folder.join("Dockerfile"), &folder);
    Ok(words.into_iter().map(OsString::from).collect())
}

/// Where the steps find the cache: they have this machine's network.
fn doors(here: &Here) -> Doors {
    let at = |kind| here.default_of(kind).map(|mount| here.at(mount));
    Doors {
        proxy: here.url.clone(),
        apt: here.has_by_proxy(Ecosystem::Apt),
        dnf: here.has_by_proxy(Ecosystem::Dnf),
        python: at(Ecosystem::Python),
        npm: at(Ecosystem::Npm),
        npm_host: here.npm_host().map(str::to_owned),
        cargo: at(Ecosystem::Cargo),
    }
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
