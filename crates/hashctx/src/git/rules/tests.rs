//! Tables of git's documented rules: ignore file, path, and what becomes of it.

use std::path::PathBuf;

use super::*;

/// The line that decides about a path with this ignore file at the top, negative where it keeps.
fn line(file: &[u8], path: &[u8], dir: bool) -> Option<i64> {
    let rules = Rules::push(None, PathBuf::from(".gitignore"), b"", file)?;
    let decision = rules.decide(path, dir)?;
    let line = i64::try_from(decision.line).expect("a small number");
    Some(if decision.keeps { -line } else { line })
}

#[track_caller]
fn hit(file: &str, paths: &[&str]) {
    for path in paths {
        let dir = path.ends_with('/');
        let decided = line(file.as_bytes(), path.trim_end_matches('/').as_bytes(), dir);
        assert!(decided.is_some_and(|line| line > 0), "{file:?} spares {path:?}");
    }
}

#[track_caller]
fn spared(file: &str, paths: &[&str]) {
    for path in paths {
        let dir = path.ends_with('/');
        let decided = line(file.as_bytes(), path.trim_end_matches('/').as_bytes(), dir);
        assert!(decided.is_none_or(|line| line < 0), "{file:?} hits {path:?}");
    }
}

#[track_caller]
fn decides(file: &[u8], path: &str, expected: Option<i64>) {
    assert_eq!(line(file, path.as_bytes(), false), expected, "{} on {path:?}", file.escape_ascii());
}

#[test]
fn a_name_is_met_at_every_depth_and_a_path_only_from_the_top() {
    hit("foo", &["foo", "a/foo", "a/b/foo/"]);
    spared("foo", &["foobar", "afoo", "foo/a"]);
    hit("/foo", &["foo"]);
    spared("/foo", &["a/foo"]);
    hit("a/foo", &["a/foo"]);
    spared("a/foo", &["b/a/foo", "a/b/foo"]);
}

#[test]
fn a_slash_at_the_end_means_directories() {
    hit("foo/", &["foo/", "a/foo/"]);
    spared("foo/", &["foo", "a/foo"]);
    hit("a/foo/", &["a/foo/"]);
    spared("a/foo/", &["a/foo", "b/a/foo/"]);
    spared("/", &["foo", "foo/", "a/"]);
    spared("//", &["foo/", "a/foo/"]);
}

#[test]
fn one_star_stays_in_its_part() {
    hit("*.o", &["a.o", "b/a.o", ".o"]);
    hit("/*.o", &["a.o"]);
    spared("/*.o", &["b/a.o"]);
    hit("a/*", &["a/b", "a/.b"]);
    spared("a/*", &["a/b/c", "a"]);
    hit("a/*/c", &["a/b/c"]);
    spared("a/*/c", &["a/c", "a/b/b/c"]);
    hit("*/", &["a/", "a/b/"]);
    hit("f*o*r", &["foobar", "foor", "fxoxrxr"]);
    spared("f*o*r", &["fobarx", "fr"]);
    hit("a/b*c*d", &["a/bcd", "a/bxcxcxd"]);
    spared("a/b*c*d", &["a/bc/d", "a/b/cd"]);
}

#[test]
fn two_stars_cross_slashes_where_they_are_a_part() {
    hit("**/foo", &["foo", "a/foo", "a/b/foo"]);
    hit("**/foo/bar", &["foo/bar", "a/foo/bar"]);
    hit("foo/**", &["foo/a", "foo/a/b"]);
    spared("foo/**", &["foo", "foo/", "a/foo/b"]);
    hit("a/**/b", &["a/b", "a/x/b", "a/x/y/b"]);
    spared("a/**/b", &["ab", "a/xb", "c/a/b"]);
    hit("a/**/b/**/c", &["a/b/c", "a/x/b/y/z/c", "a/b/b/c/c"]);
    spared("a/**/b/**/c", &["a/c", "a/b", "b/c"]);
    hit("**/**/a", &["a", "b/a"]);
    hit("a/***/b", &["a/b", "a/x/y/b"]);
}

