//! Hosts that are intercepted, with nginx behind and real clients in front.

mod clients;
mod led;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;

use camino::Utf8PathBuf;
use larder_tests::{Part, Ran, Session, have, isolate, until};

use crate::servers::{Authority, Nginx};
use crate::support::{Proxy, session};
use clients::{Client, Clients, ask, secured, tunnel};

/// A server that is intercepted, and one beside it that is not.
struct Scene {
    upstream: Authority,
    nginx: Nginx,
    proxy: Proxy,
    session: Arc<Session>,
    /// What clients trust: the upstream's own authority and that of the cache.
    bundle: Utf8PathBuf,
}

const LISTED: usize = 0;
const OTHER: usize = 1;

impl Scene {
    fn new() -> Self {
        Self::of(session())
    }

    fn of(session: Session) -> Self {
        let upstream = Authority::new();
        let here = format!("{} add_header Cache-Control max-age=3600;", upstream.lines("here"));
        let nginx = Nginx::new(&[("ssl", &here), ("ssl http2", &here)]);
        nginx.write("a", b"body");
        let [listed, other] = [LISTED, OTHER].map(|it| format!("localhost:{}", nginx.port(it)));
        let session = session.env("SSL_CERT_FILE", upstream.certificates().as_str());
        let session = session.file(
            "larder.toml",
            &format!("[pkgcache]\ntunnel = [\"{other}\"]\n[pkgcache.intercept]\nhosts = [\"{listed}\"]\n"),
        );
        let without = Ran::of(session.command("").args(["serve", "--listen", "127.0.0.1:0"])).fails();
        assert!(without.stderr().contains("`pkgcache ca init` makes one"), "{}", without.stderr());
        Ran::of(session.command("").args(["ca", "init"])).ok();
        let bundle = session.path("bundle.pem");
        Ran::of(session.command("").args(["ca", "bundle", "-o", bundle.as_str()])).ok();
        let session = Arc::new(session);
        let proxy = Proxy::in_session(Arc::clone(&session), &["--access-log", "access.ndjson"]);
        Self { upstream, nginx, proxy, session, bundle }
    }

    /// A command of another process beside the proxy.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.session.command("");
        command.args(args);
        command
    }

    fn get(&self, clients: &Clients, client: Client, server: usize) -> Option<String> {
        clients.get(client, self.nginx.port(server), "/a", Some(self.proxy.authority()))
    }

    /// Asks for `/a` by rustls, with this for its host.
    fn ask(&self, line: &str, host: &str) -> larder_tests::http::Answer {
        let target = format!("localhost:{}", self.nginx.port(LISTED));
        let (_, stream) = tunnel(self.proxy.authority(), &target);
        let request = format!("{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        ask(&self.bundle, &stream, &request).unwrap()
    }
}

const PARTS: [Part; 8] =
    [Part::Nginx, Part::Openssl, Part::Curl, Part::Python, Part::Node, Part::Go, Part::Gnutls, Part::Apt];

#[test]
fn clients_of_every_library_come_through_and_a_stolen_key_opens_nothing_else() {
    if !have(&PARTS) {
        return;
    }
    let scene = Scene::new();
    let mut clients = Clients::new(session(), &scene.bundle);
    for client in Client::ALL {
        let got = scene.get(&clients, client, LISTED);
        assert!(got.as_ref().is_some_and(|got| got.ends_with("body")), "{client:?}: {got:?}");
        scene.proxy.kept(1);
    }
    // The first of them fetched it.
    scene.nginx.was_asked("/a", &["HTTP/1.1 200"]);
    let counted = |name: &str| scene.proxy.metric(&format!("pkgcache_{name}"));
    assert_eq!(counted("requests_total{result=\"hit\"}"), Client::ALL.len() as u64 - 1);
    assert_eq!(
        (counted("intercepted_total"), counted("intercept_failures_total")),
        (Client::ALL.len() as u64, 0)
    );
    let url = format!("https://localhost:{}/a", scene.nginx.port(LISTED));
    let lines = scene.proxy.logs(Client::ALL.len(), |line| line["url"] == url.as_str());
    assert!(lines.iter().all(|line| line["client"] == "127.0.0.1" && line["status"] == 200), "{lines:?}");
    assert!(scene.proxy.command(&["ls"]).stdout().contains(&url));
    let why = scene.proxy.command(&["why", &url]).ok().stdout();
    assert!(why.contains("stored"), "{why}");

    // Nobody who knows the upstream's authority alone is deceived.
    clients = clients.trusting(&scene.upstream.certificates());
    for client in Client::ALL {
        assert_eq!(scene.get(&clients, client, LISTED), None, "{client:?} trusts anybody");
    }
    until("the failures are counted", || counted("intercept_failures_total") >= 7);
    let told = scene.proxy.get("/status.json");
    assert!(
        told.text().contains("the client does not trust the authority of this cache (UnknownCA)"),
        "{}",
        told.text()
    );

    // Another server is seen with its own certificate, and its bytes are counted.
    let shown = |server: usize| {
        let mut openssl = Command::new("openssl");
        let target = format!("localhost:{}", scene.nginx.port(server));
        isolate(&mut openssl, "/nonexistent").args([
            "s_client",
            "-connect",
            &target,
            "-proxy",
            scene.proxy.authority(),
        ]);
        Ran::fed(openssl.args(["-servername", "localhost", "-CAfile", scene.bundle.as_str()]), b"").stdout()
    };
    assert!(shown(OTHER).contains("issuer=CN = ca\n"), "{}", shown(OTHER));
    assert!(shown(LISTED).contains("issuer=CN = pkgcache interception "), "{}", shown(LISTED));
    let before = counted("sent_bytes_total{result=\"tunnel\"}");
    assert!(scene.get(&clients, Client::Curl, OTHER).unwrap().ends_with("body"));
    until("the tunnel is counted", || counted("sent_bytes_total{result=\"tunnel\"}") > before + 4);
    scene.nginx.was_asked("/a", &["HTTP/1.1 200", "HTTP/2.0 200"]);
    a_stolen_key_is_of_no_use(clients);
}

