//! `detect`, `env` and `run`: what clients use, what leads them here, and a command with a cache of
//! its own.

use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use larder_tests::{Part, Ran, Session, have, signal, until};

use crate::support::{Cached, Origin, Proxy, answer, session};

const FRESH: &str = "cache-control: max-age=3600";

/// A folder with the files of a machine.
fn machine() -> Session {
    session()
        .file("root/etc/pip.conf", "[global]\nindex-url = https://me:word@py.example/simple\n")
        .file("root/root/.npmrc", "@team:registry=https://js.example/team/\n//js.example/:_authToken=word\n")
        .file(
            "root/root/.cargo/config.toml",
            "[source.crates-io]\nreplace-with = \"m\"\n[source.m]\nregistry = \"sparse+https://rs.example/\"\n",
        )
        .file(
            "root/etc/apt/sources.list.d/a.sources",
            "Types: deb\nURIs: http://deb.example/debian\nSuites: s\nComponents: main\n",
        )
        .file("root/etc/apt/sources.list.d/b.list", "deb mirror://deb.example/list s main\n")
        .file("root/etc/containers/registries.conf", "unqualified-search-registries = [\"r.example\"]\n")
}

#[test]
fn the_repositories_of_a_machine_with_dnf_are_upstreams() {
    let session = session()
        .file("root/etc/dnf/dnf.conf", "[main]\ngpgcheck=1\nproxy=http://me:word@p.example:1/\n")
        .file(
            "root/etc/yum.repos.d/a.repo",
            "[base]\nbaseurl=http://one.example/pub/linux/releases/$releasever/os/$basearch/\n\
             [list]\nmetalink=https://m.example/metalink?repo=x\n[more]\nmirrorlist=http://list.example:8080/x?arch=$basearch\n[off]\nenabled=0\nbaseurl=http://off.example/\n",
        )
        .file("root/etc/yum.repos.d/b.repo", "[own]\nbaseurl=https://own.example/team/rpm/$basearch\n");
    let found = session.run("detect --root root").ok().stdout();
    assert_eq!(
        found,
        "[pkgcache]\n\
         # dnf asks for its http sources through the proxy.\n\
         allow = [\"list.example:8080\", \"one.example\"]\n\n\
         [pkgcache.upstream]\n\
         # /etc/yum.repos.d/a.repo\n\
         \"one.example\" = { url = \"http://one.example/pub/linux/releases/\", kind = \"dnf\" }\n\
         # /etc/yum.repos.d/b.repo\n\
         team = { url = \"https://own.example/team/rpm/\", kind = \"dnf\" }\n\n\
         # /etc/yum.repos.d/a.repo: `list` has its servers from a metalink, so it is not cached: write a `baseurl` in its place\n\
         # /etc/yum.repos.d/a.repo: `more` has its servers from a mirrorlist, so it is not cached: write a `baseurl` in its place\n\
         # dnf goes through the proxy `http://…@p.example:1/` already\n"
    );
    session.write("larder.toml", &found);
    let env = session.run("env").ok().stdout();
    for line in [
        "# dnf: no variable says this. In /etc/yum.repos.d, in each section of one.example:\n#   proxy=http://127.0.0.1:3144\n",
        "# dnf: write `baseurl=http://127.0.0.1:3144/team/…` in the place of `https://own.example/team/rpm/`, and comment out",
    ] {
        assert!(env.contains(line), "{line}\n{env}");
    }
}

