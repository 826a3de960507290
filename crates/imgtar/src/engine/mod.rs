//! Docker and podman: through their own commands, so that contexts, hosts and credentials are the
//! user's; or docker's daemon itself, where it is behind a unix socket of this machine.
//!
//! Errors name the command that does the same, whichever way it was.
//!
//! Deliberately absent: which engine a command works with (`cli`), and the registries of others
//! (`registry`).

mod daemon;
mod digests;
pub(crate) mod http1;
pub mod load;
pub mod partial;
mod process;
mod push;
pub mod save;
pub(crate) mod save_by_push;
mod seen;
mod transfer;

use std::io;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use camino::Utf8PathBuf;

use crate::error::{Error, Result};
use crate::format::image_name;
use crate::format::oci::Platform;
use daemon::{Daemon, Refusal};
pub use digests::Digests;
use process::{Running, collect, telling};
pub use seen::Seen;
pub(crate) use seen::is_digest;
pub use toolkit::Engine as Kind;
pub use transfer::{Loading, Saving};

/// How an engine keeps images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Docker's own: layers by their chains of diffIDs.
    Layers,
    /// Docker with containerd: blobs by their digests.
    Content,
    /// Podman's: layers by their diffIDs.
    Podman,
    /// It did not say.
    Unknown,
}

impl Storage {
    /// Understands what `docker info` says of its driver.
    fn told(answer: &[u8]) -> Self {
        type Pairs = Option<Vec<Vec<String>>>;
        match serde_json::from_slice::<(String, Pairs)>(answer) {
            Ok((driver, status)) => Self::of(&driver, &status.unwrap_or_default()),
            Err(_) => Self::Unknown,
        }
    }

    fn of(driver: &str, status: &[Vec<String>]) -> Self {
        let kind = status.iter().find(|pair| pair.first().is_some_and(|name| name == "driver-type"));
        match kind.and_then(|pair| pair.get(1)).map(String::as_str) {
            Some(kind) if kind.starts_with("io.containerd.snapshotter.") => Self::Content,
            None if !driver.is_empty() => Self::Layers,
            _ => Self::Unknown,
        }
    }
}

/// A container engine: docker or podman.
#[derive(Clone, Debug)]
pub struct Engine {
    kind: Kind,
    program: String,
    socket: Option<Utf8PathBuf>,
    /// Makes its command one that ends with this process.
    guard: Option<Guard>,
    daemon: OnceLock<Option<Daemon>>,
}

/// Makes a command of a program's name.
pub type Guard = fn(&str) -> Command;

/// So often podman is asked for its images before its failure is believed.
const LISTINGS: u32 = 5;

impl Engine {
    /// An engine behind this command.
    #[must_use]
    pub fn new(kind: Kind, program: String) -> Self {
        Self { kind, program, socket: None, guard: None, daemon: OnceLock::new() }
    }

    /// As [`Engine::new`], for a docker whose daemon may be asked itself, behind this socket. Where
    /// it does not answer there, its command is asked.
    #[must_use]
    pub fn with_socket(kind: Kind, program: String, socket: Option<Utf8PathBuf>) -> Self {
        Self { socket, ..Self::new(kind, program) }
    }

    /// The same; what it is started for at length ends with this process, by this guard.
    #[must_use]
    pub fn guarded(self, guard: Guard) -> Self {
        Self { guard: Some(guard), ..self }
    }

    fn daemon(&self) -> Option<&Daemon> {
        self.daemon.get_or_init(|| self.socket.as_deref().and_then(Daemon::at)).as_ref()
    }

    /// Which engine it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The platform of the engine's machine; that of this one where the engine does not say.
    ///
    /// # Errors
    /// No engine; an engine that refuses.
    pub fn platform(&self) -> Result<Platform> {
        let format = match self.kind {
            Kind::Docker => ["version", "--format", "{{.Server.Os}}/{{.Server.Arch}}"],
            Kind::Podman => ["info", "--format", "{{.Host.OS}}/{{.Host.Arch}}"],
        };
        let said = match self.daemon() {
            Some(daemon) => daemon.platform().map_err(|no| self.refused(&format, &no))?,
            None => self.ask(&format)?,
        };
        Ok(Platform::of_engine(said.trim()).unwrap_or_default())
    }

