//! Why an image is a hit, or is not: what is on record of it, and what changed since.

mod record;

use std::io::{self, Write};

use camino::Utf8Path;
use miette::{Diagnostic, IntoDiagnostic, WrapErr};
use serde::Serialize;
use storekit::images::lookup::KeyOrName;
use storekit::store::Store;
use thiserror::Error;
use toolkit::Outcome;
use toolkit::words::count;

use self::record::{Record, named};
use crate::bake::{self, Against, Options};
use crate::config::Project;
use crate::config::chosen::{chosen_disks, chosen_images};
use crate::config::image::Image;
use crate::process::runner::{RunError, Runner};
use crate::process::tools::Tools;
use crate::report::changes::{Changes, Earlier, changes_since};
use crate::report::{Baked, State};
use crate::repository::{Kin, Repository};
use crate::tier::Tiers;

/// Why nothing can be told.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum WhyError {
    #[error("`{name}` is no image or disk of larder.toml, and nothing is stored under it")]
    #[diagnostic(
        code(larder::why_unknown),
        help(
            "name an image of larder.toml, an image name such as `app:1.2`, or a key or its beginning; `imgtar ls` lists what is stored"
        )
    )]
    Unknown { name: String },

    #[error("several keys in the tier `{tier}` begin with `{name}`")]
    #[diagnostic(code(larder::why_ambiguous))]
    Ambiguous {
        name: String,
        tier: String,
        #[help]
        keys: String,
    },

    #[error("there is no store to look into")]
    #[diagnostic(code(larder::why_no_store), help("name one with `--store DIR` or LARDER_DIR"))]
    NoStore,
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

/// Where stored images are looked for.
struct Places<'a> {
    store: Option<Store>,
    tiers: Tiers<'a>,
}

/// Tells of the images of that name in larder.toml, else of what is stored under it, in this
/// machine's store or in the tiers that are read.
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
    let options = Options { names: names.to_vec(), check: true, thorough: true, ..options.clone() };
    let places = Places {
        store: options.store.as_deref().and_then(|store| Store::open(store).ok()),
        tiers: Tiers::new(&options.route, tools, runner, options.store_flag.as_deref()),
    };
    let outcome = match project.filter(is_ours) {
        Some(project) => of_project(project, &options, &places, (tools, runner), out)?,
        None => of_store(project, name, &options, &places, (tools, runner), out)?,
    };
    out.flush().into_diagnostic().wrap_err("cannot write the report")?;
    Ok(outcome)
}

impl Places<'_> {
    /// What is on record of the key, in the tier of that name, else in this machine's store.
    fn record(&self, key: &str, tier: Option<&str>) -> Result<Option<Record>, RunError> {
        if let Some(record) = self.store.as_ref().and_then(|store| Record::stored(store, key)) {
            return Ok(Some(record));
        }
        let is_meant = |at: &&usize| Some(self.tiers.name(**at)) == tier;
        let Some(at) = self.tiers.read().iter().find(is_meant) else { return Ok(None) };
        let noted = self.tiers.noted(*at)?;
        Ok(noted.iter().find(|one| one.key == key).map(|one| Record::noted(one, self.tiers.name(*at))))
    }

    /// What is stored under the name, the key or the beginning of a key.
    fn find(&self, name: &str) -> miette::Result<Option<Record>> {
        let Ok(wanted) = name.parse::<KeyOrName>() else { return Ok(None) };
        if let Some(store) = &self.store
            && let Some(found) = store.images().lookup(&wanted)?
        {
            return Ok(Record::stored(store, &found.key.to_string()));
        }
        for at in self.tiers.read() {
            let tier = self.tiers.name(*at);
            match named(&self.tiers.noted(*at)?, name).as_slice() {
                [] => {}
                [one] => return Ok(Some(Record::noted(one, tier))),
                several => {
                    let keys: Vec<_> = several.iter().take(10).map(|one| one.key.as_str()).collect();
                    let (name, tier, keys) = (name.to_owned(), tier.to_owned(), keys.join(" "));
                    return Err(WhyError::Ambiguous { name, tier, keys }.into());
                }
            }
        }
        Ok(None)
    }

    /// The inputs of a stored image.
    fn inputs(&self, record: &Record) -> Result<Option<Vec<u8>>, RunError> {
        let Some(tier) = &record.tier else { return Ok(self.stored_inputs(&record.key)) };
        let Some(at) = self.tiers.read().iter().find(|at| self.tiers.name(**at) == tier) else {
            return Ok(None);
        };
        self.tiers.inputs(*at, &record.key)
    }

    fn stored_inputs(&self, key: &str) -> Option<Vec<u8>> {
        self.store.as_ref()?.images().inputs(&key.parse().ok()?).ok()?
    }
}

