//! What a build reads, from tables of the documented rules: for the syntax that the engines of the
//! property test are too old for, and for what an image cannot show.

use std::collections::BTreeMap;

use hashctx::Kind;
use hashctx::dockerfile::{Analysis, NamedContext, Request, Selector, Unknown, What, analyse};
use hashctx::dockerignore::Engine;

/// Files of the context; `->` makes a link, a trailing `/` an empty folder.
const TREE: [&str; 18] = [
    "a.txt",
    "b.log",
    "dir/c.txt",
    "dir/d.log",
    "dir/sub/e.txt",
    "dir/sub/f.log",
    "empty/",
    "link -> dir/sub",
    "src/x/go.mod",
    "src/x/main.go",
    "src/y/go.mod",
    "src/y/main.go",
    "to-file -> ../a.txt",
    "up -> /dir",
    "we ird",
    "x[1]",
    "z/only.log",
    "nowhere -> gone",
];

struct Case<'a> {
    dockerfile: String,
    args: &'a [(&'a str, &'a str)],
    target: Option<&'a str>,
    contexts: &'a [(&'a str, Option<&'a str>)],
    engine: Engine,
}

fn case(dockerfile: &str) -> Case<'static> {
    Case {
        dockerfile: dockerfile.to_owned(),
        args: &[],
        target: None,
        contexts: &[],
        engine: Engine::BuildKit,
    }
}

impl Case<'_> {
    fn analysis(&self) -> Result<Analysis, String> {
        let build_args: BTreeMap<_, _> =
            self.args.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let context = |value: Option<&str>| {
            value.map_or(NamedContext::Folder, |value| NamedContext::Other(value.into()))
        };
        let contexts =
            self.contexts.iter().map(|(name, value)| ((*name).to_owned(), context(*value))).collect();
        let platform = "linux/amd64".parse().expect("a platform");
        let request = Request {
            dockerfile: self.dockerfile.as_bytes(),
            name: "Dockerfile",
            target: self.target,
            build_args: &build_args,
            engine: self.engine,
            platform: &platform,
            build_platform: &platform,
            contexts: &contexts,
        };
        analyse(&request).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn reads(&self, want: &[&str]) {
        assert_eq!(selected(&self.analysis().expect("a Dockerfile"), None), want, "{}", self.dockerfile);
    }
}

fn selected(analysis: &Analysis, context: Option<&str>) -> Vec<String> {
    let entry = |text: &&'static str| match text.split_once(" -> ") {
        Some((path, _)) => (path.as_bytes(), Kind::Symlink),
        None => {
            (text.trim_end_matches('/').as_bytes(), if text.ends_with('/') { Kind::Dir } else { Kind::File })
        }
    };
    let target = |path: &[u8]| {
        let text = |text: &&str| {
            text.split_once(" -> ").filter(|(link, _)| link.as_bytes() == path).map(|(_, to)| to.into())
        };
        TREE.iter().find_map(text)
    };
    let selection = Selector::new(&analysis.sources, context).select(TREE.iter().map(entry), target);
    let text = |path: &Vec<u8>| String::from_utf8_lossy(path).into_owned();
    let folders = selection.empty_folders.iter().map(|path| text(path) + "/");
    selection.entries.iter().map(text).chain(folders).collect()
}

/// What `FROM scratch` with this instruction reads.
#[track_caller]
fn reads(instruction: &str, want: &[&str]) {
    case(&format!("FROM scratch\n{instruction}\n")).reads(want);
}

#[track_caller]
fn refused(dockerfile: &str) {
    let analysis = case(dockerfile).analysis();
    assert!(analysis.is_err(), "{dockerfile}\n{analysis:?}");
}

/// The two builds are told apart, or are not.
#[track_caller]
fn same(one: &str, other: &str, want: bool) {
    let key =
        |dockerfile: &str| case(dockerfile).analysis().map(|analysis| (analysis.instructions, analysis.args));
    assert_eq!(key(one).expect("one") == key(other).expect("other"), want, "{one}\n---\n{other}");
}

