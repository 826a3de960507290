//! The files of the teams that larder is for: `tests/teams`.

use super::*;

/// The file of one team.
macro_rules! team {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/teams/", $name, ".toml"))
    };
}

fn names(project: &Project) -> Vec<&str> {
    let disks = project.disks.iter().map(|disk| disk.name.as_str());
    project.images.iter().map(|image| image.name.as_str()).chain(disks).collect()
}

#[test]
fn the_test_image_in_the_repository_is_read() {
    let project = parse(team!("a")).expect("a good file");
    assert_eq!(names(&project), ["python-tests"]);
    let image = &project.images[0];
    assert_eq!(image.description.as_deref(), Some("Everything that the Python tests need"));
    assert_eq!(image.tags, ["rinna-python-tests:latest"]);
    assert_eq!(image.as_build().expect("a build").file(), "docker/Dockerfile.tests");
    let step = &project.steps[0];
    assert_eq!((step.name.as_str(), step.image.as_deref()), ("unit", Some("python-tests")));
    assert!(step.run.as_ref().expect("a line").contains("\"$LARDER_IMAGE\" pytest tests/unit"));
}

#[test]
fn the_release_artifacts_are_read() {
    let project = parse(team!("b")).expect("a good file");
    let wheels = ["3.9", "3.10", "3.11", "3.12", "3.13", "3.14"].map(|version| format!("wheels-{version}"));
    assert_eq!(names(&project)[0], "builder");
    assert_eq!(names(&project)[1..], wheels);
    for (image, version) in project.images[1..].iter().zip(["3.9", "3.10"]) {
        let build = image.as_build().expect("a build");
        assert_eq!((build.args["PY"].as_str(), image.ignore), (version, Ignore::All));
        assert_eq!(image.tags, [format!("pyovf-wheels:{version}")]);
        assert_eq!(
            (image.outputs[0].to.as_str(), image.outputs[0].from[0].as_str()),
            ("dist", "/build/dist/*.whl")
        );
    }
    assert!(
        project.images.iter().all(|image| image.refresh.is_some_and(|age| age.0.as_secs() == 30 * 86_400))
    );
    let steps: Vec<_> = project.steps.iter().map(|step| (step.name.as_str(), step.is_manual)).collect();
    assert_eq!(steps, [("create-tag", true), ("build", false), ("test", false), ("deploy", true)]);
    assert_eq!(
        (project.steps[1].bake.as_slice(), project.steps[2].inputs.len()),
        (&["wheels".to_owned()][..], 3)
    );
    assert_eq!(project.steps[3].env, ["PYPI_TOKEN"]);
    assert_eq!(project.ci_log, Some("target/ci".into()));
}

#[test]
fn the_composers_disks_are_read() {
    let project = parse(team!("c")).expect("a good file");
    assert_eq!(names(&project), ["edge", "edge-debug"]);
    let [edge, debug] = project.disks.as_slice() else { panic!("two disks") };
    assert_eq!((edge.output.as_str(), edge.use_image_cache, edge.folder), ("out/edge.qcow2", true, false));
    assert_eq!((edge.args["SUITE"].as_str(), edge.args["ARCH"].as_str()), ("bookworm", "amd64"));
    assert_eq!(edge.inputs, ["specs/edge.yml", "specs/common/**"]);
    assert_eq!(
        (edge.packages.as_slice(), debug.packages.as_slice()),
        (&["apt".to_owned(), "dnf".to_owned()][..], &["apt".to_owned(), "dnf".to_owned()][..])
    );
    assert!(edge.run.starts_with("image-composer build --out \"$LARDER_OUTPUT\""));
    assert_eq!((debug.output.as_str(), debug.use_image_cache), ("out/edge-debug.raw", false));
}

/// What team D has for all its images.
const DEFAULTS: &str = "[defaults]\npackages = [\"apt\", \"pip\", \"huggingface\", \"ollama\", \"torch\"]\n";

#[test]
fn the_machine_learning_teams_services_are_read() {
    let project = parse(team!("d")).expect("a good file");
    assert_eq!(names(&project), [""; 0]);
    let Compose { files, services, in_place, devcontainer, .. } = &project.compose;
    assert_eq!(files, &["docker-compose.yml", "docker-compose.gpu.yml"]);
    assert_eq!((services.len(), *in_place), (2, false));
    assert_eq!(devcontainer.as_deref(), Some(".devcontainer/devcontainer.json".into()));
    assert!(
        project.steps[0]
            .run
            .as_ref()
            .expect("a line")
            .contains("-f docker-compose.larder.yml up -d --no-build")
    );
    // What `[defaults]` says holds for an image as well.
    let image = parse(&format!("[image.a]\n{DEFAULTS}")).expect("a good file").images.remove(0);
    assert_eq!(image.packages, ["apt", "pip", "huggingface", "ollama", "torch"]);
    let fault = parse("[pkgcache]\nmodel-max-age = \"1d\"\n").expect_err("no such key");
    assert!(fault.help.starts_with("is `models-max-age` meant?"), "{}", fault.help);
}

#[test]
fn the_three_kinds_of_build_are_read() {
    let project = parse(team!("e")).expect("a good file");
    assert_eq!(names(&project), ["git-server@linux/amd64", "git-server@linux/arm64", "runner"]);
    let cache = |at: usize| project.images[at].as_build().expect("a build").cache_from.clone();
    assert_eq!(cache(1), ["registry.example/autogit/git-server:cache"]);
    let tiers: Vec<_> = project.tiers.iter().map(|tier| (tier.name.as_str(), tier.place.flag())).collect();
    let places = [
        ("team", "registry:registry.example/autogit/cache"),
        ("scratch", "registry:registry.example/autogit/cache-pr"),
        ("depot", "s3:https://s3.example/larder"),
    ];
    assert_eq!(tiers, places.map(|(name, place)| (name, place.to_owned())));
    let [pr, dev, release] = project.profiles.as_slice() else { panic!("three profiles") };
    assert_eq!((pr.trust, pr.read.len(), pr.write.as_slice()), (0, 3, &["scratch".to_owned()][..]));
    assert_eq!((dev.trust, dev.write.len(), dev.tags.len()), (1, 2, 2));
    assert_eq!((release.trust, release.also_read.len(), release.tags.len()), (2, 2, 5));
    let trusting = team!("e").replace("read = [\"machine\", \"team\"]", "read = [\"machine\", \"scratch\"]");
    let fault = parse(&trusting).expect_err("pull requests write it");
    assert!(fault.message.contains("reads the tier `scratch`, which `pr` writes"), "{}", fault.message);
}
