//! What a packument says of its tarballs.

use std::collections::HashMap;

use http::Uri;
use storekit::Checksum;

use super::names::{Name, plain};
use super::packument::{self, Link};
use crate::ecosystem::BadIndex;
use crate::ecosystem::json::{Editor, Fate, Path, Value};
use crate::ecosystem::table::{TableBuilder, Voucher, name_of};

/// Adds what it reads to a table.
pub(super) struct Vouch<'t> {
    name: Name,
    table: &'t mut TableBuilder,
    named: bool,
    /// Of the version that is read.
    tarball: Option<Link>,
    integrity: Option<String>,
    shasum: Option<String>,
    /// When versions were published, and the names of their tarballs that are not the usual ones.
    times: HashMap<String, u32>,
    unusual: Vec<(String, String)>,
    versions: Vec<String>,
}

impl<'t> Vouch<'t> {
    /// # Errors
    /// [`BadIndex`], if the URL is not a packument's.
    pub(super) fn new(url: &Uri, table: &'t mut TableBuilder) -> Result<Self, BadIndex> {
        let name = packument::name(url)?;
        let (times, unusual, versions) = (HashMap::new(), Vec::new(), Vec::new());
        let (tarball, integrity, shasum) = (None, None, None);
        Ok(Self { name, table, named: false, tarball, integrity, shasum, times, unusual, versions })
    }

    /// Adds the version that was read. Only what an `integrity` or a `shasum` says counts as its
    /// checksum.
    fn add(&mut self, version: &str) -> Result<(), BadIndex> {
        let (integrity, shasum) = (self.integrity.take(), self.shasum.take());
        let Some(Link { url, uri }) = self.tarball.take() else { return Ok(()) };
        let weak = || Checksum::from_hex("sha1", &shasum?);
        let checksum = integrity.and_then(|text| Checksum::from_integrity(&text)).or_else(weak);
        let voucher = Voucher { url: Some(url), checksum, ..Voucher::default() };
        let usual = self.name.tarball(version);
        let own = plain(uri.path());
        let own = own.trim_start_matches('/');
        let is_usual = own == usual;
        let room = self.table.add(&usual, &voucher) && (is_usual || self.table.add(own, &voucher));
        self.versions.push(version.to_owned());
        if !is_usual {
            self.unusual.push((version.to_owned(), own.to_owned()));
        }
        if room { Ok(()) } else { Err(BadIndex::TooLarge("the packument has too many versions")) }
    }

    /// Says of all versions when they were published.
    fn publish(&mut self) {
        let usual = self.versions.iter().map(|version| (version, self.name.tarball(version)));
        let unusual = self.unusual.iter().map(|(version, file)| (version, file.clone()));
        let files = usual.chain(unusual);
        let dates: HashMap<_, _> =
            files.filter_map(|(version, file)| Some((name_of(&file), *self.times.get(version)?))).collect();
        self.table.publish(&dates);
    }
}

impl Editor for Vouch<'_> {
    fn fate(&mut self, path: &Path) -> Fate {
        packument::fate_with_times(path)
    }

    fn see(&mut self, path: &Path, value: Value<'_>) -> Result<Option<String>, BadIndex> {
        if packument::check(path, value, &self.name)? {
            self.named = true;
        } else if path.is(&["versions", "*", "dist", "tarball"]) {
            self.tarball = packument::link(path, value)?;
        } else if path.is(&["versions", "*", "dist", "integrity"]) {
            self.integrity = packument::text(path, value)?.map(str::to_owned);
        } else if path.is(&["versions", "*", "dist", "shasum"]) {
            self.shasum = packument::text(path, value)?.map(str::to_owned);
        } else if path.is(&["time", "*"]) {
            self.times.extend(packument::time(value).map(|time| (path.last().to_owned(), time)));
        }
        Ok(None)
    }

    fn end(&mut self, path: &Path) -> Result<Option<String>, BadIndex> {
        if path.is(&["versions", "*"]) {
            self.add(path.last())?;
        } else if path.depth() == 0 {
            packument::finish(self.named)?;
            self.publish();
        }
        Ok(None)
    }
}
