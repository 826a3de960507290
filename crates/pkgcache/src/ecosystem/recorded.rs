//! What is asked for by paths that were seen, or that look like these: a table, a line for each.
//!
//! A line has the ecosystem, the class, the path, and what else is known, `-` where nothing is: the
//! path of the index, the entry in it, and the package.

use http::Method;
use larder_tests::reviewed;

use crate::ecosystem::{Asked, Class, Ecosystem};

const TABLE: &str = include_str!("recorded.txt");

fn class(class: Class) -> &'static str {
    match class {
        Class::SelfCertifying(checksum) => checksum.algorithm(),
        Class::PinnedByName => "pinned",
        class => class.name(),
    }
}

fn line(ecosystem: &str, path: &str, asked: &Asked) -> String {
    let Asked { package, index, entry, .. } = asked;
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let package = [&package.name, &package.version, &package.architecture].map(or_none).join(",");
    let package = if package == "-,-,-" { "-".to_owned() } else { package };
    let class = class(asked.class);
    format!("{ecosystem} {class} {path} {} {} {package}", or_none(index), or_none(entry))
}

fn ecosystem(name: &str) -> Ecosystem {
    Ecosystem::ALL.into_iter().find(|it| it.name() == name).unwrap_or_else(|| panic!("{name}"))
}

#[test]
fn recorded_paths_have_their_classes() {
    let mut found = String::new();
    for text in TABLE.lines().filter(|text| !text.is_empty()) {
        let mut words = text.split(' ');
        let (name, path) = (words.next().unwrap(), words.nth(1).unwrap());
        let asked = ecosystem(name).ask(&Method::GET, path, None);
        found.push_str(&line(name, path, &asked));
        found.push('\n');
        let head = ecosystem(name).ask(&Method::HEAD, path, None);
        assert_eq!(head, asked, "{path}");
        assert_eq!(ecosystem(name).ask(&Method::PUT, path, None).class, Class::Api, "{path}");
    }
    reviewed(concat!(env!("CARGO_MANIFEST_DIR"), "/src/ecosystem/recorded.txt"), &found);
}