    /// Whether it answers at all: a command may be there without its daemon.
    #[must_use]
    pub fn answers(&self) -> bool {
        let server = match self.kind {
            Kind::Docker => "{{.Server.Version}}",
            Kind::Podman => "{{.Client.Version}}",
        };
        self.daemon().is_some() || self.ask(&["version", "--format", server]).is_ok()
    }

    /// Those of these images, by ID or by name, that the engine has.
    ///
    /// # Errors
    /// No engine; an engine that cannot be asked.
    pub fn look(&self, wanted: &[String]) -> Result<Vec<Seen>> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(daemon) = self.daemon() {
            return daemon.look(wanted).map_err(|no| self.refused(&["image", "inspect", &wanted[0]], &no));
        }
        let format = Seen::format(self.kind);
        let mut arguments = vec!["image", "inspect", "--format", &format];
        arguments.extend(wanted.iter().map(String::as_str));
        let output = self.output(&arguments)?;
        let seen: Vec<Seen> =
            String::from_utf8_lossy(&output.stdout).lines().filter_map(Seen::parse).collect();
        let said = telling(&output.stderr);
        if !output.status.success() && !is_unknown(&said) {
            return Err(self.failed(&arguments, &output.status.to_string(), &said));
        }
        if output.status.success() && seen.is_empty() {
            let said = format!("{}'s answer was not understood", self.kind.name());
            return Err(self.failed(&arguments, &output.status.to_string(), &said));
        }
        Ok(seen)
    }

    /// The image, if the engine has it.
    ///
    /// # Errors
    /// No engine; an engine that cannot be asked.
    pub(crate) fn hold(&self, image: &str) -> Result<Option<Seen>> {
        Ok(self.look(&[image.to_owned()])?.pop())
    }

    /// The IDs of all images, without a look at any.
    ///
    /// # Errors
    /// No engine; an engine that refuses.
    pub fn ids(&self) -> Result<Vec<String>> {
        self.list(&["image", "ls", "--all", "--quiet", "--no-trunc"], None)
    }

    /// The IDs of the images of this name, whatever their tags.
    ///
    /// # Errors
    /// No engine; an engine that refuses.
    pub(crate) fn ids_named(&self, name: &str) -> Result<Vec<String>> {
        self.list(&["image", "ls", "--quiet", "--no-trunc", name], Some(name))
    }

    fn list(&self, arguments: &[&str], name: Option<&str>) -> Result<Vec<String>> {
        if let Some(daemon) = self.daemon() {
            return daemon.ids(name).map_err(|no| self.refused(arguments, &no));
        }
        // Podman fails where an image is removed while it lists them.
        let mut again = if self.kind == Kind::Podman { LISTINGS } else { 1 };
        let said = loop {
            again -= 1;
            match self.ask(arguments) {
                Err(Error::Engine { .. }) if again > 0 => {}
                said => break said?,
            }
        };
        Ok(said.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect())
    }

    /// How the engine keeps images, which decides what it may be sent. Where it does not say, it is
    /// sent everything.
    ///
    /// # Errors
    /// No engine.
    pub fn storage(&self) -> Result<Storage> {
        if self.kind == Kind::Podman {
            return Ok(Storage::Podman);
        }
        if let Some(daemon) = self.daemon() {
            return Ok(daemon.storage().unwrap_or(Storage::Unknown));
        }
        let output = self.output(&["info", "--format", "[{{json .Driver}},{{json .DriverStatus}}]"])?;
        Ok(if output.status.success() { Storage::told(&output.stdout) } else { Storage::Unknown })
    }

    /// The name as the engine's own `build` and `tag` complete it: podman puts `localhost/` before
    /// one without a registry.
    #[must_use]
    pub fn own_name(&self, name: &str) -> String {
        match self.kind {
            Kind::Podman if !image_name::has_registry(name) => format!("localhost/{name}"),
            _ => name.to_owned(),
        }
    }

    /// A stored name as the engine has to be given it. The store has names in docker's short form,
    /// in which one without a registry is docker.io's; podman understands none of that, and would
    /// make it one of `localhost/`.
    #[must_use]
    pub fn stored_name(&self, name: &str) -> String {
        match self.kind {
            Kind::Podman => image_name::whole(name),
            Kind::Docker => name.to_owned(),
        }
    }

    /// Gives an image a name.
    ///
    /// # Errors
    /// No engine; an engine that refuses.
    pub fn tag(&self, id: &str, name: &str) -> Result<()> {
        let arguments = ["tag", id, name];
        match self.daemon() {
            Some(daemon) => daemon.tag(id, name).map_err(|no| self.refused(&arguments, &no)),
            None => self.ask(&arguments).map(drop),
        }
    }

    /// Starts to read an image as an archive. The end of the reader is the engine's success.
    ///
    /// # Errors
    /// No engine.
    pub fn save(&self, image: &str) -> Result<Saving> {
        let arguments: &[&str] = match self.kind {
            Kind::Docker => &["save", image],
            Kind::Podman => &["save", "--format", "docker-archive", image],
        };
        if let Some(daemon) = self.daemon() {
            let archive = daemon.save(image).map_err(|no| self.refused(arguments, &no))?;
            return Ok(Saving::sent(self.clone(), arguments, archive));
        }
        let mut child = self.spawn(arguments, Stdio::null(), Stdio::piped())?;
        let out = child.0.stdout.take();
        Ok(Saving::written(self.clone(), arguments, out, child))
    }

    /// Starts to load an archive.
    ///
    /// # Errors
    /// No engine.
    pub fn load(&self) -> Result<Loading> {
        if let Some(daemon) = self.daemon() {
            let upload = daemon.load().map_err(|no| self.refused(&["load"], &no))?;
            return Ok(Loading::sent(self.clone(), upload));
        }
        let mut child = self.spawn(&["load"], Stdio::piped(), Stdio::piped())?;
        let input = child.0.stdin.take();
        let out = child.0.stdout.take().map(collect);
        Ok(Loading::read(self.clone(), input, out, child))
    }

    fn ask(&self, arguments: &[&str]) -> Result<String> {
        let output = self.output(arguments)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(self.failed(arguments, &output.status.to_string(), &telling(&output.stderr)))
    }

    fn output(&self, arguments: &[&str]) -> Result<Output> {
        let started = Command::new(&self.program).args(arguments).stdin(Stdio::null()).output();
        started.map_err(|source| self.not_there(source))
    }

    fn spawn(&self, arguments: &[&str], stdin: Stdio, stdout: Stdio) -> Result<Running> {
        let mut command = self.guard.unwrap_or(|program| Command::new(program))(&self.program);
        let started = command.args(arguments).stdin(stdin).stdout(stdout).stderr(Stdio::piped()).spawn();
        let mut child = started.map_err(|source| self.not_there(source))?;
        let said = child.stderr.take().map(collect);
        Ok(Running(child, said))
    }

    fn not_there(&self, source: io::Error) -> Error {
        let (engine, variable) = (self.kind.name(), self.kind.variable());
        Error::NoEngine { program: self.program.clone(), engine, variable, source }
    }

    fn refused(&self, arguments: &[&str], refusal: &Refusal) -> Error {
        self.failed(arguments, &refusal.status, &refusal.said)
    }

    fn failed(&self, arguments: &[&str], status: &str, said: &str) -> Error {
        let command = self.command(arguments);
        let said = if said.is_empty() { "it said nothing" } else { said };
        Error::Engine { command, help: self.remedy(said), status: status.to_owned(), said: said.to_owned() }
    }

    /// The command as it is shown: of a long one, how it begins.
    fn command(&self, arguments: &[&str]) -> String {
        let whole = format!("{} {}", self.program, arguments.join(" "));
        if whole.chars().count() <= 100 {
            return whole;
        }
        let begin = arguments.iter().take_while(|word| !word.starts_with('-')).copied();
        format!("{} {} …", self.program, begin.collect::<Vec<_>>().join(" "))
    }

    fn remedy(&self, said: &str) -> String {
        let program = &self.program;
        if is_unknown(said) {
            return format!("`{program} images` lists what it has");
        }
        if is_bad_name(said) {
            return format!(
                "write NAME, NAME:TAG or an ID, in lower case, such as `app:latest`; `{program} images` lists what it has"
            );
        }
        if said.to_lowercase().contains("permission denied") {
            return format!("you may not use this engine: see what `{program} info` says");
        }
        format!("see whether the engine runs (`{program} info`) and has room; then try again")
    }
}

