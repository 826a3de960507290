//! What a packument says of its tarballs.

use http::Uri;
use storekit::Checksum;

use super::names::{Name, plain};
use super::packument::{self, Link};
use crate::ecosystem::BadIndex;
use crate::ecosystem::json::{Editor, Fate, Path, Value};
use crate::ecosystem::table::{TableBuilder, Voucher};

/// Adds what it reads to a table.
pub(super) struct Vouch<'t> {
    name: Name,
    table: &'t mut TableBuilder,
    named: bool,
    /// Of the version that is read.
    tarball: Option<Link>,
    integrity: Option<String>,
    shasum: Option<String>,
}

impl<'t> Vouch<'t> {
    /// # Errors
    /// [`BadIndex`], if the URL is not a packument's.
    pub(super) fn new(url: &Uri, table: &'t mut TableBuilder) -> Result<Self, BadIndex> {
        let name = packument::name(url)?;
        Ok(Self { name, table, named: false, tarball: None, integrity: None, shasum: None })
    }

    /// Adds the version that was read. Only what an `integrity` or a `shasum` says counts as its
    /// checksum.
    fn add(&mut self, version: &str) -> Result<(), BadIndex> {
        let (integrity, shasum) = (self.integrity.take(), self.shasum.take());
        let Some(Link { url, uri }) = self.tarball.take() else { return Ok(()) };
        let weak = || Checksum::from_hex("sha1", &shasum?);
        let checksum = integrity.and_then(|text| Checksum::from_integrity(&text)).or_else(weak);
        let voucher = Voucher { url: Some(url), checksum, size: None };
        let usual = self.name.tarball(version);
        let own = plain(uri.path());
        let own = own.trim_start_matches('/');
        let room = self.table.add(&usual, &voucher) && (own == usual || self.table.add(own, &voucher));
        if room { Ok(()) } else { Err(BadIndex::TooLarge("the packument has too many versions")) }
    }
}

impl Editor for Vouch<'_> {
    fn fate(&mut self, path: &Path) -> Fate {
        packument::fate(path)
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
        }
        Ok(None)
    }

    fn end(&mut self, path: &Path) -> Result<Option<String>, BadIndex> {
        if path.is(&["versions", "*"]) {
            self.add(path.last())?;
        } else if path.depth() == 0 {
            packument::finish(self.named)?;
        }
        Ok(None)
    }
}
