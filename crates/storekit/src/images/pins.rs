//! Pins: images that no collection removes. See FORMAT.md, "Pins".
//!
//! A pin is a file of its own, `images/pins/KEY`, apart from the entry: it outlives a new save, and
//! merges in git. What it says beside that is in its lines. A pin of all keys and names that are
//! like a pattern is `images/pins/=HEX`, which an earlier version passes over.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;

use crate::error::{At, Result};
use crate::files::replace::{self, Durability};
use crate::images::Images;
use crate::{Digest, Key};

/// No file of a pin is longer, in bytes.
const CAP: u64 = 64 << 10;
/// What a pin says that cannot be read: it may say that it holds all of this.
const UNREAD: Pin = Pin { until: None, closure: true };
/// So the name of a pin of a pattern begins; no key does.
const OF_PATTERN: char = '=';

/// What a pin says beside that nothing of it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pin {
    /// When it ends; never, where nothing is said.
    pub until: Option<Timestamp>,
    /// Whether it holds what a rebuild needs, too.
    pub closure: bool,
}

/// All pins of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins {
    /// Of keys, stored or not.
    pub keys: BTreeMap<Key, Pin>,
    /// Of all keys and names that are like these patterns.
    pub patterns: BTreeMap<String, Pin>,
    /// The files of pins of which it cannot be told what they hold: they may hold anything.
    pub unread: Vec<String>,
}

impl Pin {
    /// Whether it holds at that time.
    #[must_use]
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    fn text(self, pattern: Option<&str>) -> String {
        let lines = [
            pattern.map(|pattern| format!("pattern {pattern}\n")),
            self.until.map(|until| format!("until {until}\n")),
            self.closure.then(|| "closure\n".to_owned()),
        ];
        lines.into_iter().flatten().collect()
    }

    /// Reads the lines. One that is not understood is passed over: the pin holds all the same.
    fn parse(text: &str) -> (Self, Option<String>) {
        let (mut pin, mut pattern) = (Self::default(), None);
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("until", time)) => pin.until = time.trim().parse().ok(),
                Some(("pattern", text)) => pattern = Some(text.to_owned()),
                _ if line == "closure" => pin.closure = true,
                _ => {}
            }
        }
        (pin, pattern)
    }
}

impl Images {
    /// The keys that are pinned now by themselves, stored or not.
    ///
    /// # Errors
    /// I/O errors.
    pub fn pins(&self) -> Result<BTreeSet<Key>> {
        let (pins, now) = (self.all_pins()?, Timestamp::now());
        Ok(pins.keys.into_iter().filter(|(_, pin)| pin.holds_at(now)).map(|(key, _)| key).collect())
    }

    /// All pins, those that have ended among them.
    ///
    /// # Errors
    /// I/O errors.
    pub fn all_pins(&self) -> Result<Pins> {
        let folder = self.pins_folder();
        let mut pins = Pins::default();
        for name in replace::names(&folder)? {
            let key = name.parse::<Key>().ok();
            if key.is_none() && !is_of_pattern(&name) {
                continue;
            }
            let (pin, pattern) = match read(&folder.join(&name))? {
                Stands::Nothing => continue,
                Stands::Unread => (UNREAD, None),
                Stands::Text(bytes) => Pin::parse(&String::from_utf8_lossy(&bytes)),
            };
            match (key, pattern.filter(|pattern| file_of(pattern) == name)) {
                (Some(key), _) => drop(pins.keys.insert(key, pin)),
                (None, Some(pattern)) => drop(pins.patterns.insert(pattern, pin)),
                (None, None) => pins.unread.push(name),
            }
        }
        Ok(pins)
    }

    /// Pins the key, for ever. Returns whether it was not pinned before. No collection is between
    /// two steps meanwhile.
    ///
    /// # Errors
    /// I/O errors, [`crate::Error::Locked`].
    pub fn pin(&self, key: &Key) -> Result<bool> {
        self.pin_as(key, Pin::default())
    }

    /// Pins the key so; what was said of it before counts no more. Returns whether that is new.
    ///
    /// # Errors
    /// As [`Images::pin`].
    pub fn pin_as(&self, key: &Key, pin: Pin) -> Result<bool> {
        self.write_pin(key.as_str(), &pin.text(None))
    }

