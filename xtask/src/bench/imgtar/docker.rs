//! Between the store and Docker: what Docker has of an image decides what has to move.
//!
//! All that this makes in Docker is gone at the end, however it ends (but for SIGKILL).

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use toolkit::Engine;

use super::super::basics::{lost, say, sh};
use super::super::race::{Contender, Race};
use super::archives::wipe;
use super::cost::Job;
use super::{Place, race};
use larder::process::command::{Cmd, quoted};
use larder::process::runner::{RunError, Runner, succeeded};
use larder::process::tools::Tools;

/// How long a load may take that only has to tag.
const PRESENT: Duration = Duration::from_millis(150);

/// A dockerd that had the base from a store.
pub(super) struct Docker<'a> {
    place: &'a Place<'a>,
    /// The command, as a word of a shell.
    command: String,
    /// The store that has the base alone.
    known: Utf8PathBuf,
    /// One that nothing is in.
    empty: Utf8PathBuf,
    /// The image as one keeps it without imgtar.
    packed: Utf8PathBuf,
    /// What is in Docker until this is dropped.
    _made: Made,
}

/// Whether a dockerd answers; if not, why.
pub(super) fn answers(tools: &Tools, runner: &Runner) -> Result<Result<(), String>, RunError> {
    let info = tools.engine(Engine::Docker, "info").args(["--format", "{{.ServerVersion}}"]);
    match runner.ask(&info).and_then(|(status, _)| succeeded(&info, status)) {
        Err(error) if error.is_interruption() => Err(error),
        Err(error) => Ok(Err(error.to_string())),
        Ok(()) => Ok(Ok(())),
    }
}

impl<'a> Docker<'a> {
    /// Has Docker pull the base from a store.
    pub(super) fn with_base(place: &'a Place<'a>) -> Result<Self, RunError> {
        let docker = place.tools.engine(Engine::Docker, "info").program().to_owned();
        let made = Made { docker: docker.clone(), names: ["base", "app"].map(|tag| place.called(tag)) };
        let [known, empty, packed] = ["known", "empty", "app.tar.zst"].map(|name| place.folder.join(name));
        let this = Self { place, command: quoted(&docker), known, empty, packed, _made: made };
        say("pulling the base into Docker");
        this.pull_base()?;
        place.run(&place.imgtar("import", "base", &place.store).path(&place.archives.base))?;
        let archive = quoted(place.archives.app.as_str());
        place.run(&sh(format!("zstd -q -f -T0 -3 {archive} -o {}", quoted(this.packed.as_str()))))?;
        Ok(this)
    }

    fn pull_base(&self) -> Result<(), RunError> {
        let Place { runner, folder, tools, archives, .. } = self.place;
        self.place.run(&self.place.imgtar("import", "base", &self.known).path(&archives.base))?;
        let serve = tools.imgtar("serve").args(["--listen", "127.0.0.1:0", "--store"]).path(&self.known);
        let log = folder.join("serve.log");
        let server = runner.background(&serve, &log)?;
        let pulled = format!("{}/{}", address(&log)?, self.place.called("base"));
        let (docker, base) = (&self.command, self.place.called("base"));
        let done = self.place.run(&sh(format!("{docker} pull -q {pulled} && {docker} tag {pulled} {base}")));
        drop(server);
        // By this name nobody finds it any more, whether it was pulled or not.
        self.place.run(&sh(format!("{docker} rmi {pulled} || true")))?;
        done
    }

    pub(super) fn races(&self) -> Vec<Race> {
        vec![
            race("save of a new image whose base Docker has from the store", self.save_upon_base()),
            race("load, Docker has the base, and the store has it too", self.load_upon_base()),
            race("load, Docker has the image", self.load_again()),
            race("load, Docker has nothing of it", self.load_all()),
            race("save into an empty store", self.save_all()),
        ]
    }

    /// What is measured once. Docker has the image before.
    pub(super) fn jobs(&self) -> Vec<Job> {
        vec![
            Job { contender: self.save().before(wipe(&[&self.empty])), fills: Some(self.empty.clone()) },
            Job { contender: self.load().before(self.nothing()), fills: None },
        ]
    }

    fn save_upon_base(&self) -> Vec<Contender> {
        let save = self.place.imgtar("save", "app", &self.known).arg(self.place.called("app"));
        vec![
            Contender::new("imgtar save", save.args(["--engine", "docker"])).before(self.new_image()),
            self.peers_save().limit(0.1),
        ]
    }

