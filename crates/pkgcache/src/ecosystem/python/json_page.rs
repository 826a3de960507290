//! A page as JSON: read, and written anew.
//!
//! Source: PEP 691, 700, 708, 714, 740, 792.

use std::io::Write;

use http::Uri;

use super::link::{self, Link};
use super::listed::{Each, Hashes, Head, Listed, here, malformed, project, push, short};
use super::names::normalized;
use super::spool::Spool;
use crate::ecosystem::BadIndex;
use crate::ecosystem::base::Base;
use crate::ecosystem::json::{Editor, Fate, Path, Value, quoted};
use crate::ecosystem::releases::Hidden;

/// Parts of a page that are texts or lists of them.
const OF_PAGE: [&str; 5] = ["name", "meta", "files", "project-status", "alternate-locations"];
/// Parts of a file that are looked at.
const OF_FILE: [&str; 12] = [
    "filename",
    "url",
    "hashes",
    "size",
    "upload-time",
    "requires-python",
    "yanked",
    "core-metadata",
    "dist-info-metadata",
    "data-dist-info-metadata",
    "gpg-sig",
    "provenance",
];

/// A page of which some files are hidden lists no more versions.
const MOST_VERSIONS: usize = 50_000;

/// Reads a page.
pub(super) struct Reading<'r> {
    page: &'r Uri,
    project: String,
    each: &'r mut Each<'r>,
    pub(super) head: Head,
    lists: bool,
    file: Partial,
}

/// The file that is read.
#[derive(Default)]
struct Partial {
    name: Option<String>,
    link: Option<Link>,
    hashes: Hashes,
    size: Option<u64>,
    uploaded: Option<String>,
    requires_python: Option<String>,
    yanked: Option<String>,
    core_metadata: Option<Hashes>,
    dist_info_metadata: Option<Hashes>,
    gpg_sig: Option<bool>,
    provenance: Option<String>,
}

impl<'r> Reading<'r> {
    /// # Errors
    /// [`BadIndex`], if the URL is not that of a page.
    pub(super) fn new(page: &'r Uri, each: &'r mut Each<'r>) -> Result<Self, BadIndex> {
        let (head, file) = (Head::default(), Partial::default());
        Ok(Self { page, project: project(page)?, each, head, lists: false, file })
    }

    /// A part of the page itself.
    fn of_page(&mut self, path: &Path, value: Value<'_>) -> Result<(), BadIndex> {
        match (path.last(), value) {
            ("name", Value::Text(name)) if normalized(name) == self.project => {}
            ("name", _) => return Err(malformed(&format!("it is not that of `{}`", self.project))),
            ("files", Value::List) => self.lists = true,
            ("project-status", Value::Text(status)) => self.head.status = Some(short(status)?.to_owned()),
            ("" | "meta" | "project-status", Value::Object)
            | ("project-status" | "alternate-locations", Value::Null)
            | ("alternate-locations", Value::List) => {}
            _ => return Err(wrong(path)),
        }
        Ok(())
    }

    /// A part of `meta`, of the status or of the other places.
    fn of_head(&mut self, path: &Path, value: Value<'_>) -> Result<(), BadIndex> {
        let head = &mut self.head;
        match (path.name(0), path.name(1), value) {
            ("meta", "api-version", Value::Text(version)) => _ = head.set_version(version)?,
            ("meta", "tracks", Value::Text(url)) if path.depth() == 3 => {
                push(&mut head.tracks, short(url)?.to_owned())?;
            }
            ("alternate-locations", _, Value::Text(url)) => {
                push(&mut head.alternates, short(url)?.to_owned())?;
            }
            ("project-status", "status", Value::Text(text)) => head.status = Some(short(text)?.to_owned()),
            ("project-status", "reason", Value::Text(text)) => head.reason = Some(short(text)?.to_owned()),
            ("meta", "tracks", Value::List | Value::Null)
            | ("project-status", "reason", Value::Null)
            | ("files", _, Value::Object) => {}
            _ => return Err(wrong(path)),
        }
        Ok(())
    }

