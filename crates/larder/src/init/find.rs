//! The Dockerfiles of a folder, and what each is built from.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use ignore::WalkBuilder;

use super::{Found, image_name};

/// How many folders deep Dockerfiles are looked for.
const DEPTH: usize = 6;

/// The Dockerfiles below the folder that git does not ignore, those at the top first.
pub(super) fn dockerfiles(folder: &Utf8Path) -> Vec<Found> {
    let mut walk = WalkBuilder::new(folder);
    walk.require_git(false).max_depth(Some(DEPTH)).filter_entry(|entry| {
        let name = entry.file_name();
        entry.depth() == 0 || !["node_modules", "vendor", "target"].iter().any(|skipped| name == *skipped)
    });
    let is_file = |entry: &ignore::DirEntry| entry.file_type().is_some_and(|kind| kind.is_file());
    let files = walk.build().filter_map(Result::ok).filter(is_file);
    let paths = files.filter_map(|entry| {
        Utf8Path::from_path(entry.path())?.strip_prefix(folder).ok().map(Utf8Path::to_owned)
    });
    let mut paths: Vec<Utf8PathBuf> = paths.filter(|path| purpose(path).is_some()).collect();
    paths.sort_by_key(|path| (path.components().count(), path.clone()));
    let mut names = BTreeSet::new();
    paths.iter().map(|path| found(folder, path, &mut names)).collect()
}

/// What the name of a Dockerfile says that it is for: nothing for a plain one, `tests` for
/// `Dockerfile.tests` and `tests.Dockerfile`. `None` for any other file.
fn purpose(path: &Utf8Path) -> Option<&str> {
    let name = path.file_name()?;
    if matches!(name, "Dockerfile" | "Containerfile") {
        return Some("");
    }
    let purpose = ["Dockerfile", "Containerfile"].iter().find_map(|kind| {
        let after = name.strip_prefix(kind).and_then(|rest| rest.strip_prefix(['.', '-']));
        after.or_else(|| name.strip_suffix(kind).and_then(|rest| rest.strip_suffix(['.', '-'])))
    })?;
    let is_other = ["dockerignore", "containerignore", "md", "j2", "tmpl", "template", "in", "orig", "bak"];
    (!purpose.is_empty()
        && !is_other.iter().any(|end| purpose == *end || purpose.ends_with(&format!(".{end}"))))
    .then_some(purpose)
}

fn found(folder: &Utf8Path, path: &Utf8Path, names: &mut BTreeSet<String>) -> Found {
    let own = path.parent().unwrap_or(Utf8Path::new(""));
    let purpose = purpose(path).unwrap_or_default();
    let of_folder = own.file_name().or_else(|| folder.file_name()).unwrap_or("app");
    let mut name = image_name(if purpose.is_empty() { of_folder } else { purpose });
    if !names.insert(name.clone()) {
        let whole = format!("{own}-{purpose}");
        let numbered = (2..).map(|number| format!("{}-{number}", image_name(&whole)));
        let mut candidates = std::iter::once(image_name(&whole)).chain(numbered);
        name = candidates.find(|name| names.insert(name.clone())).unwrap_or(name);
    }
    let at_top = !own.as_str().is_empty() && reads_from_top(folder, own, path);
    let context = if at_top || own.as_str().is_empty() { Utf8PathBuf::from(".") } else { own.to_owned() };
    let dockerfile = if at_top { path.to_owned() } else { path.file_name().unwrap_or_default().into() };
    Found { name, context, dockerfile, ..Found::default() }
}

/// Whether what the Dockerfile copies lies below the project's folder rather than below its own.
fn reads_from_top(folder: &Utf8Path, own: &Utf8Path, path: &Utf8Path) -> bool {
    let Ok(text) = std::fs::read_to_string(folder.join(path)) else { return false };
    let sources: Vec<&str> = text.lines().flat_map(sources).collect();
    let there = |base: &Utf8Path| sources.iter().filter(|source| base.join(source).exists()).count();
    let (here, top) = (there(&folder.join(own)), there(folder));
    // A Dockerfile for a purpose lies apart; a plain one among what it builds.
    top > here || (top == here && purpose(path).is_some_and(|purpose| !purpose.is_empty()))
}

/// What a line copies of the context, as far as it is spelt out.
fn sources(line: &str) -> Vec<&str> {
    let mut words = line.split_whitespace();
    let is_copy = words
        .next()
        .is_some_and(|word| word.eq_ignore_ascii_case("COPY") || word.eq_ignore_ascii_case("ADD"));
    let words: Vec<_> = words.collect();
    if !is_copy || words.iter().any(|word| word.starts_with("--from")) {
        return Vec::new();
    }
    let is_plain = |word: &&str| {
        !word.starts_with("--") && !word.contains(['$', '*', '?', '[', '<', ':', '"']) && *word != "."
    };
    let paths: Vec<&str> = words.into_iter().filter(is_plain).collect();
    let (_, sources) = paths.split_last().unwrap_or((&"", &[]));
    sources
        .iter()
        .map(|source| source.trim_start_matches(['.', '/']))
        .filter(|source| !source.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockerfiles_are_known_by_their_names() {
        for (name, expected) in [
            ("Dockerfile", Some("")),
            ("a/Containerfile", Some("")),
            ("docker/Dockerfile.tests", Some("tests")),
            ("web.Dockerfile", Some("web")),
            ("Dockerfile.dockerignore", None),
            ("Dockerfile.j2", None),
            ("Dockerfiles", None),
            ("x.md", None),
        ] {
            assert_eq!(purpose(Utf8Path::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn what_is_copied_is_read_where_it_is_spelt_out() {
        assert_eq!(sources("COPY --chown=1 ./src Makefile /app/"), ["src", "Makefile"]);
        assert_eq!(sources("copy --from=x a b"), [""; 0]);
        assert_eq!(sources("COPY . ."), [""; 0]);
        assert_eq!(sources("RUN COPY a b"), [""; 0]);
    }
}
