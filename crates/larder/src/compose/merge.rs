//! What one file says above another, field by field, as compose merges them.
//!
//! Mappings are merged, lists are appended, of anything else the upper one counts; `!reset` takes
//! away what is below, `!override` goes in its place. Fields that may be a list or a mapping are
//! brought into one form first. Pure; never fails: what does not fit together is found where it is
//! used.

use super::yaml::{Map, Mark, Node, Value};

/// How a field is merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Plain,
    /// The folder alone, or a mapping with it.
    Build,
    /// Names with values: a mapping, or a list of `NAME=VALUE`.
    Pairs,
    /// Names: a list, or a mapping with settings.
    Names,
    /// A text, or a list of them.
    Words,
    /// As a list, without what it has already.
    Hosts,
    /// A list that has each word once.
    Once,
    /// The upper one counts.
    Replace,
    /// Settings of a driver: those of another one do not count.
    Logging,
}

fn rule(path: &[String]) -> Rule {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["services", _, rest @ ..] => match rest {
            ["build"] => Rule::Build,
            ["build", "args" | "labels" | "additional_contexts"]
            | ["labels" | "environment" | "annotations" | "sysctls"]
            | ["deploy", "labels"] => Rule::Pairs,
            ["depends_on" | "networks" | "models"] => Rule::Names,
            ["dns" | "dns_opt" | "dns_search" | "env_file" | "label_file" | "tmpfs"] => Rule::Words,
            ["build", "extra_hosts"] | ["extra_hosts"] => Rule::Hosts,
            ["build", "tags" | "cache_from" | "cache_to" | "platforms"] | ["profiles"] => Rule::Once,
            ["command" | "entrypoint"] | ["healthcheck", "test"] | ["ulimits", _] => Rule::Replace,
            ["logging"] => Rule::Logging,
            _ => Rule::Plain,
        },
        [_, _, "labels"] => Rule::Pairs,
        _ => Rule::Plain,
    }
}

/// `over` above `base`, both at this path of the whole, such as `services`, `web`.
pub(crate) fn merged(base: Node, over: Node, path: &mut Vec<String>) -> Node {
    if over.mark != Mark::None || base.mark == Mark::Reset {
        return over;
    }
    if over.is_null() {
        return base;
    }
    let (mark, at) = (base.mark, over.at.clone());
    let value = match rule(path) {
        Rule::Replace => over.value,
        Rule::Build => plain(as_build(base), as_build(over), path),
        Rule::Pairs => plain(as_pairs(base), as_pairs(over), path),
        Rule::Names => plain(as_names(base), as_names(over), path),
        Rule::Words => plain(as_words(base), as_words(over), path),
        Rule::Hosts => once(plain(as_hosts(base), as_hosts(over), path)),
        Rule::Once => once(plain(base, over, path)),
        Rule::Logging => logging(base, over, path),
        Rule::Plain => plain(base, over, path),
    };
    Node { value, at, mark }
}

fn plain(base: Node, over: Node, path: &mut Vec<String>) -> Value {
    match (base.value, over.value) {
        (Value::Map(mut sum), Value::Map(over)) => {
            for (key, above) in over.iter() {
                let above = above.clone();
                path.push(key.name.to_owned());
                let value = match sum.take(key.name) {
                    Some(below) => merged(below, above, path),
                    None => above,
                };
                path.pop();
                sum.set(key.name, key.at.clone(), value);
            }
            Value::Map(sum)
        }
        (Value::List(mut items), Value::List(more)) => {
            items.extend(more);
            Value::List(items)
        }
        (_, over) => over,
    }
}

fn logging(base: Node, over: Node, path: &mut Vec<String>) -> Value {
    let driver = |node: &Node| node.get("driver").and_then(Node::scalar);
    match (driver(&base), driver(&over)) {
        (Some(base), Some(other)) if base != other => over.value,
        _ => plain(base, over, path),
    }
}

/// Each text once, where it stands first.
fn once(value: Value) -> Value {
    let Value::List(items) = value else { return value };
    let mut seen = std::collections::BTreeSet::new();
    let is_new = |item: &Node| item.scalar().is_none_or(|text| seen.insert(text));
    Value::List(items.into_iter().filter(is_new).collect())
}

/// `build: FOLDER` as a mapping.
pub(crate) fn as_build(node: Node) -> Node {
    if !matches!(node.value, Value::Text(_)) {
        return node;
    }
    let mut map = Map::default();
    let Node { value, at, mark } = node;
    map.set("context", at.clone(), Node::new(value, at.clone()));
    Node { value: Value::Map(map), at, mark }
}

/// A list of `NAME=VALUE` as a mapping; a name alone has no value.
pub(crate) fn as_pairs(node: Node) -> Node {
    let Node { value, at, mark } = node;
    let Value::List(items) = value else { return Node { value, at, mark } };
    let mut map = Map::default();
    for item in items {
        let Some(text) = item.scalar() else { return Node { value: Value::List(vec![item]), at, mark } };
        match text.split_once('=') {
            Some((name, value)) => map.set(name, item.at.clone(), Node::text(value, item.at)),
            None => map.set(text, item.at.clone(), Node::new(Value::Null, item.at)),
        }
    }
    Node { value: Value::Map(map), at, mark }
}

