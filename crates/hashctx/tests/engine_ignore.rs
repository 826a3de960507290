//! Which files of random contexts a real engine receives, against the walk by our matcher.
//!
//! Needs docker (with BuildKit and with the older builder) and podman. A test whose engine is
//! missing says so and is not run; with `LARDER_REQUIRE_ENGINES=1` that is a failure.
//!
//! Docker before 23 differs from the reference in some ways, which these contexts stay clear of:
//! `**bar` did not match `foobar`, `a+b` and `a|b` were expressions, an exception with wildcards
//! did not reach into a folder that was left out, and exceptions were not forgotten as `Patterns`
//! describes. Its `BuildKit` also sends an empty folder that is left out where an exception begins
//! with its name. Podman's rules are older still and have not changed since.

#![expect(clippy::print_stderr, reason = "a test that is not run says so")]

#[expect(dead_code, reason = "each test of engines uses a part")]
mod engines;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use engines::{Build, Random, entries_of};
use hashctx::dockerignore::{Engine, Folder, Patterns};

const NAMES: [&str; 13] =
    ["a", "b", "ab", "foo", "bar", "foobar", "x.txt", "b.txt", ".hid", "a b", "A", "y.log", "$"];
const PARTS: [&str; 22] = [
    "a", "b", "foo", "bar", "*", "**", "?", "*.txt", "foo*", "[ab]", "[a-c]*", "[^a]", "a*b", "*o*", ".*",
    "..", ".", "x.txt", "\\d*", "{a,b}*", "a b", "*.log",
];
/// Only for rules that every version reads alike.
const ODD: [&str; 8] = ["**bar", "***", "foo**", "(a|b)", "a+", " b", "a|b*", "a+b"];

/// What an ignore file may have.
struct Grammar {
    engine: Engine,
    odd: bool,
    wild_exceptions: bool,
}

/// A tree two or three levels deep and an ignore file that bites into it.
fn context(random: &mut Random, grammar: &Grammar, root: &Path) -> String {
    fs::create_dir_all(root).expect("folder");
    for _ in 0..random.below(24) + 8 {
        let depth = random.below(3);
        let folder = (0..depth).map(|_| NAMES[random.below(NAMES.len())]).collect::<Vec<_>>().join("/");
        let folder = root.join(folder);
        // A name may stand there as a file already; then this entry is dropped.
        if fs::create_dir_all(&folder).is_ok() {
            let _ = fs::File::create_new(folder.join(NAMES[random.below(NAMES.len())]));
        }
    }
    (0..=random.below(4)).map(|_| line(random, grammar)).collect()
}

fn line(random: &mut Random, grammar: &Grammar) -> String {
    let part = |random: &mut Random| match random.below(8) {
        0 if grammar.odd => ODD[random.below(ODD.len())],
        _ => PARTS[random.below(PARTS.len())],
    };
    let exception = random.below(3) == 0;
    let parts: Vec<_> = if exception && !grammar.wild_exceptions {
        (0..=random.below(2)).map(|_| NAMES[random.below(NAMES.len())]).collect()
    } else {
        (0..=random.below(3)).map(|_| part(random)).collect()
    };
    format!("{}{}\n", if exception { "!" } else { "" }, parts.join("/"))
}

/// What the walk keeps: files, and folders that are kept themselves or hold something that is.
fn walk(root: &Path, patterns: &Patterns) -> Result<BTreeSet<String>, String> {
    let mut kept = BTreeSet::new();
    descend(root, "", &Folder::default(), patterns, &mut kept)?;
    Ok(kept)
}

fn descend(
    dir: &Path,
    prefix: &str,
    folder: &Folder,
    patterns: &Patterns,
    kept: &mut BTreeSet<String>,
) -> Result<(), String> {
    for entry in fs::read_dir(dir).expect("folder") {
        let entry = entry.expect("entry");
        let path = format!("{prefix}{}", entry.file_name().to_str().expect("text"));
        let (verdict, inner) = patterns.enter(folder, path.as_bytes()).map_err(|error| error.to_string())?;
        if !verdict.excluded {
            let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
            kept.extend(ends.map(|end| path[..end].to_owned()));
        }
        if entry.path().is_dir() && !(verdict.excluded && patterns.prunable(&inner, path.as_bytes())) {
            descend(&entry.path(), &format!("{path}/"), &inner, patterns, kept)?;
        }
    }
    Ok(())
}

