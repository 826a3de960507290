//! Values of `build` in the forms that compose takes them in, and the names that it makes.

use super::merge::as_pairs;
use super::source::{Fault, Place};
use super::yaml::{Node, Value};
use crate::config::names::is_name;

/// A text, or what compose takes for one.
pub(super) fn scalar(node: &Node, key: &str) -> Result<String, Fault> {
    let wrong = || Fault::new(format!("`{key}` is {}", node.kind()), &node.at, "compose has a text here");
    node.scalar().ok_or_else(wrong)
}

pub(super) fn list<'n>(node: &'n Node, key: &str) -> Result<&'n [Node], Fault> {
    let wrong = || Fault::new(format!("`{key}` is {}", node.kind()), &node.at, "compose has a list here");
    node.as_list().ok_or_else(wrong)
}

/// The places of name and value, and both of them.
pub(super) type Pair = (Place, Place, String, Option<Value>);

/// A mapping, or a list of `NAME=VALUE`.
pub(super) fn pairs_of(node: &Node, key: &str) -> Result<Vec<Pair>, Fault> {
    let wrong = |node: &Node| {
        let message = format!("`{key}` is {}", node.kind());
        Fault::new(message, &node.at, "compose has a mapping here, or a list of `NAME=VALUE`")
    };
    let node = as_pairs(node.clone());
    let map = node.as_map().ok_or_else(|| wrong(&node))?;
    let pair = |(name, value): (crate::compose::yaml::Key<'_>, &Node)| match &value.value {
        Value::List(_) | Value::Map(_) => Err(wrong(value)),
        Value::Null => Ok((name.at.clone(), value.at.clone(), name.name.to_owned(), None)),
        own => Ok((name.at.clone(), value.at.clone(), name.name.to_owned(), Some(own.clone()))),
    };
    map.iter().map(pair).collect()
}

/// The image in a registry that a cache is, as buildx or docker names it.
pub(super) fn registry(text: &str) -> Option<String> {
    if is_name(text) {
        return Some(text.to_owned());
    }
    let fields: Vec<_> = text.split(',').filter_map(|field| field.split_once('=')).collect();
    let of = |name: &str| fields.iter().find(|(own, _)| *own == name).map(|(_, value)| *value);
    of("ref").filter(|image| of("type") == Some("registry") && is_name(image)).map(str::to_owned)
}

/// The name of a service's images, where it is one that images can have: as compose makes it.
pub(super) fn repository(project: &str, service: &str) -> String {
    let name = format!("{project}-{service}").to_lowercase();
    let mut tidy = String::new();
    let mut rest = name.as_str();
    while let Some(next) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let end = rest.find(|c: char| is_word(c) != is_word(next)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        let is_separator = matches!(run, "." | "_" | "__") || run.bytes().all(|byte| byte == b'-');
        tidy.push_str(if is_word(next) || is_separator { run } else { "-" });
        rest = after;
    }
    let tidy: String = tidy.chars().take(200).collect();
    tidy.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_as_compose_does_where_that_is_a_name() {
        for (service, name) in [
            ("web", "p-web"),
            ("Web_1", "p-web_1"),
            ("a..b", "p-a-b"),
            ("a-_b", "p-a-b"),
            ("x-", "p-x"),
            ("ü", "p"),
        ] {
            let own = repository("p", service);
            assert_eq!(own, name, "{service}");
            assert!(is_name(&own));
        }
        assert!(is_name(&repository("p", &"a-".repeat(200))));
    }

    #[test]
    fn caches_in_registries_are_known() {
        assert_eq!(registry("host:5000/a:cache").as_deref(), Some("host:5000/a:cache"));
        assert_eq!(registry("type=registry,ref=a/b:c,mode=max").as_deref(), Some("a/b:c"));
        assert_eq!([registry("type=local,src=x"), registry("type=gha"), registry("A B")], [None, None, None]);
    }
}
