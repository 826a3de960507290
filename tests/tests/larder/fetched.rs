//! What builds fetch from addresses, with real engines: decided once, in larder.lock.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::Child;

use camino::Utf8PathBuf;
use larder_tests::http::{Origin, answer, free_address};
use larder_tests::{Part, Ran, Session, have, signal, until};

/// A server of the files in the folder.
fn serve(folder: Utf8PathBuf) -> Origin {
    Origin::new(move |request, stream| {
        let path = request.path.split('?').next().unwrap_or_default();
        let reply = match fs::read(folder.join(path.trim_start_matches('/'))) {
            Ok(bytes) => answer(200, "", &bytes),
            Err(_) => answer(404, "", b"no"),
        };
        drop(stream.write_all(&reply));
    })
}

/// `git daemon` for the repositories in the session's `served`, until the end of the test.
struct Daemon(Child);

impl Daemon {
    fn start(session: &Session, at: SocketAddr) -> Self {
        let (host, port) = (at.ip(), at.port());
        let daemon = Self(session.start(&format!(
            "exec git daemon --export-all --reuseaddr --base-path=../served --listen={host} --port={port}"
        )));
        until("git daemon listens", || TcpStream::connect(at).is_ok());
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It ends in peace with the processes that it has started.
        signal(&self.0, "TERM");
        let _ = self.0.wait();
    }
}

/// Bakes with the line; the one image must be found or built as `state` says.
#[track_caller]
fn bakes(session: &Session, line: &str, state: &str) -> Ran {
    let ran = session.run(line).ok();
    assert_eq!(ran.rows()[0]["state"], state, "{ran}");
    ran
}

#[test]
fn a_file_that_add_fetches_is_what_larder_lock_says() {
    for (engine, part) in [("docker", Part::Docker), ("podman", Part::Podman)] {
        if !have(&[part]) {
            continue;
        }
        let mut session = Session::new();
        let app = session.image_in(engine, "app");
        let served = session.aside("served");
        let origin = serve(served.clone());
        let address = format!("{}/tool", origin.url());
        session.write("../served/tool", "one\n");
        let dockerfile =
            session.from("scratch") + &format!("ARG NAME=tool\nADD {}/$NAME /tool\n", origin.url());
        session.write("Dockerfile", dockerfile);
        session.write("larder.toml", format!("[image.app]\ntags = [\"{app}:1\"]\n"));
        let bake = format!("larder bake --engine {engine} --json");

        session.run(&format!("{bake} --locked")).ends(2).says(&format!("has no digest for `{address}`"));
        let first = bakes(&session, &bake, "built").says(&format!("locked: {address} at sha256:"));
        assert_eq!(first.rows()[0]["key_warnings"], serde_json::json!([]), "{first}");
        assert_eq!(first.rows()[0]["saved"], true, "{first}");
        let lock = || fs::read_to_string(session.path("larder.lock")).expect("a lock");
        assert!(
            lock().contains(&format!("[[source]]\naddress = \"{address}\"\ndigest = \"sha256:")),
            "{}",
            lock()
        );
        bakes(&session, &format!("CI=true {bake}"), "hit");

        // Another file stands there: that is another decision, and nothing of it is saved.
        session.write("../served/tool", "two\n");
        bakes(&session, &bake, "hit");
        let behind = session.run("larder lock --check").ends(1).stdout();
        assert!(behind.starts_with(&format!("{address}  sha256:")), "{behind}");
        let other = bakes(&session, &format!("{bake} --rebuild"), "built");
        let other = other.says("does not check what `ADD` fetches");
        assert_eq!(other.rows()[0]["saved"], false, "{other}");
        let moved = bakes(&session, &format!("{bake} --update {address}"), "built");
        let moved = moved.says(&format!("updated: {address} from sha256:"));
        assert_eq!(moved.rows()[0]["saved"], true, "{moved}");
        assert_eq!(session.file_of(engine, &format!("{app}:1"), "/tool"), "two\n");
        session.run("larder lock --check").ok();

        // One that is gone stays as it is locked.
        fs::remove_file(served.join("tool")).expect("removed");
        bakes(&session, &bake, "hit");
        bakes(&session, &format!("{bake} --update"), "hit").says("it stays as locked");
    }
}

