//! Full disks, read-only stores, engines that are gone, and tools that are killed: the store stays
//! whole, and the bake goes on wherever an engine is there.

use std::io::{BufRead, BufReader, Read, Write};

use larder_tests::{Daemon, Mount, Part, Session, have};

/// A project whose image is this many MiB large.
fn project(session: &mut Session, size: usize) -> String {
    let app = session.image("app");
    session.write("Dockerfile", session.from("scratch") + "COPY data /\n");
    session.write("larder.toml", format!("[image.app]\nengine = \"docker\"\ntags = [\"{app}\"]\n"));
    session.run(&format!("head -c {size}M /dev/urandom >data")).ok();
    app
}

#[test]
fn a_full_disk_costs_the_save_and_nothing_else() {
    if !have(&[Part::Docker, Part::Mount]) {
        return;
    }
    let mut session = Session::new();
    let app = project(&mut session, 1);
    let _disk = Mount::new(&session.store(), "4m");
    session.run("larder bake -q").ok();
    session.run("head -c 8M /dev/urandom >data").ok();
    let ran = session.run("larder bake --json").ok().says("not saved").says("No space left");
    assert_eq!((&ran.rows()[0]["state"], &ran.rows()[0]["saved"]), (&"built".into(), &false.into()), "{ran}");
    assert!(session.image_id(&app).is_some());
    session.run("imgtar verify").ok();
    assert_eq!(session.run("imgtar ls --json").ok().rows().len(), 1, "what was saved before is there");
    // And a collector makes room on a disk without any.
    session.run("cat /dev/zero >../store/filler").fails();
    session.run("gcctl run --max-images 0").ok();
    session.run("rm ../store/filler && imgtar verify").ok();
    assert_eq!(session.run("imgtar ls --json").ok().rows().len(), 0);
}

#[test]
fn a_read_only_store_is_read_and_not_written() {
    if !have(&[Part::Docker, Part::Mount]) {
        return;
    }
    let mut session = Session::new();
    let app = project(&mut session, 1);
    let disk = Mount::new(&session.store(), "16m");
    session.run("larder bake -q").ok();
    disk.make_read_only();
    session.run(&format!("docker rmi {app}")).ok();
    assert_eq!(session.run("larder bake --json").ok().rows()[0]["state"], "hit");
    session.write("data", "other");
    let ran = session.run("larder bake --json").ok().says("not saved").says("Read-only file system");
    assert_eq!((&ran.rows()[0]["state"], &ran.rows()[0]["saved"]), (&"built".into(), &false.into()), "{ran}");
    session.run("imgtar verify").ok();
    disk.make_writable();
    assert_eq!(session.run("larder bake --json").ok().rows()[0]["saved"], true);
}

#[test]
fn a_folder_that_is_no_store_is_left_alone() {
    if !have(&[Part::Docker]) {
        return;
    }
    let mut session = Session::new();
    project(&mut session, 1);
    session.write("../store/mine", "precious");
    let ran = session.run("larder bake --json").ok().says("not saved").says("not a larder store");
    assert_eq!(ran.rows()[0]["state"], "built", "{ran}");
    assert_eq!(session.run("ls ../store").stdout(), "mine\n");
}

#[test]
fn a_missing_engine_is_named() {
    let mut session = Session::new();
    project(&mut session, 1);
    let session = session.env("LARDER_DOCKER", "/nonexistent/docker");
    let ran = session.run("larder bake --json").ends(2).says("cannot run `/nonexistent/docker`");
    assert_eq!(ran.rows()[0]["state"], "failed", "{ran}");
    session.run("imgtar load some-key").ends(1);
}

#[test]
fn an_engine_that_does_not_answer_is_named() {
    if !have(&[Part::Docker]) {
        return;
    }
    let mut session = Session::new();
    project(&mut session, 1);
    let host = format!("unix://{}", session.aside("no.sock"));
    let ran = session.env("DOCKER_HOST", &host).run("larder bake --json").ends(2).says("docker daemon");
    assert_eq!(ran.rows()[0]["state"], "failed", "{ran}");
}

