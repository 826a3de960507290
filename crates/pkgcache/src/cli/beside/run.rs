//! `run`: a command, with a private server of the store's beside it for as long as it lasts.
//!
//! The server is a part of this process, so that nothing is left running when it ends, however that
//! is. Where another such process serves the store already, that one is used; when it ends first,
//! this one takes its place.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, ValueEnum};
use miette::Result;
use pkgcache::clients::Role;
use pkgcache::clients::pointers::{Here, Mount};
use pkgcache::{Config, Control, Ecosystem, Error, Listen, NotServed, Server};
use rustix::fs::Mode;
use rustix::process::{Pid, Signal, getpgrp, kill_process, umask};
use storekit::files;
use storekit::{Store, printable};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use toolkit::{Environment, Outcome, output};

use crate::cli::ask::http;
use crate::cli::beside::builds;
use crate::cli::beside::instance::{self, Instance};
use crate::cli::beside::lobby::{Ear, Lobby};
use crate::cli::beside::record::{self, Booth, Recording};
use crate::cli::beside::surroundings::Surroundings;
use crate::cli::beside::tally::{self, Tally};
use crate::cli::machine::Machine;
use crate::cli::options::ServeArgs;
use crate::cli::process::{self, Process};
use crate::cli::{ca, doors};

/// A command that is led to the cache.
#[derive(Args)]
pub(crate) struct LedArgs {
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    /// Lead only these clients to the cache
    #[arg(long, value_enum, value_delimiter = ',', value_name = "CLIENT")]
    only: Vec<Led>,
    /// Write what was saved to this file, as a JSON object: `hits`, `misses`, and the bytes
    /// `fetched` and `saved`
    #[arg(long, value_name = "FILE")]
    summary: Option<Utf8PathBuf>,
    /// What this command is called: with a record, one of the same name has the same address
    ///
    /// Clients key their own caches by it.
    #[arg(
        long = "as",
        value_name = "NAME",
        default_value = "",
        hide_default_value = true,
        requires = "record"
    )]
    pub(super) name: String,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(super) command: Vec<OsString>,
}

#[derive(Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) led: LedArgs,
    /// Write what was fetched to this file, as JSON lines: one about all, then one for each object
    ///
    /// URL, ecosystem, name, version, digest, who vouches for it, size. The command gets an address
    /// of its own, so that what others fetch at the same time is not in it, nor in the summary.
    /// `complete` says whether no step of a build can have come from the engine's own cache
    /// (`--no-cache`): such steps fetch nothing.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<Utf8PathBuf>,
}

#[derive(Args)]
pub(crate) struct RecordArgs {
    /// Write the record to this file
    #[arg(id = "record", short = 'o', long = "output", value_name = "FILE")]
    pub(crate) output: Utf8PathBuf,
    #[command(flatten)]
    pub(crate) led: LedArgs,
}

/// What is to be done with a command.
#[derive(Clone, Copy)]
pub(crate) struct Task<'a> {
    /// The command.
    pub(crate) led: &'a LedArgs,
    /// Where what it was given is written.
    pub(crate) record: Option<&'a Utf8PathBuf>,
    /// Whether it is of no use without the cache.
    pub(crate) needs_cache: bool,
}

/// A client that is led to the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Led {
    Apt,
    Cargo,
    Dnf,
    /// git, for what it fetches and not for what it pushes, and Git LFS
    GitLfs,
    Go,
    Huggingface,
    Npm,
    Ollama,
    Pip,
    /// rustup, and uv for the Pythons that it installs
    Releases,
    /// Vendors' indexes of wheels, beside the one that pip and uv ask by themselves, and files of
    /// weights
    Torch,
}

impl Led {
    /// Whether it is led to the mount.
    fn is_led(self, mount: &Mount, is_vendors: bool) -> bool {
        let kind = match self {
            Self::Apt => Ecosystem::Apt,
            Self::Cargo => Ecosystem::Cargo,
            Self::Dnf => Ecosystem::Dnf,
            Self::GitLfs => Ecosystem::GitLfs,
            Self::Go => Ecosystem::Go,
            Self::Huggingface => Ecosystem::HuggingFace,
            Self::Npm => Ecosystem::Npm,
            Self::Ollama => return false,
            Self::Pip => Ecosystem::Python,
            Self::Releases => Ecosystem::Releases,
            Self::Torch => return is_vendors,
        };
        mount.ecosystem == kind && !is_vendors
    }
}