#[test]
fn the_settings_of_a_machine_are_upstreams() {
    let session = machine();
    let found = session.run("detect --root root").ok().stdout();
    assert_eq!(
        found,
        "[pkgcache]\n\
         # apt asks for its http sources through the proxy.\n\
         allow = [\"deb.example\"]\n\n\
         [pkgcache.upstream]\n\
         # /root/.cargo/config.toml\n\
         crates = { url = \"https://rs.example/\", kind = \"cargo\" }\n\
         # /etc/apt/sources.list.d/a.sources\n\
         debian = { url = \"http://deb.example/debian\", kind = \"apt\" }\n\
         # /etc/pip.conf\n\
         # The client sends its own credentials, which pass through: in `http://USER:PASSWORD@HOST:PORT/pypi/`, or in ~/.netrc for HOST.\n\
         pypi = { url = \"https://py.example/simple/\", kind = \"python\", keep-private = true }\n\
         # /root/.npmrc\n\
         # The client sends its own credentials, which pass through: by `//HOST:PORT/team/:_authToken=…` in .npmrc.\n\
         team = { url = \"https://js.example/team/\", kind = \"npm\", keep-private = true }\n\n\
         [pkgcache.registry]\n\
         # /etc/containers/registries.conf\n\
         \"r.example\" = {}\n\n\
         # /etc/apt/sources.list.d/b.list: `mirror://deb.example/list` has a method of its own, so it is not cached\n"
    );
    // It is what larder.toml takes, and the same for programs.
    session.write("larder.toml", &found);
    assert!(session.run("env").ok().stdout().contains("export PIP_INDEX_URL=http://127.0.0.1:3144/pypi/\n"));
    let rows = session.run("detect --root root --json").ok().rows();
    let kinds: Vec<_> = rows.iter().filter_map(|row| row["kind"].as_str()).collect();
    assert_eq!(kinds, ["cargo", "apt", "python", "npm", "oci"]);
}

#[test]
fn a_machine_without_clients_has_nothing() {
    let session = session().file("root/etc/x", "");
    let found = session.run("detect --root root").ends(1);
    assert_eq!((found.stdout(), found.stderr()), ("\n".trim_start().to_owned(), String::new()));
}

#[test]
fn a_client_says_which_index_it_has_built_in() {
    let session = session();
    let pip =
        "[ \"$1 $2 $3\" = '--isolated install --help' ] && echo '(default https://py.example/simple). x'";
    let npm = "echo https://js.example/; [ \"$1 $2 $3\" = 'config get registry' ]";
    // It has to be asked with a proxy that is not there, and a home of its own.
    let cargo = "[ \"$1\" = search ] && [ \"$CARGO_HOME\" != \"$HOME/.cargo\" ] && case $CARGO_HTTP_PROXY in http://127.0.0.1:*) echo 'failed to download from `https://rs.example/config.json`' >&2;; esac; exit 101";
    let mut path = None;
    for (name, script) in [("pip", pip), ("npm", npm), ("cargo", cargo)] {
        path = session.script(&format!("bin/{name}"), script).parent().map(ToString::to_string);
    }
    symlink("/bin/sh", session.path("bin/sh")).unwrap();
    let session = session.env("PATH", &path.unwrap());
    let rows = session.run("detect --json").ok().rows();
    let own = |kind: &str| {
        let row =
            rows.iter().find(|row| row["kind"] == kind).map(|row| (row["url"].clone(), row["from"].clone()));
        row.unwrap()
    };
    assert_eq!(own("python"), ("https://py.example/simple/".into(), "pip's built-in default".into()));
    assert_eq!(own("npm"), ("https://js.example/".into(), "npm's built-in default".into()));
    assert_eq!(own("cargo"), ("https://rs.example/".into(), "cargo's built-in default".into()));
}

#[test]
fn an_index_that_cargo_used_is_known_by_its_cache() {
    let session = session()
        .file("../home/.cargo/registry/index/index.rs.example-1949cf8c6b5b557f/config.json", "{}")
        .file("../home/.cargo/registry/index/index.rs.example-1949cf8c6b5b557f/.cache/x", "")
        .file("../home/.cargo/registry/index/git.example-1949cf8c6b5b557f/.git/x", "")
        .env("PATH", "/nonexistent");
    let rows = session.run("detect --json").ok().rows();
    let cargo = rows.iter().find(|row| row["kind"] == "cargo").unwrap();
    assert_eq!(
        (&cargo["url"], &cargo["from"]),
        (&"https://index.rs.example/".into(), &"cargo's index cache".into())
    );
}

#[test]
fn real_clients_say_which_index_they_have_built_in() {
    if !have(&[Part::Python, Part::Node]) {
        return;
    }
    let rows = session().run("detect --json").ok().rows();
    for (kind, client) in [("python", "pip"), ("npm", "npm")] {
        let row = rows.iter().find(|row| row["kind"] == kind).unwrap_or_else(|| panic!("{kind}: {rows:?}"));
        assert_eq!(row["from"], format!("{client}'s built-in default"));
        assert!(row["url"].as_str().unwrap().starts_with("https://"), "{row}");
    }
}