#[test]
fn a_builder_that_can_checks_what_it_fetches() {
    if !have(&[Part::Docker]) {
        return;
    }
    let mut session = Session::new();
    let app = session.image("app");
    session.write("../served/tool", "one\n");
    let origin = serve(session.aside("served"));
    session.write("Dockerfile", session.from("scratch") + &format!("ADD {}/tool /tool\n", origin.url()));
    session.write("larder.toml", format!("[image.app]\ntags = [\"{app}:1\"]\n"));
    // It says that it is a later docker, and does what that does with a checksum.
    session.script(
        "../bin/later",
        "case $1 in version) echo 25.0.3; exit;; build) while [ \"$1\" != -f ]; do set -- \"$@\" \"$1\"; shift; done\n\
         sum=$(sed -n 's/^ADD --checksum=sha256:\\([0-9a-f]*\\) .*/\\1/p' \"$2\")\n\
         echo \"$sum  ../served/tool\" | sha256sum -c --quiet >&2 || exit 9\n\
         sed -i 's/--checksum=[^ ]* //' \"$2\"\n\
         file=$2; shift 2; while [ $1 != build ]; do set -- \"$@\" \"$1\"; shift; done; set -- \"$@\" -f \"$file\";; esac\n\
         exec docker \"$@\"",
    );
    let bake = "LARDER_DOCKER=../bin/later larder bake --engine docker --json";
    assert_eq!(bakes(&session, bake, "built").rows()[0]["saved"], true);
    session.write("../served/tool", "two\n");
    bakes(&session, bake, "hit");
    session.run(&format!("{bake} --rebuild")).ends(2).says("computed checksum did NOT match");
}

#[test]
fn a_context_in_a_repository_is_the_locked_commit() {
    if !have(&[Part::Podman, Part::Git]) {
        return;
    }
    let mut session = Session::new();
    let app = session.image_in("podman", "app");
    session.write("../source/f", "one\n");
    let commit = "git add -A && git -c user.name=x -c user.email=x@example.org commit -qm c && \
                  git push -q ../served/r.git HEAD:refs/heads/main";
    session
        .run("mkdir ../served && git init -q --bare ../served/r.git && git -C ../served/r.git symbolic-ref HEAD refs/heads/main")
        .ok();
    session.run(&format!("cd ../source && git init -q . && {commit}")).ok();
    let at = free_address();
    let _daemon = Daemon::start(&session, at);
    let address = format!("git://{at}/r.git#main");
    session.write("Dockerfile", session.from("scratch") + "COPY --from=src f /f\n");
    session.write(
        "larder.toml",
        format!("[image.app]\ntags = [\"{app}:1\"]\ncontexts = {{ src = \"{address}\" }}\n"),
    );
    // This podman fetches contexts by HTTP alone: it is handed the commit that it is to fetch.
    session.script(
        "../bin/fetching",
        "for arg do shift; case $arg in src=git://*) \
         rm -rf ../fetched; git clone -q ../served/r.git ../fetched; git -C ../fetched checkout -q ${arg##*#}; \
         arg=src=../fetched;; esac; set -- \"$@\" \"$arg\"; done; exec podman \"$@\"",
    );
    let bake = "LARDER_PODMAN=../bin/fetching larder bake --engine podman --json";
    let first = bakes(&session, bake, "built").says(&format!("locked: {address} at "));
    assert_eq!(first.rows()[0]["saved"], true, "{first}");
    assert_eq!(session.file_of("podman", &format!("{app}:1"), "/f"), "one\n");
    let lock = fs::read_to_string(session.path("larder.lock")).expect("a lock");
    assert!(lock.contains(&format!("address = \"{address}\"\ncommit = \"")), "{lock}");

    session.write("../source/f", "two\n");
    session.run(&format!("cd ../source && {commit}")).ok();
    bakes(&session, bake, "hit");
    bakes(&session, &format!("{bake} --rebuild"), "built");
    assert_eq!(session.file_of("podman", &format!("{app}:1"), "/f"), "one\n");
    session.run("larder lock --check").ends(1);
    bakes(&session, &format!("{bake} --update"), "built");
    assert_eq!(session.file_of("podman", &format!("{app}:1"), "/f"), "two\n");
}

#[test]
fn an_address_that_a_base_image_may_set_is_a_doubt() {
    let session = Session::new();
    session.write("Dockerfile", "FROM debian:12\nADD ${URL} /f\n");
    session.write("larder.toml", "[image.app]\n");
    let doubts = "larder bake --engine docker --check --doubts";
    let ran = session.run(&format!("DOCKER_HOST=unix:///none {doubts}")).ends(1);
    assert!(
        ran.stdout().contains("doubt: line 2 fetches `${URL}`, which may be something else later"),
        "{ran}"
    );
    // With a value, there is an address to lock.
    session.write("../served/tool", "one\n");
    let origin = serve(session.aside("served"));
    session.write("Dockerfile", "FROM scratch\nARG URL\nADD ${URL} /f\n");
    let address = format!("{}/tool", origin.url());
    session.write("larder.toml", format!("[image.app]\nargs = {{ URL = \"{address}\" }}\n"));
    session.run("larder lock").ok().says(&format!("locked: {address} at sha256:"));
    let ran = session.run(&format!("DOCKER_HOST=unix:///none {doubts}")).ends(1);
    assert!(!ran.stdout().contains("doubt:"), "{ran}");
}
