//! Descriptions of repositories and lists of their files: read for the commit, and written anew
//! with links that stay on the mount and without a word of Xet.

use std::io::{Read, Write};

use http::Uri;

use super::is_commit;
use crate::ecosystem::BadIndex;
use crate::ecosystem::base::Base;
use crate::ecosystem::json::{self, Editor, Fate, Path, Value, quoted};
use crate::rules::invalidate::resolve;

/// By these a client finds that a file, or a repository, may be had by Xet.
const XET: [&str; 2] = ["xetHash", "xetEnabled"];
/// The relation of a link that leads to a token for it.
const XET_LINK: &str = "xet-auth";

/// The commit that a description is of.
///
/// # Errors
/// [`BadIndex`], if it does not say one.
pub(crate) fn commit(document: &mut dyn Read) -> Result<String, BadIndex> {
    #[derive(Default)]
    struct Commit(Option<String>);

    impl Editor for Commit {
        fn fate(&mut self, path: &Path) -> Fate {
            if path.is(&["sha"]) { Fate::Seen } else { Fate::Copied }
        }

        fn see(&mut self, _path: &Path, value: Value<'_>) -> Result<Option<String>, BadIndex> {
            if let Value::Text(text) = value {
                self.0 = Some(text.to_owned());
            }
            Ok(None)
        }
    }

    let mut found = Commit::default();
    json::edit(document, &mut found)?;
    let missing = || BadIndex::Malformed("it does not say of which commit it is (`sha`)".to_owned());
    found.0.filter(|sha| is_commit(sha)).ok_or_else(missing)
}

/// Writes a document for clients of the mount.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn render(document: &mut dyn Read, base: &Base, out: &mut dyn Write) -> Result<(), BadIndex> {
    json::edit(document, &mut Render { links: Links::of(base), out })
}

struct Render<'r> {
    links: Links,
    out: &'r mut dyn Write,
}

impl Editor for Render<'_> {
    fn fate(&mut self, path: &Path) -> Fate {
        if XET.contains(&path.last()) { Fate::Dropped } else { Fate::Seen }
    }

    fn see(&mut self, path: &Path, value: Value<'_>) -> Result<Option<String>, BadIndex> {
        if path.depth() == 0 && !matches!(value, Value::Object | Value::List) {
            return Err(BadIndex::Malformed("it is neither an object nor a list".to_owned()));
        }
        let Value::Text(text) = value else { return Ok(None) };
        Ok(self.links.here(text).map(|here| quoted(&here)))
    }

    fn copy(&mut self, bytes: &[u8]) -> Result<(), BadIndex> {
        Ok(self.out.write_all(bytes)?)
    }
}

/// Both sides of the mount.
struct Links {
    upstream: String,
    here: String,
}

impl Links {
    fn of(base: &Base) -> Self {
        let upstream = base.upstream.to_string().trim_end_matches('/').to_owned();
        Self { upstream, here: format!("{}{}", base.here, base.mount) }
    }

    /// A URL of the upstream's as it is here.
    fn here(&self, text: &str) -> Option<String> {
        let rest = text.strip_prefix(&self.upstream)?;
        (rest.is_empty() || rest.starts_with(['/', '?', '#'])).then(|| format!("{}{rest}", self.here))
    }
}

/// A `Link` field of the answer from `url` as clients of the mount get it: further pages are asked
/// for here. `None` where nothing is left of it.
#[must_use]
pub(crate) fn links(field: &str, url: &Uri, base: &Base) -> Option<String> {
    let links = Links::of(base);
    let mut written = Vec::new();
    let mut rest = field;
    while let Some((target, behind)) = rest.split_once('<').and_then(|(_, behind)| behind.split_once('>')) {
        // A comma and a `<` begin the next one.
        let end = behind.find('<').and_then(|next| behind.get(..next)?.rfind(',')).unwrap_or(behind.len());
        let (parameters, more) = behind.split_at_checked(end)?;
        let absolute = resolve(url, target)?.to_string();
        if !parameters.contains(XET_LINK) {
            let target = links.here(&absolute).unwrap_or(absolute);
            written.push(format!("<{target}>{}", parameters.trim_end()));
        }
        rest = more;
    }
    (!written.is_empty()).then(|| written.join(", "))
}
