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
//! `huggingface_hub` takes its hub from a variable alone: the step's shell reads it from a secret,
//! so that the step in the image's history begins with that, and the address stands nowhere.
//! Considered and rejected: a secret as a variable (`env=`), which older builders refuse with the
//! whole Dockerfile; a `.pth` or `sitecustomize.py` that is mounted, at a path that has Python's
//! version in it and is another one in each environment of Python's.
//!
//! apt is led for the cache's own hosts alone: other sources of an image stay where they are.
//!
//! Limit: uv is led where a step installs with `uv pip` alone, and pip where it does not run `pip
//! lock`. `uv pip compile` and `pip lock` would write the cache's address into what they make; uv's
//! commands for projects compare the index with the one in `uv.lock`, and would refuse the lock
//! file or write the address there, too.

use std::fmt::Write;

use crate::builds::instructions::{instructions, keyword};
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
    /// Whether there is a step that may ask a hub of models and has no shell that could be told
    /// where the cache is.
    pub has_unled_hub: bool,
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
/// Where the shell finds the hub, while a step runs.
const HUB: &str = "/etc/larder-huggingface";
/// What may ask a hub of models, beside Python itself.
const HUB_CLIENTS: [&str; 3] = ["hf", "huggingface-cli", "vllm"];
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
        let (flags, command) = if is_run && engine.mounts() {
            told_of_the_hub(&own, (behind, rest), doors, &mut written)
        } else {
            (behind.to_owned(), "")
        };
        let _ = write!(written.text, "{indent}{keyword}{more}{flags}{command}");
        written.text.extend(rest.iter().copied());
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
    let step = [&APT[..], &NPM, &CARGO, &["uv", "pip", "hf"]].concat().join(" ");
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

/// The first line of a step behind its keyword, in two parts: its options with what its shell does
/// first, where the step may ask a hub of models, and the rest.
fn told_of_the_hub<'t>(
    step: &str,
    (behind, rest): (&'t str, &[&str]),
    doors: &Doors,
    written: &mut Rewritten,
) -> (String, &'t str) {
    let untold = (behind.to_owned(), "");
    if doors.huggingface.is_none() || !asks_a_hub(step) || step.contains("HF_ENDPOINT") {
        return untold;
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
        written.has_unled_hub = true;
        return untold;
    }
    let tells =
        format!("if [ -z \"$HF_ENDPOINT\" ]; then read -r HF_ENDPOINT <{HUB}; export HF_ENDPOINT; fi;");
    (format!("{options} {tells}"), command)
}

