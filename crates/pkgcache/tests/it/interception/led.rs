//! A command of `pkgcache run`, and a build, whose https is intercepted for listed hosts.

use larder_tests::{Part, Ran, have};

use super::{LISTED, OTHER, Scene};
use crate::support::session;

/// This session's own.
const PODMAN: &str = "../bin/podman";

/// Nothing is set but what `run` sets; this machine's own names are for no proxy by themselves.
const ASKS: &str =
    "import sys, urllib.request\nfor url in sys.argv[1:]: print(urllib.request.urlopen(url).read().decode())";

#[test]
fn a_command_trusts_the_authority_and_reaches_all_else_by_a_tunnel() {
    if !have(&[Part::Nginx, Part::Openssl, Part::Curl, Part::Python]) {
        return;
    }
    let scene = Scene::new();
    let [listed, other] = [LISTED, OTHER].map(|it| format!("https://localhost:{}/a", scene.nginx.port(it)));
    // Only the private server opens tunnels to whatever the command wants.
    std::fs::write(
        scene.session.path("larder.toml"),
        format!(
            "[pkgcache]\nallow = [\"own.example\"]\n[pkgcache.intercept]\nhosts = [\"localhost:{}\"]\n",
            scene.nginx.port(LISTED)
        ),
    )
    .unwrap();
    let run = |line: &str| {
        let mut command = scene.command(&["run", "--access-log", "run.ndjson", "--", "sh", "-c", line]);
        Ran::of(command.env("no_proxy", "own.example"))
    };
    let said = run("echo $https_proxy $HTTPS_PROXY; echo $no_proxy; grep ca_cert $WGETRC; grep CaInfo $APT_CONFIG; echo $PIP_CERT").ok().stdout();
    let lines: Vec<_> = said.lines().collect();
    assert!(
        lines[0].starts_with("http://127.0.0.1:") && lines[1] == "own.example,127.0.0.1,localhost",
        "{said}"
    );
    let bundle = lines[4];
    assert_eq!(
        lines[2..4],
        [format!("ca_certificate = {bundle}"), format!("Acquire::https::CaInfo \"{bundle}\";")]
    );
    assert!(!std::path::Path::new(bundle).exists(), "the bundle outlives the command");
    let asks =
        format!("unset no_proxy NO_PROXY; python3 -c '{ASKS}' {listed} {other} && curl -sS {listed} {other}");
    assert_eq!(run(&asks).ok().stdout(), "body\nbody\nbodybody");
    scene.nginx.was_asked("/a", &["HTTP/1.1 200", "HTTP/1.1 200", "HTTP/2.0 200"]);
    let log = std::fs::read_to_string(scene.session.path("run.ndjson")).unwrap();
    assert_eq!(log.lines().filter(|line| line.contains("\"result\":\"tunnel\"")).count(), 2, "{log}");
    // A client that trusts something else is told of at the end.
    let ran =
        run(&format!("curl -sS --noproxy '' --cacert {} {listed}", scene.upstream.certificates())).fails();
    assert!(
        ran.stderr().contains("the client does not trust the authority of this cache"),
        "{}",
        ran.stderr()
    );
}

#[test]
fn nothing_of_the_authority_is_in_an_image_that_was_built_through_it() {
    if !have(&[Part::Nginx, Part::Openssl, Part::Podman, Part::Base]) {
        return;
    }
    let own = session().with_podman();
    let import = format!("{PODMAN} import {} base", larder_tests::parts::base().unwrap());
    Ran::of(own.program("sh").args(["-c", &import])).ok();
    let scene = Scene::of(own);
    let url = format!("https://localhost:{}/a", scene.nginx.port(LISTED));
    // apt takes the authority from a settings file alone, and what is local for no exception.
    let step = format!("unset no_proxy NO_PROXY && /usr/lib/apt/apt-helper download-file {url} /got");
    scene.session.write("context/Dockerfile", format!("FROM localhost/base\nRUN {step}\n"));
    let build = [
        "build",
        "--layers=false",
        "--runtime",
        "runc",
        "--ulimit",
        "nofile=1024:1024",
        "-t",
        "built",
        "context",
    ];
    let args = [&["run", "--access-log", "run.ndjson", "--", PODMAN], &build[..]].concat();
    Ran::of(&mut scene.command(&args)).ok();
    let log = std::fs::read_to_string(scene.session.path("run.ndjson")).unwrap();
    assert!(log.contains(&format!("\"url\":\"{url}\",\"status\":200")), "{log}");
    let print = Ran::of(&mut scene.command(&["ca", "print"])).ok().stdout();
    let line = print.lines().nth(2).unwrap();
    let shows = format!(
        "id=$({PODMAN} create built true) && {PODMAN} export -o image.tar $id && {PODMAN} rm $id >&2
         tar -xOf image.tar got; tar -tf image.tar | grep larder; grep -c -e '{line}' image.tar
         {PODMAN} image inspect built; {PODMAN} history --no-trunc built"
    );
    let said = Ran::of(scene.session.program("sh").args(["-c", &shows])).ok().stdout();
    assert!(said.starts_with("body0\n"), "{said}");
    for word in ["127.0.0.1", "https_proxy", "BEGIN CERT", "SSL_CERT_FILE"] {
        assert!(!said.contains(word), "{word}: {said}");
    }
}
