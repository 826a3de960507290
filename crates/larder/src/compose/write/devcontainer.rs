//! Adds a file to the compose files that a devcontainer.json names. It is JSON with comments: only
//! the bytes that must change are changed.

use jsonc_parser::ast::{StringLit, Value};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::edit::Edit;

/// The key that has them.
const KEY: &str = "dockerComposeFile";

/// The edits that add the file behind the others; none where it is there.
///
/// # Errors
/// Why it cannot be added, in words.
pub(super) fn added(text: &str, file: &str) -> Result<Vec<Edit>, String> {
    let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let body = text.get(start..).unwrap_or_default();
    let options = ParseOptions::default();
    let parsed = parse_to_ast(body, &CollectOptions::default(), &options);
    let parsed = parsed.map_err(|error| format!("it is not JSON with comments: {error}"))?;
    let object = parsed.value.as_ref().and_then(Value::as_object);
    let named = object.and_then(|object| object.properties.iter().rfind(|own| own.name.as_str() == KEY));
    let named = named.ok_or_else(|| format!("it has no `{KEY}`"))?;
    let word = serde_json::Value::from(file).to_string();
    let is_it = |literal: &StringLit<'_>| literal.value == file;
    let edit = match &named.value {
        Value::StringLit(literal) if is_it(literal) => return Ok(Vec::new()),
        Value::StringLit(literal) => {
            let (from, to) = (literal.start(), literal.end());
            let own = body.get(from..to).unwrap_or_default();
            Edit { start: from, end: to, text: format!("[{own}, {word}]") }
        }
        Value::Array(array) => {
            let files: Vec<_> = array.elements.iter().filter_map(Value::as_string_lit).collect();
            if files.iter().any(|literal| is_it(literal)) {
                return Ok(Vec::new());
            }
            match array.elements.last() {
                None => Edit { start: array.start() + 1, end: array.start() + 1, text: word },
                Some(last) => {
                    let at = last.end();
                    Edit { start: at, end: at, text: format!(",{}{word}", before(body, last.start())) }
                }
            }
        }
        _ => return Err(format!("its `{KEY}` is neither a text nor a list")),
    };
    Ok(vec![Edit { start: edit.start + start, end: edit.end + start, ..edit }])
}

/// What stands before a part of a list, to be repeated before the next one.
fn before(text: &str, at: usize) -> &str {
    let before = text.get(..at).unwrap_or_default();
    let indent = before.trim_end_matches([' ', '\t']);
    match indent.strip_suffix("\r\n").or_else(|| indent.strip_suffix('\n')) {
        Some(line) => before.get(line.len()..).unwrap_or(" "),
        None => " ",
    }
}

#[cfg(test)]
mod tests {
    use super::super::edit::applied;
    use super::*;

    #[track_caller]
    fn becomes(text: &str, expected: &str) {
        let edits = added(text, "../l.yml").expect("it can be added");
        assert_eq!(applied(text, &edits).as_deref(), Some(expected), "{text}");
        assert_eq!(added(expected, "../l.yml"), Ok(Vec::new()), "twice");
    }

    #[test]
    fn the_file_is_added_in_the_style_of_the_others() {
        becomes(r#"{"dockerComposeFile": "a.yml"}"#, r#"{"dockerComposeFile": ["a.yml", "../l.yml"]}"#);
        becomes(
            "// dev\n{\n  \"name\": \"x\", /* y */\n  \"dockerComposeFile\": [\"a.yml\"], // z\n}\n",
            "// dev\n{\n  \"name\": \"x\", /* y */\n  \"dockerComposeFile\": [\"a.yml\", \"../l.yml\"], // z\n}\n",
        );
        becomes(
            "{\"dockerComposeFile\": [\r\n\t\"a.yml\",\r\n\t\"b.yml\", // last\r\n]}",
            "{\"dockerComposeFile\": [\r\n\t\"a.yml\",\r\n\t\"b.yml\",\r\n\t\"../l.yml\", // last\r\n]}",
        );
        becomes("\u{feff}{\"dockerComposeFile\": []}", "\u{feff}{\"dockerComposeFile\": [\"../l.yml\"]}");
    }

    #[test]
    fn what_names_no_compose_file_is_refused() {
        let refused = |text: &str| added(text, "x").expect_err(text);
        assert!(refused("{\"image\": \"x\"}").contains("has no `dockerComposeFile`"));
        assert!(refused("{\"dockerComposeFile\": 1}").contains("neither"));
        assert!(refused("[1]").contains("has no"));
        assert!(refused("").contains("has no"));
        assert!(refused("{").contains("not JSON"));
        refused(&"[".repeat(100_000));
    }
}
