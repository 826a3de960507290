//! One object of a registry through every door and in every spelling: one entry, and one fetch for
//! all who ask at once.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::{Mutex, mpsc};

use larder_tests::http::Site;
use larder_tests::until;
use storekit::Digest;

use crate::support::{Cached, Origin, Proxy, answer, read_until};

const MANIFEST: &str = "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\"}";

/// The upstream as a registry that is mirrored, and where `mounted` as a mount beside it.
fn settings(authority: &str, mounted: bool) -> String {
    let mount = format!("[pkgcache.upstream]\nimages = {{ url = \"http://{authority}\", kind = \"oci\" }}\n");
    let registry = format!("[pkgcache.registry]\n\"{authority}\" = {{ url = \"http://{authority}\" }}\n");
    if mounted { mount + &registry } else { registry }
}

/// All that leads to what lies at `path` below the registry's `/v2/`.
fn doors(authority: &str, path: &str, mounted: bool) -> Vec<String> {
    let escaped = path.replace("sha256:", "sha256%3A");
    let lower = path.replace("sha256:", "sha256%3a").replace("tool", "%74ool");
    let mirror = [
        format!("/v2/{path}"),
        format!("/v2/{path}?ns={authority}"),
        format!("/v2/{escaped}?ns={}", authority.replace(':', "%3A")),
        format!("/v2/{authority}/{path}"),
        format!("/v2/{}/{lower}", authority.replace(':', "_")),
    ];
    let forward = [path, &escaped, &lower].map(|path| format!("http://{authority}/v2/{path}"));
    let mount = [path, &escaped, &lower].map(|path| format!("/images/v2/{path}"));
    let mount = mount.into_iter().filter(|_| mounted);
    mirror.into_iter().chain(forward).chain(mount).collect()
}

#[test]
fn an_object_of_a_registry_is_one_entry_through_every_door() {
    for mounted in [true, false] {
        let site = Site::new();
        let digest = Digest::of(b"a layer");
        let manifest = Digest::of(MANIFEST.as_bytes());
        let kind = "content-type: application/vnd.oci.image.manifest.v1+json";
        let named = format!("{kind}\ndocker-content-digest: {manifest}");
        site.put(&format!("/v2/team/tool/blobs/{digest}"), "a layer");
        site.put_with(&format!("/v2/team/tool/manifests/{manifest}"), kind, MANIFEST);
        site.put_with("/v2/team/tool/manifests/1.0", &named, MANIFEST);
        let proxy = Proxy::set(&settings(&site.authority(), mounted), &[]);
        let objects = [
            (format!("team/tool/blobs/{digest}"), "a layer"),
            (format!("team/tool/manifests/{manifest}"), MANIFEST),
            ("team/tool/manifests/1.0".to_owned(), MANIFEST),
        ];
        for (count, (path, body)) in objects.iter().enumerate() {
            let doors = doors(&site.authority(), path, mounted);
            let ask = |door: &String| proxy.ask("GET", door, "accept: */*");
            ask(&doors[0]).is(200, "", body);
            proxy.kept(count + 1);
            site.forget();
            for door in &doors {
                let again = ask(door);
                assert!(again.cache().contains("hit"), "{door}: {again:?}");
                again.is(200, "", body);
            }
            assert_eq!((site.requests(), proxy.listed()), (0, count + 1), "{path}: {:?}", site.log());
        }
    }
}

#[test]
fn all_doors_share_one_fetch_of_an_object_of_a_registry() {
    let body = "0123456789".repeat(20_000);
    let path = format!("team/tool/blobs/{}", Digest::of(body.as_bytes()));
    let (go, wait) = mpsc::channel::<()>();
    let (wait, whole) = (Mutex::new(wait), answer(200, "", body.as_bytes()));
    let origin = Origin::new(move |_, stream| {
        let (first, rest) = whole.split_at(whole.len() - 100_000);
        drop(stream.write_all(first));
        let _ = wait.lock().unwrap().recv();
        drop(stream.write_all(rest));
    });
    let authority = origin.address.to_string();
    let proxy = Proxy::set(&settings(&authority, true), &[]);
    let ask = |door: &String| -> TcpStream {
        let mut stream = proxy.connect();
        let request = format!("GET {door} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let doors = doors(&authority, &path, true);
    let (first, others) = doors.split_first().unwrap();
    let mut first = ask(first);
    read_until(&mut first, "\r\n\r\n0123456789");
    let mut others: Vec<_> = others.iter().map(ask).collect();
    for other in &mut others {
        let head = read_until(other, "\r\n\r\n0123456789");
        assert!(head.contains("collapsed"), "{head}");
    }
    go.send(()).unwrap();
    until("it is stored", || proxy.listed() == 1);
    assert_eq!(origin.seen().len(), 1, "{:?}", origin.seen());
}

/// As through any proxy; what was pulled before is asked for again.
#[test]
fn a_client_pushes_through_the_forward_door_to_a_registry_that_it_may_reach() {
    let origin = Origin::new(|seen, stream| {
        let digest = format!("docker-content-digest: {}", Digest::of(MANIFEST.as_bytes()));
        let bytes = match seen.method.as_str() {
            "PUT" => answer(201, "", b""),
            // Its own word, not the cache's: the client goes to it for a token that lets it push.
            _ if seen.path == "/v2/" => {
                answer(401, "www-authenticate: Bearer realm=\"http://t.example\"", b"")
            }
            "HEAD" => format!("HTTP/1.1 200 OK\r\n{digest}\r\ncontent-length: 0\r\n\r\n").into_bytes(),
            _ => answer(200, &digest, MANIFEST.as_bytes()),
        };
        drop(stream.write_all(&bytes));
    });
    let authority = origin.address.to_string();
    let tag = format!("http://{authority}/v2/team/tool/manifests/1.0");
    for allowed in [true, false] {
        let args = ["--allow", &authority];
        let proxy = Proxy::set(&settings(&authority, false), if allowed { &args } else { &[] });
        let greeting = proxy.get(&format!("http://{authority}/v2/"));
        let realm = greeting.header("www-authenticate").unwrap_or_default();
        assert_eq!((greeting.status, realm.contains("t.example")), (401, allowed), "{greeting:?}");
        proxy.get(&tag).is(200, "", MANIFEST);
        let pushed = proxy.ask("PUT", &tag, "content-length: 0");
        assert_eq!(pushed.status, if allowed { 201 } else { 405 }, "{pushed:?}");
        assert_eq!(proxy.ask("PUT", "/v2/team/tool/manifests/1.0", "content-length: 0").status, 405);
    }
    assert_eq!(origin.count("PUT", "/manifests/1.0"), 1);
}
