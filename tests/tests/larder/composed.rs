//! The services of compose files, baked and started, with docker-compose and podman-compose.

use larder_tests::{Part, Ran, Session, have};

/// An engine, what starts services on it, and what this machine's needs for that.
struct Engine {
    name: &'static str,
    parts: &'static [Part],
    compose: &'static str,
}

const DOCKER: Engine = Engine {
    name: "docker",
    parts: &[Part::Docker, Part::DockerCompose, Part::Base],
    compose: "docker-compose",
};

/// This podman's other runtime refuses the control groups of some machines.
const PODMAN: Engine = Engine {
    name: "podman",
    parts: &[Part::Podman, Part::PodmanCompose, Part::Base],
    compose: "podman-compose --podman-args='--runtime runc' --podman-run-args='--ulimit nofile=1024:1024 --ulimit nproc=1024:1024'",
};

/// A project of three services, of which one stands on another; its name is that of no other
/// test's.
struct Project {
    session: Session,
    name: String,
}

impl Project {
    /// On the base image, so that its services can be started.
    fn new(engine: &Engine) -> Self {
        let mut session = Session::new();
        let base = session.base_of(engine.name);
        let project = Self::on(session, engine, &base, "RUN echo $WORD >/word");
        project.session.write(".env", "WORD='from the file'\n");
        project
    }

    /// On nothing, where none is started.
    fn bare(engine: &Engine) -> Self {
        let project = Self::on(Session::new(), engine, "scratch", "COPY $WORD /word");
        project.session.write(".env", "WORD=file\n");
        project
    }

    fn on(mut session: Session, engine: &Engine, base: &str, step: &str) -> Self {
        let name = session.image_in(engine.name, "p");
        for service in ["p-web", "p-job"] {
            let _ = session.image_in(engine.name, service);
        }
        session.write("web/Dockerfile", session.from(base) + "ARG WORD\nCOPY file /file\n" + step + "\n");
        session.write("web/file", "one\n");
        session.write("job/Dockerfile", format!("FROM {name}-web\nCOPY file /file\n"));
        session.write("job/file", "job\n");
        session.write("later/file", "no Dockerfile\n");
        session.write(
            "docker-compose.yml",
            "# Ours.\nservices:\n\
             \x20 web:  # the site\n    build:\n      context: ./web\n      args: [\"WORD=${WORD}\"]\n    network_mode: none\n    command: [cat, /file, /word]\n\
             \x20 job:\n    build: job\n    network_mode: none\n    command: [cat, /file, /word]\n\
             \x20 later:\n    build: later\n    profiles: [later]\n",
        );
        let variable = if engine.name == "docker" { "LARDER_DOCKER" } else { "LARDER_PODMAN" };
        let session = session.env("COMPOSE_PROJECT_NAME", &name).env(variable, engine.name);
        Self { session, name }
    }

    fn run(&self, line: &str) -> Ran {
        self.session.run(line)
    }

    /// What each service became, by `bake`.
    fn states(&self, line: &str) -> Vec<(String, String)> {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let rows = self.run(&format!("{line} --json")).ok().rows();
        rows.iter().map(|row| (text(&row["image"]), text(&row["state"]))).collect()
    }

    /// The image of a service in the file above the others.
    fn pinned(&self, service: &str) -> String {
        let rows = self.run("larder bake --compose --json -q").ok().rows();
        let row = rows.iter().find(|row| row["image"] == service).expect("a service");
        row["pinned"].as_str().expect("a name").to_owned()
    }
}

fn states(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(name, state)| ((*name).to_owned(), (*state).to_owned())).collect()
}

#[test]
fn services_are_baked_and_started() {
    bakes_and_starts(&DOCKER);
}

#[test]
fn services_are_baked_and_started_by_podman() {
    bakes_and_starts(&PODMAN);
}