#[test]
fn plain_sources_are_read() {
    reads("COPY a.txt /", &["a.txt"]);
    reads("COPY /a.txt ./b.log ../../we* /", &["a.txt", "b.log", "we ird"]);
    reads("COPY dir /x", &["dir/c.txt", "dir/d.log", "dir/sub/e.txt", "dir/sub/f.log"]);
    reads("COPY dir/ /x", &["dir/c.txt", "dir/d.log", "dir/sub/e.txt", "dir/sub/f.log"]);
    reads("COPY empty /x", &["empty"]);
    reads("COPY [\"we ird\", \"/\"]", &["we ird"]);
    reads("ADD a.txt https://example.com/b.log /", &["a.txt"]);
    reads("COPY x[[]1] /", &["x[1]"]);
    reads("COPY gone /", &[]);
    reads("RUN true", &[]);
}

#[test]
fn everything_is_read_by_a_dot() {
    let all = selected(&case("FROM scratch\nCOPY . /").analysis().expect("a Dockerfile"), None);
    assert_eq!(all.len(), TREE.len());
    reads("COPY ./dir/../dir/sub/. /", &["dir/sub/e.txt", "dir/sub/f.log"]);
}

#[test]
fn wildcards_stop_at_slashes() {
    reads("COPY *.txt /", &["a.txt"]);
    reads("COPY dir/*.txt /", &["dir/c.txt"]);
    reads("COPY */*.log /", &["dir/d.log", "z/only.log"]);
    reads("COPY d?r/[c-d].* /", &["dir/c.txt", "dir/d.log"]);
    reads("COPY **/e.txt /", &[]);
    reads("COPY [^a-y]* /", &["z/only.log"]);
}

#[test]
fn links_of_a_source_are_followed() {
    reads("COPY link /", &["dir/sub/e.txt", "dir/sub/f.log", "link"]);
    reads("COPY link/e.txt /", &["dir/sub/e.txt", "link"]);
    reads("COPY link/*.log /", &["dir/sub/f.log", "link"]);
    reads("COPY to-file /", &["a.txt", "to-file"]);
    reads("COPY up/c.txt /", &["dir/c.txt", "up"]);
    reads("COPY to-* /", &["a.txt", "to-file"]);
    reads("COPY nowhere /", &["nowhere"]);
}

#[test]
fn excluded_files_are_not_read() {
    reads("COPY --exclude=*.log dir /", &["dir/c.txt", "dir/sub/e.txt", "dir/sub/f.log"]);
    reads("COPY --exclude=**/*.log dir /", &["dir/c.txt", "dir/sub/e.txt"]);
    reads("COPY --exclude=sub --exclude=*.log dir /", &["dir/c.txt"]);
    reads("COPY --exclude=sub --exclude=!sub/e.txt dir /", &["dir/c.txt", "dir/d.log", "dir/sub/e.txt"]);
    reads("COPY --exclude=only.log z /", &["z/"]);
    reads("COPY --exclude=a.txt a.txt /", &["a.txt"]);
    reads("ADD --exclude=sub dir /", &["dir/c.txt", "dir/d.log"]);
    refused("FROM scratch\nCOPY --exclude=[a- . /");
}

#[test]
fn parents_take_a_pattern_below_a_pivot() {
    reads("COPY --parents src/*/go.mod /", &["src/x/go.mod", "src/y/go.mod"]);
    reads("COPY --parents **/go.mod /", &["src/x/go.mod", "src/y/go.mod"]);
    reads("COPY --parents src/./x/go.mod /", &["src/x/go.mod"]);
    reads("COPY --parents src/x /", &["src/x/go.mod", "src/x/main.go"]);
    reads("COPY --parents s*/./*/main.go /", &["src/x/main.go", "src/y/main.go"]);
    reads("COPY --parents --exclude=src/y src/*/go.mod /", &["src/x/go.mod"]);
    reads("COPY --parents=TRUE **/go.mod /", &["src/x/go.mod", "src/y/go.mod"]);
    reads("COPY --parents=false src/*/go.mod /", &["src/x/go.mod", "src/y/go.mod"]);
}