/// Takes away what none of these is led to.
fn keep_only(here: &mut Here, only: &[Led]) {
    let all = here.clone();
    here.mounts.retain(|mount| only.iter().any(|led| led.is_led(mount, all.is_vendors(mount))));
    for mount in here.mounts.iter_mut().filter(|mount| all.is_vendors(mount)) {
        // Alone, it is not the index that Python's clients ask by themselves.
        mount.role = Role::Named(mount.name.clone());
    }
    here.models = here.models.take().filter(|_| only.contains(&Led::Ollama));
}

/// What was begun when the command has ended: so long a download may take to be stored.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// Another process tells what it could not serve within this time, even after a signal.
const LEAST: Duration = Duration::from_secs(1);
/// Another process that has the store's lock answers within this time.
const SOON: Duration = Duration::from_secs(10);
/// Between two looks for that.
const LOOK: Duration = Duration::from_millis(20);

/// Runs the command. Its exit code is ours; 126 and 127 as a shell has them, where it cannot be
/// started. Where there can be no cache, it runs without one, unless that is to be asked alone.
/// `users` is the umask that the command is to have.
pub(crate) fn run(
    task: Task<'_>,
    config: Config,
    environment: &Environment,
    (store, users): (storekit::Result<Store>, Mode),
    quiet: bool,
) -> Result<Outcome> {
    let runtime = process::threads()?;
    let outcome = runtime.block_on(async {
        let machine = Machine::this(environment);
        let config = with_links(process::fitted(config), &machine, environment);
        // Past the cache, nothing would be guarded.
        let is_needed = config.offline || task.needs_cache || config.guards.is_some();
        let (store, booth, place) = match begin(task, config, store).await {
            Ok(begun) => begun,
            Err(error) if is_needed => return Err(error),
            Err(error) => return without_cache(task.led, &error, users, quiet).await,
        };
        let url = booth.as_ref().map_or_else(|| place.url(), Booth::url);
        let (surroundings, here) = surroundings(task.led, &place.config, &url, &machine, environment)?;
        let mut heard = listen()?;
        let before = place.tally().await;
        let mut child = match started(&surroundings, task.led, &here, environment, users)? {
            Ok(child) => child,
            Err(outcome) => return Ok(outcome),
        };
        let config = place.config.clone();
        let serving = place.serve(before);
        // With an address of its own, what it took is known by itself.
        let shares = !serving.is_own && task.record.is_none();
        let recording = booth.map(|booth| Recording::begin(booth, serving.controls.clone(), config, store));
        let status = follow(&mut child, &mut heard).await;
        let patience = if heard.was_any { Duration::ZERO } else { PATIENCE };
        let record = match recording {
            Some(recording) => Some(recording.end(patience).await),
            None => None,
        };
        let (tally, refused) = serving.end(patience).await;
        let tally = record.as_ref().map_or(tally, Tally::of);
        if let Some((path, record)) = task.record.zip(record) {
            if task.needs_cache {
                record::warn_if_empty(&record);
            }
            let text = record::text(record, builds::is_complete(&task.led.command));
            files::output::write(&environment.folder.join(path), text.as_bytes())?;
        }
        summarise(task.led, tally, &environment.folder)?;
        tell_refused(&refused, &status, quiet);
        if !quiet {
            let others = if shares { ", with what other commands took meanwhile" } else { "" };
            output::say(&format!("pkgcache: {}{others}", tally.line()));
        }
        ended(status)
    });
    runtime.shutdown_timeout(process::LAST);
    outcome
}

/// Writes what was saved, where that is wanted.
pub(super) fn summarise(led: &LedArgs, tally: Tally, folder: &Utf8Path) -> Result<()> {
    let Some(path) = &led.summary else { return Ok(()) };
    Ok(files::output::write(&folder.join(path), tally.json().as_bytes())?)
}

/// Tells what could not be served: the likeliest reason of a failure.
pub(super) fn tell_refused(refused: &NotServed, status: &io::Result<ExitStatus>, quiet: bool) {
    if !quiet || !status.as_ref().is_ok_and(ExitStatus::success) {
        for line in tally::refused_lines(refused) {
            output::say(&line);
        }
    }
}

