//! What each command does: opens the store, calls the library, prints.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;

use camino::{Utf8Path, Utf8PathBuf};
use imgtar::archive::export::{self, Options};
use imgtar::archive::import;
use imgtar::engine::load::{self, Wanted};
use imgtar::engine::save;
use imgtar::format::image_name;
use imgtar::image::Stored;
use imgtar::image::commit::Notes;
use imgtar::image::disk::Disk;
use imgtar::image::{show, verify};
use imgtar::pack::{self, Input};
use imgtar::source::Source;
use imgtar::{Error, repository};
use miette::{IntoDiagnostic, Result, WrapErr};
use storekit::files::output;
use storekit::files::replace::{Durability, Staged};
use storekit::images::lookup::By as FoundBy;
use storekit::{Fetched, Key, KeyOrName, Origin, Store};
use toolkit::{Common, Outcome, Output, Settings, Signals};

use crate::cli::bar::Bar;
use crate::cli::disk::{self, DiskExport, FileType};
use crate::cli::tier;
use crate::cli::view::View;
use crate::cli::{Args, By, Command, Compress, EngineArgs, NoteArgs, OriginArgs, PackArgs};

/// Whether a signal asks a save to end.
struct Halt<'a>(&'a Signals);

impl save::Halt for Halt<'_> {
    fn hold(&self) {
        self.0.hold();
    }

    fn release(&self) {
        self.0.release();
    }

    fn is_asked(&self) -> bool {
        self.0.is_asked()
    }
}

pub(crate) fn run(args: Args, signals: &Signals) -> Result<Outcome> {
    let common = args.common;
    let settings = Settings::of_process("imgtar", &common)?;
    let invocation = Invocation {
        root: settings.store_dir(common.store.as_deref())?,
        settings: &settings,
        view: View { common: &common },
        signals,
    };
    let saves = matches!(
        args.command,
        Command::Import { .. }
            | Command::Save { .. }
            | Command::Pull(_)
            | Command::Pack { .. }
            | Command::Index { .. }
    );
    let outcome = invocation.run(args.command, &common)?;
    if saves && let Some(warning) = repository::unfiltered(&invocation.root) {
        invocation.view.warn(&warning);
    }
    Ok(outcome)
}

/// A failure to write to stdout.
pub(crate) fn out(result: io::Result<()>) -> Result<()> {
    Ok(result.map_err(|source| Error::write("-", source))?)
}

/// One command with what it needs of the process.
pub(crate) struct Invocation<'a> {
    pub(crate) root: Utf8PathBuf,
    pub(crate) settings: &'a Settings,
    pub(crate) view: View<'a>,
    pub(crate) signals: &'a Signals,
}

