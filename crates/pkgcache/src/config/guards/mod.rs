//! `[pkgcache.guards]` of larder.toml.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};
use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};
use storekit::{Age, Level};

use crate::config::{Registry, Upstream};
use crate::ecosystem::Ecosystem;
use crate::error::Error;
use crate::guards::{Guards, Namespace, OsvFiles, Pattern};

/// What can be set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(
    deny_unknown_fields,
    default,
    rename_all = "kebab-case",
    expecting = "guards, such as `cooldown = \"7d\"`"
)]
pub struct GuardTable {
    /// Which mount or registry alone may be asked for these packages.
    pub namespace: BTreeMap<Pattern, String>,
    /// Packages that are refused.
    pub block: Vec<Pattern>,
    /// Packages beside which others of their kind are refused.
    pub allow: Vec<Pattern>,
    /// Files of advisories.
    pub osv: Option<OsvTable>,
    /// How old a version has to be.
    pub cooldown: Cooldown,
    /// Packages that may be younger.
    pub cooldown_except: Vec<Pattern>,
    /// Who has to vouch for files.
    pub require: Require,
    /// What becomes of versions that were taken back.
    pub withdrawn: Withdrawn,
}

/// Files of advisories: their paths, or a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OsvTable {
    files: Vec<Utf8PathBuf>,
    refuse: Refuse,
    ignore: BTreeSet<String>,
}

/// Which advisories count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Refuse {
    /// Of malicious packages.
    #[default]
    Malicious,
    /// All that the files have.
    All,
}

/// What becomes of versions that were taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Withdrawn {
    /// They are served, with a mark.
    #[default]
    Mark,
    /// They are refused.
    Refuse,
}

/// Ages by kind, or one for those whose indexes have dates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cooldown(BTreeMap<Ecosystem, Age>);

/// Levels by kind, or one for those that have indexes with checksums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Require(BTreeMap<Ecosystem, Level>);

/// Indexes of these kinds say when a version was published.
const DATED: [Ecosystem; 3] = [Ecosystem::Cargo, Ecosystem::Npm, Ecosystem::Python];
/// The versions of these kinds can be told apart and do not change.
const VERSIONED: [Ecosystem; 7] = [
    Ecosystem::Apk,
    Ecosystem::Apt,
    Ecosystem::Cargo,
    Ecosystem::Dnf,
    Ecosystem::Go,
    Ecosystem::Npm,
    Ecosystem::Python,
];

impl GuardTable {
    /// What it sets; `None` where that is nothing. Files are below `folder`.
    ///
    /// # Errors
    /// A namespace of no mount or registry, or of one of another kind.
    pub(crate) fn guards(
        &self,
        upstreams: &[Upstream],
        registries: &[Registry],
        folder: &Utf8Path,
    ) -> Result<Option<Guards>, Error> {
        let owned = |(pattern, owner): (&Pattern, &String)| namespace(pattern, owner, upstreams, registries);
        let seconds = |age: &Age| i64::try_from(age.0.as_secs()).unwrap_or(i64::MAX);
        let osv = self.osv.as_ref().filter(|osv| !osv.files.is_empty());
        let guards = Guards {
            namespaces: self.namespace.iter().map(owned).collect::<Result<_, _>>()?,
            block: self.block.clone(),
            allow: self.allow.clone(),
            osv: osv.map(|osv| OsvFiles {
                paths: osv.files.iter().map(|path| folder.join(path)).collect(),
                all: osv.refuse == Refuse::All,
                ignore: osv.ignore.clone(),
            }),
            cooldown: self.cooldown.0.iter().map(|(kind, age)| (*kind, seconds(age))).collect(),
            cooldown_except: self.cooldown_except.clone(),
            require: self.require.0.clone(),
            refuses_withdrawn: self.withdrawn == Withdrawn::Refuse,
        };
        let bare = Guards { cooldown_except: guards.cooldown_except.clone(), ..Guards::default() };
        Ok((guards != bare).then_some(guards))
    }
}