/// Whether an engine says that it has no such image.
fn is_unknown(said: &str) -> bool {
    let said = said.to_lowercase();
    ["no such image", "image not known", "no such object", "unable to find", "reference does not exist"]
        .iter()
        .any(|phrase| said.contains(phrase))
}

/// Whether an engine says that what it was given cannot be an image's name.
fn is_bad_name(said: &str) -> bool {
    let said = said.to_lowercase();
    let phrases = [
        "invalid reference format",
        "invalid repository name",
        "must be lowercase",
        "repository name must",
        "invalid tag format",
        "invalid checksum digest",
        "unsupported digest algorithm",
        "parsing reference",
        "parsing normalized reference",
        "is not a valid repository/tag",
    ];
    phrases.iter().any(|phrase| said.contains(phrase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn advises(said: &str, advice: &str) {
        let help = Engine::new(Kind::Docker, "docker".to_owned()).remedy(said);
        assert!(help.contains(advice), "{said}: {help}");
    }

    /// Words of real engines: docker 20.10 and 29, podman 4.3.
    #[test]
    fn the_help_is_about_what_the_engine_says() {
        for said in [
            "invalid reference format",
            "invalid reference format: repository name must be lowercase",
            "Error response from daemon: invalid reference format: repository name must be lowercase",
            "Error: inspecting object: invalid reference format",
            "invalid checksum digest length",
            "invalid tag format",
        ] {
            advises(said, "write NAME, NAME:TAG or an ID");
        }
        advises("No such image: app:1", "lists what it has");
        advises("Error: no-such:1: image not known", "lists what it has");
        advises("dial unix /var/run/docker.sock: connect: permission denied", "may not use this engine");
        advises("write /var/lib/x: no space left on device", "has room");
        advises("Cannot connect to the Docker daemon", "see whether the engine runs");
    }

    #[track_caller]
    fn tells(answer: &str, expected: Storage) {
        assert_eq!(Storage::told(answer.as_bytes()), expected, "{answer}");
    }

    /// Answers of real daemons: 20.10 with overlay2, 27 with containerd, 29.
    #[test]
    fn what_docker_says_of_its_store_is_understood() {
        tells(
            r#"["overlay2",[["Backing Filesystem","extfs"],["Supports d_type","true"],["Native Overlay Diff","true"],["userxattr","false"]]]"#,
            Storage::Layers,
        );
        tells(r#"["vfs",null]"#, Storage::Layers);
        tells(r#"["overlayfs",[["driver-type","io.containerd.snapshotter.v1"]]]"#, Storage::Content);
        tells(r#"["stargz",[["driver-type","io.containerd.snapshotter.v1"]]]"#, Storage::Content);
    }

    #[test]
    fn an_answer_in_doubt_is_none() {
        for answer in ["", "null", r#"["",null]"#, r#"["x",[["driver-type","something new"]]]"#, "[1,2]"] {
            tells(answer, Storage::Unknown);
        }
    }

    #[test]
    fn podman_completes_names_as_it_does_itself() {
        let own = |kind, name| Engine::new(kind, String::new()).own_name(name);
        assert_eq!(own(Kind::Podman, "app:1"), "localhost/app:1");
        assert_eq!(own(Kind::Podman, "docker.io/library/app:1"), "docker.io/library/app:1");
        assert_eq!(own(Kind::Docker, "app:1"), "app:1");
    }

    #[test]
    fn podman_is_given_stored_names_in_full() {
        let stored = |kind, name| Engine::new(kind, String::new()).stored_name(name);
        for (name, whole) in [
            ("app:1", "docker.io/library/app:1"),
            ("team/app:1", "docker.io/team/app:1"),
            ("docker.io/app:1", "docker.io/library/app:1"),
            ("localhost/app:1", "localhost/app:1"),
            ("registry.example:5000/app:1", "registry.example:5000/app:1"),
        ] {
            assert_eq!(stored(Kind::Podman, name), whole);
            assert_eq!(stored(Kind::Docker, name), name);
        }
    }
}