#[test]
fn an_engine_that_stops_while_it_saves_leaves_the_store_whole() {
    if !have(&[Part::Dockerd]) {
        return;
    }
    let mut session = Session::new();
    project(&mut session, 200);
    session.run("mkdir ../d && cp Dockerfile ../d && imgtar pack before ../d").ok();
    let mut daemon = Daemon::start(&session.aside("daemon"));
    let session = session.env("DOCKER_HOST", &daemon.host());
    let mut bake = session.start("larder bake -v --json");
    let mut stderr =
        BufReader::new(bake.stderr.take().expect("a pipe")).lines().map_while(std::io::Result::ok);
    assert!(
        stderr.any(|line| line.starts_with("+ ") && line.contains("imgtar save")),
        "it never came to the save"
    );
    daemon.kill();
    let said = stderr.collect::<Vec<_>>().join("\n");
    let mut report = String::new();
    bake.stdout.take().expect("a pipe").read_to_string(&mut report).expect("UTF-8");
    // It was built; but nobody is there to give it its name, which it gets when it is saved.
    assert_eq!(bake.wait().expect("larder").code(), Some(2), "{said}");
    assert!(
        report.contains("\"state\":\"failed\"") && report.contains("\"saved\":false"),
        "{report}\n{said}"
    );
    assert!(said.contains("not saved") && said.contains("`docker tag` ended with code 1"), "{said}");
    session.run("imgtar verify && imgtar has before").ok();
    assert_eq!(session.run("imgtar ls --json").ok().rows().len(), 1);
}

#[test]
fn an_import_that_is_killed_leaves_the_store_whole() {
    let session = Session::new();
    session.run("mkdir d && head -c 8M /dev/urandom >d/data").ok();
    session.run("imgtar pack made d --store ../other && imgtar export made ../image.tar --compress none --store ../other").ok();
    let archive = std::fs::read(session.aside("image.tar")).expect("an archive");
    let mut import = session.start("exec imgtar import key");
    // It has taken all but what fits into the pipe, and waits for the rest.
    let mut stdin = import.stdin.take().expect("a pipe");
    stdin.write_all(&archive[..archive.len() * 3 / 4]).expect("a pipe");
    import.kill().expect("a process");
    drop(stdin);
    import.wait().expect("imgtar");
    session.run("imgtar verify && imgtar ls").ok();
    session.run("imgtar has key").ends(1);
    session.run("imgtar import key ../image.tar && imgtar verify && imgtar has key").ok();
    // What the killed one left is swept away.
    session.run("gcctl run --max-images 1 && imgtar verify && imgtar has key").ok();
    let unfinished = session.run("find ../store/images -type f -newer ../image.tar | grep -v -e /keys/ -e '/[0-9a-f]\\{64\\}$' -e json -e oci-layout");
    assert_eq!(unfinished.stdout(), "", "{unfinished}");
}

#[test]
fn an_archive_that_breaks_off_is_not_saved() {
    let session = Session::new();
    session.run("mkdir d && head -c 1M /dev/urandom >d/data").ok();
    session
        .run("imgtar pack made d --store ../other && imgtar export made ../image.tar --store ../other")
        .ok();
    session.run("head -c 500000 ../image.tar | imgtar import key").ends(2);
    session.run("imgtar has key").ends(1);
    session.run("imgtar verify").ok();
}

#[test]
fn a_tool_that_is_missing_is_said_so_whatever_runs_it() {
    let session = Session::new().file("d/file", "1");
    session.write("larder.toml", "[image.app]\npack = { dir = \"d\" }\n");
    session.run("mkdir ../alone && cp $(command -v larder) $(command -v hashctx) ../alone").ok();
    let ran = session.run("PATH=/usr/bin:/bin ../alone/larder bake").ends(2);
    let ran = ran.says("cannot run `imgtar`");
    assert!(!ran.stderr().contains("127"), "{ran}");
}
