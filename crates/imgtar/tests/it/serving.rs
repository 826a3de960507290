//! `imgtar serve`, statement by statement of the distribution-spec.

use std::io::Write;
use std::net::TcpStream;

use serde_json::json;
use storekit::Digest;

use crate::registry::{INDEX, MANIFEST, referrer};
use crate::session::{Run, Session};
use crate::tars::{config, descriptor, docker, gzip, id, layer, manifest, zstd};

fn digest(bytes: &[u8]) -> String {
    Digest::of(bytes).to_string()
}

#[test]
fn it_says_that_it_is_a_registry() {
    let session = Session::new();
    let registry = session.serve("");
    registry.get("/v2/").is(200).has("docker-distribution-api-version", "registry/2.0");
    registry.head("/v2").is(200);
    registry.get("/v2/_catalog").is(200).brings(br#"{"repositories":[]}"#);
    registry.get("/").fails(404, "UNSUPPORTED");
    registry.get("/v2/a/tags/list").fails(404, "NAME_UNKNOWN");
    registry.request("POST", "/v2/", &[], b"").fails(405, "UNSUPPORTED").has("allow", "GET, HEAD");
    registry.request("OPTIONS", "/v2/a/manifests/x", &[], b"").fails(405, "UNSUPPORTED");
}

#[test]
fn a_blob_goes_in_and_out_whole_and_in_parts() {
    let session = Session::new();
    let registry = session.serve("");
    let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let digest = registry.upload("a/b", &bytes);
    let path = format!("/v2/other/blobs/{digest}");
    let length = bytes.len().to_string();
    registry
        .head(&path)
        .is(200)
        .has("content-length", &length)
        .has("docker-content-digest", &digest.to_string());
    let whole = registry.get(&path).is(200).has("accept-ranges", "bytes").brings(&bytes);
    let etag = whole.header("etag").unwrap().to_owned();
    registry.request("GET", &path, &[("If-None-Match", &etag)], b"").is(304);
    let part = |range: &str| registry.request("GET", &path, &[("Range", range)], b"");
    part("bytes=0-0").is(206).has("content-range", &format!("bytes 0-0/{length}")).brings(&bytes[..1]);
    part("bytes=5-131099").is(206).brings(&bytes[5..131_100]);
    part("bytes=1199990-").is(206).brings(&bytes[1_199_990..]);
    part("bytes=-7").is(206).brings(&bytes[bytes.len() - 7..]);
    part("bytes=1200000-").fails(416, "SIZE_INVALID").has("content-range", &format!("bytes */{length}"));
    part("bytes=9-8").is(200).brings(&bytes);
    part("bytes=0-1,3-4").is(200).brings(&bytes);
    registry.request("GET", &path, &[("Range", "bytes=0-0"), ("If-Range", &etag)], b"").is(206);
    registry
        .request("GET", &path, &[("Range", "bytes=0-0"), ("If-Range", "\"x\"")], b"")
        .is(200)
        .brings(&bytes);
    let empty = registry.upload("a/b", b"");
    registry.get(&format!("/v2/a/blobs/{empty}")).is(200).brings(b"");
    let none = format!("/v2/a/blobs/{}", self::digest(b"none"));
    registry.get(&none).fails(404, "BLOB_UNKNOWN");
    registry.head(&none).is(404);
    registry.get("/v2/a/blobs/sha256:xyz").fails(400, "DIGEST_INVALID");
}

#[test]
fn a_blob_is_uploaded_in_chunks_in_order() {
    let session = Session::new();
    let registry = session.serve("");
    let place = registry.begin("app");
    let chunk =
        |range: &str, bytes: &[u8]| registry.request("PATCH", &place, &[("Content-Range", range)], bytes);
    registry.get(&place).is(204).has("range", "0-0").has("location", &place);
    chunk("0-4", b"01234").is(202).has("range", "0-4").has("location", &place);
    chunk("6-9", b"6789").fails(416, "BLOB_UPLOAD_INVALID").has("range", "0-4").has("location", &place);
    chunk("0-4", b"01234").fails(416, "BLOB_UPLOAD_INVALID");
    chunk("5-9", b"567").fails(400, "SIZE_INVALID");
    chunk("x", b"567").fails(400, "BLOB_UPLOAD_INVALID");
    registry.request("PATCH", &place, &[], b"567").is(202).has("range", "0-7");
    registry.get(&place).is(204).has("range", "0-7");
    let bytes = b"0123456789";
    let whole = digest(bytes);
    let end = format!("{place}?digest={whole}");
    registry.request("PUT", &end, &[("Content-Range", "9-9")], b"9").fails(416, "BLOB_UPLOAD_INVALID");
    let ended = registry.request("PUT", &end, &[("Content-Range", "8-9")], b"89").is(201);
    ended.has("location", &format!("/v2/app/blobs/{whole}"));
    registry.get(&format!("/v2/app/blobs/{whole}")).is(200).brings(bytes);
    registry.get(&place).fails(404, "BLOB_UPLOAD_UNKNOWN");
    registry.request("PATCH", &place, &[], b"x").fails(404, "BLOB_UPLOAD_UNKNOWN");
}

#[test]
fn an_upload_must_have_its_digest_and_can_be_given_up() {
    let session = Session::new();
    let registry = session.serve("");
    let place = registry.begin("app");
    registry.request("PUT", &place, &[], b"x").fails(400, "DIGEST_INVALID");
    let wrong = format!("{place}?digest={}", digest(b"y"));
    registry.request("PUT", &wrong, &[], b"x").fails(400, "DIGEST_INVALID");
    registry.request("PUT", &wrong, &[], b"x").fails(404, "BLOB_UPLOAD_UNKNOWN");
    let path = format!("/v2/app/blobs/uploads/?digest={}", digest(b"y"));
    registry.request("POST", &path, &[], b"x").fails(400, "DIGEST_INVALID");
    registry.request("POST", "/v2/app/blobs/uploads/?digest=md5:00", &[], b"x").fails(400, "DIGEST_INVALID");
    registry
        .request("POST", "/v2/app/blobs/uploads/?digest-algorithm=sha512", &[], b"")
        .fails(400, "DIGEST_INVALID");
    let place = registry.begin("app");
    let elsewhere = place.replace("/app/", "/other/");
    registry.get(&elsewhere).fails(404, "BLOB_UPLOAD_UNKNOWN");
    registry.delete(&place).is(204);
    registry.get(&place).fails(404, "BLOB_UPLOAD_UNKNOWN");
    registry.delete(&place).fails(404, "BLOB_UPLOAD_UNKNOWN");
    registry.get("/v2/app/blobs/uploads/../../x").fails(404, "UNSUPPORTED");
    assert_eq!(session.blobs(), []);
    assert_eq!(unfinished(&session), 0);
}

/// How many files are being written, or were left unfinished.
fn unfinished(session: &Session) -> usize {
    let folder = session.store().images().blobs().folder().to_owned();
    let names = storekit::replace::names(&folder).unwrap();
    names.iter().filter(|name| name.starts_with(storekit::replace::TEMPORARY)).count()
}

#[test]
fn an_upload_that_breaks_off_goes_on_where_it_ended() {
    let session = Session::new();
    let registry = session.serve("");
    let place = registry.begin("app");
    let head =
        format!("PATCH {place} HTTP/1.1\r\nHost: {}\r\nContent-Length: 10\r\n\r\n01234", registry.address);
    let mut stream = TcpStream::connect(&registry.address).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.flush().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    registry.request("PATCH", &place, &[], b"x").fails(409, "BLOB_UPLOAD_INVALID");
    drop(stream);
    let range = loop {
        let answer = registry.get(&place).is(204);
        if answer.header("range") != Some("0-0") {
            break answer.header("range").unwrap().to_owned();
        }
    };
    assert_eq!(range, "0-4");
    let end = format!("{place}?digest={}", digest(b"0123456789"));
    registry.request("PUT", &end, &[("Content-Range", "5-9")], b"56789").is(201);
}

#[test]
fn a_blob_is_mounted_from_anywhere() {
    let session = Session::new();
    let registry = session.serve("");
    let here = registry.upload("a", b"here");
    let mount = |digest: &str, from: &str| {
        registry.request("POST", &format!("/v2/b/blobs/uploads/?mount={digest}{from}"), &[], b"")
    };
    mount(&here.to_string(), "&from=a").is(201).has("location", &format!("/v2/b/blobs/{here}"));
    mount(&here.to_string(), "").is(201);
    let absent = mount(&digest(b"absent"), "&from=a").is(202);
    assert!(absent.header("location").unwrap().starts_with("/v2/b/blobs/uploads/"));
    mount("x", "&from=a").fails(400, "DIGEST_INVALID");
}

#[test]
fn a_pushed_image_is_an_entry_and_comes_back_byte_for_byte() {
    let session = Session::new();
    let registry = session.serve("");
    let [base, top] = [layer("a", "b"), layer("c", "d")];
    let [packed, squeezed] = [gzip(&base), zstd(&top)];
    let manifest = registry.push("team/app:1", &[&base, &top], &[("+gzip", &packed), ("+zstd", &squeezed)]);
    let text = manifest.to_string();
    let digest = digest(text.as_bytes());
    for reference in ["1", &digest] {
        let path = format!("/v2/team/app/manifests/{reference}");
        let got = registry.get(&path).is(200).brings(text.as_bytes());
        got.has("content-type", MANIFEST).has("docker-content-digest", &digest);
        registry.head(&path).is(200).has("content-length", &text.len().to_string());
    }
    assert_eq!(session.ids("team._app..1"), [id(&[&base, &top])]);
    let row = session.run("ls --json").ok().json();
    assert_eq!(row["names"], json!(["team/app:1"]));
    session.run("verify").ok();
    // What no entry names is no manifest, and a blob under any name.
    registry.get(&format!("/v2/x/manifests/{}", id(&[&base, &top]))).fails(404, "MANIFEST_UNKNOWN");
    registry.get("/v2/team/app/manifests/2").fails(404, "MANIFEST_UNKNOWN");
    registry.get("/v2/team/manifests/1").fails(404, "MANIFEST_UNKNOWN");
}

#[test]
fn a_tag_is_replaced_and_removed() {
    let session = Session::new();
    let registry = session.serve("");
    let [one, two] = [layer("a", "1"), layer("a", "2")];
    registry.push("app:1", &[&one], &[("", &one)]);
    let first =
        registry.get("/v2/app/manifests/1").is(200).header("docker-content-digest").unwrap().to_owned();
    registry.push("app:1", &[&two], &[("", &two)]);
    let second =
        registry.get("/v2/app/manifests/1").is(200).header("docker-content-digest").unwrap().to_owned();
    assert_ne!(first, second);
    registry.get(&format!("/v2/app/manifests/{first}")).fails(404, "MANIFEST_UNKNOWN");
    assert_eq!(session.ids("app..1"), [id(&[&two])]);
    registry.delete("/v2/app/manifests/1").is(202);
    registry.get("/v2/app/manifests/1").fails(404, "MANIFEST_UNKNOWN");
    registry.delete("/v2/app/manifests/1").fails(404, "MANIFEST_UNKNOWN");
    session.run("has app..1").code(1);
    // By its digest, all its tags go.
    registry.push("app:2", &[&two], &[("", &two)]);
    registry.push("app:3", &[&two], &[("", &two)]);
    registry.delete(&format!("/v2/app/manifests/{second}")).is(202);
    registry.get("/v2/app/manifests/3").fails(404, "MANIFEST_UNKNOWN");
    registry.get(&format!("/v2/app/manifests/{second}")).fails(404, "MANIFEST_UNKNOWN");
    registry.delete(&format!("/v2/app/manifests/{second}")).fails(404, "MANIFEST_UNKNOWN");
}

#[test]
fn keys_are_tags_of_a_repository() {
    let session = Session::new();
    let [base, top] = [layer("a", "b"), layer("c", "d")];
    session.feed("import Key_1 --name app:7", &docker("x:1", &[&base]).end()).ok();
    let registry = session.serve("");
    registry.get("/v2/larder/keys/manifests/Key_1").is(200);
    registry.get("/v2/app/manifests/7").is(200);
    registry.push("larder/keys:k2", &[&top], &[("", &top)]);
    assert_eq!(session.ids("k2"), [id(&[&top])]);
    registry.push("larder/keys:Key_1", &[&top], &[("", &top)]);
    // The names of what stood there stay.
    registry
        .get("/v2/app/manifests/7")
        .is(200)
        .brings(manifest(&[&top], &[("", &top)]).to_string().as_bytes());
    // A tag that goes takes no entry along that was saved under a key of its own.
    registry.delete("/v2/app/manifests/7").is(202);
    registry.get("/v2/app/manifests/7").fails(404, "MANIFEST_UNKNOWN");
    session.run("has Key_1").ok();
    registry.delete("/v2/larder/keys/manifests/Key_1").is(202);
    session.run("has Key_1").code(1);
}

#[test]
fn a_manifest_is_refused_that_is_not_what_it_says() {
    let session = Session::new();
    let registry = session.serve("");
    let base = layer("a", "b");
    let good = registry.push("app:1", &[&base], &[("", &base)]);
    let refused = |media_type: &str, body: &str, status: u16, code: &str| {
        let path = "/v2/app/manifests/2";
        registry.request("PUT", path, &[("Content-Type", media_type)], body.as_bytes()).fails(status, code);
    };
    let text = good.to_string();
    let changed = |field: &str, value: serde_json::Value| {
        let mut document = good.clone();
        document[field] = value;
        document.to_string()
    };
    refused(MANIFEST, "", 400, "MANIFEST_INVALID");
    refused(MANIFEST, "[]", 400, "MANIFEST_INVALID");
    refused(MANIFEST, &text[..text.len() - 1], 400, "MANIFEST_INVALID");
    refused("text/plain", &text, 400, "MANIFEST_INVALID");
    refused("application/vnd.docker.distribution.manifest.v1+json", &text, 400, "MANIFEST_INVALID");
    refused(INDEX, &text, 400, "MANIFEST_INVALID");
    refused(INDEX, &changed("mediaType", json!(MANIFEST)), 400, "MANIFEST_INVALID");
    refused(MANIFEST, &changed("manifests", json!([])), 400, "MANIFEST_INVALID");
    refused(MANIFEST, &changed("subject", json!({})), 400, "MANIFEST_INVALID");
    let absent = descriptor("application/vnd.oci.image.layer.v1.tar", b"absent");
    refused(MANIFEST, &changed("layers", json!([absent])), 404, "MANIFEST_BLOB_UNKNOWN");
    refused(MANIFEST, &changed("config", absent), 404, "MANIFEST_BLOB_UNKNOWN");
    // A layer that has another length than it should.
    refused(
        MANIFEST,
        &text.replace(&format!("\"size\":{}", base.len()), "\"size\":1"),
        404,
        "MANIFEST_BLOB_UNKNOWN",
    );
    let path = format!("/v2/app/manifests/{}", digest(b"other"));
    registry
        .request("PUT", &path, &[("Content-Type", MANIFEST)], text.as_bytes())
        .fails(400, "DIGEST_INVALID");
    let large = format!("{text}{}", " ".repeat(5 << 20));
    refused(MANIFEST, &large, 413, "SIZE_INVALID");
    registry.put("App", "1", MANIFEST, &good).fails(400, "NAME_INVALID");
    registry.put("app", ".1", MANIFEST, &good).fails(400, "MANIFEST_INVALID");
    session.run("has app..2").code(1);
    // One without a type in the request has its own.
    registry.request("PUT", "/v2/app/manifests/3", &[], text.as_bytes()).fails(400, "MANIFEST_INVALID");
    let own = changed("mediaType", json!(MANIFEST));
    registry.request("PUT", "/v2/app/manifests/3", &[], own.as_bytes()).is(201);
}

#[test]
fn an_image_that_lies_about_its_layers_is_kept_and_never_believed() {
    let session = Session::new();
    let registry = session.serve("");
    let [base, top] = [layer("a", "b"), layer("c", "d")];
    let squeezed = zstd(&top);
    let text = registry.push("app:1", &[&base], &[("+zstd", &squeezed)]).to_string();
    for agent in ["skopeo/1.9.3", "docker/20.10.24"] {
        let headers = [("User-Agent", agent)];
        registry.request("GET", "/v2/app/manifests/1", &headers, b"").is(200).brings(text.as_bytes());
    }
    registry.get(&format!("/v2/app/blobs/{}", digest(&base))).fails(404, "BLOB_UNKNOWN");
    session.run("verify").code(3);
    session.feed("import k", &docker("x:1", &[&base]).end()).ok();
    session.run("verify k").ok();
    // An index of it is no better.
    let index = json!({ "schemaVersion": 2, "manifests": [descriptor(MANIFEST, text.as_bytes())] });
    let other = Session::new();
    let registry = other.serve("");
    registry.push("app:1", &[&base], &[("+zstd", &squeezed)]);
    registry.put("app", "2", INDEX, &index).is(201);
    registry.get(&format!("/v2/app/blobs/{}", digest(&base))).fails(404, "BLOB_UNKNOWN");
}

#[test]
fn lists_come_in_pages() {
    let session = Session::new();
    let registry = session.serve("");
    let base = layer("a", "b");
    for name in ["app:b", "app:a", "app:C", "lib/x:1"] {
        registry.push(name, &[&base], &[("", &base)]);
    }
    let tags = |query: &str| registry.get(&format!("/v2/app/tags/list{query}")).is(200);
    assert_eq!(tags("").json(), json!({ "name": "app", "tags": ["C", "a", "b"] }));
    assert_eq!(tags("?n=0").json()["tags"], json!([]));
    let page = tags("?n=2").has("link", "</v2/app/tags/list?n=2&last=a>; rel=\"next\"");
    assert_eq!(page.json()["tags"], json!(["C", "a"]));
    let rest = tags("?n=2&last=a");
    assert_eq!((rest.json()["tags"].clone(), rest.header("link")), (json!(["b"]), None));
    assert_eq!(tags("?last=C").json()["tags"], json!(["a", "b"]));
    assert_eq!(tags("?n=9&last=zzz").json()["tags"], json!([]));
    registry.get("/v2/app/tags/list?n=x").fails(400, "UNSUPPORTED");
    registry.get("/v2/app/tags/list?n=-1").fails(400, "UNSUPPORTED");
    let all = registry.get("/v2/_catalog").is(200).json();
    assert_eq!(all, json!({ "repositories": ["app", "larder/keys", "lib/x"] }));
    registry
        .get("/v2/_catalog?n=1&last=app")
        .is(200)
        .has("link", "</v2/_catalog?n=1&last=larder/keys>; rel=\"next\"");
}

#[test]
fn referrers_are_listed_by_what_they_refer_to() {
    let session = Session::new();
    let registry = session.serve("");
    let base = layer("a", "b");
    let subject = registry.push("app:1", &[&base], &[("", &base)]).to_string();
    let whole = digest(subject.as_bytes());
    registry.upload("app", b"{}");
    let list = |query: &str| registry.get(&format!("/v2/app/referrers/{whole}{query}")).is(200);
    assert_eq!(list("").has("content-type", INDEX).json()["manifests"], json!([]));
    let mut digests = Vec::new();
    for kind in ["sbom/x", "signature/x"] {
        let referrer = referrer(&whole, subject.len(), kind);
        let digest = digest(referrer.to_string().as_bytes());
        registry.put("app", &digest, MANIFEST, &referrer).is(201).has("oci-subject", &whole);
        registry.get(&format!("/v2/app/manifests/{digest}")).is(200);
        digests.push(digest);
    }
    assert_eq!(list("").json()["manifests"].as_array().unwrap().len(), 2);
    let one = list("?artifactType=sbom%2Fx").has("oci-filters-applied", "artifactType").json();
    let one = one["manifests"].as_array().unwrap();
    assert_eq!(
        (&one[0]["artifactType"], &one[0]["annotations"]),
        (&json!("sbom/x"), &json!({ "note": "sbom/x" }))
    );
    assert_eq!((one.len(), &one[0]["digest"]), (1, &json!(digests[0])));
    registry.get("/v2/app/referrers/x").fails(400, "DIGEST_INVALID");
    // A subject that is not stored is no error; the referrer is kept all the same.
    let missing = digest(b"missing");
    let early = referrer(&missing, 7, "early");
    registry.put("app", "early", MANIFEST, &early).is(201).has("oci-subject", &missing);
    assert_eq!(
        registry.get(&format!("/v2/app/referrers/{missing}")).is(200).json()["manifests"][0]["artifactType"],
        "early"
    );
    registry.delete(&format!("/v2/app/manifests/{}", digests[0])).is(202);
    assert_eq!(list("").json()["manifests"].as_array().unwrap().len(), 1);
    session.run("verify").ok();
}

#[test]
fn children_of_an_index_stay_without_entries_of_their_own() {
    let session = Session::new();
    let registry = session.serve("");
    let [one, two] = [layer("a", "1"), layer("a", "2")];
    let mut listed = Vec::new();
    for tar in [&one, &two] {
        registry.upload("app", config(&[tar]).to_string().as_bytes());
        registry.upload("app", tar);
        let child = manifest(&[tar], &[("", tar)]);
        let text = child.to_string();
        registry.put("app", &digest(text.as_bytes()), MANIFEST, &child).is(201);
        listed.push(descriptor(MANIFEST, text.as_bytes()));
    }
    // Until an index names them they have entries of their own.
    assert_eq!(session.run("ls").ok().text().matches("sha256-").count(), 2);
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed });
    let absent =
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(MANIFEST, b"absent")] });
    registry.put("app", "1", INDEX, &absent).fails(404, "MANIFEST_BLOB_UNKNOWN");
    registry.put("app", "1", INDEX, &index).is(201);
    assert_eq!(session.run("ls").ok().text().matches("sha256-").count(), 0);
    let child = listed[0]["digest"].as_str().unwrap();
    registry.get(&format!("/v2/app/manifests/{child}")).is(200);
    registry.delete(&format!("/v2/app/manifests/{child}")).fails(405, "UNSUPPORTED");
    assert_eq!(session.ids("app..1").len(), 2);
    registry.delete("/v2/app/manifests/1").is(202);
    registry.get(&format!("/v2/app/manifests/{child}")).fails(404, "MANIFEST_UNKNOWN");
    session.run("verify").ok();
}