#[test]
fn heredocs_stages_and_images_read_nothing_of_the_context() {
    reads("COPY <<EOF /x\na.txt\nEOF", &[]);
    reads("COPY a.txt <<\"EF\" /x/\nb.log\nEF", &["a.txt"]);
    reads("COPY --from=image a.txt /", &[]);
    reads("RUN <<EOF\nCOPY . /\nEOF", &[]);
    for word in ["${x:0:3}", "${x: -3}", "${x:=y}", "${x?}"] {
        reads(&format!("RUN echo {word} <<EOF\nCOPY . /\nEOF\nCOPY a.txt /"), &["a.txt"]);
    }
    case("FROM scratch AS a\nCOPY a.txt /\nFROM scratch\nCOPY --from=a . /").reads(&["a.txt"]);
    case("FROM scratch AS a\nCOPY a.txt /\nFROM scratch\nCOPY --from=0 . /").reads(&["a.txt"]);
    case("FROM scratch AS a\nCOPY a.txt /\nFROM scratch\nCOPY b.log /").reads(&["b.log"]);
}

#[test]
fn bind_mounts_are_read() {
    reads("RUN --mount=type=bind,source=dir/sub,target=/x true", &["dir/sub/e.txt", "dir/sub/f.log"]);
    reads("RUN --mount=src=link,dst=/x true", &["dir/sub/e.txt", "dir/sub/f.log", "link"]);
    reads("RUN --mount=TYPE=BIND,source=a.txt,target=/x true", &["a.txt"]);
    reads("RUN --mount=type=bind,source=*.txt,target=/x true", &[]);
    reads("RUN --mount=type=cache,target=/x --mount=type=secret,id=a.txt true", &[]);
    reads("RUN --mount=type=cache,target=/x,source=a.txt true", &[]);
    reads("ARG t=bind\nRUN --mount=type=$t,source=a.txt,target=/x true", &["a.txt"]);
    let whole = case("FROM scratch\nRUN --mount=target=/x true").analysis().expect("a Dockerfile");
    assert_eq!(selected(&whole, None).len(), TREE.len());
    case("FROM scratch AS a\nCOPY a.txt /\nFROM scratch\nRUN --mount=from=a,target=/x true")
        .reads(&["a.txt"]);
}

#[test]
fn variables_decide_what_is_read() {
    case("ARG d=dir\nFROM scratch\nARG d\nCOPY $d/sub/e.txt /").reads(&["dir/sub/e.txt"]);
    case("ARG d=dir\nFROM scratch\nCOPY $d/sub/e.txt /").reads(&[]);
    case("FROM scratch AS base\nARG f=a\nFROM base\nCOPY ${f}.txt /").reads(&["a.txt"]);
    case("FROM scratch\nENV f=a x=$f\nCOPY ${x:-b}.log /").reads(&["b.log"]);
    case("FROM scratch\nENV f a.txt\nCOPY $f \\$f /").reads(&["a.txt"]);
    case("# escape=`\nFROM scratch\nCOPY a.txt `\n b.log /").reads(&["a.txt", "b.log"]);
    case("FROM scratch\nARG v=b.log.gz\nCOPY ${v%.*} /").reads(&["b.log"]);
    case("FROM scratch\nARG TARGETARCH\nCOPY ${TARGETARCH/amd64/a}.txt /").reads(&["a.txt"]);
    Case { args: &[("f", "b.log")], ..case("FROM scratch\nARG f=a.txt\nCOPY $f /") }.reads(&["b.log"]);
}

#[test]
fn a_stage_begins_with_what_the_image_below_has() {
    // An ARG hides an ENV in its own stage only.
    let below = "FROM scratch AS base\nENV f=a.txt\nARG f=b.log\n";
    case(&format!("{below}FROM base\nCOPY $f /")).reads(&["a.txt"]);
    case(&format!("{below}FROM base AS next\nFROM next\nCOPY $f /")).reads(&["a.txt"]);
    case(&format!("{below}ENV f=we*\nFROM base\nCOPY $f /")).reads(&["we ird"]);
    case(&format!("{below}ONBUILD COPY $f /\nFROM base\n")).reads(&["a.txt"]);
    case("FROM scratch AS base\nARG PATH=a.txt\nFROM base\nCOPY $PATH /").reads(&[]);
    case("FROM scratch AS base\nARG f=a.txt\nARG f=b.log\nFROM base\nCOPY $f /").reads(&["b.log"]);
    let two = format!("{below}FROM base AS one\nCOPY $f /\nFROM base AS two\nCOPY --from=one / /\nCOPY $f /");
    case(&two).reads(&["a.txt"]);
}

