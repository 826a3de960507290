//! The versions of a packument, and its tags.

use std::collections::{BTreeSet, HashMap};

use http::Uri;
use semver::Version;

use super::names::Name;
use super::packument;
use crate::ecosystem::BadIndex;
use crate::ecosystem::json::{Editor, Fate, Path, Value};
use crate::ecosystem::releases::{Hidden, Releases};
use crate::ecosystem::table::Standing;

/// No packument has more tags.
const MOST_TAGS: usize = 10_000;

/// Reads them.
pub(super) struct Reader {
    name: Name,
    pub(super) found: Releases,
    times: HashMap<String, u32>,
}

impl Reader {
    /// # Errors
    /// [`BadIndex`], if the URL is not a packument's.
    pub(super) fn new(url: &Uri) -> Result<Self, BadIndex> {
        Ok(Self { name: packument::name(url)?, found: Releases::default(), times: HashMap::new() })
    }
}

impl Editor for Reader {
    fn fate(&mut self, path: &Path) -> Fate {
        if path.is(&["dist-tags", "*"]) { Fate::Seen } else { packument::fate_with_times(path) }
    }

    fn see(&mut self, path: &Path, value: Value<'_>) -> Result<Option<String>, BadIndex> {
        packument::check(path, value, &self.name)?;
        match (path.depth(), path.name(0), value) {
            (2, "versions", _) => self.found.add(path.last(), Standing::default())?,
            (2, "time", _) => {
                self.times.extend(packument::time(value).map(|time| (path.last().to_owned(), time)));
            }
            (2, "dist-tags", Value::Text(_)) if self.found.tags.len() == MOST_TAGS => {
                return Err(BadIndex::TooLarge("it has more than 10,000 tags"));
            }
            (2, "dist-tags", Value::Text(version)) => {
                self.found.tags.push((path.last().to_owned(), version.to_owned()));
            }
            _ => {}
        }
        Ok(None)
    }

    fn end(&mut self, path: &Path) -> Result<Option<String>, BadIndex> {
        if path.depth() == 0 {
            for release in &mut self.found.all {
                release.standing.published = self.times.get(&release.version).copied();
            }
        }
        Ok(None)
    }
}

/// What clients are not to see of a packument.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cut {
    hidden: Hidden,
    /// What `latest` names instead of a version that is hidden.
    latest: Option<String>,
    /// The tags that would name a version that is hidden.
    lost: BTreeSet<String>,
}

impl Cut {
    /// With a `latest` that can be seen: the newest version before the one that it named, and no
    /// prerelease unless that was one. Other tags of versions that are hidden go.
    #[must_use]
    pub(crate) fn new(releases: &Releases, hidden: Hidden) -> Self {
        let mut cut = Self { hidden, ..Self::default() };
        for (tag, version) in releases.tags.iter().filter(|(_, version)| cut.hidden.has(version)) {
            if tag == "latest" {
                cut.latest = before(releases, &cut.hidden, version);
            }
            if tag != "latest" || cut.latest.is_none() {
                cut.lost.insert(tag.clone());
            }
        }
        cut
    }

    /// What tells it from others.
    #[must_use]
    pub(crate) fn salt(&self) -> String {
        self.hidden.salt()
    }

    /// Whether the value is left out.
    #[must_use]
    pub(super) fn drops(&self, path: &Path) -> bool {
        path.depth() == 2
            && match path.name(0) {
                "versions" | "time" => self.hidden.has(path.last()),
                "dist-tags" => self.lost.contains(path.last()),
                _ => false,
            }
    }

    /// What `latest` names now, where that is another version.
    #[must_use]
    pub(super) fn latest(&self) -> Option<&str> {
        self.latest.as_deref()
    }
}

/// The newest version that is seen before this one.
fn before(releases: &Releases, hidden: &Hidden, named: &str) -> Option<String> {
    let named = Version::parse(named).ok();
    let fits = |version: &Version| match &named {
        Some(named) => version < named && (version.pre.is_empty() || !named.pre.is_empty()),
        None => version.pre.is_empty(),
    };
    let seen = releases.all.iter().filter(|release| !hidden.has(&release.version));
    let versions =
        seen.filter_map(|release| Some((Version::parse(&release.version).ok()?, &release.version)));
    versions.filter(|(version, _)| fits(version)).max().map(|(_, version)| version.clone())
}