    /// A part of a file.
    fn of_file(&mut self, path: &Path, value: Value<'_>) -> Result<(), BadIndex> {
        let file = &mut self.file;
        let text = |text: &str| short(text).map(|text| Some(text.to_owned()));
        match (path.last(), value) {
            ("filename", Value::Text(name)) => file.name = text(name)?,
            ("url", Value::Text(url)) => file.link = Some(link::resolve(self.page, short(url)?)?),
            ("size", Value::Number(size)) => file.size = Some(size.parse().map_err(|_| wrong(path))?),
            ("upload-time", Value::Text(time)) => file.uploaded = text(time)?,
            ("requires-python", Value::Text(wanted)) => file.requires_python = text(wanted)?,
            ("yanked", Value::Text(reason)) => file.yanked = text(reason)?,
            ("yanked", Value::Bool(yanked)) => file.yanked = yanked.then(String::new),
            ("gpg-sig", Value::Bool(signed)) => file.gpg_sig = Some(signed),
            ("provenance", Value::Text(url)) => file.provenance = text(url)?,
            ("core-metadata", Value::Bool(true) | Value::Object) => file.core_metadata = Some(Hashes::new()),
            ("dist-info-metadata" | "data-dist-info-metadata", Value::Bool(true) | Value::Object) => {
                file.dist_info_metadata = Some(Hashes::new());
            }
            ("upload-time", _) | ("hashes", Value::Object) => {}
            (key, Value::Bool(false)) if key.ends_with("metadata") => {}
            (key, Value::Null) if !matches!(key, "filename" | "url") => {}
            _ => return Err(wrong(path)),
        }
        Ok(())
    }

    /// A hash of a file or of its metadata.
    fn hash(&mut self, path: &Path, value: Value<'_>) -> Result<(), BadIndex> {
        let Value::Text(hex) = value else { return Err(wrong(path)) };
        let hash = (short(path.last())?.to_owned(), short(hex)?.to_owned());
        match path.name(2) {
            "hashes" => push(&mut self.file.hashes, hash),
            "core-metadata" => push(self.file.core_metadata.get_or_insert_default(), hash),
            _ => push(self.file.dist_info_metadata.get_or_insert_default(), hash),
        }
    }

    /// Hands on the file that was read.
    fn hand_on(&mut self) -> Result<(), BadIndex> {
        let file = std::mem::take(&mut self.file);
        let (Some(name), Some(link)) = (file.name, file.link) else {
            return Err(malformed("it lists a file without a name or a URL"));
        };
        (self.each)(Listed {
            hashes: file.hashes,
            size: file.size,
            uploaded: file.uploaded,
            requires_python: file.requires_python,
            yanked: file.yanked,
            core_metadata: file.core_metadata,
            dist_info_metadata: file.dist_info_metadata,
            gpg_sig: file.gpg_sig,
            provenance: file.provenance,
            ..Listed::new(name, link)?
        })
    }
}

fn wrong(path: &Path) -> BadIndex {
    malformed(&format!("`{path}` is not what it should be"))
}

impl Editor for Reading<'_> {
    fn fate(&mut self, path: &Path) -> Fate {
        let last = path.last();
        let seen = match (path.depth(), path.name(0)) {
            (0, _) | (2, "alternate-locations" | "files") => true,
            (1, _) => OF_PAGE.contains(&last),
            (2, "meta") => matches!(last, "api-version" | "tracks"),
            (2, "project-status") => matches!(last, "status" | "reason"),
            (3, "meta") => path.name(1) == "tracks",
            (3, "files") => OF_FILE.contains(&last),
            (4, "files") => {
                matches!(path.name(2), "hashes" | "core-metadata")
                    || path.name(2).ends_with("dist-info-metadata")
            }
            _ => false,
        };
        if seen { Fate::Seen } else { Fate::Copied }
    }

    fn see(&mut self, path: &Path, value: Value<'_>) -> Result<Option<String>, BadIndex> {
        match (path.depth(), path.name(0)) {
            (0 | 1, _) => self.of_page(path, value)?,
            (3, "files") => self.of_file(path, value)?,
            (4, "files") => self.hash(path, value)?,
            _ => self.of_head(path, value)?,
        }
        Ok(None)
    }

    fn end(&mut self, path: &Path) -> Result<Option<String>, BadIndex> {
        if path.is(&["files", "*"]) {
            self.hand_on()?;
        } else if path.depth() == 0 {
            if self.head.version.is_none() {
                return Err(malformed("it does not say the version of its interface"));
            }
            if !self.lists {
                return Err(malformed("it has no list of files"));
            }
        }
        Ok(None)
    }
}

/// Writes a page anew, with all that it has.
pub(super) struct Rewriting<'r> {
    reading: Reading<'r>,
    base: &'r Base,
    hidden: &'r Hidden,
    /// The file that comes next, by its place.
    next: usize,
    /// The versions that are seen, where the page lists versions and some are not.
    versions: Option<Vec<String>>,
    out: &'r mut dyn Write,
    /// From the beginning of the list of files to before its end, and what is behind it.
    files: Option<Spool>,
    behind: Option<Spool>,
}