fn compare(build: &Build, grammar: &Grammar, seeds: std::ops::Range<u64>) {
    let (mut wrong, mut unlike) = (Vec::new(), 0);
    for seed in seeds {
        let temp = tempfile::tempdir().expect("folder");
        let root = temp.path().join("ctx");
        let ignore = context(&mut Random(seed), grammar, &root);
        engines::write(&root.join(".dockerignore"), &ignore);
        engines::write(&root.join("Dockerfile"), "FROM scratch\nCOPY . /\n");
        let ours = Patterns::parse_for(grammar.engine, ignore.as_bytes()).map_err(|error| error.to_string());
        if ours.as_ref().is_ok_and(|patterns| versions_differ(grammar, patterns, &root)) {
            unlike += 1;
            continue;
        }
        let ours = ours.and_then(|patterns| walk(&root, &patterns)).map(always_sent_aside);
        let theirs = build.entries(&root).map(always_sent_aside);
        match (ours, theirs) {
            (Ok(ours), Ok(theirs))
                if ours == without_folders_of_old(grammar, &root, &ours, theirs.clone()) => {}
            (Err(_), Err(_)) => {}
            // Copying nothing is an error to some engines.
            (Ok(ours), Err(_)) if ours.is_empty() => {}
            (ours, theirs) => {
                wrong.push(format!("seed {seed}\n{ignore}{}", difference(&root, &ours, &theirs)));
            }
        }
    }
    eprintln!("{unlike} contexts passed over: versions of the engine differ there");
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}

/// True where the two ways of the reference to judge part, of which old engines have the one and
/// new ones the other.
fn versions_differ(grammar: &Grammar, patterns: &Patterns, root: &Path) -> bool {
    let differs = |path: &String| {
        let walked = patterns.judge_from_root(path.as_bytes()).map(|verdict| verdict.excluded);
        patterns.matches(path.as_bytes()).map(|verdict| verdict.excluded) != walked
    };
    grammar.engine == Engine::BuildKit && entries_of(root).iter().any(differs)
}

fn without_folders_of_old(
    grammar: &Grammar,
    root: &Path,
    ours: &BTreeSet<String>,
    mut theirs: BTreeSet<String>,
) -> BTreeSet<String> {
    theirs.retain(|entry| {
        grammar.engine != Engine::BuildKit || ours.contains(entry) || !root.join(entry).is_dir()
    });
    theirs
}

fn always_sent_aside(mut entries: BTreeSet<String>) -> BTreeSet<String> {
    entries.retain(|entry| entry != "Dockerfile" && entry != ".dockerignore");
    entries
}

fn difference(
    root: &Path,
    ours: &Result<BTreeSet<String>, String>,
    theirs: &Result<BTreeSet<String>, String>,
) -> String {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            let only =
                |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
            format!("  only ours {:?}, only the engine's {:?}", only(ours, theirs), only(theirs, ours))
        }
        (ours, theirs) => format!("  ours {ours:?}\n  engine {theirs:?}\n  tree {:?}", entries_of(root)),
    }
}

#[test]
fn buildkit_receives_what_the_walk_keeps() {
    let grammar = Grammar { engine: Engine::BuildKit, odd: false, wild_exceptions: false };
    if let Some(build) = Build::buildkit() {
        compare(&build, &grammar, 0..engines::rounds(40));
    }
}

#[test]
fn the_older_builder_receives_what_the_walk_keeps() {
    let grammar = Grammar { engine: Engine::DockerLegacy, odd: false, wild_exceptions: true };
    if let Some(build) = Build::legacy() {
        compare(&build, &grammar, 1000..1000 + engines::rounds(15));
    }
}

#[test]
fn podman_receives_what_the_walk_keeps() {
    let grammar = Grammar { engine: Engine::Podman, odd: true, wild_exceptions: true };
    if let Some(build) = Build::podman() {
        compare(&build, &grammar, 2000..2000 + engines::rounds(15));
    }
}
