//! `imgtar extract`: its flags, and what it prints.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::ffi::OsStrExt;

use camino::{Utf8Path, Utf8PathBuf};
use imgtar::Error;
use imgtar::extract::{self, Folder, Item, Options, Pattern, Report, Sink, Stream, Taken, What};
use imgtar::format::oci::Platform;
use imgtar::image::Stored;
use miette::Result;
use serde::Serialize;
use storekit::{ByteSize, KeyOrName, Store};
use toolkit::words::count;
use toolkit::{Outcome, Output, Signals, output};

use crate::cli::run::{Invocation, Keep, terminal, write_file};

/// Take files out of an image, without an engine
///
/// Reads the layers from the top down and no deeper than needed, verifies all that it reads, and
/// puts each file below DIR, or into a tar, under the PATH that was asked for. A folder comes with
/// all that is in it. `*` and `?` stand for any characters but a slash, `**` for any number of
/// folders, a `\` before them for themselves. Links are followed on the way to PATH, inside the
/// image; one at the end is taken as a link, unless PATH ends with a slash.
///
/// In DIR, a file replaces a file of the same name; anything else of that name is an error. Nothing
/// is written outside DIR or through a link. Modes, less the umask, and times are kept; owners,
/// set-ID bits and extended attributes are not, and devices are left out. A tar has all of these.
///
/// If a layer is damaged (exit code 3), or a PATH is not in the image (exit code 1), nothing is
/// written. A tar on stdout ends in the middle of an entry then.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n    imgtar extract \"$key\" '/src/dist/*.whl' --strip-components 1 -C .\n    imgtar extract \"$key\" /etc -o - | tar -t"
)]
pub(crate) struct ExtractArgs {
    /// The image: its key, the beginning of one, or a name
    key: KeyOrName,
    /// What is taken: a file, a folder, or a pattern; `/` is everything
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<OsString>,
    #[command(flatten)]
    to: To,
    /// Drop so many leading parts of each name
    #[arg(long, value_name = "N", default_value_t = 0)]
    strip_components: usize,
    /// Keep modes as they are, set-ID bits included
    #[arg(short, long, requires = "directory")]
    preserve_permissions: bool,
    /// From the image for this platform; this machine's by default, where the key holds several
    #[arg(long)]
    platform: Option<Platform>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct To {
    /// Where the files go; made where it is not there
    #[arg(short = 'C', long, value_name = "DIR")]
    directory: Option<Utf8PathBuf>,
    /// A tar of the files instead, `-` for stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<Utf8PathBuf>,
}

/// What `extract --json` prints for each thing that it takes.
#[derive(Serialize)]
struct TakenLine {
    /// The name where it is extracted to; bytes that are not UTF-8 are replaced.
    path: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

impl Invocation<'_> {
    pub(crate) fn extract(&self, args: &ExtractArgs) -> Result<Outcome> {
        let options = args.options()?;
        let to_stdout = args.to.output.as_deref().is_some_and(|file| file == "-");
        if to_stdout && io::stdout().is_terminal() {
            return Err(terminal().into());
        }
        if to_stdout && self.view.common.json {
            let message = "`--json` and the tar cannot both go to stdout".to_owned();
            return Err(Error::Usage { message, help: "name a file: `-o FILE`" }.into());
        }
        let Some((store, key)) = self.find(&args.key)? else { return Ok(self.absent(&args.key)) };
        let Some(stored) = Stored::open(&store.images(), &key)? else { return Ok(self.miss(&key)) };
        let taken = |report: Report| {
            store.images().touch(&key);
            self.extracted(&report)
        };
        match (&args.to.directory, &args.to.output) {
            // The hidden folder that it is written into must not stay behind.
            (Some(folder), _) => self.signals.held(|| {
                let exact = args.preserve_permissions;
                self.to_folder(&store, &stored, &options, (folder, exact)).map(taken)
            }),
            (None, Some(file)) => self.to_tar(&store, &stored, &options, file).map(taken),
            (None, None) => Ok(taken(Report::default())),
        }
    }

