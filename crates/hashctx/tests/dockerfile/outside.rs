//! What comes from elsewhere: images, named contexts, frontends.

use hashctx::dockerfile::Unknown;
use hashctx::dockerignore::Engine;

use crate::case::{Case, TREE, case, refused, same, selected};

#[test]
fn what_is_fetched_is_named_where_it_can_change() {
    let unknowns = |add: &str, args: &[(&str, &str)]| {
        let file = format!("FROM scratch\nARG U\n{add}");
        Case { args, ..case(&file) }.analysis().expect("a Dockerfile").unknowns
    };
    let moving = |source: &str| vec![Unknown::MovingSource(3, source.to_owned())];
    assert_eq!(unknowns("ADD https://x/y a.txt /", &[]), moving("https://x/y"));
    assert_eq!(unknowns("ADD [\"https://x/y.git#v1\", \"/\"]", &[]), moving("https://x/y.git#v1"));
    assert_eq!(unknowns("ADD $U /", &[("U", "git@secret:x")]), moving("$U"));
    assert_eq!(unknowns("ADD --checksum=sha256:00 https://x/y /", &[]), []);
    let commit = "0123456789abcdef0123456789abcdef01234567";
    assert_eq!(unknowns(&format!("ADD https://x/y.git#{commit} /"), &[]), []);
    assert_eq!(unknowns(&format!("ADD --checksum={commit} git@x:y /"), &[]), []);
    assert_eq!(unknowns("ADD a.txt /", &[]), []);
    assert_eq!(unknowns("COPY a.txt /", &[]), []);
}

#[test]
fn named_contexts_are_named_where_they_can_change() {
    let file = "FROM a\nCOPY --from=b / /\nRUN --mount=from=c,target=/x true\nFROM unused";
    let digest = format!("docker-image://x@sha256:{}", "0".repeat(64));
    let contexts =
        [("a", Some("docker-image://x:1")), ("b", Some("https://x/y")), ("c", Some(digest.as_str()))];
    let case =
        Case { contexts: &contexts, target: Some("0"), ..case(&file.replace("FROM a", "FROM a AS t")) };
    let analysis = Case { target: Some("t"), ..case }.analysis().expect("a Dockerfile");
    let named = |name: &str| Unknown::MovingContext(name.to_owned());
    assert_eq!(analysis.unknowns, [Unknown::Onbuild("a".to_owned()), named("a"), named("b")]);
}

#[test]
fn named_contexts_stand_for_images_and_stages() {
    let file = "FROM alpine:latest AS a\nCOPY a.txt /\nFROM scratch\nCOPY --from=other dir/*.txt /\nCOPY --from=a x /";
    let replaced = Case { contexts: &[("other", None), ("a", Some("docker-image://b"))], ..case(file) };
    let analysis = replaced.analysis().expect("a Dockerfile");
    assert_eq!(selected(&analysis, Some("other")), ["dir/c.txt"]);
    assert_eq!(selected(&analysis, None), [""; 0]);
    assert_eq!(analysis.remote_contexts, [("a".to_owned(), "docker-image://b".to_owned())].into());
    let based = Case { contexts: &[("docker.io/library/alpine", None)], ..case(file) };
    let analysis = based.analysis().expect("a Dockerfile");
    assert_eq!(selected(&analysis, Some("docker.io/library/alpine")).len(), TREE.len());
    assert_eq!(analysis.bases.iter().map(|base| base.reference.as_str()).collect::<Vec<_>>(), ["other"]);
}

/// What a build with this frontend reads of the context, and what of it cannot be known.
fn foreign(case: &Case<'_>) -> (usize, Vec<Unknown>) {
    let analysis = case.analysis().expect("no fault of the file's");
    (selected(&analysis, None).len(), analysis.unknowns)
}

