//! Proxies between here and registries: what the environment names is used, or refused with its
//! name.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;

use larder_tests::Ran;
use larder_tests::http::listen;

use crate::kit::remotes::Fake;
use crate::kit::session::Session;
use crate::kit::tars::layer;

/// A SOCKS 5 proxy that leads every name and address to one host. It wants this password, if any.
struct Socks {
    host: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Socks {
    fn start(target: &str, password: Option<&'static str>) -> Self {
        let (target, asked) = (target.to_owned(), Arc::new(Mutex::new(Vec::new())));
        let log = Arc::clone(&asked);
        let address = listen(move |stream| {
            let _ = serve(stream, &target, password, &log);
        });
        Self { host: address.to_string(), asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// RFC 1928 and RFC 1929, as far as a test needs them.
fn serve(
    mut client: TcpStream,
    target: &str,
    password: Option<&str>,
    log: &Mutex<Vec<String>>,
) -> Option<()> {
    let mut take = |count: usize| {
        let mut bytes = vec![0; count];
        client.read_exact(&mut bytes).ok().map(|()| bytes)
    };
    let methods = usize::from(take(2)?[1]);
    take(methods)?;
    client.write_all(&[5, if password.is_some() { 2 } else { 0 }]).ok()?;
    let mut take = |count: usize| {
        let mut bytes = vec![0; count];
        client.read_exact(&mut bytes).ok().map(|()| bytes)
    };
    if let Some(password) = password {
        let user = usize::from(take(2)?[1]);
        take(user)?;
        let length = usize::from(take(1)?[0]);
        let good = take(length)? == password.as_bytes();
        client.write_all(&[1, u8::from(!good)]).ok()?;
        if !good {
            return None;
        }
    }
    let mut head = [0; 4];
    client.read_exact(&mut head).ok()?;
    let mut length = [4];
    if head[3] == 3 {
        client.read_exact(&mut length).ok()?;
    }
    let mut address = vec![0; usize::from(length[0]) + 2];
    client.read_exact(&mut address).ok()?;
    let (address, port) = address.split_at(address.len() - 2);
    let port = u16::from_be_bytes([port[0], port[1]]);
    let name = match head[3] {
        3 => String::from_utf8_lossy(address).into_owned(),
        _ => address.iter().map(u8::to_string).collect::<Vec<_>>().join("."),
    };
    log.lock().unwrap().push(format!("{name}:{port}"));
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).ok()?;
    let server = TcpStream::connect(target).ok()?;
    let (mut from, mut to) = (server.try_clone().ok()?, client.try_clone().ok()?);
    thread::spawn(move || std::io::copy(&mut from, &mut to));
    let mut server = server;
    std::io::copy(&mut client, &mut server).ok()?;
    server.shutdown(std::net::Shutdown::Both).ok()
}

/// Runs with these variables alone of those that name proxies.
fn run(session: &Session, words: &str, variables: &[(&str, &str)]) -> Ran {
    Ran::of(session.command(words).envs(variables.iter().copied()))
}

#[test]
fn socks_5_leads_to_registries() {
    let fake = Fake::start(|_| None);
    let digest = fake.image("1", &[&layer("a", "b")]);
    let socks = Socks::start(&fake.host, None);
    let session = Session::new();
    // The proxy looks up names with `socks5h`; an address needs no looking up.
    for (variable, scheme, registry) in [
        ("ALL_PROXY", "socks5h", "registry.example"),
        ("all_proxy", "socks5h", "registry.example:5000"),
        ("http_proxy", "SOCKS5H", "registry.example"),
        ("HTTP_PROXY", "socks5", "192.0.2.1:5000"),
        ("ALL_PROXY", "socks", "192.0.2.1"),
    ] {
        let proxy = format!("{scheme}://{}", socks.host);
        let words = format!("resolve {registry}/app:1 --plain-http");
        let resolved = run(&session, &words, &[(variable, &proxy)]).ok();
        assert_eq!(resolved.stdout().trim(), digest, "{variable}={scheme}");
    }
    let asked = socks.asked();
    assert_eq!(
        asked,
        [
            "registry.example:80",
            "registry.example:5000",
            "registry.example:80",
            "192.0.2.1:5000",
            "192.0.2.1:80"
        ]
    );

    let proxy = format!("socks5h://{}", socks.host);
    run(&session, "pull registry.example/app:1 --key k --plain-http", &[("ALL_PROXY", &proxy)]).ok();
    run(&session, "push k registry.example/app:2 --plain-http", &[("ALL_PROXY", &proxy)]).ok();
    run(&session, "has --remote registry.example/app:2 --plain-http", &[("ALL_PROXY", &proxy)]).ok();
}

#[test]
fn socks_5_is_shown_its_password() {
    let fake = Fake::start(|_| None);
    fake.image("1", &[&layer("a", "b")]);
    let socks = Socks::start(&fake.host, Some("s@cret"));
    let session = Session::new();
    let words = "has --remote registry.example/app:1 --plain-http";
    let with = |user: &str| format!("socks5h://{user}@{}", socks.host);
    run(&session, words, &[("ALL_PROXY", &with("me:s%40cret"))]).ok();
    assert_eq!(socks.asked().len(), 1);
    let no = run(&session, words, &[("ALL_PROXY", &with("me:wrong"))]).ends(2);
    let no = no.says(&format!("through the proxy `{}` of ALL_PROXY", socks.host));
    assert!(!no.stderr().contains("wrong") && !no.stderr().contains("cret"), "{}", no.stderr());
}

#[test]
fn no_proxy_goes_before_socks_too() {
    let fake = Fake::start(|_| None);
    fake.image("1", &[&layer("a", "b")]);
    let session = Session::new();
    // Refused where it is asked for: this machine needs none, nor does what `NO_PROXY` covers.
    let bad = ("ALL_PROXY", "socks4://127.0.0.1:1");
    run(&session, &format!("has --remote {}/app:1", fake.host), &[bad]).ok();
    let words = "has --remote no-such-host.invalid/app:1 --plain-http";
    run(&session, words, &[bad, ("no_proxy", "invalid")]).ends(2).says("cannot be reached");
    run(&session, words, &[bad, ("NO_PROXY", "*")]).ends(2).says("cannot be reached");
    run(&session, words, &[bad, ("NO_PROXY", "example")]).ends(2).says("of ALL_PROXY cannot be used");
}

#[test]
fn a_proxy_that_cannot_be_used_is_refused_by_the_name_of_its_variable() {
    let session = Session::new();
    session.feed("import k", &crate::kit::tars::docker("app:1", &[&layer("a", "b")]).end()).ok();
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        for url in ["socks4://p:1", "socks4a://me:word@p:1", "ftp://p:1", "http://:1", "p:port", "\\"] {
            for words in ["resolve r.example/app", "pull r.example/app", "push k r.example/app"] {
                let run = run(&session, words, &[(variable, url)]).ends(2);
                let run = run.says(&format!("of {variable} cannot be used")).says("socks5h://HOST:PORT");
                assert!(!run.stderr().contains("word"), "{}", run.stderr());
            }
        }
    }
}