#[test]
fn an_argument_that_the_image_may_have_too_reads_everything() {
    let doubtful = |dockerfile: &str, line: usize| {
        let analysis = case(dockerfile).analysis().expect("a Dockerfile");
        assert_eq!(selected(&analysis, None).len(), TREE.len(), "{dockerfile}");
        assert!(analysis.unknowns.contains(&Unknown::BaseVariable(line)), "{dockerfile}");
    };
    doubtful("FROM img AS base\nARG f=a.txt\nFROM base\nCOPY $f /", 4);
    doubtful("FROM img AS base\nARG f=a.txt\nFROM base\nARG f\nCOPY $f /", 5);
    // BuildKit takes the argument, other engines what ENV says.
    doubtful("FROM scratch\nENV f=a.txt\nARG f=b.log\nCOPY $f /", 4);
    doubtful("FROM scratch\nENV f=a.txt\nARG f=a.txt\nARG f=b.log\nCOPY $f /", 5);
    doubtful("FROM scratch AS base\nENV f=a.txt\nFROM base\nARG f=b.log\nCOPY $f /", 5);
    case("FROM img AS base\nARG f=a.txt\nCOPY $f /").reads(&["a.txt"]);
    case("FROM img AS base\nARG f=a.txt\nENV f=$f\nFROM base\nCOPY $f /").reads(&["a.txt"]);
    case("FROM img AS base\nARG f=a.txt\nFROM base\nARG f=b.log\nCOPY $f /").reads(&["b.log"]);
    case("FROM scratch\nENV f=a.txt\nARG f=a.txt\nCOPY $f /").reads(&["a.txt"]);
}

#[test]
fn names_of_one_env_do_not_see_each_other() {
    case("FROM scratch\nENV F=a.txt G=$F\nCOPY ${G:-b.log} /").reads(&["b.log"]);
    case("FROM scratch\nARG F=a.txt\nARG G=$F\nCOPY ${G:-b.log} /").reads(&["a.txt"]);
    case("ARG F=a.txt G=$F\nFROM scratch\nARG G\nCOPY ${G:-b.log} /").reads(&["a.txt"]);
}

#[test]
fn what_releases_of_the_engine_read_differently_reads_everything() {
    // The names of one ARG see those before them, or they do not.
    for line in ["ARG F=a.txt G=$F", "ARG F=a.txt F=b.log G=${F%.*}", "ARG N=F\nARG $N=a.txt\nARG G=$F"] {
        let analysis = case(&format!("FROM scratch\n{line}\nCOPY ${{G:-b.log}} /")).analysis();
        let analysis = analysis.expect("a Dockerfile");
        assert_eq!(selected(&analysis, None).len(), TREE.len(), "{line}");
        assert!(matches!(analysis.unknowns.as_slice(), [Unknown::BaseVariable(_)]), "{line}");
    }
    case("FROM scratch\nARG F=a.txt G=b.log\nCOPY $G /").reads(&["b.log"]);
    case("FROM scratch\nARG F=a\nARG F=a G=$F.txt\nCOPY $G /").reads(&["a.txt"]);
    case("FROM scratch\nARG x=a.txt\nCOPY --exclude=$x *.txt dir /").reads(&[
        "a.txt",
        "dir/c.txt",
        "dir/d.log",
        "dir/sub/e.txt",
        "dir/sub/f.log",
    ]);
}

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

/// Nanoseconds that this thread has run: other work on the machine does not count.
fn spent() -> u64 {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    times.split(' ').next().and_then(|time| time.parse().ok()).expect("a number")
}

#[test]
fn long_files_take_time_in_proportion() {
    let lines = |count: usize| {
        let file = format!("FROM scratch\n{}", "COPY a.txt /\n".repeat(count));
        let stage = |n: usize| format!("FROM s{} AS s{n}\nENV V{n}=x\nCOPY a.txt /\n", n - 1);
        let chain = (1..=count / 4).map(stage).collect::<String>();
        let began = spent();
        case(&file).reads(&["a.txt"]);
        case(&format!("FROM scratch AS s0\n{chain}")).reads(&["a.txt"]);
        spent() - began
    };
    lines(1000);
    let (few, many) = (lines(2000), lines(40_000));
    assert!(many < few * 60, "20 times as many lines took {} times as long", many / few);
}

fn many(line: fn(usize) -> String) -> String {
    (0..1000).map(line).collect()
}