#[test]
fn without_upstreams_the_clients_own_are_served() {
    let origin = Origin::fixed(FRESH, "page");
    let session = session().env("PIP_INDEX_URL", &format!("{}/simple/", origin.url()));
    let proxy = Proxy::in_session(session.env("npm_config_registry", "https://js.example/"), &[]);
    proxy.says(&format!("pkgcache: `/pypi/` is {}/simple/ for python (PIP_INDEX_URL)\n", origin.url()));
    proxy.says("pkgcache: `/npm/` is https://js.example/ for npm (npm_config_registry)\n");
    assert_ne!(proxy.get("/pypi/x.metadata").status, 404);
    // Where something is set, nothing is looked for.
    let proxy = proxy.again(&["--upstream", &format!("a={}", origin.url())]);
    assert_eq!((proxy.get("/pypi/x").status, proxy.said().contains("PIP_INDEX_URL")), (404, false));
}

#[test]
fn a_client_that_is_led_here_already_is_no_upstream() {
    let session = session().file("root/etc/pip.conf", "[global]\nindex-url = http://localhost:3144/pypi/\n");
    let found = session.run("detect --root root").ends(1).stdout();
    assert_eq!(found, "# /etc/pip.conf: python is led to this cache already\n");
}

#[test]
fn each_form_of_the_environment_fits_its_reader() {
    let session = session().file(
        "larder.toml",
        "[pkgcache]\nlisten = \"127.0.0.1:4000\"\n[pkgcache.upstream]\n\
         crates = { url = \"https://rs.example/\", kind = \"cargo\" }\n\
         debian = { url = \"http://deb.example/debian\", kind = \"apt\" }\n\
         pypi = { url = \"https://py.example/simple/\", kind = \"python\" }\n\
         [pkgcache.registry]\n\"r.example\" = {}\n",
    );
    let shell = session.run("env").ok().stdout();
    assert!(shell.contains("#   registry = \"sparse+http://127.0.0.1:4000/crates/\"\n"), "{shell}");
    let docker = session.run("env --for docker --url http://host.example:1").ok();
    assert_eq!(
        docker.stdout(),
        "--build-arg http_proxy=http://host.example:1\n\
         --build-arg no_proxy=host.example\n\
         --build-arg PIP_INDEX_URL=http://host.example:1/pypi/\n\
         --build-arg UV_DEFAULT_INDEX=http://host.example:1/pypi/\n\
         --build-arg PIP_TRUSTED_HOST=host.example:1\n"
    );
    assert!(docker.stderr().contains("cargo has no variable for it"), "{}", docker.stderr());
    let ci = session.run("env --for ci").ok().stdout();
    assert_eq!(
        ci,
        "PIP_INDEX_URL=http://127.0.0.1:4000/pypi/\nUV_DEFAULT_INDEX=http://127.0.0.1:4000/pypi/\n"
    );
    for (form, text) in [
        ("fish", "set -gx PIP_INDEX_URL http://127.0.0.1:4000/pypi/\n"),
        ("json", "\"PIP_INDEX_URL\":\"http://127.0.0.1:4000/pypi/\""),
        ("compose", "x-pkgcache: &pkgcache\n"),
        ("buildkitd", "[registry.\"r.example\"]\nmirrors = [\"127.0.0.1:4000\"]\n"),
        ("containerd", "# /etc/containerd/certs.d/r.example/hosts.toml\n[host.\"http://127.0.0.1:4000\"]\n"),
        ("podman", "[[registry.mirror]]\nlocation = \"127.0.0.1:4000/r.example\"\ninsecure = true\n"),
    ] {
        let found = session.run(&format!("env --for {form}")).ok().stdout();
        assert!(found.contains(text), "{form}: {found}");
    }
    session.run("env --url nowhere").ends(2);
}