/// Has the authority's key, and makes a certificate for another name than it may vouch for.
fn stolen(session: &Session, key: &camino::Utf8Path) -> String {
    let extensions = session
        .write("leaf.cnf", "basicConstraints = CA:false\nsubjectAltName = DNS:localhost, IP:127.0.0.1\n");
    let line = format!(
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -keyout leaf.key -out leaf.csr && \
         openssl x509 -req -in leaf.csr -CA {key} -CAkey {key} -days 1 -extfile {extensions} -out leaf.pem"
    );
    Ran::of(session.program("sh").args(["-c", &line])).ok();
    let path = |name: &str| session.path(name);
    format!("ssl_certificate {}; ssl_certificate_key {};", path("leaf.pem"), path("leaf.key"))
}

/// One who has the key of an authority for `elsewhere.example`, and uses it for `localhost`.
#[track_caller]
fn a_stolen_key_is_of_no_use(clients: Clients) {
    let maker = session();
    Ran::of(maker.command("").args(["ca", "init", "elsewhere.example"])).ok();
    let bundle = maker.path("bundle.pem");
    Ran::of(maker.command("").args(["ca", "bundle", "-o", bundle.as_str()])).ok();
    let key = Ran::of(maker.command("").args(["ca", "print", "--json"])).ok().json()["file"].clone();
    let upstream = Authority::new();
    let stolen = stolen(&maker, key.as_str().unwrap().into());
    let nginx = Nginx::new(&[("ssl", &stolen), ("ssl", &upstream.lines("here"))]);
    nginx.write("a", b"body");
    let clients = clients.trusting(&bundle);
    for client in Client::ALL {
        assert_eq!(clients.get(client, nginx.port(0), "/a", None), None, "{client:?} believes it");
    }
    // It is the certificate that they refuse, and not the way to ask.
    let clients = clients.trusting(&upstream.certificates());
    for client in Client::ALL {
        let got = clients.get(client, nginx.port(1), "/a", None);
        assert!(got.as_ref().is_some_and(|got| got.ends_with("body")), "{client:?}: {got:?}");
    }
}

