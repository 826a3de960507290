//! What pins hold: images by key and by pattern, and what a rebuild of them needs.
//!
//! A rebuild needs the images that the build stood on, as far as the inputs of the key name them
//! (hashctx's FORMAT.md, `base`), and what it fetched (storekit's FORMAT.md, "What a build
//! fetched"). A base that is not stored is not held; one that is stored is not built again, so what
//! it was built from is not looked at.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

use globset::GlobMatcher;
use jiff::Timestamp;
use storekit::image_name::spellings;
use storekit::{Digest, Entry, Fetched, Images, Key, PackageKey, Pin, Pins, Remark, Standing};

use crate::error::Result;
use crate::limits::scoped::pattern;
use crate::packages::View;
use crate::snapshot::Image;

/// So the key of an image of the same larder.toml stands in a manifest.
const OF_LARDER: &str = "larder:";

/// An image that a build stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    /// As the build names it.
    pub(crate) name: String,
    pub(crate) id: BaseId,
}

/// By what such an image is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BaseId {
    /// One of the same larder.toml.
    Key(Key),
    /// Its index, its manifest, or its config.
    Digest(Digest),
}

/// The images that a build stands on, by the manifest of its inputs.
pub(crate) fn bases(manifest: &[u8]) -> Vec<Base> {
    let text = String::from_utf8_lossy(manifest);
    let read = |line: &str| {
        let (name, id) = line.strip_prefix("base ")?.rsplit_once(' ')?;
        let id = match id.strip_prefix(OF_LARDER) {
            Some(key) => BaseId::Key(key.parse().ok()?),
            None => BaseId::Digest(id.parse().ok()?),
        };
        Some(Base { name: name.replace("\\x20", " "), id })
    };
    text.lines().filter_map(read).collect()
}

/// What pins hold in a store at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holds {
    keys: BTreeSet<Key>,
    patterns: Patterns,
    /// Manifests, indexes and configs of images that a rebuild needs.
    digests: HashSet<Digest>,
    /// Packages that a rebuild needs.
    urls: HashSet<String>,
    /// Whether a rebuild may need any package: the record of one cannot be read.
    all_packages: bool,
    /// The bodies of what builds were given.
    given: HashSet<Digest>,
}

impl Holds {
    /// Reads the pins that hold `now`, and what those need that are to be built again.
    ///
    /// # Errors
    /// Pins, manifests or records that cannot be read.
    pub(crate) fn read(images: &Images, now: Timestamp) -> Result<Self> {
        let pins = images.all_pins()?;
        let mut holds = Self { patterns: Patterns::of(&pins, now, false), ..Self::default() };
        let closed = Patterns::of(&pins, now, true);
        let mut closures = Vec::new();
        if !closed.is_empty() {
            images.adopt()?;
            for key in images.keys()? {
                let is_meant = match images.look_at(&key)? {
                    Some(Standing::Sound(it)) => is_like(&closed, &it.key, &it.entry),
                    // Its names are not known.
                    Some(Standing::Damaged(_)) => true,
                    None => false,
                };
                closures.extend(is_meant.then_some(key));
            }
        }
        holds.add_keys(pins, now, &mut closures);
        for key in closures {
            match beside(images.inputs(&key))? {
                Some(manifest) => holds.add_bases(&manifest),
                None => holds.patterns.holds_all = true,
            }
            match beside(images.fetched(&key))? {
                Some(record) => holds.add_fetched(&record),
                None => holds.all_packages = true,
            }
        }
        Ok(holds)
    }

    fn add_keys(&mut self, pins: Pins, now: Timestamp, closures: &mut Vec<Key>) {
        for (key, pin) in pins.keys.into_iter().filter(|(_, pin)| pin.holds_at(now)) {
            closures.extend(pin.closure.then(|| key.clone()));
            self.keys.insert(key);
        }
    }

    /// Whether the image under the key never goes, of which it is not known what it needs: any
    /// digest that a rebuild needs may be of it. Without its entry its names are not known either,
    /// so that any pattern may mean it.
    #[must_use]
    pub(crate) fn damaged(&self, key: &Key, entry: Option<&Entry>) -> bool {
        let is_like = entry.map_or(!self.patterns.is_empty(), |entry| is_like(&self.patterns, key, entry));
        self.keys.contains(key) || is_like || !self.digests.is_empty()
    }

    /// Whether the key itself is pinned, or needed by its name.
    #[must_use]
    pub(crate) fn has_key(&self, key: &Key) -> bool {
        self.keys.contains(key)
    }

    /// Adds what the manifest of a key's inputs says that it stands on.
    fn add_bases(&mut self, manifest: &[u8]) {
        for base in bases(manifest) {
            match base.id {
                BaseId::Key(key) => drop(self.keys.insert(key)),
                BaseId::Digest(digest) => drop(self.digests.insert(digest)),
            }
        }
    }

