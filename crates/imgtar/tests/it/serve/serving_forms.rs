//! `imgtar serve`: in which form a layer goes out, who may ask, and what comes over it.

use std::io::Write;
use std::net::TcpStream;

use larder_tests::{Ran, until};
use serde_json::json;
use storekit::Digest;

use crate::kit::registry::{Checked, INDEX, MANIFEST, Registry};
use crate::kit::session::Session;
use crate::kit::tars::{config, descriptor, docker, gzip, id, layer, manifest, zstd};
use crate::serve::serving::{digest, unfinished, uploaded};

/// What imgtar has compressed.
fn compressed(session: &Session, name: &str) -> (Vec<u8>, String) {
    let base = layer("a", &"b".repeat(400_000));
    session.feed(&format!("import k --name {name}"), &docker("x:1", &[&base]).end()).ok();
    let digest = session.run("info k --json").ok().json()["digest"].as_str().unwrap().to_owned();
    (base, digest)
}

#[test]
fn who_cannot_read_zstd_gets_plain_layers() {
    let session = Session::new();
    let (base, stored) = compressed(&session, "app:1");
    let registry = session.serve("");
    let ask = |method: &str, reference: &str, agent: &str| {
        registry.request(method, &format!("/v2/app/manifests/{reference}"), &[("User-Agent", agent)], b"")
    };
    for agent in ["skopeo/1.9.3", "docker/28.2.2 go/go1.24", "containerd/1.6.20~ds1"] {
        ask("GET", "1", agent).is(200).has("docker-content-digest", &stored);
    }
    let plain = ask("GET", "1", "docker/20.10.24+dfsg1 go/go1.19.8").is(200);
    let digest = plain.header("docker-content-digest").unwrap().to_owned();
    assert_ne!(digest, stored);
    assert_eq!(digest, self::digest(&plain.body));
    assert_eq!(plain.json()["layers"][0]["digest"], json!(self::digest(&base)));
    assert_eq!(plain.json()["layers"][0]["size"], json!(base.len()));
    for agent in ["docker/20.10.24+dfsg1 go/go1.19.8", "curl/7.88.1", "containerd/1.6.20+unknown", ""] {
        ask("HEAD", "1", agent).is(200).has("docker-content-digest", &digest);
    }
    ask("GET", &digest, "").is(200).brings(&plain.body);
    drop(registry);
    // A server that has never made it knows it too.
    let registry = session.serve("");
    registry.get(&format!("/v2/app/manifests/{digest}")).is(200).brings(&plain.body);
    let path = format!("/v2/app/blobs/{}", self::digest(&base));
    registry.head(&path).is(200).has("content-length", &base.len().to_string());
    registry.get(&path).is(200).brings(&base);
    registry
        .request("GET", &path, &[("Range", "bytes=300000-300009")], b"")
        .is(206)
        .brings(&base[300_000..300_010]);
    assert_eq!(session.blobs().len(), 3, "a plain layer was stored");
}

#[test]
fn a_pushed_zstd_image_is_changed_only_for_those_who_cannot_read_it() {
    let session = Session::new();
    let registry = session.serve("");
    let base = layer("a", "b");
    let squeezed = zstd(&base);
    let text = registry.push("app:1", &[&base], &[("+zstd", &squeezed)]).to_string();
    let ask =
        |agent: &str| registry.request("GET", "/v2/app/manifests/1", &[("User-Agent", agent)], b"").is(200);
    ask("curl/7.88.1").brings(text.as_bytes());
    let plain = ask("docker/20.10.24 go/go1.19.8").json();
    assert_eq!(plain["layers"][0], descriptor("application/vnd.oci.image.layer.v1.tar", &base));
    registry.get(&format!("/v2/app/blobs/{}", digest(&base))).is(200).brings(&base);
}

