//! Precise mode against the real engine: random Dockerfiles and contexts, built by `BuildKit` and
//! keyed by `hashctx -f`.
//!
//! Each file of a context has its own content, so the image tells which files were read. The key
//! says which files it covers: those that change it when they are edited. Editing all others must
//! keep the image; editing a covered one has to change it, unless a later copy hides the file.
//! Needs docker; see `engine_ignore`. With `LARDER_BUILDKIT` the Dockerfiles have heredocs,
//! `--parents`, `--exclude` and substitutions by patterns too, which docker's `BuildKit` may be too
//! old for.

#![expect(clippy::print_stderr, reason = "a test that is not run says so")]

mod engines;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use engines::{Build, Random, entries_of};
use larder_tests::Ran;

const NAMES: [&str; 10] = ["a", "b", "ab", "lib", "src", "x.txt", "y.txt", "z.log", "a b", ".env"];

fn pick<'a>(random: &mut Random, of: &[&'a str]) -> &'a str {
    of[random.below(of.len())]
}

fn path(random: &mut Random) -> String {
    (0..=random.below(3)).map(|_| pick(random, &NAMES)).collect::<Vec<_>>().join("/")
}

/// Files whose content is their path, some executable, some empty folders, some links, to `..`
/// behind another one too.
fn context(random: &mut Random, root: &Path) {
    fs::create_dir_all(root).expect("folder");
    let mut links: Vec<String> = Vec::new();
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
        match random.below(9) {
            0 => drop(symlink(self::path(random), &full)),
            8 if !links.is_empty() => {
                let behind = format!("/{}/../{}", links[random.below(links.len())], pick(random, &NAMES));
                drop(symlink(behind, &full));
            }
            1 => drop(symlink(pick(random, &["..", ".", "/", "../src", "a/../b", "/lib"]), &full)),
            2 => drop(fs::create_dir(&full)),
            _ => {
                engines::write(&full, &path);
                let mode = if random.below(4) == 0 { 0o755 } else { 0o644 };
                fs::set_permissions(&full, fs::Permissions::from_mode(mode)).expect("mode");
            }
        }
        if full.is_symlink() {
            links.push(path);
        }
    }
}

/// Mostly paths that are there: an engine refuses others.
fn source(random: &mut Random, paths: &[String]) -> String {
    let existing = |random: &mut Random| paths[random.below(paths.len())].clone();
    let wild = ["*", "*.txt", "?", "[a-l]*", "a*", "*/*", "s*/*.txt"];
    let text = match random.below(13) {
        0 => ".".to_owned(),
        1 | 2 => pick(random, &wild).to_owned(),
        3 => format!("{}/*", existing(random)),
        4 => format!("${{e:-}}{}", existing(random)),
        5 => format!("${{e:+x}}{}${{u}}", existing(random)),
        6 => format!("../{}", existing(random)),
        7 => format!("{}/../{}", existing(random), existing(random)),
        8 => path(random),
        9 => "${w:-lib}*".to_owned(),
        _ => existing(random),
    };
    text.replace(' ', "?")
}

fn copies(random: &mut Random, paths: &[String]) -> String {
    let copy = |random: &mut Random| {
        let number = random.below(1000);
        let word = if random.below(5) == 0 { "ADD" } else { "COPY" };
        if is_new() && random.below(2) == 0 {
            return new_copy(random, paths, word, number);
        }
        match random.below(9) {
            0 => format!("{word} [\"{}\", \"/j{number}/\"]\n", source(random, paths)),
            1 => format!(
                "{word} {} \\\n  # comment\n {} /k{number}/\n",
                source(random, paths),
                source(random, paths)
            ),
            2 => "ENV e=\n".to_owned(),
            3 => "ARG v\n".to_owned(),
            // What a later stage begins with: one of the two.
            4 => format!("ENV w={}\n", pick(random, &NAMES[..5])),
            5 => format!("ARG w={}\n", pick(random, &NAMES[..5])),
            _ => format!("{word} {} /n{number}/\n", source(random, paths)),
        }
    };
    (0..=random.below(2)).map(|_| copy(random)).collect()
}

