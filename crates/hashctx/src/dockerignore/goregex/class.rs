//! Character classes and escapes of Go's regular expressions, written for the `regex` crate.
//!
//! Absent: case folding and every other flag; the reference sets none.

use std::fmt::Write as _;

/// Reads a class from its `[` on. Returns it in the syntax of `regex`, and what follows.
pub(super) fn parse(text: &str) -> Result<(String, &str), &'static str> {
    let mut rest = text.strip_prefix('[').unwrap_or(text);
    let mut class = String::from("[");
    if let Some(after) = rest.strip_prefix('^') {
        class.push('^');
        rest = after;
    }
    let mut first = true;
    while first || !rest.starts_with(']') {
        rest = item(rest, &mut class)?;
        first = false;
    }
    class.push(']');
    Ok((class, rest.get(1..).unwrap_or_default()))
}

/// Reads `\d`, `\pL`, `\p{Greek}` and their like: the inside of a class. None: another escape.
pub(super) fn escape(text: &str) -> Result<Option<(String, &str)>, &'static str> {
    let rest = text.get(2..).unwrap_or_default();
    let class = match text.get(..2) {
        Some("\\d") => "0-9",
        Some("\\D") => "[^0-9]",
        Some("\\s") => "\\t\\n\\x{c}\\r ",
        Some("\\S") => "[^\\t\\n\\x{c}\\r ]",
        Some("\\w") => "0-9A-Za-z_",
        Some("\\W") => "[^0-9A-Za-z_]",
        Some("\\p") => return unicode(rest, false).map(Some),
        Some("\\P") => return unicode(rest, true).map(Some),
        _ => return Ok(None),
    };
    Ok(Some((class.to_owned(), rest)))
}

/// Reads an escape that stands for one code point (which may be a surrogate).
pub(super) fn escaped(text: &str) -> Result<(u32, &str), &'static str> {
    let mut chars = text.chars();
    chars.next();
    let escaped = chars.next().ok_or("it ends in a lone `\\`")?;
    let rest = chars.as_str();
    match escaped {
        '0'..='7' => octal(escaped, rest),
        'x' => hex(rest).ok_or("a `\\x` escape is malformed"),
        'a' => Ok((7, rest)),
        'f' => Ok((12, rest)),
        'n' => Ok((10, rest)),
        'r' => Ok((13, rest)),
        't' => Ok((9, rest)),
        'v' => Ok((11, rest)),
        plain if plain.is_ascii() && !plain.is_ascii_alphanumeric() => Ok((u32::from(plain), rest)),
        _ => Err("an escape has no meaning in a regular expression"),
    }
}

fn item<'a>(text: &'a str, class: &mut String) -> Result<&'a str, &'static str> {
    if let Some((named, rest)) = posix(text)? {
        class.push_str(&named);
        return Ok(rest);
    }
    if let Some((inside, rest)) = escape(text)? {
        class.push_str(&inside);
        return Ok(rest);
    }
    let (low, rest) = class_char(text)?;
    let (high, rest) = match rest.strip_prefix('-') {
        Some(after) if !after.is_empty() && !after.starts_with(']') => class_char(after)?,
        _ => (low, rest),
    };
    if high < low {
        return Err("a range of characters is reversed");
    }
    push_range(low, high, class);
    Ok(rest)
}

/// Surrogates are code points to Go but no text has them: a range is cut back to what can occur.
fn push_range(low: u32, high: u32, class: &mut String) {
    let low = if (0xd800..0xe000).contains(&low) { 0xe000 } else { low };
    let high = if (0xd800..0xe000).contains(&high) { 0xd7ff } else { high };
    if low <= high {
        let _ = write!(class, "\\x{{{low:x}}}-\\x{{{high:x}}}");
    } else {
        class.push_str("[^\\x{0}-\\x{10ffff}]");
    }
}

fn class_char(text: &str) -> Result<(u32, &str), &'static str> {
    let mut chars = text.chars();
    match chars.next().ok_or("its `[` has no `]`")? {
        '\\' => escaped(text),
        plain => Ok((u32::from(plain), chars.as_str())),
    }
}

const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

fn posix(text: &str) -> Result<Option<(String, &str)>, &'static str> {
    let Some((name, rest)) = text.strip_prefix("[:").and_then(|text| text.split_once(":]")) else {
        return Ok(None);
    };
    if POSIX.contains(&name.strip_prefix('^').unwrap_or(name)) {
        Ok(Some((format!("[[:{name}:]]"), rest)))
    } else {
        Err("a `[:class:]` has an unknown name")
    }
}

fn unicode(text: &str, negated: bool) -> Result<(String, &str), &'static str> {
    const UNKNOWN: &str = "a `\\p` class has an unknown name";
    let (name, rest) = match text.strip_prefix('{') {
        Some(braced) => braced.split_once('}').ok_or(UNKNOWN)?,
        None => text.split_at(text.chars().next().map_or(0, char::len_utf8)),
    };
    let (name, negated) = match name.strip_prefix('^') {
        Some(name) => (name, !negated),
        None => (name, negated),
    };
    let table = unicode_table(name).ok_or(UNKNOWN)?;
    Ok((if negated { format!("[^{table}]") } else { table }, rest))
}

const CATEGORIES: [&str; 37] = [
    "C", "Cc", "Cf", "Co", "Cs", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl",
    "No", "P", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl", "Zp", "Zs",
    "Any",
];

/// Go's names of scripts that are as short as the codes it does not know (`Latn`).
const SHORT_SCRIPTS: [&str; 14] =
    ["Ahom", "Cham", "Han", "Kawi", "Lao", "Lisu", "Modi", "Mro", "Newa", "Nko", "Thai", "Toto", "Vai", "Yi"];

fn unicode_table(name: &str) -> Option<String> {
    if CATEGORIES.contains(&name) {
        return Some(match name {
            "Any" => "\\x{0}-\\x{10ffff}".to_owned(),
            "Cs" => "[^\\x{0}-\\x{10ffff}]".to_owned(),
            // Go's `C` has no unassigned code points.
            "C" => "\\p{gc=Cc}\\p{gc=Cf}\\p{gc=Co}".to_owned(),
            name => format!("\\p{{gc={name}}}"),
        });
    }
    let spelt = name.split('_').all(|word| word.starts_with(|first: char| first.is_ascii_uppercase()));
    let known = name.len() > 4 || SHORT_SCRIPTS.contains(&name);
    let table = format!("\\p{{sc={name}}}");
    let plain = name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    (plain && spelt && known && regex::Regex::new(&table).is_ok()).then_some(table)
}

fn octal(first: char, text: &str) -> Result<(u32, &str), &'static str> {
    let digits = text.bytes().take(2).take_while(|digit| (b'0'..b'8').contains(digit)).count();
    if first != '0' && digits == 0 {
        return Err("back-references are not supported");
    }
    let (tail, rest) = text.split_at(digits);
    let code = tail.bytes().fold(u32::from(first) - 48, |code, digit| code * 8 + u32::from(digit - b'0'));
    Ok((code, rest))
}

fn hex(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = match text.strip_prefix('{') {
        Some(braced) => braced.split_once('}')?,
        None => text.split_at_checked(2)?,
    };
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let code = match digits.trim_start_matches('0') {
        "" if digits.is_empty() => return None,
        "" => 0,
        digits => u32::from_str_radix(digits, 16).ok()?,
    };
    (code <= 0x0010_ffff).then_some((code, rest))
}
