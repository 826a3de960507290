//! Whose ignore files hide what, and who says so.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::session::Session;

fn project() -> Session {
    let session = Session::new()
        .file("Dockerfile", "FROM scratch\nCOPY . /\n")
        .file(".gitignore", "*.o\ndist/\n!keep.o\n")
        .file(".dockerignore", "docs\n*.log\n!docs/keep\n")
        .file("main.c", "x")
        .file("main.o", "x")
        .file("keep.o", "x")
        .file("dist/app", "x")
        .file("docs/a", "x")
        .file("docs/keep", "x")
        .file("a.log", "x");
    session.sh("git init -q .");
    session
}

#[track_caller]
fn lists(args: &[&str], expected: &str) {
    let list = project().ok(&[args, &["--list"]].concat());
    let mut names: Vec<&str> =
        list.lines().filter(|name| !name.starts_with('.') && *name != "Dockerfile").collect();
    names.dedup();
    assert_eq!(names.join(" "), expected, "{args:?}");
}

#[test]
fn each_rule_hides_its_own() {
    lists(&[], "docs/keep keep.o main.c");
    lists(&["--ignore", "all"], "docs/keep keep.o main.c");
    lists(&["--ignore", "git"], "a.log docs/a docs/keep keep.o main.c");
    lists(&["--ignore", "docker"], "dist/app docs/keep keep.o main.c main.o");
    lists(&["--ignore", "none"], "a.log dist/app docs/a docs/keep keep.o main.c main.o");
    lists(&["--ignore", "all", "-f", "Dockerfile"], "docs/keep keep.o main.c");
}

#[test]
fn a_build_sees_what_git_ignores() {
    let manifest = project().ok(&["--manifest", "-q", "-f", "Dockerfile", "."]);
    assert!(manifest.contains("dist/app") && !manifest.contains("docs/a\n"), "{manifest}");
}

#[track_caller]
fn says(args: &[&str], code: i32, expected: &str) {
    assert_eq!(project().output(args, code), expected);
}

#[test]
fn the_line_that_decided_is_named() {
    says(&["--check-ignore", "main.o"], 0, "excluded\tmain.o\t.gitignore:1:*.o\n");
    says(
        &["--check-ignore", "docs/a", "main.c"],
        0,
        "excluded\tdocs/a\t.dockerignore:1:docs\nincluded\tmain.c\n",
    );
    says(&["--check-ignore", "./sub/not/there.o"], 0, "excluded\t./sub/not/there.o\t.gitignore:1:*.o\n");
    says(&["--check-ignore", "keep.o"], 1, "included\tkeep.o\t.gitignore:3:!keep.o\n");
    says(&["--check-ignore", "docs/keep"], 1, "included\tdocs/keep\t.dockerignore:3:!docs/keep\n");
    says(&["--check-ignore", "."], 1, "included\t.\n");
    says(&["--ignore", "docker", "--check-ignore", "main.o"], 1, "included\tmain.o\n");
    // After another flag a PATH is taken for DIR: nobody waits for stdin then, and nobody is told
    // that nothing is hidden.
    says(&["--check-ignore", "--json", "main.o"], 2, "");
    says(
        &["--json", "--check-ignore", "a.log"],
        0,
        "{\"by\":{\"file\":\".dockerignore\",\"line\":2,\"pattern\":\"*.log\"},\"excluded\":true,\"path\":\"a.log\"}\n",
    );
}

#[test]
fn paths_that_begin_with_a_dash_follow_two() {
    let session = project().file("-dash.log", "").file("-dir/a", "");
    assert_eq!(
        session.ok(&["--check-ignore", "--", "-dash.log"]),
        "excluded\t-dash.log\t.dockerignore:2:*.log\n"
    );
    let both = "included\tmain.c\nexcluded\t-dash.log\t.dockerignore:2:*.log\n";
    assert_eq!(session.ok(&[".", "--check-ignore", "main.c", "--", "-dash.log"]), both);
    assert_eq!(session.ok(&["--list", "--", "-dir"]), "a\n");
    assert!(session.fails(&["--list", "--", "-dir", "b"]).contains("one argument too many"));
    assert!(session.fails(&["docs", "--", "-dir"]).contains("`-dir` is one argument too many"));
}