fn bakes_and_starts(engine: &Engine) {
    if !have(engine.parts) {
        return;
    }
    let project = Project::new(engine);
    let bake = "larder bake --compose";
    assert_eq!(project.states(bake), states(&[("web", "built"), ("job", "built")]));
    let web = project.pinned("web");
    assert!(web.starts_with(&format!("{}-web:larder-", project.name)), "{web}");
    let above = project.run("cat docker-compose.larder.yml").ok().stdout();
    assert!(above.contains(&format!("  web:\n    image: \"{web}\"\n    pull_policy: never\n")), "{above}");

    // Only what changed is built; what stands on it comes after it.
    project.session.write("job/file", "other\n");
    assert_eq!(project.states(bake), states(&[("web", "hit"), ("job", "built")]));
    assert_eq!(project.pinned("web"), web);
    let job = project.pinned("job");
    // A word of `.env` is an argument, and so in the key.
    project.session.write(".env", "WORD=changed\n");
    let changed = project.run(bake).ok();
    assert!(changed.stdout().contains("changed arg WORD") || changed.stdout().contains("WORD"), "{changed}");
    assert_ne!(project.pinned("web"), web);
    project.session.write(".env", "WORD='from the file'\n");

    // An engine that has none of it gets it from the store.
    let remove = format!(
        "{0} rmi -f $({0} images -q {1}-web; {0} images -q {1}-job) || true",
        engine.name, project.name
    );
    project.run(&remove).ok();
    let stored = project.run(bake).ok();
    assert!(stored.stdout().contains("  store "), "{stored}");
    assert_eq!((project.pinned("web"), project.pinned("job")), (web.clone(), job.clone()));

    // Somebody else's build takes the plain name, and moves the other one not.
    project
        .run(&format!(
            "printf 'FROM scratch\\nCOPY file /x\\n' | {} build -q -t {}-web -f - web",
            engine.name, project.name
        ))
        .ok();
    let compose = format!("{} -f docker-compose.yml -f docker-compose.larder.yml", engine.compose);
    project.run(&format!("{compose} up -d --no-build")).ok();
    project
        .run(&format!("{} wait $({} ps -aq --filter name={})", engine.name, engine.name, project.name))
        .ok();
    let logs = project.run(&format!("{compose} logs --no-color 2>&1")).ok().stdout();
    for word in ["one", "other", "from the file"] {
        assert!(logs.contains(word), "`{word}` is not in {logs}");
    }
    let used = project.run(&format!("{0} ps -a --format '{{{{.Image}}}}'", engine.name)).ok().stdout();
    assert!(used.contains(&web) && used.contains(&job), "{used}");
    project.run(&format!("{compose} down -t 0")).ok();

    // And all is as it was.
    let taken_back = project.run("larder unbake").ok();
    assert_eq!(taken_back.stdout(), "removed docker-compose.larder.yml\n");
    project.run("larder unbake").ok().says("nothing is baked into the files in");
}

#[test]
fn services_are_chosen_and_the_others_stay_pinned() {
    if !have(DOCKER.parts) {
        return;
    }
    let project = Project::bare(&DOCKER);
    project.run("larder bake --compose").ok();
    let (web, job) = (project.pinned("web"), project.pinned("job"));
    project.session.write("web/file", "two\n");
    let only = project.run("larder bake --compose docker-compose.yml web").ok();
    assert!(!only.stdout().contains("job"), "{only}");
    let above = project.run("cat docker-compose.larder.yml").ok().stdout();
    assert!(!above.contains(&web) && above.contains(&job), "{above}");
    // The name that nothing has any more is gone.
    assert!(project.session.image_id(&web).is_none() && project.session.image_id(&job).is_some());
    for (line, code, words) in [
        ("larder bake --compose wev", 2, "is `web` meant?"),
        ("larder bake --compose none.yml", 2, "there is no `none.yml`"),
        ("larder bake --compose later", 2, "Dockerfile"),
        ("larder bake --in-place", 2, "--compose"),
    ] {
        project.run(line).ends(code).says(words);
    }
    // Where compose is told of the file by a variable, larder still reads the others alone.
    let variable = "COMPOSE_FILE=docker-compose.yml:docker-compose.larder.yml";
    project.session.write(".env", format!("WORD=file\n{variable}\n"));
    let web = project.pinned("web");
    assert_eq!(project.states("larder bake --compose"), states(&[("web", "hit"), ("job", "hit")]));
    let config = project.run("docker-compose config").ok().stdout();
    assert!(config.contains(&web), "{config}");
    let list = project.run("larder bake --compose --list").ok().stdout();
    assert!(list.contains("web") && !list.contains("later"), "{list}");
}

