//! A guide for people, played line by line.
//!
//! A block with a file's name behind its language (`toml larder.toml`) is that file. In a block
//! `console`, a line that begins with `$ ` runs; what stands below it must be in what it prints, in
//! that order, where `…` stands for anything. `# ends with N` at the end of a line is its exit
//! code;
//! `cd`, `export` and `unset` hold for the lines after them.

use std::fmt::Write;

use crate::Session;

/// One thing that a guide says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// The file's path and text.
    File(String, String),
    /// A line, and what it prints.
    Run(String, Vec<String>),
}

/// Plays the guide in the session's folder, with `prepare` before each line.
///
/// # Panics
/// Where a line does not end, or print, as the guide says.
#[track_caller]
pub fn play(session: &Session, guide: &str, prepare: &str) {
    let mut held = prepare.to_owned();
    for step in steps(guide) {
        let (line, expected) = match step {
            Step::File(path, text) => {
                session.write(&path, text);
                continue;
            }
            Step::Run(line, expected) => (line, expected),
        };
        let (command, code) = match line.rsplit_once("# ends with ") {
            Some((command, code)) => (command, code.trim().parse().expect("an exit code")),
            None => (line.as_str(), 0),
        };
        if ["cd ", "export ", "unset "].iter().any(|word| command.starts_with(word)) {
            let _ = write!(held, "; {command}");
            continue;
        }
        let ran = session.run(&format!("{held}; {command}")).ends(code);
        let said = format!("{}{}", ran.stdout(), ran.stderr());
        let mut lines = said.lines();
        for wanted in expected {
            assert!(
                lines.any(|line| is_like(line, &wanted)),
                "`{wanted}` is not there, or not in order: {ran}"
            );
        }
    }
}

/// Writes the files of a guide, and runs nothing.
pub fn write_files(session: &Session, guide: &str) {
    for step in steps(guide) {
        if let Step::File(path, text) = step {
            session.write(&path, text);
        }
    }
}

fn steps(guide: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = guide.lines();
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix("```").filter(|kind| !kind.is_empty()) else { continue };
        let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        match kind.split_once(' ') {
            Some((_, path)) => steps.push(Step::File(path.to_owned(), block.join("\n") + "\n")),
            None if kind == "console" => steps.extend(runs(&block)),
            None => {}
        }
    }
    steps
}

fn runs(block: &[&str]) -> Vec<Step> {
    let mut runs: Vec<Step> = Vec::new();
    for line in block {
        match (line.strip_prefix("$ "), runs.last_mut()) {
            (Some(command), _) => runs.push(Step::Run(command.to_owned(), Vec::new())),
            (None, Some(Step::Run(command, expected))) if expected.is_empty() && command.ends_with('\\') => {
                command.push('\n');
                command.push_str(line);
            }
            (None, Some(Step::Run(_, expected))) if !line.trim().is_empty() => {
                expected.push(line.trim().to_owned());
            }
            _ => {}
        }
    }
    runs
}

/// Whether the parts of the pattern between `…` are in the line, in that order.
fn is_like(line: &str, pattern: &str) -> bool {
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = squeezed(line);
    let mut rest = line.as_str();
    pattern.split('…').map(squeezed).all(|part| match rest.find(&part) {
        Some(at) => {
            rest = rest.get(at + part.len()..).unwrap_or_default();
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUIDE: &str = "# A guide\n\n```sh greet\necho hello \"$1\"\n```\n\nWords.\n\n```console\n$ export WHO=you\n$ sh greet \\\n  \"$WHO\"\nhello …\n\n$ exit 3 # ends with 3\n```\n";

    #[test]
    fn a_guide_is_played() {
        let run = |line: &str, says: &[&str]| {
            Step::Run(line.to_owned(), says.iter().map(|text| (*text).to_owned()).collect())
        };
        let expected = [
            Step::File("greet".to_owned(), "echo hello \"$1\"\n".to_owned()),
            run("export WHO=you", &[]),
            run("sh greet \\\n  \"$WHO\"", &["hello …"]),
            run("exit 3 # ends with 3", &[]),
        ];
        assert_eq!(steps(GUIDE), expected);
        play(&Session::new(), GUIDE, ":");
    }

    #[test]
    #[should_panic(expected = "is not there")]
    fn what_a_line_does_not_print_is_noticed() {
        play(&Session::new(), &GUIDE.replace("hello …", "hello … and me"), ":");
    }

    #[test]
    fn an_ellipsis_stands_for_anything() {
        for (line, pattern, like) in [
            ("app  hit  0123  team  0.12 s", "app hit … team …", true),
            ("app  hit  0123  team", "app built …", false),
            ("b a", "a … b", false),
        ] {
            assert_eq!(is_like(line, pattern), like, "{pattern}");
        }
    }
}