impl Invocation<'_> {
    fn run(&self, command: Command, common: &Common) -> Result<Outcome> {
        match command {
            Command::Import { key, file, kind, notes } => self.import(&key, &file, kind, notes),
            Command::Export { key, file, compress, platform } => {
                let options = Options { platform, names: None };
                self.with_key(&key, |key| {
                    self.while_it_changes(key, || self.export(key, &file, compress, &options))
                })
            }
            Command::Save { key, image, notes, engine, by } => self.save(&key, &image, notes, &engine, by),
            Command::Load { key, tags, platform, engine } => {
                let names = tags.iter().map(|tag| image_name::complete(tag)).collect::<Result<_, _>>()?;
                let wanted = Wanted { names, platform };
                self.with_key(&key, |key| self.while_it_changes(key, || self.load(key, &wanted, &engine)))
            }
            Command::Index { key, parts, notes } => self.index(&key, &parts, notes),
            Command::Extract(args) => self.extract(&args),
            Command::Init(args) => self.init(args),
            Command::Has { keys, tier, registry, remote } => match &tier.tier {
                Some(place) => self.tier_has(&keys, place, &tier, &registry),
                None if remote.is_empty() => self.has(&keys),
                None => self.has_remote(&remote, &registry),
            },
            Command::Push(args) => self.push(&args),
            Command::Pull(args) => self.pull(*args),
            Command::Resolve(args) => self.resolve(&args),
            Command::Tags(args) => self.tags(&args),
            Command::Retag(args) => self.retag(&args),
            Command::Ls { brief, tier, registry } => match &tier.tier {
                Some(place) => self.tier_ls(place, brief, &tier, &registry),
                None => self.ls(),
            },
            Command::Info { key, inputs, packages, document, tier, registry } => match &tier.tier {
                Some(place) if inputs => self.tier_inputs(key.as_str(), place, &tier, &registry),
                Some(_) => Err(tier::only_inputs().into()),
                None => self.with_key(&key, |key| match (inputs, packages, document) {
                    (true, ..) => self.inputs(key),
                    (_, true, _) => self.packages(key),
                    (.., true) => self.document(key),
                    _ => self.info(key),
                }),
            },
            Command::Tag { key, names } => self.tag(&key, &names),
            Command::Sign { keys } => self.sign(&keys),
            Command::Rm { keys, plan, tier, registry } => match (&tier.tier, &plan) {
                (Some(place), Some(plan)) => self.tier_collect(plan, place, &tier, &registry),
                (Some(place), None) => self.tier_rm(&keys, place, &tier, &registry),
                (None, _) => self.rm(&keys),
            },
            Command::Verify { keys } => self.verify(&keys),
            Command::Serve(args) => crate::cli::serve(&self.root, self.settings, common, &args, self.signals),
            Command::Pack { key, from, config, notes } => self.pack(&key, &from, *config, notes),
        }
    }

    fn import(&self, key: &Key, file: &Utf8Path, kind: Option<FileType>, notes: NoteArgs) -> Result<Outcome> {
        let notes = self.noted(notes)?;
        let source = if file == "-" { stdin_source()? } else { Source::File(file.to_owned()) };
        let (source, disk) = disk::kind(source, file, kind)?;
        if let Some(format) = disk {
            return self.import_disk(key, source, format, &notes, file);
        }
        let store = Store::open_or_create(&self.root)?;
        let imported = of_file(file, import::import(&store, key, source, &notes, &self.bar()))?;
        self.view.imported(key, &imported)?;
        Ok(Outcome::Yes)
    }

    /// Tries again where a blob was missing and the key is complete or gone by now: a collection
    /// removed the image meanwhile, and another save may have stored a new one.
    fn while_it_changes(&self, key: &Key, mut work: impl FnMut() -> Result<Outcome>) -> Result<Outcome> {
        let is_missing = |report: &miette::Report| {
            matches!(report.downcast_ref(), Some(Error::Store(storekit::Error::Missing { .. })))
        };
        for _ in 0..8 {
            match work() {
                Err(report) if is_missing(&report) => {
                    let found = self.open()?.map(|store| store.images().find(key)).transpose()?.flatten();
                    match found {
                        None => return Ok(self.miss(key)),
                        Some((_, reach)) if reach.is_whole() => {}
                        Some(_) => return Err(report),
                    }
                }
                done => return done,
            }
        }
        work()
    }

    fn export(
        &self,
        key: &Key,
        file: &Utf8Path,
        compress: Option<Compress>,
        options: &Options,
    ) -> Result<Outcome> {
        if file == "-" && io::stdout().is_terminal() {
            return Err(terminal().into());
        }
        let Some(store) = self.open()? else { return Ok(self.miss(key)) };
        let images = store.images();
        let Some(stored) = Stored::open(&images, key)? else { return Ok(self.miss(key)) };
        let blobs = images.blobs();
        if stored.images.is_empty()
            && let Some(disk) = Disk::read(&blobs, key, &stored.entry.descriptor)?
        {
            self.export_disk(&DiskExport { blobs: &blobs, key, disk: &disk }, file, compress)?;
            load::note(&store, &stored);
            return Ok(Outcome::Yes);
        }
        let write = |to: &mut dyn Write| match compress.unwrap_or(Compress::Zstd) {
            Compress::Zstd => export::export_zstd(&images, &stored, options, to, &self.bar()),
            Compress::None => export::export(&images, &stored, options, to, &self.bar()),
        };
        let write = |to: &mut dyn Write| {
            let absent = write(to)?;
            for digest in absent {
                let why = "which refers to the image, is not complete in the store; it was left out";
                self.view.warn(&format!("`{digest}`, {why}"));
            }
            Ok(Keep::Yes)
        };
        if file == "-" {
            // Headers are small: they travel with the layers.
            let mut out = io::BufWriter::with_capacity(128 << 10, Output::listing());
            write(&mut out)?;
            crate::cli::run::out(out.flush())?;
        } else {
            write_file(file, write)?;
        }
        load::note(&store, &stored);
        Ok(Outcome::Yes)
    }

    fn save(&self, key: &Key, image: &str, notes: NoteArgs, engine: &EngineArgs, by: By) -> Result<Outcome> {
        let notes = self.noted(notes)?;
        let way = match by {
            By::Auto => save::Way::Fastest,
            By::Push => save::Way::Teach,
            By::Archive => save::Way::Archive,
        };
        let options = save::Options { way, halt: &Halt(self.signals) };
        let store = Store::open_or_create(&self.root)?;
        let save = |engine: &_| save::save(&store, engine, key, image, &notes, &options, &self.bar());
        let saved = self.with_engine(engine, save);
        if let Some(ended) = self.signals.ended() {
            return Ok(ended);
        }
        self.view.imported(key, &saved?)?;
        Ok(Outcome::Yes)
    }

    fn load(&self, key: &Key, wanted: &Wanted, engine: &EngineArgs) -> Result<Outcome> {
        let Some(store) = self.open()? else { return Ok(self.miss(key)) };
        let load = |engine: &_| load::load(&store, engine, key, wanted, &self.bar());
        let Some(loaded) = self.with_engine(engine, load)? else { return Ok(self.miss(key)) };
        out(self.view.loaded(&loaded))?;
        Ok(Outcome::Yes)
    }

    fn has(&self, texts: &[KeyOrName]) -> Result<Outcome> {
        let mut all = true;
        for text in texts {
            all &= self.has_one(text)? == Outcome::Yes;
        }
        Ok(Outcome::from_bool(all))
    }

    fn has_one(&self, text: &KeyOrName) -> Result<Outcome> {
        let Some((store, key)) = self.find(text)? else {
            if text.is_too_short() {
                self.absent(text);
            }
            return Ok(Outcome::No);
        };
        Ok(Outcome::from_bool(Stored::open(&store.images(), &key)?.is_some()))
    }

    fn ls(&self) -> Result<Outcome> {
        let rows = self.open()?.map(|store| show::list(&store.images())).transpose()?.unwrap_or_default();
        out(self.view.rows(&rows))?;
        Ok(Outcome::Yes)
    }

    fn info(&self, key: &Key) -> Result<Outcome> {
        let Some(store) = self.open()? else { return Ok(self.miss(key)) };
        let Some(info) = show::info(&store.images(), key)? else { return Ok(self.miss(key)) };
        out(self.view.info(&info))?;
        Ok(Outcome::Yes)
    }

    fn inputs(&self, key: &Key) -> Result<Outcome> {
        let Some(store) = self.open()? else { return Ok(self.miss(key)) };
        self.tell_inputs(key, store.images().inputs(key)?.as_deref())
    }

    pub(crate) fn tell_inputs(&self, key: &Key, inputs: Option<&[u8]>) -> Result<Outcome> {
        let Some(inputs) = inputs else {
            self.view.say(&format!("no manifest of inputs was saved with `{key}`"));
            return Ok(Outcome::No);
        };
        out(Output::listing().write_all(inputs))?;
        Ok(Outcome::Yes)
    }

    fn document(&self, key: &Key) -> Result<Outcome> {
        let Some(store) = self.open()? else { return Ok(self.miss(key)) };
        let Some(entry) = store.images().get(key)? else { return Ok(self.miss(key)) };
        let bytes =
            store.images().blobs().read(&entry.descriptor.digest, imgtar::format::oci::DOCUMENT_CAP)?;
        out(Output::listing().write_all(&bytes))?;
        Ok(Outcome::Yes)
    }

    fn tag(&self, text: &KeyOrName, names: &[String]) -> Result<Outcome> {
        let names = names.iter().map(|name| image_name::complete(name)).collect::<Result<Vec<_>, _>>()?;
        let Some((store, key)) = self.find(text)? else { return Ok(self.absent(text)) };
        let Some(stored) = Stored::open(&store.images(), &key)? else { return Ok(self.miss(&key)) };
        if stored.is_several() {
            return Err(Error::several(&key, stored.images.len(), stored.artifacts.len()).into());
        }
        Ok(if store.images().set_names(&key, names)? { Outcome::Yes } else { self.miss(&key) })
    }

    fn rm(&self, texts: &[KeyOrName]) -> Result<Outcome> {
        let Some(store) = self.open()? else { return Ok(Outcome::No) };
        let found = texts.iter().map(|text| self.lookup(&store, text)).collect::<Result<Vec<_>>>()?;
        for (text, _) in texts.iter().zip(&found).filter(|(_, found)| found.is_none()) {
            self.absent(text);
        }
        let all_found = found.iter().all(Option::is_some);
        let images = store.images();
        let pins = images.pins()?;
        let (pinned, keys): (Vec<Key>, Vec<Key>) =
            found.into_iter().flatten().partition(|key| pins.contains(key));
        for key in &pinned {
            self.view.warn(&format!("`{key}` is pinned, and stays: `gcctl unpin {key}` lets it go"));
        }
        let batch = store.trash().batch(jiff::Timestamp::now());
        let hanging = images.hanging(&keys)?;
        let removed: HashSet<_> = images.remove(&keys, &batch)?.into_iter().collect();
        for key in images.remove(&hanging, &batch)? {
            self.view.say(&format!("`{key}` referred to what was removed, and went with it"));
        }
        let absent: Vec<_> = keys.iter().filter(|key| !removed.contains(key)).collect();
        for key in &absent {
            self.miss(key);
        }
        Ok(Outcome::from_bool(all_found && absent.is_empty() && pinned.is_empty()))
    }

    fn verify(&self, texts: &[KeyOrName]) -> Result<Outcome> {
        let store = Store::open(&self.root)?;
        let known = |text: &KeyOrName| {
            let key = self.lookup(&store, text)?;
            Ok(key.ok_or_else(|| Error::NoSuchKey { key: text.to_string() })?)
        };
        let keys = texts.iter().map(known).collect::<Result<Vec<_>>>()?;
        let report = verify::verify(&store.images(), &keys, &self.bar())?;
        out(self.view.report(&report))?;
        Ok(if report.problems.is_empty() { Outcome::Yes } else { Outcome::Code(3) })
    }

    fn pack(&self, key: &Key, from: &Utf8Path, config: PackArgs, notes: NoteArgs) -> Result<Outcome> {
        let notes = self.noted(notes)?;
        let config = self.pack_config(config)?;
        let input = pack_input(from)?;
        let store = Store::open_or_create(&self.root)?;
        let packed = pack::pack(&store, key, input, &config, &notes, &self.bar())?;
        self.view.imported(key, &packed)?;
        Ok(Outcome::Yes)
    }

    fn pack_config(&self, args: PackArgs) -> Result<pack::Config> {
        let words = |texts: &[String]| -> Result<Vec<String>, Error> {
            Ok(texts.iter().map(|text| pack::words(text)).collect::<Result<Vec<_>, _>>()?.concat())
        };
        let mut config = pack::Config {
            entrypoint: words(&args.entrypoint)?,
            cmd: words(&args.cmd)?,
            env: args.env.iter().map(|pair| split(pair).map(|_| pair.clone())).collect::<Result<_, _>>()?,
            workdir: args.workdir,
            user: args.user,
            labels: args.label.iter().map(|pair| split(pair)).collect::<Result<_, _>>()?,
            ..pack::Config::default()
        };
        config.platform = args.platform.unwrap_or(config.platform);
        if let Some(time) = self.settings.environment().get("SOURCE_DATE_EPOCH") {
            config.time = time.parse().map_err(|_| Error::Usage {
                message: format!("SOURCE_DATE_EPOCH is `{time}`"),
                help: "it is a number of seconds since 1970",
            })?;
        }
        Ok(config)
    }

    /// The store; `None` where it does not exist yet.
    pub(crate) fn open(&self) -> Result<Option<Store>> {
        if !self.root.exists() {
            return Ok(None);
        }
        Ok(Some(Store::open(&self.root)?))
    }

    /// The store, and the key in it that is meant; `None` where there is none.
    pub(crate) fn find(&self, text: &KeyOrName) -> Result<Option<(Store, Key)>> {
        let Some(store) = self.open()? else { return Ok(None) };
        Ok(self.lookup(&store, text)?.map(|key| (store, key)))
    }

    /// The key that is meant. Says which it is where that is not what was written.
    fn lookup(&self, store: &Store, text: &KeyOrName) -> Result<Option<Key>> {
        let Some(found) = store.images().lookup(text)? else { return Ok(None) };
        let newest = match found.by {
            FoundBy::Key => return Ok(Some(found.key)),
            FoundBy::Name | FoundBy::Image => ", the newest of that name",
            FoundBy::Beginning => "",
        };
        self.view.say(&format!("`{text}` is `{}`{newest}", found.key));
        Ok(Some(found.key))
    }

    fn with_key(&self, text: &KeyOrName, work: impl FnOnce(&Key) -> Result<Outcome>) -> Result<Outcome> {
        match self.find(text)? {
            Some((_, key)) => work(&key),
            None => Ok(self.absent(text)),
        }
    }

    pub(crate) fn absent(&self, text: &KeyOrName) -> Outcome {
        self.view.say(&text.absent());
        Outcome::No
    }

    pub(crate) fn miss(&self, key: &Key) -> Outcome {
        self.view.say(&format!("nothing is stored under `{key}`"));
        Outcome::No
    }

    pub(crate) fn bar(&self) -> Bar {
        Bar::new(self.view.common.quiet)
    }
}

