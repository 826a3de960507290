//! What each flag does: from the command line to the library and back to the streams.

use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::os::unix::ffi::OsStrExt;

use camino::{Utf8Path, Utf8PathBuf};
use hashctx::context::check_ignore::CheckIgnore;
use hashctx::listing::files_from;
use hashctx::manifest::diff::diff;
use hashctx::path::printable;
use hashctx::{Config, HashError, Hashed, Manifest, Selection, Warning, manifest, report, tar};
use miette::{Diagnostic, IntoDiagnostic, WrapErr, miette};
use storekit::Store;
use storekit::files::replace::{Durability, replace};
use toolkit::output;
use toolkit::{Environment, Outcome, Output, Settings};

use crate::cli::Cli;

pub(crate) fn run(cli: &Cli) -> miette::Result<Outcome> {
    no_rest(cli)?;
    no_streams(cli)?;
    let output = &cli.output;
    match output.diff.as_slice() {
        [old, new] => return differences(&read_manifest(old)?, &read_manifest(new)?, cli),
        [old] => {
            let old = read_manifest(old)?;
            return differences(&old, &hash(cli)?.manifest, cli);
        }
        _ => {}
    }
    if let Some(paths) = &output.check_ignore {
        return check_ignore(cli, paths);
    }
    if output.tar {
        return write_tar(cli);
    }
    if output.images {
        return images(cli);
    }
    if let Some(file) = &output.pinned {
        return write_pinned(cli, file);
    }
    let hashed = hash(cli)?;
    if let Some(file) = &output.check {
        return check(file, &hashed);
    }
    if let Some(file) = &output.write {
        return write_key(file, &hashed);
    }
    print(&hashed, cli)?;
    // The process is about to end: to free a million paths one by one would only take time.
    std::mem::forget(hashed);
    Ok(Outcome::Yes)
}

/// Refuses what would follow `--` and has no meaning there.
fn no_rest(cli: &Cli) -> miette::Result<()> {
    match cli.rest.as_slice() {
        [] => Ok(()),
        [first, ..] => Err(miette!(
            help = "name one folder; PATHs stand after `--check-ignore`",
            "`{}` is one argument too many",
            printable(first.as_bytes())
        )),
    }
}

/// Refuses `-` where only a file makes sense.
fn no_streams(cli: &Cli) -> miette::Result<()> {
    let is_stream = |file: &Option<Utf8PathBuf>| file.as_ref().is_some_and(|file| file == "-");
    if is_stream(&cli.build.file) {
        return Err(miette!(
            help = "write the Dockerfile to a file, and name that with `-f`",
            "a Dockerfile is not read from stdin"
        ));
    }
    if is_stream(&cli.output.write) || is_stream(&cli.output.key_file) {
        return Err(miette!(
            help = "without the flag the key is printed; with `--tar`, name a file",
            "a key is not written to `-`"
        ));
    }
    Ok(())
}

fn hash(cli: &Cli) -> miette::Result<Hashed> {
    let hashed = hashctx::hash(&config(cli)?)?;
    warn(cli, &hashed);
    Ok(hashed)
}

fn config(cli: &Cli) -> miette::Result<Config> {
    let environment =
        Environment::of_process().into_diagnostic().wrap_err("cannot tell the working folder")?;
    let mut config = cli.config(&environment.variables);
    start_threads(config.threads)?;
    if let Some(file) = &cli.which.files_from {
        let end = if cli.output.null { b'\0' } else { b'\n' };
        let paths = files_from::parse(&read(file, NAMED)?, end)?;
        if paths.is_empty() && !cli.which.allow_empty {
            return Err(HashError::EmptyList { list: file.clone() }.into());
        }
        config.selection = Selection::Files(paths);
    }
    if !cli.run.no_stat_cache {
        config.cache = stat_cache(cli, environment);
    }
    Ok(config)
}