#[test]
fn many_large_values_are_refused() {
    let twice = |n: u32| format!("ARG A{n}=$A{0}$A{0}\n", n - 1);
    let large = format!("ARG A0=x\n{}", (1..=20).map(twice).collect::<String>());
    let more = many(|n| format!("ARG B{n}=$A20\n"));
    refused(&format!("FROM scratch\n{large}{more}"));
    refused(&format!("FROM scratch\n{large}{}", "COPY $A20 /\n".repeat(1000)));
    let stages = many(|n| format!("FROM a AS b{n}\n"));
    let copies = many(|n| format!("COPY --from=b{n} / /\n"));
    refused(&format!("FROM scratch AS a\n{large}{stages}FROM scratch\n{copies}"));
    assert!(case(&format!("FROM scratch\n{large}")).analysis().is_ok());
}

#[test]
fn doubling_a_value_again_and_again_is_refused() {
    for keyword in ["ARG", "ENV"] {
        let line = |n: u32| format!("{keyword} A{n}=$A{0}$A{0}", n - 1);
        let lines = (1..=40).map(line).collect::<Vec<_>>().join("\n");
        refused(&format!("FROM scratch\n{keyword} A0=x\n{lines}\nCOPY a.txt /\n"));
    }
}

#[test]
fn a_variable_of_the_base_reads_everything() {
    let analysis = case("FROM base@sha256:00\nCOPY $HOME/a.txt /").analysis().expect("a Dockerfile");
    assert_eq!(selected(&analysis, None).len(), TREE.len());
    assert!(analysis.unknowns.contains(&Unknown::BaseVariable(2)));
    case("FROM base\nENV HOME=dir\nCOPY $HOME/c.txt /").reads(&["dir/c.txt"]);
}

#[test]
fn triggers_of_a_stage_run_in_the_next() {
    let file = "FROM scratch AS a\nONBUILD COPY a.txt /\nFROM a AS b\nFROM scratch AS c\nCOPY --from=b / /";
    case(file).reads(&["a.txt"]);
    Case { target: Some("a"), ..case(file) }.reads(&[]);
    let analysis = case("FROM img").analysis().expect("a Dockerfile");
    assert_eq!(analysis.unknowns, [Unknown::Onbuild("img".into()), Unknown::MovingTag("img".into())]);
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
fn what_the_engine_refuses_is_refused() {
    let bad = [
        "",
        "FROM",
        "FROM a b",
        "RUN x",
        "FROM a\nNOPE",
        "FROM $x",
        "FROM a AS 1x",
        "FROM a\nCOPY a",
        "FROM a\nCOPY --from=7 a b",
        "FROM a\nRUN <<EOF\n",
        "FROM --nope=x a",
        "FROM a\nENV x",
        "FROM a\nARG",
        "FROM a\nARG =x",
        "FROM a\nARG --x",
        "FROM a\nONBUILD",
        "FROM a\nONBUILD ONBUILD RUN x",
        "FROM a\nONBUILD from b",
        "FROM a\nWORKDIR",
        "FROM a\nLABEL",
        "FROM a\nARG\nFROM b",
        "FROM scratch\nCOPY ${x?} /",
        "FROM a\nARG x='",
    ];
    for file in bad {
        refused(file);
    }
    assert!(Case { target: Some("nope"), ..case("FROM a") }.analysis().is_err());
}

#[test]
fn errors_point_at_the_line() {
    let error = case("FROM a\n\n# c\nCOPY ${x \\\n b /\nRUN y").analysis().expect_err("refused");
    assert!(error.starts_with("Dockerfile:4: "), "{error}");
}

#[test]
fn errors_show_no_values() {
    let file = "FROM scratch\nARG TOK\nCOPY ${NOPE:?$TOK-${TOK:-none}!} /x";
    let error = Case { args: &[("TOK", "s3cret")], ..case(file) }.analysis().expect_err("refused");
    assert_eq!(error, "Dockerfile:3: NOPE: $TOK-${TOK:-none}!");
    for copy in ["COPY ${TOK#$TOK} /", "COPY ${TOK%%$TOK} /", "COPY ${TOK/$TOK/x} /", "COPY ${TOK//$TOK/x} /"]
    {
        let file = format!("FROM scratch\nARG TOK\n{copy}");
        let error = Case { args: &[("TOK", "s3\\cret")], ..case(&file) }.analysis().expect_err("refused");
        assert!(error.contains("an escape that means nothing") && !error.contains("cret"), "{error}");
    }
}
