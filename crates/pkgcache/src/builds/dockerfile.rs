//! A Dockerfile with what leads its package clients to the cache, and nothing else changed.
//!
//! With BuildKit and podman each step gets the clients' settings as secrets, mounted where the
//! clients look for them: a secret is neither in the image nor in its history, and what stands in
//! for the file while the step runs is taken away by the builder. That holds for the file, not for
//! folders: a settings file is only mounted into a folder that is there, or that its client makes
//! anyway. dnf has no file that could be mounted so: it gets the proxy by the build arguments that
//! every builder knows and keeps out of the image. The classic builder has no mounts: there the
//! settings are build arguments.
//!
//! Source: the Dockerfile reference (parser directives, line continuations, here-documents).

use std::fmt::Write;

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
}

/// An instruction: its lines, with those of its here-documents.
struct Instruction<'a> {
    lines: Vec<&'a str>,
}

/// What is known while a Dockerfile is read from top to bottom.
#[derive(Default)]
struct Stage {
    /// Where cargo keeps its settings.
    cargo_home: Option<String>,
    /// Whether steps run as another user than root.
    other_user: bool,
}

const APT: [&str; 3] = ["apt", "apt-get", "aptitude"];
const DNF: [&str; 6] = ["dnf", "dnf-3", "dnf5", "microdnf", "tdnf", "yum"];
const NPM: [&str; 6] = ["npm", "npx", "pnpm", "yarn", "corepack", "node-gyp"];
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
        let mounts = if keyword.eq_ignore_ascii_case("RUN") && engine.mounts() {
            runs_dnf |= doors.dnf && tokens(&instruction.text()).any(|token| DNF.contains(&token));
            mounts(&instruction.text(), &stage, doors, &mut written.secrets)
        } else {
            String::new()
        };
        let _ = write!(written.text, "{indent}{keyword}{mounts}{behind}");
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
    if runs_dnf || !engine.mounts() {
        written.arguments.extend(doors.proxy());
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

impl Instruction<'_> {
    fn text(&self) -> String {
        self.lines.concat()
    }
}

/// The mounts for a step, and the secrets that they are of.
fn mounts(step: &str, stage: &Stage, doors: &Doors, secrets: &mut Vec<Secret>) -> String {
    let has = |words: &[&str]| tokens(step).any(|token| words.contains(&token));
    let mut wanted: Vec<(&'static str, String, String)> = Vec::new();
    if has(&APT)
        && let Some(text) = doors.apt_conf()
    {
        wanted.push(("larder-apt", "/etc/apt/apt.conf.d/99larder".to_owned(), text));
    }
    if let Some(text) = doors.pip_conf() {
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

/// The words of a step, as far as they may be names of programs.
fn tokens(step: &str) -> impl Iterator<Item = &str> {
    step.split(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)))
}

/// The first word of a line, with what stands before and behind it.
fn keyword(line: &str) -> (&str, &str, &str) {
    let start = line.len() - line.trim_start().len();
    let (indent, rest) = line.split_at(start);
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let (word, behind) = rest.split_at(end);
    (indent, word, behind)
}

/// The instructions, comments and empty lines of a Dockerfile: all its bytes, in order.
fn instructions(text: &str) -> Vec<Instruction<'_>> {
    let escape = escape_of(text);
    let mut lines = text.split_inclusive('\n').peekable();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let mut taken = vec![line];
        if !is_comment(line) && !line.trim().is_empty() {
            let mut last = line;
            while goes_on(last, escape) {
                let Some(next) = lines.next() else { break };
                taken.push(next);
                // A comment inside does not end it.
                if !is_comment(next) {
                    last = next;
                }
            }
            for end in here_documents(&taken.concat()) {
                for next in lines.by_ref() {
                    taken.push(next);
                    let plain = next.trim_end_matches(['\r', '\n']);
                    if end.matches(plain) {
                        break;
                    }
                }
            }
        }
        found.push(Instruction { lines: taken });
    }
    found
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

fn goes_on(line: &str, escape: char) -> bool {
    line.trim_end().ends_with(escape)
}

/// The character that continues lines: a directive at the very top may set another.
fn escape_of(text: &str) -> char {
    for line in text.lines() {
        let Some(rest) = line.trim().strip_prefix('#') else { break };
        let Some((name, value)) = rest.split_once('=') else { break };
        if name.trim().eq_ignore_ascii_case("escape") {
            return if value.trim() == "`" { '`' } else { '\\' };
        }
    }
    '\\'
}

/// The line that ends a here-document.
struct HereEnd {
    word: String,
    tabs: bool,
}

impl HereEnd {
    fn matches(&self, line: &str) -> bool {
        let line = if self.tabs { line.trim_start_matches('\t') } else { line };
        line == self.word
    }
}

/// The here-documents that an instruction begins.
fn here_documents(text: &str) -> Vec<HereEnd> {
    let (_, word, _) = keyword(text);
    if !["RUN", "COPY", "ADD"].iter().any(|it| word.eq_ignore_ascii_case(it)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, behind)) = rest.split_once("<<") {
        rest = behind;
        // `<<<` is something else.
        if let Some(behind) = behind.strip_prefix('<') {
            rest = behind;
            continue;
        }
        let (tabs, behind) = behind.strip_prefix('-').map_or((false, behind), |behind| (true, behind));
        let (quote, behind) = match behind.chars().next() {
            Some(quote @ ('"' | '\'')) => (Some(quote), behind.get(1..).unwrap_or_default()),
            _ => (None, behind),
        };
        let ends = |c: char| quote.map_or_else(|| !(c.is_alphanumeric() || c == '_'), |quote| c == quote);
        let word: String = behind.chars().take_while(|c| !ends(*c)).collect();
        let digits = word.chars().all(|c| c.is_ascii_digit());
        if !word.is_empty() && !digits {
            found.push(HereEnd { word, tabs });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doors() -> Doors {
        let at = |name: &str| Some(format!("http://127.0.0.1:1/{name}/"));
        Doors {
            proxy: "http://127.0.0.1:1".into(),
            apt: true,
            dnf: true,
            python: at("pypi"),
            npm: at("npm"),
            npm_host: Some("js.example".into()),
            cargo: at("crates"),
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
            assert!(names(&text, false, Engine::BuildKit).is_empty(), "{line}");
        }
        assert!(names("FROM dnf\nRUN ls /etc/yum.repos.d\nENV dnf=1", true, Engine::BuildKit).is_empty());
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
        assert_eq!(names, ["PIP_INDEX_URL", "npm_config_registry", "http_proxy", "no_proxy"]);
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