fn namespace(
    pattern: &Pattern,
    owner: &str,
    upstreams: &[Upstream],
    registries: &[Registry],
) -> Result<Namespace, Error> {
    let wrong =
        |reason| Error::NotANamespace { pattern: pattern.to_string(), owner: owner.to_owned(), reason };
    if pattern.has_version() {
        return Err(wrong("a namespace is of names, in all their versions"));
    }
    let mounts = upstreams.iter().filter(|it| it.name == owner.trim_matches('/'));
    let mounts = mounts.map(|it| (it.kind, &it.url, format!("the mount `/{}/`", it.name)));
    let named = registries.iter().filter(|it| it.name == owner);
    let named = named.map(|it| (it.kind(), &it.url, format!("the registry `{}`", it.name)));
    let mut found = mounts.chain(named).peekable();
    if found.peek().is_none() {
        return Err(wrong("no mount and no registry has that name"));
    }
    let (_, url, owner) = found
        .find(|(kind, ..)| *kind == pattern.kind())
        .ok_or_else(|| wrong("that one is for another kind of client"))?;
    Ok(Namespace { pattern: pattern.clone(), owner, url: url.clone() })
}

/// One value for some kinds, or values by kind.
struct ByKind<T> {
    usual: &'static [Ecosystem],
    possible: &'static [Ecosystem],
    what: &'static str,
    read: fn(&str) -> Result<T, String>,
}

impl<'de, T: Copy> Visitor<'de> for ByKind<T> {
    type Value = BTreeMap<Ecosystem, T>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.what)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let value = (self.read)(text).map_err(E::custom)?;
        Ok(self.usual.iter().map(|kind| (*kind, value)).collect())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Self::Value, A::Error> {
        let mut values = BTreeMap::new();
        while let Some(kind) = table.next_key::<Ecosystem>()? {
            if !self.possible.contains(&kind) {
                return Err(de::Error::custom(format!("`{}` has no such guard", kind.name())));
            }
            let text = table.next_value::<String>()?;
            values.insert(kind, (self.read)(&text).map_err(de::Error::custom)?);
        }
        Ok(values)
    }
}

impl<'de> Deserialize<'de> for Cooldown {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ByKind {
            usual: &DATED,
            possible: &VERSIONED,
            what: "an age such as `7d`, or ages by kind such as `{ npm = \"7d\", apt = \"2d\" }`",
            read: |text| text.parse::<Age>().map_err(|error| error.to_string()),
        })
        .map(Self)
    }
}

/// All kinds, for which a level can be required.
const LEVELLED: [Ecosystem; 12] = [
    Ecosystem::Apk,
    Ecosystem::Apt,
    Ecosystem::Cargo,
    Ecosystem::Dnf,
    Ecosystem::GitLfs,
    Ecosystem::Go,
    Ecosystem::HuggingFace,
    Ecosystem::Npm,
    Ecosystem::Oci,
    Ecosystem::Ollama,
    Ecosystem::Python,
    Ecosystem::Releases,
];

impl<'de> Deserialize<'de> for Require {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ByKind {
            usual: &VERSIONED,
            possible: &LEVELLED,
            what: "a level such as `indexed`, or levels by kind such as `{ npm = \"indexed\", apt = \"signed\" }`",
            read: level,
        })
        .map(Self)
    }
}

fn level(text: &str) -> Result<Level, String> {
    let found = Level::ALL.into_iter().filter(|it| *it != Level::None).find(|it| it.name() == text);
    found.ok_or_else(|| {
        let text = storekit::printable(text);
        format!("`{text}` is not a level: there are `pinned`, `addressed`, `indexed` and `signed`")
    })
}

impl<'de> Deserialize<'de> for OsvTable {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            files: Vec<Utf8PathBuf>,
            #[serde(default)]
            refuse: Refuse,
            #[serde(default)]
            ignore: BTreeSet<String>,
        }

        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = OsvTable;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str(
                    "paths of files, or a table such as `{ files = [\"npm.zip\"], refuse = \"all\" }`",
                )
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<OsvTable, A::Error> {
                let mut files = Vec::new();
                while let Some(path) = list.next_element()? {
                    files.push(path);
                }
                Ok(OsvTable { files, ..OsvTable::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<OsvTable, A::Error> {
                let Table { files, refuse, ignore } = Table::deserialize(MapAccessDeserializer::new(table))?;
                Ok(OsvTable { files, refuse, ignore })
            }
        }

        from.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests;