    /// Adds what the record of a key's builds names.
    fn add_fetched(&mut self, record: &[u8]) {
        for object in Fetched::lenient(record) {
            // What is worked out of a URL, and recorded by itself, goes with it.
            let own = object.url.split_once('#').map(|(own, _)| own.to_owned());
            self.urls.insert(own.unwrap_or(object.url));
            self.given.extend(object.digest);
        }
    }

    /// Whether the image never goes.
    #[must_use]
    pub(crate) fn image(&self, image: &Image) -> bool {
        let is_nameless = image.names.is_empty() && image.origin.image.is_none();
        self.keys.contains(&image.key)
            || (image.unknown && is_nameless && !self.patterns.is_empty())
            || (image.unknown && !self.digests.is_empty())
            || self.patterns.hold(names(image))
            || self.digests.contains(&image.digest)
            || (!self.digests.is_empty() && image.blobs.iter().any(|it| self.digests.contains(it)))
    }

    /// The same, as an entry stands now. `reached` are the blobs that it needs, asked for where
    /// that matters.
    ///
    /// # Errors
    /// Those of `reached`.
    pub(crate) fn entry(
        &self,
        key: &Key,
        entry: &Entry,
        reached: impl FnOnce() -> Result<Vec<Digest>>,
    ) -> Result<bool> {
        if self.keys.contains(key) || is_like(&self.patterns, key, entry) {
            return Ok(true);
        }
        Ok(!self.digests.is_empty() && reached()?.iter().any(|digest| self.digests.contains(digest)))
    }

    /// Whether any package never goes.
    #[must_use]
    pub(crate) fn holds_packages(&self) -> bool {
        self.all_packages || !self.urls.is_empty()
    }

    /// Whether what is stored of the URL never goes. What pkgcache works out of it and keeps under
    /// it with a `#` goes with it; of the answers that were kept for records, those that a build
    /// was given.
    #[must_use]
    pub(crate) fn url(&self, url: &str) -> bool {
        if self.all_packages {
            return true;
        }
        if let Some(digest) = PackageKey::given_in(url)
            && !self.given.contains(&digest)
        {
            return false;
        }
        let own = url.split_once('#').map_or(url, |(own, _)| own);
        self.urls.contains(own)
    }

    /// Whether the package never goes.
    #[must_use]
    pub(crate) fn package(&self, package: View<'_>) -> bool {
        self.url(package.url())
    }
}

/// The pins that hold an image `now`, in words: of its key, of a pattern, of an image whose rebuild
/// needs it.
///
/// # Errors
/// As [`Holds::read`].
pub(crate) fn pins_of(images: &Images, image: &Image, now: Timestamp) -> Result<Vec<String>> {
    let pins = images.all_pins()?;
    let mut found: Vec<_> =
        pins.unread.iter().map(|name| format!("the file `{name}`, which cannot be read")).collect();
    let holding = |pin: &&Pin| pin.holds_at(now);
    found.extend(pins.keys.get(&image.key).filter(holding).map(|pin| format!("its key{}", ends(pin))));
    for (text, pin) in pins.patterns.iter().filter(|(_, pin)| pin.holds_at(now)) {
        let one = Pins { patterns: [(text.clone(), *pin)].into(), ..Pins::default() };
        if Patterns::of(&one, now, false).hold(names(image)) {
            found.push(format!("the pattern `{text}`{}", ends(pin)));
        }
    }
    if found.is_empty() && Holds::read(images, now)?.image(image) {
        let why = if image.unknown {
            "a pin that may mean it, which cannot be told of a damaged image"
        } else {
            "a pin with `--closure`, whose rebuild needs it"
        };
        found.push(why.to_owned());
    }
    Ok(found)
}

/// The patterns of pins that hold the image under a key `now`.
///
/// # Errors
/// Pins that cannot be read; I/O errors.
pub(crate) fn patterns_on(images: &Images, key: &Key, now: Timestamp) -> Result<Vec<String>> {
    let names = match images.look_at(key)? {
        Some(Standing::Sound(listed)) => names_of(key, &listed.entry),
        _ => vec![key.to_string()],
    };
    let mut found = Vec::new();
    for (text, pin) in images.all_pins()?.patterns {
        let one = Pins { patterns: [(text.clone(), pin)].into(), ..Pins::default() };
        found.extend(Patterns::of(&one, now, false).hold(names.iter()).then_some(text));
    }
    Ok(found)
}

/// All by which patterns know the image of an entry.
pub(crate) fn names_of(key: &Key, entry: &Entry) -> Vec<String> {
    let own = entry.origin.image.iter().map(Remark::as_str);
    all_names(own, &entry.names, key).map(Cow::into_owned).collect()
}

fn ends(pin: &Pin) -> String {
    pin.until.map_or_else(String::new, |until| format!(", until {until}"))
}

