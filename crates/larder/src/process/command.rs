//! A command as data: what will run, and the line that a person would type for it.
//!
//! Starts nothing; `runner` does that.

use std::fmt;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use crate::process::children::Kind;
use crate::process::podman::Build;
use toolkit::guard;

/// One program with its arguments and the variables that are set for it alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cmd {
    program: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    limit: Option<Duration>,
    folder: Option<Utf8PathBuf>,
    /// How it is ended.
    kind: Kind,
}

impl Cmd {
    /// A command without arguments.
    #[must_use]
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            limit: None,
            folder: None,
            kind: Kind::Plain,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds `--flag value`, or `--flag=value` where the value alone would be taken for a flag.
    #[must_use]
    pub fn flag(self, flag: &str, value: &str) -> Self {
        if value.starts_with('-') { self.arg(format!("{flag}={value}")) } else { self.arg(flag).arg(value) }
    }

    /// Adds a path as an argument; one that begins with a hyphen is written so that it is not a
    /// flag.
    #[must_use]
    pub fn path(self, path: &Utf8Path) -> Self {
        self.arg(unflagged(path))
    }

    /// Ends the command when it has run for so long.
    #[must_use]
    pub fn within(mut self, limit: Option<Duration>) -> Self {
        self.limit = limit;
        self
    }

    /// Runs the command in this folder, an absolute path, and not in the runner's.
    #[must_use]
    pub fn inside(mut self, folder: Utf8PathBuf) -> Self {
        self.folder = Some(folder);
        self
    }

    /// The same, of a command of podman that builds, with its temporary files in this folder, which
    /// no other build has.
    #[must_use]
    pub(crate) fn building_in(self, folder: &Utf8Path) -> Self {
        let build = Build::new(folder, &self.program);
        Self { kind: Kind::Build(build), ..self.env("TMPDIR", folder.as_str()) }
    }

    /// The same, of a line of the project's own: what it starts is ended with it.
    #[must_use]
    pub(crate) fn step(self) -> Self {
        Self { kind: Kind::Step, ..self }
    }

    /// How it is ended.
    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// How long it may run.
    #[must_use]
    pub fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// Sets a variable for this command.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same command, started by another one that takes it as its last arguments.
    #[must_use]
    pub fn under(self, starter: Self) -> Self {
        let mut env = self.env;
        env.extend(starter.env.iter().cloned());
        Self { env, kind: self.kind, ..starter.arg(self.program).args(self.args) }
    }

    /// The program's path, or its name where PATH decides.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The program's name and first argument, as messages refer to it: `imgtar load`.
    #[must_use]
    pub fn short(&self) -> String {
        let name = Utf8Path::new(&self.program).file_name().unwrap_or(&self.program);
        match self.args.first() {
            Some(first) if !first.starts_with('-') => format!("{name} {first}"),
            _ => name.to_owned(),
        }
    }

    /// The command for the operating system, to be run in `folder`. `is_guarded`: it ends with this
    /// process.
    pub(crate) fn build(&self, folder: &Utf8Path, is_guarded: bool) -> std::process::Command {
        let folder = self.folder.as_deref().unwrap_or(folder);
        let path = self.env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, path)| path.as_str());
        let mut command = if is_guarded {
            guard::command(&self.program, folder.as_std_path(), path)
        } else {
            std::process::Command::new(&self.program)
        };
        command.args(&self.args).envs(self.env.iter().map(|(name, value)| (name, value)));
        command.current_dir(folder);
        command
    }
}

/// The line that a shell runs as this command.
impl fmt::Display for Cmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(folder) = &self.folder {
            write!(f, "cd {} && ", quoted(folder.as_str()))?;
        }
        for (name, value) in &self.env {
            write!(f, "{name}={} ", quoted(value))?;
        }
        write!(f, "{}", quoted(&self.program))?;
        self.args.iter().try_for_each(|arg| write!(f, " {}", quoted(arg)))
    }
}

/// `path` so that no tool takes it for a flag or for standard input.
fn unflagged(path: &Utf8Path) -> String {
    if path.as_str().starts_with('-') { format!("./{path}") } else { path.to_string() }
}

/// `word` as one word of a POSIX shell, unquoted where that is safe.
#[must_use]
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(cmd: &Cmd, line: &str) {
        assert_eq!(cmd.to_string(), line);
        let shell = std::process::Command::new("sh").args(["-c", line]).output().expect("sh");
        let direct = cmd.build(Utf8Path::new("/"), false).output().expect("the program");
        assert_eq!(shell.stdout, direct.stdout, "the shell reads `{line}` otherwise");
    }

    #[test]
    fn plain_words_stay_bare() {
        reads(&Cmd::new("echo").arg("a/b.c").flag("--tag", "x:1"), "echo a/b.c --tag x:1");
    }

    #[test]
    fn the_shell_gives_back_odd_words() {
        reads(
            &Cmd::new("printf").args(["%s|", "", "it's", "a b", "$x", "*"]),
            r"printf '%s|' '' 'it'\''s' 'a b' '$x' '*'",
        );
    }

    #[test]
    fn variables_come_first() {
        let cmd = Cmd::new("printenv").arg("GREETING").env("GREETING", "good day");
        reads(&cmd, "GREETING='good day' printenv GREETING");
    }

    #[test]
    fn a_command_can_be_started_by_another() {
        let cmd = Cmd::new("printf").arg("a b").env("x", "1").under(Cmd::new("nice").args(["-n", "0"]));
        reads(&cmd, "x=1 nice -n 0 printf 'a b'");
    }

    #[test]
    fn a_value_is_never_taken_for_a_flag() {
        let cmd = Cmd::new("echo").flag("--target", "-x").path(Utf8Path::new("-dir"));
        reads(&cmd, "echo --target=-x ./-dir");
    }

    #[test]
    fn messages_name_the_tool_and_its_job() {
        assert_eq!(Cmd::new("/opt/imgtar").arg("load").short(), "imgtar load");
        assert_eq!(Cmd::new("hashctx").arg("--manifest").short(), "hashctx");
    }
}
