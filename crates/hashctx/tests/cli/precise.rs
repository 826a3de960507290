//! The key of a build: what its Dockerfile reads, and nothing else.

use std::collections::BTreeSet;

use crate::session::Session;

const DOCKERFILE: &str = "FROM scratch AS unneeded\nCOPY other /\nFROM scratch\nARG V=1\nCOPY src /src\n";

fn project() -> Session {
    let session = Session::new().file("Dockerfile", DOCKERFILE).file("src/a", "a").file("src/b.log", "b");
    session
        .file("other", "o")
        .file(".dockerignore", "**/*.tmp\n")
        .file(".gitignore", "*.log\n")
        .file("src/t.tmp", "t")
}

fn key(session: &Session) -> String {
    session.ok(&["-f", "Dockerfile", "."])
}

#[track_caller]
fn keeps(change: impl FnOnce(&Session)) {
    let session = project();
    let before = key(&session);
    change(&session);
    assert_eq!(key(&session), before);
}

#[track_caller]
fn changes(change: impl FnOnce(&Session)) {
    let session = project();
    let before = key(&session);
    change(&session);
    assert_ne!(key(&session), before);
}

#[test]
fn what_the_build_reads_changes_the_key() {
    changes(|session| session.write("src/a", "x"));
    changes(|session| session.write("src/new", ""));
    changes(|session| session.chmod("src/a", 0o755));
    changes(|session| session.write("src/b.log", "git ignores it and the engine copies it"));
    changes(|session| session.write("Dockerfile", DOCKERFILE.replace("/src\n", "/there\n")));
    changes(|session| session.write(".dockerignore", "src/a\n"));
}

#[test]
fn what_the_build_does_not_read_keeps_the_key() {
    keeps(|session| session.write("other", "x"));
    keeps(|session| session.write("src/t.tmp", "x"));
    keeps(|session| session.write("new", "x"));
    keeps(|session| session.write(".dockerignore", "**/*.tmp\nother\n"));
    keeps(|session| session.write("Dockerfile", DOCKERFILE.replace("COPY other", "# no\nCOPY unheard-of")));
}

#[test]
fn the_manifest_has_only_what_is_read() {
    let session = project();
    let manifest =
        session.ok(&["--manifest", "-f", "Dockerfile", "--build-arg", "V=2", "--build-arg", "W=3", "."]);
    let lines: Vec<_> = manifest.lines().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(lines, ["hashctx", "dockerfile", "platform", "arg", "file", "file"], "{manifest}");
    let listed = session.ok(&["--list", "-f", "Dockerfile", "--target", "unneeded", "."]);
    assert_eq!(listed, "other\n");
}

#[test]
fn the_dockerfile_line_can_be_made_by_hand() {
    let session = project();
    let manifest = session.ok(&["--manifest", "-f", "Dockerfile", "--platform", "linux/arm64", "."]);
    let script = "printf '%s\\n' 'FROM scratch for linux/arm64' 'ARG V=1' 'COPY src /src' | b3sum --no-names";
    let by_hand = format!("dockerfile {}", session.sh(script));
    assert!(manifest.contains(&by_hand), "{by_hand}{manifest}");
}

#[test]
fn a_platform_has_one_key_however_it_is_spelt() {
    let session = project();
    session.write("Dockerfile", "FROM scratch\nARG TARGETPLATFORM\nARG TARGETVARIANT\nCOPY src /src\n");
    let key = |platform: &str, engine: &str| {
        session.ok(&["-f", "Dockerfile", "--platform", platform, "--engine", engine, "."])
    };
    for same in [
        &["linux/amd64", "linux/x86_64", "linux/x86-64", "linux/amd64/v1", "Linux/AMD64"][..],
        &["linux/arm64", "linux/arm64/v8", "linux/aarch64", "linux/arm64/8"],
        &["linux/arm/v7", "linux/arm", "linux/armhf", "linux/arm/7"],
        &["linux/arm/v6", "linux/armel"],
        &["linux/386", "linux/i386"],
    ] {
        for engine in ["buildkit", "docker", "podman"] {
            let keys: BTreeSet<_> = same.iter().map(|platform| key(platform, engine)).collect();
            assert_eq!(keys.len(), 1, "{same:?}");
        }
        let manifest = session.ok(&["--manifest", "-f", "Dockerfile", "--platform", same[1], "."]);
        assert!(manifest.contains(&format!("\nplatform {}\n", same[0])), "{manifest}");
    }
    assert_ne!(key("linux/arm/v7", "buildkit"), key("linux/arm/v6", "buildkit"));
}

