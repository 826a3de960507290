//! Many processes over one store at once, and processes that are killed: nothing is lost that was not removed.
//!
//! `LARDER_TEST_KILLS` sets how often a writer is killed; CI does a few, by hand it is 500.

use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use larder_tests::Session;

/// A session with archives `../0.tar` to `../7.tar` of different images.
fn archives() -> Session {
    let session = Session::new();
    let make = "for n in 0 1 2 3 4 5 6 7; do mkdir d$n && head -c 300K /dev/urandom >d$n/f && \
                imgtar pack -q k d$n --store ../other$n --name app:$n && \
                imgtar export -q k ../$n.tar --compress none --store ../other$n || exit; done";
    session.run(make).ok();
    session
}

/// Waits for the shell; its script must have ended with 0.
#[track_caller]
fn ends_well(child: Child) {
    let output = child.wait_with_output().expect("sh");
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
}

#[test]
fn savers_loaders_removers_and_collectors_share_one_store() {
    let session = archives();
    session.run("imgtar import -q kept ../0.tar && gcctl pin kept").ok();
    // Two savers for each image, so that they meet over its blobs. A key may be gone when it is read, never half there.
    let save = "for round in 1 2 3; do imgtar import -q KEY ../IMAGE.tar || exit; \
                imgtar export -q KEY --compress none >/dev/null; [ $? -le 1 ] || exit 9; done";
    let load = "for round in 1 2 3 4; do imgtar export -q kept --compress none | tar -t >/dev/null || exit; \
                imgtar has kept || exit; imgtar export -q key3 >/dev/null; [ $? -le 1 ] || exit 9; done";
    let remove = "for round in 1 2 3 4; do for n in 1 5 9 13; do imgtar rm -q key$n; [ $? -le 1 ] || exit 9; done; done";
    let collect = "for round in 1 2 3 4; do gcctl run -q --max-images 3; [ $? -le 1 ] || exit 9; done";
    let tag = "for round in 1 2 3 4; do imgtar tag kept mine:$round || exit; done";
    let savers = (0..16)
        .map(|n: usize| save.replace("KEY", &format!("key{n}")).replace("IMAGE", &(n % 8).to_string()));
    let others = [load, load, remove, remove, collect, collect, tag].map(str::to_owned);
    let all: Vec<_> = savers.chain(others).map(|script| session.start(&script)).collect();
    all.into_iter().for_each(ends_well);
    session.run("imgtar verify && imgtar has kept").ok();
    let info = session.run("imgtar info kept --json").ok().json_whole();
    assert_eq!(info["names"], serde_json::json!(["mine:4"]));
    session.run("gcctl run -q --max-images 3 && imgtar verify && imgtar has kept").ok();
}

fn kills() -> u32 {
    std::env::var("LARDER_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(24)
}

#[test]
fn a_writer_that_is_killed_at_any_moment_leaves_a_store_that_verifies() {
    let session = archives();
    // An engine that has the image, for `save`.
    session.write("../docker", "#!/bin/sh\n[ \"$1\" = save ] && exec cat ../1.tar\nexit 1\n");
    session.run("chmod +x ../docker && imgtar import -q before ../0.tar && gcctl pin before").ok();
    let docker = session.aside("docker").into_string();
    let session = session.env("LARDER_DOCKER", &docker);
    let writers = [
        "exec imgtar import -q KEY ../1.tar",
        "cat ../2.tar | imgtar import -q KEY",
        "exec imgtar save -q KEY app",
        "exec imgtar import -q before ../3.tar --force",
    ];
    let kills = kills();
    for kill in 0..kills {
        let script = writers[kill as usize % writers.len()].replace("KEY", &format!("key{kill}"));
        // A group of its own, so that what it pipes into is killed too.
        let mut writer = session.start(&format!("exec setsid sh -c '{script}'"));
        // From the start to well behind the end, evenly, in an order that mixes short and long.
        thread::sleep(Duration::from_micros(u64::from(kill * 7919 % kills) * 120_000 / u64::from(kills)));
        let _ = Command::new("kill").args(["-9", "--", &format!("-{}", writer.id())]).status();
        writer.wait().expect("a writer");
        session.run("imgtar verify -q && imgtar has before").ok();
        if kill % 8 == 7 {
            session
                .run(&format!(
                    "imgtar import -q key{kill} ../4.tar && gcctl run -q --max-images 2 && imgtar verify -q"
                ))
                .ok();
        }
    }
    // What the killed ones began is swept away by the next that writes.
    session.run("imgtar import -q last ../5.tar").ok();
    let left = session.run("find ../store/images -name '.tmp-*'").ok();
    assert_eq!(left.stdout(), "", "{left}");
}
