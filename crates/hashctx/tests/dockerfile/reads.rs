//! What of the context is read.

use hashctx::dockerfile::Unknown;

use crate::case::{Case, TREE, case, reads, refused, selected};

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
