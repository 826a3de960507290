//! `[disk.NAME]`, for real: made once, and copied out of the store from then on.

use std::fs;
use std::os::unix::fs::MetadataExt;

use larder_tests::{Part, Session, have, until};

/// A session in which each run of a disk's command adds a line to the file `ran` beside.
fn composer(output: &str, run: &str) -> Session {
    let session = Session::new();
    session.write("specs/edge.yml", "packages: [a]\n");
    session.write("specs/common/base.yml", "suite: bookworm\n");
    session.write("larder.toml", table(output, run));
    session
}

fn table(output: &str, run: &str) -> String {
    format!(
        "[disk.edge]\ndescription = \"Edge node\"\ninputs = [\"specs/edge.yml\", \"specs/common/**\"]\n\
         args = {{ SUITE = \"bookworm\" }}\nrun = '''echo ran >>../ran; {run}'''\noutput = \"{output}\"\n"
    )
}

/// Bakes; the disk's report, which must have the state.
#[track_caller]
fn bakes(session: &Session, line: &str, state: &str) -> serde_json::Value {
    let ran = session.run(line);
    let mut lines = ran.rows();
    assert_eq!((lines.len(), lines[0]["state"].as_str()), (1, Some(state)), "{ran}");
    lines.remove(0)
}

/// How often the command ran.
fn runs(session: &Session) -> usize {
    fs::read_to_string(session.aside("ran")).unwrap_or_default().lines().count()
}

const SPARSE: &str = "truncate -s 64M \"$LARDER_OUTPUT\"; \
                      printf \"$SUITE\" | dd of=\"$LARDER_OUTPUT\" bs=1M seek=40 conv=notrunc status=none";

#[test]
fn what_was_made_of_inputs_that_changed_meanwhile_does_not_stand_for_their_key() {
    let run = "if [ -e ../edit ]; then rm ../edit; echo 2 >specs/edge.yml; fi; cp specs/edge.yml \"$LARDER_OUTPUT\"";
    let session = composer("out/edge.yml", run);
    session.write("specs/edge.yml", "1\n");
    assert_eq!(bakes(&session, "larder bake --json", "built")["saved"], true);
    session.run("touch ../edit").ok();
    assert_eq!(bakes(&session, "larder bake --json --rebuild", "built")["saved"], false);
    assert_eq!(session.run("cat out/edge.yml").ok().stdout(), "2\n");
    session.write("specs/edge.yml", "1\n");
    assert_eq!(bakes(&session, "larder bake --json", "hit")["outputs"], 1);
    assert_eq!(session.run("cat out/edge.yml").ok().stdout(), "1\n");
}

#[test]
fn a_raw_disk_is_made_once_and_keeps_its_holes() {
    let session = composer("out/edge.raw", SPARSE);
    session.run("larder bake --prove edge").ends(2).says("`edge` is a disk, and only images can be proved");
    assert_eq!(runs(&session), 0);
    let built = bakes(&session, "larder bake --json", "built");
    assert_eq!(
        (&built["saved"], &built["from"], &built["reason"]),
        (&true.into(), &"run".into(), &"no earlier save".into())
    );
    let made = fs::read(session.path("out/edge.raw")).expect("a disk");
    assert_eq!(bakes(&session, "larder bake --json edge", "hit")["outputs"], 0);

    session.run("rm -r out").ok();
    assert_eq!(bakes(&session, "larder bake --json", "hit")["outputs"], 1);
    assert!(fs::read(session.path("out/edge.raw")).expect("a disk") == made, "other bytes");
    let disk = fs::metadata(session.path("out/edge.raw")).expect("a disk");
    assert!(disk.len() == 64 << 20 && disk.blocks() * 512 < 8 << 20, "{} blocks", disk.blocks());
    assert_eq!(runs(&session), 1);
    assert_eq!(session.run("ls -A out").ok().stdout(), "edge.raw\n");
}

#[test]
fn another_specification_is_made_and_the_reason_named() {
    let session = composer("out/edge.raw", SPARSE);
    bakes(&session, "larder bake --json", "built");
    session.write("specs/common/base.yml", "suite: trixie\n");
    session.write("specs/unread.yml", "x");
    assert_eq!(session.run("larder bake --check -q").ends(1).stdout().lines().count(), 2);
    let changed = bakes(&session, "larder bake --json", "built");
    assert!(changed["changes"]["lines"].to_string().contains("specs/common/base.yml"), "{changed}");

    let toml = table("out/edge.raw", SPARSE).replace("\"bookworm\"", "\"sid\"");
    session.write("larder.toml", &toml);
    let argument = bakes(&session, "larder bake --json", "built");
    assert!(argument["changes"]["lines"].to_string().contains("arg.SUITE"), "{argument}");
    // Another place is the same disk.
    session.write("larder.toml", toml.replace("out/edge.raw", "elsewhere/edge.raw"));
    assert_eq!(bakes(&session, "larder bake --json", "hit")["outputs"], 1);
    assert!(!session.path("out/edge.raw").exists(), "the disk stands in both places");
    assert_eq!(runs(&session), 3);
}