fn of_project(
    project: &Project,
    options: &Options,
    places: &Places<'_>,
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
    for baked in &all {
        let since = baked.changes.as_ref().map(|changes| (changes.since.as_str(), changes.tier.as_deref()));
        let own = baked.key.as_deref().map(|key| (key, baked.tier.as_deref()));
        let meant = if baked.state == State::Hit { own } else { since };
        let record = meant.map(|(key, tier)| places.record(key, tier)).transpose()?.flatten();
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
    places: &Places<'_>,
    (tools, runner): (&Tools, &Runner),
    out: &mut (impl Write + ?Sized),
) -> miette::Result<Outcome> {
    if options.store.is_none() {
        return Err(WhyError::NoStore.into());
    }
    let record = places.find(name)?.ok_or_else(|| WhyError::Unknown { name: name.to_owned() })?;
    let changes = project
        .map(|project| since_then(project, places, &record, options, (tools, runner)))
        .transpose()?
        .flatten();
    let told = Told { baked: None, record: Some(&record), changes: changes.as_ref() };
    write(&told, options.json, out).into_diagnostic().wrap_err("cannot write the report")?;
    Ok(Outcome::Yes)
}

/// What of the project's image is another than when this one was stored, where it is one of the
/// project's and that can be told.
fn since_then(
    project: &Project,
    places: &Places<'_>,
    record: &Record,
    options: &Options,
    (tools, runner): (&Tools, &Runner),
) -> miette::Result<Option<Changes>> {
    let is_meant = |name: &&str| chosen_images(project, &[(*name).to_owned()]).is_ok();
    let Some(name) = record.image.as_deref().filter(is_meant) else { return Ok(None) };
    if Repository::new(runner).kin(&[&record.origin]) == [Kin::Foreign] {
        return Ok(None);
    }
    let Some(then) = places.inputs(record)? else { return Ok(None) };
    let against = Against { key: record.key.clone(), manifest: then.clone(), tier: record.tier.clone() };
    let options = Options { names: vec![name.to_owned()], against: Some(against), ..options.clone() };
    let mut now = None;
    bake::each(project, &options, tools, runner, |baked| {
        if baked.image == name {
            now = Some(baked.clone());
        }
    })?;
    let Some((now, key)) = now.and_then(|now| Some((now.clone(), now.key?))) else { return Ok(None) };
    if now.changes.is_some() {
        return Ok(now.changes);
    }
    // A hit is not explained.
    let Some(present) = places.stored_inputs(&key) else { return Ok(None) };
    let temp = tempfile::tempdir().into_diagnostic()?;
    let Some(folder) = Utf8Path::from_path(temp.path()) else { return Ok(None) };
    let path = folder.join("now");
    let written = std::fs::File::create(&path).and_then(|mut file| file.write_all(&present));
    written.into_diagnostic()?;
    let then = Earlier { key: record.key.clone(), manifest: then, tier: record.tier.clone() };
    Ok(changes_since(Some(then), (&key, &path), folder, (tools, runner))?)
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
            let place = record.tier.as_ref().map(|tier| format!(" in the tier `{tier}`")).unwrap_or_default();
            writeln!(out, "  compared with {}{place}", record.key)?;
        }
    }
    if let Some(record) = told.record {
        if told.baked.is_none() {
            writeln!(out, "{}", record.key)?;
        }
        record.write(out)?;
    }
    if let Some(changes) = told.changes {
        writeln!(out, "  since then: {}", count(changes.lines.len(), "change"))?;
        changes.lines.iter().try_for_each(|line| writeln!(out, "    {line}"))?;
    }
    Ok(())
}
