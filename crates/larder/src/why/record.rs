//! What is on record of a stored image.

use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;
use storekit::store::Store;
use storekit::{ByteSize, Entry, Key, Origin, printable};
use toolkit::words::{ago, took};

use crate::config::names::any_engines;
use crate::tier::Noted;

/// What is on record of a stored image.
#[derive(Debug, Serialize)]
pub(super) struct Record {
    pub(super) key: String,
    /// The tier that has it; null where this machine's store does.
    pub(super) tier: Option<String>,
    saved: Option<Timestamp>,
    names: Vec<String>,
    pub(super) image: Option<String>,
    host: Option<String>,
    commit: Option<String>,
    project: Option<String>,
    build_seconds: Option<f64>,
    /// What it takes in the store, in bytes; null in a tier.
    bytes: Option<u64>,
    #[serde(skip)]
    pub(super) origin: Origin,
}

impl Record {
    /// Of what this machine's store has under the key.
    pub(super) fn stored(store: &Store, key: &str) -> Option<Self> {
        let key: Key = key.parse().ok()?;
        let (entry, reach) = store.images().find(&key).ok()??;
        let Entry { names, build_seconds, saved, origin, .. } = entry;
        let bytes = Some(reach.present.values().sum());
        Some(Self { saved: Some(saved), names, build_seconds, bytes, ..Self::of(key.as_str(), &origin) })
    }

    /// Of what is noted in the tier of this name.
    pub(super) fn noted(noted: &Noted, tier: &str) -> Self {
        let Noted { key, names, saved, build_seconds, origin } = noted.clone();
        let tier = Some(tier.to_owned());
        Self { tier, saved, names, build_seconds, ..Self::of(&key, &origin) }
    }

    fn of(key: &str, origin: &Origin) -> Self {
        let text = |remark: &Option<storekit::Remark>| remark.as_ref().map(ToString::to_string);
        Self {
            key: key.to_owned(),
            tier: None,
            saved: None,
            names: Vec::new(),
            image: text(&origin.image),
            host: text(&origin.host),
            commit: text(&origin.commit),
            project: text(&origin.project),
            build_seconds: None,
            bytes: None,
            origin: origin.clone(),
        }
    }

    /// Tells it in words.
    pub(super) fn write(&self, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        let when = self.saved.map(|saved| format!(" {}", ago(saved, Timestamp::now()))).unwrap_or_default();
        let said = |word: &str, text: &Option<String>| {
            text.as_ref().map(|text| format!("{word}{text}")).unwrap_or_default()
        };
        let by = self.image.as_ref().map(|image| format!(" as `{image}`")).unwrap_or_default();
        let (host, commit) = (said(" on ", &self.host), said(", at commit ", &self.commit));
        writeln!(out, "  made{when}{by}{host}{commit}")?;
        if let Some(project) = &self.project {
            writeln!(out, "  of the project {project}")?;
        }
        if !self.names.is_empty() {
            writeln!(out, "  names: {}", printable(&self.names.join(" ")))?;
        }
        if let Some(seconds) = self.build_seconds {
            writeln!(out, "  its build took {}, which a hit saves", took(seconds.ceil()))?;
        }
        match (&self.tier, self.bytes) {
            (Some(tier), _) => writeln!(out, "  in the tier `{tier}`"),
            (None, bytes) => writeln!(out, "  takes {} in the store", ByteSize(bytes.unwrap_or_default())),
        }
    }
}

/// Those that are meant: the one under this very key; else the newest with this name, or with this
/// name in larder.toml; else all whose keys begin so.
pub(super) fn named<'n>(noted: &'n [Noted], text: &str) -> Vec<&'n Noted> {
    if let Some(one) = noted.iter().find(|one| one.key == text) {
        return vec![one];
    }
    let wanted = any_engines(text);
    let is_named = |one: &&Noted| {
        one.names.iter().any(|name| any_engines(name) == wanted)
            || one.origin.image.as_ref().is_some_and(|image| image.as_str() == text)
    };
    if let Some(newest) = noted.iter().filter(is_named).max_by_key(|one| one.saved) {
        return vec![newest];
    }
    let is_beginning = text.len() >= 4 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    noted.iter().filter(|one| is_beginning && one.key.starts_with(text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &str, name: &str, second: i64) -> Noted {
        let origin = Origin { image: "app".parse().ok(), ..Origin::default() };
        let saved = Timestamp::from_second(second).ok();
        Noted { key: key.to_owned(), names: vec![name.to_owned()], saved, build_seconds: None, origin }
    }

    #[test]
    fn a_key_goes_before_a_name_and_a_name_before_a_beginning() {
        let noted = [one("abcd1", "x:1", 1), one("abcd2", "x:1", 3), one("abcd", "y:1", 2)];
        let keys =
            |text: &str| -> Vec<_> { named(&noted, text).iter().map(|one| one.key.as_str()).collect() };
        assert_eq!(keys("abcd"), ["abcd"]);
        assert_eq!(keys("x:1"), ["abcd2"]);
        assert_eq!(keys("localhost/y:1"), ["abcd"]);
        assert_eq!(keys("app"), ["abcd2"]);
        assert_eq!(named(&noted[..2], "abcd").len(), 2);
        assert!(keys("abc").is_empty() && keys("z:1").is_empty());
    }
}
