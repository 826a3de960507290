//! What leads clients to this cache: variables, and files where a client knows no variable.

use std::collections::BTreeSet;

use toolkit::net::without_credentials;

use crate::clients::address::Address;
use crate::clients::{Ecosystem, Index, Role, Secret, address, apt, go, plan};

/// A mount of the cache, as its clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its name: the first part of the path.
    pub name: String,
    /// What kind of client it is for.
    pub ecosystem: Ecosystem,
    /// The upstream's own URL.
    pub url: String,
    /// What the index is to its client.
    pub role: Role,
    /// Whether the client has to bring credentials.
    pub has_credentials: bool,
    /// Those that are known, as an [`Index`] has them.
    pub secrets: Vec<(String, Secret)>,
}

/// The cache, as its clients see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Here {
    /// Where it answers: `http://HOST:PORT`.
    pub url: String,
    /// What is mounted.
    pub mounts: Vec<Mount>,
    /// The names of the registries that it stands in for.
    pub registries: Vec<String>,
    /// The name of the one that it stands in for where Ollama names none.
    pub models: Option<String>,
    /// What Go's settings say beside its proxies' addresses.
    pub go: go::Settings,
    /// How many settings git has by variables already (`GIT_CONFIG_COUNT`).
    pub git_settings: usize,
    /// Whether clients are given the credentials that they have for what is mounted. Nothing of
    /// that may be shown.
    pub reveals: bool,
}

/// A variable, and for which clients it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The clients.
    pub client: &'static str,
    /// The variable's name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A piece of a settings file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The client.
    pub client: &'static str,
    /// The file that it belongs into.
    pub place: String,
    /// The text, with a line end.
    pub text: String,
}

/// All that leads clients here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pointers {
    /// Variables.
    pub variables: Vec<Variable>,
    /// What can only be said in files.
    pub pieces: Vec<Piece>,
    /// What cargo takes by `--config`.
    pub cargo: Vec<String>,
    /// Mounts that no client is led to by itself, and why.
    pub notes: Vec<String>,
}

/// What the names of mounts begin with that are torch's: its indexes of wheels, and its weights.
const TORCH: &str = "torch";

/// The name of the mount to which rustup is led.
const RUSTUP: &str = "rustup";
/// The name of the mount from which uv installs Pythons.
const UV_PYTHON: &str = "uv-python";

impl Mount {
    /// A mount whose role is that of the index in `found` with the same address; without one, the
    /// name decides.
    #[must_use]
    pub fn new(name: &str, ecosystem: Ecosystem, url: &str, has_credentials: bool, found: &[Index]) -> Self {
        let same = |it: &&Index| it.ecosystem == ecosystem && address::is_same(&it.url, url);
        let known = found.iter().filter(same).map(|it| it.role.clone()).min();
        let secrets = found.iter().filter(same).map(|it| it.secrets.clone()).find(|it| !it.is_empty());
        let usual = name == plan::usual_name(ecosystem) || name == ecosystem.name();
        // A vendor's index beside the usual one, or files beside that.
        let is_vendors = ecosystem == Ecosystem::Python && name.starts_with(TORCH);
        let by_name = match () {
            () if usual => Role::Default,
            () if is_vendors => Role::Named(name.to_owned()),
            () => Role::Unknown,
        };
        let role = known.unwrap_or(by_name);
        let secrets = secrets.unwrap_or_default();
        Self { name: name.to_owned(), ecosystem, url: url.to_owned(), role, has_credentials, secrets }
    }
}

impl Here {
    /// The authority: `HOST:PORT`.
    #[must_use]
    pub fn authority(&self) -> &str {
        address::authority(&self.url)
    }

    /// Where a mount is.
    #[must_use]
    pub fn at(&self, mount: &Mount) -> String {
        let slash = if mount.name.is_empty() { "" } else { "/" };
        format!("{}/{}{slash}", self.url, mount.name)
    }

    /// The same, with the credentials that the client would have sent to the upstream.
    fn at_for_client(&self, mount: &Mount) -> String {
        let at = self.at(mount);
        let mut own = mount.secrets.iter().filter(|(name, _)| name.is_empty() && self.reveals);
        own.next().map_or(at.clone(), |(_, secret)| Address::with(&at, secret))
    }

