//! Whether the source tree keeps the rules of the house: no cycle between rooms, folders that can
//! be taken in at a look, comments that fit a terminal, libraries that leave the process to its
//! binary, tests that wait for what happens and not for time.
//!
//! A room is a folder, or a file, right below a crate's `src`. What stands in `#[cfg(test)]`
//! modules does not count.

mod edge;
mod graph;
mod imports;
mod sleeps;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use miette::Diagnostic;
use thiserror::Error;

pub use self::graph::Graph;

/// The longest line of a comment, in columns.
const COLUMNS: usize = 100;
/// The most files that a folder of sources holds.
const FILES: usize = 18;
/// The most files of one folder that may need each other in a circle.
const CIRCLE: usize = 4;

/// A circle that stays.
struct Allowed {
    /// The crate, and the folder in it; empty for the rooms themselves.
    of: (&'static str, &'static str),
    /// Its members; the folder's own `mod.rs` is called `mod`.
    members: &'static [&'static str],
    /// Why it stays.
    #[expect(dead_code, reason = "it is read here, by people")]
    reason: &'static str,
}

const ALLOWED: [Allowed; 7] = [
    Allowed {
        of: ("storekit", ""),
        members: &["images", "packages", "store"],
        reason: "a store makes its parts, and each of them holds the store that it is a part of",
    },
    Allowed {
        of: ("hashctx", "dockerfile"),
        members: &["analyse", "frontend", "mod", "platform", "reads", "remote", "select", "stages"],
        reason: "mod.rs says what is asked and answered, in the types that all of it is written in",
    },
    Allowed {
        of: ("imgtar", "engine"),
        members: &["daemon", "digests", "mod", "seen", "transfer"],
        reason: "mod.rs has `Engine`, and the files its methods",
    },
    Allowed {
        of: ("imgtar", "registry"),
        members: &["memory", "mod", "names", "pull", "push"],
        reason: "mod.rs has the operations beside the list of the files that make them up",
    },
    Allowed {
        of: ("imgtar", "serve"),
        members: &["connection", "dispatch", "guard", "handlers", "mod", "state"],
        reason: "mod.rs has the configuration; uploads under way are state and requests in one",
    },
    Allowed {
        of: ("pkgcache", "clients"),
        members: &["apt", "dnf", "mod", "npm", "plan", "python", "registries"],
        reason: "mod.rs has what is found beside the list of those who find it",
    },
    Allowed {
        of: ("xtask", "bench"),
        members: &["bake", "hashctx", "imgtar", "mod", "pkgcache"],
        reason: "mod.rs has races and how they are run, the files what is raced",
    },
];

