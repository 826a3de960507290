//! What leads clients here, in the form that is wanted: for a shell, for engines, for CI.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::clients::address;
use crate::clients::pointers::{Here, Piece, Pointers, Variable};

/// Who is to read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// A POSIX shell.
    #[default]
    Sh,
    /// fish.
    Fish,
    /// A program.
    Json,
    /// `docker build` and `podman build`, as arguments.
    Docker,
    /// A compose file.
    Compose,
    /// `BuildKit`'s daemon.
    Buildkitd,
    /// containerd.
    Containerd,
    /// podman, skopeo and buildah.
    Podman,
    /// A file of lines `NAME=VALUE`, as CI systems read them.
    Ci,
}

/// A text for stdout, and lines for people where that can have no comments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The text.
    pub text: String,
    /// What cannot be said in it.
    pub notes: Vec<String>,
}

/// Writes what leads clients to this cache.
#[must_use]
pub fn write(here: &Here, form: Form) -> Written {
    let pointers = here.pointers();
    let mut written = in_form(here, pointers, form);
    if here.mounts.is_empty() && here.registries.is_empty() && here.models.is_none() {
        written.notes.push("nothing is mounted that a client could be led to".to_owned());
    } else if here.is_local() && matches!(form, Form::Docker | Form::Compose) {
        let host = address::host(&here.url);
        written
            .notes
            .push(format!("in a build `{host}` is the build itself, but with `--network host`: see `--url`"));
    }
    written
}

fn in_form(here: &Here, pointers: Pointers, form: Form) -> Written {
    match form {
        Form::Sh => Written { text: shell(here, &pointers, "export ", "=", quoted), notes: Vec::new() },
        Form::Fish => Written { text: shell(here, &pointers, "set -gx ", " ", fish), notes: Vec::new() },
        Form::Json => Written { text: json(here, pointers), notes: Vec::new() },
        Form::Docker => bare(here, &build_args(here, &pointers), &pointers, |it| {
            format!("--build-arg {}", quoted(&format!("{}={}", it.name, it.value)))
        }),
        Form::Ci => bare(here, &pointers.variables, &pointers, |it| format!("{}={}", it.name, it.value)),
        Form::Compose => Written { text: compose(here, &pointers), notes: Vec::new() },
        Form::Buildkitd => registries(here, buildkitd),
        Form::Containerd => registries(here, containerd),
        Form::Podman => registries(here, podman),
    }
}

/// The same for people, each client by itself: what a shell is told, and what files are.
pub(crate) fn by_client(here: &Here) -> Vec<Piece> {
    let pointers = here.pointers();
    let mut all: Vec<Piece> = Vec::new();
    for it in pointers.variables.iter().filter(|it| is_plain(&it.name)) {
        let line = format!("export {}={}\n", it.name, quoted(&it.value));
        match all.last_mut().filter(|last| last.client == it.client) {
            Some(last) => last.text.push_str(&line),
            None => all.push(Piece { client: it.client, place: "in a shell".to_owned(), text: line }),
        }
    }
    all.extend(pieces(here, &pointers));
    let engines = [("podman, skopeo, buildah", Form::Podman), ("containerd", Form::Containerd)];
    for (client, form) in engines.into_iter().filter(|_| !here.registries.is_empty()) {
        let place = "see the first lines".to_owned();
        all.push(Piece { client, place, text: write(here, form).text });
    }
    all
}

/// Whether shells have variables of this name.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn shell(here: &Here, pointers: &Pointers, start: &str, between: &str, quote: fn(&str) -> String) -> String {
    let mut text = String::new();
    let mut client = "";
    for it in pointers.variables.iter().filter(|it| is_plain(&it.name)) {
        if it.client != client {
            client = it.client;
            let _ = writeln!(text, "# {client}");
        }
        let _ = writeln!(text, "{start}{}{between}{}", it.name, quote(&it.value));
    }
    for piece in pieces(here, pointers) {
        let _ = writeln!(text, "# {}: no variable says this. In {}:", piece.client, piece.place);
        for line in piece.text.lines() {
            let _ = writeln!(text, "{}", format!("#   {line}").trim_end());
        }
    }
    if !pointers.cargo.is_empty() {
        let args: Vec<_> = pointers.cargo.iter().map(|it| format!("--config {}", quoted(it))).collect();
        let _ = writeln!(text, "# cargo, for one command: cargo {} …", args.join(" "));
    }
    for note in &pointers.notes {
        let _ = writeln!(text, "# {note}");
    }
    text
}

/// The pieces of files, also for what has a variable that shells cannot have, and for docker.
fn pieces(here: &Here, pointers: &Pointers) -> Vec<Piece> {
    let mut pieces = pointers.pieces.clone();
    let mut scopes = String::new();
    for it in &pointers.variables {
        if let Some(key) = it.name.strip_prefix("npm_config_").filter(|_| !is_plain(&it.name)) {
            let _ = writeln!(scopes, "{key}={}", it.value);
        }
    }
    if !scopes.is_empty() {
        pieces.push(Piece { client: "npm, pnpm", place: "~/.npmrc".into(), text: scopes });
    }
    if !here.registries.is_empty() {
        let text = format!("{{ \"registry-mirrors\": [\"{}\"] }}\n", here.url);
        let place = "/etc/docker/daemon.json (docker has mirrors of its own registry only)".to_owned();
        pieces.push(Piece { client: "docker", place, text });
    }
    pieces
}

