//! The file above the compose files: each baked service with its image.
//!
//! Compose 1.29, 2 and podman-compose take it alike. A service that has `image` and `build` is not
//! built where the image is there; that no `up` builds it in any case, `--no-build` says.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::compose::yaml::{self, Map, Node};

pub(crate) use crate::compose::project::PINS as FILE;

/// The image of each service.
pub(crate) type Pins = BTreeMap<String, String>;

const HEAD: &str = "# Written by `larder bake --compose`: the images that it baked. Name it behind the other files:\n\
                    #   docker compose -f FILE -f docker-compose.larder.yml up --no-build\n\
                    # `larder unbake` removes it.\n";

/// The file's text.
pub(crate) fn text(pins: &Pins) -> String {
    let mut text = format!("{HEAD}services:\n");
    for (service, image) in pins {
        // A string is never too long to be written.
        let _ = writeln!(text, "  {}:\n    image: {}\n    pull_policy: never", key(service), quoted(image));
    }
    text
}

/// The images that a file of that name pins. Where it is not as it was written: what was written,
/// if that can be told.
pub(crate) fn read(text_of_file: &str) -> Result<Pins, Option<String>> {
    let is_own = HEAD.lines().next().is_some_and(|first| text_of_file.starts_with(first));
    let documents = yaml::read(text_of_file, 0).map_err(|_| None)?;
    let services = documents.first().and_then(|file| file.get("services")).and_then(Node::as_map);
    let pin = |(key, node): (yaml::Key<'_>, &Node)| {
        Some((key.name.to_owned(), node.get("image").and_then(Node::as_text)?.to_owned()))
    };
    let pins: Pins = services.into_iter().flat_map(Map::iter).filter_map(pin).collect();
    let written = text(&pins);
    if written == text_of_file { Ok(pins) } else { Err(is_own.then_some(written)) }
}

/// A key that every reader of YAML takes for a text.
fn key(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let is_odd = matches!(
        name.to_ascii_lowercase().as_str(),
        "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null"
    );
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(is_plain) && !is_odd {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// Between double quotes; JSON's are YAML's.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pins(services: &[&str]) -> Pins {
        services.iter().map(|service| ((*service).to_owned(), format!("p-{service}:larder-0"))).collect()
    }

    #[test]
    fn what_is_written_is_read_again() {
        for services in [&["web", "db-1"][..], &["on", "1", "a.b", "ä\"\n"], &[]] {
            assert_eq!(read(&text(&pins(services))), Ok(pins(services)), "{services:?}");
        }
        let one = text(&pins(&["web"]));
        assert!(
            one.ends_with("\nservices:\n  web:\n    image: \"p-web:larder-0\"\n    pull_policy: never\n"),
            "{one}"
        );
    }

    #[test]
    fn what_was_edited_is_known() {
        let whole = text(&pins(&["web"]));
        for edited in [
            whole.replace("never", "always"),
            whole.replace("# `larder", "# my `larder"),
            format!("{whole}# more\n"),
            whole.replace('\n', "\r\n"),
        ] {
            assert!(read(&edited).is_err(), "{edited}");
        }
        assert_eq!(read(&whole.replace("never", "always")), Err(Some(whole)));
        for other in ["services: [", "", "services: {web: {image: x}}\n"] {
            assert_eq!(read(other), Err(None), "{other}");
        }
    }
}
