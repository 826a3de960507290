//! From the indexes that were found to upstreams with names: a part of larder.toml, or the server's
//! own options.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;

use crate::clients::{Ecosystem, Found, Index, Role, address, go, led_already, registries};
use crate::config::hosts;
use crate::config::mounts::{Mount, MountTable, RegistryMount};
use crate::config::settings::Options;

/// An upstream with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The name: of the mount, or the registry's own.
    pub name: String,
    /// What it is, and where all that was found of it is said.
    pub index: Index,
}

/// What to set so that the indexes are cached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The upstreams to be mounted, sorted by name.
    pub mounts: Vec<Named>,
    /// The registries, by their own names.
    pub registries: Vec<Named>,
    /// The hosts that are asked through the proxy.
    pub allow: Vec<String>,
    /// The proxy through which upstreams are reached.
    pub parent: Option<String>,
    /// The hosts whose names have private addresses here.
    pub private: Vec<String>,
    /// What could not be found out or cannot be cached, and why.
    pub notes: Vec<String>,
    /// What Go's settings say beside its proxies' addresses.
    pub go: go::Settings,
}

impl Found {
    /// Leaves out what leads to this cache itself, which is known by these authorities
    /// (`127.0.0.1:3144`).
    pub fn without_ourselves(&mut self, own: &[String]) {
        let is_own = |url: &str| own.iter().any(|own| own.eq_ignore_ascii_case(address::authority(url)));
        let (here, others) = std::mem::take(&mut self.indexes).into_iter().partition(|it| is_own(&it.url));
        self.indexes = others;
        for Index { ecosystem, from, .. } in here {
            self.note(format!("{from}{}", led_already(ecosystem)));
        }
        self.proxy = self.proxy.take().filter(|proxy| !is_own(proxy));
    }
}

impl Plan {
    /// What was found, each index once.
    #[must_use]
    pub fn of(found: Found) -> Self {
        let (registries, indexes): (Vec<_>, Vec<_>) =
            found.indexes.into_iter().partition(|index| index.ecosystem == Ecosystem::Oci);
        let mut taken: BTreeSet<String> =
            ["v2", "healthz", "metrics", "status", "status.json"].map(str::to_owned).into();
        let mut mounts: Vec<_> = merged(indexes)
            .into_iter()
            .map(|index| Named { name: name(&index, &mut taken), index })
            .collect();
        mounts.sort_by(|one, other| one.name.cmp(&other.name));
        let by_proxy = mounts.iter().map(|it| &it.index).filter(|it| is_by_proxy(it));
        let lists = found.lists.iter().map(|url| host_rule(url));
        let allow: BTreeSet<_> = by_proxy.map(|it| host_rule(&it.url)).chain(lists).collect();
        let mut named: BTreeMap<String, Named> = BTreeMap::new();
        for index in registries {
            let Role::Named(name) = &index.role else { continue };
            // What is said first goes above the engine's own word.
            let name = name.clone();
            let known = named.entry(name.clone()).or_insert_with(|| Named { name, index: index.clone() });
            known.index.has_credentials |= index.has_credentials;
        }
        Self {
            mounts,
            registries: named.into_values().collect(),
            allow: allow.into_iter().collect(),
            parent: found.proxy,
            private: Vec::new(),
            notes: found.notes,
            go: found.go,
        }
    }

