//! What a plain word is: nothing, a truth value, a number or a text, as compose's own reader has
//! it.

use super::node::Value;

/// The value of a word. `tag` as it is written; `plain`: without quotes.
pub(super) fn value(text: &str, plain: bool, tag: Option<&str>) -> Value {
    let own = || Value::Text(text.to_owned());
    match tag {
        Some("!!null") => return Value::Null,
        Some("!!bool" | "!!int" | "!!float") => {}
        Some(_) => return own(),
        None if !plain => return own(),
        None => {}
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(own, |number| Value::Number { text: number, written: text.to_owned() }),
    }
}

/// The number as compose prints it: `1.10` is `1.1`, `0x10` is `16`.
fn number(text: &str) -> Option<String> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    integer(text).or_else(|| float(text))
}

/// A whole number, by the prefixes that it may have.
fn integer(text: &str) -> Option<String> {
    let plain = text.replace('_', "");
    let (minus, digits) = match plain.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let (digits, radix) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (digits.get(2..)?, 16),
        [b'0', b'o' | b'O', ..] => (digits.get(2..)?, 8),
        [b'0', b'b' | b'B', ..] => (digits.get(2..)?, 2),
        [b'0', _, ..] => (digits.get(1..)?, 8),
        _ => (digits, 10),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let number = u64::from_str_radix(digits, radix).ok()?;
    let sign = if minus && number != 0 { "-" } else { "" };
    Some(format!("{sign}{number}"))
}

/// A number with a fraction or an exponent.
fn float(text: &str) -> Option<String> {
    let digits = text.trim_start_matches(['+', '-']);
    let is_written = text.len() - digits.len() <= 1
        && digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'))
        && digits.contains(|c: char| c.is_ascii_digit());
    let number = text.parse::<f64>().ok().filter(|number| is_written && number.is_finite())?;
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e21).contains(&size) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e')?;
        let sign = if exponent.starts_with('-') { '-' } else { '+' };
        return Some(format!("{digits}e{sign}{:0>2}", exponent.trim_start_matches('-')));
    }
    Some(number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is(text: &str, expected: &str) {
        let shown = match value(text, true, None) {
            Value::Null => "null".to_owned(),
            Value::Bool(flag) => format!("bool {flag}"),
            Value::Number { text, .. } => text,
            Value::Text(text) => format!("text {text}"),
            Value::List(_) | Value::Map(_) => unreachable!("a word"),
        };
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn words_are_told_apart_as_compose_does() {
        for text in ["", "~", "null"] {
            is(text, "null");
        }
        is("True", "bool true");
        for text in
            ["yes", "on", "1:30", "1.2.3", "0x", "-", ".", "+", "1e", "v1", "0o9", ".inf", "+-1", "0x-1"]
        {
            is(text, &format!("text {text}"));
        }
        for (text, number) in [
            ("1", "1"),
            ("-0", "0"),
            ("+7", "7"),
            ("0x1F", "31"),
            ("017", "15"),
            ("0o17", "15"),
            ("0b11", "3"),
            ("1_000", "1000"),
            ("1.10", "1.1"),
            ("3.0", "3"),
            (".5", "0.5"),
            ("1e3", "1000"),
            ("1e21", "1e+21"),
            ("1.5e-7", "1.5e-07"),
            ("089", "89"),
        ] {
            is(text, number);
        }
    }

    #[test]
    fn quotes_and_tags_decide() {
        assert!(matches!(value("1", false, None), Value::Text(_)));
        assert!(matches!(value("1", true, Some("!!str")), Value::Text(_)));
        assert!(matches!(value("true", false, Some("!!bool")), Value::Bool(true)));
        assert!(matches!(value("x", true, Some("!own")), Value::Text(_)));
    }
}
