//! What the package clients of a machine are set up for, and how they are led to this cache.
//!
//! From the texts of their settings to the indexes that they use ([`Found`]), from these to
//! upstreams ([`plan`]), and from mounts to the settings that lead clients here ([`pointers`]).
//!
//! Deliberately absent: files, variables and programs of this machine (`cli`): all texts are handed
//! in. No index's name stands here: a client that has one built in is asked for it.

pub mod address;
pub mod apt;
pub mod cargo;
pub mod check;
pub mod dnf;
pub mod forms;
pub mod go;
pub mod huggingface;
mod ini;
#[cfg(test)]
mod mutated;
pub mod npm;
pub mod plan;
pub mod pointers;
pub mod python;
pub mod registries;

use std::collections::BTreeSet;

pub use crate::ecosystem::Ecosystem;
pub use address::Secret;

/// A settings file, or another text of a client's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Where it stands: a path.
    pub from: String,
    /// What it says.
    pub text: String,
}

/// What an index is to its client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The one that is asked where nothing else is said.
    Default,
    /// Asked as well.
    Further,
    /// Asked for what belongs to this name: a scope, a registry.
    Named(String),
    /// No client of this machine has it in its settings.
    Unknown,
}

/// An index that a client uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Which kind of client uses it.
    pub ecosystem: Ecosystem,
    /// Where it is; without credentials.
    pub url: String,
    /// What it is to the client.
    pub role: Role,
    /// Where that is said.
    pub from: String,
    /// Whether the client has credentials for it.
    pub has_credentials: bool,
    /// Those that are known: of an address (without a name), or settings of npm's, by their names.
    pub secrets: Vec<(String, Secret)>,
}

/// What was found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The indexes.
    pub indexes: Vec<Index>,
    /// The proxy through which the clients reach them.
    pub proxy: Option<String>,
    /// What could not be found out or cannot be cached, and why.
    pub notes: Vec<String>,
    /// Hosts that clients ask through a proxy, and that are no indexes: those with lists of
    /// servers.
    pub lists: BTreeSet<String>,
    /// Clients whose default is set, and is nothing that can be cached: a folder, a git repository.
    pub elsewhere: BTreeSet<Ecosystem>,
    /// What Go's settings say beside its proxies' addresses.
    pub go: go::Settings,
}

impl Found {
    /// Whether these clients have a default that is set.
    #[must_use]
    pub fn has_default(&self, ecosystem: Ecosystem) -> bool {
        let is_default = |index: &Index| index.ecosystem == ecosystem && index.role == Role::Default;
        self.elsewhere.contains(&ecosystem) || self.indexes.iter().any(is_default)
    }

    /// Adds what else was found.
    pub fn add(&mut self, other: Self) {
        self.indexes.extend(other.indexes);
        other.notes.into_iter().for_each(|note| self.note(note));
        self.lists.extend(other.lists);
        self.elsewhere.extend(other.elsewhere);
        self.proxy = self.proxy.take().or(other.proxy);
        self.go = std::mem::take(&mut self.go).or(other.go);
    }

    /// Whether a client of this kind is led to this cache.
    #[must_use]
    pub fn is_led_here(&self, ecosystem: Ecosystem) -> bool {
        self.notes.iter().any(|note| note.ends_with(&led_already(ecosystem)))
    }

    /// Notes an index, or that its address cannot be used.
    fn index(&mut self, ecosystem: Ecosystem, role: Role, address: &str, from: &str) {
        if let Some(address::Address { url, credentials }) = address::Address::read(address) {
            let from = from.to_owned();
            let has_credentials = credentials.is_some();
            let secrets = credentials.map(|it| (String::new(), it)).into_iter().collect();
            self.indexes.push(Index { ecosystem, url, role, from, has_credentials, secrets });
            return;
        }
        let shown = toolkit::net::without_credentials(address);
        self.note(format!("{from}: `{shown}` is not an HTTP address, so it is not cached"));
        if role == Role::Default {
            self.elsewhere.insert(ecosystem);
        }
    }

    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Reads a TOML text; one that is not valid is noted.
    fn toml(&mut self, text: &Text) -> toml::Table {
        text.text.parse().unwrap_or_else(|_| {
            self.note(format!("{}: this is not valid TOML, so it is not counted", text.from));
            toml::Table::new()
        })
    }
}

