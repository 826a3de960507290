//! A Dockerfile with what leads its package clients to the cache, and nothing else changed.
//!
//! With BuildKit and podman each step gets the clients' settings as secrets, mounted where the
//! clients look for them: a secret is neither in the image nor in its history, and what stands in
//! for the file while the step runs is taken away by the builder. That holds for the file, not for
//! folders: a settings file is only mounted into a folder that is there, or that its client makes
//! anyway. dnf has no file that could be mounted so: it gets the proxy by the build arguments that
//! every builder knows and keeps out of the image. The classic builder has no mounts: there the
//! settings are build arguments, and for clients that have no variable for them, or not for all of
//! their commands, the step's own shell sets them.
//!
//! `huggingface_hub` takes its hub from a variable alone, and Go's own settings file lies in a
//! folder that need not be there: the step's shell reads the variable from a secret, so that the
//! step in the image's history begins with that, and the address stands nowhere.
//! Considered and rejected: a secret as a variable (`env=`), which older builders refuse with the
//! whole Dockerfile; a `.pth` or `sitecustomize.py` that is mounted, at a path that has Python's
//! version in it and is another one in each environment of Python's.
//!
//! What has neither a variable nor a settings file, a vendor's index and Ollama, the step's shell
//! is told of in the same way (`shell`). So it is of hosts that are intercepted (`intercepted`).
//!
//! apt is led for the cache's own hosts alone: other sources of an image stay where they are.
//!
//! Limit: uv is led where a step installs with `uv pip` alone, and pip where it does not run `pip
//! lock`. `uv pip compile` and `pip lock` would write the cache's address into what they make; uv's
//! commands for projects compare the index with the one in `uv.lock`, and would refuse the lock
//! file or write the address there, too.

use std::fmt::Write;

use crate::builds::instructions::{instructions, keyword};
use crate::builds::intercepted::{self, AUTHORITIES, TOLD, WGET};
use crate::builds::shell::{self, Models};
use crate::builds::{Doors, Engine};

/// A settings file of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Its name among the secrets of the build.
    pub id: &'static str,
    /// What is in it.
    pub text: String,
}

/// A Dockerfile for a build through the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// Its text.
    pub text: String,
    /// The secrets that it mounts.
    pub secrets: Vec<Secret>,
    /// The build arguments that it needs.
    pub arguments: Vec<(&'static str, String)>,
    /// Whether there is a step whose clients the classic builder cannot lead.
    pub has_unled: bool,
    /// Whether there is a step that may ask for models or Go's modules, or names a vendor's index,
    /// and has no shell that could be told where the cache is.
    pub has_untold: bool,
    /// Whether hosts are intercepted, and there is a step that cannot be told so.
    pub has_unintercepted: bool,
}

/// What is known while a Dockerfile is read from top to bottom.
#[derive(Default)]
struct Stage {
    /// Where cargo keeps its settings.
    cargo_home: Option<String>,
    /// Whether steps run as another user than root.
    other_user: bool,
    /// Whether it has settings of its own for uv.
    own_uv: bool,
}

/// Where apt gets what leads it, while a step runs.
const APT_CONF: &str = "/etc/apt/apt.conf.d/99larder";
const APT: [&str; 3] = ["apt", "apt-get", "aptitude"];
const DNF: [&str; 6] = ["dnf", "dnf-3", "dnf5", "microdnf", "tdnf", "yum"];
const NPM: [&str; 6] = ["npm", "npx", "pnpm", "yarn", "corepack", "node-gyp"];
/// Where the shell finds the hub, and Go's proxies, while a step runs.
const HUB: &str = "/etc/larder-huggingface";
const GO_PROXIES: &str = "/etc/larder-go";
/// Where it finds what leads to vendors' indexes, and to Ollama's models.
const INDEXES: &str = "/etc/larder-indexes";
const OLLAMA: &str = "/etc/larder-ollama";
/// What may ask a hub of models, beside Python itself.
const HUB_CLIENTS: [&str; 3] = ["hf", "huggingface-cli", "vllm"];
/// What may ask for Go's modules.
const GO: [&str; 7] = ["go", "golangci-lint", "goreleaser", "gotestsum", "govulncheck", "ko", "xcaddy"];
const CARGO: [&str; 3] = ["cargo", "cargo-chef", "maturin"];

