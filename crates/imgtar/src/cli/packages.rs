//! `imgtar info --packages`: what the builds of an image fetched.

use std::fmt::Write as _;
use std::io::{self, Write};

use imgtar::Error;
use miette::Result;
use storekit::{ByteSize, Digest, Fetched, Given, Key, Unread, printable};
use toolkit::words::count;
use toolkit::{Align, Outcome, Output, Table};

use crate::cli::run::{Invocation, out};

impl Invocation<'_> {
    pub(crate) fn packages(&self, key: &Key) -> Result<Outcome> {
        let Some(store) = self.open()? else { return Ok(self.miss(key)) };
        let Some(text) = store.images().fetched(key)? else {
            self.view.say(&format!("no record of what its build fetched was saved with `{key}`"));
            return Ok(Outcome::No);
        };
        let fetched = Fetched::parse(&text).map_err(|unread| {
            let (key, reason) = (key.clone(), unread.to_string());
            match unread {
                Unread::Newer(_) => Error::NewerRecord { key, reason },
                Unread::Bad(_) => Error::BadRecord { key, reason },
            }
        })?;
        if self.view.common.json {
            out(Output::listing().write_all(&text))?;
            return Ok(Outcome::Yes);
        }
        out(listed(&fetched))?;
        let number = (fetched.handed_out().count() as u64).saturating_add(fetched.left_out);
        let mut said = format!("{}, {}", count(number, "object"), ByteSize(fetched.bytes()));
        if fetched.left_out > 0 {
            let _ = write!(said, "; {} not listed", fetched.left_out);
        }
        let earlier = fetched.handed_out().filter(|object| object.earlier).count();
        if earlier > 0 {
            let _ = write!(said, "; {earlier} of an earlier build");
        }
        let absent = fetched.objects.values().filter(|object| object.status.is_some()).count();
        if absent > 0 {
            let were = if absent == 1 { "was" } else { "were" };
            let _ = write!(said, "; {absent} more {were} not there");
        }
        if !fetched.complete {
            said += "; steps from the engine's own cache may have fetched more";
        }
        self.view.say(&said);
        Ok(Outcome::Yes)
    }
}

/// As much of a digest as people compare; JSON has all of it.
fn short(digest: &Digest) -> String {
    digest.hex().chars().take(12).collect()
}

fn listed(fetched: &Fetched) -> io::Result<()> {
    let mut table = Table::new(&[
        ("ECOSYSTEM", Align::Left),
        ("NAME", Align::Left),
        ("VERSION", Align::Left),
        ("SIZE", Align::Right),
        ("VERIFIED", Align::Left),
        ("DIGEST", Align::Left),
        ("URL", Align::Left),
    ]);
    for Given { url, ecosystem, name, version, digest, level, bytes, .. } in fetched.handed_out() {
        let plain = |text: Option<&str>| printable(text.unwrap_or_default()).into_owned();
        table.row([
            plain(Some(ecosystem.as_str())),
            plain(name.as_deref()),
            plain(version.as_deref()),
            ByteSize(*bytes).to_string(),
            plain(level.as_deref()),
            plain(digest.as_ref().map(short).as_deref()),
            plain(Some(url.as_str())),
        ]);
    }
    Output::listing().write_all(table.text(false).as_bytes())
}
