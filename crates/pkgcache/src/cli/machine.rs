//! This machine: the files and variables of its package clients, and the clients themselves where
//! they alone know.

use std::net::{TcpListener, ToSocketAddrs};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pkgcache::clients::plan::{Plan, is_private};
use pkgcache::clients::{
    Ecosystem, Found, Role, Text, address, apt, cargo, dnf, go, huggingface, npm, python, registries,
};
use storekit::files::replace;
use toolkit::Environment;

use crate::cli::ask;

/// No settings file of a client's is larger.
const CAP: u64 = 8 << 20;

/// A machine, or its files in another folder.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    environment: Environment,
    /// Where its files are; nothing of it can be asked or run then.
    root: Option<Utf8PathBuf>,
}

impl Machine {
    /// This one.
    pub(crate) fn this(environment: &Environment) -> Self {
        Self { environment: environment.clone(), root: None }
    }

    /// One whose files are below `root`, with root as its user.
    pub(crate) fn below(root: &Utf8Path) -> Self {
        let variables = [("HOME".to_owned(), "/root".to_owned())].into();
        Self { environment: Environment { folder: "/".into(), variables }, root: Some(root.to_owned()) }
    }

    /// All that its clients are set up for, and where they are not, what they have built in;
    /// without what leads to one of `own`, this cache itself.
    pub(crate) fn plan(&self, own: &[String]) -> Plan {
        let mut found = self.found(own);
        self.engines(&mut found);
        found.without_ourselves(own);
        if self.root.is_none() {
            self.ask(&mut found);
        }
        let mut plan = Plan::of(found);
        if self.root.is_none() && plan.parent.is_none() {
            plan.private = private(&plan);
        }
        let without = ["no_proxy", "NO_PROXY"].iter().find_map(|name| self.environment.get(name));
        plan.note_without_proxy(without.unwrap_or_default());
        plan
    }

    /// What the files and variables of its package clients say, without what leads to one of `own`.
    pub(crate) fn found(&self, own: &[String]) -> Found {
        let mut found = Found::default();
        self.python(&mut found);
        self.npm(&mut found);
        self.cargo(&mut found);
        found.add(huggingface::huggingface(&self.environment));
        let file = go::file(&self.environment);
        let files = self.texts(&mut found, &file.into_iter().collect::<Vec<_>>());
        found.add(go::go(&files, &self.environment));
        self.apt(&mut found, own);
        self.dnf(&mut found, own);
        self.proxy(&mut found);
        found.without_ourselves(own);
        found
    }

    /// The registries that this machine's container engines use.
    pub(crate) fn registries(&self, own: &[String]) -> Found {
        let mut found = Found::default();
        self.engines(&mut found);
        found.without_ourselves(own);
        found
    }

    fn python(&self, found: &mut Found) {
        let files = self.texts(found, &python::pip_files(&self.environment));
        found.add(python::pip(&files, &self.environment));
        let files = self.texts(found, &python::uv_files(&self.environment));
        found.add(python::uv(&files, &self.environment));
        let netrc = self.environment.get("NETRC").map(Utf8PathBuf::from);
        let home = self.environment.get("HOME").map(Utf8PathBuf::from);
        let netrc = netrc.or_else(|| Some(home?.join(".netrc")));
        for file in self.texts(found, &netrc.into_iter().collect::<Vec<_>>()) {
            python::with_netrc(found, &file);
        }
    }

    fn npm(&self, found: &mut Found) {
        let node = ask::find("node", self.environment.get("PATH"));
        let node = node.and_then(|path| path.canonicalize_utf8().ok());
        let prefix = node.as_deref().and_then(Utf8Path::parent).and_then(Utf8Path::parent);
        let is_project = |folder: &&Utf8Path| {
            ["package.json", "node_modules"].iter().any(|name| self.at(&folder.join(name)).exists())
        };
        let folder = &self.environment.folder;
        let project = folder.ancestors().find(is_project).unwrap_or(folder);
        let files = self.texts(found, &npm::files(&self.environment, prefix, Some(project)));
        found.add(npm::npm(&files, &self.environment));
        found.add(npm::pnpm(&self.environment));
        let home = self.environment.get("HOME").map(Utf8Path::new);
        let folders = [home, Some(project)].into_iter().flatten();
        let files: Vec<_> =
            folders.flat_map(|it| [".yarnrc", ".yarnrc.yml"].map(|name| it.join(name))).collect();
        let files = self.texts(found, &files);
        found.add(npm::yarn(&files, &self.environment));
    }

    fn cargo(&self, found: &mut Found) {
        let (files, credentials) = cargo::files(&self.environment);
        let (files, credentials) = (self.texts(found, &files), self.texts(found, &credentials));
        found.add(cargo::cargo(&files, &credentials, &self.environment));
    }

