//! A page as HTML: read. It is never changed in place: what clients get is written from what was
//! read.
//!
//! Source: PEP 503, 592, 629, 658, 708, 714, 740, 792.

use std::io::Read;

use http::Uri;

use super::link::{self, Link};
use super::listed::{Each, Hashes, Head, Listed, malformed, push, short};
use super::markup::{Markup, Tag};
use super::names;
use crate::ecosystem::BadIndex;

/// Algorithms whose names may stand behind the `#` of a link.
const ALGORITHMS: [&str; 6] = ["sha256", "sha512", "sha384", "sha224", "sha1", "md5"];

/// Reads a page. One without a file is a page where it says which version of the interface it has:
/// anything else may be what a proxy shows in its place, such as a form to log in.
///
/// # Errors
/// [`BadIndex`].
pub(super) fn read(page: &Uri, document: &mut dyn Read, each: &mut Each<'_>) -> Result<Head, BadIndex> {
    let mut markup = Markup::new(document);
    let mut head = Head::default();
    let (mut base, mut linked, mut tags, mut has_files) = (None, false, 0_u64, false);
    let mut each = |file: Listed| {
        has_files = true;
        each(file)
    };
    while let Some(tag) = markup.next()? {
        tags += 1;
        if !matches!(tag.name.as_str(), "a" | "base" | "meta") {
            continue;
        }
        if let Some(name) = tag.repeated() {
            return Err(malformed(&format!("a tag has the attribute `{}` twice", storekit::printable(name))));
        }
        match (tag.name.as_str(), tag.get("href")) {
            ("meta", _) => meta(&tag, &mut head)?,
            ("base", Some(_)) if linked => return Err(malformed("its `<base>` stands behind a link")),
            // Only the first one counts.
            ("base", Some(href)) if base.is_none() => base = Some(link::resolve(page, short(href)?)?.uri),
            ("a", Some(href)) => {
                linked = true;
                let link = link::resolve(base.as_ref().unwrap_or(page), short(href)?)?;
                anchor(&tag, link, &mut each)?;
            }
            _ => {}
        }
    }
    if tags == 0 {
        return Err(malformed("it is not HTML"));
    }
    if !has_files && head.version.is_none() {
        return Err(malformed("it names no file, and does not say that it is a page of an index"));
    }
    Ok(head)
}

fn meta(tag: &Tag, head: &mut Head) -> Result<(), BadIndex> {
    let Some(content) = tag.get("content").map(short).transpose()? else { return Ok(()) };
    match tag.get("name").unwrap_or_default() {
        "pypi:repository-version" => _ = head.set_version(content)?,
        "pypi:project-status" => head.status = Some(content.to_owned()),
        "pypi:project-status-reason" => head.reason = Some(content.to_owned()),
        "pypi:tracks" => push(&mut head.tracks, content.to_owned())?,
        "pypi:alternate-locations" => push(&mut head.alternates, content.to_owned())?,
        _ => {}
    }
    Ok(())
}

/// A link. One that is not called as a release would be is not a file of the page.
fn anchor(tag: &Tag, link: Link, each: &mut Each<'_>) -> Result<(), BadIndex> {
    let last = link.uri.path().rsplit('/').next().unwrap_or_default();
    let Some(name) = link.file_name() else {
        let what =
            format!("a link leads to `{}`, which is not the name of a file", storekit::printable(last));
        return if last.is_empty() { Ok(()) } else { Err(malformed(&what)) };
    };
    if !names::is_release(&name) {
        return Ok(());
    }
    let text = |name: &str| tag.get(name).map(|text| short(text).map(str::to_owned)).transpose();
    each(Listed {
        hashes: hashes(&link.fragment),
        requires_python: text("data-requires-python")?,
        yanked: text("data-yanked")?,
        core_metadata: tag.get("data-core-metadata").and_then(metadata),
        dist_info_metadata: tag.get("data-dist-info-metadata").and_then(metadata),
        gpg_sig: tag.get("data-gpg-sig").and_then(|value| value.parse().ok()),
        provenance: text("data-provenance")?,
        ..Listed::new(name, link)?
    })
}

/// The first known hash of a fragment such as `sha256=HEX&subdirectory=x`.
fn hashes(fragment: &str) -> Hashes {
    let known = fragment.split('&').filter_map(|part| part.split_once('='));
    let known = known.filter(|(name, _)| ALGORITHMS.contains(name));
    known.take(1).map(|(name, hex)| (name.to_owned(), hex.to_owned())).collect()
}

/// What an attribute says of a file's metadata: `true`, or a hash.
fn metadata(value: &str) -> Option<Hashes> {
    (value != "false").then(|| hashes(value))
}