/// Where the stat cache is; `None` without a home folder, with settings that cannot be used, or
/// where the folder belongs to another user. The key is the same without it. A whole store is made:
/// the other tools refuse a folder that holds only a cache.
fn stat_cache(cli: &Cli, environment: Environment) -> Option<Utf8PathBuf> {
    let settings = Settings::load(environment);
    settings.warn_of_problems("hashctx", &cli.common);
    let store = settings.store_dir(cli.common.store.as_deref()).ok();
    store.filter(|dir| Store::open_or_create(dir).is_ok()).map(|dir| dir.join("contexts"))
}

/// This thread is one of those that work, where it would else wait for them.
fn start_threads(threads: usize) -> Result<(), HashError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).use_current_thread();
    pool.build_global().map_err(|source| HashError::Threads { threads, source })
}

fn print(hashed: &Hashed, cli: &Cli) -> Result<(), HashError> {
    let mut out = BufWriter::with_capacity(1 << 16, Output::listing());
    let (manifest, output) = (&hashed.manifest, &cli.output);
    let printed = match (output.manifest, output.list, cli.common.json) {
        (true, _, true) => report::manifest_json(manifest, &mut out),
        (true, _, false) => manifest.write(&mut out),
        (_, true, true) => report::list_json(manifest, &mut out),
        (_, true, false) => report::list(manifest, output.null, &mut out),
        (.., true) => report::key_json(hashed, &mut out),
        _ => writeln!(out, "{}", manifest.key()),
    };
    printed.and_then(|()| out.flush()).map_err(HashError::Write)
}

/// Neither a store nor a stat cache is looked for: one file is read.
fn images(cli: &Cli) -> miette::Result<Outcome> {
    let variables =
        Environment::of_process().into_diagnostic().wrap_err("cannot tell the working folder")?.variables;
    let images = hashctx::images(&cli.config(&variables))?;
    let mut out = BufWriter::new(Output::listing());
    let print = if cli.common.json { report::images_json } else { report::images };
    print(&images, &mut out).and_then(|()| out.flush()).map_err(HashError::Write)?;
    Ok(Outcome::Yes)
}

/// Writes the Dockerfile with digests, and its ignore file.
fn write_pinned(cli: &Cli, file: &Utf8Path) -> miette::Result<Outcome> {
    let variables =
        Environment::of_process().into_diagnostic().wrap_err("cannot tell the working folder")?.variables;
    let Some(pinned) = hashctx::pinned(&cli.config(&variables))? else { return Ok(Outcome::Yes) };
    if let Some((suffix, bytes)) = &pinned.ignore {
        replace(Utf8Path::new(&format!("{file}{suffix}")), bytes, Durability::Unsynced)?;
    }
    replace(file, &pinned.dockerfile, Durability::Unsynced)?;
    Ok(Outcome::Yes)
}

fn differences(old: &Manifest, new: &Manifest, cli: &Cli) -> miette::Result<Outcome> {
    let differences = diff(old, new);
    let mut out = BufWriter::new(Output::report());
    let printed = differences.iter().try_for_each(|difference| {
        if cli.common.json {
            return report::difference_json(difference, &mut out);
        }
        writeln!(out, "{difference}")
    });
    printed.and_then(|()| out.flush()).map_err(HashError::Write)?;
    Ok(Outcome::from_bool(differences.is_empty()))
}

fn check_ignore(cli: &Cli, paths: &[OsString]) -> miette::Result<Outcome> {
    let config = config(cli)?;
    let checker = CheckIgnore::new(&config)?;
    let mut out = BufWriter::new(Output::report());
    let (mut any, mut warnings) = (false, Vec::new());
    for path in check_paths(paths, cli.output.null)? {
        let answer = checker.check(&path)?;
        any |= answer.is_out();
        let print = if cli.common.json { report::answer_json } else { report::answer };
        print(&path, &answer, &mut out).map_err(HashError::Write)?;
        warnings.extend(answer.warnings);
    }
    out.flush().map_err(HashError::Write)?;
    warn_of(cli, &warnings);
    Ok(Outcome::from_bool(any))
}