    fn apt(&self, found: &mut Found, own: &[String]) {
        let lists = self.apt_lists(found);
        let mut auth = vec![Utf8PathBuf::from("/etc/apt/auth.conf")];
        auth.extend(self.folder("/etc/apt/auth.conf.d", is_conf));
        let auth = self.texts(found, &auth);
        found.add(apt::apt(&lists, &auth));
        let mut settings = self.folder("/etc/apt/apt.conf.d", |name| !name.starts_with('.'));
        settings.push("/etc/apt/apt.conf".into());
        let settings = self.texts(found, &settings);
        let text: String = settings.into_iter().map(|it| it.text + "\n").collect();
        note_proxy(found, "apt", apt::proxy(&text), own);
    }

    fn dnf(&self, found: &mut Found, own: &[String]) {
        let settings = ["/etc/dnf/dnf.conf", "/etc/yum.conf"].map(Utf8PathBuf::from);
        let settings = self.texts(found, &settings);
        let repositories = self.texts(found, &self.dnf_files());
        found.add(dnf::dnf(&settings, &repositories));
        for file in &settings {
            note_proxy(found, "dnf", dnf::proxy(&file.text), own);
        }
    }

    /// The files that name dnf's repositories.
    fn dnf_files(&self) -> Vec<Utf8PathBuf> {
        let folders = ["/etc/yum.repos.d", "/etc/yum/repos.d", "/etc/distro.repos.d"];
        folders.iter().flat_map(|folder| self.folder(folder, dnf::is_repo)).collect()
    }

    /// Their texts.
    pub(crate) fn dnf_repositories(&self) -> Vec<Text> {
        self.texts(&mut Found::default(), &self.dnf_files())
    }

    fn apt_lists(&self, found: &mut Found) -> Vec<Text> {
        let mut lists = vec![Utf8PathBuf::from("/etc/apt/sources.list")];
        lists.extend(self.folder("/etc/apt/sources.list.d", apt::is_list));
        self.texts(found, &lists)
    }

    /// The repositories of apt's lists, each with a suite.
    pub(crate) fn suites(&self) -> Vec<(String, String)> {
        let sources = self.apt_sources().into_iter();
        sources.filter_map(|it| Some((it.uri, it.suites.into_iter().next()?))).collect()
    }

    /// The repositories that this machine's apt uses.
    pub(crate) fn apt_sources(&self) -> Vec<apt::Source> {
        self.apt_lists(&mut Found::default()).iter().flat_map(apt::sources).collect()
    }

    fn engines(&self, found: &mut Found) {
        let own = self.dockers_own();
        let name = own.as_ref().and_then(|own| match &own.indexes.first()?.role {
            Role::Named(name) => Some(name.clone()),
            _ => None,
        });
        let home = self.environment.get("HOME").map(Utf8Path::new);
        let config = self.environment.get("XDG_CONFIG_HOME").map(Utf8PathBuf::from);
        let config = config.or_else(|| Some(home?.join(".config")));
        let daemon =
            [Some("/etc/docker/daemon.json".into()), config.as_ref().map(|it| it.join("docker/daemon.json"))];
        for file in self.texts(found, &daemon.into_iter().flatten().collect::<Vec<_>>()) {
            found.add(registries::docker(&file, name.as_deref()));
        }
        let mut conf = vec![Utf8PathBuf::from("/etc/containers/registries.conf")];
        conf.extend(self.folder("/etc/containers/registries.conf.d", is_conf));
        conf.extend(config.as_ref().map(|it| it.join("containers/registries.conf")));
        if let Some(file) = self.environment.get("CONTAINERS_REGISTRIES_CONF") {
            conf = vec![file.into()];
        }
        let conf = self.texts(found, &conf);
        found.add(registries::podman(&conf));
        for folder in self.folder("/etc/containerd/certs.d", |_| true) {
            let name = folder.file_name().unwrap_or_default().to_owned();
            for file in self.texts(found, &[folder.join("hosts.toml")]) {
                found.add(registries::containerd(&name, &file));
            }
        }
        let docker = self.environment.get("DOCKER_CONFIG").map(Utf8PathBuf::from);
        let logins = [
            docker.or_else(|| Some(home?.join(".docker"))).map(|it| it.join("config.json")),
            self.environment.get("XDG_RUNTIME_DIR").map(|it| Utf8Path::new(it).join("containers/auth.json")),
            config.as_ref().map(|it| it.join("containers/auth.json")),
        ];
        for file in self.texts(found, &logins.into_iter().flatten().collect::<Vec<_>>()) {
            found.add(registries::logins(&file));
        }
        found.add(own.unwrap_or_default());
    }