/// What leads the command to the cache at this address.
pub(super) fn surroundings(
    led: &LedArgs,
    config: &Config,
    url: &str,
    machine: &Machine,
    environment: &Environment,
) -> Result<(Surroundings, Here)> {
    let mut here = doors::here(config, url, machine, environment);
    if !led.only.is_empty() {
        keep_only(&mut here, &led.only);
    }
    // The command gets what its clients have in their settings anyway.
    here.reveals = true;
    leave_alone(&mut here, &machine.found(&[]).elsewhere);
    let authorities =
        config.intercept.as_ref().map(|it| ca::trusted(it.folder(), environment)).transpose()?;
    Ok((Surroundings::new(&here, authorities, machine, environment)?, here))
}

/// Starts the command, with the umask of its user's; else how this ends without it.
pub(super) fn started(
    surroundings: &Surroundings,
    led: &LedArgs,
    here: &Here,
    environment: &Environment,
    users: Mode,
) -> Result<Result<Child, Outcome>> {
    let ours = umask(users);
    let child = surroundings.start(&led.command, here, environment);
    umask(ours);
    Ok(match child? {
        Some(Ok(child)) => Ok(child),
        Some(Err(error)) => Err(not_started(&led.command, &error)),
        None => Err(Outcome::No),
    })
}

/// The store, the command's own address where it has one, and the cache.
async fn begin(
    task: Task<'_>,
    config: Config,
    store: storekit::Result<Store>,
) -> Result<(Store, Option<Booth>, Place)> {
    let store = store?;
    let booth = task.record.map(|_| Booth::open(&store, &task.led.name)).transpose()?;
    let place = Place::take(task.led, config, store.clone()).await?;
    Ok((store, booth, place))
}

/// The command as it would run by itself: a cache that cannot be had fails no build.
async fn without_cache(args: &LedArgs, error: &miette::Report, users: Mode, quiet: bool) -> Result<Outcome> {
    if !quiet {
        let why: Vec<_> = error.chain().map(ToString::to_string).collect();
        let why = why.join(": ");
        output::say(&format!("pkgcache: warning: the command runs without the cache: {}", printable(&why)));
    }
    let mut heard = listen()?;
    let Some((program, words)) = args.command.split_first() else { return Ok(Outcome::No) };
    let ours = umask(users);
    let child = Command::new(program).args(words).spawn();
    umask(ours);
    match child {
        Err(error) => Ok(not_started(&args.command, &error)),
        Ok(mut child) => ended(follow(&mut child, &mut heard).await),
    }
}

pub(super) fn ended(status: io::Result<ExitStatus>) -> Result<Outcome> {
    Ok(code(status.map_err(|source| Error::System { doing: "follow the command", source })?))
}

/// Clients that are set to ask no index, such as cargo with vendored crates, are not led to one.
fn leave_alone(here: &mut Here, elsewhere: &BTreeSet<Ecosystem>) {
    for mount in here.mounts.iter_mut().filter(|it| elsewhere.contains(&it.ecosystem)) {
        mount.role = Role::Named(mount.name.clone());
    }
}

/// The configuration of a private server.
///
/// npm is told to replace the host of its registry in the URLs of tarballs: so it gets them as they
/// are. What belongs to a scope has another registry, and stays with the mount's own URLs.
pub(super) fn with_links(mut config: Config, machine: &Machine, environment: &Environment) -> Config {
    let here = doors::here(&config, "", machine, environment);
    let default = here.default_of(Ecosystem::Npm).map(|mount| mount.name.clone());
    // The command's https comes here, whatever server it wants: it could reach that by itself.
    config.forward.opens_all = config.intercept.is_some();
    let npm = config.upstreams.iter_mut().filter(|mount| default.as_ref() == Some(&mount.name));
    npm.for_each(|mount| mount.keep_links = true);
    config
}

