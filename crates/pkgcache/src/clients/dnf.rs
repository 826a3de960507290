//! dnf and yum: which repositories their files name, and the same files led to this cache.
//!
//! A variable (`$releasever`) is not looked up: what is mounted ends before the first part of the
//! path that has one, and the client goes on putting in its own.
//!
//! Source: `dnf.conf(5)`.

use std::fmt::Write as _;

use crate::clients::{Ecosystem, Found, Role, Text, address, ini};

/// Whether dnf reads a file of this name in its folders of repositories.
#[must_use]
pub fn is_repo(name: &str) -> bool {
    name.strip_suffix(".repo").is_some_and(|stem| !stem.is_empty())
}

/// What dnf uses by these files, of which `settings` are dnf.conf and its like: their proxy and the
/// repositories in them count, too. Where their lists of servers are is told: they are asked for
/// through the proxy, like repositories with `http:`.
#[must_use]
pub fn dnf(settings: &[Text], repositories: &[Text]) -> Found {
    let mut found = Found::default();
    for file in settings.iter().chain(repositories) {
        for section in sections(&file.text).iter().filter(|section| section.name != "main") {
            repository(&mut found, section, &file.from);
        }
    }
    found
}

/// The proxy that dnf has already: the last one that is said.
#[must_use]
pub fn proxy(settings: &str) -> Option<String> {
    let main = sections(settings).into_iter().filter(|section| section.name == "main");
    let said = main.filter_map(|section| section.get("proxy").map(str::to_owned)).next_back()?;
    Some(said).filter(|proxy| !matches!(proxy.as_str(), "" | "_none_"))
}

/// A section of a file.
struct Section {
    name: String,
    settings: Vec<(String, String)>,
}

impl Section {
    fn get(&self, key: &str) -> Option<&str> {
        self.settings.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    fn is_on(&self) -> bool {
        let off = ["0", "no", "false", "off", "disabled"];
        !self.get("enabled").is_some_and(|value| off.contains(&value.to_ascii_lowercase().as_str()))
    }

    fn bases(&self) -> impl Iterator<Item = &str> {
        let list = self.get("baseurl").unwrap_or_default();
        list.split(|c: char| c.is_whitespace() || c == ',').filter(|url| !url.is_empty())
    }
}

fn sections(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for ini::Setting { section, key, value } in ini::read(text) {
        if sections.last().is_none_or(|last| last.name != section) {
            sections.push(Section { name: section, settings: Vec::new() });
        }
        if let Some(last) = sections.last_mut() {
            last.settings.push((key, value));
        }
    }
    sections
}

fn repository(found: &mut Found, section: &Section, from: &str) {
    if !section.is_on() {
        return;
    }
    let before = found.indexes.len();
    for url in section.bases() {
        match url.split_once(':').map_or("", |(scheme, _)| scheme) {
            "http" | "https" => match fixed(url) {
                Some(url) => found.index(Ecosystem::Dnf, Role::Default, &url, from),
                None => found.note(format!(
                    "{from}: the server of `{}` has a variable in its name, so it is not cached",
                    section.name
                )),
            },
            // What lies on this machine needs no cache.
            "file" => {}
            _ => {
                let shown = toolkit::net::without_credentials(url);
                found.note(format!("{from}: `{shown}` is not an HTTP address, so it is not cached"));
            }
        }
    }
    let has_own = section.get("username").is_some_and(|name| !name.is_empty());
    found.indexes.iter_mut().skip(before).for_each(|index| index.has_credentials |= has_own);
    let lists = ["metalink", "mirrorlist"];
    for url in lists.iter().filter_map(|name| section.get(name)).filter(|url| url.starts_with("http://")) {
        // A variable in the server's name is the client's to put in.
        found.lists.extend(fixed(url).and_then(|url| Some(address::Address::read(&url)?.url)));
    }
    let list = lists.into_iter().find(|name| section.get(name).is_some());
    if let (None, Some(list)) = (section.bases().next(), list) {
        found.note(format!(
            "{from}: `{}` has its servers from a {list}, so it is not cached: write a `baseurl` in its place",
            section.name
        ));
    }
}

/// The part of an address that has no variable, up to a `/`; `None` where the server's name has
/// one.
fn fixed(url: &str) -> Option<String> {
    let Some(at) = url.find('$') else { return Some(url.to_owned()) };
    let end = url.get(..at)?.rfind('/')? + 1;
    let (_, rest) = url.get(..end)?.split_once("://")?;
    rest.contains('/').then(|| url.get(..end).map(str::to_owned)).flatten()
}

/// A part of a server that is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Its own address.
    pub url: String,
    /// Where it is here, with a `/` at the end.
    pub at: String,
}

/// A file of repositories in which those that are mounted are led here: by the proxy, where they
/// are plain HTTP, else by the mount's address. Everything else stays as it is.
#[must_use]
pub fn led(text: &str, here: &str, mounts: &[Mounted]) -> String {
    let ways: Vec<_> = sections(text).iter().map(|it| (it.name.clone(), way(it, here, mounts))).collect();
    let mut written = String::new();
    let (mut way, mut skipping) = (None, false);
    for line in text.lines() {
        let content = line.trim();
        if let Some(name) = content.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            way = ways.iter().find(|(it, _)| it == name).and_then(|(_, way)| way.as_ref());
            skipping = false;
            let _ = writeln!(written, "{line}");
            if let Some(way) = way {
                let _ = writeln!(written, "{way}");
            }
            continue;
        }
        let key = content.split(['=', ':']).next().unwrap_or_default().trim().to_ascii_lowercase();
        // A value may go on in further lines, which begin with a blank.
        skipping = if line.starts_with([' ', '\t']) {
            skipping
        } else {
            way.is_some_and(|way| {
                let replaced: &[&str] = if way.starts_with("proxy") {
                    &["proxy"]
                } else {
                    &["baseurl", "metalink", "mirrorlist", "proxy"]
                };
                replaced.contains(&key.as_str())
            })
        };
        if !skipping {
            let _ = writeln!(written, "{line}");
        }
    }
    written
}