/// What the key's warning says, the answer says.
#[test]
fn a_checked_path_that_older_engines_send_is_worth_a_warning() {
    let session = Session::new().file("a b/x/bar/y", "").file("z", "").file(".dockerignore", "**bar/\n!*/\n");
    let said = |args: &str| session.sh(&format!("hashctx --ignore docker {args} 2>&1"));
    let both = said("--check-ignore 'a b/x/bar/y' z");
    let lines = "excluded\ta b/x/bar/y\t.dockerignore:1:**bar/\nincluded\tz\nhashctx: warning: `a b/x/bar/y` is hidden, but docker 20.10";
    assert!(both.starts_with(lines) && both.lines().count() == 3, "{both}");
    assert!(said("--json --check-ignore 'a b/x/bar/y'").contains("hashctx::sent_by_older"));
    assert!(!said("--engine podman --check-ignore 'a b/x/bar/y' || true").contains("warning"));
    assert_eq!(said("-q --check-ignore 'a b/x/bar/y'").lines().count(), 1);
}

#[test]
fn a_checked_path_that_is_no_file_is_told_what_becomes_of_it() {
    let session = project();
    session.sh("mkfifo fifo docs/fifo");
    let _socket = UnixListener::bind(session.path("socket")).expect("a socket");
    let said = |args: &str| session.sh(&format!("hashctx {args} 2>&1 || true"));
    assert!(
        said("--check-ignore fifo")
            .starts_with("excluded\tfifo\nhashctx: warning: `fifo` is a FIFO: git takes no notice")
    );
    let docker = said("--ignore docker --check-ignore fifo");
    assert!(
        docker.starts_with(
            "included\tfifo\nhashctx: warning: `fifo` is a FIFO: the key cannot be computed unless"
        ),
        "{docker}"
    );
    assert_eq!(
        said("--ignore docker --check-ignore docs/fifo"),
        "excluded\tdocs/fifo\t.dockerignore:1:docs\n"
    );
    assert_eq!(said("--ignore docker --check-ignore socket"), "included\tsocket\n");
    let podman = said("--ignore docker --engine podman --check-ignore socket");
    assert!(
        podman.starts_with("excluded\tsocket\n") && podman.contains("the engine leaves it out"),
        "{podman}"
    );
}