/// Whether a step may ask a hub of models: by Python, or a program that is known to.
fn asks_a_hub(step: &str) -> bool {
    let is_python = |word: &str| {
        word.strip_prefix("python").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
    };
    tokens(step).any(|word| is_python(word) || HUB_CLIENTS.contains(&word))
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
    let is_pip = |word: &str| {
        word.strip_prefix("pip").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
    };
    while words.any(is_pip) {
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
mod tests {
    use super::*;

    fn doors() -> Doors {
        let at = |name: &str| Some(format!("http://127.0.0.1:1/{name}/"));
        Doors {
            proxy: "http://127.0.0.1:1".into(),
            apt: vec!["deb.example".into(), "sec.example".into()],
            dnf: true,
            python: at("pypi"),
            npm: at("npm"),
            npm_host: Some("js.example".into()),
            cargo: at("crates"),
            huggingface: None,
        }
    }

    /// What becomes of the steps where a hub of models is mounted, without its mounts.
    fn told(steps: &str) -> (String, bool) {
        let hub = Some("http://127.0.0.1:1/hf".to_owned());
        let doors = Doors { huggingface: hub, proxy: "http://127.0.0.1:1".into(), ..Doors::default() };
        let written = rewrite(&format!("FROM a\n{steps}"), Engine::BuildKit, &doors);
        assert!(!written.text.contains("127.0.0.1"), "{}", written.text);
        let mount = " --mount=type=secret,id=larder-huggingface,target=/etc/larder-huggingface,mode=0444";
        let text = written.text.replace(mount, "").replace("FROM a\n", "");
        assert_eq!(written.secrets.is_empty(), !written.text.contains(mount));
        (text, !written.has_unled_hub)
    }

    #[test]
    fn the_shell_of_a_step_is_told_of_the_hub() {
        const TELLS: &str = "if [ -z \"$HF_ENDPOINT\" ]; then read -r HF_ENDPOINT </etc/larder-huggingface; export HF_ENDPOINT; fi;";
        let led = |step: &str, expected: &str| {
            assert_eq!(told(step), (expected.replace("TELLS", TELLS), true), "{step}");
        };
        led("RUN python3 get.py", "RUN TELLS python3 get.py");
        led(
            "RUN --mount=type=cache,target=/c hf download a/b",
            "RUN --mount=type=cache,target=/c TELLS hf download a/b",
        );
        led(
            "RUN --network=host \\\n  python3.12 x \\\n  y\n",
            "RUN --network=host TELLS \\\n  python3.12 x \\\n  y\n",
        );
        led(
            "RUN \\\n  pip install x && \\\n python -c y\n",
            "RUN TELLS \\\n  pip install x && \\\n python -c y\n",
        );
        led("RUN make", "RUN make");
        led(
            "RUN HF_ENDPOINT=http://own.example python get.py",
            "RUN HF_ENDPOINT=http://own.example python get.py",
        );
        for step in [
            "RUN [\"python3\", \"get.py\"]",
            "RUN python3 <<EOF\nimport x\nEOF\n",
            "RUN --network=host \\\n --mount=type=tmpfs,target=/x \\\n python x\n",
        ] {
            assert_eq!(told(step), (step.to_owned(), false));
        }
    }

    fn ids(text: &str) -> Vec<&'static str> {
        rewrite(text, Engine::BuildKit, &doors()).secrets.iter().map(|it| it.id).collect()
    }

    #[test]
    fn a_build_that_runs_dnf_gets_the_proxy() {
        let names = |text: &str, dnf: bool, engine: Engine| {
            let written = rewrite(text, engine, &Doors { dnf, ..doors() });
            written.arguments.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        for line in
            ["RUN dnf install -y x", "RUN a && \\\n  microdnf install x", "RUN [\"yum\", \"install\"]"]
        {
            let text = format!("FROM a\n{line}\n");
            assert_eq!(names(&text, true, Engine::BuildKit), ["http_proxy", "no_proxy"], "{line}");
            assert_eq!(names(&text, true, Engine::Podman), ["http_proxy", "no_proxy"], "{line}");
            assert!(names(&text, true, Engine::Classic).contains(&"http_proxy"), "{line}");
            assert!(names(&text, false, Engine::BuildKit).is_empty(), "{line}");
        }
        assert!(names("FROM dnf\nRUN ls /etc/yum.repos.d\nENV dnf=1", true, Engine::BuildKit).is_empty());
    }

    #[test]
    fn apt_is_led_for_the_caches_hosts_alone() {
        let expected = "Acquire::http::Proxy::deb.example \"http://127.0.0.1:1/\";\n\
                        Acquire::http::Proxy::sec.example \"http://127.0.0.1:1/\";\n";
        for engine in [Engine::BuildKit, Engine::Podman] {
            let written = rewrite("FROM a\nRUN apt-get update", engine, &doors());
            assert_eq!(written.secrets[0], Secret { id: "larder-apt", text: expected.into() });
            assert!(written.arguments.is_empty(), "{:?}", written.arguments);
        }
        let none = rewrite("FROM a\nRUN apt-get update", Engine::BuildKit, &Doors { apt: vec![], ..doors() });
        assert!(!none.text.contains("apt.conf.d"), "{}", none.text);
        let written = rewrite("FROM a\nRUN apt-get update", Engine::Classic, &doors());
        assert!(
            expected.lines().all(|line| written.text.contains(&format!(" '{line}'"))),
            "{}",
            written.text
        );
        assert!(!written.arguments.iter().any(|(name, _)| name.contains("proxy")), "{:?}", written.arguments);
    }

    #[test]
    fn only_steps_are_changed() {
        let text = "# syntax=docker/dockerfile:1\n\nFROM debian\nENV A=1 \\\n    # run npm\n    B=2\n\
                    COPY <<EOF /x\nRUN npm\nEOF\nRUN echo <<E2 \\\n  apt-get\nnpm\nE2\nCMD [\"npm\"]";
        let written = rewrite(text, Engine::BuildKit, &doors()).text;
        let mounts: Vec<_> = written.matches("--mount").collect();
        assert_eq!(mounts.len(), 4, "{written}");
        let stripped: String = written
            .split(' ')
            .filter(|word| !word.starts_with("--mount=type=secret,id=larder-"))
            .collect::<Vec<_>>()
            .join(" ");
        assert_eq!(stripped, text);
    }

    #[test]
    fn each_step_gets_the_settings_of_its_clients() {
        assert_eq!(ids("FROM a\nRUN /usr/bin/apt-get update"), ["larder-apt", "larder-pip"]);
        assert_eq!(ids("FROM a\nRUN make && npm ci"), ["larder-pip", "larder-npm"]);
        assert_eq!(ids("FROM a\nRUN adapt-get x"), ["larder-pip"]);
        assert_eq!(ids("FROM a\nRUN [\"cargo\", \"build\"]"), ["larder-pip", "larder-cargo"]);
        assert!(ids("FROM a\nRUN --mount=type=secret,id=x,target=/etc/pip.conf pip install y").is_empty());
        assert!(ids("FROM a\n# RUN npm ci\nONBUILD RUN npm ci").is_empty());
    }

    #[track_caller]
    fn targets(text: &str, expected: &str) {
        let written = rewrite(text, Engine::Podman, &doors()).text;
        assert!(written.contains(expected), "{written}");
    }

    #[test]
    fn cargo_reads_its_settings_where_the_image_has_its_home() {
        targets("FROM x/rust:1 AS b\nRUN cargo build", "target=/usr/local/cargo/config.toml");
        targets("FROM a\nENV CARGO_HOME=/c\nRUN cargo build", "target=/c/config.toml");
        targets("FROM a\nENV X=1 CARGO_HOME=\"/d\"\nRUN cargo build", "target=/d/config.toml");
        targets("FROM rust\nFROM a\nRUN cargo build", "target=/root/.cargo/config.toml");
        let other = rewrite("FROM a\nUSER me\nRUN cargo build", Engine::Podman, &doors()).text;
        assert!(!other.contains("larder-cargo"), "{other}");
    }

    #[test]
    fn what_a_dockerfile_may_need_is_known_before_it() {
        let all = beforehand(Engine::Podman, &doors());
        let ids: Vec<_> = all.secrets.iter().map(|secret| secret.id).collect();
        assert_eq!(ids, ["larder-apt", "larder-pip", "larder-npm", "larder-cargo", "larder-uv"]);
        assert!(all.arguments.is_empty());
        let text = "FROM a\nRUN apt-get update && npm ci && cargo build && uv pip install x\n";
        assert_eq!(all.secrets, rewrite(text, Engine::Podman, &doors()).secrets);
        let classic = beforehand(Engine::Classic, &doors());
        assert_eq!(classic.arguments, rewrite("FROM a\n", Engine::Classic, &doors()).arguments);
        assert!(classic.secrets.is_empty() && !classic.arguments.is_empty());
    }

    #[test]
    fn uv_is_led_where_it_reads_no_lock_file() {
        let is_led = |text: &str| ids(&format!("FROM a\n{text}")).contains(&"larder-uv");
        assert!(is_led("RUN uv pip install --system x") && is_led("RUN uv venv && uv pip sync r.txt"));
        for text in [
            "RUN uv sync --locked",
            "RUN uv pip install x && uv sync",
            "RUN uv tool install x",
            "RUN uv pip compile -o r.txt r.in",
            "RUN uv pip -q --python 3.11 compile -o pylock.toml r.in",
            "RUN uv pip compile r.in >r.txt && uv pip sync r.txt",
        ] {
            assert!(!is_led(text), "{text}");
        }
        assert!(!is_led("COPY uv.toml /\nRUN uv pip install x"));
        assert!(is_led("COPY uv.toml /\nFROM b\nRUN uv pip install x"));
    }

    #[test]
    fn pip_is_led_where_it_writes_no_lock_file() {
        for (step, is_led) in [
            ("pip install x", true),
            ("pip install uv && uv lock", true),
            ("make", true),
            ("pip lock x", false),
            ("pip --timeout 10 --log f lock x", false),
            ("pip -v install lock", true),
            ("pip3.12 -q lock -r r.txt", false),
            ("python3 -m pip lock x && pip install x", false),
        ] {
            assert_eq!(ids(&format!("FROM a\nRUN {step}")).contains(&"larder-pip"), is_led, "{step}");
        }
        let (lock, led) = classic("RUN pip lock x");
        let unset = "if [ \"$PIP_INDEX_URL\" = 'http://127.0.0.1:1/pypi/' ]; then unset PIP_INDEX_URL; fi;";
        assert_eq!((lock.as_str(), led), (format!("RUN {unset} pip lock x").as_str(), true));
    }

    /// What the classic builder makes of the steps, and whether all are led.
    fn classic(steps: &str) -> (String, bool) {
        let written = rewrite(&format!("FROM a\n{steps}"), Engine::Classic, &doors());
        let steps = written.text.lines().filter(|line| !line.starts_with("ARG") && *line != "FROM a");
        (steps.collect::<Vec<_>>().join("\n"), !written.has_unled)
    }

    #[test]
    fn the_classic_builders_shell_sets_what_has_no_argument() {
        let (uv, led) = classic("RUN uv pip install x");
        let set = "export UV_DEFAULT_INDEX=\"${UV_DEFAULT_INDEX:-http://127.0.0.1:1/pypi/}\";";
        assert_eq!((uv.as_str(), led), (format!("RUN {set} uv pip install x").as_str(), true));
        assert!(classic("RUN cargo build \\\n  --locked").1);
        for steps in ["RUN make", "RUN uv sync", "RUN [\"npm\", \"ci\"]"] {
            assert_eq!(classic(steps), (steps.to_owned(), true));
        }
        // There is no shell, or it does not come to take the settings away.
        for step in [
            "RUN [\"cargo\", \"build\"]",
            "RUN exec cargo build",
            "RUN trap x EXIT; cargo build",
            "RUN [\"apt-get\", \"update\"]",
            "RUN exec apt-get update",
        ] {
            assert_eq!(classic(step), (step.to_owned(), false));
        }
    }

    #[test]
    fn the_settings_of_a_step_are_there_while_it_runs() {
        let dir = tempfile::tempdir().unwrap();
        let run = |step: &str, home: &str| {
            let (text, _) = classic(&format!("RUN {step}"));
            let text = text.replace("/etc/apt/apt.conf.d", &dir.path().join("apt").display().to_string());
            let mut sh = std::process::Command::new("sh");
            sh.args(["-c", text.strip_prefix("RUN").unwrap()]).env_remove("CARGO_HOME").env("HOME", home);
            let ran = sh.current_dir(dir.path()).output().unwrap();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (text(&ran.stdout) + &text(&ran.stderr), ran.status.code())
        };
        let home = dir.path().join("home").display().to_string();
        let file = dir.path().join("home/.cargo/config.toml");
        let expected = doors().cargo_config().unwrap();
        // A function stands for the program.
        let step = "cargo() { cat \"$HOME/.cargo/config.toml\"; }; cd / && cargo";
        assert_eq!(run(step, &home), (expected, Some(0)));
        assert!(!file.exists() && file.parent().unwrap().is_dir());
        assert_eq!(run("cargo() { return 7; }; cargo", &home).1, Some(7));
        assert!(!file.exists());
        // Two clients in one step, and apt where there is no folder of its settings.
        let both = "apt() { cat \"$larder_apt\"; }; apt; ls \"$larder_cargo\" # cargo";
        assert_ne!(run(both, &home).1, None);
        assert!(run(both, &home).0.contains("config.toml") && !file.exists());
        let conf = dir.path().join("apt/99larder");
        assert!(!conf.exists());
        std::fs::create_dir(dir.path().join("apt")).unwrap();
        let (said, code) = run(both, &home);
        assert_eq!((said, code), (doors().apt_conf().unwrap() + &format!("{}\n", file.display()), Some(0)));
        assert!(!conf.exists() && !file.exists());
        // The image's own stay, and are the ones that count.
        std::fs::write(&file, "own\n").unwrap();
        assert_eq!(run(step, &home), ("own\n".to_owned(), Some(0)));
        assert!(file.exists());
    }

    #[test]
    fn another_escape_continues_lines() {
        let text = "# escape=`\nFROM a\nRUN dir c:\\\nRUN npm `\n  ci\n";
        let written = rewrite(text, Engine::BuildKit, &doors()).text;
        assert_eq!(written.matches("larder-pip").count(), 2, "{written}");
    }

    #[test]
    fn the_classic_builder_gets_arguments() {
        let written = rewrite("FROM a\nRUN pip install x\nFROM b", Engine::Classic, &doors());
        assert_eq!(written.text.matches("ARG PIP_INDEX_URL\n").count(), 2, "{}", written.text);
        assert!(written.secrets.is_empty());
        let names: Vec<_> = written.arguments.iter().map(|(name, _)| *name).collect();
        let npm = ["npm_config_registry", "npm_config_replace_registry_host"];
        assert_eq!(names, [&["PIP_INDEX_URL"][..], &npm].concat());
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_lost(text in "([A-Z]{3,5} |<<E|\\\\|#|\n|\\PC){0,60}") {
            let written = rewrite(&text, Engine::BuildKit, &doors()).text;
            let mut stripped = written;
            while let Some(at) = stripped.find(" --mount=type=secret,id=larder-") {
                let end = at + stripped[at..].find("mode=0444").unwrap() + "mode=0444".len();
                stripped.replace_range(at..end, "");
            }
            proptest::prop_assert_eq!(stripped, text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned());
        }
    }
}