    fn dockers_own(&self) -> Option<Found> {
        let format = "{{range $name, $it := .RegistryConfig.IndexConfigs}}{{if $it.Official}}{{$name}}{{end}}{{end}} {{.IndexServerAddress}}";
        let mut docker = self.program("docker")?;
        // This machine's own: another one may be behind a command that asks for a password.
        docker.env_remove("DOCKER_HOST").args(["--context", "default", "info", "--format", format]);
        registries::built_in(ask::ask(&mut docker)?.lines().last()?)
    }

    fn proxy(&self, found: &mut Found) {
        let names = ["https_proxy", "HTTPS_PROXY", "http_proxy", "all_proxy", "ALL_PROXY"];
        let Some((name, proxy)) = names.iter().find_map(|name| Some((name, self.environment.get(name)?)))
        else {
            return;
        };
        if proxy.starts_with("http://") && !proxy.contains('@') {
            found.proxy = Some(proxy.to_owned());
        } else {
            found.notes.push(format!(
                "{name}: this proxy has credentials or is not one of HTTP, so that upstreams are not reached through it"
            ));
        }
    }

    /// Asks the clients that no setting speaks for.
    fn ask(&self, found: &mut Found) {
        type Ask = fn(&Machine) -> Option<Result<Found, String>>;
        let asks: [(Ecosystem, Ask); 5] = [
            (Ecosystem::Python, Self::python_itself),
            (Ecosystem::Npm, Self::npm_itself),
            (Ecosystem::Cargo, Self::cargo_itself),
            (Ecosystem::HuggingFace, Self::huggingface_itself),
            (Ecosystem::Go, Self::go_itself),
        ];
        let open: Vec<_> = asks.into_iter().filter(|(ecosystem, _)| !found.has_default(*ecosystem)).collect();
        let said: Vec<_> = thread::scope(|scope| {
            let running: Vec<_> = open.iter().map(|(_, ask)| scope.spawn(|| ask(self))).collect();
            running.into_iter().filter_map(|it| it.join().ok().flatten()).collect()
        });
        for said in said {
            match said {
                Ok(more) => found.add(more),
                Err(note) => found.notes.push(note),
            }
        }
    }

    fn python_itself(&self) -> Option<Result<Found, String>> {
        for (name, client) in [("pip", "pip"), ("pip3", "pip")] {
            if let Some(mut pip) = self.program(name) {
                pip.args(["--isolated", "install", "--help"]).env("PIP_CONFIG_FILE", "/dev/null");
                // Its help has no more columns than the terminal, and breaks a long address.
                if let Some(found) = python::built_in(&ask::ask(pip.env("COLUMNS", "400"))?, client) {
                    return Some(Ok(found));
                }
            }
        }
        if let Some(mut uv) = self.program("uv") {
            uv.args(["pip", "install", "--help"]).env("UV_NO_CONFIG", "1");
            if let Some(found) = python::built_in(&ask::ask(&mut uv)?, "uv") {
                return Some(Ok(found));
            }
            return Some(Err("uv does not say which index it has built in".to_owned()));
        }
        let is_there = self.program("pip").or_else(|| self.program("pip3")).is_some();
        is_there.then(|| Err("pip does not say which index it has built in".to_owned()))
    }

    fn npm_itself(&self) -> Option<Result<Found, String>> {
        let mut command = self.program("npm")?;
        for name in self.environment.variables.keys() {
            if name.get(..11).is_some_and(|start| start.eq_ignore_ascii_case("npm_config_")) {
                command.env_remove(name);
            }
        }
        command.args([
            "config",
            "get",
            "registry",
            "--userconfig=/nonexistent/user",
            "--globalconfig=/nonexistent/global",
        ]);
        let found = ask::ask(&mut command).and_then(|said| npm::built_in(&said, "npm"));
        Some(found.ok_or_else(|| "npm does not say which registry it has built in".to_owned()))
    }

    /// The library, where this machine's Python has it.
    fn huggingface_itself(&self) -> Option<Result<Found, String>> {
        let mut python = self.program("python3")?;
        let said = ask::ask(python.args(["-c", huggingface::PROGRAM]))?;
        huggingface::built_in(&said).map(Ok)
    }

    fn go_itself(&self) -> Option<Result<Found, String>> {
        let mut command = self.program("go")?;
        command
            .args(["env", "GOPROXY"])
            .env("GOENV", "off")
            .env("GOTOOLCHAIN", "local")
            .env_remove("GOPROXY");
        let found = ask::ask(&mut command).and_then(|said| go::built_in(&said));
        Some(found.ok_or_else(|| "go does not say which proxy it has built in".to_owned()))
    }

    /// cargo names its index where it cannot reach it: through a proxy that is not there. Nothing
    /// is sent to the index.
    fn cargo_itself(&self) -> Option<Result<Found, String>> {
        let mut command = self.program("cargo");
        let said = command.as_mut().and_then(|command| self.cargo_without_network(command));
        let found = said.or_else(|| self.cargo_cache());
        if found.is_none() && command.is_none() {
            return None;
        }
        Some(found.ok_or_else(|| "cargo does not say which index it has built in".to_owned()))
    }