#[test]
fn a_blob_is_removed_unless_an_image_needs_it() {
    let session = Session::new();
    let registry = session.serve("");
    let base = layer("a", "b");
    registry.push("app:1", &[&base], &[("", &base)]);
    let path = format!("/v2/app/blobs/{}", digest(&base));
    registry.delete(&path).fails(405, "UNSUPPORTED");
    let spare = format!("/v2/app/blobs/{}", registry.upload("app", b"spare"));
    registry.delete(&spare).is(202);
    registry.get(&spare).fails(404, "BLOB_UNKNOWN");
    registry.head(&spare).is(404);
    registry.delete(&spare).fails(404, "BLOB_UNKNOWN");
    registry.delete("/v2/app/manifests/1").is(202);
    registry.delete(&path).is(202);
    registry.get(&path).fails(404, "BLOB_UNKNOWN");
}

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
    session.feed("import other --name x:9", &session.run("export app..2").ok().stdout).ok();
    assert_eq!(session.ids("other"), [id(&[&base, &top])]);
    assert!(!session.blobs().contains(&Digest::of(&base)), "the plain layer was stored");
    // An index, or what is no image, needs the very bytes.
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
    assert!(get(&layer.to_string()).broken);
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
    assert!(session.log().contains("damaged"));
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
        session.run(&format!("serve --listen {words}")).code(2).says("can be reached from other machines")
    };
    refused("0.0.0.0:0");
    refused("0.0.0.0:0 --allow-remote");
    session.write("token", "short");
    session.run("serve --listen 127.0.0.1:0 --token-file token").code(2).says("too short");
    session.run("serve --listen 127.0.0.1:0 --token-file none").code(2).says("cannot read");
    session.run("serve --listen nowhere").code(2);
    let mut command = session.command("serve --listen 0.0.0.0:0 --allow-remote");
    let mut registry =
        session.started(command.env("LARDER_SERVE_TOKEN", "a-long-secret")).with_token("a-long-secret");
    registry.address = registry.address.replace("0.0.0.0", "127.0.0.1");
    registry.get("/v2/").is(200);
    let taken = session.serve("");
    session.run(&format!("serve --listen {}", taken.address)).code(2).says("cannot listen on");
}

