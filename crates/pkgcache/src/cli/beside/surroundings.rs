//! What a command of `run` finds around it: variables, and a folder with what no variable says.

use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::{fs, io};

use camino::{Utf8Path, Utf8PathBuf};
use miette::{IntoDiagnostic, Result, WrapErr};
use pkgcache::Ecosystem;
use pkgcache::builds::dockerfile::PIP_COMMANDS;
use pkgcache::builds::intercepted::{self as intercept, NO_PROXY, PROXY, TRUST, WGETRC};
use pkgcache::clients::pointers::{Here, Pointers};
use pkgcache::clients::{address, dnf};
use storekit::files::replace::{self, Durability};
use tempfile::TempDir;
use tokio::process::{Child, ChildStdin, Command};
use toolkit::Environment;

use crate::cli::beside::builds;
use crate::cli::machine::Machine;
use crate::cli::{ask, doors};

/// No settings file of wget's is larger.
const SMALL: u64 = 1 << 20;

/// Variables and files, which go when this is dropped.
#[derive(Debug)]
pub(crate) struct Surroundings {
    variables: Vec<(String, String)>,
    path: Utf8PathBuf,
    /// The authorities to be trusted, as PEM, where hosts are intercepted.
    authorities: Option<String>,
    /// apt's settings and dnf's, and programs that go before the real ones: `cargo`, `dnf`,
    /// `ollama`, `pip` and `uv`.
    _folder: TempDir,
}

impl Surroundings {
    /// For the clients of a cache. With `authorities`, it intercepts hosts.
    pub(crate) fn new(
        here: &Here,
        authorities: Option<String>,
        machine: &Machine,
        environment: &Environment,
    ) -> Result<Self> {
        let made = tempfile::Builder::new().prefix("pkgcache-").tempdir().into_diagnostic();
        let folder = made.wrap_err("cannot make a temporary folder")?;
        let path = Utf8PathBuf::from_path_buf(folder.path().to_owned());
        let path = path.map_err(|it| miette::miette!("`{}` is not UTF-8", it.display()))?;
        let pointers = here.pointers();
        let mut variables = vec![(doors::URL.to_owned(), here.url.clone())];
        let for_all = pointers.variables.iter().filter(|it| it.client != UV);
        variables.extend(for_all.map(|it| (it.name.clone(), it.value.clone())));
        if let Some(host) = here.npm_host() {
            // npm leads the upstream's own URLs of tarballs here: its lock files keep them.
            variables.push(("npm_config_replace_registry_host".to_owned(), host.to_owned()));
        }
        variables.extend(vendors(here, environment));
        variables.extend(around_proxies(here, authorities.is_some(), environment));
        let bundle = authorities.as_ref().map(|text| trusted(text, &path)).transpose()?;
        if let Some(bundle) = &bundle {
            variables.extend(intercepted(here, bundle, environment, &path)?);
        }
        variables.extend(apt(&pointers, bundle.as_deref(), environment, &path)?);
        let for_uv = uv(&pointers, environment, &path)?;
        let for_pip = pip(&pointers, environment, &path)?;
        let programs = [
            cargo(&pointers, environment, &path)?,
            dnf_here(here, machine, environment, &path)?,
            ollama(here, environment, &path)?,
            !for_uv.is_empty(),
            for_pip.is_some(),
        ];
        variables.extend(for_uv);
        variables.extend(for_pip.unwrap_or_default());
        if programs.contains(&true) {
            let known = environment.get("PATH").unwrap_or_default();
            variables.push(("PATH".to_owned(), format!("{path}/bin:{known}")));
        }
        Ok(Self { variables, path, authorities, _folder: folder })
    }

