//! What an index says of the files that it names: where each is, its checksum and its size.
//!
//! A table is one sorted run of bytes, some hundred for each file, so that the index of a whole
//! distribution takes a few megabytes and a look takes microseconds.

use std::collections::HashMap;
use std::fmt;

use http::Uri;
use storekit::{Checksum, Digest};

/// What an index says of a version beside its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// When it was published, in seconds since 1970.
    pub(crate) published: Option<u32>,
    /// Whether it was taken back: it is there for those alone that chose it before.
    pub(crate) withdrawn: bool,
}

/// What an index says of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Voucher {
    /// Where the upstream has it, where that is not where it was asked for.
    pub(crate) url: Option<String>,
    /// What its bytes hash to.
    pub(crate) checksum: Option<Checksum>,
    /// How many bytes it has.
    pub(crate) size: Option<u64>,
    /// What is said of it beside that.
    pub(crate) standing: Standing,
}

/// What a table says under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// This of the file.
    File(Voucher),
    /// Two different things, so that neither can be believed.
    Contradiction,
}

/// The bytes of a name's digest that are compared: 128 bits.
const NAME: usize = 16;
/// A table has no more files.
pub(crate) const MOST: usize = 4_000_000;

#[derive(Clone, Copy)]
struct Record {
    name: [u8; NAME],
    checksum: Option<Checksum>,
    size: Option<u64>,
    /// Where in `urls` the URL begins, and its length.
    url: Option<(u32, u32)>,
    contradicted: bool,
    standing: Standing,
}

/// Vouchers by the names that an index has for its files.
#[derive(Default)]
pub(crate) struct Table {
    records: Vec<Record>,
    urls: String,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table of {}", self.records.len())
    }
}

/// A table that is being made. Where a name is given twice with two checksums, neither counts.
#[derive(Debug, Default)]
pub(crate) struct TableBuilder(Table);

/// The beginning of the digest of a file's name.
pub(crate) fn name_of(text: &str) -> [u8; NAME] {
    let mut name = [0; NAME];
    let digest = Digest::of(text.as_bytes());
    name.iter_mut().zip(digest.bytes()).for_each(|(to, from)| *to = *from);
    name
}

impl TableBuilder {
    /// Adds a file. Returns whether there is room for another.
    pub(crate) fn add(&mut self, name: &str, voucher: &Voucher) -> bool {
        let table = &mut self.0;
        let place = |url: &String| {
            let place = (u32::try_from(table.urls.len()).ok()?, u32::try_from(url.len()).ok()?);
            table.urls.push_str(url);
            Some(place)
        };
        let url = voucher.url.as_ref().and_then(place);
        let Voucher { checksum, size, standing, .. } = *voucher;
        let record = Record { name: name_of(name), checksum, size, url, contradicted: false, standing };
        table.records.push(record);
        table.records.len() < MOST
    }

    /// Says of files that were added when they were published, by the beginnings of the digests of
    /// their names.
    pub(crate) fn publish(&mut self, dates: &HashMap<[u8; NAME], u32>) {
        for record in &mut self.0.records {
            record.standing.published = dates.get(&record.name).copied().or(record.standing.published);
        }
    }

    /// Where the index dates some files, the others are older than its dates.
    pub(crate) fn publish_the_rest(&mut self) {
        if self.0.records.iter().any(|record| record.standing.published.is_some()) {
            for record in &mut self.0.records {
                record.standing.published.get_or_insert(0);
            }
        }
    }

    /// The table.
    #[must_use]
    pub(crate) fn finish(self) -> Table {
        let mut table = self.0;
        table.records.sort_by_key(|record| record.name);
        table.records.dedup_by(|next, first| {
            let same_name = next.name == first.name;
            first.contradicted |= same_name && next.checksum != first.checksum;
            same_name
        });
        table.records.shrink_to_fit();
        table.urls.shrink_to_fit();
        table
    }
}

impl Table {
    /// What the index says of the file of this name.
    #[must_use]
    pub(crate) fn get(&self, name: &str) -> Option<Said> {
        let name = name_of(name);
        let at = self.records.binary_search_by_key(&name, |record| record.name).ok()?;
        let record = self.records.get(at)?;
        if record.contradicted {
            return Some(Said::Contradiction);
        }
        let url = record.url.and_then(|(from, length)| {
            let from = usize::try_from(from).ok()?;
            self.urls.get(from..from.checked_add(usize::try_from(length).ok()?)?).map(str::to_owned)
        });
        let Record { checksum, size, standing, .. } = *record;
        Some(Said::File(Voucher { url, checksum, size, standing }))
    }

    /// How many files it names.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// The bytes that it takes in memory.
    #[must_use]
    pub(crate) fn weight(&self) -> usize {
        self.records.len() * size_of::<Record>() + self.urls.len()
    }
}

/// The URL as text, if it is one of the kinds that are fetched here.
#[must_use]
pub(crate) fn fetchable(url: &str) -> Option<Uri> {
    let uri: Uri = url.parse().ok()?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    let plain = uri.authority().is_some_and(|it| !it.as_str().contains('@'));
    (known && plain && uri.host().is_some_and(|host| !host.is_empty())).then_some(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voucher(byte: u8) -> Voucher {
        Voucher {
            url: Some(format!("http://a/{byte}")),
            checksum: Some(Checksum::Sha256([byte; 32])),
            size: Some(1),
            standing: Standing { published: Some(u32::from(byte)), withdrawn: byte == 3 },
        }
    }

    #[test]
    fn a_file_is_found_by_its_name() {
        let mut builder = TableBuilder::default();
        for byte in 0..200 {
            builder.add(&byte.to_string(), &voucher(byte));
        }
        let table = builder.finish();
        assert_eq!(table.get("77"), Some(Said::File(voucher(77))));
        assert_eq!(table.get("200"), None);
        assert!(table.len() == 200 && table.weight() > 0);
    }

    #[test]
    fn one_name_with_two_checksums_is_not_vouched_for() {
        let mut builder = TableBuilder::default();
        builder.add("a", &voucher(1));
        builder.add("b", &voucher(3));
        builder.add("a", &voucher(2));
        builder.add("b", &voucher(3));
        let table = builder.finish();
        assert_eq!(table.get("a"), Some(Said::Contradiction));
        assert_eq!(table.get("b"), Some(Said::File(voucher(3))));
    }

    #[test]
    fn only_plain_web_addresses_are_fetched() {
        assert!(fetchable("https://a.example/x").is_some());
        for wrong in ["file:///etc/passwd", "ftp://a/x", "/x", "https://u:p@a/x", "//a/x", "javascript:x", ""]
        {
            assert!(fetchable(wrong).is_none(), "{wrong}");
        }
    }
}
