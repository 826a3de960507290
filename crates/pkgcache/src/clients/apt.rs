//! apt: which repositories its lists name, and the proxy that is set already.
//!
//! Sources: `sources.list(5)`, `apt.conf(5)`, `apt_auth.conf(5)`.

use std::collections::BTreeSet;

use crate::clients::{Ecosystem, Found, Role, Text, address};

/// Whether apt reads a file of this name in its folders of lists.
#[must_use]
pub fn is_list(name: &str) -> bool {
    let stem = name.strip_suffix(".list").or_else(|| name.strip_suffix(".sources"));
    let good = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    stem.is_some_and(|stem| !stem.is_empty() && stem.chars().all(good))
}

/// What apt uses by these lists (`.list` or `.sources`), with the hosts that `auth` (the text of
/// auth.conf and its like) has credentials for.
#[must_use]
pub fn apt(lists: &[Text], auth: &[Text]) -> Found {
    let mut found = Found::default();
    let mut seen = BTreeSet::new();
    for list in lists {
        for Source { uri, .. } in sources(list) {
            if seen.insert(uri.clone()) {
                repository(&mut found, &uri, &list.from);
            }
        }
    }
    let machines: Vec<_> = auth.iter().flat_map(|it| machines(&it.text)).collect();
    for index in &mut found.indexes {
        index.has_credentials |= machines.iter().any(|machine| covers(machine, &index.url));
    }
    found
}

/// A repository in a list, and what is taken from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where it is, as it is written.
    pub uri: String,
    /// Its suites; one that ends in `/` is a folder with everything in it.
    pub suites: Vec<String>,
    /// What is taken from each of them; nothing of a folder.
    pub components: Vec<String>,
}

/// The repositories of a list.
#[must_use]
pub fn sources(list: &Text) -> Vec<Source> {
    if list.from.ends_with(".sources") { stanzas(&list.text) } else { one_line(&list.text) }
}

fn repository(found: &mut Found, uri: &str, from: &str) {
    let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
    match scheme {
        "http" | "https" => found.index(Ecosystem::Apt, Role::Default, uri, from),
        // What lies on this machine needs no cache.
        "file" | "copy" | "cdrom" => {}
        _ => {
            let shown = toolkit::net::without_credentials(uri);
            found.note(format!("{from}: `{shown}` has a method of its own, so it is not cached"));
        }
    }
}

/// The repositories in lines `deb [OPTIONS] URI SUITE COMPONENT…`.
fn one_line(text: &str) -> Vec<Source> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let source = |line: &str| {
        let (kind, rest) = line.split_once([' ', '\t'])?;
        if !matches!(kind, "deb" | "deb-src") {
            return None;
        }
        let rest = rest.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        let mut words = rest.split_whitespace().map(str::to_owned);
        let (uri, suites) = (words.next()?, words.next().into_iter().collect());
        Some(Source { uri, suites, components: words.collect() })
    };
    lines.filter_map(source).collect()
}

/// The repositories in stanzas of fields, as RFC 822 has them.
fn stanzas(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut stanza: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            sources.extend(of_stanza(&stanza));
            stanza.clear();
        } else if let (true, Some((_, value))) = (line.starts_with([' ', '\t']), stanza.last_mut()) {
            value.push(' ');
            value.push_str(line.trim());
        } else if let Some((name, value)) = line.split_once(':') {
            stanza.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    sources
}

fn of_stanza(stanza: &[(String, String)]) -> Vec<Source> {
    let get = |wanted: &str| stanza.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let off = ["no", "false", "without", "off", "disable", "0"];
    if get("enabled").is_some_and(|value| off.contains(&value.to_ascii_lowercase().as_str())) {
        return Vec::new();
    }
    let words = |name: &str| get(name).unwrap_or_default().split_whitespace().map(str::to_owned);
    let source =
        |uri| Source { uri, suites: words("suites").collect(), components: words("components").collect() };
    words("uris").map(source).collect()
}

/// The machines that a file in the form of netrc has credentials for.
fn machines(text: &str) -> Vec<String> {
    let words: Vec<_> = text.split_whitespace().collect();
    let pairs = words.windows(2).filter_map(|pair| match pair {
        ["machine", machine] => Some((*machine).to_owned()),
        _ => None,
    });
    pairs.collect()
}