    /// Whether there is nothing to be cached.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.mounts.is_empty() && self.registries.is_empty()
    }

    /// The hosts of all upstreams, with the ports.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, u16)> {
        self.mounts.iter().chain(&self.registries).map(|it| {
            let usual = if it.index.url.starts_with("https") { 443 } else { 80 };
            let host = address::host(&it.index.url);
            let port =
                address::authority(&it.index.url).get(host.len() + 1..).and_then(|port| port.parse().ok());
            (host, port.unwrap_or(usual))
        })
    }

    /// Notes the upstreams that clients reach without the proxy, by the value of `no_proxy`: this
    /// cache has one way to all.
    pub fn note_without_proxy(&mut self, no_proxy: &str) {
        if self.parent.is_none() {
            return;
        }
        let rules: Vec<_> = no_proxy.split([',', ' ']).map(|it| it.trim_start_matches(['*', '.'])).collect();
        let is_of = |host: &str, rule: &str| {
            !rule.is_empty() && host.strip_suffix(rule).is_some_and(|it| it.is_empty() || it.ends_with('.'))
        };
        let mut hosts: Vec<_> = self.hosts().map(|(host, _)| host.to_owned()).collect();
        hosts.retain(|host| rules.iter().any(|rule| is_of(host, rule)));
        hosts.sort();
        hosts.dedup();
        let note =
            |host: String| format!("no_proxy has `{host}`, but all upstreams are reached through the proxy");
        self.notes.extend(hosts.into_iter().map(note));
    }

    /// A part of larder.toml that says so.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut own = String::new();
        if !self.allow.is_empty() {
            let list: Vec<_> = self.allow.iter().map(|host| quoted(host)).collect();
            let kinds = [Ecosystem::Apt, Ecosystem::Dnf].into_iter();
            let is_of =
                |kind| self.mounts.iter().any(|it| it.index.ecosystem == kind && is_by_proxy(&it.index));
            let mut names: Vec<_> = kinds.filter(|kind| is_of(*kind)).map(Ecosystem::name).collect();
            if names.is_empty() {
                // It has nothing but lists of servers.
                names.push(Ecosystem::Dnf.name());
            }
            let _ = match names.as_slice() {
                [one] => writeln!(own, "# {one} asks for its http sources through the proxy."),
                all => writeln!(own, "# {} ask for their http sources through the proxy.", all.join(" and ")),
            };
            let _ = writeln!(own, "allow = [{}]", list.join(", "));
        }
        if let Some(parent) = &self.parent {
            own.push_str("# The clients reach their indexes through this proxy.\n");
            let _ = writeln!(own, "parent = {}", quoted(parent));
        }
        if !self.private.is_empty() {
            let _ = writeln!(own, "# Private addresses: {}.", self.private.join(", "));
            own.push_str("allow-private = true\n");
        }
        if !own.is_empty() {
            let _ = write!(text, "[pkgcache]\n{own}\n");
        }
        if !self.mounts.is_empty() {
            text.push_str("[pkgcache.upstream]\n");
            for it in &self.mounts {
                let _ = writeln!(text, "{}{} = {}", comments(it), key(&it.name), table(it, &self.go));
            }
            text.push('\n');
        }
        if !self.registries.is_empty() {
            text.push_str("[pkgcache.registry]\n");
            for it in &self.registries {
                let url = registry_url(it).map(|url| format!(" url = {} ", quoted(url))).unwrap_or_default();
                let _ = writeln!(text, "{}{} = {{{url}}}", comments(it), key(&it.name));
            }
            text.push('\n');
        }
        for note in &self.notes {
            let _ = writeln!(text, "# {}", storekit::printable(note));
        }
        format!("{}\n", text.trim_end())
    }

    /// The same as the server's options.
    #[must_use]
    pub fn options(&self) -> Options {
        let mount = |it: &Named| {
            let table = MountTable {
                url: it.index.url.clone(),
                kind: it.index.ecosystem,
                keep_private: it.index.has_credentials,
                sumdb: self.go.sumdb.clone().filter(|_| it.index.ecosystem == Ecosystem::Go),
                no_sumdb: without(it, &self.go).to_vec(),
                ..MountTable::default()
            };
            (it.name.clone(), Mount::Table(table))
        };
        let registry = |it: &Named| {
            let url = registry_url(it).map(str::to_owned);
            (it.name.clone(), RegistryMount { url, ..RegistryMount::default() })
        };
        Options {
            upstream: self.mounts.iter().map(mount).collect(),
            registry: self.registries.iter().map(registry).collect(),
            allow: Some(self.allow.clone()).filter(|allow| !allow.is_empty()),
            parent: self.parent.clone(),
            allow_private: Some(true).filter(|_| !self.private.is_empty()),
            ..Options::default()
        }
    }

    /// A line for each upstream: what was found, and where it is from now on.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let mount = |it: &Named| {
            let Index { ecosystem, url, from, .. } = &it.index;
            format!("`/{}/` is {url} for {} ({from})", it.name, ecosystem.name())
        };
        let registry = |it: &Named| {
            format!("`{}` is {} for container engines ({})", it.name, it.index.url, it.index.from)
        };
        self.mounts.iter().map(mount).chain(self.registries.iter().map(registry))
    }
}

/// Whether a server at this address is asked only where private addresses are allowed.
#[must_use]
pub fn is_private(address: IpAddr) -> bool {
    hosts::reach(address) == hosts::Reach::Private
}

