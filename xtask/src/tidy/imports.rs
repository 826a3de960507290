//! Which modules a module names, as far as its text shows: `use` trees, and paths that begin with
//! `crate`, `super`, `self` or a module's child.
//!
//! Limit: a name that the root hands on (`pub use`) counts as the module that it comes from; what
//! another module hands on counts as that module's own.

use std::collections::{BTreeMap, BTreeSet};

use super::Modules;

/// A path as it is written.
type Path = Vec<String>;

/// Each pair of a module and one that it names; the root is neither.
#[must_use]
pub(super) fn uses(modules: &Modules) -> BTreeSet<(Path, Path)> {
    let root = handed_on(modules);
    let mut found = BTreeSet::new();
    for (from, text) in modules.iter().filter(|(from, _)| !from.is_empty()) {
        for path in paths(text) {
            let Some(path) = absolute(from, &path, modules) else { continue };
            let path = match path.as_slice() {
                [name, ..] if !modules.contains_key(&path[..1]) => match root.get(name) {
                    Some(path) => path.clone(),
                    None => continue,
                },
                _ => path,
            };
            let to =
                (1..=path.len()).rev().map(|length| &path[..length]).find(|to| modules.contains_key(*to));
            found.extend(to.filter(|to| to != from).map(|to| (from.clone(), to.to_vec())));
        }
    }
    found
}

/// The names that the root hands on, with the paths that they stand for.
fn handed_on(modules: &Modules) -> BTreeMap<String, Path> {
    let text = modules.get(&Vec::new()).map(String::as_str).unwrap_or_default();
    let root = paths(text).into_iter().filter_map(|path| absolute(&[], &path, modules));
    root.filter_map(|path| Some((path.last()?.clone(), path))).collect()
}

/// The path from the crate's root; `None` where it leads out of the crate.
fn absolute(from: &[String], path: &[String], modules: &Modules) -> Option<Path> {
    let child = |name: &str| {
        let mut child = from.to_vec();
        child.push(name.to_owned());
        modules.contains_key(&child)
    };
    match path.first().map(String::as_str)? {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([from, &path[1..]].concat()),
        "super" => {
            let up = path.iter().take_while(|part| *part == "super").count();
            Some([from.get(..from.len().checked_sub(up)?)?, &path[up..]].concat())
        }
        name if child(name) => Some([from, path].concat()),
        _ => None,
    }
}

/// All paths of more than one part in the text, `use` trees taken apart, but for test modules.
fn paths(text: &str) -> Vec<Path> {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        // `pub(in crate::room)` says who may see a thing, and takes nothing from there.
        let is_visibility = tokens[..at].ends_with(&["pub", "(", "in"]);
        let starts = is_name(tokens[at]) && !is_visibility && (at == 0 || tokens[at - 1] != "::");
        if starts && tokens.get(at + 1) == Some(&"::") {
            at = tree(&tokens, at, &mut Vec::new(), &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Reads one tree of paths that begins at `at`; gives where it ends.
fn tree(tokens: &[&str], mut at: usize, prefix: &mut Path, found: &mut Vec<Path>) -> usize {
    let depth = prefix.len();
    while let Some(token) = tokens.get(at).filter(|token| is_name(token)) {
        prefix.push((*token).to_owned());
        at += 1;
        match (tokens.get(at), tokens.get(at + 1)) {
            (Some(&"::"), Some(&"{")) => {
                at += 2;
                while let Some(token) = tokens.get(at).filter(|token| **token != "}") {
                    at = match *token {
                        "as" => at + 2,
                        name if is_name(name) => tree(tokens, at, prefix, found),
                        _ => at + 1,
                    };
                }
                prefix.truncate(depth);
                return at + 1;
            }
            (Some(&"::"), Some(next)) if is_name(next) => at += 1,
            _ => break,
        }
    }
    if prefix.len() > depth {
        // `use a::{self}` is `a`.
        let ends_in_self = depth > 0 && prefix.last().is_some_and(|last| last == "self");
        found.push(prefix[..prefix.len() - usize::from(ends_in_self)].to_vec());
    }
    prefix.truncate(depth);
    at
}

fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Names, `::` and single signs; comments and the insides of strings are left out.
fn tokens(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first == '"' {
            string(rest)
        } else if first.is_alphanumeric() || first == '_' {
            rest.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let is_token = !first.is_whitespace() && first != '"' && !rest.starts_with("//");
        found.extend(is_token.then_some(&rest[..length]));
        rest = &rest[length..];
    }
    found
}

/// The length of the string literal that the text begins with.
fn string(text: &str) -> usize {
    let mut escaped = false;
    let end = text[1..].find(|char| {
        let ends = char == '"' && !escaped;
        escaped = char == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn finds(text: &str, expected: &[&str]) {
        let found: Vec<_> = paths(text).iter().map(|path| path.join("::")).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn trees_are_taken_apart() {
        finds(
            "use crate::a::{self, b::C, d::{E, F as G}};",
            &["crate::a", "crate::a::b::C", "crate::a::d::E", "crate::a::d::F"],
        );
        finds(
            "use super::*;\nfn f() { self::g::h(super::super::i::J) }",
            &["super", "self::g::h", "super::super::i::J"],
        );
    }

    #[test]
    fn who_may_see_a_thing_does_not_count() {
        finds("pub(in crate::a) fn f() { for x in crate::b::ALL {} }", &["crate::b::ALL"]);
    }

    #[test]
    fn comments_strings_and_tests_do_not_count() {
        finds(
            "// crate::a::b\nlet x = \"crate::c \\\" ::d\";\n#[cfg(test)]\nmod tests { use crate::e::f; }",
            &[],
        );
    }
}