    fn cargo_without_network(&self, command: &mut Command) -> Option<Found> {
        let home = tempfile::tempdir().ok()?;
        // The port is free, and nobody answers there.
        let port = TcpListener::bind(("127.0.0.1", 0)).ok()?.local_addr().ok()?.port();
        for name in self.environment.variables.keys().filter(|name| name.starts_with("CARGO_")) {
            command.env_remove(name);
        }
        for name in ["no_proxy", "NO_PROXY"] {
            command.env_remove(name);
        }
        command.args(["search", "x"]).env("CARGO_HOME", home.path()).env("CARGO_NET_RETRY", "0");
        command.env("CARGO_HTTP_PROXY", format!("http://127.0.0.1:{port}"));
        cargo::built_in(&ask::ask(command)?)
    }

    fn cargo_cache(&self) -> Option<Found> {
        let index = cargo::home(&self.environment)?.join("registry/index");
        let is_sparse =
            |folder: &Utf8PathBuf| folder.join("config.json").is_file() && folder.join(".cache").is_dir();
        let mut sparse = self.folder(index.as_str(), |_| true).into_iter().filter(is_sparse);
        let (one, other) = (sparse.next()?, sparse.next());
        // Of several, none is known to be cargo's own.
        cargo::of_cache_folder(one.file_name()?).filter(|_| other.is_none())
    }

    /// The program, if it is there and can be asked.
    fn program(&self, name: &str) -> Option<Command> {
        let found = ask::find(name, self.environment.get("PATH")).filter(|_| self.root.is_none())?;
        Some(Command::new(found))
    }

    /// Where a file of the machine is.
    fn at(&self, path: &Utf8Path) -> Utf8PathBuf {
        match &self.root {
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
            None => path.to_owned(),
        }
    }

    /// The texts of the files that are there. One that cannot be read is noted.
    fn texts(&self, found: &mut Found, paths: &[Utf8PathBuf]) -> Vec<Text> {
        let mut texts = Vec::new();
        for path in paths.iter().filter(|path| *path != "/dev/null") {
            match replace::read_capped(&self.at(path), CAP) {
                Ok(None) => {}
                Ok(Some(bytes)) => {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    texts.push(Text { from: path.to_string(), text });
                }
                Err(error) => {
                    let cause =
                        std::error::Error::source(&error).map(|it| format!(": {it}")).unwrap_or_default();
                    found.notes.push(format!("{error}{cause}"));
                }
            }
        }
        texts
    }

    /// What lies in the folder, sorted.
    fn folder(&self, path: &str, wanted: impl Fn(&str) -> bool) -> Vec<Utf8PathBuf> {
        let mut names = replace::names(&self.at(Utf8Path::new(path))).unwrap_or_default();
        names.sort();
        names.into_iter().filter(|name| wanted(name)).map(|name| Utf8Path::new(path).join(name)).collect()
    }
}

/// Notes the proxy that a client has already, unless it is this cache itself.
fn note_proxy(found: &mut Found, client: &str, proxy: Option<String>, own: &[String]) {
    let is_other = |proxy: &String| !own.iter().any(|own| own == address::authority(proxy));
    if let Some(proxy) = proxy.filter(is_other) {
        let shown = toolkit::net::without_credentials(&proxy);
        found.notes.push(format!("{client} goes through the proxy `{shown}` already"));
    }
}

/// Whether a program reads a file of this name in a folder of settings.
fn is_conf(name: &str) -> bool {
    Utf8Path::new(name).extension() == Some("conf")
}

/// No name takes longer to be looked up, or it is left.
const LOOK_UP: Duration = Duration::from_secs(3);

/// The hosts of which a name has a private address here.
fn private(plan: &Plan) -> Vec<String> {
    let mut hosts: Vec<_> = plan.hosts().map(|(host, port)| (host.to_owned(), port)).collect();
    hosts.sort();
    hosts.dedup();
    let is_name = |host: &str| {
        host != "localhost" && host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_err()
    };
    hosts.retain(|(host, _)| is_name(host));
    let (tell, told) = mpsc::channel();
    for (host, port) in hosts {
        let tell = tell.clone();
        thread::spawn(move || {
            let addresses = (host.as_str(), port).to_socket_addrs();
            let is = addresses.is_ok_and(|mut all| all.any(|it| is_private(it.ip())));
            let _ = tell.send((host, is));
        });
    }
    drop(tell);
    let mut private = Vec::new();
    while let Ok((host, is)) = told.recv_timeout(LOOK_UP) {
        if is && !private.contains(&host) {
            private.push(host);
        }
    }
    private.sort();
    private
}