fn check_paths(paths: &[OsString], null: bool) -> Result<Vec<Vec<u8>>, HashError> {
    let from_stdin = paths.len() <= 1 && paths.iter().all(|path| path == "-");
    if !from_stdin {
        return Ok(paths.iter().map(|path| path.as_bytes().to_owned()).collect());
    }
    let end = if null { b'\0' } else { b'\n' };
    let list = read(Utf8Path::new("-"), NAMED)?;
    Ok(list.split(|&byte| byte == end).filter(|path| !path.is_empty()).map(<[u8]>::to_owned).collect())
}

fn write_tar(cli: &Cli) -> miette::Result<Outcome> {
    if io::stdout().is_terminal() {
        return Err(miette!(
            help = "send it to an engine: `hashctx --tar | docker build -`",
            "a tar is not written to a terminal"
        ));
    }
    let mtime = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => {
            text.parse().map_err(|_| miette!("SOURCE_DATE_EPOCH is `{text}`, not a number of seconds"))?
        }
        Err(_) => tar::DEFAULT_MTIME,
    };
    // The key of a tar that is not read to its end is written all the same.
    let out = if cli.output.key_file.is_some() { Output::report() } else { Output::listing() };
    let hashed = tar::tar(&config(cli)?, mtime, BufWriter::with_capacity(1 << 18, out))?;
    warn(cli, &hashed);
    match &cli.output.key_file {
        Some(file) => write_key(file, &hashed),
        None => Ok(Outcome::Yes),
    }
}

fn write_key(file: &Utf8Path, hashed: &Hashed) -> miette::Result<Outcome> {
    replace(file, format!("{}\n", hashed.manifest.key()).as_bytes(), Durability::Synced)?;
    Ok(Outcome::Yes)
}

fn check(file: &Utf8Path, hashed: &Hashed) -> miette::Result<Outcome> {
    let kept = read(file, "write it first, with `--write`")?;
    Ok(Outcome::from_bool(kept.trim_ascii() == hashed.manifest.key().to_string().as_bytes()))
}

fn read_manifest(file: &Utf8Path) -> miette::Result<Manifest> {
    let text =
        String::from_utf8_lossy(&read(file, "save one first: `hashctx --manifest > FILE`")?).into_owned();
    Ok(manifest::parse(file.as_str(), &text)?)
}

/// What to do where a list of paths cannot be read.
const NAMED: &str = "name a file that can be read, or `-` for stdin";

/// The whole file; `-` is stdin.
fn read(file: &Utf8Path, help: &'static str) -> Result<Vec<u8>, HashError> {
    let mut bytes = Vec::new();
    let bytes = match file.as_str() {
        "-" => io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes),
        path => std::fs::read(path),
    };
    bytes.map_err(HashError::named(file, help))
}

/// How many warnings of one kind are printed without `-v`.
const SOME: usize = 5;

fn warn(cli: &Cli, hashed: &Hashed) {
    warn_of(cli, &hashed.warnings);
    if cli.common.verbose {
        say(&format!("{} inputs", hashed.manifest.entries.len()));
    }
}

/// Those of one kind stand together.
fn warn_of(cli: &Cli, mut rest: &[Warning]) {
    if cli.common.quiet {
        return;
    }
    while let Some(first) = rest.first() {
        let alike = rest.iter().take_while(|warning| same_kind(warning, first)).count();
        let (these, others) = rest.split_at_checked(alike).unwrap_or((rest, &[]));
        let shown = if cli.common.verbose { alike } else { SOME };
        these.iter().take(shown).for_each(|warning| say(&described(warning)));
        if alike > shown {
            say(&format!("warning: {} more like this: see them with `-v`", alike - shown));
        }
        rest = others;
    }
}

fn same_kind(one: &Warning, other: &Warning) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

fn described(warning: &Warning) -> String {
    let help = warning.help().map(|help| format!(" ({help})")).unwrap_or_default();
    format!("warning: {warning}{help}")
}

fn say(line: &str) {
    output::say(&format!("hashctx: {line}"));
}
