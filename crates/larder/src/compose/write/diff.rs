//! The difference between two texts, for people: what is around the first and the last line that
//! differ.

use storekit::printable;

/// How many lines of a side are shown.
const SHOWN: usize = 20;

/// Lines that begin with `-` are in the first text alone, those with `+` in the second.
pub(super) fn difference(before: &str, after: &str) -> String {
    let [before, after] = [before, after].map(|text| text.split_inclusive('\n').collect::<Vec<_>>());
    let same = before.iter().zip(&after).take_while(|(one, other)| one == other).count();
    let most = before.len().min(after.len()) - same;
    let same_end = before
        .iter()
        .rev()
        .zip(after.iter().rev())
        .take(most)
        .take_while(|(one, other)| one == other)
        .count();
    let part = |lines: &[&str], sign: char| {
        let lines = lines.get(same..lines.len() - same_end).unwrap_or_default();
        let more = lines.len().checked_sub(SHOWN).filter(|more| *more > 0);
        let more = more.map(|more| format!("{sign} and {more} more lines\n"));
        lines.iter().take(SHOWN).map(|line| shown(sign, line)).chain(more).collect::<String>()
    };
    format!("line {}:\n{}{}", same + 1, part(&before, '-'), part(&after, '+')).trim_end().to_owned()
}

fn shown(sign: char, line: &str) -> String {
    let plain = line.strip_suffix('\n').unwrap_or(line);
    let end = if line.ends_with('\n') { "" } else { "  (without a line end)" };
    let (plain, carriage) = match plain.strip_suffix('\r') {
        Some(plain) => (plain, "  (CR)"),
        None => (plain, ""),
    };
    format!("{sign}{}{carriage}{end}\n", printable(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_shown() {
        assert_eq!(difference("a\nb\nc\n", "a\nx\nc\n"), "line 2:\n-b\n+x");
        assert_eq!(difference("a\n", "a\nb\n"), "line 2:\n+b");
        assert_eq!(difference("a\nb\n", "b\n"), "line 1:\n-a");
        assert_eq!(difference("a\n", "a"), "line 1:\n-a\n+a  (without a line end)");
        assert_eq!(difference("a\r\nb\n", "a\nb\n"), "line 1:\n-a  (CR)\n+a");
        let many = (0..50).map(|at| format!("{at}\n")).collect::<Vec<_>>().concat();
        assert!(difference("", &many).ends_with("+19\n+ and 30 more lines"));
        assert_eq!(difference("a\na\n", "a\n"), "line 2:\n-a");
    }
}
