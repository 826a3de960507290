//! Tests that sleep: a test waits for what happens, by `larder_tests::until`. Where time itself is
//! what it needs, such as for a slow server, a comment right above says so.

use camino::Utf8Path;

/// The call, put together so that this file has none.
const CALL: &str = concat!("thread::", "sleep(");

/// The sleeps of tests that nobody explains: those in a file of tests, or behind the line that
/// begins a module of them.
pub(super) fn unexplained(file: &Utf8Path, text: &str) -> Vec<String> {
    let of_tests = file.components().any(|part| part.as_str() == "tests");
    let lines: Vec<_> = text.lines().map(str::trim_start).collect();
    let begins = lines.iter().position(|line| *line == "#[cfg(test)]");
    let begin = if of_tests { 0 } else { begins.unwrap_or(lines.len()) };
    let explained = |number: usize| number > 0 && lines[number - 1].starts_with("//");
    let sleeps = (begin..lines.len()).filter(|number| lines[*number].contains(CALL));
    sleeps
        .filter(|number| !explained(*number))
        .map(|number| format!("{file}:{}: a test sleeps: use `until`, or say why time must pass", number + 1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_of_a_test_has_its_reason_right_above() {
        let [bare, told] = [format!("f();\nstd::{CALL}x);\n"), format!("// A slow one.\n{CALL}x);\n")];
        let count = |file: &str, text: &str| unexplained(Utf8Path::new(file), text).len();
        assert_eq!((count("a/tests/b.rs", &bare), count("a/tests/b.rs", &told)), (1, 0));
        assert_eq!(
            (count("a/src/b.rs", &bare), count("a/src/b.rs", &format!("#[cfg(test)]\n{bare}"))),
            (0, 1)
        );
    }
}
