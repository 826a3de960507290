//! `${NAME}` in a value: taken from the environment, as compose files have it.

use std::fmt;

/// Where variables are looked up; `None` for one that is not set.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Why a value's variables cannot be put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) enum Unfit {
    /// It is not set, and nothing is given for that.
    Unset(String),
    /// The braces do not end, or hold something else than a name.
    Unread(String),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset(name) => write!(f, "the environment variable `{name}` is not set"),
            Self::Unread(text) => write!(f, "`{text}` does not name a variable"),
        }
    }
}

impl Unfit {
    pub(in crate::config) fn help(&self) -> String {
        match self {
            Self::Unset(name) => {
                format!("set `{name}`, or say what counts without it: `${{{name}:-…}}`")
            }
            Self::Unread(_) => {
                "write `${NAME}` or `${NAME:-what counts if it is not set or empty}`; `$${` is the text `${`"
                    .to_owned()
            }
        }
    }
}

/// The text with each `${NAME}`, `${NAME:-WORD}` and `${NAME-WORD}` replaced: by the variable's
/// value, else by WORD. With the colon, an empty variable counts as not set. `$${` stands for `${`,
/// and any other `$` for itself.
pub(in crate::config) fn replaced(text: &str, variables: Variables<'_>) -> Result<String, Unfit> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            out.extend([before, "${"]);
            rest = after;
            continue;
        }
        let unread = || Unfit::Unread(format!("${{{after}"));
        let (inside, behind) = after.split_once('}').ok_or_else(unread)?;
        out.push_str(before);
        out.push_str(&value(inside, variables)?);
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

fn value(inside: &str, variables: Variables<'_>) -> Result<String, Unfit> {
    let end = inside.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inside.len());
    let (name, after) = inside.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Unfit::Unread(format!("${{{inside}}}")));
    }
    let set = variables(name);
    match (after.strip_prefix(":-"), after.strip_prefix('-')) {
        (Some(word), _) => Ok(set.filter(|value| !value.is_empty()).unwrap_or_else(|| word.to_owned())),
        (_, Some(word)) => Ok(set.unwrap_or_else(|| word.to_owned())),
        _ if after.is_empty() => set.ok_or_else(|| Unfit::Unset(name.to_owned())),
        _ => Err(Unfit::Unread(format!("${{{inside}}}"))),
    }
}

/// Whether `$NAME` stands in the text, or with `braced` `${NAME}` too.
pub(in crate::config) fn names_one(text: &str, braced: bool) -> bool {
    let starts = |name: &str| name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let named = |after: &str| starts(after) || (braced && after.strip_prefix('{').is_some_and(starts));
    text.split('$').skip(1).any(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str) -> Option<String> {
        [("A", "1"), ("EMPTY", "")]
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn variables_are_replaced_as_compose_does() {
        for (text, expected) in [
            ("x${A}y${A}", "x1y1"),
            ("${EMPTY}", ""),
            ("${EMPTY:-e}${EMPTY-f}${NONE:-n}${NONE-m}${A:-o}", "enm1"),
            ("${NONE:-}", ""),
            ("$A $5 $", "$A $5 $"),
            ("$${A} $$A", "${A} $$A"),
            ("${NONE:-a-b:c}", "a-b:c"),
        ] {
            assert_eq!(replaced(text, &variable).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_names_no_variable_is_refused() {
        assert_eq!(replaced("${NONE}", &variable), Err(Unfit::Unset("NONE".into())));
        for text in ["${A", "${}", "${1}", "${A b}", "${A:?no}", "${-x}"] {
            assert!(matches!(replaced(text, &variable), Err(Unfit::Unread(_))), "{text}");
        }
    }
}