/// The Dockerfile with the settings of the doors. What the Dockerfile itself sets (a variable, a
/// mount at the same place) stands.
#[must_use]
pub fn rewrite(text: &str, engine: Engine, doors: &Doors) -> Rewritten {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut written = Rewritten::default();
    let mut stage = Stage::default();
    let mut runs_dnf = false;
    for instruction in instructions(text) {
        let Some((first, rest)) = instruction.lines.split_first() else { continue };
        let (indent, keyword, behind) = keyword(first);
        stage.learn(&keyword.to_ascii_uppercase(), &instruction.text());
        let is_run = keyword.eq_ignore_ascii_case("RUN");
        let own = instruction.text();
        runs_dnf |= is_run && doors.dnf && tokens(&own).any(|token| DNF.contains(&token));
        let more = match (is_run, engine.mounts()) {
            (true, true) => mounts(&own, &stage, doors, &mut written.secrets),
            (true, false) => shell(&own, doors, &mut written.has_unled),
            (false, _) => String::new(),
        };
        let told = is_run.then(|| told(&own, (behind, rest), (engine, doors), &mut written)).flatten();
        let behind = told.unwrap_or_else(|| behind.to_owned() + &rest.concat());
        let _ = write!(written.text, "{indent}{keyword}{more}{behind}");
        if keyword.eq_ignore_ascii_case("FROM") && !engine.mounts() {
            if !written.text.ends_with('\n') {
                written.text.push('\n');
            }
            doors.variables().iter().for_each(|(name, _)| {
                let _ = writeln!(written.text, "ARG {name}");
            });
        }
    }
    if !engine.mounts() {
        written.arguments = doors.variables();
    }
    if runs_dnf {
        written.arguments.extend(doors.proxy());
    }
    written
}

/// What a build may need whose Dockerfile is not known yet: all secrets that one could mount, and
/// the build arguments; no text.
#[must_use]
pub fn beforehand(engine: Engine, doors: &Doors) -> Rewritten {
    let step = [&APT[..], &NPM, &CARGO, &["uv", "pip", "hf", "go", "ollama"]].concat().join(" ");
    let mut written = Rewritten { arguments: rewrite("", engine, doors).arguments, ..Rewritten::default() };
    if engine.mounts() {
        let _ = mounts(&step, &Stage::default(), doors, &mut written.secrets);
    }
    written
}

impl Stage {
    fn learn(&mut self, keyword: &str, text: &str) {
        let mut words = text.split_ascii_whitespace().skip(1);
        match keyword {
            "FROM" => {
                let image = words.find(|word| !word.starts_with("--")).unwrap_or_default();
                let name = image.rsplit('/').next().unwrap_or_default();
                let name = name.split([':', '@']).next().unwrap_or_default();
                *self = Self {
                    cargo_home: (name == "rust").then(|| "/usr/local/cargo".to_owned()),
                    ..Self::default()
                };
            }
            "COPY" | "ADD" => self.own_uv |= text.contains("uv.toml"),
            "USER" => {
                let user = words.next().unwrap_or_default();
                self.other_user = !matches!(user.split(':').next(), Some("root" | "0"));
            }
            "ENV" => {
                let found =
                    text.split_once("CARGO_HOME").map(|(_, rest)| rest.trim_start_matches(['=', ' ', '"']));
                let path = found.and_then(|rest| rest.split(['"', ' ', '\n', '\t', '\\']).next());
                self.cargo_home =
                    path.filter(|path| path.starts_with('/')).map(str::to_owned).or(self.cargo_home.take());
            }
            _ => {}
        }
    }
}