/// Whether credentials for a machine (`HOST[:PORT][/PATH]`, with or without a scheme) are for this
/// repository.
fn covers(machine: &str, url: &str) -> bool {
    let rest = |text: &str| text.split_once("://").map_or(text, |(_, rest)| rest).to_owned();
    if machine.contains("://")
        && machine.split_once("://").map(|it| it.0) != url.split_once("://").map(|it| it.0)
    {
        return false;
    }
    let (machine, place) = (rest(machine), rest(url));
    address::authority(&machine) == address::authority(&place) && place.starts_with(&machine)
        || machine == address::host(url)
}

/// Settings by which apt asks a proxy (an address without a `/` at its end) for these hosts, and
/// all others itself.
#[must_use]
pub fn led(hosts: &[impl AsRef<str>], proxy: &str) -> String {
    hosts.iter().fold(String::new(), |text, host| {
        text + &format!("Acquire::http::Proxy::{} \"{proxy}/\";\n", host.as_ref())
    })
}

/// The proxy for `http` sources that apt has already, by the text of its settings
/// (`apt-config dump`, or its files): the last one that is said.
#[must_use]
pub fn proxy(settings: &str) -> Option<String> {
    let mut proxy = None;
    for line in settings.lines() {
        let line = line.trim();
        let Some(rest) =
            line.get(..20).filter(|key| key.eq_ignore_ascii_case("acquire::http::proxy")).and(line.get(20..))
        else {
            continue;
        };
        // `Acquire::http::Proxy::HOST` is for one host.
        let Some(value) = rest.strip_prefix([' ', '\t']) else { continue };
        let value = value.trim().trim_end_matches(';').trim().trim_matches('"');
        proxy =
            Some(value.to_owned()).filter(|value| !value.is_empty() && value != "false" && value != "DIRECT");
    }
    proxy
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::tests::{lines, text};

    #[test]
    fn lists_of_both_forms_are_read() {
        let old = "# deb http://no.example/x y z\ndeb [arch=amd64 signed-by=/k] http://one.example/debian stable main # c\ndeb-src\thttp://one.example/debian stable main\ndeb https://me:pw@two.example/apt/ ./\nrpm http://x.example/ y\ndeb mirror+file:/etc/m stable main\ndeb file:/srv/apt ./\n";
        let new = "Types: deb\nURIs: http://three.example/debian\n http://four.example/debian\nSuites: s\n# c\nComponents: main\n\nTypes: deb\nEnabled: no\nURIs: http://off.example/\n\nuris: http://one.example/debian";
        let found = apt(&[text("a.list", old), text("b.sources", new)], &[]);
        assert_eq!(
            lines(&found),
            [
                "default http://one.example/debian (a.list)",
                "default https://two.example/apt/* (a.list)",
                "default http://three.example/debian (b.sources)",
                "default http://four.example/debian (b.sources)",
            ]
        );
        assert_eq!(
            found.notes,
            ["a.list: `mirror+file:/etc/m` has a method of its own, so it is not cached"]
        );
    }

    #[test]
    fn names_of_lists_are_as_apt_has_them() {
        for (name, is) in [
            ("debian.sources", true),
            ("a-b_c.1.list", true),
            ("x.list.disabled", false),
            ("a b.list", false),
            (".list", false),
        ] {
            assert_eq!(is_list(name), is, "{name}");
        }
    }

    #[test]
    fn credentials_are_found_by_machine() {
        let list = [text(
            "a.list",
            "deb https://one.example/apt s m\ndeb https://two.example:8443/apt s m\ndeb http://three.example/x s m",
        )];
        let auth = [text(
            "auth.conf",
            "machine one.example login me password pw\nmachine https://two.example:8443/apt\nlogin me password pw\nmachine https://three.example login a password b",
        )];
        let found: Vec<_> = apt(&list, &auth).indexes.into_iter().map(|it| it.has_credentials).collect();
        assert_eq!(found, [true, true, false]);
    }

    #[test]
    fn a_proxy_that_is_set_is_seen() {
        let set = "Acquire \"\";\nAcquire::http::Proxy::h.example \"http://no.example:1\";\nAcquire::http::Proxy \"http://proxy.example:3128/\";\n";
        assert_eq!(proxy(set).as_deref(), Some("http://proxy.example:3128/"));
        assert_eq!(proxy("acquire::HTTP::proxy \"false\";"), None);
        assert_eq!(proxy("Acquire::http::Timeout \"5\";\nx"), None);
    }
}
