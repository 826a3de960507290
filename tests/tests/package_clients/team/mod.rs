//! The machine-learning team's project, as docs/models.md has it: packages, wheels and models are
//! fetched once, by a bake; then it is started without a network.

mod failures;
mod upstreams;

use larder_tests::{Part, Ran, Session, guide, have};

use self::upstreams::{OLLAMA, TOKEN, Upstreams};
use crate::ollama::Registry;

/// What the project needs, whatever builds it.
const PARTS: [Part; 5] = [Part::ClientBase, Part::HuggingFace, Part::Apt, Part::Git, Part::Python];

/// The guide, in the two halves between which the network goes.
fn guide_of(upstreams: &Upstreams<'_>, base: &str, name: &str) -> (String, String) {
    let path = format!("{}/../docs/models.md", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let text = upstreams.named(&text).replace("python:3.11", base).replace("atelier", name);
    let (with, without) = text.split_once("## The network is gone").unwrap();
    (with.to_owned(), without.to_owned())
}

/// A session with images of these names, whose `pkgcache` is small enough to be copied.
struct Team {
    session: Session,
    engine: &'static str,
    /// The project's name.
    name: String,
    /// The image that its own are built on.
    base: String,
    /// What goes before each line.
    prepare: String,
}

impl Team {
    fn new(engine: &'static str, upstreams: &Upstreams<'_>) -> Self {
        let mut session = Session::new();
        let clients = session.client_base_of(engine);
        let [base, name] = ["python", "atelier"].map(|name| session.image_in(engine, name));
        for service in ["atelier-devcontainer", "atelier-test-gen", "atelier-pkgcache"] {
            let _ = session.image_in(engine, service);
        }
        upstreams.image(engine, &clients, &base);
        session.run("mkdir -p ../bin ../store && strip -o ../bin/pkgcache \"$(command -v pkgcache)\"").ok();
        let only = if engine == "docker" { "LARDER_DOCKER" } else { "LARDER_PODMAN" };
        let bin = session.aside("bin");
        let prepare = format!("export PATH={bin}:$PATH {only}={engine} COMPOSE_PROJECT_NAME={name}");
        Self { session, engine, name, base, prepare }
    }

    fn run(&self, line: &str) -> Ran {
        self.session.run(&format!("{}; {line}", self.prepare))
    }

    /// The files of the guide, ready to be baked.
    fn write_project(&self, upstreams: &Upstreams<'_>) {
        let (with, without) = guide_of(upstreams, &self.base, &self.name);
        guide::write_files(&self.session, &(with + &without));
        self.run("chmod +x devcontainer/fetch && cp \"$(command -v pkgcache)\" cache/").ok();
    }
}

/// Services that a failed test has left running would keep its images.
impl Drop for Team {
    fn drop(&mut self) {
        let Self { engine, name, .. } = self;
        let line = format!("{engine} ps -aq --filter name={name} | xargs -r {engine} rm -f");
        let _ = self.session.command(&line).output();
    }
}

#[test]
fn the_guide_of_models_plays() {
    if !have(&PARTS) || !have(&[Part::Docker, Part::DockerCompose]) {
        return;
    }
    let backstage = Session::new();
    let upstreams = Upstreams::new(&backstage);
    let team = Team::new("docker", &upstreams);
    let (with, without) = guide_of(&upstreams, &team.base, &team.name);
    guide::play(&team.session, &with, &team.prepare);
    upstreams.fetched_once();
    upstreams.unplug();
    upstreams.forget();
    guide::play(&team.session, &without, &format!("{}; export HF_TOKEN=hf_word", team.prepare));
    assert_eq!(upstreams.requests(), 0);
    // The secret is nowhere: neither in the store's notes nor in an image's history.
    let store = team.session.store();
    assert_eq!(team.run(&format!("grep -rl hf_word {store} larder.lock")).fails().stdout(), "");
}

#[test]
fn podman_starts_it_without_a_network_too() {
    if !have(&PARTS) || !have(&[Part::Podman, Part::PodmanCompose]) {
        return;
    }
    let backstage = Session::new();
    let upstreams = Upstreams::new(&backstage);
    let team = Team::new("podman", &upstreams);
    team.write_project(&upstreams);
    let baked = team.run(&format!("HF_TOKEN={TOKEN} larder bake --compose")).ok();
    assert!(baked.stdout().contains("3 images: 3 built"), "{baked}");
    upstreams.fetched_once();
    upstreams.unplug();
    upstreams.forget();

    // The images are in the store alone, and what runs asks the cache alone.
    let forget = format!(
        "podman rmi -f $(podman images -q {0}-test-gen) $(podman images -q {0}-devcontainer) $(podman images -q {0}-pkgcache)",
        team.name
    );
    team.run(&forget).ok();
    let offline = format!("export LARDER_PKGCACHE_OFFLINE=true HF_TOKEN={TOKEN}");
    let again = team.run(&format!("{offline}; larder bake --compose")).ok();
    assert!(again.stdout().contains("3 images: 3 loaded"), "{again}");
    let compose = format!(
        "{offline}; podman-compose --podman-args='--runtime runc' \
         --podman-run-args='--ulimit nofile=1024:1024 --ulimit nproc=1024:1024' \
         -f docker-compose.yml -f docker-compose.gpu.yml -f docker-compose.larder.yml"
    );
    team.run(&format!("{compose} up -d --no-build")).ok();
    let container = |service: &str| format!("$(podman ps -aq --filter name={}.{service})", team.name);
    let ended =
        team.run(&format!("podman wait {} {}", container("devcontainer"), container("test-gen"))).ok();
    let logs =
        ["devcontainer", "test-gen"].map(|it| team.run(&format!("podman logs {} 2>&1", container(it))).ok());
    team.run(&format!("{compose} down -t 0")).ok();
    assert_eq!(ended.stdout(), "0\n0\n", "{logs:?}");
    for (log, words) in logs.iter().zip([
        &["config {\"layers\": 1}", "127.0.0.1:3144/library/tiny:latest"][..],
        &["hello 1.0", "config {\"layers\": 1}", "torch 2.1 cpu", "tiny:latest"],
    ]) {
        assert!(words.iter().all(|word| log.stdout().contains(word)), "{log}");
    }
    assert_eq!(upstreams.requests(), 0);
}

#[test]
fn a_command_is_led_to_models_and_to_vendors_too() {
    if !have(&[Part::Python]) {
        return;
    }
    let session = Session::new();
    let registry = Registry::of(&session, 1 << 20);
    session.script("../bin/ollama", &format!("exec python3 - \"$@\" <<'E'\n{OLLAMA}E\n"));
    let settings = format!(
        "[pkgcache]\nallow = [\"{}\"]\n[pkgcache.upstream]\n\
         torch = {{ url = \"https://torch.example/whl/cpu/\", kind = \"python\" }}\n\
         [pkgcache.registry]\n\"ollama.example\" = {{ kind = \"ollama\", url = \"{}\" }}\n\"images.example\" = {{}}\n",
        registry.cdn.authority(),
        registry.site.url()
    );
    session.write("larder.toml", settings);
    let line = |options: &str, place: &str| {
        let command = "ollama pull tiny && ollama list && echo \"$TORCH_INDEX ${PIP_INDEX_URL-none}\"";
        session.run(&format!(
            "export PATH=$PWD/../bin:$PATH OLLAMA_MODELS=$PWD/{place} TORCH_INDEX=https://torch.example/whl/cpu; \
             pkgcache run {options} -- sh -c '{command}'"
        ))
    };
    let led = line("", "cold").ok().stdout();
    assert!(led.starts_with("tiny:latest 1048576\nhttp://127.0.0.1:"), "{led}");
    assert!(led.ends_with("/torch/ none\n"), "{led}");
    registry.site.unplug();
    registry.cdn.unplug();
    // Only those that are named; without it, Ollama asks its own registry, which is not there.
    let led = line("--offline --only ollama,apt", "warm").ok().stdout();
    assert_eq!(led, "tiny:latest 1048576\nhttps://torch.example/whl/cpu none\n");
    line("--offline --only torch", "other").fails();
    let env = session.run("pkgcache env").ok().stdout();
    assert!(env.contains("ollama pull --insecure 127.0.0.1:3144/library/MODEL"), "{env}");
    assert!(env.contains("http://127.0.0.1:3144/torch/ is https://torch.example/whl/cpu/"), "{env}");
}

#[test]
fn the_file_that_the_team_would_commit_is_read_by_each_tool() {
    let session = Session::new().env("HF_TOKEN", TOKEN);
    let path = format!("{}/../docs/models.md", env!("CARGO_MANIFEST_DIR"));
    guide::write_files(&session, &std::fs::read_to_string(&path).unwrap());
    session.write("larder.toml", include_str!("../../../teams/d.toml"));
    let listed = session.run("larder bake --compose --list").ok().stdout();
    assert!(listed.contains("devcontainer") && listed.contains("test-gen"), "{listed}");
    assert!(!listed.contains("pkgcache"), "{listed}");
    let steps = session.run("larder ci --list").ok().stdout();
    assert!(steps.contains("docker-compose.larder.yml up -d --no-build"), "{steps}");
    session.run("mkdir -p ../store && imgtar init ../store && gcctl run --dry-run").ok();
    session.run("pkgcache ls && pkgcache env").ok();
    // A word that is misspelt is marked by the tool that reads it.
    for (right, wrong, line) in [
        ("\"torch\"]", "\"pytorch\"]", "larder bake --compose --list"),
        ("models-max-age", "model-max-age", "larder bake --compose --list"),
        ("models-max-age", "model-max-age", "pkgcache env"),
        ("\"180d\"", "\"180\"", "gcctl run --dry-run"),
    ] {
        session.write("larder.toml", include_str!("../../../teams/d.toml").replace(right, wrong));
        session.run(line).ends(2).says(wrong.trim_matches(['"', ']']));
    }
}
