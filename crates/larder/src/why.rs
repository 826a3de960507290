//! Why an image is a hit, or is not: what is on record of it, and what changed since.

use std::io::{self, Write};

use camino::Utf8Path;
use jiff::Timestamp;
use miette::{Diagnostic, IntoDiagnostic, WrapErr};
use serde::Serialize;
use storekit::images::lookup::KeyOrName;
use storekit::store::Store;
use storekit::{ByteSize, Entry, Key};
use thiserror::Error;
use toolkit::Outcome;
use toolkit::words::{ago, count, took};

use crate::bake::{self, Options};
use crate::config::Project;
use crate::config::chosen::{chosen_disks, chosen_images};
use crate::config::image::Image;
use crate::process::runner::Runner;
use crate::process::tools::Tools;
use crate::report::changes::{Changes, Earlier, changes_since};
use crate::report::{Baked, State};

/// Why nothing can be told.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum WhyError {
    #[error("`{name}` is no image of larder.toml, and nothing is stored under it")]
    #[diagnostic(
        code(larder::why_unknown),
        help(
            "name an image of larder.toml, an image name such as `app:1.2`, or a key or its beginning; `imgtar ls` lists what is stored"
        )
    )]
    Unknown { name: String },

    #[error("there is no store to look into")]
    #[diagnostic(code(larder::why_no_store), help("name one with `--store DIR` or LARDER_DIR"))]
    NoStore,
}

/// What is on record of a stored image.
#[derive(Debug, Serialize)]
struct Record {
    key: String,
    saved: Timestamp,
    names: Vec<String>,
    image: Option<String>,
    host: Option<String>,
    commit: Option<String>,
    build_seconds: Option<f64>,
    /// What it takes in the store, in bytes.
    bytes: u64,
}

/// What is told of one image. With `--json` these are the object's fields.
#[derive(Serialize)]
struct Told<'a> {
    /// As `bake --check --json` has it; absent where the image is not one of the project's.
    baked: Option<&'a Baked>,
    /// What is stored under the key; or, of an image that is not, under the key that is nearest.
    record: Option<&'a Record>,
    /// What changed in the project since the image was stored that was asked for by its key.
    changes: Option<&'a Changes>,
}

/// Tells of the images of that name in larder.toml, else of what is stored under it.
///
/// `Yes` where all are hits, or something is stored; `No` where an image would be built.
///
/// # Errors
/// An image that is neither; what a check of the project ends with; a report that cannot be
/// written.
pub fn why(
    project: Option<&Project>,
    name: &str,
    options: &Options,
    (tools, runner): (&Tools, &Runner),
    out: &mut (impl Write + ?Sized),
) -> miette::Result<Outcome> {
    let names = [name.to_owned()];
    let is_ours = |project: &&Project| chosen_images(project, &names).is_ok();
    let options = Options { names: names.to_vec(), check: true, ..options.clone() };
    let outcome = match project.filter(is_ours) {
        Some(project) => of_project(project, &options, (tools, runner), out)?,
        None => of_store(project, name, &options, (tools, runner), out)?,
    };
    out.flush().into_diagnostic().wrap_err("cannot write the report")?;
    Ok(outcome)
}

fn of_project(
    project: &Project,
    options: &Options,
    (tools, runner): (&Tools, &Runner),
    out: &mut (impl Write + ?Sized),
) -> miette::Result<Outcome> {
    let asked = chosen_images(project, &options.names)?;
    let disks = chosen_disks(project, &options.names);
    let mut all = Vec::new();
    bake::each(project, options, tools, runner, |baked| {
        // Of several platforms, the index has the name without one.
        let is_asked = |image: &&Image| image.name == baked.image || image.plain == baked.image;
        if asked.iter().any(is_asked) || disks.iter().any(|disk| disk.name == baked.image) {
            all.push(baked.clone());
        }
    })?;
    let store = options.store.as_deref().and_then(|store| Store::open(store).ok());
    for baked in &all {
        let since = baked.changes.as_ref().map(|changes| changes.since.as_str());
        let key = if baked.state == State::Hit { baked.key.as_deref() } else { since };
        let record = store.as_ref().zip(key).and_then(|(store, key)| record(store, key));
        let told = Told { baked: Some(baked), record: record.as_ref(), changes: None };
        write(&told, options.json, out).into_diagnostic().wrap_err("cannot write the report")?;
    }
    if all.iter().any(|baked| baked.state == State::Failed) {
        return Ok(Outcome::Code(2));
    }
    Ok(Outcome::from_bool(all.iter().all(|baked| baked.state == State::Hit)))
}