#[test]
fn a_check_says_what_each_client_would_meet() {
    let cargo = Origin::fixed("content-type: application/json", "{\"dl\": \"https://rs.example/dl\"}");
    let files = Origin::fixed(FRESH, "x");
    let settings = |more: &str| {
        format!(
            "[pkgcache]\nlisten = \"127.0.0.1:0\"\n[pkgcache.upstream]\nfiles = \"{}\"\ncrates = {{ url = \"{}/\", kind = \"cargo\" }}\n{more}",
            files.url(),
            cargo.url()
        )
    };
    let proxy = Proxy::set(&settings(""), &[]);
    let checked = proxy.command(&["env", "--check", "--url", proxy.url()]).ok().stdout();
    assert_eq!(checked, "crates (cargo): ok [/crates/config.json]\nfiles (generic): ok [/files/]\n");
    // What is not mounted there is told, and fails.
    std::fs::write(proxy.path("larder.toml"), settings("js = { url = \"https://js.example\", kind = \"npm\" }\npy = { url = \"http://127.0.0.1:9/simple/\", kind = \"python\" }\n")).unwrap();
    proxy.signal("HUP");
    proxy.says("read again");
    let failed = proxy.command(&["env", "--check", "--json", "--url", proxy.url()]).ends(1).rows();
    let of = |name: &str| failed.iter().find(|row| row["name"] == name).unwrap().clone();
    assert_eq!((&of("files")["ok"], &of("py")["ok"]), (&true.into(), &false.into()));
    assert!(of("py")["problem"].as_str().unwrap().contains("127.0.0.1:9"), "{failed:?}");
    let nobody = proxy.command(&["env", "--check", "--url", "http://127.0.0.1:9"]).ends(2);
    assert!(nobody.stderr().contains("no cache answers at"), "{}", nobody.stderr());
}

/// The line `run -- CMD`, with the origin at `/a/`.
fn run(session: &Session, origin: &Origin, command: &[&str]) -> std::process::Command {
    let mut run = session.command("run");
    run.arg("--upstream").arg(format!("a={}", origin.url())).arg("--").args(command);
    run
}

#[test]
fn a_command_has_a_cache_for_as_long_as_it_runs() {
    if !have(&[Part::Curl]) {
        return;
    }
    let (origin, session) = (Origin::fixed(FRESH, "body"), session());
    let script = "umask; echo \"$LARDER_PKGCACHE_URL\"; curl -s \"$LARDER_PKGCACHE_URL/a/x\"; exit 7";
    let first = Ran::of(&mut run(&session, &origin, &["sh", "-c", script])).ends(7);
    assert_eq!(first.stderr(), "pkgcache: 0 hits, 1 miss, 4B from upstream, 0B saved\n");
    let again = Ran::of(&mut run(&session, &origin, &["sh", "-c", script])).ends(7);
    assert_eq!(again.stderr(), "pkgcache: 1 hit, 0 misses, 0B from upstream, 4B saved\n");
    let gone = ["sh", "-c", "curl -s \"$LARDER_PKGCACHE_URL/b/x\" >/dev/null"];
    let mut other = session.command("run");
    let ran = Ran::of(other.args(["--upstream", "b=http://127.0.0.1:9", "--"]).args(gone)).ok().stderr();
    assert!(ran.starts_with("pkgcache: 1 request could not be served:\npkgcache:   /b/x: "), "{ran}");
    // The port is the store's, the umask the user's; nobody is there any more.
    assert_eq!(first.stdout(), again.stdout());
    let url = again.stdout().lines().nth(1).unwrap().to_owned();
    assert!(std::net::TcpStream::connect(url.trim_start_matches("http://")).is_err());
    let mut quiet = run(&session, &origin, &["true"]);
    assert_eq!(Ran::of(quiet.env("LARDER_QUIET", "x")).ok().stdout(), "");
}

/// Each is asked for twice, and told once.
#[test]
fn what_a_command_lacked_is_listed_at_its_end() {
    if !have(&[Part::Curl]) {
        return;
    }
    let session = session().file(
        "larder.toml",
        "[pkgcache.upstream]\npypi = { url = \"http://127.0.0.1:9/simple/\", kind = \"python\" }\n",
    );
    let script = "for it in demo/ demo/ files/http_f.example/d/demo-1.0-py3-none-any.whl; do curl -si $PIP_INDEX_URL$it | head -n1; done";
    let ran = Ran::of(session.command("run --offline --").args(["sh", "-c", script])).ok();
    let page = "http://127.0.0.1:9/simple/demo/: the proxy is offline, and this is not stored";
    let file = "demo-1.0-py3-none-any.whl: the proxy is offline, and the index that names this file, \
                http://127.0.0.1:9/simple/demo/, is not stored";
    let line = |text: &str| format!("HTTP/1.1 504 Gateway Timeout: {text}\r\n");
    assert_eq!(ran.stdout(), [line(page), line(page), line(file)].concat());
    assert_eq!(
        ran.stderr(),
        format!(
            "pkgcache: 2 requests could not be served:\npkgcache:   {page}\npkgcache:   {file}\n\
             pkgcache: 0 hits, 0 misses, 0B from upstream, 0B saved\n"
        )
    );
}