    /// Whether the cache is on the client's own machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let host = address::host(&self.url);
        host == "localhost" || host == "[::1]" || host.starts_with("127.")
    }

    /// The mounts of one kind.
    fn of(&self, ecosystem: Ecosystem) -> impl Iterator<Item = &Mount> {
        self.mounts.iter().filter(move |mount| mount.ecosystem == ecosystem)
    }

    /// The mount that stands for the client's default index: one that is the default, else the only
    /// one that there is, unless that is known to be another index of the client's.
    #[must_use]
    pub fn default_of(&self, ecosystem: Ecosystem) -> Option<&Mount> {
        let mut defaults = self.of(ecosystem).filter(|mount| mount.role == Role::Default);
        let is_open = |mount: &&Mount| mount.role == Role::Unknown && self.of(ecosystem).count() == 1;
        let only = || self.of(ecosystem).next().filter(is_open);
        defaults.next().or_else(only)
    }

    /// The host that npm is to replace in URLs of tarballs: its registry's own. Those of other
    /// hosts are a scope's, or are named by the project, and have to stay.
    #[must_use]
    pub fn npm_host(&self) -> Option<&str> {
        self.default_of(Ecosystem::Npm).map(|mount| address::host(&mount.url))
    }

    /// Whether it is a vendor's index of wheels, or its files of weights: one that a command or a
    /// variable names, beside those that Python's clients ask by themselves.
    #[must_use]
    pub fn is_vendors(&self, mount: &Mount) -> bool {
        if mount.ecosystem == Ecosystem::Generic {
            return mount.name.starts_with(TORCH);
        }
        let is_asked = matches!(mount.role, Role::Default | Role::Further);
        mount.ecosystem == Ecosystem::Python && !is_asked && self.default_of(Ecosystem::Python) != Some(mount)
    }

    /// The mounts that apt and dnf ask for through the proxy.
    pub fn by_proxy(&self) -> impl Iterator<Item = &Mount> {
        let by_proxy = |it: &&Mount| plan::goes_by_proxy(it.ecosystem) && it.url.starts_with("http://");
        self.mounts.iter().filter(by_proxy)
    }

    /// The hosts of those that clients of this kind ask for.
    #[must_use]
    pub fn hosts_by_proxy(&self, ecosystem: Ecosystem) -> BTreeSet<&str> {
        let mounts = self.by_proxy().filter(|mount| mount.ecosystem == ecosystem);
        mounts.map(|mount| address::host(&mount.url)).collect()
    }

    /// Whether clients of this kind ask for any of them.
    #[must_use]
    pub fn has_by_proxy(&self, ecosystem: Ecosystem) -> bool {
        self.by_proxy().any(|mount| mount.ecosystem == ecosystem)
    }

    /// What leads clients here.
    #[must_use]
    pub fn pointers(&self) -> Pointers {
        let mut pointers = Pointers::default();
        self.python(&mut pointers);
        self.npm(&mut pointers);
        self.cargo(&mut pointers);
        if let Some(mount) = self.default_of(Ecosystem::HuggingFace) {
            pointers.set("huggingface_hub", "HF_ENDPOINT", self.at(mount).trim_end_matches('/'));
        }
        self.go(&mut pointers);
        self.git(&mut pointers);
        self.releases(&mut pointers);
        self.apt(&mut pointers);
        self.dnf(&mut pointers);
        self.left(&mut pointers);
        pointers
    }

    fn python(&self, to: &mut Pointers) {
        if let Some(mount) = self.default_of(Ecosystem::Python) {
            let url = self.at_for_client(mount);
            to.set("pip", "PIP_INDEX_URL", &url);
            to.set("uv", "UV_DEFAULT_INDEX", &url);
        }
        let further: Vec<_> = self
            .of(Ecosystem::Python)
            .filter(|it| it.role == Role::Further)
            .map(|it| self.at_for_client(it))
            .collect();
        if !further.is_empty() {
            to.set("pip", "PIP_EXTRA_INDEX_URL", &further.join(" "));
            to.set("uv", "UV_INDEX", &further.join(" "));
        }
        // pip takes no plain HTTP from elsewhere without being told to.
        if !self.is_local() && self.url.starts_with("http://") && self.of(Ecosystem::Python).next().is_some()
        {
            to.set("pip", "PIP_TRUSTED_HOST", self.authority());
        }
    }

    fn npm(&self, to: &mut Pointers) {
        if let Some(mount) = self.default_of(Ecosystem::Npm) {
            let url = self.at(mount);
            to.set("npm, pnpm before 12", "npm_config_registry", &url);
            to.set("pnpm", "pnpm_config_registry", &url);
            to.set("yarn 1", "YARN_REGISTRY", &url);
            to.set("yarn", "YARN_NPM_REGISTRY_SERVER", &url);
            if self.url.starts_with("http://") {
                to.set("yarn", "YARN_UNSAFE_HTTP_WHITELIST", address::host(&self.url));
            }
            to.set("bun", "BUN_CONFIG_REGISTRY", &url);
            to.set("corepack", "COREPACK_NPM_REGISTRY", url.trim_end_matches('/'));
        }
        for mount in self.of(Ecosystem::Npm) {
            if let Role::Named(scope) = &mount.role
                && scope.starts_with('@')
            {
                to.set("npm, pnpm", &format!("npm_config_{scope}:registry"), &self.at(mount));
            }
            let at = self.at(mount);
            let place = at.split_once(':').map_or(at.as_str(), |(_, rest)| rest);
            for (name, secret) in mount.secrets.iter().filter(|(name, _)| !name.is_empty() && self.reveals) {
                to.set("npm, pnpm", &format!("npm_config_{place}:{name}"), secret.reveal());
            }
        }
    }

    /// cargo takes what stands in for a source from files and arguments only.
    fn cargo(&self, to: &mut Pointers) {
        let Some(mount) = self.default_of(Ecosystem::Cargo) else { return };
        let registry = format!("sparse+{}", self.at(mount));
        to.cargo = vec![
            "source.crates-io.replace-with=\"pkgcache\"".to_owned(),
            format!("source.pkgcache.registry=\"{registry}\""),
        ];
        let text = format!(
            "[source.crates-io]\nreplace-with = \"pkgcache\"\n\n[source.pkgcache]\nregistry = \"{registry}\"\n"
        );
        to.pieces.push(Piece { client: "cargo", place: "~/.cargo/config.toml".into(), text });
    }

    fn go(&self, to: &mut Pointers) {
        if let Some(list) = self.go_proxies() {
            to.set("go", "GOPROXY", &list);
        }
    }

    /// Go's list of proxies, each that is mounted by its mount's address.
    #[must_use]
    pub fn go_proxies(&self) -> Option<String> {
        let mount = self.default_of(Ecosystem::Go)?;
        let at = |url: &str| {
            let mut mounts = self.of(Ecosystem::Go);
            let url = Address::read(url)?.url;
            mounts.find(|it| address::is_same(&address::folder(&it.url), &address::folder(&url)))
        };
        let here = |url: &str| {
            let hidden = || Some(without_credentials(url)).filter(|_| !self.reveals);
            at(url).map(|mount| self.at_for_client(mount)).or_else(hidden)
        };
        let own = self.at_for_client(mount);
        Some(match &self.go.proxies {
            // So it is where nothing is set.
            None => format!("{own},direct"),
            Some(list) if list.split([',', '|']).any(|url| at(url.trim()) == Some(mount)) => {
                go::led(list, here)
            }
            Some(_) => own,
        })
    }

    /// Which client a mount of releases is for, its name says: `rustup`, or `uv-python`.
    fn releases(&self, to: &mut Pointers) {
        for mount in self.of(Ecosystem::Releases) {
            let at = self.at(mount);
            let at = at.trim_end_matches('/');
            match mount.name.as_str() {
                RUSTUP => {
                    to.set("rustup", "RUSTUP_DIST_SERVER", at);
                    to.set("rustup", "RUSTUP_UPDATE_ROOT", &format!("{at}/rustup"));
                }
                UV_PYTHON => to.set("uv python", "UV_PYTHON_INSTALL_MIRROR", at),
                _ => {}
            }
        }
    }

    /// git fetches from here what it would fetch from an upstream, and Git LFS goes where git does;
    /// what is pushed goes there itself. Source: git-config(1), `GIT_CONFIG_COUNT` and
    /// `url.<base>.insteadOf`.
    fn git(&self, to: &mut Pointers) {
        let each = |mount: &Mount| {
            let (at, url) = (self.at(mount), address::folder(&mount.url));
            [(format!("url.{at}.insteadOf"), url.clone()), (format!("url.{url}.pushInsteadOf"), url)]
        };
        let settings: Vec<_> = self.of(Ecosystem::GitLfs).flat_map(each).collect();
        if settings.is_empty() {
            return;
        }
        to.set("git, git-lfs", "GIT_CONFIG_COUNT", &(self.git_settings + settings.len()).to_string());
        for (number, (key, value)) in (self.git_settings..).zip(&settings) {
            to.set("git, git-lfs", &format!("GIT_CONFIG_KEY_{number}"), key);
            to.set("git, git-lfs", &format!("GIT_CONFIG_VALUE_{number}"), value);
        }
    }

    fn apt(&self, to: &mut Pointers) {
        let hosts: Vec<_> = self.hosts_by_proxy(Ecosystem::Apt).into_iter().collect();
        let text = apt::led(&hosts, &self.url);
        if !text.is_empty() {
            to.pieces.push(Piece { client: "apt", place: "/etc/apt/apt.conf.d/90pkgcache".into(), text });
        }
        for mount in self.of(Ecosystem::Apt).filter(|it| !it.url.starts_with("http://")) {
            let at = self.at(mount);
            let at = at.trim_end_matches('/');
            to.notes.push(format!("apt: write `{at}` in your lists in the place of `{}`", mount.url));
        }
    }

    /// dnf takes a proxy for each repository, in the file that names it.
    fn dnf(&self, to: &mut Pointers) {
        let hosts: Vec<_> = self.hosts_by_proxy(Ecosystem::Dnf).into_iter().collect();
        if !hosts.is_empty() {
            let place = format!("/etc/yum.repos.d, in each section of {}", hosts.join(", "));
            to.pieces.push(Piece { client: "dnf", place, text: format!("proxy={}\n", self.url) });
        }
        for mount in self.of(Ecosystem::Dnf).filter(|it| !it.url.starts_with("http://")) {
            to.notes.push(format!(
                "dnf: write `baseurl={}…` in the place of `{}`, and comment out `metalink` and `mirrorlist`",
                self.at(mount),
                mount.url
            ));
        }
    }

    /// Says what no client is led to.
    fn left(&self, to: &mut Pointers) {
        if self.models.is_some() {
            let at = self.authority();
            to.notes.push(format!(
                "ollama: write `ollama pull --insecure {at}/library/MODEL` for `ollama pull MODEL`"
            ));
        }
        for mount in self.of(Ecosystem::Apk) {
            let (at, url) = (self.at(mount), &mount.url);
            to.notes.push(format!("apk: write `{at}…` in the place of `{url}` in /etc/apk/repositories"));
        }
        for mount in &self.mounts {
            let at = self.at(mount);
            let is_default = self.default_of(mount.ecosystem) == Some(mount);
            match (&mount.role, mount.ecosystem) {
                (_, Ecosystem::Apk | Ecosystem::Apt | Ecosystem::Dnf | Ecosystem::GitLfs) => {}
                (_, Ecosystem::Releases) if matches!(mount.name.as_str(), RUSTUP | UV_PYTHON) => {}
                (_, Ecosystem::Generic) => to.notes.push(format!("{at} is {}", mount.url)),
                _ if is_default => {}
                (Role::Further, Ecosystem::Python | Ecosystem::Go) => {}
                (Role::Named(name), Ecosystem::Npm) if name.starts_with('@') => {}
                (_, ecosystem) => {
                    to.notes.push(format!(
                        "{at} is {}: no {} client is led there by itself",
                        mount.url,
                        ecosystem.name()
                    ));
                }
            }
            if mount.has_credentials && !plan::goes_by_proxy(mount.ecosystem) {
                to.notes.push(format!("{}: {}", mount.name, plan::credentials(mount.ecosystem, &mount.name)));
            }
        }
    }
}