/// The line that leads a repository here; `None` where nothing that is mounted is its.
fn way(section: &Section, here: &str, mounts: &[Mounted]) -> Option<String> {
    let bases: Vec<_> = section.bases().collect();
    let here_of = |url: &&str| {
        let below = |base: &str| {
            let rest = url.strip_prefix(base.trim_end_matches('/'))?;
            (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_start_matches('/').to_owned())
        };
        let found = mounts.iter().filter_map(|mount| Some((mount, below(&mount.url)?)));
        found.max_by_key(|(mount, _)| mount.url.len())
    };
    let found: Vec<_> = bases.iter().filter_map(here_of).collect();
    if found.is_empty() {
        return None;
    }
    if bases.iter().all(|url| url.starts_with("http://")) {
        return (found.len() == bases.len()).then(|| format!("proxy={here}"));
    }
    let urls: Vec<_> = found.iter().map(|(mount, rest)| format!("{}{rest}", mount.at)).collect();
    Some(format!("baseurl={}\nproxy=_none_", urls.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::tests::{lines, text};

    const REPO: &str = "[base]\nname=Base $releasever\nbaseurl=http://one.example/linux/$releasever/os/$basearch/\n  https://two.example/os\n\
        metalink=https://m.example/metalink?repo=x\n[off]\nenabled = 0\nbaseurl=http://off.example/\n[own]\nbaseurl = http://me:word@own.example/rpm, ftp://f.example/x\n\
        [login]\nusername=me\nbaseurl=https://login.example/$basearch\n[list]\nmirrorlist=https://m.example/list\n[local]\nbaseurl=file:///srv/rpm\n\
        [host]\nbaseurl=http://$server/x\n";

    #[test]
    fn repositories_are_read_up_to_their_variables() {
        let main = "[main]\nproxy = http://p.example:1/\n[in-main]\nbaseurl=http://three.example/\n";
        let found = dnf(&[text("dnf.conf", main)], &[text("a.repo", REPO)]);
        assert_eq!(
            lines(&found),
            [
                "default http://three.example/ (dnf.conf)",
                "default http://one.example/linux/ (a.repo)",
                "default https://two.example/os (a.repo)",
                "default http://own.example/rpm* (a.repo)",
                "default https://login.example/* (a.repo)",
            ]
        );
        assert_eq!(
            found.notes,
            [
                "a.repo: `ftp://f.example/x` is not an HTTP address, so it is not cached",
                "a.repo: `list` has its servers from a mirrorlist, so it is not cached: write a `baseurl` in its place",
                "a.repo: the server of `host` has a variable in its name, so it is not cached",
            ]
        );
        assert!(found.lists.is_empty(), "what is asked for by https goes past the proxy: {:?}", found.lists);
        let lists = dnf(&[], &[text("a.repo", &REPO.replace("https://m", "http://u:p@m"))]).lists;
        assert_eq!(
            lists.into_iter().collect::<Vec<_>>(),
            ["http://m.example/list", "http://m.example/metalink"]
        );
        assert_eq!(proxy(main).as_deref(), Some("http://p.example:1/"));
        assert_eq!(proxy("[main]\nproxy=_none_\n[a]\nproxy=http://x/\n"), None);
    }

    #[test]
    fn the_part_before_a_variable_is_mounted() {
        assert_eq!(fixed("http://a.example/x/y$v/z").as_deref(), Some("http://a.example/x/"));
        assert_eq!(fixed("http://a.example/$v").as_deref(), Some("http://a.example/"));
        assert_eq!(fixed("http://a.example/x").as_deref(), Some("http://a.example/x"));
        assert_eq!((fixed("http://$v/x"), fixed("$v"), fixed("http://a$v/x")), (None, None, None));
    }

    #[test]
    fn files_are_led_here_and_else_unchanged() {
        let mount = |name: &str, url: &str| Mounted {
            url: url.to_owned(),
            at: format!("http://127.0.0.1:1/{name}/"),
        };
        let mounts = [mount("one", "http://one.example/linux/"), mount("two", "https://two.example/")];
        let text = "# c\n[one]\nname=One\nproxy=http://old.example/\nbaseurl=http://one.example/linux/$releasever/\nmetalink=https://m.example/\n\
            [two]\nbaseurl=https://two.example/x/$basearch\n   https://other.example/\nmirrorlist=https://m.example/\ngpgcheck=1\n[other]\nbaseurl=http://other.example/\n";
        assert_eq!(
            led(text, "http://127.0.0.1:1", &mounts),
            "# c\n[one]\nproxy=http://127.0.0.1:1\nname=One\nbaseurl=http://one.example/linux/$releasever/\nmetalink=https://m.example/\n\
             [two]\nbaseurl=http://127.0.0.1:1/two/x/$basearch\nproxy=_none_\ngpgcheck=1\n[other]\nbaseurl=http://other.example/\n"
        );
    }
}