#[test]
fn the_instructions_that_read_a_path_are_named() {
    let session = project();
    let file = "FROM scratch AS a\nCOPY main.c docs /x/\nFROM a\nCOPY \\\n  main.c /y\nRUN --mount=type=bind,source=dist,target=/d x\n";
    session.write("Dockerfile", file);
    let said = |path: &str, code| session.output(&["-f", "Dockerfile", ".", "--check-ignore", path], code);
    assert_eq!(said("main.c", 1), "included\tmain.c\t\tDockerfile:2\tDockerfile:4\n");
    assert_eq!(said("docs/keep", 1), "included\tdocs/keep\t.dockerignore:3:!docs/keep\tDockerfile:2\n");
    assert_eq!(said("docs/a", 0), "excluded\tdocs/a\t.dockerignore:1:docs\n");
    assert_eq!(said("dist", 1), "included\tdist\t\tDockerfile:6\n");
    assert_eq!(said("dist/not-there", 1), "included\tdist/not-there\t\tDockerfile:6\n");
    assert_eq!(said("keep.o", 0), "unread\tkeep.o\n");
    assert_eq!(said("not-there", 0), "unread\tnot-there\n");
    assert_eq!(said("Dockerfile", 1), "included\tDockerfile\t\tDockerfile\n");
    let json = session.ok(&["--json", "-f", "Dockerfile", ".", "--check-ignore", "main.c", "keep.o"]);
    let read = r#"{"by":null,"excluded":false,"path":"main.c","read_by":["Dockerfile:2","Dockerfile:4"]}"#;
    assert_eq!(json, format!("{read}\n{}\n", r#"{"by":null,"excluded":false,"path":"keep.o","read_by":[]}"#));
    session.write("list", "main.c\n");
    assert_eq!(
        session.ok(&["--files-from", "list", "--check-ignore", "main.o", "main.c"]),
        "excluded\tmain.o\nincluded\tmain.c\n"
    );
}

#[test]
fn paths_to_check_come_from_stdin_too() {
    let session = project();
    let lines = "excluded\tmain.o\t.gitignore:1:*.o\nincluded\tmain.c\n";
    assert_eq!(session.sh("printf 'main.o\\nmain.c\\n' | hashctx --check-ignore -"), lines);
    assert_eq!(session.sh("printf 'main.o\\0main.c\\0' | hashctx -0 --check-ignore"), lines);
    assert_eq!(
        session.sh("cd docs; hashctx .. --check-ignore main.o"),
        "excluded\tmain.o\t.gitignore:1:*.o\n"
    );
    session.fails(&["--check-ignore", "../elsewhere"]);
    session.write(".dockerignore", "[a-]\n");
    session.fails(&["--check-ignore", "x"]);
}

#[test]
fn a_store_is_left_out_by_its_tag() {
    let session = project().file("cache/CACHEDIR.TAG", "Signature: x\n# larder store\n");
    let said = session.ok(&["--check-ignore", "cache/blobs/x"]);
    assert_eq!(said, "excluded\tcache/blobs/x\tcache/CACHEDIR.TAG:2:# larder store\n");
}

#[test]
fn a_store_is_a_store_whatever_ends_its_lines() {
    let session = Session::new().file("Dockerfile", "FROM scratch\nCOPY . /\n").file("f", "x");
    session.sh("git init -q . && git add -A");
    let views: [&[&str]; 7] = [
        &["--list"],
        &["--list", "--ignore", "git"],
        &["--list", "--ignore", "docker"],
        &["--list", "--ignore", "none"],
        &["--manifest", "-f", "Dockerfile", "."],
        &["--manifest", "-f", "Dockerfile", "--ignore", "all", "."],
        &["--tar"],
    ];
    let seen = |flags: &&[&str]| session.ok(&[&["-q"], *flags].concat());
    let without: Vec<_> = views.iter().map(seen).collect();
    let signature = "Signature: 8a477f597d28d172789f06886806bc55";
    for end in ["\n", "\r\n", " \r\n", "\t\n"] {
        session.write("cache/images/blob", "x");
        session.write("cache/CACHEDIR.TAG", format!("{signature}{end}# larder store{end}# format 1{end}"));
        for (flags, without) in views.iter().zip(&without) {
            assert_eq!(seen(flags), *without, "{flags:?} with {end:?}");
        }
        let said = session.ok(&["--check-ignore", "cache/images/blob"]);
        assert_eq!(said, "excluded\tcache/images/blob\tcache/CACHEDIR.TAG:2:# larder store\n");
        let listed =
            session.sh("find . -path ./.git -prune -o -type f -print | hashctx -q --list --files-from -");
        assert_eq!(listed, "Dockerfile\nf\n");
        assert!(session.fails(&["cache"]).contains("is a larder store"));
    }
    session.write("cache/CACHEDIR.TAG", format!("{signature}\r\n #larder store\r\n"));
    assert!(session.ok(&["--list"]).contains("cache/images/blob"));
}

#[test]
fn a_repository_among_the_inputs_is_worth_a_warning() {
    let session = project();
    assert!(session.fails(&["--strict", "--ignore", "docker"]).contains("`.git` is among the inputs"));
    session.ok(&["--strict"]);
    session.ok(&["--strict", "--ignore", "git"]);
}

/// A bare repository beside the work trees that are made from it: git refuses its root, and its own
/// files are none of anybody's.
#[test]
fn a_bare_repository_is_no_input_of_its_root() {
    let session = Session::new().file("top", "x").file(".git", "gitdir: ./.bare\n");
    session.sh(
        "git init -q --bare .bare; export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a
        tree=$(git -C .bare hash-object -t tree -w /dev/null); commit=$(git -C .bare commit-tree $tree -m first)
        git -C .bare worktree add -q ../main $commit; echo x > main/a",
    );
    assert_eq!(session.ok(&["-q", "--list"]), "main/a\ntop\n");
    assert!(session.fails(&["--strict"]).contains("git sees no work tree here"));
    assert_eq!(
        session.ok(&["--check-ignore", ".bare", ".bare/HEAD"]),
        "excluded\t.bare\nexcluded\t.bare/HEAD\n"
    );
    assert!(session.fails(&["--strict", "--ignore", "docker"]).contains("`.bare` is among the inputs"));
    session.write(".dockerignore", ".bare\n");
    session.ok(&["--strict", "--ignore", "docker"]);
    assert_eq!(session.ok(&["--strict", "--list", "main"]), "a\n");
    session.sh("git -C .bare config --unset core.bare");
    assert_eq!(session.ok(&["--strict", "--list", "--ignore", "git"]), ".dockerignore\nmain/a\ntop\n");
}

#[test]
fn a_tar_warns_of_what_its_key_does_not_cover() {
    let session = project();
    let tar = |args: &str| session.sh(&format!("hashctx --tar {args} 2>&1 >../tar; tar -tf ../tar"));
    let said = tar("--ignore git");
    assert!(said.contains("`.dockerignore`, which is in the tar, hides `a.log` and 1 more"), "{said}");
    assert!(!tar("").contains("warning"));
    session.write(".dockerignore", "Dockerfile\n");
    let said = tar("");
    assert!(
        said.contains("`Dockerfile` is an input of the tar only") && said.contains("\nDockerfile\n"),
        "{said}"
    );
    assert!(!tar("-f Dockerfile --ignore all .").contains("warning"));
    let strict = session.sh("hashctx --strict --tar -f Dockerfile . 2>&1 >../tar || echo $?");
    assert!(strict.contains("dockerfile_in_tar") && strict.ends_with("2\n"), "{strict}");
}

/// The key of a tar is that of what an engine finds in it; with `same`, that of the folder too.
#[track_caller]
fn unpacks_to_its_key(session: &Session, args: &str, dockerfile: &str, same: bool) {
    let script = format!(
        "hashctx -q --tar --key-file ../key {args} > ../tar; rm -rf ../out; mkdir ../out; tar -C ../out -xf ../tar
        cat ../key; hashctx -q -f ../out/{dockerfile} --ignore none ../out; hashctx -q {args}"
    );
    let keys = session.sh(&script);
    let keys: Vec<&str> = keys.lines().collect();
    assert!(keys.len() == 3 && keys[0] == keys[1] && (keys[1] == keys[2]) == same, "{args}: {keys:?}");
}

#[test]
fn a_dockerfile_that_a_tar_shows_to_the_build_is_in_the_key() {
    let session = project();
    session.write("Dockerfile", "FROM scratch\nCOPY src /src\n");
    session.write(".dockerignore", "Dockerfile\ndocker\n");
    session
        .sh("mkdir -p ../other docker src; touch src/a; cp Dockerfile ../other/File; cp Dockerfile docker/");
    for file in ["Dockerfile", "../other/File", "docker/Dockerfile"] {
        let inside = if file.starts_with("..") { "Dockerfile" } else { file };
        unpacks_to_its_key(&session, &format!("-f {file} ."), inside, true);
        unpacks_to_its_key(&session, &format!("-f {file} --ignore all ."), inside, true);
        session.sh(&format!("echo COPY . / >> {file}"));
        unpacks_to_its_key(&session, &format!("-f {file} ."), inside, false);
        unpacks_to_its_key(&session, &format!("-f {file} --ignore all ."), inside, true);
    }
    session.write(".dockerignore", "");
    unpacks_to_its_key(&session, "-f ../other/File .", ".Dockerfile", false);
    unpacks_to_its_key(&session, "-f Dockerfile .", "Dockerfile", true);
    let before = session.sh("hashctx -q --ignore all -f ../other/File .");
    session.sh("echo '# a comment that is copied' >> ../other/File");
    assert_ne!(session.sh("hashctx -q --ignore all -f ../other/File ."), before);
}

#[test]
fn git_lfs_pointers_are_worth_a_warning() {
    let session = Session::new();
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 5\n", "a".repeat(64));
    session.write("big", pointer);
    // The second time from the stat cache, once the file has been quiet for long enough.
    session.sh("touch -d 2020-01-01 big; sleep 2.1; hashctx -q");
    assert_eq!(std::fs::read_dir(session.store().join("contexts")).expect("caches").count(), 1);
    assert!(session.fails(&["--strict"]).contains("`big` is a Git LFS pointer"));
    assert!(session.fails(&["--strict", "--no-stat-cache"]).contains("`big` is a Git LFS pointer"));
}

#[test]
fn files_for_their_owner_only_are_worth_a_warning() {
    let session = Session::new().file("a", "x").file("b", "x");
    session.sh("chmod 600 a b");
    assert!(session.fails(&["--strict"]).contains("`a` and 1 more cannot be read by others"));
}

/// Somebody writes to it from before the first reading until after the last.
#[test]
fn a_file_that_never_holds_still_is_an_error_unless_it_may_change() {
    let session = Session::new().file("f", "x");
    let file = File::options().write(true).open(session.path("f")).expect("a file");
    file.set_len(64 << 20).expect("a long file");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                file.write_all_at(b"y", 0).expect("written");
            }
        });
        let once = |flags: &[&str]| {
            let output = session.command(&[&["--no-stat-cache", "--threads", "1"], flags].concat()).output();
            let output = output.expect("hashctx");
            (output.status.code(), output.stdout.len(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        // On a busy machine, the writer may not have its turn while the file is read.
        let read = |flags: &[&str]| {
            let mut tries = (0..50).map(|_| once(flags));
            tries.find(|(_, _, said)| said.contains("changed while")).unwrap_or_else(|| once(flags))
        };
        let kinds = [&[][..], &["--allow-changing"], &["--allow-changing", "--strict"]];
        let outputs = kinds.map(read);
        let tars = [&["--tar"][..], &["--tar", "--allow-changing"]].map(read);
        done.store(true, Ordering::Relaxed);
        let said = |(_, _, said): &(_, _, String)| said.contains("`f` changed while it was read");
        assert!(outputs.iter().chain(&tars).all(said), "{outputs:?} {tars:?}");
        assert_eq!(
            outputs.map(|(code, length, _)| (code, length)),
            [(Some(2), 0), (Some(0), 65), (Some(2), 0)]
        );
        assert_eq!(tars.map(|(code, ..)| code), [Some(2), Some(0)]);
    });
    session.ok(&["--strict"]);
}

