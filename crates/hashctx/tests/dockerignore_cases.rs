//! The matcher against 40,000 cases that the Go reference labelled.
//!
//! `data/dockerignore-cases.tsv.zst` has a case a line: `p` plain or `w` odd patterns; `1` left
//! out, `0` kept, `E` refused; the ignore file in hex; the path in hex.

use hashctx::dockerignore::{Folder, Patterns};

struct Case {
    line: String,
    label: String,
    file: Vec<u8>,
    path: Vec<u8>,
}

fn hex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(byte).collect()
}

fn cases() -> Vec<Case> {
    let packed = include_bytes!("data/dockerignore-cases.tsv.zst");
    let text = String::from_utf8(zstd::decode_all(&packed[..]).expect("zstd")).expect("text");
    let case = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        Case {
            line: line.to_owned(),
            label: fields[1].to_owned(),
            file: hex(fields[2]),
            path: hex(fields[3]),
        }
    };
    text.lines().map(case).collect()
}

fn label(case: &Case) -> &'static str {
    let verdict = Patterns::parse(&case.file)
        .and_then(|patterns| patterns.matches(&case.path).map(|verdict| verdict.excluded));
    match verdict {
        Ok(true) => "1",
        Ok(false) => "0",
        Err(_) => "E",
    }
}

#[test]
fn every_case_agrees_with_the_reference() {
    let cases = cases();
    assert_eq!(cases.len(), 40_000);
    let wrong: Vec<_> = cases.iter().filter(|case| label(case) != case.label).collect();
    for case in wrong.iter().take(20) {
        let (file, path) = (String::from_utf8_lossy(&case.file), String::from_utf8_lossy(&case.path));
        println!("{file:?} on {path:?}: {} and not {}  ({})", label(case), case.label, case.line);
    }
    assert_eq!(wrong.len(), 0, "of {} cases", cases.len());
}

/// The cases whose label, that of the path alone, is not that of a build: its walk hands the
/// folders' results down.
const OTHER_IN_A_WALK: [(&str, &str); 6] = [
    ("!/[^a]/foo\nfoo/[^a]/\n!foo", "foo/$/y.log/b.txt"),
    ("foo/\\d*/a|b*/\n![[:alpha:]]*", "a/b.txt/*"),
    ("**/?\n!*.log\n*/a{2}*", "y.log/a"),
    ("[a-c]*/**/x.txt\n!*", "a b/y.log/$/x.txt"),
    ("[a-c]*/**\n!b/../a*b\n/[ab]/**", "a.b/$/a b/a.b"),
    ("a*b/*/*\n(a)/\n!a+b", "a+b/b/b"),
];

/// All six are kept alone and hidden in a walk, which is what today's `BuildKit` does and what a
/// key follows.
#[test]
fn six_cases_are_labelled_by_the_path_alone() {
    let mut parting = Vec::new();
    for case in cases() {
        let Ok(patterns) = Patterns::parse(&case.file) else { continue };
        let Ok(walked) = patterns.judge_from_root(&case.path) else { continue };
        if case.label != if walked.excluded { "1" } else { "0" } {
            assert!(walked.excluded && patterns.may_part(), "{}", case.line);
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            parting.push((text(&case.file), text(&case.path)));
        }
    }
    let expected = OTHER_IN_A_WALK.map(|(file, path)| (file.to_owned(), path.to_owned()));
    assert_eq!(parting, expected);
}

/// What a folder lets a walk skip must not hold anything that is kept.
#[test]
fn a_prunable_folder_holds_nothing_that_is_kept() {
    let mut pruned = 0;
    for case in cases() {
        let Ok(patterns) = Patterns::parse(&case.file) else { continue };
        let Ok(verdict) = patterns.judge_from_root(&case.path) else { continue };
        let mut folder = Folder::default();
        for (at, _) in case.path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let parent = &case.path[..at];
            folder = patterns.enter(&folder, parent).unwrap().1;
            if patterns.prunable(&folder, parent) {
                pruned += 1;
                assert!(verdict.excluded, "{}", case.line);
            }
        }
    }
    assert!(pruned > 1000, "only {pruned} folders were prunable");
}