/// Whatever options come first, and whatever the variables are called that it is given.
#[test]
fn what_writes_a_lock_file_is_not_led() {
    let toml = "[pkgcache.upstream]\npypi = { url = \"https://py.example/simple/\", kind = \"python\" }\n";
    let session = session().file("larder.toml", toml);
    let pip = session.script("../bin/pip", "echo \"${PIP_INDEX_URL-none} $value $word $_larder_word\"");
    session.script("../bin/uv", "echo \"${UV_DEFAULT_INDEX-none} $value\"");
    let path = format!("{}:{}", pip.parent().unwrap(), larder_tests::tools::path());
    let session = session.env("PATH", &path).env("value", "7").env("word", "8");
    let said = |run: &str, line: &str| {
        Ran::of(session.command(&format!("run {run} --")).args(["sh", "-c", line])).ok().stdout()
    };
    for line in ["pip lock x", "pip --default-timeout 10 --log f lock x", "pip --time 3 lock x"] {
        assert_eq!(said("", line), "none 7 8 \n", "{line}");
    }
    for line in ["pip install x", "pip -v install lock", "pip --log f download x"] {
        let led = said("", line);
        assert!(led.starts_with("http://127.0.0.1:") && led.ends_with("/pypi/ 7 8 \n"), "{line}: {led}");
    }
    for line in ["uv pip compile x", "uv pip -q --python 3.11 compile x", "uv lock", "uv run pip install x"] {
        assert_eq!(said("", line), "none 7\n", "{line}");
    }
    assert!(said("", "uv --color never pip install x").starts_with("http://127.0.0.1:"));
    // Within another one, and where the user has an index of their own.
    let inner = format!("{} run -- pip lock x", env!("CARGO_BIN_EXE_pkgcache"));
    assert_eq!(said("", &inner), "none 7 8 \n");
    let session = session.env("PIP_INDEX_URL", "https://own.example/simple/");
    let ran = Ran::of(session.command("run --").args(["sh", "-c", &inner])).ok().stdout();
    assert_eq!(ran, "https://own.example/simple/ 7 8 \n");
}

#[test]
fn a_client_that_asks_no_index_is_let_be() {
    let session = session().file(
        "larder.toml",
        "[pkgcache.upstream]\npypi = { url = \"https://py.example/simple/\", kind = \"python\" }\n\
         crates = { url = \"https://rs.example/\", kind = \"cargo\" }\n",
    );
    let line = "echo \"${PIP_INDEX_URL-none}\"; command -v cargo || :";
    let cargo = session.script("../bin/cargo", "exit 1");
    let path = format!("{}:{}", cargo.parent().unwrap(), larder_tests::tools::path());
    let session = session.env("PATH", &path);
    let run = || Ran::of(session.command("run --").args(["sh", "-c", line])).ok().stdout();
    let led = run();
    assert!(led.contains("/pypi/\n") && !led.ends_with(&format!("{cargo}\n")), "{led}");
    session.write(
        ".cargo/config.toml",
        "[source.crates-io]\nreplace-with = \"v\"\n[source.v]\ndirectory = \"vendor\"\n",
    );
    session.write("../home/.config/pip/pip.conf", "[global]\nno-index = true\n");
    assert_eq!(run(), format!("none\n{cargo}\n"));
}

#[test]
fn a_command_that_cannot_be_started_ends_as_in_a_shell() {
    let (origin, session) = (Origin::fixed(FRESH, "body"), session().file("plain", "x"));
    let missing = Ran::of(&mut run(&session, &origin, &["no-such-command"])).ends(127);
    assert!(missing.stderr().starts_with("pkgcache: cannot run `no-such-command`: No such file"));
    Ran::of(&mut run(&session, &origin, &["./plain"])).ends(126);
    Ran::of(&mut run(&session, &origin, &["sh", "-c", "kill -9 $$"])).ends(137);
}