#[test]
fn a_command_that_fails_keeps_nothing_and_the_old_disk_stands() {
    let session = composer("out/edge.raw", SPARSE);
    bakes(&session, "larder bake --json", "built");
    let made = fs::read(session.path("out/edge.raw")).expect("a disk");
    session.write("larder.toml", table("out/edge.raw", "echo half >\"$LARDER_OUTPUT\"; exit 7"));
    let failed = bakes(&session, "larder bake --json", "failed");
    assert_eq!(failed["error"], "`run` of disk `edge` ended with code 7");
    assert!(fs::read(session.path("out/edge.raw")).expect("a disk") == made, "other bytes");
    assert_eq!(session.run("ls -A out").ok().stdout(), "edge.raw\n");
    let key = failed["key"].as_str().expect("a key");
    session.run(&format!("imgtar has {key}")).ends(1);

    for (run, made) in [("true", "nothing"), ("mkdir \"$LARDER_OUTPUT\"", "a folder")] {
        session.write("larder.toml", table("out/edge.raw", run));
        session.run("larder bake").ends(2).says(&format!("made {made} of `$LARDER_OUTPUT`, and not a file"));
    }
}

#[test]
fn a_killed_command_leaves_nothing_that_the_next_bake_does_not_mend() {
    let run = "echo half >\"$LARDER_OUTPUT\"; touch ../begun; [ -e ../go ] || read -r _ <../fifo";
    let session = composer("out/edge.raw", run);
    session.run("mkfifo ../fifo").ok();
    let mut bake = session.start("exec larder bake");
    until("the command runs, or the bake ends", || {
        session.aside("begun").exists() || bake.try_wait().expect("a process").is_some()
    });
    bake.kill().expect("a process");
    bake.wait().expect("a process");
    assert!(!session.path("out/edge.raw").exists(), "half a disk has its name");
    fs::File::create(session.aside("go")).expect("a file");
    // Lets the killed bake's command end.
    session.run("exec 3<>../fifo; echo >&3").ok();
    bakes(&session, "larder bake --json", "built");
    assert_eq!(session.run("ls -A out").ok().stdout(), "edge.raw\n");
}

#[test]
fn a_folder_comes_back_with_modes_and_links_and_leaves_the_users_files() {
    let run = "mkdir -p \"$LARDER_OUTPUT/bin\" && cd \"$LARDER_OUTPUT\" && echo x >bin/run && chmod 755 bin/run && \
               ln -s bin/run link && date +%N >stamp";
    let session = composer("out/tree/", run);
    assert_eq!(bakes(&session, "larder bake --json", "built")["outputs"], 3);
    let stamp = fs::read(session.path("out/tree/stamp")).expect("a file");
    session.write("out/tree/mine", "mine");
    session.run("rm -r out/tree/bin out/tree/stamp out/tree/link").ok();
    assert_eq!(bakes(&session, "larder bake --json", "hit")["outputs"], 3);
    session.run("[ -x out/tree/bin/run ] && [ -L out/tree/link ] && [ -e out/tree/mine ]").ok();
    assert_eq!(fs::read(session.path("out/tree/stamp")).expect("a file"), stamp);
    assert_eq!(runs(&session), 1);
}

#[test]
fn a_tar_and_a_qcow2_come_back_byte_for_byte() {
    let tar = "tar -cf \"$LARDER_OUTPUT\" specs && date +%N >>\"$LARDER_OUTPUT\"";
    let qcow2 = "qemu-img create -q -f qcow2 \"$LARDER_OUTPUT\" 32M && \
                 qemu-io -c 'write -P 7 1M 64k' \"$LARDER_OUTPUT\" >/dev/null";
    for (output, run) in [("out/edge.tar", tar), ("out/edge.qcow2", qcow2)] {
        if output.ends_with("qcow2") && !have(&[Part::QemuImg]) {
            continue;
        }
        let session = composer(output, run);
        bakes(&session, "larder bake --json", "built");
        let made = fs::read(session.path(output)).expect("a disk");
        session.run("rm -r out").ok();
        bakes(&session, "larder bake --json", "hit");
        assert!(fs::read(session.path(output)).expect("a disk") == made, "other bytes of {output}");
    }
}

