//! A larder that is killed (SIGKILL) while an engine builds or saves: what it has started ends, no
//! tag moves, and the next bake does the work and clears up.

use std::fs;
use std::process::Child;

use larder_tests::{Part, Session, have, until};

/// A project whose image is baked once; its engine's command does first what `../first` says.
struct Scene {
    session: Session,
    engine: &'static str,
    app: String,
}

impl Scene {
    /// `None` where this machine lacks the engine.
    fn start(engine: &'static str) -> Option<Self> {
        if !have(&[Part::engine(engine), Part::Base]) {
            return None;
        }
        let mut session = Session::new();
        let (base, app) = (session.base_of(engine), session.image_in(engine, "app"));
        let script = format!("[ ! -e ../first ] || . ../first\nexec {engine} \"$@\"");
        let wrapper = session.script("../wrapped", &script);
        let session = session.env(&format!("LARDER_{}", engine.to_uppercase()), wrapper.as_str());
        session.write("Dockerfile", session.from(&base) + "COPY file /file\nRUN sh /file\n");
        let settings = format!("engine = \"{engine}\"\nlock = false\ntags = [\"{app}:1\"]\n");
        session.write("larder.toml", format!("[image.app]\n{settings}"));
        session.write("file", "true");
        let scene = Self { session, engine, app };
        scene.session.run("larder bake -q").ok();
        Some(scene)
    }

    /// The ID of the image that has the tag.
    fn id(&self) -> String {
        let format = "--format '{{.Id}}'";
        self.session.run(&format!("{} image inspect {format} {}:1", self.engine, self.app)).ok().stdout()
    }

    /// The processes whose words say that they are this test's.
    fn running(&self, word: &str) -> usize {
        let is_it = |entry: &fs::DirEntry| {
            let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words).replace('\0', " ");
            words.contains(word) && words.contains(self.session.path("").as_str())
        };
        fs::read_dir("/proc").expect("proc").flatten().filter(is_it).count()
    }

    /// The image that the killed bake has built and not named yet, by the name that it has till
    /// then.
    fn built(&self) -> Vec<String> {
        let folders = self.session.run("ls $TMPDIR").ok().stdout();
        let tags = folders.lines().filter_map(|name| name.strip_prefix("larder-bake-"));
        let names = tags.map(|tag| format!("larder-build:{tag}"));
        names.filter(|name| self.session.run(&format!("docker image inspect {name}")).code() == 0).collect()
    }

    /// The next bake does it all, and nothing of the killed one is left.
    #[track_caller]
    fn next_bake_works(&self, before: &str) {
        assert_eq!(self.id(), before, "a killed bake has moved the tag");
        self.session.write("file", "true # again");
        // One that is younger may be about to be locked.
        self.session.run("touch -d '1 minute ago' $TMPDIR/larder-bake-* 2>/dev/null; true").ok();
        let row = &self.session.run("larder bake --json").ok().rows()[0];
        assert_eq!((&row["state"], &row["saved"]), (&"built".into(), &true.into()), "{row}");
        assert_ne!(self.id(), before);
        self.session.run("imgtar verify -q").ok();
        let left =
            self.session.run("find $LARDER_DIR -name '.tmp-*'; ls $TMPDIR | grep larder- || true").ok();
        assert_eq!(left.stdout(), "", "{left}");
        assert_eq!(self.session.run("larder bake --json").ok().rows()[0]["state"], "hit");
    }
}

fn kill(mut bake: Child) {
    bake.kill().expect("larder");
    bake.wait().expect("larder");
}

fn killed_in_the_build(engine: &'static str) {
    let Some(scene) = Scene::start(engine) else { return };
    let before = scene.id();
    // Its words say whose it is.
    let step = format!("sh -c ': {}; sleep 100000; :'", scene.session.path(""));
    scene.session.write("file", &step);
    let bake = scene.session.start("exec larder bake -q");
    until("the step runs", || scene.running("sleep 100000") > 0);
    kill(bake);
    if engine == "docker" {
        until("the engine's step has ended", || scene.running("sleep 100000") == 0);
    }
    scene.next_bake_works(&before);
    until("nothing runs on behind the next bake", || scene.running("sleep 100000") == 0);
}

#[test]
fn docker_ends_the_build_of_a_killed_bake() {
    killed_in_the_build("docker");
}

#[test]
fn podmans_build_of_a_killed_bake_ends_with_the_next() {
    killed_in_the_build("podman");
}

fn killed_in_the_save(engine: &'static str) {
    let Some(scene) = Scene::start(engine) else { return };
    let before = scene.id();
    scene.session.write("file", "true # for a save");
    // It has no child that would go on behind it.
    let waits = scene.session.write("waits", "");
    scene.session.write("../first", format!("case \"$1\" in save|push) exec tail -f {waits};; esac\n"));
    let bake = scene.session.start("exec larder bake -q");
    until("the save runs", || scene.running("tail -f") > 0);
    kill(bake);
    until("the engine's command has ended", || scene.running("tail -f") == 0);
    fs::remove_file(scene.session.path("../first")).expect("a file");
    let built = scene.built();
    assert_eq!(built.len(), usize::from(engine == "docker"), "{built:?}");
    scene.next_bake_works(&before);
    for name in built {
        scene.session.run(&format!("docker image inspect {name}")).ends(1);
    }
}

#[test]
fn a_bake_that_is_killed_in_a_save_to_docker_moves_no_tag() {
    killed_in_the_save("docker");
}

#[test]
fn a_bake_that_is_killed_in_a_save_to_podman_moves_no_tag() {
    killed_in_the_save("podman");
}
