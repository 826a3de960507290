//! The workflow that `larder ci --emit` writes, played job by job, each on a machine of its own.

use std::collections::BTreeSet;

use larder_tests::{DockerRegistry, Part, Session, have};

/// The lines of larder's in a workflow for GitHub, in order: those of a matrix for each of its
/// images.
fn lines(workflow: &str) -> Vec<String> {
    let (mut images, mut lines) = (Vec::new(), Vec::new());
    for line in workflow.lines().map(str::trim) {
        if let Some(list) = line.strip_prefix("image: ") {
            images = serde_json::from_str::<Vec<String>>(list).expect("a list");
        } else if let Some(run) = line.strip_prefix("- run: larder ") {
            let jobs =
                if run.contains("matrix.image") { std::mem::take(&mut images) } else { vec![String::new()] };
            lines.extend(
                jobs.iter().map(|image| format!("larder {}", run.replace("${{ matrix.image }}", image))),
            );
        }
    }
    lines
}

/// Three images, two of them on the first; `app1` is `first`.
fn project(session: &Session, host: &str, first: &str) -> String {
    let labels = session.labels();
    let image = |name: &str, dir: &str, more: &str| {
        format!("[image.{name}]\npack = {{ dir = \"{dir}\", {labels}, env = {{ N = \"{name}\" }} }}\n{more}")
    };
    let needs = "needs = [\"base\"]\n";
    format!(
        "{}{}{}[tier.team]\nregistry = \"{host}/cache\"\n\
         [profile.pr]\nwhen = {{ event = \"pull_request\" }}\nread = [\"team\"]\n\
         [profile.main]\nwhen = {{ branch = \"main\" }}\ntrust = 1\nread = [\"team\"]\nwrite = [\"team\"]\ntags = [\"{host}/{{image}}:main\"]\n\
         [[ci.step]]\nname = \"test\"\nrun = \"test -e passes\"\n",
        image("base", "src", ""),
        image("app1", first, needs),
        image("app2", "src", needs),
    )
}

const PUSH: &str = "GITHUB_ACTIONS=true GITHUB_EVENT_NAME=push GITHUB_REF_TYPE=branch GITHUB_REF=refs/heads/main GITHUB_REF_NAME=main";
const PULL: &str =
    "GITHUB_ACTIONS=true GITHUB_EVENT_NAME=pull_request GITHUB_REF=refs/pull/1/merge GITHUB_REF_NAME=1/merge";

#[test]
fn only_the_last_job_gives_names_and_only_when_all_went_well() {
    if !have(&[Part::Registry]) {
        return;
    }
    let session = Session::new();
    let registry = DockerRegistry::start_deleting(&session.aside("registry"));
    let host = registry.host();
    session.write("src/file", "one");
    session.write("larder.toml", project(&session, host, "none"));
    let workflow = session.run("larder ci --emit github").ok().stdout();
    let only =
        "github.event_name != 'pull_request' && (github.ref_type == 'branch' && github.ref_name == 'main')";
    assert_eq!(workflow.matches(&format!("    if: \"{only}\"\n")).count(), 2, "{workflow}");
    let jobs = lines(&workflow);
    let [base, app1, app2, ci] = jobs.as_slice() else { panic!("{jobs:?}") };
    // A machine that is new each time, as a CI's are.
    let run = |occasion: &str, line: &str| {
        let fresh = "GITHUB_STEP_SUMMARY=../summary LARDER_DIR=../machine";
        session.run(&format!("rm -rf ../machine && export {occasion} {fresh} && {line}"))
    };
    let names = || -> BTreeSet<String> {
        let names = ["base", "app1", "app2"].into_iter();
        names
            .filter(|name| session.run(&format!("imgtar resolve {host}/{name}:main")).code() == 0)
            .map(str::to_owned)
            .collect()
    };
    run(PUSH, base).ok();
    run(PUSH, app1).ends(2);
    run(PUSH, app2).ok();
    assert_eq!(names(), BTreeSet::new());

    // Every image is there, and a step fails.
    session.write("larder.toml", project(&session, host, "src"));
    let ran = run(PUSH, app1).ok();
    assert!(ran.stdout().contains("2 images: 1 hit, 1 built"), "{ran}");
    run(PUSH, ci).ends(1);
    assert_eq!(names(), BTreeSet::new());
    session.write("passes", "");
    let ran = run(PUSH, ci).ok();
    assert!(ran.stdout().contains("3 images: 3 hits"), "{ran}");
    assert_eq!(names().len(), 3);

    // A build that writes no tier has nothing to do before the last job.
    session.write("src/file", "two");
    for line in [base, app1, app2] {
        let ran = run(PULL, line).ok().says("nothing is baked: the profile `pr` writes no tier");
        assert_eq!(ran.stdout(), "");
    }
    let ran = run(PULL, ci).ok();
    assert!(ran.stdout().contains("3 images: 3 built"), "{ran}");
}