#[test]
fn a_manifest_may_name_the_plain_form_of_a_stored_layer() {
    let session = Session::new();
    let (base, _) = compressed(&session, "app:1");
    let registry = session.serve("");
    let top = layer("c", "d");
    let packed = gzip(&top);
    let config = config(&[&base, &top]).to_string();
    registry.upload("app", config.as_bytes());
    registry.upload("app", &packed);
    // As docker says it: whatever a layer is, it calls it gzip.
    let kind = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let pushed = json!({ "schemaVersion": 2, "mediaType": docker,
        "config": descriptor("application/vnd.docker.container.image.v1+json", config.as_bytes()),
        "layers": [descriptor(kind, &base), descriptor(kind, &packed)] });
    let text = pushed.to_string();
    registry.put("app", "2", docker, &pushed).is(201).has("docker-content-digest", &digest(text.as_bytes()));
    for reference in ["2", &digest(text.as_bytes())] {
        let path = format!("/v2/app/manifests/{reference}");
        registry.get(&path).is(200).brings(text.as_bytes()).has("content-type", docker);
    }
    assert_eq!(session.ids("app..2"), [id(&[&base, &top])]);
    session.run("verify").ok();
    session.feed("import other --name x:9", session.run("export app..2").ok().bytes()).ok();
    assert_eq!(session.ids("other"), [id(&[&base, &top])]);
    assert!(!session.blobs().contains(&Digest::of(&base)), "the plain layer was stored");
    // An index, or what is not an image, needs the very bytes.
    let index = json!({ "schemaVersion": 2, "manifests": [descriptor(docker, text.as_bytes())] });
    registry.put("app", "index", INDEX, &index).is(201);
    assert_eq!(session.ids("app..index"), [id(&[&base, &top])]);
    assert!(session.blobs().contains(&Digest::of(&base)));
    session.run("verify").ok();
    let mut wrong = pushed.clone();
    wrong["layers"][0]["size"] = json!(base.len() + 1);
    registry.put("app", "3", docker, &wrong).fails(404, "MANIFEST_BLOB_UNKNOWN");
    registry.delete("/v2/app/manifests/index").is(202);
    registry.delete(&format!("/v2/app/manifests/{}", digest(text.as_bytes()))).is(202);
    registry.get("/v2/app/manifests/2").fails(404, "MANIFEST_UNKNOWN");
}

#[test]
fn nothing_damaged_is_served_as_whole() {
    let session = Session::new();
    let (base, stored) = compressed(&session, "app:1");
    let info = session.run("info k --json").ok().json();
    let layer: Digest = info["images"][0]["layers"][0]["digest"].as_str().unwrap().parse().unwrap();
    let path = session.store().images().blobs().path(&layer);
    let whole = std::fs::read(&path).unwrap();
    let damage = || {
        let mut bytes = whole.clone();
        bytes[whole.len() / 2] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    };
    let registry = session.serve("");
    let get = |digest: &str| registry.get(&format!("/v2/app/blobs/{digest}"));
    // Proved once, and changed since.
    get(&layer.to_string()).is(200).brings(&whole);
    damage();
    assert!(!get(&layer.to_string()).whole);
    assert!(!path.exists());
    registry.head(&format!("/v2/app/blobs/{layer}")).is(404);
    registry.get("/v2/app/manifests/1").fails(404, "MANIFEST_UNKNOWN");
    damage();
    registry.head(&format!("/v2/app/blobs/{layer}")).is(404);
    assert!(!path.exists());
    damage();
    assert_ne!(get(&digest(&base)).status, 200);
    std::fs::write(&path, &whole).unwrap();
    get(&digest(&base)).is(200).brings(&base);
    // A push of the same bytes mends the store.
    std::fs::remove_file(&path).unwrap();
    registry.upload("app", &whole);
    registry
        .request("GET", "/v2/app/manifests/1", &[("User-Agent", "skopeo/1")], b"")
        .is(200)
        .has("docker-content-digest", &stored);
    assert!(registry.said().contains("damaged"));
}

#[test]
fn what_the_client_does_not_take_is_not_sent() {
    let session = Session::new();
    let registry = session.serve("");
    let base = layer("a", "b");
    registry.push("app:1", &[&base], &[("", &base)]);
    let ask = |accept: &str| registry.request("GET", "/v2/app/manifests/1", &[("Accept", accept)], b"");
    ask("*/*").is(200);
    ask(&format!("text/html, {MANIFEST};q=0.5")).is(200);
    ask("application/vnd.docker.distribution.manifest.v1+json").fails(404, "MANIFEST_UNKNOWN");
}