    /// Starts the command in these surroundings; `None` without a program.
    ///
    /// # Errors
    /// Files of a build that cannot be read or written. Within: a command that cannot be started.
    pub(crate) fn start(
        &self,
        words: &[OsString],
        here: &Here,
        environment: &Environment,
    ) -> Result<Option<io::Result<Child>>> {
        let here = (here, self.authorities.as_deref());
        let builds::Led { words, piped } = builds::led_here(words, here, environment, &self.path)?;
        let Some((program, args)) = words.split_first() else { return Ok(None) };
        // Found as the command's own PATH has it.
        let mut command = Command::new(program);
        command.args(args).envs(self.variables.iter().map(|(name, value)| (name, value)));
        let Some(piped) = piped else { return Ok(Some(command.spawn())) };
        Ok(Some(command.stdin(Stdio::piped()).spawn().and_then(|mut child| {
            let stdin = child.stdin.take().map(ChildStdin::into_owned_fd).transpose()?;
            if let Some(stdin) = stdin {
                piped.pass_on(stdin.into());
            }
            Ok(child)
        })))
    }
}

/// Variables that have the URL of a vendor's index get that of the cache.
fn vendors(here: &Here, environment: &Environment) -> Vec<(String, String)> {
    let vendors = builds::vendors(here);
    let led = |(name, value): (&String, &String)| {
        vendors.iter().find_map(|vendor| vendor.led(value)).map(|value| (name.clone(), value))
    };
    environment.variables.iter().filter_map(led).collect()
}

/// Ollama takes no registry from anywhere: an `ollama` of ours pulls by names that have the cache
/// in them.
fn ollama(here: &Here, environment: &Environment, folder: &Utf8PathBuf) -> Result<bool> {
    let real = ask::find("ollama", environment.get("PATH"));
    let Some((models, real)) = builds::models(here).zip(real) else { return Ok(false) };
    let script = format!("#!/bin/sh\n{}\nollama \"$@\"\n", models.function(&quoted(real.as_str())));
    program(folder, "ollama", &script)?;
    Ok(true)
}

/// The file with the authorities that clients are to trust. Others than this user read it, too, as
/// apt does.
fn trusted(text: &str, folder: &Utf8PathBuf) -> Result<Utf8PathBuf> {
    let path = folder.join("authorities.pem");
    replace::replace(&path, text.as_bytes(), Durability::Unsynced)?;
    open(path.as_ref(), 0o644)?;
    open(folder.as_ref(), 0o711)?;
    Ok(path)
}

/// What leads clients to a cache that intercepts hosts.
fn intercepted(
    here: &Here,
    bundle: &Utf8Path,
    environment: &Environment,
    folder: &Utf8PathBuf,
) -> Result<Vec<(String, String)>> {
    let own = environment.get("HOME").map(|home| Utf8Path::new(home).join(".wgetrc"));
    let own = environment.get(WGETRC).map(Utf8PathBuf::from).or(own);
    let own = own.map(|path| replace::read_capped(&path, SMALL)).transpose()?.flatten().unwrap_or_default();
    let wgetrc = folder.join("wgetrc");
    let text = [own.as_slice(), b"\n", intercept::wgetrc(bundle.as_str()).as_bytes()].concat();
    replace::replace(&wgetrc, &text, Durability::Unsynced)?;
    let proxy = PROXY.map(|name| (name.to_owned(), here.url.clone()));
    let trust = TRUST.map(|name| (name.to_owned(), bundle.to_string()));
    Ok([proxy.to_vec(), trust.to_vec(), vec![(WGETRC.to_owned(), wgetrc.into_string())]].concat())
}

/// A proxy is not for the cache itself; where hosts are intercepted, it is not for what the command
/// serves to itself either.
fn around_proxies(here: &Here, intercepts: bool, environment: &Environment) -> Vec<(String, String)> {
    let local = if intercepts { ",localhost" } else { "" };
    let host = format!("{}{local}", address::host(&here.url));
    let is_proxy = |name: &String| name.to_ascii_lowercase().ends_with("_proxy");
    if !intercepts
        && !environment.variables.keys().any(|name| is_proxy(name) && !name.eq_ignore_ascii_case("no_proxy"))
    {
        return Vec::new();
    }
    let known =
        NO_PROXY.iter().find_map(|name| environment.get(name)).map(|it| format!("{it},")).unwrap_or_default();
    NO_PROXY.map(|name| (name.to_owned(), format!("{known}{host}"))).into()
}

