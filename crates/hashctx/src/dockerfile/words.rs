//! The four ways in which an instruction's arguments are cut into words.

/// What parts words; other white space of Unicode does not.
const BLANKS: [char; 5] = ['\t', '\u{b}', '\u{c}', '\r', ' '];

/// The leading `--flags` of an instruction, and what follows them.
///
/// `BuildKit` reads flags byte by byte, so each byte of a character that is not ASCII becomes a
/// character of its own (`ü` is `Ã¼`). That decides what `--exclude` matches, so it is kept.
pub(super) fn flags(text: &[u8], escape: char) -> (Vec<String>, &[u8]) {
    let mut flags = Vec::new();
    let mut rest = text;
    loop {
        let blanks = rest.iter().take_while(|byte| char::from(**byte).is_whitespace()).count();
        rest = rest.get(blanks..).unwrap_or_default();
        if !rest.starts_with(b"--") {
            return (flags, rest);
        }
        let (flag, length) = flag(rest, escape);
        rest = rest.get(length..).unwrap_or_default();
        match flag {
            Some(flag) if flag == "--" => return (flags, rest),
            flag => flags.extend(flag),
        }
    }
}

/// Reads one flag: its text, None where it is empty, and its length.
fn flag(text: &[u8], escape: char) -> (Option<String>, usize) {
    let (mut flag, mut quote) = (String::new(), None);
    let mut bytes = text.iter().enumerate().map(|(at, byte)| (at, char::from(*byte)));
    while let Some((at, next)) = bytes.next() {
        match (next, quote) {
            (next, None) if next.is_whitespace() => return (Some(flag), at),
            ('\'' | '"', None) => quote = Some(next),
            (next, Some(open)) if next == open => quote = None,
            (next, _) if next == escape => flag.extend(bytes.next().map(|(_, escaped)| escaped)),
            (next, _) => flag.push(next),
        }
    }
    (Some(flag).filter(|flag| flag != "--"), text.len())
}

/// Reads a list of strings in JSON. None: it is not one.
pub(super) fn json(text: &str) -> Option<Vec<String>> {
    if text.trim_start().starts_with('[') { serde_json::from_str(text).ok() } else { None }
}

/// Reads a list in JSON, or words between white space.
pub(super) fn list(text: &str) -> Vec<String> {
    json(text).unwrap_or_else(|| blank_separated(text))
}

/// Words between white space, quotes and all.
pub(super) fn blank_separated(text: &str) -> Vec<String> {
    text.split(BLANKS).filter(|word| !word.is_empty()).map(ToOwned::to_owned).collect()
}

/// Words between white space that is not quoted or escaped. Quotes and escapes stay.
pub(super) fn quoted(text: &str, escape: char) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        match (next, quote) {
            (next, None) if next.is_whitespace() => {
                words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
                continue;
            }
            ('\'' | '"', None) => quote = Some(next),
            (next, Some(open)) if next == open => quote = None,
            _ => {}
        }
        let special = next == escape && quote != Some('\'');
        match (special, if special { rest.next() } else { None }) {
            (true, None) => {}
            (_, escaped) => word.extend([next].into_iter().chain(escaped)),
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}

/// `name=value` pairs of ENV and LABEL, or their old form `name value`. None: neither.
pub(super) fn pairs(text: &str, escape: char) -> Option<Vec<(String, String)>> {
    let words = quoted(text, escape);
    if words.first()?.contains('=') {
        let pair =
            |word: &String| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        return words.iter().map(pair).collect();
    }
    let (name, value) = text.split_once(BLANKS)?;
    Some(vec![(name.to_owned(), value.trim_start_matches(BLANKS).to_owned())])
}

/// The fields of `--mount=a=b,"c=d,e"`, read as one line of CSV.
pub(super) fn fields(text: &str) -> Vec<String> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '"' if quoted && rest.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    fields.push(field);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn flagged(text: &str, want: &[&str], rest: &str) {
        let (flags, after) = flags(text.as_bytes(), '\\');
        assert_eq!(
            (flags.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), after),
            (want, rest.as_bytes())
        );
    }

    #[test]
    fn flags_are_unquoted() {
        flagged("--a=b --c x --d", &["--a=b", "--c"], "x --d");
        flagged("--a=\"b c\" '--x'", &["--a=b c"], "'--x'");
        flagged("--a=b\\ c x", &["--a=b c"], "x");
        flagged("-- --a", &[], " --a");
        flagged("x --a", &[], "x --a");
        flagged("--", &[], "");
        flagged("--x=ü .", &["--x=Ã¼"], ".");
    }

    #[test]
    fn pairs_have_two_forms() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            pairs("a=1 b=\"x y\" c=d\\ e", '\\').unwrap(),
            [pair("a", "1"), pair("b", "\"x y\""), pair("c", "d\\ e")]
        );
        assert_eq!(pairs("a  b=1 c", '\\').unwrap(), [pair("a", "b=1 c")]);
        assert_eq!(pairs("a \u{a0}b", '\\').unwrap(), [pair("a", "\u{a0}b")]);
        assert_eq!(pairs("a=1 b", '\\'), None);
        assert_eq!(pairs("a", '\\'), None);
    }

    #[test]
    fn mounts_are_csv() {
        assert_eq!(fields("type=bind,\"source=a,b\",x"), ["type=bind", "source=a,b", "x"]);
    }
}