/// Adds the file's name to an error about what is in it. Errors of the store name their file
/// already.
pub(crate) fn of_file<T>(file: &Utf8Path, imported: imgtar::Result<T>) -> Result<T> {
    match imported {
        Err(error) if file != "-" && !matches!(error, Error::Store(_)) => {
            Err(error).wrap_err_with(|| format!("cannot import `{file}`"))
        }
        imported => Ok(imported?),
    }
}

/// A file that stdin was redirected from is read as a file, so that stored layers are only hashed.
fn stdin_source() -> Result<Source> {
    if io::stdin().is_terminal() {
        let message = "an archive cannot be read from a terminal".to_owned();
        return Err(Error::Usage {
            message,
            help: "name a file, or pipe: `docker save app | imgtar import KEY`",
        }
        .into());
    }
    let mut file = File::from(io::stdin().as_fd().try_clone_to_owned().into_diagnostic()?);
    let at_start = io::Seek::stream_position(&mut file).is_ok_and(|at| at == 0);
    if at_start && file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Ok(Source::File("/dev/stdin".into()));
    }
    Ok(Source::Stream(Box::new(file)))
}

pub(crate) fn read_notes(args: NoteArgs) -> Result<Notes> {
    if args.build_seconds.is_some_and(|seconds| !seconds.is_finite() || seconds < 0.0) {
        let message = "`--build-seconds` must be 0 or more".to_owned();
        return Err(Error::Usage { message, help: "it is a number of seconds, 0 or more" }.into());
    }
    let read = |path: Utf8PathBuf| std::fs::read(&path).map_err(|source| Error::Input { path, source });
    let names = args.names.iter().map(|name| image_name::complete(name)).collect::<Result<Vec<_>, _>>()?;
    let record = |path: Utf8PathBuf| {
        let help = "`pkgcache record` and `pkgcache run --record` write one";
        let bad = |reason| Error::Usage { message: format!("`{path}` is not a record: {reason}"), help };
        Fetched::parse(&read(path.clone())?).map_err(bad)
    };
    Ok(Notes {
        build_seconds: args.build_seconds,
        inputs: args.manifest.map(read).transpose()?,
        fetched: args.packages.map(record).transpose()?,
        names: (!names.is_empty()).then_some(names),
        force: args.force,
        origin: origin(args.origin),
        signer: None,
    })
}

