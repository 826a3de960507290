//! The project's own steps: what decides whether one runs, and what is said of one that fails.

use std::fs;

use larder_tests::Session;

fn step(more: &str) -> String {
    format!("[ci]\nlog = \"log\"\n[[ci.step]]\nname = \"test\"\n{more}\n")
}

/// Whether the step was skipped.
fn is_skipped(session: &Session, variables: &str) -> bool {
    let ran = session.run(&format!("{variables} larder ci")).ok();
    let is_skipped = ran.stderr().contains("skipped: test: its inputs are those of its last success");
    let runs = fs::read_to_string(session.path("ran")).unwrap_or_default();
    session.run("rm -f ran").ok();
    assert_eq!(runs.is_empty(), is_skipped, "{ran}");
    is_skipped
}

#[test]
fn the_values_of_its_variables_decide_about_a_step() {
    let session = Session::new().file("src/file", "one");
    session.write(
        "larder.toml",
        step("inputs = [\"src/**\"]\nenv = [\"MODE\", \"ONE\"]\nrun = \"echo run >>ran\""),
    );
    for (variables, expected) in [
        ("MODE=mode-one ONE=1", false),
        ("MODE=mode-one ONE=1", true),
        ("MODE=mode-two ONE=1", false),
        ("MODE=mode-two ONE=1 OTHER=2", true),
        ("MODE=mode-one ONE=1", false),
        ("MODE=1 ONE=mode-one", false),
    ] {
        assert_eq!(is_skipped(&session, variables), expected, "{variables}");
    }
    let verbose = session.run("MODE=mode-one ONE=1 larder ci -v").ok();
    assert!(!verbose.stderr().contains("mode-one"), "{verbose}");
    session.run("grep -r mode-one \"$LARDER_DIR\" log").ends(1);
}

#[test]
fn an_input_that_is_not_there_is_an_error() {
    let session = Session::new().file("src/file", "one");
    session.write("larder.toml", step("inputs = [\"src/**\", \"sources/**\"]\nrun = \"echo run >>ran\""));
    let ran = session.run("larder ci").ends(2);
    let ran = ran.says("failed: test: `sources/**`, one of its `inputs`, names no file");
    assert!(!session.path("ran").exists(), "{ran}");
    assert!(session.run("larder ci --dry-run").ok().stdout().contains("would run"));
}

#[test]
fn a_step_that_is_ended_is_told_as_one_that_fails() {
    let session = Session::new();
    session.write("larder.toml", step("timeout = \"1s\"\nrun = \"echo begun; sleep 600\""));
    session.run("larder ci --annotate").ends(2).says(
        "failed: test: `echo begun; sleep 600` was ended: it took longer than 1 s (`timeout`); what it printed is in log/test.log",
    );
    assert_eq!(fs::read_to_string(session.path("log/test.log")).expect("a log"), "begun\n");
}

#[test]
fn a_folder_that_is_not_there_is_told_before_anything_runs() {
    let session = Session::new();
    let two = "run = \"touch ran\"\n[[ci.step]]\nname = \"web\"\ndir = \"fronted\"\nrun = \"true\"";
    session.write("larder.toml", step(two));
    for line in ["larder ci", "larder ci --dry-run"] {
        session
            .run(line)
            .ends(2)
            .says("the folder `fronted` of step `web` does not exist")
            .says("dir = \"fronted\"");
    }
    assert!(!session.path("ran").exists());
}

#[test]
fn a_dry_run_needs_no_variables() {
    let session = Session::new();
    session.write("larder.toml", step("env = [\"NONE\"]\nrun = \"touch ran\""));
    let lacks = "step `test` needs the environment variable `NONE`, which is not set";
    session.run("larder ci").ends(2).says(lacks);
    let ran = session.run("larder ci --dry-run").ok().says(&format!("warning: {lacks}"));
    assert_eq!(ran.stdout(), "test  would run\n");
}
