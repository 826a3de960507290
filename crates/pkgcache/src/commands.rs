//! `ls`, `info` and `verify`: what is stored, for people and for programs.

use std::collections::HashMap;
use std::io::Write;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::Serialize;
use storekit::{ByteSize, Digest, FoundPackage, PackageEntry, StoredResponse};
use toolkit::Outcome;

use crate::answer::Answer;
use crate::cache;
use crate::error::{Error, Result};

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
}

/// A stored URL.
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

/// A stored response.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Detail<'a> {
    status: u16,
    digest: Digest,
    size: u64,
    received: Timestamp,
    /// Seconds for which it is fresh still; negative where it is stale.
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
        writeln!(out, "{:>8}  {used}  {}", ByteSize(self.size), self.url)
    }
}

impl<'a> Detail<'a> {
    fn new(stored: &'a StoredResponse) -> Self {
        let answer = Answer::from_stored(stored);
        Self {
            status: stored.status,
            digest: stored.digest,
            size: stored.size,
            received: stored.received,
            ttl: answer.map(|answer| answer.lifetime - answer.age(cache::now())),
            vary: &stored.vary,
            headers: &stored.headers,
        }
    }

    fn print(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let freshness = match self.ttl {
            Some(ttl) if ttl > 0 => format!("fresh for {ttl} s"),
            Some(ttl) => format!("stale for {} s", -ttl),
            None => "unreadable".to_owned(),
        };
        writeln!(out, "  {} {} {} {freshness}", self.status, self.digest, ByteSize(self.size))?;
        self.headers.iter().try_for_each(|(name, value)| writeln!(out, "    {name}: {value}"))
    }
}

fn json(out: &mut dyn Write, row: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, row)?;
    out.write_all(b"\n")
}

/// Lists the stored URLs that have `part` in them. `No` where there are none.
///
/// # Errors
/// I/O errors. An entry that cannot be read is a warning.
pub fn ls(packages: &storekit::Packages, part: &str, console: &mut Console<'_>) -> Result<Outcome> {
    show(packages, console, |entry| entry.key.url.contains(part), |row, out| row.print(out))
}

/// Shows all that is stored of a URL. `No` where nothing is.
///
/// # Errors
/// As [`ls`].
pub fn info(packages: &storekit::Packages, url: &str, console: &mut Console<'_>) -> Result<Outcome> {
    let details = |row: &Row<'_>, out: &mut dyn Write| {
        row.print(out)?;
        row.responses.iter().try_for_each(|detail| detail.print(out))
    };
    show(packages, console, |entry| entry.key.url == url, details)
}

fn show(
    packages: &storekit::Packages,
    console: &mut Console<'_>,
    wanted: impl Fn(&PackageEntry) -> bool,
    print: impl Fn(&Row<'_>, &mut dyn Write) -> std::io::Result<()>,
) -> Result<Outcome> {
    let mut any = false;
    packages.each(&mut |found: FoundPackage| {
        match found.entry {
            Ok(entry) if wanted(&entry) => {
                any = true;
                let row = Row::new(&entry, found.used);
                let printed = if console.json { json(console.out, &row) } else { print(&row, console.out) };
                printed.map_err(Error::Output)?;
            }
            Ok(_) => {}
            Err(error) => writeln!(console.err, "warning: {error}").map_err(Error::Output)?,
        }
        Ok::<_, Error>(())
    })?;
    console.out.flush().map_err(Error::Output)?;
    Ok(Outcome::from_bool(any))
}

/// What is wrong with a stored URL.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Fault {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    problem: String,
}

/// Reads every stored body through. What is damaged is named, and moved aside.
///
/// # Errors
/// [`Error::Damaged`], after all were read; I/O errors.
pub fn verify(packages: &storekit::Packages, console: &mut Console<'_>) -> Result<Outcome> {
    let blobs = packages.blobs();
    let mut known: HashMap<Digest, Option<String>> = HashMap::new();
    let (mut all, mut count) = (0, 0);
    packages.each(&mut |found: FoundPackage| {
        let faults = match found.entry {
            Err(error) => {
                all += 1;
                vec![Fault { url: found.path.to_string(), digest: None, problem: error.to_string() }]
            }
            Ok(entry) => {
                all += entry.responses.len() as u64;
                let responses = entry.responses.iter();
                responses.filter_map(|stored| fault(&mut known, &blobs, &entry.key.url, stored)).collect()
            }
        };
        count += faults.len() as u64;
        faults.iter().try_for_each(|fault| print_fault(fault, console)).map_err(Error::Output)
    })?;
    console.out.flush().map_err(Error::Output)?;
    if count > 0 {
        return Err(Error::Damaged { count, all });
    }
    if !console.quiet && !console.json {
        let (responses, bodies) = (counted(all, "response", "responses"), known.len() as u64);
        let bodies = counted(bodies, "body", "bodies");
        writeln!(console.out, "{responses}, {bodies}: all sound").map_err(Error::Output)?;
    }
    Ok(Outcome::Yes)
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn fault(
    known: &mut HashMap<Digest, Option<String>>,
    blobs: &storekit::Blobs,
    url: &str,
    stored: &StoredResponse,
) -> Option<Fault> {
    let digest = stored.digest;
    let problem =
        known.entry(digest).or_insert_with(|| blobs.verify(&digest).err().map(|error| error.to_string()));
    let problem = problem.clone().or_else(|| wrong_size(blobs, stored));
    problem.map(|problem| Fault { url: url.to_owned(), digest: Some(digest), problem })
}

fn wrong_size(blobs: &storekit::Blobs, stored: &StoredResponse) -> Option<String> {
    let size = std::fs::metadata(blobs.path(&stored.digest)).ok()?.len();
    let problem = || format!("the body has {size} bytes, and its entry says {}", stored.size);
    (size != stored.size).then(problem)
}

fn print_fault(fault: &Fault, console: &mut Console<'_>) -> std::io::Result<()> {
    if console.json {
        return json(console.out, fault);
    }
    writeln!(console.out, "{}: {}", fault.url, fault.problem)
}