fn origin(OriginArgs { image, host, commit, project }: OriginArgs) -> Origin {
    Origin { image, host, commit, project }
}

fn pack_input(from: &Utf8Path) -> Result<Input> {
    if from == "-" {
        return Ok(Input::Tar("-".into(), Box::new(io::stdin()) as Box<dyn Read + Send>));
    }
    if from.is_dir() {
        return Ok(Input::Folder(from.to_owned()));
    }
    let file = File::open(from).map_err(|source| Error::Input { path: from.to_owned(), source })?;
    Ok(Input::Tar(from.to_owned(), Box::new(file)))
}

fn split(pair: &str) -> Result<(String, String), Error> {
    let (name, value) = pair.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
        Error::Usage { message: format!("`{pair}` has no name or no `=`"), help: "write NAME=VALUE" }
    })?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(crate) fn terminal() -> Error {
    Error::Usage {
        message: "an archive is not written to a terminal".to_owned(),
        help: "name a file, or pipe: `imgtar export KEY --compress none | docker load`",
    }
}

/// Whether a file that was written is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    Yes,
    No,
}

/// Writes a file that appears under its name when it is whole, and only if `write` says so. A pipe
/// or a device is written to as it is.
pub(crate) fn write_file(
    path: &Utf8Path,
    write: impl FnOnce(&mut dyn Write) -> imgtar::Result<Keep>,
) -> Result<()> {
    // The library does not know the name of what it writes to.
    let named = |error| match error {
        Error::Write { source, .. } => Error::write(path.as_str(), source),
        other => other,
    };
    if output::is_device(path) {
        write(&mut output::open_device(path)?).map_err(named)?;
        return Ok(());
    }
    let mut staged = Staged::new(folder_of(path))?;
    let mut to = io::BufWriter::with_capacity(128 << 10, staged.file());
    let keep = write(&mut to).map_err(named)?;
    to.flush().map_err(|source| Error::write(path.as_str(), source))?;
    drop(to);
    if keep == Keep::Yes {
        staged.publish(path, Durability::Unsynced)?;
    }
    Ok(())
}

/// The folder that a file is in.
pub(crate) fn folder_of(path: &Utf8Path) -> &Utf8Path {
    path.parent().filter(|folder| !folder.as_str().is_empty()).unwrap_or(Utf8Path::new("."))
}