/// apt reads the file that `APT_CONFIG` names besides its own.
fn apt(
    pointers: &Pointers,
    bundle: Option<&Utf8Path>,
    environment: &Environment,
    folder: &Utf8PathBuf,
) -> Result<Option<(String, String)>> {
    let led = pointers.pieces.iter().find(|it| it.client == "apt").map(|piece| piece.text.clone());
    let trust = bundle.map(|bundle| intercept::apt(bundle.as_str()));
    if led.is_none() && trust.is_none() {
        return Ok(None);
    }
    let text = led.unwrap_or_default() + &trust.unwrap_or_default();
    let known = environment.get("APT_CONFIG");
    let known = known.map(|file| format!("#include \"{file}\";\n")).unwrap_or_default();
    let path = folder.join("apt.conf");
    replace::replace(&path, format!("{known}{text}").as_bytes(), Durability::Unsynced)?;
    open(path.as_ref(), 0o644)?;
    // apt reads it as another user, too.
    open(folder.as_ref(), 0o711)?;
    Ok(Some(("APT_CONFIG".to_owned(), path.into_string())))
}

/// cargo takes its sources from arguments alone: a `cargo` of ours gives them to the real one.
fn cargo(pointers: &Pointers, environment: &Environment, folder: &Utf8PathBuf) -> Result<bool> {
    let real = ask::find("cargo", environment.get("PATH"));
    let Some(real) = real.filter(|_| !pointers.cargo.is_empty()) else { return Ok(false) };
    let config: Vec<_> = pointers.cargo.iter().map(|it| format!("--config {}", quoted(it))).collect();
    let (real, config) = (quoted(real.as_str()), config.join(" "));
    // A toolchain comes before all else.
    let script = format!(
        "#!/bin/sh\ncase \"$1\" in\n+*) first=$1; shift; exec {real} \"$first\" {config} \"$@\" ;;\nesac\nexec {real} {config} \"$@\"\n"
    );
    program(folder, "cargo", &script)?;
    Ok(true)
}

/// The client whose variables are not for all of its commands.
const UV: &str = "uv";

/// uv writes the index that it asked into lock files, and refuses one with another index: a `uv` of
/// ours names the cache to `uv pip` alone, but for `uv pip compile`, which writes such files, too.
/// The variables by which it knows the addresses: they may have credentials, so no file has them.
fn uv(pointers: &Pointers, environment: &Environment, folder: &Utf8PathBuf) -> Result<Vec<(String, String)>> {
    let set: Vec<_> = pointers.variables.iter().filter(|it| it.client == UV).collect();
    let real = ask::find(UV, environment.get("PATH"));
    let Some(real) = real.filter(|_| !set.is_empty()) else { return Ok(Vec::new()) };
    let exports: Vec<_> = set.iter().map(|it| format!("{0}=\"$PKGCACHE_{0}\"", it.name)).collect();
    let (real, exports) = (quoted(real.as_str()), exports.join(" "));
    // The first word that is a command is the command, whatever options come before it.
    let script = format!(
        "#!/bin/sh
_larder_of=
for _larder_word do
    case \"$_larder_of $_larder_word\" in
    ' pip') _larder_of=pip ;;
    ' add' | ' auth' | ' build' | ' cache' | ' export' | ' format' | ' help' | ' init' | ' lock' | ' publish' | \
        ' python' | ' remove' | ' run' | ' self' | ' sync' | ' tool' | ' tree' | ' venv' | ' version') break ;;
    'pip compile') break ;;
    'pip check' | 'pip freeze' | 'pip install' | 'pip list' | 'pip show' | 'pip sync' | 'pip tree' | \
        'pip uninstall') export {exports}; break ;;
    esac
done
exec {real} \"$@\"
"
    );
    program(folder, UV, &script)?;
    Ok(set.iter().map(|it| (format!("PKGCACHE_{}", it.name), it.value.clone())).collect())
}