fn not_started(command: &[OsString], error: &io::Error) -> Outcome {
    let name = command.first().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
    output::say(&format!("pkgcache: cannot run `{name}`: {error}"));
    Outcome::Code(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
}

/// The exit code that a shell would give.
fn code(status: ExitStatus) -> Outcome {
    let code = status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(255);
    Outcome::Code(u8::try_from(code).unwrap_or(u8::MAX))
}

/// Signals that come.
pub(super) struct Heard {
    coming: mpsc::UnboundedReceiver<i32>,
    pub(super) was_any: bool,
}

pub(super) fn listen() -> Result<Heard> {
    let (tell, coming) = mpsc::unbounded_channel();
    for number in toolkit::signals::heeded() {
        let heard = signal(SignalKind::from_raw(number));
        let mut heard = heard.map_err(|source| Error::System { doing: "listen to signals", source })?;
        let tell = tell.clone();
        tokio::spawn(async move { while heard.recv().await.is_some() && tell.send(number).is_ok() {} });
    }
    Ok(Heard { coming, was_any: false })
}

/// Waits for the command's end; signals are passed on to it.
pub(super) async fn follow(child: &mut Child, heard: &mut Heard) -> io::Result<ExitStatus> {
    loop {
        tokio::select! {
            status = child.wait() => return status,
            Some(number) = heard.coming.recv() => {
                heard.was_any = true;
                pass_on(child, number);
            }
        }
    }
}

fn pass_on(child: &Child, number: i32) {
    // Its number is its own until it was waited for.
    let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    let signal = Signal::from_named_raw(number);
    if let (Some(pid), Some(signal)) = (pid, signal)
        && !(signal == Signal::INT && has_terminal())
    {
        // One that has ended meanwhile needs none.
        let _ = kill_process(pid, signal);
    }
}

/// Whether this process is in the foreground of a terminal: then Ctrl-C reaches the command by
/// itself, and a second one would mean more than the first.
fn has_terminal() -> bool {
    let terminal = std::fs::File::open("/dev/tty");
    terminal.is_ok_and(|it| rustix::termios::tcgetpgrp(&it).is_ok_and(|group| group == getpgrp()))
}

/// Where the command finds the cache.
struct Place {
    /// With the address at which it is.
    config: Config,
    store: Store,
    instance: Option<Instance>,
    /// The server, where it is this process.
    server: Option<Server>,
    /// Where it is lent addresses, where it serves the store.
    lobby: Option<Lobby>,
    /// What another process that serves cannot serve.
    ear: Option<Ear>,
}

impl Place {
    async fn take(args: &LedArgs, mut config: Config, store: Store) -> Result<Self> {
        if args.serve.listen.is_some() {
            if config.listen.net().is_none() {
                return Err(miette::miette!(
                    help = "leave `--listen` out, or give it an address and a port",
                    "clients cannot be led to `{}`: they want a URL",
                    config.listen
                ));
            }
            return Self::bind(config, store, None).await;
        }
        let instance = Instance::of(&store)?;
        let settings = instance::settings(&config);
        config.listen = Listen::local(0);
        let until = tokio::time::Instant::now() + SOON;
        while tokio::time::Instant::now() < until {
            if instance.try_lock() {
                return Self::on_own_port(instance, config, store).await;
            }
            match running(&instance).await {
                Some(note) if note.settings == settings => {
                    config.listen = Listen::local(note.port);
                    let ear = match &note.lobby {
                        Some(lobby) => Ear::open(lobby).await.ok(),
                        None => None,
                    };
                    let instance = Some(instance);
                    return Ok(Self { config, store, instance, server: None, lobby: None, ear });
                }
                // With other upstreams it is of no use here.
                Some(_) => break,
                // It has just begun, or just ended.
                None => tokio::time::sleep(LOOK).await,
            }
        }
        Self::bind(config, store, None).await
    }

    async fn bind(config: Config, store: Store, instance: Option<Instance>) -> Result<Self> {
        let server = start(&config, &store).await?;
        let config = Config { listen: server.address()?.into(), ..config };
        Ok(Self { config, store, instance, server: Some(server), lobby: None, ear: None })
    }

    async fn on_own_port(instance: Instance, mut config: Config, store: Store) -> Result<Self> {
        let settings = instance::settings(&config);
        for port in instance.ports() {
            config.listen = Listen::local(port);
            match start(&config, &store).await {
                Ok(server) => {
                    let lobby = Lobby::open().ok();
                    instance.write(port, settings, lobby.as_ref().map(|it| it.name().to_owned()))?;
                    let (instance, server) = (Some(instance), Some(server));
                    return Ok(Self { config, store, instance, server, lobby, ear: None });
                }
                Err(Error::Listen { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        config.listen = Listen::local(0);
        Self::bind(config, store, Some(instance)).await
    }

    fn url(&self) -> String {
        format!("http://{}", self.config.listen)
    }

    /// What the server counts before the command has begun.
    async fn tally(&self) -> Tally {
        if self.server.is_some() { Tally::default() } else { tally(self.url()).await }
    }

    /// Serves from now on, or stands by to do so.
    fn serve(self, before: Tally) -> Serving {
        let url = self.url();
        let Self { config, store, instance, server, lobby, ear } = self;
        let (told, tells) = tokio::sync::watch::channel(None);
        if let Some(server) = server {
            told.send_replace(Some(server.control()));
            let running = tokio::spawn(serve(server, lobby));
            return Serving { url, before, instance, controls: tells, running, ear: None, is_own: true };
        }
        let running = tokio::spawn(stand_by(config, store, instance, told));
        Serving { url, before, instance: None, controls: tells, running, ear, is_own: false }
    }
}

/// Serves to the end, with what it is lent.
async fn serve(server: Server, lobby: Option<Lobby>) {
    let control = server.control();
    let lent = async {
        if let Some(lobby) = lobby {
            lobby.serve(control).await;
        }
    };
    tokio::join!(server.run(), lent);
}

async fn start(config: &Config, store: &Store) -> Result<Server, Error> {
    Server::bind(config.clone(), store.clone(), Arc::new(Process)).await
}

/// What the process with the lock has written, if that answers.
async fn running(instance: &Instance) -> Option<instance::Note> {
    let note = instance.note()?;
    answers(note.port).await.then_some(note)
}

async fn answers(port: u16) -> bool {
    let url = format!("http://127.0.0.1:{port}");
    let asked = tokio::task::spawn_blocking(move || http::get(&url, "/healthz", "*/*"));
    asked.await.is_ok_and(|answer| answer.is_ok_and(|it| it.status == 200))
}

pub(super) async fn tally(url: String) -> Tally {
    let asked = tokio::task::spawn_blocking(move || http::get(&url, "/metrics", "*/*"));
    match asked.await {
        Ok(Ok(answer)) => Tally::read(&String::from_utf8_lossy(&answer.body)),
        _ => Tally::default(),
    }
}

/// Waits until the process that serves has ended, and serves in its place.
async fn stand_by(
    config: Config,
    store: Store,
    instance: Option<Instance>,
    told: tokio::sync::watch::Sender<Option<Control>>,
) {
    let Some(instance) = instance else { return };
    let (tell, free) = tokio::sync::oneshot::channel();
    // A thread of its own: the runtime would wait for one of its own in the end.
    std::thread::spawn(move || {
        if instance.lock() {
            let _ = tell.send(instance);
        }
    });
    let Ok(instance) = free.await else { return };
    let settings = instance::settings(&config);
    let until = tokio::time::Instant::now() + SOON;
    while tokio::time::Instant::now() < until {
        if let Ok(server) = start(&config, &store).await {
            told.send_replace(Some(server.control()));
            let lobby = Lobby::open().ok();
            // Without it, others serve for themselves.
            let port = config.listen.net().map_or(0, |address| address.port());
            let _ = instance.write(port, settings, lobby.as_ref().map(|it| it.name().to_owned()));
            serve(server, lobby).await;
            return;
        }
        // The other one lets go of its port a moment after its lock.
        tokio::time::sleep(LOOK).await;
    }
}

/// The server while the command runs.
struct Serving {
    url: String,
    before: Tally,
    instance: Option<Instance>,
    controls: tokio::sync::watch::Receiver<Option<Control>>,
    running: tokio::task::JoinHandle<()>,
    ear: Option<Ear>,
    /// Whether it was this process from the beginning.
    is_own: bool,
}

impl Serving {
    /// Ends what is served here, and tells what the command took, and what this process could not
    /// serve. What was begun is waited for no longer than `patience`.
    async fn end(self, patience: Duration) -> (Tally, NotServed) {
        let after = tally(self.url).await;
        let refused = match self.ear {
            Some(ear) => ear.told(patience.max(LEAST)).await,
            None => NotServed::default(),
        };
        let control = self.controls.borrow().clone();
        let Some(control) = control else {
            self.running.abort();
            return (after.since(self.before), refused);
        };
        control.stop();
        // Whoever waits for the lock may have it now.
        drop(self.instance);
        let _ = tokio::time::timeout(patience, self.running).await;
        // One that began later counted from nothing.
        let tally = if self.is_own { after.since(self.before) } else { after };
        (tally, refused.and(control.not_served()))
    }
}