#[test]
fn a_build_whose_context_is_a_tar_is_led() {
    let upstream =
        "[pkgcache.upstream]\npypi = { url = \"https://py.example/simple/\", kind = \"python\" }\n";
    let session = session()
        .env("DOCKER_BUILDKIT", "1")
        .file("larder.toml", upstream)
        .file("context/Dockerfile", "FROM a\nRUN pip install b\n")
        .file("context/file", "text");
    session.script("docker", "echo \"$*\" && exec cat >came");
    let build = |tar: &str| {
        let tar = Command::new("tar").args(["-c", tar, "-C"]).arg(session.path("context")).arg(".").output();
        let tar = tar.unwrap().stdout;
        std::fs::write(session.path("sent"), &tar).unwrap();
        Ran::fed(&mut session.command("run -- ./docker build -t x -"), &tar).ok()
    };
    let in_tar = |name: &str| {
        let got = Command::new("tar").arg("-xOf").arg(session.path("came")).arg(name).output();
        String::from_utf8(got.unwrap().stdout).unwrap()
    };
    let led = build("--format=gnu");
    assert!(led.stdout().starts_with("build --secret id=larder-pip,src="), "{led}");
    assert!(led.stdout().ends_with(" --network host -t x -\n") && !led.stderr().contains("warning"), "{led}");
    assert!(in_tar("./Dockerfile").contains("RUN --mount=type=secret,id=larder-pip,"), "{led}");
    assert_eq!(in_tar("./file"), "text");
    // What cannot be led passes as it is, and says so.
    for (tar, why) in [("-z", "no plain tar"), ("--exclude=Dockerfile", "no Dockerfile is in")] {
        assert!(build(tar).stderr().contains(why), "{tar}");
        let [sent, came] = ["sent", "came"].map(|name| std::fs::read(session.path(name)).unwrap());
        assert!(sent == came, "{tar}");
    }
    // A build that reads nothing of it.
    session.script("docker", "exit 3");
    let mut command = session.command("run -- ./docker build -");
    let endless = command.stdin(std::fs::File::open("/dev/zero").unwrap());
    let child = endless.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    Ran::after("build -", child).ends(3);
}

#[test]
fn commands_on_one_store_share_a_server_and_one_takes_the_others_place() {
    let (origin, session) = (Origin::fixed(FRESH, "body"), session());
    let start = || {
        let mut command = run(&session, &origin, &["sh", "-c", "echo \"$LARDER_PKGCACHE_URL\"; cat"]);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let url = first_line(&mut child);
        (child, url)
    };
    let ((mut first, url), (mut second, same)) = (start(), start());
    assert_eq!(url, same);
    let answers = || std::net::TcpStream::connect(url.trim_start_matches("http://")).is_ok();
    // Killed, so that it can tell nobody.
    first.kill().unwrap();
    first.wait().unwrap();
    until("the other one serves", answers);
    drop(second.stdin.take());
    assert!(second.wait().unwrap().success());
    assert!(!answers(), "something was left running");
}

#[test]
fn other_upstreams_have_a_server_of_their_own() {
    let (origin, session) = (Origin::fixed(FRESH, "body"), session());
    let mut command = run(&session, &origin, &["sh", "-c", "echo \"$LARDER_PKGCACHE_URL\"; cat"]);
    let mut first = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let url = first_line(&mut first);
    let other = Origin::fixed(FRESH, "other");
    let second = Ran::of(&mut run(&session, &other, &["sh", "-c", "echo \"$LARDER_PKGCACHE_URL\""])).ok();
    assert_ne!(second.stdout().trim(), url);
    drop(first.stdin.take());
    first.wait().unwrap();
}

#[test]
fn a_signal_goes_to_the_command() {
    let (origin, session) = (Origin::fixed(FRESH, "body"), session());
    let script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let mut command = run(&session, &origin, &["sh", "-c", script]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(first_line(&mut child), "ready");
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

#[test]
fn ctrl_c_reaches_the_command_once() {
    if !have(&[Part::Script]) {
        return;
    }
    let (origin, session) = (Origin::fixed(FRESH, "body"), session());
    let count = "n=0; trap 'n=$((n+1))' INT; echo ready; while [ $n = 0 ]; do sleep 0.05; done; sleep 0.3; exit $((40+n))";
    session.write("count.sh", count);
    let line =
        format!("exec {} run --upstream a={} -- sh count.sh", env!("CARGO_BIN_EXE_pkgcache"), origin.url());
    let mut script = session.program("script");
    script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = script.spawn().unwrap();
    assert_eq!(first_line(&mut child), "ready");
    child.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(41));
}

/// The first line that the process prints, without its end.
fn first_line(child: &mut std::process::Child) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while child.stdout.as_mut().unwrap().read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap().trim_end().to_owned()
}