/// Whether the client asks for it through the proxy, by its own address.
#[must_use]
pub fn is_by_proxy(index: &Index) -> bool {
    goes_by_proxy(index.ecosystem) && index.url.starts_with("http://")
}

/// Whether clients of this kind ask for what is plain HTTP through a proxy, by addresses that stay
/// as they are.
#[must_use]
pub fn goes_by_proxy(ecosystem: Ecosystem) -> bool {
    matches!(ecosystem, Ecosystem::Apt | Ecosystem::Dnf)
}

fn host_rule(url: &str) -> String {
    let authority = address::authority(url);
    authority.strip_suffix(":80").unwrap_or(authority).to_owned()
}

/// Each index once, with all that is known of it; a default is one whatever else it is.
fn merged(indexes: Vec<Index>) -> Vec<Index> {
    let mut merged: Vec<Index> = Vec::new();
    for mut index in indexes {
        if index.ecosystem != Ecosystem::Apt {
            index.url = address::folder(&index.url);
        }
        let same = |it: &&mut Index| it.ecosystem == index.ecosystem && address::is_same(&it.url, &index.url);
        match merged.iter_mut().find(same) {
            Some(known) => {
                if !known.from.split(", ").any(|from| from == index.from) {
                    known.from = format!("{}, {}", known.from, index.from);
                }
                known.has_credentials |= index.has_credentials;
                if known.secrets.is_empty() {
                    known.secrets = index.secrets;
                }
                known.role = known.role.clone().min(index.role);
            }
            None => merged.push(index),
        }
    }
    merged
}

/// A name that no other mount has.
fn name(index: &Index, taken: &mut BTreeSet<String>) -> String {
    let usual = usual_name(index.ecosystem);
    let wanted = match &index.role {
        Role::Default if !goes_by_proxy(index.ecosystem) => usual.to_owned(),
        Role::Named(name) => name.trim_start_matches('@').to_owned(),
        _ => by_path(index),
    };
    let good =
        |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c.to_ascii_lowercase() } else { '-' };
    let wanted: String = wanted.chars().map(good).collect();
    let wanted = wanted.trim_start_matches('.');
    let wanted = if wanted.is_empty() { usual } else { wanted };
    let numbered = (2..).map(|number| format!("{wanted}-{number}"));
    let mut names = std::iter::once(wanted.to_owned()).chain(numbered);
    let name = names.find(|name| !taken.contains(name)).unwrap_or_default();
    taken.insert(name.clone());
    name
}

/// The name of the mount of a default index.
#[must_use]
pub fn usual_name(ecosystem: Ecosystem) -> &'static str {
    match ecosystem {
        Ecosystem::Python => "pypi",
        Ecosystem::Cargo => "crates",
        other => other.name(),
    }
}

/// The last part of the path that says something, else the host.
fn by_path(index: &Index) -> String {
    let url = index.url.as_str();
    let says_nothing = |part: &str| match index.ecosystem {
        Ecosystem::Dnf => matches!(part, "pub" | "linux" | "releases" | "os" | "repo" | "rpm" | "yum"),
        _ => matches!(part, "simple" | "index" | "apt" | "api"),
    };
    let authority = address::authority(url);
    let path = url.split_once(authority).map_or("", |(_, path)| path);
    let mut parts = path.rsplit('/').filter(|part| !matches!(*part, "" | ".") && !says_nothing(part));
    parts.next().map_or_else(|| address::host(url).to_owned(), str::to_owned)
}

fn comments(it: &Named) -> String {
    let from = storekit::printable(&it.index.from).into_owned();
    let mut text = format!("# {from}\n");
    if it.index.has_credentials {
        let _ = writeln!(text, "# {}", credentials(it.index.ecosystem, &it.name));
    }
    text
}