#[test]
fn names_that_differ_in_case_only_are_worth_a_warning() {
    let session = Session::new().file("README", "x").file("readme", "x");
    assert!(session.fails(&["--strict"]).contains("differ in case only"));
}

#[test]
fn each_engine_has_its_own_ignore_file() {
    let session =
        Session::new().file("a", "").file("b", "").file("c", "").file("File", "FROM scratch\nCOPY ? /\n");
    let session =
        session.file(".dockerignore", "a\n").file(".containerignore", "b\n").file("File.dockerignore", "c\n");
    let listed = |flags: &str| {
        session.sh(&format!("hashctx --list {flags} --ignore docker . | grep -x '[abc]' | tr -d '\\n'"))
    };
    assert_eq!(listed(""), "bc");
    assert_eq!(listed("--engine podman"), "ac");
    assert_eq!(listed("-f File"), "ab");
    assert_eq!(listed("-f File --engine docker"), "bc");
    assert_eq!(listed("-f File --engine podman"), "ab");
    assert_eq!(listed("-f File --engine podman --ignorefile .containerignore"), "ac");
    session.ok(&["--strict", "-f", "File", "."]);
    session.write("File.dockerignore", "");
    let error = session.fails(&["--strict", "-f", "File", "."]);
    assert!(error.contains("an empty `File.dockerignore`: engines differ"), "{error}");
    session.write(".containerignore", "!x/../a*\na|b\n");
    assert_eq!(listed("--engine podman"), "c");
}