#[test]
fn a_token_is_asked_for_and_no_web_page_is_answered() {
    let session = Session::new();
    session.write("token", "a-long-secret\n");
    let registry = session.serve("--token-file token");
    let asked = registry.get("/v2/").fails(401, "UNAUTHORIZED");
    asked.has("www-authenticate", "Basic realm=\"larder\"");
    let ask = |value: &str| registry.request("GET", "/v2/", &[("Authorization", value)], b"");
    ask("Bearer wrong").fails(401, "UNAUTHORIZED");
    ask("Basic dXNlcjphLWxvbmctc2VjcmV0").is(200);
    let registry = registry.with_token("a-long-secret");
    registry.get("/v2/").is(200);
    // With a token, any name may lead here.
    registry.request("GET", "/v2/", &[("Host", "registry.example")], b"").is(200);
    registry.request("GET", "/v2/", &[("Origin", "http://evil.example")], b"").fails(403, "DENIED");
    let open = session.serve("");
    open.request("GET", "/v2/", &[("Host", "evil.example:5000")], b"").fails(403, "DENIED");
    open.request("GET", "/v2/", &[("Origin", "null")], b"").fails(403, "DENIED");
    open.request("GET", "/v2/", &[("Host", "localhost")], b"").is(200);
}

#[test]
fn a_registry_that_is_only_read_takes_nothing() {
    let session = Session::new();
    compressed(&session, "app:1");
    let registry = session.serve("--read-only");
    registry.get("/v2/app/manifests/1").is(200);
    registry.delete("/v2/app/manifests/1").fails(405, "UNSUPPORTED");
    registry.request("POST", "/v2/app/blobs/uploads/", &[], b"").fails(405, "UNSUPPORTED");
    registry.put("app", "2", MANIFEST, &json!({})).fails(405, "UNSUPPORTED");
}

#[test]
fn an_index_that_names_itself_over_and_over_takes_no_time() {
    let session = Session::new();
    let registry = session.serve("");
    let base = layer("a", "b");
    let mut below = registry.push("app:1", &[&base], &[("+zstd", &zstd(&base))]).to_string();
    let mut kind = MANIFEST;
    for depth in 0..6 {
        let listed = vec![descriptor(kind, below.as_bytes()); 400];
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed });
        if depth == 5 {
            registry.put("app", "2", INDEX, &index).is(201);
        }
        (below, kind) = (index.to_string(), INDEX);
        registry.upload("app", below.as_bytes());
    }
    let begun = std::time::Instant::now();
    for agent in ["docker/20.10.1", "skopeo/1"] {
        registry.request("HEAD", "/v2/app/manifests/2", &[("User-Agent", agent)], b"").is(200);
    }
    registry.get(&format!("/v2/app/manifests/{}", digest(b"none"))).fails(404, "MANIFEST_UNKNOWN");
    assert!(begun.elapsed().as_secs() < 10);
    let listed = vec![descriptor(MANIFEST, b"x"); 10_001];
    let index = json!({ "schemaVersion": 2, "manifests": listed });
    registry.put("app", "3", INDEX, &index).fails(400, "MANIFEST_INVALID");
}

#[test]
fn other_machines_reach_it_only_with_leave_and_a_token() {
    let session = Session::new();
    let refused = |words: &str| {
        session.run(&format!("serve --listen {words}")).ends(2).says("can be reached from other machines")
    };
    refused("0.0.0.0:0");
    refused("0.0.0.0:0 --allow-remote").says("give a token too");
    session.write("token", "short");
    session.run("serve --listen 127.0.0.1:0 --token-file token").ends(2).says("too short");
    session.run("serve --listen 127.0.0.1:0 --token-file none").ends(2).says("cannot read");
    // An address that no machine has: with leave and a token it is tried.
    let mut command = session.command("serve --listen 192.0.2.1:0 --allow-remote");
    Ran::of(command.env("LARDER_SERVE_TOKEN", "a-long-secret")).ends(2).says("cannot listen on");
    let taken = session.serve("");
    session.run(&format!("serve --listen {}", taken.address)).ends(2).says("cannot listen on");
}