impl<'r> Rewriting<'r> {
    /// # Errors
    /// [`BadIndex`], if the URL is not that of a page.
    pub(super) fn new(
        page: &'r Uri,
        base: &'r Base,
        hidden: &'r Hidden,
        each: &'r mut Each<'r>,
        out: &'r mut dyn Write,
    ) -> Result<Self, BadIndex> {
        let reading = Reading::new(page, each)?;
        Ok(Self { reading, base, hidden, next: 0, versions: None, out, files: None, behind: None })
    }

    /// Keeps a version of the page's own list for the one that takes its place.
    fn keep_version(&mut self, value: Value<'_>) -> Result<(), BadIndex> {
        let (Value::Text(version), Some(versions)) = (value, &mut self.versions) else { return Ok(()) };
        if versions.len() == MOST_VERSIONS {
            return Err(BadIndex::TooLarge("the page lists too many versions"));
        }
        if !self.hidden.has(version) {
            versions.push(short(version)?.to_owned());
        }
        Ok(())
    }

    /// Writes what was kept until the project's status was known.
    ///
    /// # Errors
    /// [`BadIndex`].
    pub(super) fn finish(self) -> Result<(), BadIndex> {
        let (Some(files), Some(behind)) = (self.files, self.behind) else { return Ok(()) };
        if self.reading.head.is_quarantined() {
            self.out.write_all(b"[")?;
        } else {
            files.write(self.out)?;
        }
        behind.write(self.out)
    }
}

impl Editor for Rewriting<'_> {
    fn fate(&mut self, path: &Path) -> Fate {
        if path.is(&["files", "*"]) {
            self.next += 1;
            if self.hidden.has_place(self.next - 1) {
                return Fate::Dropped;
            }
        }
        if !self.hidden.is_empty() && path.is(&["versions"]) {
            self.versions = Some(Vec::new());
            return Fate::Dropped;
        }
        if !self.hidden.is_empty() && path.is(&["versions", "*"]) {
            return Fate::Seen;
        }
        self.reading.fate(path)
    }

    fn see(&mut self, path: &Path, value: Value<'_>) -> Result<Option<String>, BadIndex> {
        if path.is(&["versions", "*"]) {
            self.keep_version(value)?;
            return Ok(None);
        }
        self.reading.see(path, value)?;
        if path.is(&["files"]) {
            self.files = Some(Spool::new()?);
        } else if path.is(&["meta", "tracks"]) && value == Value::Null {
            let page = self.reading.page.to_string();
            self.reading.head.tracks.push(page.clone());
            return Ok(Some(format!("[{}]", quoted(&page))));
        } else if path.is(&["meta", "api-version"]) {
            return Ok(self.reading.head.version.as_deref().map(quoted));
        } else if path.is(&["files", "*", "url"])
            && let Some(link) = &self.reading.file.link
        {
            let mark = if link.fragment.is_empty() { "" } else { "#" };
            let here = here(link, &self.reading.project, self.base);
            return Ok(Some(quoted(&format!("{here}{mark}{}", link.fragment))));
        }
        Ok(None)
    }

    fn end(&mut self, path: &Path) -> Result<Option<String>, BadIndex> {
        self.reading.end(path)?;
        let page = self.reading.page.to_string();
        let untracked = self.reading.head.tracks.is_empty();
        if path.depth() == 0
            && let Some(versions) = self.versions.take()
        {
            return Ok(Some(format!(r#""versions":{}"#, serde_json::Value::from(versions))));
        }
        if path.is(&["files"]) {
            self.behind = Some(Spool::new()?);
        } else if path.is(&["meta", "tracks"]) && untracked {
            self.reading.head.tracks.push(page.clone());
            return Ok(Some(quoted(&page)));
        } else if path.is(&["meta"]) && untracked {
            return Ok(Some(format!(r#""tracks":[{}]"#, quoted(&page))));
        }
        Ok(None)
    }

    fn copy(&mut self, bytes: &[u8]) -> Result<(), BadIndex> {
        match (&mut self.behind, &mut self.files) {
            (Some(behind), _) => behind.put(bytes),
            (None, Some(files)) => files.put(bytes),
            (None, None) => Ok(self.out.write_all(bytes)?),
        }
    }
}