fn json(here: &Here, pointers: Pointers) -> String {
    #[derive(Serialize)]
    struct File {
        client: &'static str,
        place: String,
        text: String,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct All<'a> {
        url: &'a str,
        variables: BTreeMap<String, String>,
        files: Vec<File>,
        cargo_config: Vec<String>,
        registries: &'a [String],
        notes: Vec<String>,
    }
    let files = pieces(here, &pointers);
    let file = |Piece { client, place, text }| File { client, place, text };
    let all = All {
        url: &here.url,
        variables: pointers.variables.into_iter().map(|it| (it.name, it.value)).collect(),
        files: files.into_iter().map(file).collect(),
        cargo_config: pointers.cargo,
        registries: &here.registries,
        notes: pointers.notes,
    };
    let mut line = Vec::new();
    // A string takes all that is written to it, and none of this is more than text.
    let _ = toolkit::output::json_line(&mut line, &all);
    String::from_utf8(line).unwrap_or_default()
}

/// The clients that a proxy leads here, for a variable that is theirs together.
const PROXY: &str = "apt, dnf";
/// The same, each by itself.
const PROXIED: [&str; 2] = ["apt", "dnf"];

/// What a build is given: http sources of apt and dnf go through the proxy, and the cache itself
/// does not.
fn build_args(here: &Here, pointers: &Pointers) -> Vec<Variable> {
    let mut args = Vec::new();
    if here.by_proxy().next().is_some() {
        let host = address::host(&here.url);
        for (name, value) in [("http_proxy", here.url.as_str()), ("no_proxy", host)] {
            args.push(Variable { client: PROXY, name: name.to_owned(), value: value.to_owned() });
        }
    }
    args.extend(pointers.variables.iter().filter(|it| is_plain(&it.name)).cloned());
    args
}

/// Lines without comments, for a command line or a program that knows none.
fn bare(
    here: &Here,
    variables: &[Variable],
    pointers: &Pointers,
    line: impl Fn(&Variable) -> String,
) -> Written {
    let text = variables.iter().filter(|it| is_plain(&it.name)).map(|it| line(it) + "\n").collect();
    // apt and dnf have one here, if that of the proxy is among them.
    let has_own = |it: &Piece| PROXIED.contains(&it.client) && variables.iter().any(|it| it.client == PROXY);
    let note = |it: Piece| {
        format!("{} has no variable for it: `pkgcache env` says what belongs into {}", it.client, it.place)
    };
    let mut notes: Vec<_> = pieces(here, pointers).into_iter().filter(|it| !has_own(it)).map(note).collect();
    notes.extend(pointers.notes.iter().cloned());
    Written { text, notes }
}

fn compose(here: &Here, pointers: &Pointers) -> String {
    let mut text =
        "# In a service: `build: { context: ., args: *pkgcache }`. What the Dockerfile does not declare\n\
                    # with ARG has no effect, but for the proxy.\n\
                    x-pkgcache: &pkgcache\n"
            .to_owned();
    for it in build_args(here, pointers) {
        // JSON's strings are YAML's.
        let _ = writeln!(text, "  {}: {}", it.name, serde_json::Value::from(it.value));
    }
    for note in &pointers.notes {
        let _ = writeln!(text, "# {note}");
    }
    text
}

fn registries(here: &Here, form: fn(&Here) -> String) -> Written {
    if here.registries.is_empty() {
        let note = "no registry is set in `[pkgcache.registry]`".to_owned();
        return Written { text: String::new(), notes: vec![note] };
    }
    Written { text: form(here), notes: Vec::new() }
}

fn buildkitd(here: &Here) -> String {
    let cache = toml_text(here.authority());
    let mut text = "# /etc/buildkit/buildkitd.toml\n".to_owned();
    for name in &here.registries {
        let _ = write!(text, "[registry.{}]\nmirrors = [{cache}]\n\n", toml_text(name));
    }
    if here.url.starts_with("http://") {
        let _ = writeln!(text, "[registry.{cache}]\nhttp = true");
    }
    text
}

fn containerd(here: &Here) -> String {
    let mut text = String::new();
    for name in &here.registries {
        let _ = write!(
            text,
            "# /etc/containerd/certs.d/{name}/hosts.toml\n[host.{}]\ncapabilities = [\"pull\", \"resolve\"]\n\n",
            toml_text(&here.url)
        );
    }
    format!("{}\n", text.trim_end())
}

fn podman(here: &Here) -> String {
    let insecure = if here.url.starts_with("http://") { "insecure = true\n" } else { "" };
    let mut text = "# /etc/containers/registries.conf.d/pkgcache.conf\n".to_owned();
    for name in &here.registries {
        // A place has one port only.
        let below = toml_text(&format!("{}/{}", here.authority(), name.replace(':', "_")));
        let name = toml_text(name);
        let _ = write!(
            text,
            "[[registry]]\nprefix = {name}\nlocation = {name}\n[[registry.mirror]]\nlocation = {below}\n{insecure}\n"
        );
    }
    format!("{}\n", text.trim_end())
}