/// The mounts for a step, and the secrets that they are of.
fn mounts(step: &str, stage: &Stage, doors: &Doors, secrets: &mut Vec<Secret>) -> String {
    let has = |words: &[&str]| tokens(step).any(|token| words.contains(&token));
    let mut wanted: Vec<(&'static str, String, String)> = Vec::new();
    if has(&APT)
        && let Some(text) = doors.apt_conf()
    {
        wanted.push(("larder-apt", APT_CONF.to_owned(), text));
    }
    if !locks_with_pip(step)
        && let Some(text) = doors.pip_conf()
    {
        wanted.push(("larder-pip", "/etc/pip.conf".to_owned(), text));
    }
    if has(&NPM)
        && let Some(text) = doors.npmrc()
    {
        wanted.push(("larder-npm", "/usr/local/etc/npmrc".to_owned(), text.clone()));
        if !stage.other_user {
            wanted.push(("larder-npm", "/root/.npmrc".to_owned(), text));
        }
    }
    if has(&CARGO)
        && let Some(text) = doors.cargo_config()
    {
        let home = stage.cargo_home.clone().or((!stage.other_user).then(|| "/root/.cargo".to_owned()));
        wanted.extend(home.map(|home| ("larder-cargo", format!("{home}/config.toml"), text)));
    }
    if asks_a_hub(step)
        && let Some(url) = &doors.huggingface
    {
        wanted.push(("larder-huggingface", HUB.to_owned(), format!("{url}\n")));
    }
    if has(&GO)
        && let Some(list) = &doors.go
    {
        wanted.push(("larder-go", GO_PROXIES.to_owned(), format!("{list}\n")));
    }
    if asks_vendors(step, doors) {
        wanted.push(("larder-indexes", INDEXES.to_owned(), shell::variables(&doors.vendors) + "\n"));
    }
    if let Some(models) = pulls_models(step, doors) {
        wanted.push(("larder-ollama", OLLAMA.to_owned(), models.function(shell::REAL) + "\n"));
    }
    if let Some(text) = &doors.authorities {
        wanted.push(("larder-authorities", AUTHORITIES.to_owned(), text.clone()));
        wanted.push(("larder-wgetrc", WGET.to_owned(), intercepted::wgetrc(AUTHORITIES)));
        wanted.push(("larder-intercept", TOLD.to_owned(), intercepted::shell(&doors.proxy)));
    }
    if !stage.own_uv
        && installs_with_uv(step)
        && let Some(text) = doors.uv_toml()
    {
        // Looked for from the working folder upwards: `/etc/uv` need not be there.
        wanted.push(("larder-uv", "/uv.toml".to_owned(), text));
    }
    let mut mounts = String::new();
    for (id, target, text) in wanted {
        if step.contains(&target) {
            continue;
        }
        let _ = write!(mounts, " --mount=type=secret,id={id},target={target},mode=0444");
        if !secrets.iter().any(|secret| secret.id == id) {
            secrets.push(Secret { id, text });
        }
    }
    mounts
}

/// A step behind its keyword, with what its shell does first where the step may ask for what has
/// neither a variable nor a settings file; `None` where it stays as it is.
fn told(
    step: &str,
    (behind, rest): (&str, &[&str]),
    (engine, doors): (Engine, &Doors),
    written: &mut Rewritten,
) -> Option<String> {
    let read = read_variables(step, engine, doors);
    let names_vendor = shell::names_a_vendor(step, &doors.vendors);
    let models = pulls_models(step, doors);
    let intercepts = doors.authorities.is_some();
    // Without mounts, there is no place for the authorities that would not be in the image.
    written.has_unintercepted |= intercepts && !engine.mounts();
    let mut first = String::new();
    if intercepts && engine.mounts() {
        first += " ";
        first += &sourced(TOLD);
    }
    for (name, path) in &read {
        let _ = write!(first, " if [ -z \"${name}\" ]; then read -r {name} <{path}; export {name}; fi;");
    }
    if asks_vendors(step, doors) {
        first += " ";
        first += &if engine.mounts() { sourced(INDEXES) } else { shell::variables(&doors.vendors) };
    }
    if let Some(models) = models {
        first += " ";
        first += &if engine.mounts() { sourced(OLLAMA) } else { models.function(shell::REAL) };
    }
    if first.is_empty() {
        return None;
    }
    let mut at = 0;
    while let Some(option) = behind.get(at..).map(str::trim_start).filter(|text| text.starts_with("--")) {
        let from = behind.len() - option.len();
        at = from + option.find(char::is_whitespace).unwrap_or(option.len());
    }
    let (options, command) = behind.split_at_checked(at).unwrap_or((behind, ""));
    let begins_below = matches!(command.trim(), "\\" | "`" | "");
    let has_options_below = begins_below && rest.iter().any(|line| line.trim_start().starts_with("--"));
    if command.trim_start().starts_with('[') || step.contains("<<") || has_options_below {
        written.has_untold |= !read.is_empty() || names_vendor || models.is_some();
        written.has_unintercepted |= intercepts;
        return None;
    }
    let (text, is_left) = shell::with_variables(&(command.to_owned() + &rest.concat()), &doors.vendors);
    // A shell that the step starts knows nothing of the function.
    let has_own_shell = SHELLS.iter().any(|shell| step.contains(&format!("{shell} -c")));
    written.has_untold |= is_left || (models.is_some() && has_own_shell);
    Some(format!("{options}{first}{text}"))
}

/// The variables that the step's shell reads, each with the file that it has them from. The classic
/// builder has them as arguments, and what the step itself sets stands.
fn read_variables(step: &str, engine: Engine, doors: &Doors) -> Vec<(&'static str, &'static str)> {
    let asks_go = tokens(step).any(|token| GO.contains(&token));
    let all = [
        ("HF_ENDPOINT", HUB, doors.huggingface.is_some() && asks_a_hub(step)),
        ("GOPROXY", GO_PROXIES, doors.go.is_some() && asks_go),
    ];
    let read = all.into_iter().filter(|(name, _, asks)| *asks && engine.mounts() && !step.contains(name));
    read.map(|(name, path, _)| (name, path)).collect()
}

fn sourced(path: &str) -> String {
    format!(". {path};")
}

/// Shells that a step may start.
const SHELLS: [&str; 2] = ["sh", "bash"];

/// Whether a step may ask a vendor's index, which it names, or which a variable does.
fn asks_vendors(step: &str, doors: &Doors) -> bool {
    let fetches = |word: &str| {
        matches!(word, "uv" | "curl" | "wget") || is_versioned(word, "pip") || is_versioned(word, "python")
    };
    !doors.vendors.is_empty() && (shell::names_a_vendor(step, &doors.vendors) || tokens(step).any(fetches))
}

/// The models that a step may pull.
fn pulls_models<'d>(step: &str, doors: &'d Doors) -> Option<&'d Models> {
    doors.ollama.as_ref().filter(|_| tokens(step).any(|word| word == "ollama"))
}