/// How a client goes on sending the credentials that it has.
#[must_use]
pub fn credentials(ecosystem: Ecosystem, name: &str) -> String {
    let how = match ecosystem {
        Ecosystem::Python | Ecosystem::Go => {
            format!("in `http://USER:PASSWORD@HOST:PORT/{name}/`, or in ~/.netrc for HOST")
        }
        Ecosystem::Npm => format!("by `//HOST:PORT/{name}/:_authToken=…` in .npmrc"),
        Ecosystem::Cargo => {
            format!("by the token of a registry whose index is `sparse+http://HOST:PORT/{name}/`")
        }
        Ecosystem::Apt => format!("by `machine http://HOST:PORT/{name}` in a file in /etc/apt/auth.conf.d"),
        Ecosystem::Dnf => {
            format!(
                "by `username` and `password` beside `baseurl=http://HOST:PORT/{name}/…` in its .repo file"
            )
        }
        Ecosystem::HuggingFace => "by the token in HF_TOKEN, as it does now".to_owned(),
        Ecosystem::Apk => format!("in `http://USER:PASSWORD@HOST:PORT/{name}/…` in /etc/apk/repositories"),
        Ecosystem::GitLfs => "by git's credential helper, which is asked for the cache's host".to_owned(),
        Ecosystem::Oci | Ecosystem::Ollama | Ecosystem::Generic | Ecosystem::Releases => {
            "as it does now".to_owned()
        }
    };
    format!("The client sends its own credentials, which pass through: {how}.")
}

/// The registry's address, where its name does not say it.
fn registry_url(it: &Named) -> Option<&str> {
    let url = it.index.url.as_str();
    let by_name = address::is_same(url, &format!("https://{}/", it.name));
    Some(url).filter(|_| !by_name && it.index.from != registries::OWN)
}

/// The modules that the mount's checksum database is not asked about.
fn without<'a>(it: &Named, go: &'a go::Settings) -> &'a [String] {
    if it.index.ecosystem == Ecosystem::Go { &go.no_sumdb } else { &[] }
}