/// Releases of docker part where an exception names a folder above what is hidden: docker 20.10
/// sends it.
#[test]
fn what_older_engines_send_is_worth_a_warning() {
    let session = Session::new().file("logs/a.log", "a").file("logs/b", "b").file("z/deep/c", "c");
    let session = session.file("Dockerfile", "FROM scratch\nCOPY . /\n");
    session.sh("git init -q . && git add logs");
    for (ignore, path) in [("**/*.log\n!logs\n", "logs/a.log"), ("z/deep\n!z\n", "z/deep")] {
        session.write(".dockerignore", format!(".git\n{ignore}"));
        for flags in [&["."][..], &["--ignore", "docker", "."], &["-f", "Dockerfile", "."]] {
            let error = session.fails(&[&["--strict"], flags].concat());
            assert!(error.contains(&format!("`{path}` is hidden, but docker 20.10")), "{error}");
            assert!(session.ok(&[&["--json"], flags].concat()).contains("hashctx::sent_by_older"));
        }
        session.ok(&["--strict", "--ignore", "docker", "--engine", "podman", "."]);
    }
    for ignore in ["**/*.log\n!logs/**\n", "!logs\n**/*.log\n", "*\n!logs\n", "z\n!z/deep\n", "z\n!logs\n"] {
        session.write(".dockerignore", format!(".git\n{ignore}"));
        session.ok(&["--strict", "-f", "Dockerfile", "."]);
        session.ok(&["--strict", "."]);
    }
}