fn of_store(
    project: Option<&Project>,
    name: &str,
    options: &Options,
    (tools, runner): (&Tools, &Runner),
    out: &mut (impl Write + ?Sized),
) -> miette::Result<Outcome> {
    let store = options.store.as_deref().ok_or(WhyError::NoStore)?;
    let unknown = || WhyError::Unknown { name: name.to_owned() };
    let wanted: KeyOrName = name.parse().map_err(|_| unknown())?;
    let store = Store::open(store).map_err(|_| unknown())?;
    let found = store.images().lookup(&wanted)?.ok_or_else(unknown)?;
    let record = record(&store, &found.key.to_string()).ok_or_else(unknown)?;
    let changes = project
        .map(|project| since_then(project, &store, &record, options, (tools, runner)))
        .transpose()?
        .flatten();
    let told = Told { baked: None, record: Some(&record), changes: changes.as_ref() };
    write(&told, options.json, out).into_diagnostic().wrap_err("cannot write the report")?;
    Ok(Outcome::Yes)
}

fn record(store: &Store, key: &str) -> Option<Record> {
    let key: Key = key.parse().ok()?;
    let (entry, reach) = store.images().find(&key).ok()??;
    let Entry { names, build_seconds, saved, origin, .. } = entry;
    let text = |remark: Option<storekit::images::origin::Remark>| remark.map(|remark| remark.to_string());
    Some(Record {
        key: key.to_string(),
        saved,
        names,
        image: text(origin.image),
        host: text(origin.host),
        commit: text(origin.commit),
        build_seconds,
        bytes: reach.present.values().sum(),
    })
}

/// What of the project's image is another than when this one was stored, where it is one of the
/// project's and that can be told.
fn since_then(
    project: &Project,
    store: &Store,
    record: &Record,
    options: &Options,
    (tools, runner): (&Tools, &Runner),
) -> miette::Result<Option<Changes>> {
    let is_meant = |name: &&str| chosen_images(project, &[(*name).to_owned()]).is_ok();
    let Some(name) = record.image.as_deref().filter(is_meant) else { return Ok(None) };
    let options = Options { names: vec![name.to_owned()], ..options.clone() };
    let mut now = None;
    bake::each(project, &options, tools, runner, |baked| {
        if baked.image == name {
            now = Some(baked.clone());
        }
    })?;
    let Some((now, key)) = now.and_then(|now| Some((now.clone(), now.key?))) else { return Ok(None) };
    if now.changes.as_ref().is_some_and(|changes| changes.since == record.key) {
        return Ok(now.changes);
    }
    let manifest = |key: &str| store.images().inputs(&key.parse().ok()?).ok()?;
    let (Some(then), Some(present)) = (manifest(&record.key), manifest(&key)) else { return Ok(None) };
    let temp = tempfile::tempdir().into_diagnostic()?;
    let Some(folder) = Utf8Path::from_path(temp.path()) else { return Ok(None) };
    let path = folder.join("now");
    let written = std::fs::File::create(&path).and_then(|mut file| file.write_all(&present));
    written.into_diagnostic()?;
    let then = Some(Earlier { key: record.key.clone(), manifest: then });
    Ok(changes_since(then, (&key, &path), folder, (tools, runner))?)
}

fn write(told: &Told<'_>, json: bool, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    if json {
        serde_json::to_writer(&mut *out, told)?;
        return writeln!(out);
    }
    if let Some(baked) = told.baked {
        let key = baked.key.as_deref().unwrap_or("without a key");
        writeln!(out, "{}: {} {key}", baked.image, baked.state)?;
        if !baked.platforms.is_empty() {
            writeln!(out, "  an index for {}", baked.platforms.join(", "))?;
        }
        let reason = baked.reason.as_deref().or(baked.error.as_deref());
        if let Some(reason) = reason {
            writeln!(out, "  {reason}")?;
        }
        for line in baked.changes.iter().flat_map(|changes| &changes.lines) {
            writeln!(out, "    {line}")?;
        }
        if let Some(record) = told.record.filter(|_| baked.state != State::Hit) {
            writeln!(out, "  compared with {}", record.key)?;
        }
    }
    if let Some(record) = told.record {
        if told.baked.is_none() {
            writeln!(out, "{}", record.key)?;
        }
        record_in_words(record, out)?;
    }
    if let Some(changes) = told.changes {
        writeln!(out, "  since then: {}", count(changes.lines.len(), "change"))?;
        changes.lines.iter().try_for_each(|line| writeln!(out, "    {line}"))?;
    }
    Ok(())
}

fn record_in_words(record: &Record, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let now = Timestamp::now();
    let by = record.image.as_ref().map(|image| format!(" as `{image}`")).unwrap_or_default();
    let host = record.host.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
    let commit = record.commit.as_ref().map(|commit| format!(", at commit {commit}")).unwrap_or_default();
    writeln!(out, "  made {}{by}{host}{commit}", ago(record.saved, now))?;
    if !record.names.is_empty() {
        writeln!(out, "  names: {}", record.names.join(" "))?;
    }
    if let Some(seconds) = record.build_seconds {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole seconds, never negative"
        )]
        writeln!(out, "  its build took {}, which a hit saves", took(seconds.ceil() as u64))?;
    }
    writeln!(out, "  takes {} in the store", ByteSize(record.bytes))
}