#[test]
fn two_stars_elsewhere_are_one() {
    hit("a/b**c", &["a/bc", "a/bxc"]);
    spared("a/b**c", &["a/b/c"]);
    hit("/x?**/y", &["xa/y", "xab/y"]);
    spared("/x?**/y", &["xa/b/y"]);
    hit("**.md", &["a.md", "b/a.md"]);
}

#[test]
fn two_stars_behind_a_literal_start_stand_at_a_start() {
    hit("foo**/x", &["foo/x", "foox", "foobar/x", "foo/a/b/x", "foobar/a/x"]);
    spared("foo**/x", &["foo/ax", "afoo/x"]);
    hit("/foo**", &["foo", "foobar", "foo/a/b"]);
    spared("*oo**/x", &["foo/a/x"]);
}

#[test]
fn an_escaped_slash_behind_two_stars_needs_a_folder() {
    hit("**\\/a", &["b/a", "b/c/a"]);
    spared("**\\/a", &["a"]);
}

#[test]
fn braces_are_letters() {
    hit("{a,b}", &["{a,b}"]);
    spared("{a,b}", &["a", "b"]);
    hit("*.{o,a}", &["x.{o,a}"]);
    spared("*.{o,a}", &["x.o"]);
}

#[test]
fn question_marks_and_classes_take_one_byte_of_a_name() {
    hit("?", &["a", "b/a", "\\"]);
    spared("?", &["", "ab", "\u{fc}"]);
    hit("??", &["\u{fc}"]);
    spared("a?b/", &["a/b/"]);
    spared("/a?b", &["a/b"]);
    spared("/a[/]b", &["a/b"]);
    spared("/a[!x]b", &["a/b"]);
    hit("[abc]", &["a", "c"]);
    spared("[abc]", &["d", "ab", "[abc]"]);
    hit("[!abc]", &["d"]);
    hit("[^abc]", &["d"]);
    spared("[^abc]", &["b"]);
    hit("[a-c]x", &["bx"]);
    // A range that is none still has its first byte.
    spared("[c-a]x", &["bx", "ax"]);
    hit("[c-a]x", &["cx"]);
}

#[test]
fn the_odd_corners_of_classes() {
    hit("[]]", &["]"]);
    hit("[]a]", &["]", "a"]);
    hit("[!]]", &["a"]);
    spared("[!]]", &["]"]);
    hit("[a-]", &["a", "-"]);
    hit("[-a]", &["a", "-"]);
    hit("[a-c-e]", &["b", "-", "e"]);
    spared("[a-c-e]", &["d"]);
    hit("[\\]]", &["]"]);
    hit("[\\a-\\c]", &["b"]);
    hit("[[a]", &["[", "a"]);
    hit("[[a]]", &["[]", "a]"]);
    hit("[a[:digit:]-z]", &["a", "5", "-", "z"]);
    spared("[a[:digit:]-z]", &["y"]);
    spared("[", &["["]);
    spared("[a", &["a", "[a"]);
    spared("[]", &["]", "[]"]);
    spared("[a\\", &["a"]);
    spared("[a-\\", &["a"]);
    hit("\\[a", &["[a"]);
}

#[test]
fn named_classes() {
    hit("[[:alpha:]]", &["a", "Z"]);
    spared("[[:alpha:]]", &["1", "\u{fc}"]);
    hit("[[:alnum:]_]*", &["_", "9x"]);
    hit("[![:space:]]", &["a", "\u{b}", "\u{c}"]);
    spared("[![:space:]]", &["\t", "\r"]);
    hit("[[:upper:][:digit:]]", &["A", "1"]);
    hit("[[:xdigit:]]", &["f", "F", "0"]);
    hit("[[:punct:]]", &["!", "~", "_"]);
    spared("[[:foo:]]", &["f", ":", "["]);
    spared("[[:alpha:]", &["a", "["]);
    hit("[[:alpha]]", &["[]", ":]", "a]"]);
    hit("[[:]", &["[", ":"]);
    spared("[[:Alpha:]]", &["a"]);
}