#[test]
fn a_folder_that_the_engine_never_enters_is_not_entered() {
    let session = Session::new().file("a", "x").file(".dockerignore", "hidden\n");
    session.sh("git init -q .");
    let without = session.ok::<&str>(&[]);
    session.write("hidden/f", "x");
    session.sh("git init -q hidden/r; echo no index >hidden/r/.git/index; chmod 0 hidden");
    assert_eq!(session.ok::<&str>(&["--strict"]), without);
    session.sh("chmod 755 hidden");
    session.fails(&["--ignore", "git"]);
    session.write(".dockerignore", "hidden\n!hidden/f\n");
    assert!(session.ok(&["--list"]).lines().any(|line| line == "hidden/f"));
    session.write(".dockerignore", "hidden\n!hidden/r/f\n");
    session.fails::<&str>(&[]);
}

#[test]
fn both_rules_together_hide_what_either_hides() {
    let files = "a a.log docs/a docs/keep docs/sub/x dist/app dist/kept src/docs/y src/z.log x/x/x";
    let session = files.split(' ').fold(Session::new(), |session, file| session.file(file, "x"));
    let session = session.file(".gitignore", "dist/\n*.log\n");
    session.sh("git init -q .; git add -f dist/kept src/z.log");
    for rules in [
        "docs\n",
        "docs\n!docs/keep\n",
        "*\n!docs/sub/x\n",
        "**/docs\n!src\n",
        "docs\n!**/x\n",
        "dist\nsrc/\n!x\n",
        "x/*\n!x/x/x\n",
    ] {
        session.write(".dockerignore", rules);
        for engine in ["buildkit", "docker", "podman"] {
            let listed = |ignore: &str| {
                let list = session.ok(&["-q", "--list", "--engine", engine, "--ignore", ignore]);
                list.lines().map(str::to_owned).collect::<BTreeSet<_>>()
            };
            let either = &listed("git") & &listed("docker");
            assert_eq!(listed("all"), either, "{rules:?} for {engine}");
        }
    }
}