#[test]
fn it_listens_where_a_name_leads() {
    let session = Session::new();
    let registry = Registry::start(&mut session.command("serve --listen localhost:0"));
    let address: std::net::SocketAddr = registry.address.parse().unwrap();
    assert!(address.ip().is_loopback() && address.port() != 0);
    let host = format!("localhost:{}", address.port());
    assert_eq!(registry.request("GET", "/v2/", &[("Host", &host)], b"").status, 200);
    for nowhere in ["nowhere", "localhost", ":5000", "5000", "localhost:99999", "no-such-host.invalid:5000"] {
        session.run(&format!("serve --listen {nowhere} --store other")).ends(2).says("`localhost:5000`");
    }
    assert!(!session.path("other").exists());
}

#[test]
fn it_ends_in_good_order() {
    let session = Session::new();
    for (signal, code) in [("TERM", 0), ("INT", 130)] {
        let registry = session.serve("");
        let place = registry.begin("app");
        let (mut stream, address) = (registry.connect(), registry.address.clone());
        let digest = digest(b"0123456789");
        let head = format!(
            "PUT {place}?digest={digest} HTTP/1.1\r\nHost: {}\r\nContent-Length: 10\r\n\r\n01234",
            registry.address
        );
        stream.write_all(head.as_bytes()).unwrap();
        until("its bytes are there", || uploaded(&session) == 5);
        let writer = std::thread::spawn(move || {
            until("nobody listens any more", || TcpStream::connect(&address).is_err());
            stream.write_all(b"56789").unwrap();
            let mut answer = String::new();
            std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
            answer
        });
        assert_eq!(registry.end(signal), Some(code));
        // What was being answered was answered.
        assert!(writer.join().unwrap().starts_with("HTTP/1.1 201"));
    }
    assert_eq!(session.blobs().len(), 1);
    let mut command = session.command("serve --listen 127.0.0.1:0 --json");
    Ran::of(command.env("LARDER_SERVE_TOKEN", "short")).ends(2);
}

#[test]
fn a_killed_upload_leaves_a_sound_store() {
    let session = Session::new();
    let registry = session.serve("");
    let base = layer("a", "b");
    registry.push("app:1", &[&base], &[("", &base)]);
    let place = registry.begin("app");
    registry.request("PATCH", &place, &[], &vec![7; 100_000]).is(202);
    assert_eq!(unfinished(&session), 1);
    registry.end("KILL");
    session.run("verify").ok();
    assert_eq!(unfinished(&session), 1);
    let registry = session.serve("");
    assert_eq!(unfinished(&session), 0);
    registry.get(&place).fails(404, "BLOB_UPLOAD_UNKNOWN");
    registry.get("/v2/app/manifests/1").is(200);
}

#[test]
fn buildkits_cache_lands_in_the_store() {
    let session = Session::new();
    let registry = session.serve("");
    let [base, top] = [layer("a", "b"), layer("c", "d")];
    let forms = [gzip(&base), zstd(&top)];
    let kinds = ["+gzip", "+zstd"].map(|form| format!("application/vnd.oci.image.layer.v1.tar{form}"));
    let cache_type = "application/vnd.buildkit.cacheconfig.v0";
    let config = json!({ "layers": [{ "blob": digest(&forms[0]), "parent": -1 }], "records": [{ "digest": digest(b"x") }] });
    let config = config.to_string();
    let mut listed: Vec<_> = kinds.iter().zip(&forms).map(|(kind, bytes)| descriptor(kind, bytes)).collect();
    for layer in &mut listed {
        layer["annotations"] = json!({ "buildkit/createdat": "2026-01-01T00:00:00Z", "containerd.io/uncompressed": digest(&base) });
    }
    for bytes in &forms {
        let place = registry.begin("cache/app");
        registry.head(&format!("/v2/cache/app/blobs/{}", digest(bytes))).is(404);
        registry.request("PUT", &format!("{place}?digest={}", digest(bytes)), &[], bytes).is(201);
    }
    registry.upload("cache/app", config.as_bytes());
    let config = descriptor(cache_type, config.as_bytes());
    let image = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": listed });
    let index =
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [listed[0], listed[1], config] });
    for (tag, kind, document) in [("image", MANIFEST, &image), ("index", INDEX, &index)] {
        registry.head(&format!("/v2/cache/app/manifests/{tag}")).is(404);
        registry.put("cache/app", tag, kind, document).is(201);
        let text = document.to_string();
        registry.get(&format!("/v2/cache/app/manifests/{tag}")).is(200).brings(text.as_bytes());
        // A collector sees all that it needs, and so does `ls`.
        let images = session.store().images();
        let entry = images.get(&format!("cache._app..{tag}").parse().unwrap()).unwrap().unwrap();
        let reach = images.walker().reach(&entry.descriptor).unwrap();
        assert!(reach.is_whole() && reach.present.len() == 4, "{reach:?}");
    }
    let rows = session.run("ls --json").ok().stdout();
    assert!(
        rows.contains("cache/app:index") && rows.contains("cache/app:image") && !rows.contains("\"problem\""),
        "{rows}"
    );
    session.run("verify").ok();
}