#[test]
fn what_is_said_within_a_tunnel_is_for_its_own_server_alone() {
    if !have(&[Part::Nginx, Part::Openssl]) {
        return;
    }
    let scene = Scene::new();
    let (listed, proxy) = (scene.nginx.port(LISTED), scene.proxy.authority());
    let own = format!("localhost:{listed}");
    let status = |line: &str, host: &str| scene.ask(line, host).status;
    assert_eq!(status("GET /a", &own), 200);
    assert_eq!(status(&format!("GET https://{own}/a"), &own), 200);
    for host in
        ["localhost", "elsewhere.example", "127.0.0.1", &format!("localhost:{}", scene.nginx.port(OTHER))]
    {
        assert_eq!(status("GET /a", host), 421, "{host}");
        assert_eq!(status(&format!("GET https://{host}/a"), &own), 421, "{host}");
    }
    assert_eq!(status(&format!("GET http://{own}/a"), &own), 421);
    assert_eq!(status("GET /../a", &own), 400);
    assert_eq!(status(&format!("CONNECT {own}"), &own), 405);
    // What this program says of itself is not said in another server's name.
    assert_eq!(status("GET /healthz", &own), 404);
    assert_eq!(status("POST /a", &own), 405);
    // Two lengths: refused before it is read.
    let twice = scene.ask("POST /a HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\nx: GET /a", &own);
    assert_eq!(twice.status, 400, "{twice:?}");

    // TLS for another name, or for none, is none at all.
    let (_, stream) = tunnel(proxy, &own);
    let other = secured(&scene.bundle, &stream, "elsewhere.example").write_all(b"GET /a HTTP/1.1\r\n\r\n");
    assert!(other.unwrap_err().to_string().contains("AccessDenied"));
    let (_, stream) = tunnel(proxy, &own);
    let none = secured(&scene.bundle, &stream, "127.0.0.1").write_all(b"GET /a HTTP/1.1\r\n\r\n");
    assert!(none.unwrap_err().to_string().contains("AccessDenied"));
    let (_, mut stream) = tunnel(proxy, &own);
    stream.write_all(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    assert!(!String::from_utf8_lossy(&said).contains("HTTP/"), "plain text was answered");
    until("all three are counted", || scene.proxy.metric("pkgcache_intercept_failures_total") == 3);
    let told = scene.proxy.get("/status.json").text().to_owned();
    assert!(told.contains("https to localhost"), "{told}");
    assert!(told.contains("another host (SNI)") && told.contains("which host it wants (SNI)"), "{told}");

    // No other port of the host is intercepted, nor the proxy itself.
    for target in ["localhost:443", "localhost:80", &proxy.replace("127.0.0.1", "localhost")] {
        assert!(tunnel(proxy, target).0.starts_with("HTTP/1.1 403 "), "{target}");
    }
    // In the clear, the URL says as well what is meant.
    let clear = |port: u16| scene.proxy.ask("GET", &format!("https://localhost:{port}/a"), "");
    assert_eq!((clear(listed).text(), clear(scene.nginx.port(OTHER)).status), ("body", 400));
    private_answers_stay_private(&scene, &own);
    rotates(scene, &own);
}

/// What came with credentials is for nobody else.
#[track_caller]
fn private_answers_stay_private(scene: &Scene, own: &str) {
    scene.nginx.write("private", b"mine");
    let with = "GET /private HTTP/1.1\r\nauthorization: Basic bWU6d29yZA==\r\nx: y";
    assert_eq!(scene.ask(with, own).text(), "mine");
    scene.nginx.write("private", b"open");
    assert_eq!(scene.ask("GET /private", own).text(), "open");
}

/// A new authority is taken up when that is said, and a client that has the old bundle goes on
/// until then; the new bundle has both.
#[track_caller]
fn rotates(mut scene: Scene, own: &str) {
    let file = Ran::of(&mut scene.command(&["ca", "print", "--json"])).ok().json()["file"].clone();
    let mode = |path: &str| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let file = file.as_str().unwrap();
    let folder = camino::Utf8Path::new(file).parent().unwrap().as_str();
    assert_eq!((mode(file), mode(folder)), (0o600, 0o700));
    Ran::of(&mut scene.command(&["ca", "init"])).fails().says("`pkgcache ca rotate` puts another");
    let print = |scene: &Scene| Ran::of(&mut scene.command(&["ca", "print"])).ok().stdout();
    let first = print(&scene);
    // One that is limited to other hosts is told at once, and the old settings stay.
    Ran::of(&mut scene.command(&["ca", "rotate", "elsewhere.example"])).ok();
    scene.proxy.signal("HUP");
    until("it is told", || scene.proxy.said().contains("may not vouch for `localhost`"));
    assert_eq!(scene.ask("GET /a", own).status, 200);
    Ran::of(&mut scene.command(&["ca", "rotate"])).ok();
    let bundle = scene.bundle.clone();
    Ran::of(&mut scene.command(&["ca", "bundle", "-o", bundle.as_str()])).ok();
    let text = std::fs::read_to_string(&bundle).unwrap();
    assert!(text.contains(first.trim()) && text.contains(print(&scene).trim()), "{text}");
    assert!(!text.contains("PRIVATE"), "the key is in the bundle");
    scene.proxy.signal("HUP");
    until("it is taken up", || scene.proxy.said().contains("changed: intercept"));
    assert_eq!(scene.ask("GET /a", own).status, 200);
    // At the end, a connection that waits for nothing is closed.
    let (_, stream) = tunnel(scene.proxy.authority(), own);
    let mut idle = secured(&bundle, &stream, "localhost");
    idle.write_all(format!("GET /a HTTP/1.1\r\nhost: {own}\r\n\r\n").as_bytes()).unwrap();
    idle.read_exact(&mut [0; 12]).unwrap();
    scene.proxy.signal("TERM");
    let _ = idle.read_to_end(&mut Vec::new());
    assert_eq!(scene.proxy.wait(), Some(0));
}
