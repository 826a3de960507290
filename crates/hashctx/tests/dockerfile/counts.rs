//! What the key of a build depends on: instructions, arguments, platforms.

use hashctx::dockerfile::What;
use hashctx::dockerignore::Engine;

use crate::case::{Case, case, refused, same};

#[test]
fn only_what_matters_counts() {
    let one = "FROM scratch\nCOPY a.txt /\n";
    same(one, "# hi\n\nfrom   scratch\ncopy a.txt \\\n# c\n/", true);
    same(one, "FROM unneeded AS x\nRUN x\nFROM scratch\nCOPY a.txt /\n", true);
    same(one, "FROM scratch AS named\nCOPY a.txt /\n", true);
    same(one, "FROM scratch\nCOPY a.txt /x\n", false);
    same(one, "FROM scratch\nCMD x\nCOPY a.txt /\n", false);
    same(one, "# syntax=x\nFROM scratch\nCOPY a.txt /\n", false);
    let staged = |body: &str, index: u8| format!("{body}FROM scratch\nCOPY --from={index} / /");
    same(&staged("FROM a\n", 0), &staged("FROM a\nLABEL x=y\n", 0), true);
    same(&staged("FROM a\nFROM b\n", 0), &staged("FROM a\nFROM b\n", 1), false);
    same(&staged("FROM a\nFROM b\n", 1), &staged("FROM b\nFROM a\n", 1), false);
    same("FROM a\nRUN <<E\nx\nE", "FROM a\nRUN <<E\ny\nE", false);
}

#[test]
fn arguments_count_where_they_are_declared() {
    let file = "ARG base=a\nARG unused\nFROM $base AS x\nARG one\nARG two=2\nARG HTTP_PROXY\nFROM scratch\nARG three";
    let given = [("one", "1"), ("three", "3"), ("unused", "u"), ("undeclared", "n"), ("HTTP_PROXY", "p")];
    let given: Vec<_> = given.into_iter().chain([("BUILDKIT_INLINE_CACHE", "1")]).collect();
    let analysis = Case { args: &given, target: Some("x"), ..case(file) }.analysis().expect("a Dockerfile");
    let args: Vec<_> = analysis.args.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(args, ["BUILDKIT_INLINE_CACHE=1", "one=1"]);
    let epoch = |value| format!("ARG SOURCE_DATE_EPOCH{value}\nFROM scratch\nCOPY a.txt /");
    same(&epoch("=1"), &epoch("=2"), false);
    same(&epoch(""), "FROM scratch\nCOPY a.txt /", true);
    assert_eq!(analysis.bases[0].reference, "a");
}

#[test]
fn only_the_exact_names_of_proxies_do_not_count() {
    let args = |name: &str| {
        let file = format!("FROM scratch\nARG {name}\nENV x=${name}");
        let analysis = Case { args: &[(name, "1")], ..case(&file) }.analysis().expect("a Dockerfile");
        analysis.args.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(args("Http_Proxy"), ["Http_Proxy"]);
    assert_eq!(args("no_PROXY"), ["no_PROXY"]);
    assert_eq!(args("NO_PROXY"), [""; 0]);
    assert_eq!(args("all_proxy"), [""; 0]);
}

#[test]
fn platforms_are_resolved() {
    let file = "FROM --platform=$BUILDPLATFORM base AS x\nARG TARGETARCH\nFROM --platform=linux/aarch64 base\nCOPY --from=x / /";
    let analysis = case(file).analysis().expect("a Dockerfile");
    let platforms: Vec<_> = analysis.bases.iter().map(|base| base.platform.to_string()).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
    assert_eq!(analysis.args, [("TARGETARCH".to_owned(), "amd64".to_owned())].into());
}

#[test]
fn each_engine_sets_the_platform_args_that_it_knows() {
    let file = "FROM scratch\nARG TARGETARCH\nARG BUILDPLATFORM\nARG TARGETSTAGE\nCOPY $TARGETARCH /\n";
    let read = |engine: Engine| {
        let analysis = Case { engine, ..case(file) }.analysis().expect("a Dockerfile");
        let args: Vec<_> = analysis.args.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        (args.join(" "), analysis.sources.into_iter().map(|source| source.what).collect::<Vec<_>>())
    };
    let copied = |path: &str| vec![What::Copy { path: path.into(), below: None, exclude: [].into() }];
    assert_eq!(
        read(Engine::BuildKit),
        ("BUILDPLATFORM=linux/amd64 TARGETARCH=amd64 TARGETSTAGE=default".into(), copied("amd64"))
    );
    assert_eq!(read(Engine::Podman), ("BUILDPLATFORM=linux/amd64 TARGETARCH=amd64".into(), copied("amd64")));
    assert_eq!(read(Engine::DockerLegacy), (String::new(), copied("")));
    let given = Case { engine: Engine::DockerLegacy, args: &[("TARGETARCH", "x")], ..case(file) };
    assert_eq!(given.analysis().expect("a Dockerfile").args, [("TARGETARCH".into(), "x".into())].into());
}

#[test]
fn a_variable_that_some_releases_empty_reads_everything() {
    let copy = "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH/x /\n";
    let reads_all = |file: &str, engine: Engine| {
        let analysis = Case { engine, ..case(file) }.analysis().expect("a Dockerfile");
        assert_eq!(analysis.args, [("TARGETARCH".to_owned(), "amd64".to_owned())].into());
        analysis.sources.iter().any(|source| source.what == What::Everything)
    };
    assert!(reads_all(&format!("ARG TARGETARCH\n{copy}"), Engine::BuildKit));
    assert!(!reads_all(&format!("ARG TARGETARCH\n{copy}"), Engine::Podman));
    assert!(!reads_all(&format!("ARG TARGETOS\n{copy}"), Engine::BuildKit));
    assert!(!reads_all(copy, Engine::BuildKit));
    let given = Case { args: &[("TARGETARCH", "a")], ..case(&format!("ARG TARGETARCH\n{copy}")) };
    let sources = given.analysis().expect("a Dockerfile").sources;
    assert!(sources.iter().all(|source| source.what != What::Everything));
}

#[test]
fn the_classic_builder_knows_no_build_platform() {
    let file = "FROM --platform=$BUILDPLATFORM scratch";
    let error = Case { engine: Engine::DockerLegacy, ..case(file) }.analysis().expect_err("refused");
    assert!(error.contains("`$BUILDPLATFORM` is empty: only BuildKit and Podman"), "{error}");
    Case { engine: Engine::Podman, ..case(file) }.analysis().expect("a Dockerfile");
}

#[test]
fn what_names_no_platform_is_refused_as_it_is_written() {
    for written in ["linux/a b", "linux/amd64,linux/arm64", "a/b/c/d", "linux//", "*"] {
        let quoted = format!("FROM --platform=\"{written}\" scratch");
        refused(&quoted);
        let file = "ARG P\nFROM --platform=$P scratch";
        let error = Case { args: &[("P", written)], ..case(file) }.analysis().expect_err("refused");
        assert_eq!(error, "Dockerfile:2: `$P` does not name a platform");
    }
    for written in ["arm64", "linux", "windows(10.0.17763)/amd64", "linux/made-up"] {
        case(&format!("FROM --platform={written} scratch")).analysis().expect("a Dockerfile");
    }
}