#[test]
fn what_was_pushed_by_its_digest_goes_with_the_index_though_it_was_stored_in_another_form() {
    let session = Session::new();
    let (base, _) = compressed(&session, "app:1");
    let registry = session.serve("");
    let config = config(&[&base]).to_string();
    registry.upload("app", config.as_bytes());
    // As BuildKit pushes an image without compression, with its attestations: by its digest, and
    // then the index.
    let layer = descriptor("application/vnd.oci.image.layer.v1.tar", &base);
    let config = descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes());
    let image = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
    let named = descriptor(MANIFEST, image.to_string().as_bytes());
    let keys = || session.run("ls --json").ok().stdout().lines().count();
    assert_eq!(keys(), 1);
    registry.put("app", named["digest"].as_str().unwrap(), MANIFEST, &image).is(201);
    assert_eq!(keys(), 2);
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [named] });
    registry.put("app", "2", INDEX, &index).is(201);
    assert_eq!(keys(), 2, "the entry under the digest is still there");
    session.run("has app..2").ok();
    session.run("verify").ok();
}

#[test]
fn what_is_no_image_gets_the_form_that_it_names() {
    let session = Session::new();
    let (base, _) = compressed(&session, "app:1");
    let registry = session.serve("");
    registry.upload("cache", b"{}");
    // A client that asks first is told that the plain form is there, and does not send it.
    registry.head(&format!("/v2/cache/blobs/{}", digest(&base))).is(200);
    let layer = descriptor("application/vnd.oci.image.layer.v1.tar", &base);
    let config = descriptor("application/vnd.buildkit.cacheconfig.v0", b"{}");
    let cache = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
    registry.put("cache", "1", MANIFEST, &cache).is(201);
    assert!(session.blobs().contains(&Digest::of(&base)));
    session.run("verify").ok();
}

#[test]
fn no_collector_takes_what_a_push_is_about_to_name() {
    let session = Session::new();
    let registry = session.serve("");
    let base = layer("a", "b");
    let uploaded =
        [registry.upload("app", &base), registry.upload("app", config(&[&base]).to_string().as_bytes())];
    let collect = || {
        let store = session.store();
        let (lock, batch) = (store.lock_exclusive().unwrap(), store.trash().shredder());
        let take = |digest: &Digest| store.images().discard_blob(&lock, digest, &batch).unwrap();
        uploaded.each_ref().map(take)
    };
    assert_eq!(collect(), [storekit::Discarded::InUse; 2]);
    // What it writes to now is not a dead writer's.
    let place = registry.begin("app");
    registry.request("PATCH", &place, &[], b"01234").is(202);
    session.store().images().sweep_unfinished().unwrap();
    registry.request("PUT", &format!("{place}?digest={}", digest(b"01234")), &[], b"").is(201);
    registry.put("app", "1", MANIFEST, &manifest(&[&base], &[("", &base)])).is(201);
    registry.end("KILL");
    assert_eq!(collect(), [storekit::Discarded::Moved; 2]);
}