/// All by which patterns know an image.
fn names(image: &Image) -> impl Iterator<Item = Cow<'_, str>> {
    all_names(image.origin.image.iter().map(Remark::as_str), &image.names, &image.key)
}

/// Its own name, all spellings of those that a load restores, its key.
fn all_names<'a>(
    own: impl Iterator<Item = &'a str>,
    names: &'a [String],
    key: &'a Key,
) -> impl Iterator<Item = Cow<'a, str>> {
    let names = names.iter().flat_map(|name| spellings(name));
    own.map(Cow::Borrowed).chain(names).chain([Cow::Borrowed(key.as_str())])
}

/// What is kept beside an entry; `None` where that cannot be read, so that it may name anything.
fn beside(read: storekit::Result<Option<Vec<u8>>>) -> Result<Option<Vec<u8>>> {
    match read {
        Err(error) if error.is_unreadable() => Ok(None),
        read => Ok(Some(read?.unwrap_or_default())),
    }
}

/// The patterns of pins that hold.
#[derive(Clone, Debug, Default)]
struct Patterns {
    all: Vec<GlobMatcher>,
    /// Whether there is one that cannot be read, which a hand or another version has written. It
    /// may mean any image, so it holds every one.
    holds_all: bool,
}

impl Patterns {
    /// Those that hold `now`; of `closed` ones, those that hold what a rebuild needs.
    fn of(pins: &Pins, now: Timestamp, closed: bool) -> Self {
        let mut patterns = Self { all: Vec::new(), holds_all: !pins.unread.is_empty() };
        for (text, _) in pins.patterns.iter().filter(|(_, pin)| pin.holds_at(now) && (pin.closure || !closed))
        {
            match pattern(text) {
                Ok(glob) => patterns.all.push(glob.compile_matcher()),
                Err(_) => patterns.holds_all = true,
            }
        }
        patterns
    }

    fn is_empty(&self) -> bool {
        self.all.is_empty() && !self.holds_all
    }

    fn hold(&self, mut names: impl Iterator<Item = impl AsRef<str>>) -> bool {
        self.holds_all || names.any(|name| self.all.iter().any(|pattern| pattern.is_match(name.as_ref())))
    }
}

fn is_like(patterns: &Patterns, key: &Key, entry: &Entry) -> bool {
    let own = entry.origin.image.iter().map(Remark::as_str);
    patterns.hold(all_names(own, &entry.names, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_the_images_that_a_build_stands_on() {
        let digest = Digest::of(b"x");
        let mut holds = Holds::default();
        let text =
            format!("hashctx 3\nbase app\\x20x larder:abc\nbase debian:12 {digest}\ninput larder:no\n");
        holds.add_bases(text.as_bytes());
        assert_eq!(holds.keys, ["abc".parse().unwrap()].into());
        assert_eq!(holds.digests, [digest].into());
        let names: Vec<_> = bases(text.as_bytes()).into_iter().map(|base| base.name).collect();
        assert_eq!(names, ["app x", "debian:12"]);
    }

    #[test]
    fn what_may_be_meant_is_held() {
        let key: Key = "k".parse().unwrap();
        let descriptor = storekit::Descriptor::new("application/json", Digest::of(b"y"), 1);
        let mut entry = Entry::new(descriptor, Timestamp::UNIX_EPOCH);
        entry.names = vec!["app:1".to_owned()];
        let mut holds = Holds::default();
        assert!(!holds.damaged(&key, None) && !holds.damaged(&key, Some(&entry)));
        let glob = |text: &str| pattern(text).unwrap().compile_matcher();
        holds.patterns.all.push(glob("other*"));
        assert!(holds.damaged(&key, None) && !holds.damaged(&key, Some(&entry)));
        holds.patterns.all.push(glob("app*"));
        assert!(holds.damaged(&key, Some(&entry)));
        let holds = Holds { digests: [Digest::of(b"x")].into(), ..Holds::default() };
        assert!(holds.damaged(&key, None) && holds.damaged(&key, Some(&entry)));
    }

    #[test]
    fn a_record_names_what_a_build_fetched() {
        let mut holds = Holds::default();
        holds.add_fetched(b"{\"version\":1}\n{\"url\":\"https://a.example/x\",\"bytes\":1}\nnonsense\n");
        assert!(holds.url("https://a.example/x") && holds.url("https://a.example/x#head"));
        assert!(!holds.url("https://a.example/y") && !holds.url("https://a.example/x?y"));
        assert!(holds.holds_packages());
        let kept = PackageKey::new("apt", "a", "https://a.example/x", None);
        let (given, other) = (Digest::of(b"1"), Digest::of(b"2"));
        let record = format!("{{}}\n{{\"url\":\"https://a.example/x\",\"digest\":\"{given}\"}}\n");
        holds.add_fetched(record.as_bytes());
        assert!(holds.url(&kept.given(&given).url) && !holds.url(&kept.given(&other).url));
    }
}