#[test]
fn what_podman_preprocesses_is_refused_with_the_reason() {
    let session = Session::new().file("Containerfile.in", "#include \"common\"\nFROM scratch\n");
    let error = session.fails(&["-f", "Containerfile.in", "--engine", "podman", "."]);
    assert!(error.contains("podman runs the C preprocessor over `Containerfile.in`"), "{error}");
    assert!(error.contains("preprocess it before both"), "{error}");
    session.fails(&["--tar", "-f", "Containerfile.in", "--engine", "podman", "."]);
    for engine in ["buildkit", "docker"] {
        session.ok(&["-f", "Containerfile.in", "--engine", engine, "."]);
    }
    session.sh("mv Containerfile.in Containerfile.IN");
    session.ok(&["-f", "Containerfile.IN", "--engine", "podman", "."]);
}

#[test]
fn a_foreign_frontend_is_named_and_everything_counts() {
    let session = project();
    session.write("Dockerfile", "# syntax=devthefuture/dockerfile-x\nFROM ./base.dockerfile\nINCLUDE x\n");
    let base = "debian=sha256:0000000000000000000000000000000000000000000000000000000000000000";
    let flags = ["--json", "--strict", "-f", "Dockerfile", "--base", base, "."];
    let json = session.ok(&flags);
    let image = r#""image":"devthefuture/dockerfile-x""#;
    for code in ["moving-syntax", "foreign-frontend"] {
        assert!(json.contains(&format!(r#"{{"code":"{code}",{image}}}"#)), "{json}");
    }
    assert!(!json.contains("base.dockerfile"), "{json}");
    session.write("base.dockerfile", "FROM scratch\n");
    let with_base = session.ok(&flags);
    assert_ne!(with_base, json);
    session.write("Dockerfile", "# syntax=devthefuture/dockerfile-x\nFROM ./base.dockerfile\nINCLUDE y\n");
    assert_ne!(session.ok(&flags), with_base);
    session.write("Dockerfile", "FROM scratch\nINCLUDE x\n");
    let by_arg = ["--json", "-f", "Dockerfile", "--build-arg", "BUILDKIT_SYNTAX=some/secret", "."];
    let json = session.ok(&by_arg);
    assert!(json.contains("$BUILDKIT_SYNTAX") && !json.contains("secret"), "{json}");
    assert!(session.fails(&["-f", "Dockerfile", "."]).contains("`INCLUDE` is not an instruction"));
}

#[test]
fn named_contexts_are_read_as_far_as_they_are_copied() {
    let session = project().file("../lib/x", "x").file("../lib/y", "y");
    session.write("Dockerfile", "FROM scratch\nCOPY --from=lib x /\n");
    let flags = [
        "--manifest",
        "-f",
        "Dockerfile",
        "--build-context",
        "lib=../lib",
        "--build-context",
        "un=../used",
        ".",
    ];
    let manifest = session.ok(&flags);
    assert!(manifest.contains("\ncontext lib\nfile ") && manifest.ends_with("  x\n"), "{manifest}");
    assert!(!manifest.contains("un"), "{manifest}");
}

#[test]
fn a_named_context_has_an_ignore_file_for_buildkit_and_none_for_podman() {
    let session = project().file("../lib/x", "x").file("../lib/y", "y").file("../lib/.dockerignore", "x\n");
    session.write("Dockerfile", "FROM scratch\nCOPY --from=lib x y /\n");
    let reads = |engine| {
        let flags = [
            "--manifest",
            "-q",
            "-f",
            "Dockerfile",
            "--build-context",
            "lib=../lib",
            "--engine",
            engine,
            ".",
        ];
        let manifest = session.ok(&flags);
        manifest.lines().filter_map(|line| Some(line.split_once("  ")?.1.to_owned())).collect::<String>()
    };
    assert_eq!((reads("buildkit"), reads("podman")), ("y".to_owned(), "xy".to_owned()));
}

#[test]
fn what_cannot_be_known_is_named() {
    let session = Session::new().file("Dockerfile", "FROM base:1\nCOPY $HOME /\n");
    let json = session.ok(&["--json", "-f", "Dockerfile", "."]);
    for named in [
        "{\"code\":\"onbuild\",\"image\":\"base:1\"}",
        "{\"code\":\"moving-tag\"",
        "{\"code\":\"base-variable\",\"line\":2}",
    ] {
        assert!(json.contains(named), "{json}");
    }
    assert!(
        session.fails(&["--strict", "-f", "Dockerfile", "."]).contains("`base:1` may name another image")
    );
    let base = format!("base:1=sha256:{}", "a".repeat(64));
    session.ok(&["--strict", "-f", "Dockerfile", "--base", &base, "."]);
    let other = format!("bose:1=sha256:{}", "a".repeat(64));
    assert!(
        session
            .fails(&["--strict", "-f", "Dockerfile", "--base", &other, "."])
            .contains("does not use `bose:1`")
    );
}

#[test]
fn what_is_fetched_and_can_change_is_named() {
    let session = Session::new().file("Dockerfile", "FROM scratch\nARG U\nADD $U /\nCOPY --from=c / /\n");
    let flags =
        ["-f", "Dockerfile", "--build-arg", "U=https://hunter2@x/y", "--build-context", "c=https://x/z"];
    let json = session.ok(&[&flags[..], &["--json", "."]].concat());
    let unknown = "\"unknown\":[{\"code\":\"moving-source\",\"line\":3,\"source\":\"$U\"},\
                   {\"code\":\"moving-context\",\"context\":\"c\"}]";
    assert!(json.contains(unknown) && !json.contains("hunter"), "{json}");
    let said = session.fails(&[&flags[..], &["--strict", "."]].concat());
    assert!(said.contains("line 3 fetches `$U`") && said.contains("context `c`"), "{said}");
    assert!(!said.contains("hunter"), "{said}");
}

#[test]
fn of_two_contexts_of_one_name_the_last_counts() {
    let session = project().file("../one/x", "1").file("../two/x", "2");
    session.write("Dockerfile", "FROM scratch\nCOPY --from=lib x /\n");
    let key = |contexts: &[&str]| {
        let flags = contexts.iter().flat_map(|context| ["--build-context", context]);
        session.ok(&["-f", "Dockerfile"].into_iter().chain(flags).chain(["."]).collect::<Vec<_>>())
    };
    assert_eq!(key(&["lib=../one", "lib=../two"]), key(&["lib=../two"]));
    assert_ne!(key(&["lib=../two", "lib=../one"]), key(&["lib=../two"]));
}

#[test]
fn a_dockerfile_without_an_end_is_refused() {
    let session = project();
    assert!(session.fails(&["-f", "/dev/zero", "."]).contains("`/dev/zero` is larger than 16 MiB"));
    assert_eq!(session.sh("hashctx -q -f <(cat Dockerfile) ."), key(&session));
}

#[test]
fn a_bad_dockerfile_is_marked() {
    let session = Session::new().file("Dockerfile", "FROM scratch\n\nCOPY ${x /y\n");
    let said = session.fails(&["-f", "Dockerfile", "."]);
    assert!(said.contains("Dockerfile:3: ") && said.contains("COPY ${x /y"), "{said}");
}

/// The Dockerfile is as good as it was.
#[test]
fn a_bad_target_is_not_the_dockerfiles_fault() {
    let session = Session::new().file("Dockerfile", "FROM scratch AS one\nFROM scratch AS two\n");
    let said = session.fails(&["-f", "Dockerfile", "--target", "nope", "."]);
    assert!(said.contains("Dockerfile: it has no stage `nope`: there are `one`, `two`"), "{said}");
    assert!(said.contains("give `--target`") && !said.contains("FROM") && !said.contains(":1"), "{said}");
    session.write("Dockerfile", "FROM scratch\n");
    let said = session.fails(&["-f", "Dockerfile", "--target", "nope", "."]);
    assert!(said.contains("no stage `nope`: none has a name"), "{said}");
}

#[test]
fn a_source_that_git_hides_is_worth_a_warning() {
    let session = project();
    let said = session.fails(&["--strict", "--ignore", "all", "-f", "Dockerfile", "."]);
    assert!(said.contains("the build reads `src/b.log`, which git ignores"), "{said}");
    let tar = "hashctx --strict --ignore all -f Dockerfile --tar . | tar -t";
    assert_eq!(session.sh(tar), "Dockerfile\nsrc/\nsrc/a\n");
}

#[test]
fn a_proxy_that_shapes_the_image_is_named() {
    let unknown = |lines: &str| {
        let session = Session::new().file("Dockerfile", format!("FROM scratch\nARG HTTP_PROXY\n{lines}\n"));
        let flags = ["--json", "-f", "Dockerfile", "--build-arg", "HTTP_PROXY=hunter2", "."];
        let json = session.ok(&flags);
        assert!(!json.contains("hunter"), "{json}");
        assert_eq!(json.contains("hashctx::proxy_arg"), json.contains("proxy-arg"), "{json}");
        let (unknown, _) = json.split_once(",\"warnings\"").expect("warnings");
        unknown.split_once("\"unknown\":").expect("unknowns").1.to_owned()
    };
    let named = "[{\"arg\":\"HTTP_PROXY\",\"code\":\"proxy-arg\",\"line\":3}]";
    for line in
        ["ENV x=$HTTP_PROXY", "LABEL x=a${HTTP_PROXY:-b}", "ARG x=$HTTP_PROXY", "WORKDIR /${x:-$HTTP_PROXY}"]
    {
        assert_eq!(unknown(line), named, "{line}");
    }
    for line in ["RUN echo $HTTP_PROXY", "ENV x=$HTTP_PROXY_", "ENV x=$http_proxy", "ENV HTTP_PROXY=x"] {
        assert_eq!(unknown(line), "[]", "{line}");
    }
    let session = Session::new().file("Dockerfile", "FROM scratch\nARG no_proxy\nENV x=$no_proxy\n");
    session.ok(&["--strict", "-f", "Dockerfile", "."]);
    let said = session.fails(&["--strict", "-f", "Dockerfile", "--build-arg", "no_proxy=x", "."]);
    assert!(said.contains("line 3 uses the proxy argument `no_proxy`"), "{said}");
}

#[track_caller]
fn misses(instructions: &str, want: &[usize]) {
    let session = project().folder("empty").link("l", "src").link("dangling", "gone");
    session.write("Dockerfile", format!("FROM scratch\nARG TOK\n{instructions}\n"));
    for rules in ["docker", "none", "all", "git"] {
        let flags = ["--json", "--ignore", rules, "-f", "Dockerfile", "--build-arg", "TOK=hunter2", "."];
        let json = session.ok(&flags);
        assert!(!json.contains("hunter"), "{json}");
        let lines = json.split("line ").skip(1).map(|rest| rest.split(' ').next().unwrap_or_default());
        let lines: Vec<usize> = lines.filter_map(|line| line.parse().ok()).collect();
        assert_eq!(lines, want, "{rules}: {instructions}\n{json}");
        let code = if want.is_empty() { 0 } else { 2 };
        let strict = session.command(&flags[3..]).args(["--strict", "--ignore", "docker"]).output();
        assert_eq!(strict.expect("hashctx").status.code(), Some(code), "{instructions}");
    }
}

#[test]
fn a_source_that_is_nowhere_is_worth_a_warning() {
    misses("COPY nosuch /", &[3]);
    misses("COPY src other /\nADD src/a src/nosuch /\nCOPY $TOK /", &[4, 5]);
    misses("COPY . /\nCOPY nosuch /", &[4]);
    misses("COPY [a- /", &[3]);
    misses("COPY . /\nCOPY [a- /", &[4]);
    misses("RUN --mount=source=nosuch,target=/x true", &[3]);
    misses("COPY --parents nosuch /", &[3]);
    misses("COPY --parents src/./nosuch src/a /", &[3]);
    misses("COPY --parents nosuch/./a /\nCOPY --parents src /", &[3]);
    misses("COPY --parents src/a src/./a ./src l src/no* s*/./nosuch /", &[]);
    misses("COPY src/a src/./b.log l l/a empty *.nosuch [x] ../other /", &[]);
    misses("COPY . /\nCOPY src/a src l l/a empty *.nosuch /", &[]);
    misses("COPY --from=image@sha256:00 nosuch /\nCOPY <<a /x\na", &[]);
}

#[test]
fn the_dockerfile_of_a_tar_is_not_missing() {
    let session = project().file(".dockerignore", "Dockerfile\n");
    session.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    assert!(session.ok(&["--json", "-f", "Dockerfile", "."]).contains("hashctx::missing_source"));
    session.sh("hashctx --tar -f Dockerfile . 2>said >tar; ! grep nowhere said");
}

#[test]
fn the_images_of_a_build_are_told_by_its_dockerfile_alone() {
    let text = "ARG BASE=none\nFROM other:1 AS unneeded\nFROM --platform=linux/arm64 tools AS t\nFROM scratch AS s\n\
                FROM $BASE\nCOPY --from=t /a /a\nCOPY --from=team/x:2 /a /\nCOPY --from=s /b /b\n\
                RUN --mount=type=bind,from=mounted,target=/m true\n";
    let session = Session::new().file("Dockerfile", text);
    let args =
        ["-f", "Dockerfile", "--build-arg", "BASE=base@sha256:00", "--platform", "linux/amd64", "--images"];
    assert_eq!(session.ok(&args), "base@sha256:00\nmounted\nteam/x:2\ntools\n");
    let json = session.ok(&[args.as_slice(), &["--json"]].concat());
    assert_eq!(json.lines().last(), Some(r#"{"image":"tools","platform":"linux/arm64"}"#));
    assert!(!session.store().exists());
}

#[test]
fn a_base_may_be_known_by_the_key_of_another_build() {
    let session = Session::new().file("Dockerfile", "FROM base\n");
    let base = format!("base=larder:{}", "0".repeat(64));
    let manifest = session.ok(&["-f", "Dockerfile", "--base", &base, "--manifest", "."]);
    assert!(manifest.contains(&format!("\nbase base larder:{}\n", "0".repeat(64))), "{manifest}");
}

#[test]
fn a_tar_has_the_folder_of_a_hidden_dockerfile_once() {
    let session = Session::new().file("docker/Dockerfile", "FROM scratch\nCOPY . /\n").file("a", "1");
    session.write(".dockerignore", "docker/Dockerfile\n");
    session.chmod("docker", 0o700);
    for beside in [false, true] {
        if beside {
            session.write("docker/x", "1");
        }
        for mode in ["none", "exec", "full"] {
            for rules in ["docker", "all"] {
                let tar = format!(
                    "hashctx -q -f docker/Dockerfile --ignore {rules} --mode {mode} --tar . | tar -tv"
                );
                let list = session.sh(&tar);
                let folders: Vec<_> = list.lines().filter(|line| line.ends_with("docker/")).collect();
                assert_eq!(folders.len(), 1, "{list}");
                // git knows no folders but those that it knows files in.
                let own = mode == "full" && (beside || rules == "docker");
                assert_eq!(folders[0].starts_with("drwx------"), own, "{mode}: {list}");
            }
        }
    }
}