#[test]
fn no_request_makes_it_fail() {
    let session = Session::new();
    let (_, stored) = compressed(&session, "app:1");
    let mut registry = session.serve("");
    let (seed, rounds) = crate::kit::dice::run(1000);
    let mut random = crate::kit::dice::Dice::seeded(seed);
    let base = layer("a", "b");
    let (blob, place) = (registry.upload("app", &base).to_string(), registry.begin("app"));
    registry.upload("app", config(&[&base]).to_string().as_bytes());
    let good = manifest(&[&base], &[("", &base)]).to_string();
    let large = "9".repeat(30);
    // Of a body that is announced longer than it is, nobody waits for the rest.
    registry.patience = std::time::Duration::from_millis(100);
    for round in 0..rounds {
        let method =
            random.of(&["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "X", "get"]);
        let name = random.of(&["app", "larder/keys", "a/b/c", "A", "..", "app/", "%2e%2e", "app/blobs", "ü"]);
        let reference = random.of(&[
            "1",
            "k",
            &blob,
            &stored,
            "sha256:",
            "sha512:00",
            ".x",
            "%00",
            "",
            "uploads/",
            "index",
        ]);
        let rest = random.of(&[
            "manifests",
            "blobs",
            "blobs/uploads",
            "tags",
            "referrers",
            "x",
            "tags/list",
            "blobs/uploads/?digest=",
        ]);
        let mut path = format!("/v2/{name}/{rest}/{reference}");
        if random.below(4) == 0 {
            path.clone_from(&place);
        }
        if random.below(3) == 0 {
            let value = random.of(&["1", &blob, "%", "x%zz", "-1", "0", &large, "app"]);
            path += ["?n=", "?digest=", "?mount=", "?last=", "?artifactType=", "?tag=", "?", "?from=&"]
                [random.below(8)];
            path += value;
        }
        let mut body = good.clone().into_bytes();
        if random.once_in(2) {
            random.hurt(&mut body);
        }
        if random.below(3) == 0 {
            body.clear();
        }
        let mut headers: Vec<(&str, &str)> = Vec::new();
        for _ in 0..random.below(4) {
            headers.push(match random.below(12) {
                0 => ("Content-Type", random.of(&[MANIFEST, INDEX, "x", ""])),
                1 => (
                    "Content-Range",
                    random.of(&["0-4", "5-1", "x", "0-18446744073709551615", "18446744073709551615-0", ""]),
                ),
                2 => (
                    "Range",
                    random.of(&[
                        "bytes=0-",
                        "bytes=-5",
                        "bytes=18446744073709551615-",
                        "bytes=0-18446744073709551615",
                        "x",
                    ]),
                ),
                3 => (
                    "Content-Length",
                    random.of(&["0", "5", "-1", "x", "18446744073709551615", "99999999999999999999"]),
                ),
                4 => ("Transfer-Encoding", random.of(&["chunked", "gzip", "chunked, chunked"])),
                5 => ("Accept", random.of(&["*/*", INDEX, ",,;", ""])),
                6 => ("User-Agent", random.of(&["docker/20.10", "docker/", "/", "containerd/x", "\u{e9}"])),
                7 => ("Host", random.of(&["localhost", "", "[::1", "x y", "127.0.0.1:99999"])),
                8 => ("Expect", "100-continue"),
                9 => ("If-None-Match", random.of(&["*", "\"\"", ","])),
                10 => ("Authorization", random.of(&["Basic", "Basic =", "Bearer ", "x"])),
                _ => ("Connection", random.of(&["close", "upgrade", "keep-alive"])),
            });
        }
        headers.dedup_by_key(|(name, _)| *name);
        let answer = registry.request(method, &path, &headers, &body);
        // 0: it hung up on what is no HTTP.
        assert!(answer.status < 500, "round {round}: {method} {path} {headers:?}: {answer:?}");
        if answer.status >= 400 && method != "HEAD" && !answer.body.is_empty() {
            assert!(answer.json()["errors"][0]["code"].is_string(), "{answer:?}");
        }
        // Raw bytes, cut anywhere.
        if round % 10 == 0 {
            let mut raw = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes();
            let at = random.below(raw.len());
            raw[at] = u8::try_from(random.below(256)).unwrap();
            raw.truncate(at + random.below(40));
            registry.raw(&raw);
        }
    }
    registry.patience = std::time::Duration::from_secs(20);
    registry.get("/v2/").is(200);
    assert!(!registry.said().contains("panicked"), "{}", registry.said());
    // An image that was deleted on the way is not damage.
    session.run("verify").ok();
}