#[test]
fn stored_urls_are_summed_and_forgotten() {
    let (one, other) = (Origin::fixed(FRESH, "body"), Origin::fixed(FRESH, "body"));
    let mounts = [format!("a={}", one.url()), format!("b={}", other.url())];
    let proxy = Proxy::with(&["--upstream", &mounts[0], "--upstream", &mounts[1]]);
    for path in ["/a/1", "/a/2", "/b/3"] {
        proxy.get(path);
        proxy.settled(path);
    }
    let sums = proxy.command(&["ls", "--by", "source", "--json"]).ok();
    let mut urls: Vec<_> =
        sums.rows().iter().map(|row| (row["urls"].as_u64(), row["size"].as_u64())).collect();
    urls.sort_unstable();
    assert_eq!(urls, [(Some(1), Some(4)), (Some(2), Some(4))]);
    // All three have one body.
    let table = proxy.command(&["ls", "--by", "ecosystem"]).ok();
    assert_eq!(table.stdout(), "ECOSYSTEM  URLS  SIZE\ngeneric       3    4B\n");
    assert_eq!(table.stderr(), "3 URLs, 4B\n");
    let source = one.url().trim_start_matches("http://").to_owned();
    assert_eq!(proxy.command(&["ls", "--source", &source, "-q"]).ok().stdout().lines().count(), 2);
    proxy.command(&["ls", "--ecosystem", "npm"]).ends(1);
    proxy.command(&["rm"]).ends(2);
    assert_eq!(proxy.command(&["rm", "--source", &source]).ok().stderr(), "removed: 2 URLs, 4B\n");
    let url = format!("{}/3", other.url());
    proxy.command(&["rm", &url]).ok();
    assert_eq!(proxy.command(&["rm", &url]).ends(1).stderr(), format!("nothing is stored for `{url}`\n"));
    assert_eq!(proxy.listed(), 0);
}

#[test]
fn what_is_refreshed_is_asked_for_again() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let origin = Origin::new(move |request, stream| {
        let condition = request.headers.iter().any(|(name, _)| name == "if-none-match");
        log.lock().unwrap().push(condition);
        let status = if condition { 304 } else { 200 };
        let body: &[u8] = if condition { b"" } else { b"body" };
        let _ = stream.write_all(&answer(status, "cache-control: max-age=3600\netag: \"v1\"", body));
    });
    let proxy = Proxy::of(&origin);
    proxy.get("/a");
    proxy.settled("/a");
    proxy.get("/a");
    proxy.command(&["refresh", &format!("{}/a", origin.url())]).ok();
    assert_eq!(proxy.get("/a").text(), "body");
    assert_eq!(*asked.lock().unwrap(), [false, true]);
    proxy.command(&["refresh", "http://other.example/"]).ends(1);
}

/// What can be had by a mount can be had by its own address, through the forward door, and is the
/// same object.
#[test]
fn a_mounted_upstream_needs_no_word_in_allow() {
    let origin = Origin::fixed(FRESH, "body");
    let settings = format!("[pkgcache.upstream]\na = \"{}/deep\"\n", origin.url());
    let proxy = Proxy::set(&settings, &[]);
    proxy.get(&format!("{}/deep/x", origin.url())).is(200, "stored", "body");
    proxy.kept(1);
    proxy.get("/a/x").is(200, "hit", "body");
    assert_eq!(origin.count("GET", "/deep/x"), 1);
    // What is beside it on its server cannot be had by the mount either.
    for path in ["/x", "/deeper/x", "/deep/../x", "/deep/%2e%2e/x"] {
        let refused = proxy.get(&format!("{}{path}", origin.url()));
        assert!((400..404).contains(&refused.status), "{path}: {refused:?}");
    }
    assert_eq!(origin.seen().len(), 1);
}
