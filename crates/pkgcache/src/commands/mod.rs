//! `ls`, `info`, `verify`, `rm` and `refresh`: what is stored, for people and for programs.

mod change;
mod selection;
mod verify;
mod why;

use std::io::Write;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::Serialize;
use storekit::error::At;
use storekit::{ByteSize, Checksum, Digest, FoundPackage, Level, PackageEntry, StoredResponse, printable};
use toolkit::{Outcome, output};

use crate::cache;
use crate::error::{Error, Result, explained};
use crate::response::stored_head::Answer;

pub use change::{refresh, rm};
pub use selection::{By, Selection};
use selection::{Sum, Sums};
pub(crate) use verify::has_checksum;
pub use verify::verify;
pub use why::why;

/// Where a command writes, and in which form.
pub struct Console<'a> {
    /// Data.
    pub out: &'a mut dyn Write,
    /// Messages.
    pub err: &'a mut dyn Write,
    /// One JSON object a line.
    pub json: bool,
    /// No messages but errors.
    pub quiet: bool,
    /// The responses of each URL, too.
    pub verbose: bool,
}

/// What `ls` and `info` print of a stored URL.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row<'a> {
    url: &'a str,
    ecosystem: &'a str,
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    architecture: Option<&'a str>,
    size: u64,
    used: Timestamp,
    responses: Vec<Detail<'a>>,
}

/// What `info` prints of a stored response.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Detail<'a> {
    status: u16,
    digest: Digest,
    size: u64,
    level: Level,
    #[serde(skip_serializing_if = "Option::is_none")]
    announced: Option<Checksum>,
    received: Timestamp,
    /// Seconds for which it is fresh still, by what it says itself; negative where it is stale.
    ttl: Option<i64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    vary: &'a [String],
    headers: &'a [(String, String)],
}

impl<'a> Row<'a> {
    fn new(entry: &'a PackageEntry, used: SystemTime) -> Self {
        Self {
            url: &entry.key.url,
            ecosystem: &entry.key.ecosystem,
            source: &entry.key.source,
            name: entry.name.as_deref(),
            version: entry.package_version.as_deref(),
            architecture: entry.architecture.as_deref(),
            size: entry.responses.iter().map(|it| it.size).sum(),
            used: Timestamp::try_from(used).unwrap_or(Timestamp::UNIX_EPOCH),
            responses: entry.responses.iter().map(Detail::new).collect(),
        }
    }

    fn print(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let used = self.used.strftime("%Y-%m-%d %H:%M");
        writeln!(out, "{:>8}  {used}  {}", ByteSize(self.size), printable(self.url))
    }
}

impl<'a> Detail<'a> {
    fn new(stored: &'a StoredResponse) -> Self {
        let answer = Answer::from_stored(stored);
        Self {
            status: stored.status,
            digest: stored.digest,
            size: stored.size,
            level: stored.level,
            announced: stored.announced,
            received: stored.received,
            ttl: answer.map(|answer| answer.lifetime(false) - answer.age(cache::now())),
            vary: &stored.vary,
            headers: &stored.headers,
        }
    }

    fn print(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let freshness = match self.ttl {
            _ if self.level > Level::None => "does not change".to_owned(),
            Some(ttl) if ttl > 0 => format!("fresh for {ttl} s"),
            Some(ttl) => format!("stale for {} s", -ttl),
            None => "unreadable".to_owned(),
        };
        let (status, digest, size, level) =
            (self.status, self.digest, ByteSize(self.size), self.level.name());
        writeln!(out, "  {status} {digest} {size} {level}, {freshness}")?;
        let mut fields = self.headers.iter().map(|(name, value)| (printable(name), printable(value)));
        fields.try_for_each(|(name, value)| writeln!(out, "    {name}: {value}"))
    }
}

