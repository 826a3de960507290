//! What a page says, whichever form it has.

use http::Uri;
use storekit::Checksum;

use super::link::{self, Link};
use super::names;
use crate::ecosystem::BadIndex;
use crate::ecosystem::base::Base;
use crate::ecosystem::releases::seconds;
use crate::ecosystem::table::{Standing, TableBuilder, Voucher};

/// A text of a page is no longer.
const LONGEST: usize = 64 << 10;
/// A file has no more hashes, a page no more other places.
const MOST: usize = 64;

/// Hashes by their algorithms.
pub(super) type Hashes = Vec<(String, String)>;

/// A file that a page lists.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) link: Link,
    pub(super) hashes: Hashes,
    pub(super) size: Option<u64>,
    /// When it was uploaded, as the page has it.
    pub(super) uploaded: Option<String>,
    pub(super) requires_python: Option<String>,
    /// The reason, which may be empty.
    pub(super) yanked: Option<String>,
    /// That there is a file with its metadata, and its hashes.
    pub(super) core_metadata: Option<Hashes>,
    /// The same under its old name.
    pub(super) dist_info_metadata: Option<Hashes>,
    pub(super) gpg_sig: Option<bool>,
    pub(super) provenance: Option<String>,
}

/// What a page says beside its files.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    /// Of the interface; nothing for the first one.
    pub(super) version: Option<String>,
    pub(super) status: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) tracks: Vec<String>,
    pub(super) alternates: Vec<String>,
}

/// What takes the files of a page, one by one.
pub(super) type Each<'e> = dyn FnMut(Listed) -> Result<(), BadIndex> + 'e;

/// The project whose page is at a URL, normalized.
///
/// # Errors
/// [`BadIndex::Malformed`].
pub(super) fn project(page: &Uri) -> Result<String, BadIndex> {
    let name = page.path().trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let valid = names::is_valid(name).then(|| names::normalized(name));
    valid.ok_or_else(|| malformed("its address is not that of a project"))
}

impl Listed {
    /// Of this name and link, with nothing else known.
    ///
    /// # Errors
    /// [`BadIndex::Malformed`].
    pub(super) fn new(name: String, link: Link) -> Result<Self, BadIndex> {
        if !link::is_file_name(&name) {
            return Err(malformed(&format!("no file can have the name `{}`", storekit::printable(&name))));
        }
        Ok(Self {
            name,
            link,
            hashes: Hashes::new(),
            size: None,
            uploaded: None,
            requires_python: None,
            yanked: None,
            core_metadata: None,
            dist_info_metadata: None,
            gpg_sig: None,
            provenance: None,
        })
    }

    /// Where clients of the mount get it.
    #[must_use]
    pub(super) fn here(&self, project: &str, base: &Base) -> String {
        here(&self.link, project, base)
    }

    /// What the page says of it beside its bytes.
    #[must_use]
    pub(super) fn standing(&self) -> Standing {
        let published = self.uploaded.as_deref().and_then(seconds);
        Standing { published, withdrawn: self.yanked.is_some() }
    }

    /// Adds it to a table, with what lies beside it.
    ///
    /// # Errors
    /// [`BadIndex`].
    pub(super) fn vouch(&self, project: &str, table: &mut TableBuilder) -> Result<(), BadIndex> {
        let Some(entry) = self.link.entry(project) else { return Ok(()) };
        let voucher = Voucher {
            url: Some(self.link.url.clone()),
            checksum: checksum(&self.name, &self.hashes)?,
            size: self.size,
            standing: self.standing(),
        };
        let mut room = table.add(&entry, &voucher);
        if let Some(hashes) = self.core_metadata.as_ref().or(self.dist_info_metadata.as_ref()) {
            let (url, checksum) = (self.link.with_ending(".metadata"), checksum(&self.name, hashes)?);
            room &= table.add(
                &format!("{entry}.metadata"),
                &Voucher { url: Some(url), checksum, size: None, standing: self.standing() },
            );
        }
        if self.gpg_sig == Some(true) {
            let url = Some(self.link.with_ending(".asc"));
            room &= table.add(
                &format!("{entry}.asc"),
                &Voucher { url, standing: self.standing(), ..Voucher::default() },
            );
        }
        if room { Ok(()) } else { Err(BadIndex::TooLarge("the page lists too many files")) }
    }
}

/// Where clients of the mount get what is behind a link. What would not be known there as a file of
/// this project, they get where it is.
#[must_use]
pub(super) fn here(link: &Link, project: &str, base: &Base) -> String {
    link.written(project).map_or_else(|| link.url.clone(), |entry| format!("{}/files/{entry}", base.mount))
}

/// What a file has to hash to, if one of its hashes is any good.
fn checksum(name: &str, hashes: &Hashes) -> Result<Option<Checksum>, BadIndex> {
    for algorithm in ["sha256", "sha512", "sha1"] {
        if let Some((_, hex)) = hashes.iter().find(|(known, _)| known == algorithm) {
            let wrong =
                || malformed(&format!("the {algorithm} of `{}` is not one", storekit::printable(name)));
            return Checksum::from_hex(algorithm, hex).map(Some).ok_or_else(wrong);
        }
    }
    Ok(None)
}

impl Head {
    /// Takes the version of the interface. Returns the one that is told to clients.
    ///
    /// # Errors
    /// [`BadIndex::Malformed`], if it is not known here.
    pub(super) fn set_version(&mut self, text: &str) -> Result<&str, BadIndex> {
        let minor = text.strip_prefix("1.").filter(|it| (1..=4).contains(&it.len()));
        let minor = minor.and_then(|minor| minor.parse::<u16>().ok());
        let minor = minor.ok_or_else(|| {
            malformed(&format!(
                "its interface has version `{}`, and only 1 is known",
                storekit::printable(text)
            ))
        })?;
        Ok(self.version.insert(format!("1.{}", minor.min(4))))
    }

    /// Whether clients must not get the project's files.
    #[must_use]
    pub(super) fn is_quarantined(&self) -> bool {
        self.status.as_deref() == Some("quarantined")
    }

    /// Which pages this one follows: the upstream's own, unless that follows others.
    #[must_use]
    pub(super) fn tracks(&self, page: &Uri) -> Vec<String> {
        if self.tracks.is_empty() { vec![page.to_string()] } else { self.tracks.clone() }
    }
}

/// Adds to a short list.
///
/// # Errors
/// [`BadIndex::TooLarge`].
pub(super) fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), BadIndex> {
    if list.len() == MOST {
        return Err(BadIndex::TooLarge("the page has a list with too many entries"));
    }
    list.push(item);
    Ok(())
}

/// The text, if it is not too long.
///
/// # Errors
/// [`BadIndex::TooLarge`].
pub(super) fn short(text: &str) -> Result<&str, BadIndex> {
    if text.len() > LONGEST {
        return Err(BadIndex::TooLarge("the page has a text that is too long"));
    }
    Ok(text)
}

/// A page that cannot be used.
#[must_use]
pub(super) fn malformed(why: &str) -> BadIndex {
    BadIndex::Malformed(why.to_owned())
}