fn as_names(node: Node) -> Node {
    let Node { value, at, mark } = node;
    let Value::List(items) = value else { return Node { value, at, mark } };
    let mut map = Map::default();
    for item in items {
        if let Some(name) = item.scalar() {
            map.set(name, item.at.clone(), Node::new(Value::Null, item.at));
        }
    }
    Node { value: Value::Map(map), at, mark }
}

fn as_words(node: Node) -> Node {
    match node.value {
        Value::List(_) | Value::Null => node,
        _ => {
            let (at, mark) = (node.at.clone(), node.mark);
            Node { value: Value::List(vec![node]), at, mark }
        }
    }
}

/// A mapping of hosts with one or several addresses as a list of `HOST=ADDRESS`.
pub(crate) fn as_hosts(node: Node) -> Node {
    let Node { value, at, mark } = node;
    let Value::Map(map) = value else { return Node { value, at, mark } };
    let mut items = Vec::new();
    for (key, value) in map.iter() {
        let addresses = value.as_list().map_or_else(|| vec![value.clone()], <[Node]>::to_vec);
        let line =
            |address: Node| Some(Node::text(format!("{}={}", key.name, address.scalar()?), address.at));
        items.extend(addresses.into_iter().filter_map(line));
    }
    Node { value: Value::List(items), at, mark }
}

/// What is left when all files are merged: without what was reset.
pub(crate) fn settle(node: &mut Node) {
    node.mark = Mark::None;
    match &mut node.value {
        Value::Map(map) => {
            let reset: Vec<_> = map
                .iter()
                .filter(|(_, node)| node.mark == Mark::Reset)
                .map(|(key, _)| key.name.to_owned())
                .collect();
            for name in reset {
                map.remove(&name);
            }
            map.values_mut().for_each(settle);
        }
        Value::List(items) => {
            items.retain(|item| item.mark != Mark::Reset);
            items.iter_mut().for_each(settle);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::yaml::{read, shown};

    /// The second text above the first.
    fn above(base: &str, over: &str) -> String {
        let one = |text: &str| read(text, 0).expect("YAML").remove(0);
        let mut node = merged(one(base), one(over), &mut Vec::new());
        settle(&mut node);
        shown(&node)
    }

    #[track_caller]
    fn service(base: &str, over: &str, expected: &str) {
        let in_file = |text: &str| format!("services: {{web: {{{text}}}}}");
        assert_eq!(above(&in_file(base), &in_file(over)), format!("{{services: {{web: {{{expected}}}}}}}"));
    }

    #[test]
    fn mappings_are_merged_and_lists_appended() {
        service(
            "a: 1, m: {x: 1, y: 2}, l: [1]",
            "a: 2, m: {y: 3}, l: [2]",
            "a: 2, m: {x: 1, y: 3}, l: [1, 2]",
        );
        service("a: 1", "a:", "a: 1");
        service("ports: [1], command: [a, b]", "ports: [1], command: [c]", "ports: [1, 1], command: [c]");
    }

    #[test]
    fn builds_are_merged_in_whatever_form_they_are() {
        service("build: .", "build: {target: x}", "build: {context: ., target: x}");
        service("build: {target: x}", "build: dir", "build: {target: x, context: dir}");
        let over = "build: {args: [B=3, C], tags: [b, c]}";
        service(
            "build: {args: {A: 1, B: 2}, tags: [a, b]}",
            over,
            "build: {args: {A: 1, B: 3, C: }, tags: [a, b, c]}",
        );
        service(
            "build: {extra_hosts: [a=1]}",
            "build: {extra_hosts: {a: 1, b: [2, 3]}}",
            "build: {extra_hosts: [a=1, b=2, b=3]}",
        );
    }

    #[test]
    fn tags_take_away_and_replace() {
        service(
            "a: 1, build: {args: {A: 1}}",
            "a: !reset null, build: {args: !override {B: 2}}",
            "build: {args: {B: 2}}",
        );
        service("build: .", "build: !reset null", "");
        // Of three files, the middle one takes away what the first says.
        let one = |text: &str| read(text, 0).expect("YAML").remove(0);
        let upper = merged(one("{a: !reset x}"), one("{a: {y: 1}}"), &mut Vec::new());
        let mut sum = merged(one("{a: {x: 1}}"), upper, &mut Vec::new());
        settle(&mut sum);
        assert_eq!(shown(&sum), "{a: {x: 1, y: 1}}");
    }

    #[test]
    fn settings_of_another_driver_do_not_count() {
        service("logging: {driver: a, options: {x: 1}}", "logging: {driver: b}", "logging: {driver: b}");
        service(
            "logging: {driver: a, options: {x: 1}}",
            "logging: {options: {y: 2}}",
            "logging: {driver: a, options: {x: 1, y: 2}}",
        );
    }

    #[test]
    fn what_does_not_fit_is_the_upper_one() {
        service("a: [1]", "a: {x: 1}", "a: {x: 1}");
        service("depends_on: [db]", "depends_on: {db: {condition: c}}", "depends_on: {db: {condition: c}}");
    }
}