/// A folder of the machine's programs but those of compose, with these. Links: nothing is ever
/// written there.
fn path_with(project: &Project, folder: &str, programs: &[&str]) -> String {
    let all = "for from in $(echo $PATH | tr : ' '); do ln -s $from/* . 2>/dev/null; done; rm -f *compose*";
    let _ = project.run(&format!("mkdir ../{folder} && cd ../{folder} && {all}"));
    for program in programs {
        project.run(&format!("ln -s $(command -v {program}) ../{folder}/{program}")).ok();
    }
    project.session.aside(folder).into_string()
}

#[test]
fn what_is_said_next_is_what_is_there() {
    if !have(DOCKER.parts) {
        return;
    }
    let project = Project::bare(&DOCKER);
    project.run("larder bake --compose").ok();
    let next = |path: &str| {
        let said = project.run(&format!("PATH={path} larder bake --compose")).ok().stderr();
        let command = said.split_once("next: `").expect("a next line").1;
        command.split_once('`').expect("its end").0.to_owned()
    };
    let files = "-f docker-compose.yml -f docker-compose.larder.yml";
    let only = path_with(&project, "only", &["docker-compose"]);
    let line = next(&only);
    // The engine's own command goes first, where it has one.
    let has_own = project.run("docker compose version").code() == 0;
    let program = if has_own { "docker compose" } else { "docker-compose" };
    assert_eq!(line, format!("{program} {files} up --no-build"));
    // It is there, and takes it.
    project.run(&line.replace("up --no-build", "config -q")).ok();
    // A docker that knows compose, in a folder of its own before the others.
    let script = format!("if test \"$1 $2\" = 'compose version'; then exit 0; fi\nexec {only}/docker \"$@\"");
    project.session.script("../knows/docker", &script);
    let knows = project.session.aside("knows");
    assert_eq!(next(&format!("{knows}:{only}")), format!("docker compose {files} up --no-build"));
    // And where there is none at all, what most have.
    let none = path_with(&project, "none", &[]);
    assert_eq!(next(&none), format!("docker compose {files} up --no-build"));
}

#[test]
fn what_is_said_next_is_podmans_own() {
    if !have(PODMAN.parts) {
        return;
    }
    let project = Project::bare(&PODMAN);
    let said = project.run("larder bake --compose").ok().stderr();
    assert!(said.contains("next: `podman-compose -f docker-compose.yml "), "{said}");
}

#[test]
fn names_that_nothing_names_any_more_go() {
    names_go(&DOCKER);
}

#[test]
fn names_that_nothing_names_any_more_go_from_podman() {
    names_go(&PODMAN);
}

