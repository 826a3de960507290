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
