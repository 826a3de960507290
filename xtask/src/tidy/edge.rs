//! Whether the tools' libraries leave the process to its binary: its environment, its terminal, its
//! signals, its umask and its end.
//!
//! Limit: what a name says is believed; a path that is taken apart (`use std::{env}`) is not seen.

use super::Modules;

/// The libraries that are looked at. `toolkit` is the edge itself.
const LIBRARIES: [&str; 5] = ["gcctl", "hashctx", "imgtar", "pkgcache", "storekit"];

/// What a library does not name.
const PROCESS: [&str; 20] = [
    "env::args",
    "env::current_dir",
    "env::set_current_dir",
    "env::temp_dir",
    "env::var",
    "eprint!",
    "eprintln!",
    "io::stderr",
    "io::stdin",
    "io::stdout",
    "is_terminal",
    "libc::sigaction",
    "print!",
    "println!",
    "process::abort",
    "process::exit",
    "process::umask",
    "signal::unix",
    "signal_hook",
    "toolkit::Signals",
];

/// A module that may name some of it.
struct Excepted {
    of: &'static str,
    module: &'static str,
    names: &'static [&'static str],
    /// Why it may.
    #[expect(dead_code, reason = "it is read here, by people")]
    reason: &'static str,
}

const EXCEPTED: [Excepted; 1] = [Excepted {
    of: "hashctx",
    module: "files::mapped",
    names: &["libc::sigaction"],
    reason: "a mapped file that is cut short raises a signal in the thread that reads it",
}];

/// A line for each module of the library that names what is the binary's.
pub(super) fn breaches(name: &str, modules: &Modules) -> Vec<String> {
    if !LIBRARIES.contains(&name) {
        return Vec::new();
    }
    let named = |(path, text): (&Vec<String>, &String)| {
        let module = path.join("::");
        let found = PROCESS.iter().filter(|it| names(text, it) && !is_excepted(name, &module, it));
        found.map(|it| format!("`{name}` {module} names `{it}`, which is its binary's")).collect::<Vec<_>>()
    };
    modules.iter().flat_map(named).collect()
}

fn is_excepted(of: &str, module: &str, name: &str) -> bool {
    EXCEPTED.iter().any(|it| (it.of, it.module) == (of, module) && it.names.contains(&name))
}

/// Whether the code names it, comments and test modules aside.
fn names(text: &str, wanted: &str) -> bool {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let code = code.lines().map(|line| line.split("//").next().unwrap_or_default());
    let whole = |before: &str| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    code.into_iter().any(|line| line.match_indices(wanted).any(|(at, _)| whole(&line[..at])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn finds(name: &str, text: &str, expected: &[&str]) {
        let modules = [(vec!["a".to_owned()], text.to_owned())].into();
        assert_eq!(breaches(name, &modules), expected, "{text}");
    }

    #[test]
    fn a_library_leaves_the_process_to_its_binary() {
        let told = |name: &str| format!("`imgtar` a names `{name}`, which is its binary's");
        finds("imgtar", "fn f() { std::env::var(\"X\"); }", &[&told("env::var")]);
        finds("imgtar", "use std::io::stderr;", &[&told("io::stderr")]);
        finds("imgtar", "fn f() { println!(); }", &[&told("println!")]);
        finds("toolkit", "fn f() { println!(); }", &[]);
    }

    #[test]
    fn what_only_looks_alike_is_let_be() {
        finds("imgtar", "// io::stderr\nfn f() { writeln!(out); sprint!(); std::env::consts::ARCH }", &[]);
        finds("imgtar", "#[cfg(test)]\nmod tests {\n use std::env::var; }", &[]);
    }
}