fn names_go(engine: &Engine) {
    if !have(engine.parts) {
        return;
    }
    let project = Project::bare(engine);
    let (bake, program) = ("larder bake --compose", engine.name);
    let is_there = |name: &str| project.run(&format!("{program} image inspect {name}")).code() == 0;
    project.run(bake).ok();
    let (web, job) = (project.pinned("web"), project.pinned("job"));
    project.run(&format!("{program} create --name {}-user {web} x", project.name)).ok();
    // Another checkout of the same project has the same names.
    project.run("mkdir ../other && cp -r . ../other && cd ../other && larder bake --compose").ok();
    project.session.write("web/file", "two\n");
    project.run(bake).ok();
    let (web2, job2) = (project.pinned("web"), project.pinned("job"));
    assert!(web2 != web && job2 != job && is_there(&web) && is_there(&job));
    // The other one names its own no more, and a container uses one of them.
    let taken_back = project.run("cd ../other && larder unbake").ok();
    assert!(taken_back.stderr().contains("1 name of baked images stayed"), "{taken_back}");
    assert!(is_there(&web) && !is_there(&job) && is_there(&web2) && is_there(&job2));
    project.run(&format!("{program} rm {}-user", project.name)).ok();
    project.run("cd ../other && larder unbake").ok().says("nothing is baked into the files in");
    assert!(!is_there(&web));
    // A bake of a service that fails has named those before it.
    project.session.write("web/file", "three\n");
    project.session.write("job/Dockerfile", "FROM nothing\n");
    project.run(bake).ends(2);
    // A service that is there no more.
    project
        .session
        .write("docker-compose.yml", "services: {web: {build: {context: web, args: {WORD: file}}}}\n");
    project.session.write("web/file", "two\n");
    project.run(&format!("{bake} --in-place")).ok();
    let names = || {
        let list = format!(
            "{program} image ls --format '{{{{.Repository}}}}:{{{{.Tag}}}}' | grep {}- || true",
            project.name
        );
        let text = project.run(&list).ok().stdout();
        text.lines().map(|name| name.trim_start_matches("localhost/").to_owned()).collect::<Vec<_>>()
    };
    let pinned =
        |names: &[String]| names.iter().filter(|name| name.contains(":larder-")).cloned().collect::<Vec<_>>();
    assert_eq!(pinned(&names()), [web2]);
    project.run("larder unbake").ok();
    assert_eq!(pinned(&names()), [""; 0]);
    // Its image has another name, and stays.
    assert!(names().contains(&format!("{}-web:latest", project.name)), "{:?}", names());
}

#[test]
fn a_check_and_a_failure_write_nothing() {
    if !have(DOCKER.parts) {
        return;
    }
    let project = Project::bare(&DOCKER);
    project.run("larder bake --compose --check").ends(1);
    project.run("larder bake --compose --dry-run").ok();
    project.session.write("job/Dockerfile", "FROM scratch\nCOPY none /\n");
    let failed = project.run("larder bake --compose").ends(2);
    assert!(failed.stdout().contains("web  built") || failed.stdout().contains("built"), "{failed}");
    assert!(!project.session.path("docker-compose.larder.yml").exists());
}

#[test]
fn what_a_bake_writes_is_an_input_of_no_image() {
    if !have(DOCKER.parts) {
        return;
    }
    let project = Project::bare(&DOCKER);
    let base = project.run("sed -n 1,2p web/Dockerfile").ok().stdout();
    project.session.write("Dockerfile", base + "COPY . /src\n");
    project.session.write("docker-compose.yml", "services: {web: {build: .}}\n");
    let refused = project.run("larder bake --compose").ends(2);
    assert!(
        refused
            .stderr()
            .contains("`docker-compose.larder.yml`, which the bake writes, would be an input of `web`"),
        "{refused}"
    );
    assert!(
        refused.stderr().contains("Dockerfile:3") && refused.stderr().contains(".dockerignore"),
        "{refused}"
    );
    project.session.write(".dockerignore", "**/*.larder*\n");
    project.run("larder bake --compose").ok();
    assert_eq!(project.states("larder bake --compose"), states(&[("web", "hit")]));
    // In place, the file itself is one.
    let refused = project.run("larder bake --compose --in-place").ends(2);
    assert!(refused.stderr().contains("`docker-compose.yml`, which the bake writes"), "{refused}");
}

