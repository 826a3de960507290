//! Real servers: nginx with a configuration of its own, certificates for it, and a line that is
//! cut.

use std::fs;
use std::io::Read;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use camino::Utf8Path;
use larder_tests::http::{free_address, listen};
use larder_tests::{Ran, isolate, until, until_some};
use tempfile::TempDir;

/// nginx on a folder of files.
pub(crate) struct Nginx {
    child: Child,
    dir: TempDir,
    ports: Vec<u16>,
}

impl Nginx {
    /// Servers, each given by what `listen` has after the port, and what its block says beside.
    pub(crate) fn new(servers: &[(&str, &str)]) -> Self {
        // Another test may take a port before nginx does.
        (0..5).find_map(|_| Self::try_new(servers)).expect("nginx starts")
    }

    fn try_new(servers: &[(&str, &str)]) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("www")).unwrap();
        let ports: Vec<u16> = servers.iter().map(|_| free_address().port()).collect();
        let block = |((how, block), port): (&(&str, &str), &u16)| {
            format!("server {{ listen 127.0.0.1:{port} {how}; root www; {block} }}")
        };
        let blocks = servers.iter().zip(&ports).map(block).collect::<Vec<_>>().join("\n");
        let config = format!(
            "daemon off; master_process off; pid nginx.pid; error_log error.log;\n\
             events {{ }}\n\
             http {{\n\
             default_type text/plain;\n\
             log_format short '$server_protocol $status $request_uri $connection';\n\
             access_log access.log short;\n\
             client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4;\n\
             scgi_temp_path t5;\n{blocks}\n}}\n"
        );
        fs::write(dir.path().join("nginx.conf"), config).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(dir.path()).args(["-e", "error.log", "-c", "nginx.conf"]);
        isolate(&mut command, dir.path());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut nginx = Self { child, dir, ports };
        let answers = |port: &u16| TcpStream::connect(("127.0.0.1", *port)).is_ok();
        let answers = until_some("nginx answers or ends", || match nginx.child.try_wait().unwrap() {
            Some(_) => Some(false),
            None => nginx.ports.iter().all(answers).then_some(true),
        });
        answers.then_some(nginx)
    }

    pub(crate) fn port(&self, server: usize) -> u16 {
        self.ports[server]
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("www").join(name)
    }

    /// The requests for a path: `PROTOCOL STATUS` and the number of the connection, in the order of
    /// their ends.
    pub(crate) fn requests(&self, path: &str) -> Vec<(String, String)> {
        let log = fs::read_to_string(self.dir.path().join("access.log")).unwrap_or_default();
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let lines = log.lines().map(words).filter(|line| line.len() == 4 && line[2] == path);
        lines.map(|line| (format!("{} {}", line[0], line[1]), line[3].clone())).collect()
    }

    /// The requests for a path are these, soon: nginx notes them after their ends.
    #[track_caller]
    pub(crate) fn was_asked(&self, path: &str, expected: &[&str]) {
        let found = || self.requests(path).into_iter().map(|it| it.0).collect::<Vec<_>>();
        until(format_args!("{path} was asked for"), || found().len() >= expected.len());
        assert_eq!(found(), expected, "{path}");
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An authority of one's own, with a certificate for this machine and one for another.
pub(crate) struct Authority {
    dir: TempDir,
}

const EXTENSIONS: &str = "[req]\ndistinguished_name = dn\n[dn]\n\
    [ca]\nbasicConstraints = critical, CA:true\nkeyUsage = critical, keyCertSign\n\
    [here]\nbasicConstraints = CA:false\nsubjectAltName = DNS:localhost, IP:127.0.0.1\n\
    [own]\nbasicConstraints = CA:true\nsubjectAltName = DNS:localhost\n\
    [alone]\nbasicConstraints = CA:false\nsubjectAltName = DNS:localhost\n\
    [elsewhere]\nbasicConstraints = CA:false\nsubjectAltName = DNS:elsewhere.example\n";

impl Authority {
    pub(crate) fn new() -> Self {
        let authority = Self { dir: tempfile::tempdir().unwrap() };
        fs::write(authority.dir.path().join("openssl.cnf"), EXTENSIONS).unwrap();
        for name in ["ca", "own", "alone"] {
            authority.make(name, &[]);
        }
        for name in ["here", "elsewhere"] {
            authority.make(name, &["-CA", "ca.pem", "-CAkey", "ca.key"]);
        }
        authority
    }

    fn make(&self, name: &str, signed: &[&str]) {
        let mut command = Command::new("openssl");
        isolate(&mut command, self.dir.path()).current_dir(self.dir.path()).args([
            "req",
            "-x509",
            "-config",
            "openssl.cnf",
            "-nodes",
        ]);
        command.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2"]);
        command.args(["-subj", &format!("/CN={name}"), "-extensions", name]);
        command.args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")]).args(signed);
        Ran::of(&mut command).ok();
    }

    /// Its folder.
    pub(crate) fn file(&self) -> &Utf8Path {
        Utf8Path::from_path(self.dir.path()).unwrap()
    }

    pub(crate) fn certificates(&self) -> camino::Utf8PathBuf {
        self.file().join("ca.pem")
    }

    /// nginx's lines for the certificate.
    pub(crate) fn lines(&self, name: &str) -> String {
        let dir = self.file();
        format!("ssl_certificate {dir}/{name}.pem; ssl_certificate_key {dir}/{name}.key;")
    }
}

/// A line to a server. The first connection over it ends after so many bytes of answer.
pub(crate) fn cut_line(to: u16, after: usize) -> SocketAddr {
    let whole = AtomicBool::new(false);
    listen(move |client| {
        let most = if whole.swap(true, Ordering::Relaxed) { u64::MAX } else { after as u64 };
        let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
        let (mut up, mut down) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let mut from_client = client;
        thread::spawn(move || {
            let _ = std::io::copy(&mut from_client, &mut up);
            let _ = up.shutdown(Shutdown::Write);
        });
        let _ = std::io::copy(&mut (&server).take(most), &mut down);
        let _ = down.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    })
}

/// Bytes that tell each place from its neighbours.
pub(crate) fn pattern(size: usize) -> Vec<u8> {
    (0..size / 8)
        .flat_map(|number| (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes())
        .collect()
}