    fn to_folder(
        &self,
        store: &Store,
        stored: &Stored,
        options: &Options,
        (path, exact): (&Utf8Path, bool),
    ) -> Result<Report> {
        let mut folder = Folder::new(path, exact)?;
        let report = self.to_sink(store, stored, options, &mut folder)?;
        if report.absent.is_empty() {
            folder.finish()?;
        }
        Ok(report)
    }

    fn to_tar(&self, store: &Store, stored: &Stored, options: &Options, file: &Utf8Path) -> Result<Report> {
        let mut report = Report::default();
        let mut write = |out: &mut dyn Write| -> imgtar::Result<Keep> {
            let mut stream = Stream::new(io::BufWriter::with_capacity(128 << 10, out));
            report = self.to_sink(store, stored, options, &mut stream)?;
            if !report.absent.is_empty() {
                return Ok(Keep::No);
            }
            stream.finish()?;
            Ok(Keep::Yes)
        };
        if file == "-" {
            write(&mut Output::listing())?;
        } else {
            write_file(file, write)?;
        }
        Ok(report)
    }

    fn to_sink(
        &self,
        store: &Store,
        stored: &Stored,
        options: &Options,
        sink: &mut dyn Sink,
    ) -> imgtar::Result<Report> {
        let blobs = store.images().blobs();
        let (json, verbose) = (self.view.common.json, self.view.common.verbose);
        let mut told = Told { sink, json, verbose, signals: self.signals };
        extract::extract(&blobs, stored, options, &mut told, &self.bar())
    }

    fn extracted(&self, report: &Report) -> Outcome {
        for (name, reason) in &report.skipped {
            self.view.warn(&format!("`{name}` was left out: {reason}"));
        }
        for path in &report.absent {
            self.view.say(&format!("the image has no `{path}`"));
        }
        if !report.absent.is_empty() {
            return Outcome::No;
        }
        let files = count(usize::try_from(report.files).unwrap_or(usize::MAX), "file");
        let folders = count(usize::try_from(report.folders).unwrap_or(usize::MAX), "folder");
        self.view.say(&format!("extracted {files} and {folders}, {}", ByteSize(report.bytes)));
        Outcome::Yes
    }
}

impl ExtractArgs {
    fn options(&self) -> Result<Options> {
        let parse = |path: &OsString| {
            Pattern::parse(path.as_bytes()).map_err(|reason| Error::Usage {
                message: format!("`{}` is not a path in an image: {reason}", path.to_string_lossy()),
                help: "name it by its path from the image's root",
            })
        };
        Ok(Options {
            patterns: self.paths.iter().map(parse).collect::<Result<_, _>>()?,
            platform: self.platform.clone(),
            strip: self.strip_components,
        })
    }
}

/// Tells what goes into another sink.
struct Told<'s> {
    sink: &'s mut dyn Sink,
    json: bool,
    verbose: bool,
    signals: &'s Signals,
}

/// Reads until a signal asks for the end.
struct Stoppable<'a> {
    from: &'a mut dyn Read,
    signals: &'a Signals,
}

impl Read for Stoppable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.signals.check()?;
        self.from.read(buffer)
    }
}

impl Sink for Told<'_> {
    fn put(&mut self, item: &Item<'_>, data: &mut dyn Read) -> imgtar::Result<Taken> {
        let taken = self.sink.put(item, &mut Stoppable { from: data, signals: self.signals })?;
        let path = String::from_utf8_lossy(item.name);
        if self.json && taken == Taken::Yes {
            let (kind, bytes) = match item.what {
                What::File(bytes) => ("file", Some(bytes)),
                What::Folder => ("folder", None),
                What::Symlink(_) => ("symlink", None),
                What::Link(_) => ("link", None),
                What::Device => ("device", None),
            };
            Output::report()
                .json(&TakenLine { path: path.into_owned(), kind, bytes })
                .map_err(|error| Error::write("-", error))?;
        } else if self.verbose && taken == Taken::Yes {
            output::say(&path);
        }
        Ok(taken)
    }

    fn check(&self) -> io::Result<()> {
        self.signals.check()
    }
}