/// `pip lock` writes the addresses that it was given into pylock.toml: a `pip` of ours takes the
/// variables that lead it back for that command alone. What they were before; `None` where there is
/// no pip.
fn pip(
    pointers: &Pointers,
    environment: &Environment,
    folder: &Utf8PathBuf,
) -> Result<Option<Vec<(String, String)>>> {
    let set: Vec<_> = pointers.variables.iter().filter(|it| it.client == "pip").collect();
    let names = ["pip", "pip3"].map(|name| Some((name, ask::find(name, environment.get("PATH"))?)));
    let found: Vec<_> = names.into_iter().flatten().filter(|_| !set.is_empty()).collect();
    let mut own = Vec::new();
    let mut undone = String::new();
    for name in set.iter().map(|it| &it.name) {
        let kept = format!("PKGCACHE_OWN_{name}");
        // In another `run`, what it was before that one.
        let before = environment.variables.get(&kept).map(String::as_str).or(environment.get(name));
        own.push((kept.clone(), before.unwrap_or_default().to_owned()));
        let _ = write!(undone, "if [ \"${kept}\" ]; then export {name}=\"${kept}\"; else unset {name}; fi; ");
    }
    for (name, real) in &found {
        // The first word that is a command is the command, whatever options come before it.
        let others: Vec<_> = PIP_COMMANDS.into_iter().filter(|it| *it != "lock").collect();
        let script = format!(
            "#!/bin/sh
for _larder_word do
    case $_larder_word in
    lock) {undone}break ;;
    {}) break ;;
    esac
done
exec {} \"$@\"
",
            others.join(" | "),
            quoted(real.as_str())
        );
        program(folder, name, &script)?;
    }
    Ok((!found.is_empty()).then_some(own))
}

/// dnf takes the files that name its repositories from one folder: a `dnf` of ours names one to the
/// real one in which those that are mounted are led here.
fn dnf_here(here: &Here, machine: &Machine, environment: &Environment, folder: &Utf8PathBuf) -> Result<bool> {
    let mounts = here.mounts.iter().filter(|mount| mount.ecosystem == Ecosystem::Dnf);
    let mounts: Vec<_> = mounts.map(|it| dnf::Mounted { url: it.url.clone(), at: here.at(it) }).collect();
    if mounts.is_empty() {
        return Ok(false);
    }
    let names = ["dnf", "dnf-3", "dnf5", "yum"];
    let found = names.map(|name| Some((name, ask::find(name, environment.get("PATH"))?)));
    let (found, files) = (found.into_iter().flatten().collect::<Vec<_>>(), machine.dnf_repositories());
    if found.is_empty() || files.is_empty() {
        return Ok(false);
    }
    let repositories = folder.join("repositories");
    fs::create_dir(&repositories)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot make `{repositories}`"))?;
    for file in &files {
        let path = repositories.join(Utf8Path::new(&file.from).file_name().unwrap_or_default());
        replace::replace(&path, dnf::led(&file.text, &here.url, &mounts).as_bytes(), Durability::Unsynced)?;
    }
    for (name, real) in found {
        let option = quoted(&format!("--setopt=reposdir={repositories}"));
        program(folder, name, &format!("#!/bin/sh\nexec {} {option} \"$@\"\n", quoted(real.as_str())))?;
    }
    Ok(true)
}

/// A program that goes before the real one of its name.
fn program(folder: &Utf8PathBuf, name: &str, script: &str) -> Result<()> {
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).into_diagnostic().wrap_err_with(|| format!("cannot make `{bin}`"))?;
    let file = bin.join(name);
    replace::replace(&file, script.as_bytes(), Durability::Unsynced)?;
    open(file.as_ref(), 0o755)?;
    open(bin.as_ref(), 0o711)?;
    open(folder.as_ref(), 0o711)
}

fn open(path: &Path, mode: u32) -> Result<()> {
    let set = fs::set_permissions(path, fs::Permissions::from_mode(mode)).into_diagnostic();
    set.wrap_err_with(|| format!("cannot set the mode of `{}`", path.display()))
}

/// `word` as one word of a POSIX shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