/// What a stage that declares TARGETARCH reads depends on the engine: the classic builder sets
/// none.
#[test]
fn each_engine_reads_the_platform_args_that_it_sets() {
    let arch = storekit::Platform::host().architecture().to_owned();
    let context = tempfile::tempdir().expect("folder");
    let dockerfile = context.path().join("Dockerfile");
    engines::write(&dockerfile, "FROM scratch\nARG TARGETARCH\nCOPY f$TARGETARCH /\n");
    engines::write(&context.path().join("f"), "x");
    engines::write(&context.path().join(format!("f{arch}")), "y");
    let engines = [("buildkit", Build::buildkit()), ("docker", Build::legacy()), ("podman", Build::podman())];
    for (name, build) in engines.into_iter().filter_map(|(name, build)| Some((name, build?))) {
        let mut hashctx = engines::hashctx(context.path());
        hashctx.args(["--no-stat-cache", "--list", "--engine", name, "-f"]).arg(&dockerfile);
        let listed = hashctx.arg(context.path()).output().expect("hashctx").stdout;
        let copied = build.entries(context.path()).expect("an image");
        assert_eq!(
            copied.into_iter().collect::<Vec<_>>().join("\n") + "\n",
            String::from_utf8_lossy(&listed)
        );
        let own = if name == "docker" { "" } else { &arch };
        assert_eq!(String::from_utf8_lossy(&listed), format!("f{own}\n"), "{name}");
    }
}

/// Whether the engine knows what docker's `BuildKit` of 2020 does not.
fn is_new() -> bool {
    std::env::var_os("LARDER_BUILDKIT").is_some()
}

fn new_copy(random: &mut Random, paths: &[String], word: &str, number: usize) -> String {
    let patterns =
        ["*", "**", "*.txt", "**/*.txt", "a", "!a", "s*", "**/a", "!**/*.log", "src/*", "*/b", "${v}", "$g"];
    let excludes = |random: &mut Random| -> String {
        (0..random.below(3)).flat_map(|_| ["--exclude=", pick(random, &patterns), " "]).collect()
    };
    let variables =
        ["${p#*/}", "${p##*/}", "${p%/*}", "${p%%/*}", "${p/src/lib}", "${p//a/b}", "${p%.txt}.txt"];
    match random.below(6) {
        0 => format!("ARG p={}\n{word} {} /v{number}/\n", source(random, paths), pick(random, &variables)),
        1 => format!(
            "{word} <<EOF <<-\"E2\" {} /h{number}/\n. $g ${{v#a}}\nEOF\n\tCOPY . /\n\tE2\n",
            source(random, paths)
        ),
        2 => format!("COPY --parents {}{} /p{number}/\n", excludes(random), source(random, paths)),
        3 => format!(
            "COPY --parents {}{}/./{} /q{number}/\n",
            excludes(random),
            source(random, paths),
            pick(random, &patterns[..5])
        ),
        _ => format!("{word} {}{} /x{number}/\n", excludes(random), source(random, paths)),
    }
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

/// The image as a map from a file's path in it to its executable bit and content, links and folders
/// included.
type Image = BTreeMap<String, String>;

/// Files of the context are told by their content, which is their path.
fn read_files(image: &Image) -> BTreeSet<String> {
    image.values().filter_map(|value| value.strip_prefix("file ")?.get(2..)).map(ToOwned::to_owned).collect()
}

/// One context and the Dockerfile beside it.
struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn new(random: &mut Random) -> Self {
        let scene = Self { dir: tempfile::tempdir().expect("folder") };
        context(random, &scene.root());
        let paths: Vec<String> = entries_of(&scene.root()).into_iter().collect();
        engines::write(&scene.dockerfile(), &dockerfile(random, &paths));
        scene
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("ctx")
    }

    fn dockerfile(&self) -> PathBuf {
        self.dir.path().join("Dockerfile")
    }

    /// What `hashctx -f` prints; its stat cache is in use.
    fn key(&self) -> Result<String, String> {
        let mut command = engines::hashctx(&self.root());
        command.arg("-q").arg("-f").arg(self.dockerfile()).arg(self.root());
        let ran = Ran::of(&mut command);
        if ran.code() == 0 { Ok(ran.stdout()) } else { Err(ran.stderr()) }
    }

    fn image(&self, build: &Build) -> Result<Image, String> {
        build.image(&self.root(), &self.dockerfile())
    }

    /// The files, links aside.
    fn files(&self) -> Vec<String> {
        let is_file =
            |path: &String| self.root().join(path).symlink_metadata().is_ok_and(|meta| meta.is_file());
        entries_of(&self.root()).into_iter().filter(is_file).collect()
    }

    /// Another content of the same length.
    fn edit(&self, path: &str) {
        let text = fs::read_to_string(self.root().join(path)).expect("text");
        engines::write(&self.root().join(path), &text.chars().rev().chain(['!']).skip(1).collect::<String>());
    }

    fn flip(&self, path: &str) {
        let full = self.root().join(path);
        let mode = full.metadata().expect("file").permissions().mode();
        fs::set_permissions(&full, fs::Permissions::from_mode(mode ^ 0o111)).expect("mode");
    }

    /// Whether editing the file changes the key, and making it executable or not does. The file is
    /// as it was after that.
    fn covers(&self, path: &str, key: &str) -> (bool, bool) {
        let full = self.root().join(path);
        let before = fs::read_to_string(&full).expect("text");
        self.edit(path);
        let content = self.key().as_deref() != Ok(key);
        engines::write(&full, &before);
        self.flip(path);
        let mode = self.key().as_deref() != Ok(key);
        self.flip(path);
        (content, mode)
    }
}

