//! `imgtar info --packages`: what the builds of an image fetched.

use std::fmt::Write as _;
use std::io::{self, Write};

use imgtar::Error;
use imgtar::image::fetched::{Fetched, Object, Unread};
use miette::Result;
use storekit::{ByteSize, Key, printable};
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
        let number = (fetched.objects.len() as u64).saturating_add(fetched.left_out);
        let mut said = format!("{}, {}", count(number, "object"), ByteSize(fetched.bytes()));
        if fetched.left_out > 0 {
            let _ = write!(said, "; {} not listed", fetched.left_out);
        }
        let earlier = fetched.objects().filter(|object| object.earlier).count();
        if earlier > 0 {
            let _ = write!(said, "; {earlier} of an earlier build");
        }
        if !fetched.complete {
            said += "; steps from the engine's own cache may have fetched more";
        }
        self.view.say(&said);
        Ok(Outcome::Yes)
    }
}

/// As much of a digest as people compare; JSON has all of it.
fn short(digest: &str) -> String {
    let hex = digest.rsplit(':').next().unwrap_or_default();
    hex.chars().take(12).collect()
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
    for Object { url, ecosystem, name, version, digest, level, bytes, .. } in fetched.objects() {
        let plain = |text: Option<String>| printable(&text.unwrap_or_default()).into_owned();
        table.row([
            plain(Some(ecosystem)),
            plain(name),
            plain(version),
            ByteSize(bytes).to_string(),
            plain(level),
            plain(digest.as_deref().map(short)),
            plain(Some(url)),
        ]);
    }
    Output::listing().write_all(table.text(false).as_bytes())
}