/// The end of the note on a client that is led to this cache.
fn led_already(ecosystem: Ecosystem) -> String {
    format!(": {} is led to this cache already", ecosystem.name())
}

/// The text at a path of keys.
fn text_at<'a>(table: &'a toml::Table, keys: &[&str]) -> Option<&'a str> {
    let (last, above) = keys.split_last()?;
    table_at(table, above)?.get(*last)?.as_str()
}

/// The table at a path of keys.
fn table_at<'a>(table: &'a toml::Table, keys: &[&str]) -> Option<&'a toml::Table> {
    keys.iter().try_fold(table, |table, key| table.get(*key)?.as_table())
}

/// The tables of an array at a key.
fn tables_at<'a>(table: &'a toml::Table, key: &str) -> impl Iterator<Item = &'a toml::Table> {
    let list = table.get(key).and_then(toml::Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(toml::Value::as_table)
}

/// The texts of an array at a key.
fn texts_at<'a>(table: &'a toml::Table, key: &str) -> impl Iterator<Item = &'a str> {
    let list = table.get(key).and_then(toml::Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(toml::Value::as_str)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::clients::plan::Plan;
    use camino::Utf8PathBuf;
    use proptest::prelude::*;
    use toolkit::Environment;

    /// A client's file.
    pub(crate) fn text(from: &str, text: &str) -> Text {
        Text { from: from.to_owned(), text: text.to_owned() }
    }

    /// A process with these variables, in `/srv/project`.
    pub(crate) fn environment(variables: &[(&str, &str)]) -> Environment {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let home = ("HOME".to_owned(), "/home/me".to_owned());
        let folder = Utf8PathBuf::from("/srv/project");
        Environment { folder, variables: std::iter::once(home).chain(variables).collect() }
    }

    /// Each index in a line: role, URL, `*` where there are credentials, and where it is said.
    pub(crate) fn lines(found: &Found) -> Vec<String> {
        let line = |it: &Index| {
            let role = match &it.role {
                Role::Default => "default",
                Role::Further => "further",
                Role::Named(name) => name,
                Role::Unknown => "unknown",
            };
            let star = if it.has_credentials { "*" } else { "" };
            format!("{role} {}{star} ({})", it.url, it.from)
        };
        found.indexes.iter().map(line).collect()
    }

    proptest! {
        #[test]
        fn no_password_is_ever_printed(
            word in "[!-/:-~][!-~]{5,19}", user in "[a-z@:/?#%]{0,6}", path in "(/[a-z@]{0,5}){0,3}", scheme in "https?|ftp|git\\+https",
        ) {
            // What begins as a port ends the host for every client. A word that the texts around it
            // have may be printed.
            prop_assume!(!"https://one.example/pip.conf/environment/#credentials/client".contains(&word));
            let address = format!("{scheme}://{user}:{word}@one.example{path}");
            let file = text("pip.conf", &format!("[global]\nindex-url = {address}\n"));
            let mut found = python::pip(&[file], &environment(&[]));
            found.add(npm::npm(&[text("npmrc", &format!("registry={address}\n"))], &environment(&[])));
            found.add(apt::apt(&[text("a.list", &format!("deb {address} s main\n"))], &[]));
            found.add(dnf::dnf(&[], &[text("a.repo", &format!("[a]\nbaseurl={address}\n"))]));
            let shown = format!("{found:?}");
            let plan = Plan::of(found);
            let shown = format!("{shown}{plan:?}{}{:?}", plan.to_toml(), plan.lines().collect::<Vec<_>>());
            prop_assert!(!shown.contains(&word), "{shown}");
        }
    }
}