/// Lists the stored URLs that are meant, or sums over them. `No` where there are none, unless all
/// were asked for. The total is told on stderr.
///
/// # Errors
/// I/O errors. An entry that cannot be read is a warning.
pub fn ls(
    packages: &storekit::Packages,
    which: &Selection,
    by: Option<By>,
    console: &mut Console<'_>,
) -> Result<Outcome> {
    let (mut total, mut sums) = (Sum::default(), by.map(Sums::new));
    let verbose = console.verbose;
    let found = each(packages, which, console, &mut |entry, used, console| {
        // No request has a fragment: what has one is this program's own.
        if entry.key.url.contains('#') && !verbose {
            return Ok(());
        }
        total.add(entry);
        match &mut sums {
            Some(sums) => sums.add(entry),
            None if verbose => print(entry, used, console, details)?,
            None => print(entry, used, console, |row, out| row.print(out))?,
        }
        Ok(())
    })?;
    if let (true, Some(sums)) = (found, &sums) {
        print_sums(sums, console).map_err(Error::Output)?;
    }
    console.out.flush().map_err(Error::Output)?;
    match found {
        true => console.say(&total.words()),
        false if which.is_all() => console.say("nothing is stored yet"),
        false => console.say(&which.words()),
    }
    Ok(Outcome::from_bool(found || which.is_all()))
}

fn print_sums(sums: &Sums, console: &mut Console<'_>) -> std::io::Result<()> {
    if console.json {
        return sums.all().try_for_each(|sum| output::json_line(console.out, sum));
    }
    console.out.write_all(sums.table().as_bytes())
}

/// Shows all that is stored of a URL. `No` where nothing is.
///
/// # Errors
/// As [`ls`].
pub fn info(packages: &storekit::Packages, url: &str, console: &mut Console<'_>) -> Result<Outcome> {
    let which = Selection::of_url(url);
    let found =
        each(packages, &which, console, &mut |entry, used, console| print(entry, used, console, details))?;
    console.out.flush().map_err(Error::Output)?;
    if !found {
        console.say(&which.words());
    }
    Ok(Outcome::from_bool(found))
}

fn details(row: &Row<'_>, out: &mut dyn Write) -> std::io::Result<()> {
    row.print(out)?;
    row.responses.iter().try_for_each(|detail| detail.print(out))
}

fn print(
    entry: &PackageEntry,
    used: SystemTime,
    console: &mut Console<'_>,
    as_text: impl Fn(&Row<'_>, &mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    let row = Row::new(entry, used);
    let printed =
        if console.json { output::json_line(console.out, &row) } else { as_text(&row, console.out) };
    printed.map_err(Error::Output)
}

/// Hands on the entries that are meant, and tells whether there are any.
fn each(
    packages: &storekit::Packages,
    which: &Selection,
    console: &mut Console<'_>,
    then: &mut change::Each<'_>,
) -> Result<bool> {
    let mut any = false;
    packages.each(&mut |found: FoundPackage| {
        match found.entry {
            Ok(entry) if which.is_of(&entry) => {
                any = true;
                then(&entry, found.used, console)?;
            }
            Ok(_) => {}
            Err(error) => console.warn(&error.into()),
        }
        Ok::<_, Error>(())
    })?;
    Ok(any)
}

impl Console<'_> {
    fn say(&mut self, message: &str) {
        if !self.quiet {
            output::say_to(self.err, message);
        }
    }

    fn warn(&mut self, error: &Error) {
        if !self.quiet {
            output::warn_to(self.err, &explained(error));
        }
    }
}

/// Writes the entry, which stays as old as it was.
fn put_unused(packages: &storekit::Packages, entry: &PackageEntry, used: SystemTime) -> Result<()> {
    packages.put(entry, &[])?;
    let path = packages.path(&entry.key);
    match std::fs::File::options().append(true).open(&path) {
        Ok(file) => Ok(file.set_modified(used).at("stamp", &path)?),
        // Nothing was left in it.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(storekit::Error::io("stamp", path, error).into()),
    }
}