/// Wildcards in a folder that is not there, links to nowhere: the engine refuses, and there is no
/// image.
const REFUSALS: [&str; 8] = [
    "not found",
    "no such file",
    "failed to compute cache key",
    "failed to calculate checksum",
    "not a directory",
    "too many",
    "cannot copy to non-directory",
    "cannot replace to directory",
];

fn check(build: &Build, seed: u64, wrong: &mut Vec<String>) -> bool {
    let mut random = Random(seed);
    let scene = Scene::new(&mut random);
    let text = fs::read_to_string(scene.dockerfile()).expect("text");
    let tree = entries_of(&scene.root());
    let mut fail = |what: String| wrong.push(format!("seed {seed}: {what}\n{text}\n{tree:?}"));
    let image = match scene.image(build) {
        Ok(image) => image,
        Err(error) if REFUSALS.iter().any(|text| error.contains(text)) => return false,
        Err(error) => {
            fail(error);
            return false;
        }
    };
    match scene.key() {
        Ok(key) => compare(build, &scene, &image, &key, &mut random, &mut fail),
        Err(error) => fail(error),
    }
    true
}

fn compare(
    build: &Build,
    scene: &Scene,
    image: &Image,
    key: &str,
    random: &mut Random,
    fail: &mut dyn FnMut(String),
) {
    let (mut covered, mut others) = (Vec::new(), Vec::new());
    for path in scene.files() {
        match scene.covers(&path, key) {
            (true, true) => covered.push(path),
            (false, false) => others.push(path),
            one => fail(format!("content and mode of `{path}` count differently: {one:?}")),
        }
    }
    let read = read_files(image);
    for path in others.iter().filter(|path| read.contains(*path)) {
        fail(format!("`{path}` is in the image and not in the key"));
    }
    if scene.key().as_deref() != Ok(key) {
        fail("the same files have another key".to_owned());
    }
    for path in &others {
        scene.edit(path);
        scene.flip(path);
    }
    match scene.image(build) {
        Ok(after) if after == *image => {}
        after => fail(format!("editing what is not in the key changed the image: {after:?}")),
    }
    if covered.is_empty() {
        return;
    }
    let path = &covered[random.below(covered.len())];
    if random.below(2) == 0 {
        scene.edit(path);
    } else {
        scene.flip(path);
    }
    // A later copy may hide the file in the image; then the engine read it in vain.
    if read.contains(path) && scene.image(build).is_ok_and(|after| after == *image) {
        fail(format!("editing `{path}`, which is in the key, did not change the image"));
    }
    for path in covered.iter().filter(|path| !read.contains(*path)) {
        eprintln!("`{path}` is in the key and hidden in the image, or never read");
    }
}

#[test]
fn an_image_changes_with_what_is_selected_and_with_nothing_else() {
    let Some(build) = Build::buildkit() else { return };
    let mut wrong = Vec::new();
    let rounds = engines::rounds(40);
    let images = (0..rounds).filter(|seed| check(&build, *seed, &mut wrong)).count();
    eprintln!("{images} were built");
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
    assert!(images as u64 * 4 > rounds, "only {images} of {rounds} were built");
}