/// Whether the word is the program's name, with a version behind it or without.
fn is_versioned(word: &str, program: &str) -> bool {
    word.strip_prefix(program).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
}

/// Whether a step may ask a hub of models: by Python, or a program that is known to.
fn asks_a_hub(step: &str) -> bool {
    tokens(step).any(|word| is_versioned(word, "python") || HUB_CLIENTS.contains(&word))
}

/// What the step's own shell does first, with the classic builder. `has_unled` is set where there
/// is no such shell, or where it would not come to undo it.
fn shell(step: &str, doors: &Doors, has_unled: &mut bool) -> String {
    let has = |words: &[&str]| tokens(step).any(|token| words.contains(&token));
    let is_shell = !step.split_ascii_whitespace().nth(1).is_some_and(|word| word.starts_with('['));
    let mut first = String::new();
    if locks_with_pip(step)
        && let Some(url) = &doors.python
    {
        *has_unled |= !is_shell;
        let _ = write!(first, " if [ \"$PIP_INDEX_URL\" = '{url}' ]; then unset PIP_INDEX_URL; fi;");
    }
    if installs_with_uv(step)
        && let Some(url) = &doors.python
    {
        *has_unled |= !is_shell;
        let _ = write!(first, " export UV_DEFAULT_INDEX=\"${{UV_DEFAULT_INDEX:-{url}}}\";");
    }
    let apt = doors.apt_conf().filter(|_| has(&APT)).map(|text| ("larder_apt", APT_CONF, text));
    let cargo = doors.cargo_config().filter(|_| has(&CARGO));
    let cargo = cargo.map(|text| ("larder_cargo", "${CARGO_HOME:-$HOME/.cargo}/config.toml", text));
    let files: Vec<_> = apt.into_iter().chain(cargo).collect();
    let cannot_undo = has(&["exec", "trap"]);
    *has_unled |= !files.is_empty() && (cannot_undo || !is_shell);
    if !files.is_empty() && !cannot_undo {
        // What the step leaves has to be what it leaves without this.
        let names = files.iter().fold(String::new(), |names, (name, ..)| names + " \"$" + name + "\"");
        let _ = write!(first, " trap 'rm -f{names}' EXIT;");
    }
    for (name, path, text) in files.iter().filter(|_| !cannot_undo) {
        let lines = text.lines().fold(String::new(), |lines, line| lines + " '" + line + "'");
        // apt's folder is there wherever apt is; cargo makes its own.
        let folder = if *path == APT_CONF { "[ -w" } else { "mkdir -p" };
        let end = if *path == APT_CONF { " ]" } else { "" };
        let _ = write!(
            first,
            " {name}=\"{path}\"; if [ -e \"${name}\" ]; then {name}=; \
             elif {folder} \"${{{name}%/*}}\"{end}; then printf '%s\\n'{lines} >\"${name}\"; fi;"
        );
    }
    if is_shell { first } else { String::new() }
}

/// What pip is told to do, in its first word that is no option, nor an option's value.
pub const PIP_COMMANDS: [&str; 18] = [
    "cache",
    "check",
    "completion",
    "config",
    "debug",
    "download",
    "freeze",
    "hash",
    "help",
    "index",
    "inspect",
    "install",
    "list",
    "lock",
    "search",
    "show",
    "uninstall",
    "wheel",
];

/// Whether the step has pip write a lock file.
fn locks_with_pip(step: &str) -> bool {
    let mut words = tokens(step);
    while words.any(|word| is_versioned(word, "pip")) {
        if words.clone().find(|word| PIP_COMMANDS.contains(word)) == Some("lock") {
            return true;
        }
    }
    false
}

/// Whether all that the step has uv do is `uv pip`, but for `uv pip compile`.
fn installs_with_uv(step: &str) -> bool {
    let commands: Vec<&str> =
        tokens(step).zip(tokens(step).skip(1)).filter(|pair| pair.0 == "uv").map(|pair| pair.1).collect();
    let of_projects = ["sync", "lock", "run", "add", "remove", "export", "tree"];
    let compiles = tokens(step).any(|word| word == "compile");
    commands.contains(&"pip") && !compiles && !commands.iter().any(|command| of_projects.contains(command))
}

/// The words of a step, as far as they may be names of programs.
fn tokens(step: &str) -> impl Iterator<Item = &str> + Clone {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    step.split(move |c: char| !is_part(c)).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests;
