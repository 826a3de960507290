//! Real clients of every TLS library that matters: OpenSSL (curl, Python, Node), `GnuTLS` (its own
//! client, apt), Go's and rustls.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use larder_tests::http::{Answer, connect, listen, read_until};
use larder_tests::{Ran, Session};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    Openssl,
    Curl,
    Python,
    Node,
    Go,
    Gnutls,
    Apt,
    Rustls,
}

impl Client {
    pub(super) const ALL: [Self; 8] = [
        Self::Openssl,
        Self::Curl,
        Self::Python,
        Self::Node,
        Self::Go,
        Self::Gnutls,
        Self::Apt,
        Self::Rustls,
    ];
}

const PYTHON: &str = "import sys, urllib.request\n\
    proxies = {'https': sys.argv[2]} if sys.argv[2] else {}\n\
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))\n\
    sys.stdout.write(opener.open(sys.argv[1]).read().decode())";

/// Node's own https knows no proxy.
const NODE: &str = "const { URL } = require('url');
const url = new URL(process.argv[1]), proxy = process.argv[2];
const fail = (error) => { console.error(String(error)); process.exit(1); };
const ask = (socket) => require('https').get(url, socket ? { createConnection: () => socket } : {}, (answer) => answer.on('data', (part) => require('fs').writeSync(1, part)).on('end', () => process.exit(0))).on('error', fail);
if (!proxy) ask();
else require('http').request({ host: new URL(proxy).hostname, port: new URL(proxy).port, method: 'CONNECT', path: url.host })
  .on('connect', (answer, socket) => answer.statusCode === 200
    ? ask(require('tls').connect({ socket, servername: url.hostname }).on('error', fail)) : fail(answer.statusCode)).on('error', fail).end();";

/// Go leaves this machine's own names to no proxy of the environment's.
const GO: &str = r#"package main

import ("io"; "net/http"; "net/url"; "os")

func main() {
	transport := &http.Transport{}
	if os.Args[2] != "" {
		proxy, _ := url.Parse(os.Args[2])
		transport.Proxy = http.ProxyURL(proxy)
	}
	answer, err := (&http.Client{Transport: transport}).Get(os.Args[1])
	if err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
	io.Copy(os.Stdout, answer.Body)
}
"#;

/// Clients in a folder of their own, who trust what is in the bundle.
pub(super) struct Clients {
    session: Session,
    bundle: Utf8PathBuf,
    go: Utf8PathBuf,
}

impl Clients {
    pub(super) fn new(session: Session, bundle: &Utf8Path) -> Self {
        let source = session.write("ask.go", GO);
        let go = session.path("ask-go");
        let mut build = session.program("go");
        build.args(["build", "-o", go.as_str(), source.as_str()]).env("GOTOOLCHAIN", "local");
        Ran::of(build.env("GO111MODULE", "off").env("CGO_ENABLED", "0")).ok();
        Self { session, bundle: bundle.to_owned(), go }
    }

    /// The same with another bundle.
    pub(super) fn trusting(self, bundle: &Utf8Path) -> Self {
        Self { bundle: bundle.to_owned(), ..self }
    }

