//! Many processes over one store at once: nothing is lost that was not removed.

use std::io::Write;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use larder_tests::http::{Origin, answer, get};
use larder_tests::{Part, Server, Session, have, until};

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
    // Two savers for each image, so that they meet over its blobs. A key may be gone when it is
    // read, never half there.
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
    let info = session.run("imgtar info kept --json").ok().json();
    assert_eq!(info["names"], serde_json::json!(["mine:4"]));
    session.run("gcctl run -q --max-images 3 && imgtar verify && imgtar has kept").ok();
}

/// Images that share a base come out of docker by whichever way each save takes, several at once.
#[test]
fn savers_of_a_real_engine_share_one_store() {
    if !have(&[Part::Docker]) {
        return;
    }
    let mut session = Session::new();
    let base = session.image("base");
    session.write("base/Dockerfile", session.from("scratch") + "COPY f /base\n");
    let build = |folder: &str, image: &str| format!("docker build -q -t {image}:1 {folder}");
    session.run(&format!("head -c 4M /dev/urandom >base/f && {}", build("base", &base))).ok();
    let images: Vec<_> = (0..4).map(|n| session.image(&format!("app{n}"))).collect();
    for (n, image) in images.iter().enumerate() {
        session.write(&format!("d{n}/Dockerfile"), format!("FROM {base}:1\nCOPY f /app\n"));
        session.run(&format!("head -c 200K /dev/urandom >d{n}/f && {}", build(&format!("d{n}"), image))).ok();
    }
    session.run(&format!("imgtar save -q kept {}:1 && gcctl pin kept", images[0])).ok();
    let save = "for round in 1 2 3; do imgtar save -q KEY IMAGE:1 || exit; \
                imgtar load -q KEY; [ $? -le 1 ] || exit 9; done";
    let savers =
        (0..8).map(|n: usize| save.replace("KEY", &format!("key{n}")).replace("IMAGE", &images[n % 4]));
    let remove =
        "for round in 1 2 3 4; do for n in 1 6; do imgtar rm -q key$n; [ $? -le 1 ] || exit 9; done; done";
    let collect = "for round in 1 2 3 4 5 6; do gcctl run -q --max-images 2; [ $? -le 1 ] || exit 9; done";
    let others = [remove, collect, collect].map(str::to_owned);
    let all: Vec<_> = savers.chain(others).map(|script| session.start(&script)).collect();
    all.into_iter().for_each(ends_well);
    session.run("imgtar verify && imgtar has kept && gcctl run -q --max-images 2 && imgtar verify").ok();
    // Each is the engine's very image still.
    for image in &images {
        let id = session.image_id(&format!("{image}:1")).expect("an image");
        session.run(&format!("imgtar save -q again {image}:1 --force")).ok();
        assert_eq!(session.run("imgtar info again --json").ok().json()["ids"][0], id);
    }
    let left = session.run("find ../store -name '.tmp-*'").ok();
    assert_eq!(left.stdout(), "", "{left}");
}

/// What the upstream of the next test sends for a path: its bytes say whose they are.
fn download(path: &str) -> String {
    path.repeat(20_000 / path.len())
}

/// Bodies are shared (`/a1` and `/b1` are the same), so that one goes while another entry needs it.
#[test]
fn packages_are_served_and_stored_while_they_are_collected() {
    let session = Session::new();
    let origin = Origin::new(|request, stream| {
        let body = download(&request.path.replace('b', "a"));
        let _ = stream.write_all(&answer(200, "cache-control: max-age=3600", body.as_bytes()));
    });
    let mut command = session.program("pkgcache");
    let upstream = format!("/={}", origin.url());
    let server = Server::start(command.args(["serve", "--listen", "127.0.0.1:0", "--upstream", &upstream]));
    let collect = "for round in $(seq 25); do gcctl LINE; [ $? -le 1 ] || exit 9; done";
    let lines = [
        "clean -q --packages",
        "run -q --packages-max-size 90kB --force",
        "run -q --packages-max-age 1s --force",
    ];
    let collectors: Vec<_> = lines.iter().map(|line| session.start(&collect.replace("LINE", line))).collect();
    let is_over = AtomicBool::new(false);
    let ask = |client: usize| {
        let mut asked = 0;
        while !is_over.load(Ordering::Relaxed) || asked < 60 {
            let path = format!("/{}{}", if asked % 3 == 0 { 'a' } else { 'b' }, (asked + client) % 8);
            let answer = get(server.authority(), &path).expect("an answer");
            assert_eq!(answer.status, 200, "{path}");
            assert!(answer.body == download(&path.replace('b', "a")).into_bytes(), "{path}: wrong bytes");
            asked += 1;
        }
        asked
    };
    let asked: usize = thread::scope(|scope| {
        let ask = &ask;
        let clients: Vec<_> = (0..4).map(|client| scope.spawn(move || ask(client))).collect();
        collectors.into_iter().for_each(ends_well);
        is_over.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().expect("a client")).sum()
    });
    // Something was removed meanwhile, and something was not.
    let fetched = origin.seen().len();
    assert!(fetched > 16 && fetched < asked, "{fetched} of {asked}");
    session.run("pkgcache verify").ok();
    for path in ["/a1", "/b1"] {
        until("a hit", || {
            let status = get(server.authority(), path).expect("an answer");
            status.header("cache-status").is_some_and(|status| status.contains("; hit"))
        });
    }
}

/// A server that has fetched something starts a collection, at the latest when it ends.
#[test]
fn a_package_cache_that_is_over_its_limit_is_collected_behind_it() {
    let session = Session::new().env("LARDER_BACKGROUND", "yes");
    session.write("larder.toml", "[pkgcache]\nmax-size = \"130kB\"\n");
    let origin = Origin::new(|request, stream| {
        let _ =
            stream.write_all(&answer(200, "cache-control: max-age=3600", download(&request.path).as_bytes()));
    });
    let mut command = session.program("pkgcache");
    let upstream = format!("/={}", origin.url());
    let mut server =
        Server::start(command.args(["serve", "--listen", "127.0.0.1:0", "--upstream", &upstream]));
    for number in 0..6 {
        assert_eq!(get(server.authority(), &format!("/file-{number}")).expect("an answer").status, 200);
    }
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let is_told = || session.run("gcctl limits").ok().stderr().contains("in the background");
    until("it was collected", is_told);
    let left = session.run("gcctl df --json").ok().json()["packages"].as_u64().expect("a number");
    assert!((20_000..=130_000).contains(&left), "{left}");
    session.run("pkgcache verify").ok();
}