fn table(it: &Named, go: &go::Settings) -> String {
    let private = if it.index.has_credentials { ", keep-private = true" } else { "" };
    let sumdb = go.sumdb.as_deref().filter(|_| it.index.ecosystem == Ecosystem::Go);
    let mut sumdb = sumdb.map(|text| format!(", sumdb = {}", quoted(text))).unwrap_or_default();
    let globs: Vec<_> = without(it, go).iter().map(|glob| quoted(glob)).collect();
    if !globs.is_empty() {
        let _ = write!(sumdb, ", no-sumdb = [{}]", globs.join(", "));
    }
    format!(
        "{{ url = {}, kind = {}{private}{sumdb} }}",
        quoted(&it.index.url),
        quoted(it.index.ecosystem.name())
    )
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn key(name: &str) -> String {
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if plain { name.to_owned() } else { quoted(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(indexes: &[(Ecosystem, Role, &str, &str)]) -> Found {
        let mut found = Found::default();
        for (ecosystem, role, url, from) in indexes {
            found.index(*ecosystem, role.clone(), url, from);
        }
        found
    }

    fn many() -> Found {
        let named = |name: &str| Role::Named(name.to_owned());
        found(&[
            (Ecosystem::Python, Role::Default, "https://py.example/simple", "pip.conf"),
            (Ecosystem::Python, Role::Default, "https://py.example/simple/", "uv's built-in default"),
            (Ecosystem::Python, Role::Further, "https://me:word@own.example/team/simple/", "pip.conf"),
            (Ecosystem::Npm, Role::Default, "https://js.example", "npm's built-in default"),
            (Ecosystem::Npm, named("@team"), "https://js.example/team", ".npmrc"),
            (Ecosystem::Cargo, Role::Default, "https://rs.example/", "cargo's index cache"),
            (Ecosystem::Apt, Role::Default, "http://deb.example/debian", "a.sources"),
            (Ecosystem::Apt, Role::Default, "https://deb.example/debian", "b.sources"),
            (Ecosystem::Oci, named("r.example:5000"), "http://r.example:5000/", "registries.conf"),
            (Ecosystem::Oci, named("q.example"), "https://q.example/", "registries.conf"),
        ])
    }

    #[test]
    fn what_was_found_is_a_part_of_larder_toml() {
        let mut plan = Plan::of(Found {
            notes: vec!["no go".into()],
            proxy: Some("http://p.example:1/".into()),
            ..many()
        });
        plan.private.push("own.example".into());
        let text = plan.to_toml();
        assert_eq!(
            text,
            "[pkgcache]\n\
             # apt asks for its http sources through the proxy.\n\
             allow = [\"deb.example\"]\n\
             # The clients reach their indexes through this proxy.\n\
             parent = \"http://p.example:1/\"\n\
             # Private addresses: own.example.\n\
             allow-private = true\n\n\
             [pkgcache.upstream]\n\
             # cargo's index cache\n\
             crates = { url = \"https://rs.example/\", kind = \"cargo\" }\n\
             # a.sources\n\
             debian = { url = \"http://deb.example/debian\", kind = \"apt\" }\n\
             # b.sources\n\
             debian-2 = { url = \"https://deb.example/debian\", kind = \"apt\" }\n\
             # npm's built-in default\n\
             npm = { url = \"https://js.example/\", kind = \"npm\" }\n\
             # pip.conf, uv's built-in default\n\
             pypi = { url = \"https://py.example/simple/\", kind = \"python\" }\n\
             # pip.conf\n\
             # The client sends its own credentials, which pass through: in `http://USER:PASSWORD@HOST:PORT/team/`, or in ~/.netrc for HOST.\n\
             team = { url = \"https://own.example/team/simple/\", kind = \"python\", keep-private = true }\n\
             # .npmrc\n\
             team-2 = { url = \"https://js.example/team/\", kind = \"npm\" }\n\n\
             [pkgcache.registry]\n\
             # registries.conf\n\
             \"q.example\" = {}\n\
             # registries.conf\n\
             \"r.example:5000\" = { url = \"http://r.example:5000/\" }\n\n\
             # no go\n"
        );
        assert!(!text.contains("word"), "a password");
        text.parse::<toml::Table>().unwrap();
        assert_eq!(Plan::default().to_toml(), "\n");
    }

    #[test]
    fn what_no_proxy_has_is_told() {
        let mut plan = Plan::of(many());
        plan.note_without_proxy("example");
        assert!(plan.notes.is_empty(), "there is no proxy");
        plan.parent = Some("http://p.example:1/".into());
        plan.note_without_proxy("localhost,.rs.example, y.example");
        assert_eq!(
            plan.notes,
            ["no_proxy has `rs.example`, but all upstreams are reached through the proxy"]
        );
    }

    #[test]
    fn the_servers_options_say_the_same() {
        let config = Plan::of(many()).options().config("/".into()).unwrap();
        let names: Vec<_> = config.upstreams.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["crates", "debian", "debian-2", "npm", "pypi", "team", "team-2"]);
        let kinds: Vec<_> = config.upstreams.iter().map(|it| it.kind.name()).collect();
        assert_eq!(kinds, ["cargo", "apt", "apt", "npm", "python", "python", "npm"]);
        let registries: Vec<_> = config.registries.iter().map(|it| it.url.to_string()).collect();
        assert_eq!(registries, ["https://q.example/", "http://r.example:5000/"]);
        assert!(config.upstreams.iter().all(|it| it.keep_private == (it.name == "team")));
        let lines: Vec<_> = Plan::of(many()).lines().collect();
        assert_eq!(
            lines.first().unwrap(),
            "`/crates/` is https://rs.example/ for cargo (cargo's index cache)"
        );
    }

    #[test]
    fn what_leads_here_already_is_no_upstream() {
        let mut found = many();
        found.index(Ecosystem::Python, Role::Default, "http://127.0.0.1:3144/pypi/", "PIP_INDEX_URL");
        found.proxy = Some("http://127.0.0.1:3144".into());
        let count = found.indexes.len();
        found.without_ourselves(&["127.0.0.1:3144".into()]);
        assert_eq!((found.indexes.len(), found.proxy.clone()), (count - 1, None));
        assert_eq!(found.notes, ["PIP_INDEX_URL: python is led to this cache already"]);
    }

    #[test]
    fn names_are_free_and_valid() {
        let mut taken = ["v2".to_owned()].into();
        let mut named = |role: Role, url: &str| {
            let found = found(&[(Ecosystem::Python, role, url, "x")]);
            name(&found.indexes[0], &mut taken)
        };
        assert_eq!(named(Role::Named("v2".into()), "https://a.example/"), "v2-2");
        assert_eq!(named(Role::Named("@A/b".into()), "https://a.example/"), "a-b");
        assert_eq!(named(Role::Further, "https://a.example/simple/"), "a.example");
        assert_eq!(named(Role::Further, "https://a.example/whl/cpu/"), "cpu");
        assert_eq!(named(Role::Named("..".into()), "https://a.example/"), "pypi");
        assert_eq!(Plan::of(many()).hosts().last().unwrap(), ("r.example", 5000));
    }
}