    /// Pins all keys and names that are like the pattern, now and later.
    ///
    /// # Errors
    /// As [`Images::pin`].
    pub fn pin_pattern(&self, pattern: &str, pin: Pin) -> Result<bool> {
        self.write_pin(&file_of(pattern), &pin.text(Some(pattern)))
    }

    fn write_pin(&self, name: &str, text: &str) -> Result<bool> {
        let folder = self.pins_folder();
        fs::create_dir_all(&folder).at("create", &folder)?;
        let path = folder.join(name);
        if text.len() as u64 > CAP {
            let reason = format!("a pin has at most {CAP} bytes, not {}", text.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason)).at("write", &path);
        }
        let lock = self.store().lock_shared()?;
        let is_new = !matches!(read(&path)?, Stands::Text(before) if before == text.as_bytes());
        if is_new {
            replace::replace(&path, text.as_bytes(), Durability::Synced)?;
        }
        drop(lock);
        Ok(is_new)
    }

    /// Takes the pin off. Returns whether there was one.
    ///
    /// # Errors
    /// I/O errors.
    pub fn unpin(&self, key: &Key) -> Result<bool> {
        self.remove_pin(key.as_str())
    }

    /// Takes the pin of a pattern off. Returns whether there was one.
    ///
    /// # Errors
    /// I/O errors.
    pub fn unpin_pattern(&self, pattern: &str) -> Result<bool> {
        self.remove_pin(&file_of(pattern))
    }

    fn remove_pin(&self, name: &str) -> Result<bool> {
        let path = self.pins_folder().join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            removed => removed.at("remove", &path).map(|()| true),
        }
    }

    /// Where the pins are.
    #[must_use]
    pub fn pins_folder(&self) -> Utf8PathBuf {
        self.folder().join("pins")
    }
}

/// What stands for a pin.
enum Stands {
    Nothing,
    /// Something that cannot be read.
    Unread,
    Text(Vec<u8>),
}

fn read(path: &Utf8Path) -> Result<Stands> {
    match replace::read_capped(path, CAP) {
        Err(error) if error.is_unreadable() => Ok(Stands::Unread),
        // A link that leads nowhere stands there all the same.
        Ok(None) if fs::symlink_metadata(path).is_ok() => Ok(Stands::Unread),
        read => Ok(read?.map_or(Stands::Nothing, Stands::Text)),
    }
}

fn is_of_pattern(name: &str) -> bool {
    name.strip_prefix(OF_PATTERN).is_some_and(|hex| Digest::from_hex(hex).is_some())
}

fn file_of(pattern: &str) -> String {
    format!("{OF_PATTERN}{}", Digest::of(pattern.as_bytes()).hex())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    #[test]
    fn a_pin_says_how_long_it_holds_and_what() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(dir.path().join("store")).unwrap();
        let images = Store::open_or_create(&root).unwrap().images();
        let (key, ended): (Key, Key) = ("k".parse().unwrap(), "ended".parse().unwrap());
        assert!(images.pin(&key).unwrap() && !images.pin(&key).unwrap());
        assert_eq!(fs::read(images.pins_folder().join("k")).unwrap(), b"");
        let until = "2001-01-01T00:00:00Z".parse().unwrap();
        let pin = Pin { until: Some(until), closure: true };
        assert!(images.pin_as(&ended, pin).unwrap() && !images.pin_as(&ended, pin).unwrap());
        assert!(!pin.holds_at(until) && pin.holds_at(until - jiff::SignedDuration::from_secs(1)));
        assert!(images.pin_pattern("app:*", Pin { closure: true, ..Pin::default() }).unwrap());
        let pins = images.all_pins().unwrap();
        assert_eq!(pins.keys, [(key.clone(), Pin::default()), (ended.clone(), pin)].into());
        assert_eq!(pins.patterns, [("app:*".to_owned(), Pin { closure: true, until: None })].into());
        assert_eq!(images.pins().unwrap(), [key.clone()].into());
        assert!(images.unpin(&ended).unwrap() && !images.unpin(&ended).unwrap());
        assert!(images.unpin_pattern("app:*").unwrap() && !images.unpin_pattern("app:*").unwrap());
        // What nobody understands holds for ever.
        fs::write(images.pins_folder().join("k"), "until some day\nanything\n").unwrap();
        assert_eq!(images.pins().unwrap(), [key].into());
    }
}