/// Why the tree is not tidy.
#[derive(Debug, Error, Diagnostic)]
pub enum TidyError {
    /// A source file cannot be read.
    #[error("cannot read `{path}`")]
    #[diagnostic(code(xtask::tidy::read))]
    Read {
        /// The file or folder.
        path: Utf8PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// One line for each breach.
    #[error("the source tree is not tidy:\n{}", .0.join("\n"))]
    #[diagnostic(code(xtask::tidy), help("ARCHITECTURE.md says what the rooms are for"))]
    Untidy(Vec<String>),
}

/// A crate's modules by path, with their source text. The root is the empty path.
pub type Modules = BTreeMap<Vec<String>, String>;

/// Checks the workspace in `root`.
///
/// # Errors
/// `Untidy`, with every breach; `Read`.
pub fn check(root: &Utf8Path) -> Result<(), TidyError> {
    let mut untidy = Vec::new();
    for (name, folder) in crates(root)? {
        let files = sources(&folder.join("src"))?;
        untidy.extend(crowded(&folder, &files));
        let modules = library(&folder.join("src"), &files)?;
        untidy.extend(circles(&name, &modules));
        untidy.extend(edge::breaches(&name, &modules));
        for file in sources(&folder)? {
            let text = read(&file)?;
            untidy.extend(wide(&file, &text));
            untidy.extend(sleeps::unexplained(&file, &text));
        }
    }
    if untidy.is_empty() { Ok(()) } else { Err(TidyError::Untidy(untidy)) }
}

/// The workspace's packages by name.
fn crates(root: &Utf8Path) -> Result<Vec<(String, Utf8PathBuf)>, TidyError> {
    let mut found = vec![("xtask".to_owned(), root.join("xtask")), ("tests".to_owned(), root.join("tests"))];
    for entry in list(&root.join("crates"))? {
        found.extend(entry.file_name().map(|name| (name.to_owned(), entry.clone())));
    }
    Ok(found)
}

fn list(folder: &Utf8Path) -> Result<Vec<Utf8PathBuf>, TidyError> {
    let failed = |source| TidyError::Read { path: folder.to_owned(), source };
    let entries: Result<Vec<_>, _> = folder.read_dir_utf8().map_err(failed)?.collect();
    let mut paths: Vec<_> =
        entries.map_err(failed)?.into_iter().map(camino::Utf8DirEntry::into_path).collect();
    paths.sort();
    Ok(paths)
}

/// All Rust files below the folder.
fn sources(folder: &Utf8Path) -> Result<Vec<Utf8PathBuf>, TidyError> {
    let mut files = Vec::new();
    for path in list(folder)? {
        if path.is_dir() {
            files.extend(sources(&path)?);
        } else if path.extension() == Some("rs") {
            files.push(path);
        }
    }
    Ok(files)
}

fn read(path: &Utf8Path) -> Result<String, TidyError> {
    fs::read_to_string(path).map_err(|source| TidyError::Read { path: path.to_owned(), source })
}

/// The modules of the library: all but the binary's, which `main.rs` names.
fn library(src: &Utf8Path, files: &[Utf8PathBuf]) -> Result<Modules, TidyError> {
    let main = src.join("main.rs");
    let main = if main.is_file() { read(&main)? } else { String::new() };
    let named = main.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    let binary: BTreeSet<_> = named.chain(["main"]).collect();
    let mut modules = Modules::new();
    for file in files {
        let path = module_of(file.strip_prefix(src).unwrap_or(file));
        if !path.first().is_some_and(|first| binary.contains(first.as_str())) {
            modules.insert(path, read(file)?);
        }
    }
    Ok(modules)
}

/// The path of the module that a file is: `layer/known.rs` → `layer::known`, `layer/mod.rs` →
/// `layer`, `lib.rs` → the root.
fn module_of(file: &Utf8Path) -> Vec<String> {
    let mut path: Vec<String> =
        file.with_extension("").components().map(|part| part.as_str().to_owned()).collect();
    if path.last().is_some_and(|last| last == "mod") || path.as_slice() == ["lib"] {
        path.pop();
    }
    path
}

/// Folders with more files than one takes in.
fn crowded(folder: &Utf8Path, files: &[Utf8PathBuf]) -> Vec<String> {
    let mut counts: BTreeMap<&Utf8Path, usize> = BTreeMap::new();
    for parent in files.iter().filter_map(|file| file.parent()) {
        *counts.entry(parent).or_default() += 1;
    }
    let crowded = counts.into_iter().filter(|(_, count)| *count > FILES);
    let short = |path: &Utf8Path| path.strip_prefix(folder).unwrap_or(path).to_owned();
    let name = folder.file_name().unwrap_or_default();
    crowded.map(|(path, count)| format!("`{name}/{}` holds {count} files", short(path))).collect()
}

/// Circles between rooms, and large ones between the files of one.
fn circles(name: &str, modules: &Modules) -> Vec<String> {
    let uses = imports::uses(modules);
    let between = |from: &[String], to: &[String]| Some((from.first()?.clone(), to.first()?.clone()));
    let rooms: Graph = uses.iter().filter_map(|(from, to)| between(from, to)).collect();
    let mut found = report(name, "", &rooms, 1);
    let folders: BTreeSet<&[String]> =
        modules.keys().filter(|path| path.len() > 1).map(|path| &path[..path.len() - 1]).collect();
    for folder in folders {
        let within = |path: &[String]| {
            let member = path.get(folder.len()).cloned().unwrap_or_else(|| "mod".to_owned());
            Some(member).filter(|_| path.starts_with(folder))
        };
        let files: Graph = uses.iter().filter_map(|(from, to)| Some((within(from)?, within(to)?))).collect();
        found.extend(report(name, &folder.join("::"), &files, CIRCLE));
    }
    found
}

/// A line for each circle of more than `most` nodes that is not allowed.
fn report(name: &str, folder: &str, graph: &Graph, most: usize) -> Vec<String> {
    let is_allowed = |circle: &Vec<String>| {
        ALLOWED.iter().any(|allowed| allowed.of == (name, folder) && allowed.members.iter().eq(circle.iter()))
    };
    let told = |circle: Vec<String>| {
        let edges = graph.within(&circle).into_iter().map(|(from, to)| format!("{from} → {to}"));
        let edges: Vec<_> = edges.collect();
        format!("`{name}` {folder} goes in a circle: {}", edges.join(", "))
    };
    let circles = graph.circles().into_iter().filter(|circle| circle.len() > most && !is_allowed(circle));
    circles.map(told).collect()
}

/// Comments that are too wide.
fn wide(file: &Utf8Path, text: &str) -> Vec<String> {
    let is_wide = |line: &&str| line.trim_start().starts_with("//") && line.chars().count() > COLUMNS;
    let numbered = text.lines().enumerate().filter(|(_, line)| is_wide(line));
    numbered
        .map(|(number, _)| format!("{file}:{}: a comment of more than {COLUMNS} columns", number + 1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(texts: &[(&str, &str)]) -> Modules {
        let path = |name: &str| name.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
        texts.iter().map(|(name, text)| (path(name), (*text).to_owned())).collect()
    }

    #[test]
    fn this_workspace_is_tidy() {
        let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
        if let Err(error) = check(root) {
            panic!("{error}");
        }
    }

    #[test]
    fn a_circle_between_rooms_is_named() {
        let found = circles(
            "x",
            &modules(&[
                ("", "pub use b::Thing;"),
                ("a", "use crate::Thing;"),
                ("b::c", "fn f() { crate::a::g() }"),
                ("b", ""),
            ]),
        );
        assert_eq!(found, ["`x`  goes in a circle: a → b, b → a"]);
    }

    #[test]
    fn a_test_may_use_what_it_likes() {
        let text = "#[cfg(test)]\nmod tests {\n    use crate::b;\n}\n";
        assert_eq!(circles("x", &modules(&[("", ""), ("a", text), ("b", "use crate::a::A;")])), [""; 0]);
    }

    #[test]
    fn a_small_circle_within_a_room_may_stay() {
        let ring = |count: usize| {
            let text = |n: usize| (format!("r::f{n}"), format!("use super::f{}::X;", (n + 1) % count));
            let texts: Vec<_> = (0..count).map(text).collect();
            let files = texts.iter().map(|(name, text)| (name.as_str(), text.as_str()));
            let texts: Vec<_> = files.chain([("r", "")]).collect();
            circles("x", &modules(&texts)).len()
        };
        assert_eq!((ring(4), ring(5)), (0, 1));
    }

    #[test]
    fn a_wide_comment_is_named_with_its_line() {
        let wide = super::wide(Utf8Path::new("a.rs"), &format!("// short\n    // {}\n", "x".repeat(100)));
        assert_eq!(wide, ["a.rs:2: a comment of more than 100 columns"]);
    }
}
