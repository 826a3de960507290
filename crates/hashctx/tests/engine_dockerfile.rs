//! Precise mode against the real engine: random Dockerfiles and contexts, built by `BuildKit`.
//!
//! Each file of a context has its own content, so the image tells which files were read. Changing the content or the
//! executable bit of a selected file has to change the image of a build that copies it; changing any other must not.
//! Needs docker; see `engine_ignore`.

#![expect(clippy::print_stderr, reason = "a test that is not run says so")]

#[expect(dead_code, reason = "each test of engines uses a part")]
mod engines;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use engines::{Build, Random, entries_of};
use hashctx::Kind;
use hashctx::dockerfile::{Analysis, Request, Selector, analyse};

const NAMES: [&str; 10] = ["a", "b", "ab", "lib", "src", "x.txt", "y.txt", "z.log", "a b", ".env"];

fn pick<'a>(random: &mut Random, of: &[&'a str]) -> &'a str {
    of[random.below(of.len())]
}

fn path(random: &mut Random) -> String {
    (0..=random.below(3)).map(|_| pick(random, &NAMES)).collect::<Vec<_>>().join("/")
}

/// Files whose content is their path, some executable, some links, some empty folders.
fn context(random: &mut Random, root: &Path) {
    fs::create_dir_all(root).expect("folder");
    for _ in 0..random.below(14) + 6 {
        let path = path(random);
        let full = root.join(&path);
        // Nothing is written through a link, which may lead out of the context.
        let through_link = |folder: &Path| folder.starts_with(root) && folder.is_symlink();
        if full.ancestors().any(through_link)
            || fs::create_dir_all(full.parent().expect("a parent")).is_err()
            || full.symlink_metadata().is_ok()
        {
            continue;
        }
        match random.below(8) {
            0 => drop(symlink(self::path(random), &full)),
            1 => drop(symlink(pick(random, &["..", ".", "/", "../src", "a/../b", "/lib"]), &full)),
            2 => drop(fs::create_dir(&full)),
            _ => {
                engines::write(&full, &path);
                let mode = if random.below(4) == 0 { 0o755 } else { 0o644 };
                fs::set_permissions(&full, fs::Permissions::from_mode(mode)).expect("mode");
            }
        }
    }
}

/// Mostly paths that are there: an engine refuses others.
fn source(random: &mut Random, paths: &[String]) -> String {
    let existing = |random: &mut Random| paths[random.below(paths.len())].clone();
    let wild = ["*", "*.txt", "?", "[a-l]*", "a*", "*/*", "s*/*.txt"];
    let text = match random.below(12) {
        0 => ".".to_owned(),
        1 | 2 => pick(random, &wild).to_owned(),
        3 => format!("{}/*", existing(random)),
        4 => format!("${{e:-}}{}", existing(random)),
        5 => format!("${{e:+x}}{}${{u}}", existing(random)),
        6 => format!("../{}", existing(random)),
        7 => format!("{}/../{}", existing(random), existing(random)),
        8 => path(random),
        _ => existing(random),
    };
    text.replace(' ', "?")
}

fn copies(random: &mut Random, paths: &[String]) -> String {
    let copy = |random: &mut Random| {
        let number = random.below(1000);
        let word = if random.below(5) == 0 { "ADD" } else { "COPY" };
        match random.below(7) {
            0 => format!("{word} [\"{}\", \"/j{number}/\"]\n", source(random, paths)),
            1 => format!(
                "{word} {} \\\n  # comment\n {} /k{number}/\n",
                source(random, paths),
                source(random, paths)
            ),
            2 => "ENV e=\n".to_owned(),
            3 => "ARG v\n".to_owned(),
            _ => format!("{word} {} /n{number}/\n", source(random, paths)),
        }
    };
    (0..=random.below(2)).map(|_| copy(random)).collect()
}

/// Up to three stages; the last takes from the others or is built on them.
fn dockerfile(random: &mut Random, paths: &[String]) -> String {
    let mut file = String::from("ARG base=scratch\nARG g=lib\nFROM ${base} AS s0\nARG v=a\nARG g\n");
    file += &copies(random, paths);
    for stage in 1..=random.below(3) {
        let below = if random.below(2) == 0 { format!("s{}", stage - 1) } else { "scratch".to_owned() };
        let _ = write!(file, "FROM {below} AS s{stage}\nARG v=b\nARG g\n{}", copies(random, paths));
        if random.below(2) == 0 {
            let _ = writeln!(file, "COPY --from={} / /from/", stage - 1);
        }
    }
    file
}

struct Selected {
    paths: BTreeSet<String>,
    missing: bool,
}

