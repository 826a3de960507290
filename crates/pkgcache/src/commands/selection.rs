//! Which of the stored URLs are meant, and sums over them.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use storekit::{ByteSize, Digest, PackageEntry, PackageKey};
use toolkit::words::count;

use crate::cache;
use toolkit::{Align, Table};

/// Which of the stored URLs are meant: those for which all that is said holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The URL itself, in any spelling in which a client may ask for it.
    pub url: Option<String>,
    /// Text in the URL.
    pub part: String,
    /// The kind of client.
    pub ecosystem: Option<String>,
    /// The package's name.
    pub name: Option<String>,
    /// The upstream's name, or a host.
    pub source: Option<String>,
}

impl Selection {
    /// Text in the URL.
    #[must_use]
    pub fn of_part(part: &str) -> Self {
        Self { part: part.to_owned(), ..Self::default() }
    }

    /// The URL itself.
    #[must_use]
    pub fn of_url(url: &str) -> Self {
        Self { url: Some(url.to_owned()), ..Self::default() }
    }

    /// Whether everything is meant.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the entry is meant.
    #[must_use]
    pub fn is_of(&self, entry: &PackageEntry) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|it| it.eq_ignore_ascii_case(found))
        };
        // Entries have hosts as names of folders: with `_` in the place of `:`.
        let source = self.source.as_ref().map(|it| PackageKey::new("", it, "", None).source);
        let key = &entry.key;
        let names = |url: &str| {
            url == key.url || cache::spelled_by_hand(&key.ecosystem, url).is_some_and(|url| url == key.url)
        };
        self.url.as_deref().is_none_or(names)
            && key.url.contains(&self.part)
            && is(&self.ecosystem, &key.ecosystem)
            && is(&source, &key.source)
            && is(&self.name, entry.name.as_deref().unwrap_or_default())
    }

    /// That nothing of it is stored, in words.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        if let Some(url) = &self.url {
            return format!("nothing is stored for `{url}`");
        }
        if !self.part.is_empty() {
            words.push(format!("contains `{}`", self.part));
        }
        for (what, value) in [("ecosystem", &self.ecosystem), ("name", &self.name), ("source", &self.source)]
        {
            words.extend(value.as_ref().map(|value| format!("has the {what} `{value}`")));
        }
        format!("no stored URL {}", words.join(" and "))
    }
}

/// What is put together in sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Kinds of clients.
    Ecosystem,
    /// Upstreams and hosts.
    Source,
    /// Packages.
    Name,
    /// Packages in one version each.
    Version,
    /// Architectures.
    Architecture,
}

/// A sum.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Sum {
    #[serde(flatten)]
    pub(super) of: BTreeMap<&'static str, String>,
    urls: u64,
    size: u64,
    #[serde(skip)]
    bodies: HashSet<Digest>,
}

impl Sum {
    /// Adds an entry. A body that several have counts once.
    pub(super) fn add(&mut self, entry: &PackageEntry) {
        self.urls += 1;
        for it in &entry.responses {
            if self.bodies.insert(it.digest) {
                self.size += it.size;
            }
        }
    }

    /// In words.
    pub(super) fn words(&self) -> String {
        format!("{}, {}", count(self.urls, "URL"), ByteSize(self.size))
    }
}

/// Sums by what entries have in common.
#[derive(Debug)]
pub(super) struct Sums {
    by: By,
    sums: BTreeMap<Vec<String>, Sum>,
}

impl Sums {
    pub(super) fn new(by: By) -> Self {
        Self { by, sums: BTreeMap::new() }
    }