impl Pointers {
    fn set(&mut self, client: &'static str, name: &str, value: &str) {
        self.variables.push(Variable { client, name: name.to_owned(), value: value.to_owned() });
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn here(url: &str) -> Here {
        let named = |name: &str| Role::Named(name.to_owned());
        let mount = |name: &str, ecosystem, url: &str, role| Mount {
            name: name.to_owned(),
            ecosystem,
            url: url.to_owned(),
            role,
            has_credentials: false,
            secrets: Vec::new(),
        };
        Here {
            reveals: false,
            go: go::Settings::default(),
            url: url.to_owned(),
            mounts: vec![
                mount("crates", Ecosystem::Cargo, "https://rs.example/", Role::Default),
                mount("debian", Ecosystem::Apt, "http://deb.example/debian", Role::Default),
                mount("node", Ecosystem::Apt, "https://deb.example/node", Role::Default),
                mount("npm", Ecosystem::Npm, "https://js.example/", Role::Default),
                mount("team", Ecosystem::Npm, "https://js.example/team/", named("@team")),
                mount("pypi", Ecosystem::Python, "https://py.example/simple/", Role::Default),
                mount("own", Ecosystem::Python, "https://own.example/simple/", Role::Further),
                mount("it", Ecosystem::Python, "https://it.example/simple/", named("it")),
                mount("files", Ecosystem::Generic, "https://files.example/", named("files")),
            ],
            registries: vec!["a.example".into(), "b.example:5000".into()],
            models: None,
            git_settings: 0,
        }
    }

    #[test]
    fn each_client_is_led_to_its_mount() {
        let pointers = here("http://127.0.0.1:3144").pointers();
        let get =
            |name: &str| pointers.variables.iter().find(|it| it.name == name).map(|it| it.value.as_str());
        for (name, value) in [
            ("PIP_INDEX_URL", "http://127.0.0.1:3144/pypi/"),
            ("UV_DEFAULT_INDEX", "http://127.0.0.1:3144/pypi/"),
            ("PIP_EXTRA_INDEX_URL", "http://127.0.0.1:3144/own/"),
            ("npm_config_registry", "http://127.0.0.1:3144/npm/"),
            ("pnpm_config_registry", "http://127.0.0.1:3144/npm/"),
            ("npm_config_@team:registry", "http://127.0.0.1:3144/team/"),
            ("YARN_UNSAFE_HTTP_WHITELIST", "127.0.0.1"),
        ] {
            assert_eq!(get(name), Some(value), "{name}");
        }
        assert_eq!(get("PIP_TRUSTED_HOST"), None);
        assert_eq!(pointers.cargo[1], "source.pkgcache.registry=\"sparse+http://127.0.0.1:3144/crates/\"");
        let apt = pointers.pieces.iter().find(|it| it.client == "apt").unwrap();
        assert_eq!(apt.text, "Acquire::http::Proxy::deb.example \"http://127.0.0.1:3144/\";\n");
        assert_eq!(
            pointers.notes,
            [
                "apt: write `http://127.0.0.1:3144/node` in your lists in the place of `https://deb.example/node`",
                "http://127.0.0.1:3144/it/ is https://it.example/simple/: no python client is led there by itself",
                "http://127.0.0.1:3144/files/ is https://files.example/",
            ]
        );
    }

    #[test]
    fn another_machines_cache_has_to_be_trusted_by_pip() {
        let pointers = here("http://cache.example:3144").pointers();
        let trusted = pointers.variables.iter().find(|it| it.name == "PIP_TRUSTED_HOST").unwrap();
        assert_eq!(trusted.value, "cache.example:3144");
    }

    #[test]
    fn a_mount_has_the_role_that_its_index_has_for_the_client() {
        let index = |url: &str, role| Index {
            ecosystem: Ecosystem::Python,
            url: url.to_owned(),
            role,
            from: String::new(),
            has_credentials: false,
            secrets: Vec::new(),
        };
        let found =
            [index("https://a.example/simple", Role::Default), index("https://b.example/", Role::Further)];
        let role = |name: &str, url: &str| Mount::new(name, Ecosystem::Python, url, false, &found).role;
        assert_eq!(role("x", "https://a.example/simple/"), Role::Default);
        assert_eq!(role("pypi", "https://b.example/"), Role::Further);
        assert_eq!(role("pypi", "https://c.example/"), Role::Default);
        assert_eq!(role("c", "https://c.example/"), Role::Unknown);
    }

    #[test]
    fn credentials_go_along_only_where_nothing_is_shown() {
        let mut here = here("http://127.0.0.1:1");
        for mount in &mut here.mounts {
            let name = if mount.ecosystem == Ecosystem::Npm { "_authToken" } else { "" };
            mount.secrets = vec![(name.to_owned(), Secret::new("me:word"))];
        }
        assert!(!format!("{:?}{here:?}", here.pointers()).contains("word"));
        here.reveals = true;
        let set = here.pointers().variables;
        let get = |name: &str| set.iter().find(|it| it.name == name).map(|it| it.value.as_str());
        assert_eq!(get("UV_DEFAULT_INDEX"), Some("http://me:word@127.0.0.1:1/pypi/"));
        assert_eq!(get("PIP_EXTRA_INDEX_URL"), Some("http://me:word@127.0.0.1:1/own/"));
        assert_eq!(get("npm_config_//127.0.0.1:1/team/:_authToken"), Some("me:word"));
        assert_eq!(get("npm_config_registry"), Some("http://127.0.0.1:1/npm/"));
    }

    #[test]
    fn the_only_mount_of_a_kind_is_the_default() {
        let mut here = here("http://127.0.0.1:1");
        here.mounts.retain(|it| it.name == "it");
        assert_eq!(here.default_of(Ecosystem::Python), None);
        here.mounts[0].role = Role::Unknown;
        assert_eq!(here.default_of(Ecosystem::Python).unwrap().name, "it");
    }
}