#[test]
fn dockerfiles_and_secrets_of_the_file_are_used_and_not_shown() {
    if !have(DOCKER.parts) {
        return;
    }
    let project = Project::new(&DOCKER);
    let base = project.run("sed -n 1,2p web/Dockerfile").ok().stdout().replace('\n', "\n        ");
    let text = format!(
        "services:\n  web:\n    build:\n      context: web\n      secrets: [token]\n      no_cache: true\n      dockerfile_inline: |\n        {base}\
         COPY file /file\n        RUN --mount=type=secret,id=token wc -c </run/secrets/token >/length\n    network_mode: none\n    command: [cat, /length]\n\
         secrets: {{token: {{environment: TOKEN}}}}\n"
    );
    project.session.write("docker-compose.yml", text);
    project.session.write(".env", "TOKEN=s3cret-word\n");
    let built = project.run("larder bake --compose -v").ok();
    assert!(
        !format!("{built}").contains("s3cret-word") && built.stderr().contains("--secret id=token,src="),
        "{built}"
    );
    assert!(built.stderr().contains("--no-cache"), "{built}");
    let web = project.pinned("web");
    assert_eq!(
        project.run(&format!("docker run --rm --network none {web} cat /length")).ok().stdout().trim(),
        "11"
    );
    // Nothing of it is left.
    project.run("test -z \"$(ls ../tmp)\"").ok();
    // Another secret makes no other image; another line does, wherever the file lies.
    project.session.write(".env", "TOKEN=other\n");
    assert_eq!(project.states("larder bake --compose"), states(&[("web", "hit")]));
    project.run("sed -i 's,/length,/size,' docker-compose.yml").ok();
    assert_eq!(project.states("larder bake --compose"), states(&[("web", "built")]));
}

#[test]
fn a_service_may_be_another_ones_context() {
    if !have(PODMAN.parts) {
        return;
    }
    let project = Project::bare(&PODMAN);
    project.session.write("job/Dockerfile", "FROM scratch\nCOPY --from=up /file /up\n");
    project.session.write(
        "docker-compose.yml",
        "services:\n  job: {build: {context: job, additional_contexts: {up: 'service:web'}}}\n  web: {build: {context: web, args: {WORD: file}}}\n",
    );
    assert_eq!(project.states("larder bake --compose"), states(&[("job", "built"), ("web", "built")]));
    project.session.write("web/file", "two\n");
    let again = project.run("larder bake --compose job").ok();
    assert!(again.stdout().contains("`web` was rebuilt"), "{again}");
}

#[test]
fn larder_toml_says_the_rest() {
    if !have(DOCKER.parts) {
        return;
    }
    let project = Project::bare(&DOCKER);
    project.session.write("web/gpu", "gpu\n");
    project.session.write("web/flag", "flag\n");
    project.session.write("docker-compose.gpu.yml", "services: {web: {build: {args: {WORD: gpu}}}}\n");
    project.session.write(
        ".devcontainer/devcontainer.json",
        "{\n  // dev\n  \"dockerComposeFile\": \"../docker-compose.yml\"\n}\n",
    );
    let toml = "[compose]\nfiles = [\"docker-compose.yml\", \"docker-compose.gpu.yml\"]\nservices = [\"web\"]\ndevcontainer = \".devcontainer/devcontainer.json\"\n\
                [service.web]\nrefresh = \"never\"\noutputs = { \"out\" = \"/word\" }\n[image.other]\ndockerfile = \"none\"\n";
    project.session.write("larder.toml", toml);
    assert_eq!(project.states("larder bake --compose"), states(&[("web", "built")]));
    assert_eq!(project.run("cat out").ok().stdout(), "gpu\n");
    let json = project.run("cat .devcontainer/devcontainer.json").ok().stdout();
    assert_eq!(
        json,
        "{\n  // dev\n  \"dockerComposeFile\": [\"../docker-compose.yml\", \"../docker-compose.larder.yml\"]\n}\n"
    );
    // What the command line names goes before.
    let named = project
        .run("larder bake --compose docker-compose.yml web job --build-arg WORD=flag --json")
        .ok()
        .rows();
    assert_eq!((named.len(), named[0]["image"].as_str()), (2, Some("web")));
    assert_eq!(project.run("cat out").ok().stdout(), "flag\n");
    project.run("larder unbake").ok();
    assert!(
        project
            .run("cat .devcontainer/devcontainer.json")
            .ok()
            .stdout()
            .contains("\"../docker-compose.yml\"\n")
    );
    // What is wrong is marked where it stands.
    project.session.write("larder.toml", toml.replace("service.web", "service.wev"));
    project.run("larder bake --compose").ends(2).says("no service that is built is called `wev`");
    project.session.write("larder.toml", toml.replace("refresh = \"never\"", "target = \"x\""));
    project.run("larder bake --compose").ends(2).says("`target` cannot be said of a service here");
}