#[test]
fn the_cache_can_be_off_for_one_disk_or_for_all() {
    let session = composer("out/edge.raw", SPARSE);
    for settings in
        ["", "cache = { images = false }\n", "use-image-cache = false\n", "[cache]\nimages = false\n"]
    {
        session.write("larder.toml", table("out/edge.raw", SPARSE) + settings);
        let line = if settings.is_empty() { "larder bake --json --no-cache" } else { "larder bake --json" };
        let built = bakes(&session, line, "built");
        assert_eq!((&built["saved"], &built["reason"]), (&false.into(), &"the image cache is off".into()));
    }
    assert_eq!(runs(&session), 4);
}

#[test]
fn inputs_that_are_not_there_and_an_output_among_them_are_refused() {
    let session = composer("out/edge.raw", SPARSE);
    session.run("rm -r specs/common").ok();
    session.run("larder bake").ends(2).says("`specs/common/**`, an input of disk `edge`, names no file");
    session.write("specs/common/x", "x");
    session.write("larder.toml", table("specs/common/edge.raw", SPARSE));
    session.run("larder bake").ends(2).says("is an input of its own key");
    assert_eq!(runs(&session), 0);
}

#[test]
fn a_damaged_disk_is_made_anew() {
    let session = composer("out/edge.raw", SPARSE);
    bakes(&session, "larder bake --json", "built");
    session.run("rm -r out").ok();
    for blob in session.blobs() {
        session.run(&format!("chmod u+w {blob}; truncate -s -1 {blob}")).ok();
    }
    let built = bakes(&session, "larder bake --json", "built");
    assert!(built["saved"] == true && built["warnings"].to_string().contains("damaged"), "{built}");
    session.run("rm -r out").ok();
    bakes(&session, "larder bake --json", "hit");
}

#[test]
fn what_is_over_the_limits_goes_behind_a_bake_and_leaves_its_output_alone() {
    let session = composer("out/edge.raw", SPARSE);
    let bake = |version: u32, words: &str| {
        session.write("specs/edge.yml", format!("packages: [{version}]\n"));
        bakes(&session, &format!("{words} larder bake --json"), "built")
    };
    (0..4).for_each(|version| drop(bake(version, "")));
    let bytes = session.run("gcctl plan --json").ok().rows().pop().expect("the end")["bytes"].clone();
    let limit = format!("[gcctl]\nmax-size = \"{bytes}B\"\n");
    session.write("larder.toml", table("out/edge.raw", SPARSE) + &limit);
    let last = bake(9, "LARDER_BACKGROUND=yes");
    assert_eq!(last["saved"], true, "{last}");
    let count = || session.run("gcctl ls --json").ok().rows().len();
    until("it has collected", || session.run("gcctl limits").ok().stderr().contains("in the background"));
    assert_eq!(count(), 4, "{}", session.run("gcctl limits; gcctl plan; gcctl ls"));
    session.run(&format!("imgtar has {}", last["key"])).ok();
    session.run("imgtar verify").ok();
    // Another bake at once finds that one has just worked, or that nothing is over.
    bake(10, "LARDER_BACKGROUND=no");
    assert_eq!(count(), 5);
}

#[test]
fn a_bake_that_saved_something_leaves_as_many_as_the_limits_allow() {
    let session = composer("out/edge.raw", SPARSE);
    let limits = "[gcctl]\nmax-per-image = 2\nafter-bake = true\n";
    session.write("larder.toml", format!("{}{limits}", table("out/edge.raw", SPARSE)));
    let keys: Vec<_> = (0..4)
        .map(|version| {
            session.write("specs/edge.yml", format!("packages: [{version}]\n"));
            bakes(&session, "larder bake --json", "built")["key"].as_str().expect("a key").to_owned()
        })
        .collect();
    let stored = || {
        let rows = session.run("gcctl ls --json").ok().rows();
        rows.iter().map(|row| row["key"].as_str().expect("a key").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(stored(), [keys[3].as_str(), keys[2].as_str()]);
    // A hit saves nothing, and collects nothing.
    session.run("gcctl undo").ok();
    assert_eq!(stored().len(), 3);
    bakes(&session, "larder bake --json", "hit");
    assert_eq!(stored().len(), 3);
    session.run("gcctl run --max-per-image 9 --max-disks 1").ok();
    assert_eq!(stored().len(), 1);
    session.write("specs/edge.yml", "packages: [9]\n");
    let bake = |max_size: &str| {
        let table = table("out/edge.raw", SPARSE);
        session.write("larder.toml", format!("{table}{limits}max-size = {max_size}\n"));
        session.run("larder bake --json")
    };
    bake("\"much\"").ends(2).says("\"much\" is not a size");
    // A limit without a unit is gcctl's to judge, when the images are baked.
    let ran = bake("10").ok();
    assert_eq!(ran.rows()[0]["state"], "built", "{ran}");
    assert_eq!(ran.says("nothing was removed").rows().len(), 1);
    assert_eq!(stored().len(), 2);
}