#[test]
fn all_bytes_and_their_classes() {
    let members = |class: &str| {
        let file = format!("[[:{class}:]]");
        (1..=255_u8)
            .filter(|byte| !b"/\n".contains(byte))
            .filter(|byte| line(file.as_bytes(), &[*byte], false).is_some())
            .count()
    };
    let found: Vec<usize> = ["cntrl", "graph", "print", "blank", "space", "punct"].map(members).to_vec();
    // Without `/`, `\n` and NUL, which no name holds.
    assert_eq!(found, [31, 93, 94, 2, 3, 31]);
}

#[test]
fn backslashes() {
    hit("\\*", &["*"]);
    spared("\\*", &["a"]);
    hit("\\a", &["a"]);
    hit("\\!x", &["!x"]);
    hit("\\#x", &["#x"]);
    hit("a\\\\b", &["a\\b"]);
    spared("a\\", &["a", "a\\"]);
    spared("*\\", &["a", "\\"]);
    spared("a\\/", &["a/", "a\\/"]);
}

#[test]
fn the_last_line_wins() {
    decides(b"a\n!a\n", "a", Some(-2));
    decides(b"!a\na\n", "a", Some(2));
    decides(b"*\n!*.o\nb.o\n", "b.o", Some(3));
    decides(b"*\n!*.o\nb.o\n", "a.o", Some(-2));
    decides(b"*\n!*.o\nb.o\n", "x/c", Some(1));
    decides(b"!!a\n", "!a", Some(-1));
    decides(b"a\n!\n", "a", Some(1));
    decides(b"!\n", "a", None);
}

#[test]
fn blank_lines_comments_and_ends_of_lines() {
    decides(b"\n# a\n\na", "a", Some(4));
    decides(b"#a\n", "#a", None);
    decides(b" #a\n", " #a", Some(1));
    decides(b"a\r\nb\r\n", "b", Some(2));
    decides(b"a\r\r\n", "a\r", Some(1));
    decides(b"\r\n", "\r", None);
    decides(b"a\rb\n", "a\rb", Some(1));
    decides(b"\xef\xbb\xbfa\n", "a", Some(1));
    decides(b"\xef\xbb\xbf#a\na\n", "a", Some(2));
    decides(b"x\n\xef\xbb\xbfa\n", "a", None);
    decides(b"a\0b\nc\n", "a", Some(1));
}

#[test]
fn spaces_at_the_end_are_cut_unless_escaped() {
    decides(b"a  \n", "a", Some(1));
    decides(b"a\\ \n", "a ", Some(1));
    decides(b"a\\  \n", "a ", Some(1));
    decides(b"a \\ \n", "a  ", Some(1));
    decides(b"a\t\n", "a", None);
    decides(b"a \r\n", "a", Some(1));
    decides(b" a\n", " a", Some(1));
    decides(b"a b\n", "a b", Some(1));
    decides(b"  \n", " ", None);
}

#[test]
fn the_innermost_file_with_a_rule_decides() {
    let outer = Rules::push(None, PathBuf::from("exclude"), b"", b"*.log\nx\n");
    let top = Rules::push(outer, PathBuf::from(".gitignore"), b"", b"!a.log\n/d/e\n");
    let inner = Rules::push(top, PathBuf::from("d/.gitignore"), b"d/", b"/a.log\n!e\n").expect("rules");
    let decided =
        |path: &[u8]| inner.decide(path, false).map(|by| (by.file.to_str().expect("text"), by.keeps));
    assert_eq!(decided(b"d/a.log"), Some(("d/.gitignore", false)));
    assert_eq!(decided(b"d/f/a.log"), Some((".gitignore", true)));
    assert_eq!(decided(b"d/b.log"), Some(("exclude", false)));
    assert_eq!(decided(b"d/e"), Some(("d/.gitignore", true)));
    assert_eq!(decided(b"d/y"), None);
}

#[test]
fn many_stars_take_no_time() {
    let pattern = format!("{}b", "a*".repeat(60));
    spared(&pattern, &["a".repeat(4000).as_str()]);
    let pattern = format!("{}b", "**/a*".repeat(30));
    spared(&pattern, &["a/".repeat(1000).trim_end_matches('/')]);
}