    fn load_upon_base(&self) -> Vec<Contender> {
        let (docker, packed) = (&self.command, quoted(self.packed.as_str()));
        let peer = piped(format!("zstd -q -dc {packed} | {docker} load -q"));
        vec![
            self.load().before(self.base_alone()),
            Contender::new("zstd -dc | docker load", peer).before(self.base_alone()).limit(1.0 / 20.0),
        ]
    }

    fn load_again(&self) -> Vec<Contender> {
        vec![self.load().within(PRESENT)]
    }

    fn load_all(&self) -> Vec<Contender> {
        let load = self.place.tools.engine(Engine::Docker, "load");
        let peer = load.args(["-q", "-i"]).path(&self.place.archives.app);
        vec![
            self.load().before(self.nothing()),
            Contender::new("docker load, plain tar", peer).before(self.nothing()).limit(1.1),
        ]
    }

    fn save_all(&self) -> Vec<Contender> {
        vec![self.save().before(wipe(&[&self.empty])), self.peers_save().limit(1.0)]
    }

    fn load(&self) -> Contender {
        let load = self.place.imgtar("load", "app", &self.place.store).args(["--engine", "docker"]);
        Contender::new("imgtar load", load)
    }

    fn save(&self) -> Contender {
        let save = self.place.imgtar("save", "app", &self.empty).arg(self.place.called("app"));
        Contender::new("imgtar save", save.args(["--engine", "docker"]))
    }

    fn peers_save(&self) -> Contender {
        let (docker, app) = (&self.command, self.place.called("app"));
        let saved = self.place.folder.join("saved.tar.zst");
        let peer = piped(format!("{docker} save {app} | zstd -q -T0 -o {}", quoted(saved.as_str())));
        Contender::new("docker save | zstd -T0", peer).before(wipe(&[&saved]))
    }

    /// Docker gets another image on top of the base, which the store does not have.
    fn new_image(&self) -> Cmd {
        let (docker, app, base) = (&self.command, self.place.called("app"), self.place.called("base"));
        let [known, top] = [&self.known, &self.place.archives.top].map(|path| quoted(path.as_str()));
        let made = container(&app);
        sh(format!(
            "{docker} rmi -f {app}; rm -f {known}/images/keys/app && \
             find {known}/images/blobs -type f -newer {known}/images/keys/base -delete && \
             date +%N >{top}/mark && {docker} create --name {made} {base} && {docker} cp {top} {made}:/app && \
             {docker} commit {made} {app} && {docker} rm {made} && sync"
        ))
    }

    /// Docker has the base, but not the image.
    fn base_alone(&self) -> Cmd {
        let (docker, app, base) = (&self.command, self.place.called("app"), self.place.called("base"));
        sh(format!("{docker} rmi -f {app}; {docker} image inspect {base} && sync"))
    }

    /// Docker has neither.
    fn nothing(&self) -> Cmd {
        let (docker, app, base) = (&self.command, self.place.called("app"), self.place.called("base"));
        sh(format!("{docker} rmi -f {app} {base}; sync"))
    }
}

/// The container of a moment that becomes an image.
fn container(image: &str) -> String {
    image.replace(':', "-")
}

/// A pipe that fails where any of its commands does.
fn piped(script: String) -> Cmd {
    Cmd::new("bash").args(["-o", "pipefail", "-c"]).arg(script)
}

/// Where a server listens that has just been started.
fn address(log: &Utf8Path) -> Result<String, RunError> {
    let started = Instant::now();
    loop {
        let said = std::fs::read_to_string(log).map_err(lost)?;
        let mut whole = said.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        if let Some(address) = whole.find_map(|line| line.strip_prefix("http://")) {
            return Ok(address.to_owned());
        }
        if started.elapsed() > Duration::from_secs(10) {
            return Err(lost(std::io::Error::other(format!("`imgtar serve` does not answer: {said}"))));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What is to be removed from Docker.
struct Made {
    docker: String,
    names: [String; 2],
}

impl Drop for Made {
    fn drop(&mut self) {
        // Not through the runner, which starts nothing after a signal.
        let run = |args: &[&str]| {
            let mut command = Command::new(&self.docker);
            // What is not there need not be removed; nor can more be done.
            let _ =
                command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        };
        let [base, app] = &self.names;
        run(&["rm", "-f", &container(app)]);
        run(&["rmi", "-f", base, app]);
    }
}
