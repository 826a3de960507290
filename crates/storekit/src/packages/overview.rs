//! A look at all that is stored, for a picture of it: what cannot be read is passed over.

use jiff::Timestamp;

use crate::digest::{Digest, DigestMap};
use crate::error::{Error, Result};
use crate::files::look::{self, Seen};
use crate::files::replace;
use crate::files::state::FileState;
use crate::packages::Packages;
use crate::packages::entry::{CAP, PackageEntry};
use crate::packages::index::{Index, Looked, Looking, Summary, Update};

/// Takes an entry, and when it was used.
type Take<'a> = dyn FnMut(&Summary<'_>, Timestamp) + 'a;

impl Packages {
    /// Hands on what is to be known of each entry, and when it was last used. Most is known by the
    /// index, which is brought up to date.
    ///
    /// # Errors
    /// I/O errors. An entry that cannot be read or understood is passed over.
    pub fn overview(&self, take: &mut Take<'_>) -> Result<()> {
        let index = self.index();
        let mut update = Update::new(self, &index);
        for source in replace::names(&self.entries())? {
            let path = self.entries().join(&source);
            if !path.is_dir() {
                continue;
            }
            for shard in replace::names(&path)? {
                let folder = format!("{source}/{shard}");
                if self.entries().join(&folder).is_dir() {
                    update.add(self.folder_overview(&folder, &index, take)?);
                }
            }
        }
        update.finish();
        Ok(())
    }

    fn folder_overview(&self, below: &str, index: &Index, take: &mut Take<'_>) -> Result<Looked> {
        let (folder, mut looking) = (self.entries().join(below), Looking::at(index, below));
        look::each(&folder, &mut |name, stat| {
            let stem = name.to_str().ok().and_then(|name| name.strip_suffix(".toml"));
            let digest = stem.and_then(Digest::from_hex).filter(|_| look::is_file(stat));
            let Some(digest) = digest else { return Ok(()) };
            let state = FileState::of(stat);
            let used = Timestamp::from_nanosecond(state.modified()).unwrap_or(Timestamp::MAX);
            if let Some(summary) = looking.known(&digest, &state) {
                take(&summary, used);
                return Ok(());
            }
            let path = folder.join(format!("{}.toml", digest.hex()));
            let Ok(Some(bytes)) = replace::read_capped(&path, CAP) else { return Ok(()) };
            let entry = PackageEntry::parse(&bytes, &path).ok();
            if let Some(entry) = entry.filter(|it| path.as_str().ends_with(&it.key.path())) {
                let summary = Summary::of(&entry);
                looking.read(&digest, &state, &summary);
                take(&summary, used);
            }
            Ok::<_, Error>(())
        })?;
        Ok(looking.done())
    }

    /// The bytes on disk of each body that is stored.
    ///
    /// # Errors
    /// I/O errors.
    pub fn body_sizes(&self) -> Result<DigestMap<u64>> {
        let mut sizes = DigestMap::default();
        look::each(self.blobs().folder(), &mut |name, stat| {
            if let Some(digest) = name.to_str().ok().and_then(Digest::from_hex) {
                sizes.insert(digest, Seen::of(stat).bytes);
            }
            Ok::<_, Error>(())
        })?;
        Ok(sizes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::tests::{body, entry, store};

    #[test]
    fn all_is_seen_once_and_what_is_foreign_is_passed_over() {
        let (_dir, store) = store();
        let packages = store.packages();
        for number in 0..3 {
            let lease = body(&packages, format!("body {number}").as_bytes());
            packages.put(&entry(&format!("http://a/{number}"), &lease), &[lease]).unwrap();
        }
        let folder = packages.path(&entry("http://a/0", &body(&packages, b"x")).key);
        let folder = folder.parent().unwrap();
        std::fs::write(folder.join("notes.toml"), "x").unwrap();
        std::fs::write(folder.join(format!("{}.toml", Digest::of(b"other").hex())), "version = 1").unwrap();
        std::fs::write(packages.entries().join("stray"), "").unwrap();
        let mut urls = Vec::new();
        packages.overview(&mut |summary, _| urls.push(summary.url.to_owned())).unwrap();
        urls.sort();
        assert_eq!(urls, ["http://a/0", "http://a/1", "http://a/2"]);
        let sizes = packages.body_sizes().unwrap();
        assert_eq!(sizes.len(), 4);
        assert!(sizes.values().all(|it| *it > 0));
    }
}
