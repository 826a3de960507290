//! `export` and `import`: stored objects in one file, to a store on another machine.

use std::collections::HashSet;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use miette::Result;
use pkgcache::Error;
use pkgcache::archive::{self, Carried, Export, Imported};
use pkgcache::commands::Console;
use serde::Serialize;
use storekit::{ByteSize, Given, Store, printable};
use toolkit::words::count;
use toolkit::{Outcome, output};

use crate::cli::beside::replay;
use crate::cli::options::Filter;

/// So many of what is missing are named.
const NAMED: usize = 20;

#[derive(Args)]
pub(crate) struct ExportArgs {
    /// The file to write: a tar that is packed with zstd
    #[arg(value_name = "FILE")]
    file: Utf8PathBuf,
    /// Only what this record names, as it was given
    #[arg(long, value_name = "RECORD", conflicts_with_all = ["ecosystem", "name", "source"])]
    record: Vec<Utf8PathBuf>,
    #[command(flatten)]
    filter: Filter,
    /// Leave out what this earlier export carried, or expects
    #[arg(long, value_name = "FILE")]
    since: Option<Utf8PathBuf>,
    /// Take what belongs to an account, too: the digest of its credentials goes with it
    #[arg(long)]
    private: bool,
}

#[derive(Args)]
pub(crate) struct ImportArgs {
    /// The file, as `export` wrote it
    #[arg(value_name = "FILE")]
    file: Utf8PathBuf,
}

/// What `--json` tells of an export.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ExportRow<'a> {
    file: &'a Utf8Path,
    objects: u64,
    bodies: u64,
    bytes: u64,
    expected: u64,
    left_out: u64,
    size: u64,
}

/// The same of an import.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ImportRow<'a> {
    file: &'a Utf8Path,
    objects: u64,
    written: u64,
    bytes: u64,
    present: u64,
    missing: u64,
    missing_urls: &'a [String],
}

/// Writes the archive. `No` where nothing is stored that was meant, or not all of a record.
///
/// # Errors
/// Records and archives that cannot be read; damaged bodies; I/O errors.
pub(crate) fn export(
    args: &ExportArgs,
    store: &Store,
    folder: &Utf8Path,
    console: &mut Console<'_>,
) -> Result<Outcome> {
    let since = args.since.as_ref().map(|path| archive::named_in(&folder.join(path))).transpose()?;
    let mut export = Export::new(store.packages(), since.unwrap_or_else(HashSet::new), args.private)?;
    let mut missing = Vec::new();
    if args.record.is_empty() {
        let which = args.filter.selection();
        if export.add_selection(&which)? == 0 && !which.is_all() {
            output::say(&which.words());
            return Ok(Outcome::No);
        }
    } else {
        let records = args.record.iter().map(|path| replay::read(&folder.join(path)));
        missing = export.add_records(&records.collect::<Result<Vec<_>>>()?)?;
    }
    let carried = export.write(&folder.join(&args.file))?;
    if console.json {
        let Carried { objects, bodies, bytes, expected, left_out, size } = carried;
        let row = ExportRow { file: &args.file, objects, bodies, bytes, expected, left_out, size };
        output::json_line(&mut *console.out, &row).map_err(Error::Output)?;
    } else if !console.quiet {
        writeln!(console.out, "{}", exported(&carried)).map_err(Error::Output)?;
    }
    console.out.flush().map_err(Error::Output)?;
    if carried.left_out > 0 && !console.quiet {
        let objects = count(carried.left_out, "object");
        output::say(&format!(
            "pkgcache: {objects} left out that belong to an account (`--private` takes them)"
        ));
    }
    tell_missing(&missing);
    Ok(Outcome::from_bool(missing.is_empty()))
}

fn exported(carried: &Carried) -> String {
    let (objects, bodies) = (count(carried.objects, "object"), count(carried.bodies, "body"));
    let expected = match carried.expected {
        0 => String::new(),
        number => format!(", and {} that an earlier export carried", count(number, "body")),
    };
    format!(
        "{objects}, {bodies} with {}{expected}: {} written",
        ByteSize(carried.bytes),
        ByteSize(carried.size)
    )
}

fn tell_missing(missing: &[(Given, &'static str)]) {
    if missing.is_empty() {
        return;
    }
    output::say(&format!("pkgcache: {} of the record not exported:", count(missing.len() as u64, "object")));
    for (given, why) in missing.iter().take(NAMED) {
        output::say(&format!("pkgcache:   {}: {why}", printable(&given.url)));
    }
    if missing.len() > NAMED {
        output::say(&format!("pkgcache:   and {} more", missing.len() - NAMED));
    }
}

/// Reads the archive. `No` where it expects what an earlier one carried, and that is not here.
///
/// # Errors
/// Archives that are damaged or of a later version; a disk without room; I/O errors.
pub(crate) fn import(
    args: &ImportArgs,
    store: &Store,
    folder: &Utf8Path,
    console: &mut Console<'_>,
) -> Result<Outcome> {
    let imported = archive::import(store, &folder.join(&args.file))?;
    if console.json {
        let Imported { objects, bodies: written, bytes, present, missing, named } = &imported;
        let (objects, written, bytes) = (*objects, *written, *bytes);
        let (present, missing, missing_urls) = (*present, *missing, named.as_slice());
        let row = ImportRow { file: &args.file, objects, written, bytes, present, missing, missing_urls };
        output::json_line(&mut *console.out, &row).map_err(Error::Output)?;
    } else if !console.quiet {
        let (objects, bodies) = (count(imported.objects, "object"), count(imported.bodies, "body"));
        let (bytes, present) = (ByteSize(imported.bytes), imported.present);
        writeln!(console.out, "{objects}: {bodies} with {bytes} written, {present} there already")
            .map_err(Error::Output)?;
    }
    console.out.flush().map_err(Error::Output)?;
    if imported.missing > 0 {
        let number = count(imported.missing, "body");
        output::say(&format!(
            "pkgcache: {number} missing that an earlier export carried; import that one, and then this one again:"
        ));
        for url in imported.named.iter().take(NAMED) {
            output::say(&format!("pkgcache:   {}", printable(url)));
        }
        if let Some(more) = imported.missing.checked_sub(NAMED as u64).filter(|more| *more > 0) {
            output::say(&format!("pkgcache:   and {more} more"));
        }
    }
    Ok(Outcome::from_bool(imported.missing == 0))
}