#[test]
fn it_ends_in_good_order() {
    let session = Session::new();
    for (signal, code) in [("-TERM", 0), ("-INT", 130)] {
        let registry = session.serve("");
        let place = registry.begin("app");
        let mut stream = TcpStream::connect(&registry.address).unwrap();
        let digest = digest(b"0123456789");
        let head = format!(
            "PUT {place}?digest={digest} HTTP/1.1\r\nHost: {}\r\nContent-Length: 10\r\n\r\n01234",
            registry.address
        );
        stream.write_all(head.as_bytes()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(100));
        let writer = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(300));
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
    let run = session
        .command("serve --listen 127.0.0.1:0 --json")
        .env("LARDER_SERVE_TOKEN", "short")
        .output()
        .unwrap();
    Run::of(run).code(2);
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
    registry.end("-KILL");
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
    let rows = session.run("ls --json").ok().text();
    assert!(
        rows.contains("cache/app:index") && rows.contains("cache/app:image") && !rows.contains("\"problem\""),
        "{rows}"
    );
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
    // What it writes to now is no dead writer's.
    let place = registry.begin("app");
    registry.request("PATCH", &place, &[], b"01234").is(202);
    session.store().images().sweep_unfinished().unwrap();
    registry.request("PUT", &format!("{place}?digest={}", digest(b"01234")), &[], b"").is(201);
    registry.put("app", "1", MANIFEST, &manifest(&[&base], &[("", &base)])).is(201);
    registry.end("-KILL");
    assert_eq!(collect(), [storekit::Discarded::Moved; 2]);
}

/// A small generator, so that a failure can be run again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }

    fn of<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }
}

#[test]
fn no_request_makes_it_fail() {
    let session = Session::new();
    let (_, stored) = compressed(&session, "app:1");
    let mut registry = session.serve("");
    let seed = std::env::var("LARDER_FUZZ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    let rounds =
        std::env::var("LARDER_FUZZ_ROUNDS").ok().and_then(|count| count.parse().ok()).unwrap_or(1000);
    let mut random = Random(seed);
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
        for _ in 0..random.below(4) {
            let at = random.below(body.len());
            match random.below(3) {
                0 => body[at] = u8::try_from(random.below(256)).unwrap(),
                1 => body.truncate(at),
                _ => body.insert(at, b"{}[],:\"0"[random.below(8)]),
            }
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
    assert!(!session.log().contains("panicked"), "{}", session.log());
    // An image that was deleted on the way is no damage.
    session.run("verify").ok();
}