#[test]
fn a_foreign_frontend_reads_what_it_likes() {
    let it = || Unknown::ForeignFrontend("some/frontend:1".into());
    let moving = || Unknown::MovingSyntax("some/frontend:1".into());
    for file in [
        "FROM ./base.dockerfile\nCOPY a.txt /\n",
        "FROM scratch\nINCLUDE common\nCOPY a.txt /\n",
        "apiVersion: v1\nrun: [x]\n",
        "ARG\nFROM\n",
        "",
    ] {
        let file = format!("# syntax=some/frontend:1 words\n{file}");
        assert_eq!(foreign(&case(&file)), (TREE.len(), vec![moving(), it()]), "{file}");
        let target = Case { target: Some("nope"), ..case(&file) };
        assert_eq!(foreign(&target), (TREE.len(), vec![moving(), it()]), "{file}");
        for engine in [Engine::DockerLegacy, Engine::Podman] {
            let analysis = Case { engine, ..case(&file) }.analysis();
            let unknowns = analysis.map(|analysis| analysis.unknowns).unwrap_or_default();
            assert!(!unknowns.contains(&it()) && !unknowns.contains(&moving()), "{file}");
        }
    }
    let pinned = "# syntax=some/frontend@sha256:00\nFROM debian\nINCLUDE x\n";
    assert_eq!(
        foreign(&case(pinned)).1,
        [
            Unknown::Onbuild("debian".into()),
            Unknown::MovingTag("debian".into()),
            Unknown::ForeignFrontend("some/frontend@sha256:00".into())
        ]
    );
}

#[test]
fn a_foreign_frontend_has_the_whole_of_file_args_and_contexts() {
    let file = "# syntax=some/frontend\nFROM scratch\n";
    let args = &[("A", "1"), ("HTTP_PROXY", "p")];
    let contexts = &[("lib", None), ("img", Some("docker-image://b"))];
    let analysis = Case { args, contexts, ..case(file) }.analysis().expect("a Dockerfile");
    assert_eq!(analysis.args, [("A".to_owned(), "1".to_owned())].into());
    assert_eq!(selected(&analysis, Some("lib")).len(), TREE.len());
    assert_eq!(analysis.remote_contexts, [("img".to_owned(), "docker-image://b".to_owned())].into());
    assert!(analysis.unknowns.contains(&Unknown::MovingContext("img".into())));
    same(file, "# syntax=some/frontend\n# words\nFROM scratch\n", false);
}

#[test]
fn a_build_arg_names_the_frontend_before_the_file_does() {
    let args = &[("BUILDKIT_SYNTAX", "other/secret:1 words")];
    let shown = || "$BUILDKIT_SYNTAX".to_owned();
    for file in ["FROM scratch\nNOPE\n", "# syntax=docker/dockerfile:1\nFROM scratch\n"] {
        let unknowns = vec![Unknown::MovingSyntax(shown()), Unknown::ForeignFrontend(shown())];
        assert_eq!(foreign(&Case { args, ..case(file) }), (TREE.len(), unknowns));
    }
    let args = &[("BUILDKIT_SYNTAX", "docker/dockerfile@sha256:00")];
    assert_eq!(foreign(&Case { args, ..case("# syntax=some/frontend\nFROM scratch\n") }), (0, vec![]));
}

#[test]
fn dockers_own_frontends_are_followed() {
    for image in ["docker/dockerfile:1", "docker/dockerfile:1.7-labs", "docker/dockerfile@sha256:00"] {
        let file = format!("# syntax={image}\nFROM scratch\nCOPY a.txt /\n");
        case(&file).reads(&["a.txt"]);
        let unknowns = case(&file).analysis().expect("a Dockerfile").unknowns;
        let moves = (!image.contains('@')).then(|| Unknown::MovingSyntax(image.to_owned()));
        assert_eq!(unknowns, Vec::from_iter(moves), "{image}");
        refused(&format!("{file}NOPE\n"));
    }
}

#[test]
fn podman_alone_expands_the_name_that_files_are_copied_from() {
    let file = "ARG T=tools\nFROM scratch\nARG T\nENV V=:$T\nCOPY --from=host/$T$V /a /b\n";
    let images = |engine: Engine| {
        let analysis = Case { engine, ..case(file) }.analysis().expect("a Dockerfile");
        analysis.bases.into_iter().map(|base| base.reference).collect::<Vec<_>>()
    };
    assert_eq!(images(Engine::Podman), ["host/tools:tools"]);
    assert_eq!(images(Engine::BuildKit), ["host/$T$V"]);
    let stage = "FROM scratch AS a\nFROM scratch\nARG T=a\nCOPY --from=$T /a /b\n";
    let error = Case { engine: Engine::Podman, ..case(stage) }.analysis().expect_err("refused");
    assert!(error.contains("`$T` is a stage of this file"), "{error}");
    Case { engine: Engine::BuildKit, ..case(stage) }.analysis().expect("the image `$T`");
}
