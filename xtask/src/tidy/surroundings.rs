//! What a library must be handed, and does not take of its process: environment, terminal, signals.

use super::Modules;

/// The libraries that hold to it. `toolkit` is where the tools take it; `larder` runs commands for
/// the person at the terminal.
const LIBRARIES: [&str; 5] = ["gcctl", "hashctx", "imgtar", "pkgcache", "storekit"];

/// What reads the process's surroundings, or talks to whoever started it.
const SURROUNDINGS: [&str; 9] = [
    "env::var",
    "env::args",
    "env::current_dir",
    "env::home_dir",
    "io::stderr",
    "eprint",
    "process::exit",
    "signal::unix",
    "signal_hook",
];

/// A line for each library module, tests aside, that takes what it should be handed.
pub(super) fn read(name: &str, modules: &Modules) -> Vec<String> {
    if !LIBRARIES.contains(&name) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (path, text) in modules {
        let module = path.join("::");
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<String>();
        let taken = SURROUNDINGS.iter().filter(|word| code.contains(**word));
        found.extend(taken.map(|word| format!("`{name}` {module} uses `{word}`: hand it in")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn finds(name: &str, text: &str, count: usize) {
        let modules = [(vec!["a".to_owned()], text.to_owned())].into();
        assert_eq!(read(name, &modules).len(), count, "{text}");
    }

    #[test]
    fn a_library_takes_nothing_of_its_process() {
        finds("imgtar", "fn a() { std::env::var(\"X\"); }", 1);
        finds("imgtar", "fn a() { eprintln!(); std::io::stderr(); }", 2);
        finds("imgtar", "// as env::var says\nfn a() {}", 0);
        finds("imgtar", "fn a() {}\n\n#[cfg(test)]\nmod tests { fn a() { std::env::var(\"X\"); } }", 0);
        finds("toolkit", "fn a() { std::env::var(\"X\"); }", 0);
    }
}