fn select(file: &str, root: &Path) -> Selected {
    let analysis = analysed(file);
    let listing: Vec<(String, Kind)> =
        entries_of(root).into_iter().filter_map(|path| listed(root, path)).collect();
    let entries = listing.iter().map(|(path, kind)| (path.as_bytes(), *kind));
    let target = |path: &[u8]| {
        let path = root.join(str::from_utf8(path).expect("text"));
        Some(fs::read_link(path).ok()?.into_os_string().into_encoded_bytes())
    };
    let selection = Selector::new(&analysis.sources, None).select(entries, target);
    let text = |path: &Vec<u8>| String::from_utf8(path.clone()).expect("text");
    let wild = |source: &String| source.contains(['*', '?', '[']);
    Selected {
        paths: selection.entries.iter().map(text).collect(),
        missing: selection.missing.iter().any(|(_, source)| !wild(source)),
    }
}

fn listed(root: &Path, path: String) -> Option<(String, Kind)> {
    let meta = root.join(&path).symlink_metadata().expect("an entry");
    let kind = match () {
        () if meta.is_symlink() => Kind::Symlink,
        () if !meta.is_dir() => Kind::File,
        () if fs::read_dir(root.join(&path)).expect("folder").next().is_none() => Kind::Dir,
        () => return None,
    };
    Some((path, kind))
}

fn analysed(file: &str) -> Analysis {
    let none = BTreeMap::new();
    let request = Request {
        dockerfile: file.as_bytes(),
        name: "Dockerfile",
        target: None,
        build_args: &none,
        platform: "linux/amd64",
        build_platform: "linux/amd64",
        contexts: &BTreeMap::new(),
    };
    analyse(&request).expect("a Dockerfile")
}

/// The image as a map from a file's path in it to its executable bit and content, links and folders included.
type Image = BTreeMap<String, String>;

/// Files of the context are told by their content, which is their path.
fn read_files(image: &Image) -> BTreeSet<String> {
    image.values().filter_map(|value| value.strip_prefix("file ")?.get(2..)).map(ToOwned::to_owned).collect()
}

fn check(build: &Build, seed: u64, wrong: &mut Vec<String>) -> bool {
    let mut random = Random(seed);
    let temp = tempfile::tempdir().expect("folder");
    let root = temp.path().join("ctx");
    context(&mut random, &root);
    let paths: Vec<String> = entries_of(&root).into_iter().collect();
    let file = dockerfile(&mut random, &paths);
    let named = temp.path().join("Dockerfile");
    engines::write(&named, &file);
    let selected = select(&file, &root);
    let mut fail = |what: String| {
        wrong.push(format!("seed {seed}: {what}\n{file}\n{:?}\n{:?}", entries_of(&root), selected.paths));
    };
    let image = match build.image(&root, &named) {
        Ok(image) => image,
        Err(error) if selected.missing => {
            eprintln!("seed {seed}: {error}");
            return false;
        }
        Err(error) => {
            // Wildcards in a folder that is not there, links to nowhere: the engine refuses, and there is no image.
            let expected = [
                "not found",
                "no such file",
                "failed to compute cache key",
                "not a directory",
                "too many links",
                "cannot copy to non-directory",
                "cannot replace to directory",
            ];
            if !expected.iter().any(|text| error.contains(text)) {
                fail(error);
            }
            return false;
        }
    };
    for path in read_files(&image).difference(&selected.paths).cloned().collect::<Vec<_>>() {
        fail(format!("`{path}` is in the image and not selected"));
    }
    edits(build, &root, &named, &image, &selected, &mut random, &mut fail);
    true
}

/// Changes one file that is selected and all that are not, content and mode, and builds again.
fn edits(
    build: &Build,
    root: &Path,
    named: &Path,
    image: &Image,
    selected: &Selected,
    random: &mut Random,
    fail: &mut dyn FnMut(String),
) {
    let files: Vec<String> = entries_of(root)
        .into_iter()
        .filter(|path| root.join(path).symlink_metadata().is_ok_and(|meta| meta.is_file()))
        .collect();
    let (read, unread): (Vec<_>, Vec<_>) = files.into_iter().partition(|path| selected.paths.contains(path));
    for path in &unread {
        engines::write(&root.join(path), "changed");
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(0o755)).expect("mode");
    }
    match build.image(root, named) {
        Ok(after) if after == *image => {}
        after => fail(format!("changing what is not selected changed the image: {after:?}")),
    }
    if read.is_empty() {
        return;
    }
    let path = &read[random.below(read.len())];
    let full = root.join(path);
    let executable = full.metadata().expect("file").permissions().mode() & 0o111 != 0;
    if random.below(2) == 0 {
        engines::write(&full, "changed");
    } else {
        fs::set_permissions(&full, fs::Permissions::from_mode(if executable { 0o644 } else { 0o755 }))
            .expect("mode");
    }
    // A later copy may hide the file in the image; then the engine read it in vain.
    let hidden = !read_files(image).contains(path);
    if build.image(root, named).is_ok_and(|after| after == *image) && !hidden {
        fail(format!("changing `{path}` did not change the image"));
    }
}

#[test]
fn an_image_changes_with_what_is_selected_and_with_nothing_else() {
    let Some(build) = Build::buildkit() else { return };
    let mut wrong = Vec::new();
    let images = (0..engines::rounds(40)).filter(|seed| check(&build, *seed, &mut wrong)).count();
    eprintln!("{images} were built");
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
    assert!(images > 10, "only {images} were built");
}
