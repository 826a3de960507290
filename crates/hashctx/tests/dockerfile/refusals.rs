//! What is refused, how soon, and in which words.

use crate::case::{Case, case, refused};

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