    fn columns(&self) -> &'static [&'static str] {
        match self.by {
            By::Ecosystem => &["ecosystem"],
            By::Source => &["ecosystem", "source"],
            By::Name => &["ecosystem", "name"],
            By::Version => &["ecosystem", "name", "version"],
            By::Architecture => &["ecosystem", "architecture"],
        }
    }

    pub(super) fn add(&mut self, entry: &PackageEntry) {
        let value = |column: &&str| match *column {
            "ecosystem" => Some(&entry.key.ecosystem),
            "source" => Some(&entry.key.source),
            "name" => entry.name.as_ref(),
            "version" => entry.package_version.as_ref(),
            _ => entry.architecture.as_ref(),
        };
        let values: Vec<_> = self.columns().iter().map(|it| value(it).cloned().unwrap_or_default()).collect();
        let of = self.columns().iter().copied().zip(values.iter().cloned()).filter(|(_, it)| !it.is_empty());
        let of: BTreeMap<_, _> = of.collect();
        self.sums.entry(values).or_insert_with(|| Sum { of, ..Sum::default() }).add(entry);
    }

    /// In the order of their names.
    pub(super) fn all(&self) -> impl Iterator<Item = &Sum> {
        self.sums.values()
    }

    /// A table for people; what is not known is `-`.
    pub(super) fn table(&self) -> String {
        let heading = |column: &&'static str| match *column {
            "ecosystem" => ("ECOSYSTEM", Align::Left),
            "source" => ("SOURCE", Align::Left),
            "name" => ("NAME", Align::Left),
            "version" => ("VERSION", Align::Left),
            _ => ("ARCHITECTURE", Align::Left),
        };
        let mut headings: Vec<_> = self.columns().iter().map(heading).collect();
        headings.extend([("URLS", Align::Right), ("SIZE", Align::Right)]);
        let mut table = Table::new(&headings);
        for (values, sum) in &self.sums {
            let shown = values.iter().map(|it| if it.is_empty() { "-".to_owned() } else { it.clone() });
            table.row(shown.chain([sum.urls.to_string(), ByteSize(sum.size).to_string()]));
        }
        table.text(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storekit::StoredResponse;

    fn entry(ecosystem: &str, url: &str, name: &str, body: &[u8]) -> PackageEntry {
        let mut entry = PackageEntry::new(PackageKey::new(ecosystem, "up", url, None));
        entry.name = Some(name.to_owned());
        let text = format!(
            "status = 200\ndigest = \"{}\"\nsize = {}\nrequested = \"2026-01-02T03:04:05Z\"\nreceived = \"2026-01-02T03:04:05Z\"\nheaders = []\n",
            Digest::of(body),
            body.len()
        );
        entry.responses.push(toml::from_str::<StoredResponse>(&text).unwrap());
        entry
    }

    #[test]
    fn all_that_is_said_has_to_hold() {
        let it = entry("python", "https://py.example/simple/a/", "a", b"1");
        let of = |ecosystem: &str, name: &str| Selection {
            ecosystem: Some(ecosystem.to_owned()),
            name: Some(name.to_owned()),
            ..Selection::default()
        };
        assert!(Selection::default().is_of(&it) && of("Python", "a").is_of(&it));
        assert!(!of("python", "b").is_of(&it) && !of("npm", "a").is_of(&it));
        assert!(Selection::of_part("simple").is_of(&it) && !Selection::of_part("z").is_of(&it));
        assert!(Selection::of_url("https://py.example/simple/a/").is_of(&it));
        assert!(!Selection::of_url("https://py.example/simple/").is_of(&it));
        assert_eq!(of("npm", "a").words(), "no stored URL has the ecosystem `npm` and has the name `a`");
    }

    #[test]
    fn a_url_is_found_in_any_spelling() {
        let deb = "http://deb.example/pool/libx++_1~rc1_all.deb";
        let it = entry("apt", deb, "libx++", b"1");
        for spelling in [
            deb,
            "http://deb.example/pool/libx%2b%2B_1~rc1_all.deb",
            "HTTP://DEB.example:80/pool/./libx++_1%7Erc1_all%2edeb",
        ] {
            assert!(Selection::of_url(spelling).is_of(&it), "{spelling}");
        }
        for other in
            ["http://deb.example/pool/libx_1~rc1_all.deb", "https://deb.example/pool/libx++_1~rc1_all.deb"]
        {
            assert!(!Selection::of_url(other).is_of(&it), "{other}");
        }
        // Of what is not known, nobody knows what its escapes mean.
        let it = entry("generic", "http://a/x%2b", "", b"1");
        assert!(
            Selection::of_url("http://A:80/x%2b").is_of(&it) && !Selection::of_url("http://a/x+").is_of(&it)
        );
    }

    #[test]
    fn a_body_counts_once_in_a_sum() {
        let mut sums = Sums::new(By::Name);
        for (url, name, body) in [("u", "a", "12"), ("v", "a", "12"), ("w", "b", "12345"), ("x", "", "1")] {
            sums.add(&PackageEntry {
                name: Some(name.to_owned()).filter(|it| !it.is_empty()),
                ..entry("npm", url, "", body.as_bytes())
            });
        }
        assert_eq!(
            sums.table(),
            "ECOSYSTEM  NAME  URLS  SIZE\nnpm        -        1    1B\nnpm        a        2    2B\nnpm        b        1    5B\n"
        );
        let rows: Vec<_> = sums.all().map(|it| serde_json::to_string(it).unwrap()).collect();
        assert_eq!(rows[1], "{\"ecosystem\":\"npm\",\"name\":\"a\",\"urls\":2,\"size\":2}");
        assert_eq!(rows[0], "{\"ecosystem\":\"npm\",\"urls\":1,\"size\":1}");
    }
}