    /// What the client gets for `https://localhost:PORT/PATH`, through the proxy at this authority
    /// or directly; `None` where it refuses the server's certificate.
    #[track_caller]
    pub(super) fn get(&self, client: Client, port: u16, path: &str, proxy: Option<&str>) -> Option<String> {
        let url = format!("https://localhost:{port}{path}");
        let by = proxy.map_or(String::new(), |proxy| format!("http://{proxy}"));
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost:{port}\r\nconnection: close\r\n\r\n");
        let program = |name: &str, args: &[&str]| {
            let mut command = self.session.program(name);
            command.args(args);
            command
        };
        let verdict = match client {
            Client::Openssl => {
                let target = format!("localhost:{port}");
                let mut command = program(
                    "openssl",
                    &[
                        "s_client",
                        "-quiet",
                        "-connect",
                        &target,
                        "-CAfile",
                        self.bundle.as_str(),
                        "-verify_return_error",
                        "-verify_hostname",
                        "localhost",
                        "-servername",
                        "localhost",
                        "-x509_strict",
                    ],
                );
                command.args(proxy.into_iter().flat_map(|proxy| ["-proxy", proxy]));
                Ran::fed(command.arg("-ign_eof"), request.as_bytes())
            }
            Client::Curl => Ran::of(
                program("curl", &["-sS", "-i", "--proxy", &by, &url]).env("CURL_CA_BUNDLE", &self.bundle),
            ),
            Client::Python => Ran::of(self.trusts(&mut program("python3", &["-c", PYTHON, &url, &by]))),
            Client::Node => {
                Ran::of(program("node", &["-e", NODE, &url, &by]).env("NODE_EXTRA_CA_CERTS", &self.bundle))
            }
            Client::Go => Ran::of(self.trusts(&mut program(self.go.as_str(), &[&url, &by]))),
            Client::Gnutls => {
                let port = proxy.map_or(port, |proxy| doorway(proxy, &format!("localhost:{port}")));
                let (port, file) = (port.to_string(), format!("--x509cafile={}", self.bundle));
                let args = ["--logfile=/dev/stderr", &file, "-p", &port, "localhost"];
                let mut command = program("gnutls-cli", &args);
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
                let mut child = command.spawn().unwrap();
                // It ends with its input, whether or not there was an answer.
                let mut input = child.stdin.take().unwrap();
                input.write_all(request.as_bytes()).unwrap();
                let ran = Ran::after("gnutls-cli", child);
                drop(input);
                ran
            }
            Client::Apt => self.apt(&url, &by),
            Client::Rustls => {
                return ask(&self.bundle, &connected(port, proxy), &request)
                    .ok()
                    .map(|it| it.text().to_owned());
            }
        };
        (verdict.code() == 0).then(|| verdict.stdout())
    }

    fn trusts<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("SSL_CERT_FILE", &self.bundle)
    }

    /// apt's own download; what it got.
    fn apt(&self, url: &str, by: &str) -> Ran {
        let to = self.session.path("from-apt");
        let _ = std::fs::remove_file(&to);
        let proxy = if by.is_empty() { "DIRECT" } else { by };
        let mut command = self.session.program("/usr/lib/apt/apt-helper");
        command.args(["-o", &format!("Acquire::https::Proxy={proxy}")]);
        command.args(["-o", &format!("Acquire::https::CaInfo={}", self.bundle)]);
        command.args(["-o", "Acquire::Retries=0", "-o", "APT::Sandbox::User=root"]);
        let ran = Ran::of(command.args(["download-file", url, to.as_str()]));
        if ran.code() == 0 { Ran::of(self.session.program("cat").arg(&to)) } else { ran }
    }
}

/// A connection to the server, or in a tunnel of the proxy's to it.
pub(super) fn connected(port: u16, proxy: Option<&str>) -> TcpStream {
    proxy.map_or_else(
        || connect(&format!("localhost:{port}")),
        |proxy| tunnel(proxy, &format!("localhost:{port}")).1,
    )
}

/// Asks for a tunnel; the answer's head, and the connection.
pub(super) fn tunnel(proxy: &str, target: &str) -> (String, TcpStream) {
    let mut stream = connect(proxy);
    write!(stream, "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").unwrap();
    (read_until(&mut stream, "\r\n\r\n"), stream)
}

/// A port that leads into a tunnel, for a client that knows no proxy.
fn doorway(proxy: &str, target: &str) -> u16 {
    let (proxy, target) = (proxy.to_owned(), target.to_owned());
    let door = listen(move |client| {
        let (_, server) = tunnel(&proxy, &target);
        let (mut up, mut down) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let mut from_client = client;
        std::thread::spawn(move || std::io::copy(&mut from_client, &mut up));
        let _ = std::io::copy(&mut (&server), &mut down);
        let _ = down.shutdown(std::net::Shutdown::Both);
    });
    door.port()
}

/// Speaks TLS by rustls as a client of this name.
pub(super) fn secured<'s>(
    bundle: &Utf8Path,
    stream: &'s TcpStream,
    name: &str,
) -> StreamOwned<ClientConnection, &'s TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_file_iter(bundle).unwrap().map(Result::unwrap));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let name = ServerName::try_from(name.to_owned()).unwrap();
    StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream)
}

/// Sends the request to `localhost` by rustls, and reads the answer.
pub(super) fn ask(bundle: &Utf8Path, stream: &TcpStream, request: &str) -> std::io::Result<Answer> {
    let mut stream = secured(bundle, stream, "localhost");
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(Answer::read(&mut bytes.as_slice(), ""))
}