fn toml_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// `word` as one word of a POSIX shell, unquoted where that is safe.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The same for fish, where a backslash counts in single quotes, too.
fn fish(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\\', r"\\").replace('\'', r"\'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::pointers::tests::here;
    use std::process::Command;

    fn text(form: Form) -> String {
        write(&here("http://127.0.0.1:3144"), form).text
    }

    #[test]
    fn a_shell_sets_what_it_is_told() {
        let script = format!("{}\necho \"$PIP_INDEX_URL $npm_config_registry\"", text(Form::Sh));
        let output = Command::new("sh").args(["-euc", &script]).output().unwrap();
        let (out, err) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!(
            (out.as_str(), err.as_str()),
            ("http://127.0.0.1:3144/pypi/ http://127.0.0.1:3144/npm/\n", "")
        );
    }

    #[test]
    fn a_shell_gives_back_odd_words() {
        for word in ["", "it's", "a b", "$x`y`", "a\\b", "*", "a\nb"] {
            let output =
                Command::new("sh").args(["-c", &format!("printf %s {}", quoted(word))]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
        assert_eq!((fish("it's a\\b"), fish("a/b")), (r"'it\'s a\\b'".to_owned(), "a/b".to_owned()));
    }

    #[test]
    fn what_has_no_variable_is_a_file_with_its_place() {
        let text = text(Form::Sh);
        for line in [
            "# apt: no variable says this. In /etc/apt/apt.conf.d/90pkgcache:\n#   Acquire::http::Proxy::deb.example \"http://127.0.0.1:3144/\";\n",
            "# cargo: no variable says this. In ~/.cargo/config.toml:\n#   [source.crates-io]\n",
            "# npm, pnpm: no variable says this. In ~/.npmrc:\n#   @team:registry=http://127.0.0.1:3144/team/\n",
            "# cargo, for one command: cargo --config 'source.crates-io.replace-with=\"pkgcache\"' --config",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("export npm_config_@team"), "{text}");
        assert!(self::text(Form::Fish).contains("\nset -gx PIP_INDEX_URL http://127.0.0.1:3144/pypi/\n"));
    }

    #[test]
    fn a_program_gets_all_of_it() {
        let all: serde_json::Value = serde_json::from_str(&text(Form::Json)).unwrap();
        assert_eq!(all["variables"]["npm_config_@team:registry"], "http://127.0.0.1:3144/team/");
        assert_eq!(all["files"][0]["place"], "~/.cargo/config.toml");
        assert_eq!(all["cargo-config"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn lines_without_comments_are_for_command_lines_and_ci() {
        let docker = write(&here("http://host.example:3144"), Form::Docker);
        let lines: Vec<_> = docker.text.lines().collect();
        assert_eq!(
            lines[..3],
            [
                "--build-arg http_proxy=http://host.example:3144",
                "--build-arg no_proxy=host.example",
                "--build-arg PIP_INDEX_URL=http://host.example:3144/pypi/",
            ]
        );
        assert!(
            docker.notes.iter().any(|it| it.starts_with("cargo has no variable for it")),
            "{:?}",
            docker.notes
        );
        let ci = text(Form::Ci);
        assert!(ci.lines().all(|line| line.split_once('=').is_some_and(|(name, _)| is_plain(name))), "{ci}");
    }

    #[test]
    fn engines_read_their_own_forms() {
        let compose = text(Form::Compose);
        assert!(
            compose.contains("x-pkgcache: &pkgcache\n  http_proxy: \"http://127.0.0.1:3144\"\n"),
            "{compose}"
        );
        let buildkitd: toml::Table = text(Form::Buildkitd).parse().unwrap();
        assert_eq!(buildkitd["registry"]["b.example:5000"]["mirrors"][0].as_str(), Some("127.0.0.1:3144"));
        assert_eq!(buildkitd["registry"]["127.0.0.1:3144"]["http"].as_bool(), Some(true));
        let podman: toml::Table = text(Form::Podman).parse().unwrap();
        assert_eq!(
            podman["registry"][1]["mirror"][0]["location"].as_str(),
            Some("127.0.0.1:3144/b.example_5000")
        );
        let containerd = text(Form::Containerd);
        assert!(
            containerd.contains("certs.d/a.example/hosts.toml\n[host.\"http://127.0.0.1:3144\"]\n"),
            "{containerd}"
        );
        let none = Here { url: "http://127.0.0.1:1".into(), ..Here::default() };
        assert_eq!(write(&none, Form::Podman).notes[0], "no registry is set in `[pkgcache.registry]`");
        assert_eq!(write(&none, Form::Sh).notes, ["nothing is mounted that a client could be led to"]);
        let docker = write(&here("http://127.0.0.1:3144"), Form::Docker);
        assert!(docker.notes.last().unwrap().starts_with("in a build `127.0.0.1` is the build itself"));
    }
}
