//! What real engines keep, by their own commands.

use larder_tests::{Part, Ran, Session, have};
use serde_json::Value;

use crate::scratch::session;

/// A session whose images leave the engine at its end, with an image that has no name (`none`), one
/// that has (`named`), one that a container needs, and a container that does not run.
struct Scene {
    session: Session,
    engine: &'static str,
    none: String,
    named: String,
    used: String,
    container: String,
    /// A name that nothing has.
    again: String,
}

impl Scene {
    fn start(engine: &'static str) -> Option<Self> {
        if !have(&[Part::engine(engine)]) {
            return None;
        }
        let mut session = session();
        let all = ["lost", "named", "used", "again"].map(|name| session.image_in(engine, name));
        let import = |name: &str, change: &str| {
            let script =
                format!("tar -cf - -T /dev/null | {engine} import -c 'LABEL of={change}{name}' - {name}");
            shell(&session, &script).lines().last().unwrap().trim().to_owned()
        };
        let none = import(&all[0], "first-");
        // The name moves on.
        import(&all[0], "second-");
        let (named, used) = (import(&all[1], ""), import(&all[2], ""));
        let container = shell(&session, &format!("{engine} create {} none", all[2])).trim().to_owned();
        let again = all[3].clone();
        Some(Self { session, engine, none, named, used, container, again })
    }

    /// The lines of what would go that are about this scene: other tests have images, too.
    fn plan(&self, flags: &str) -> Vec<Value> {
        let words = format!("engine plan {} --max-age 0s --json {flags}", self.engine);
        let lines = self.session.run(&words).ok().rows();
        let own = [&self.none, &self.named, &self.used, &self.container];
        let is_own = |line: &Value| own.iter().any(|id| line["id"].as_str() == Some(plain(id, &line["id"])));
        let mut plan: Vec<_> =
            lines.iter().filter(|line| line["kind"] != "item" || is_own(line)).cloned().collect();
        let items = plan.len() - 2;
        plan.last_mut().unwrap()["items"] = items.into();
        plan
    }

    fn apply(&self, plan: &[Value]) -> Ran {
        let lines: Vec<_> = plan.iter().map(Value::to_string).collect();
        let text = lines.join("\n");
        self.session.feed("engine apply", text.as_bytes())
    }

    fn has(&self, what: &str, id: &str) -> bool {
        let mut command = self.session.program(self.engine);
        Ran::of(command.args([what, "inspect", id])).code() == 0
    }
}

/// Podman writes IDs without their algorithm.
fn plain<'a>(id: &'a str, like: &Value) -> &'a str {
    let has_algorithm = like.as_str().is_some_and(|like| like.contains(':'));
    if has_algorithm { id } else { id.strip_prefix("sha256:").unwrap_or(id) }
}

fn shell(session: &Session, script: &str) -> String {
    Ran::of(session.program("sh").args(["-c", script])).ok().stdout()
}

fn whats(plan: &[Value]) -> Vec<&str> {
    let mut whats: Vec<_> = plan.iter().filter_map(|line| line["what"].as_str()).collect();
    whats.sort_unstable();
    whats
}

fn only_what_was_listed_goes(engine: &'static str) {
    let Some(scene) = Scene::start(engine) else { return };
    // A container that was only created may be about to run.
    let plan = scene.plan("");
    assert_eq!(whats(&plan), ["image"], "{plan:?}");
    let named = scene.plan("--named");
    assert_eq!(whats(&named), ["image", "image"], "{named:?}");
    assert_eq!(whats(&scene.plan("--named --keep *")).len(), 1);
    scene.session.run(&format!("engine df {engine}")).ok();

    // It gets a name before the plan is carried out.
    shell(&scene.session, &format!("{engine} tag {} {}", scene.none, scene.again));
    scene.apply(&named).ends(1).says("its names have changed");
    assert!(scene.has("image", &scene.none) && scene.has("image", &scene.used));
    assert!(!scene.has("image", &scene.named) && scene.has("container", &scene.container));
    scene.apply(&named).ends(1).says("is gone already");
    shell(&scene.session, &format!("{engine} rm {}", scene.container));
}

#[test]
fn of_docker_only_what_was_listed_goes() {
    only_what_was_listed_goes("docker");
}

#[test]
fn of_podman_only_what_was_listed_goes() {
    only_what_was_listed_goes("podman");
}
