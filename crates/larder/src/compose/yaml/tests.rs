//! What is read, and what is refused where.

use super::*;

fn one(text: &str) -> Node {
    let mut documents = read(text, 0).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0)
}

#[track_caller]
fn reads(text: &str, expected: &str) {
    assert_eq!(shown(&one(text)), expected, "{text}");
}

/// The message, and what is marked.
fn refused(text: &str) -> (String, String) {
    let fault = read(text, 0).expect_err(text);
    (fault.message, text.get(fault.at.at).expect("a place").to_owned())
}

#[test]
fn aliases_and_merge_keys_are_put_in() {
    reads("a: &x {k: 1}\nb: *x\n", "{a: {k: 1}, b: {k: 1}}");
    reads("a: &x {k: 1, l: 2}\nb:\n  <<: *x\n  k: 3\n", "{a: {k: 1, l: 2}, b: {k: 3, l: 2}}");
    reads(
        "a: &x {k: 1}\nc: &y {k: 2, l: 3}\nb: {k2: 0, <<: [*x, *y]}",
        "{a: {k: 1}, c: {k: 2, l: 3}, b: {k2: 0, k: 1, l: 3}}",
    );
    reads("a: &x word\nb: [*x, 'q']", "{a: word, b: [word, q]}");
    reads("? &k key\n: 1\nother: {*k : 2}", "{key: 1, other: {key: 2}}");
    assert_eq!(refused("a: {<<: 1}").1, "1");
    assert_eq!(refused("a: {<<: [x]}").1, "x");
}

#[test]
fn places_are_bytes_whatever_letters_there_are() {
    let text = "# ä\nkey: wört # x\nnext: \"q\"\n";
    let node = one(text);
    let at = |name: &str| &text[node.get(name).expect("a key").at.at.clone()];
    assert_eq!((at("key"), at("next")), ("wört", "\"q\""));
}

#[test]
fn documents_and_odd_files_are_read() {
    assert_eq!(read("a: 1\n---\nb: 2\n", 0).expect("YAML").len(), 2);
    assert!(read("# nothing\n", 0).expect("YAML").iter().all(Node::is_null));
    reads("\u{feff}a: 1\r\nb: 2\r\n", "{a: 1, b: 2}");
    reads("%YAML 1.1\n---\na: 1\n", "{a: 1}");
    let comments = "# a long comment\n".repeat(500);
    reads(&format!("a:\n{comments}  b: 1\n"), "{a: {b: 1}}");
}

#[test]
fn what_is_not_yaml_is_marked() {
    assert_eq!(refused("a:\n\tb: 1\n"), ("a tab indents this line".into(), "\t".into()));
    assert_eq!(refused("a:\n  b: 1\n \tc: 1\n").1, "\t");
    let (message, at) = refused("a: 1\nb: 2\na: 3\n");
    assert_eq!((message.as_str(), at.as_str()), ("the key `a` stands here twice: line 1 has it, too", "a"));
    assert_eq!(refused("{a: 1, a: 2}").1, "a");
    assert_eq!(refused("a: *none\n").1, "*");
    assert_eq!(refused("? [x]\n: 1\n").0, "a key must be a word");
    read("a: [1\nb: ", 0).expect_err("a list without an end");
    read("a: 'x", 0).expect_err("quotes without an end");
}

#[test]
fn what_multiplies_or_nests_without_end_is_refused() {
    let bomb = (1..30)
        .map(|at| format!("a{at}: &a{at} [{}]\n", format!("*a{},", at - 1).repeat(9)))
        .collect::<Vec<_>>()
        .concat();
    let (message, at) = refused(&format!("a0: &a0 [x]\n{bomb}"));
    assert!(message.contains("more than 100000 parts"), "{message}");
    assert!(!at.is_empty());
    for text in ["[".repeat(2000), "- ".repeat(2000), "{a: ".repeat(2000), "? ".repeat(2000)] {
        read(&text, 0).expect_err("too deep");
    }
    let deep = (0..2000).map(|at| format!("{}a:\n", " ".repeat(at))).collect::<Vec<_>>().concat();
    read(&deep, 0).expect_err("too deep");
    assert!(refused("a: &x [*x]").0.contains("levels"));
    let chain = (1..3000).map(|at| format!("a{at}: &a{at} [*a{}]\n", at - 1)).collect::<Vec<_>>().concat();
    assert!(refused(&format!("a0: &a0 [x]\n{chain}")).0.contains("levels"));
    assert!(refused("a: &x\n  <<: *x\n").0.contains("levels"));
}

#[test]
fn marks_are_kept() {
    let node = one("a: !reset null\nb: !override [1]\nc: !own x\n");
    let mark = |name: &str| node.as_map().and_then(|map| map.get(name)).expect("a key").mark;
    assert_eq!([mark("a"), mark("b"), mark("c")], [Mark::Reset, Mark::Override, Mark::None]);
}
