//! `imgtar serve`, statement by statement of the distribution-spec.

use std::io::Write;

use larder_tests::{until, until_some};
use serde_json::json;
use storekit::Digest;

use crate::kit::registry::{Checked, INDEX, MANIFEST, referrer};
use crate::kit::session::Session;
use crate::kit::tars::{config, descriptor, docker, gzip, id, layer, manifest, zstd};

pub(crate) fn digest(bytes: &[u8]) -> String {
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
    for other in ["sha256:xyz", &format!("sha512:{}", "0".repeat(128))] {
        registry.get(&format!("/v2/a/blobs/{other}")).fails(404, "BLOB_UNKNOWN");
        registry.head(&format!("/v2/a/blobs/{other}")).is(404);
        registry.delete(&format!("/v2/a/blobs/{other}")).fails(404, "BLOB_UNKNOWN");
    }
}

#[test]
fn under_what_is_no_tag_nothing_is_found() {
    let session = Session::new();
    let registry = session.serve("");
    for other in [".INVALID_MANIFEST_NAME", "sha256:xyz", "sha512:00"] {
        let path = format!("/v2/a/manifests/{other}");
        registry.get(&path).fails(404, "MANIFEST_UNKNOWN");
        registry.head(&path).is(404);
        registry.delete(&path).fails(404, "MANIFEST_UNKNOWN");
        registry.request("PUT", &path, &[("Content-Type", MANIFEST)], b"{}").is(400);
    }
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

/// The sizes of the files that are being written, or were left unfinished.
fn sizes(session: &Session) -> Vec<u64> {
    let folder = session.store().images().blobs().folder().to_owned();
    let names = storekit::files::replace::names(&folder).unwrap();
    let names = names.iter().filter(|name| name.starts_with(storekit::files::replace::TEMPORARY));
    names.map(|name| folder.join(name).metadata().map_or(0, |metadata| metadata.len())).collect()
}

/// How many there are.
pub(crate) fn unfinished(session: &Session) -> usize {
    sizes(session).len()
}

/// How many bytes they have.
pub(crate) fn uploaded(session: &Session) -> u64 {
    sizes(session).iter().sum()
}

#[test]
fn an_upload_that_breaks_off_goes_on_where_it_ended() {
    let session = Session::new();
    let registry = session.serve("");
    let place = registry.begin("app");
    let head =
        format!("PATCH {place} HTTP/1.1\r\nHost: {}\r\nContent-Length: 10\r\n\r\n01234", registry.address);
    let mut stream = registry.connect();
    stream.write_all(head.as_bytes()).unwrap();
    until("its bytes are there", || uploaded(&session) == 5);
    registry.request("PATCH", &place, &[], b"x").fails(409, "BLOB_UPLOAD_INVALID");
    drop(stream);
    let range = until_some("what came is counted", || {
        let answer = registry.get(&place).is(204);
        answer.header("range").filter(|range| *range != "0-0").map(str::to_owned)
    });
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
    // What no entry names is not a manifest, and a blob under any name.
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
    session.run("has app..1").ends(1);
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
    session.run("has Key_1").ends(1);
}

#[test]
fn an_image_is_refused_whose_config_no_engine_could_load() {
    let session = Session::new();
    let registry = session.serve("");
    let (base, top) = (layer("a", "b"), layer("c", "d"));
    let good = registry.push("app:1", &[&base], &[("", &base)]);
    registry.push("both:1", &[&base, &top], &[("", &base), ("", &top)]);
    let two = crate::kit::tars::config(&[&base, &top]).to_string();
    let strange = r#"{"rootfs":{"type":"layers","diff_ids":["sha256:x"]}}"#;
    for (config, why) in [
        (&b"not JSON"[..], "cannot be understood"),
        (b"", "cannot be understood"),
        (b"[]", "cannot be understood"),
        (strange.as_bytes(), "cannot be understood"),
        (two.as_bytes(), "has 2 diff_ids, and its manifest has 1 layers"),
    ] {
        let digest = registry.upload("app", config);
        let mut manifest = good.clone();
        manifest["config"] = descriptor("application/vnd.oci.image.config.v1+json", config);
        let answer = registry.put("app", "2", MANIFEST, &manifest).fails(400, "MANIFEST_INVALID");
        let error = answer.json()["errors"][0].clone();
        assert_eq!(error["detail"]["config"], digest.to_string());
        assert!(error["message"].as_str().unwrap().contains(why), "{error}");
    }
    session.run("has app..2").ends(1);
    // What has no diff_ids is an artifact that borrows the config's type.
    registry.upload("app", b"{}");
    let mut artifact = good.clone();
    artifact["config"] = descriptor("application/vnd.oci.image.config.v1+json", b"{}");
    registry.put("app", "3", MANIFEST, &artifact).is(201);
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
    for subject in [json!({}), json!(7), json!({ "digest": digest(b"x") })] {
        refused(MANIFEST, &changed("subject", subject), 400, "MANIFEST_INVALID");
    }
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
    session.run("has app..2").ends(1);
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
    session.run("verify").ends(3);
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
    // A subject that is not stored is not an error; the referrer is kept all the same.
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
    assert_eq!(session.run("ls").ok().stdout().matches("sha256-").count(), 2);
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed });
    let absent =
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(MANIFEST, b"absent")] });
    registry.put("app", "1", INDEX, &absent).fails(404, "MANIFEST_BLOB_UNKNOWN");
    registry.put("app", "1", INDEX, &index).is(201);
    assert_eq!(session.run("ls").ok().stdout().matches("sha256-").count(), 0);
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

#[test]
fn a_manifest_that_no_command_could_read_is_refused() {
    let session = Session::new();
    let registry = session.serve("");
    let config = descriptor("application/vnd.oci.empty.v1+json", b"{}");
    registry.upload("app", b"{}");
    for manifest in [
        json!({ "schemaVersion": 2, "config": null, "layers": null }),
        json!({ "schemaVersion": null, "config": config, "layers": [] }),
        json!({ "schemaVersion": 2, "config": config, "layers": [], "annotations": { "a": 1 } }),
    ] {
        registry.put("app", "1", MANIFEST, &manifest).fails(400, "MANIFEST_INVALID");
    }
    registry
        .put("app", "1", INDEX, &json!({ "schemaVersion": null, "manifests": null }))
        .fails(400, "MANIFEST_INVALID");
    let nothing = json!({ "schemaVersion": 2, "config": config, "layers": null, "annotations": null });
    registry.put("app", "1", MANIFEST, &nothing).is(201);
    registry.put("app", "2", INDEX, &json!({ "schemaVersion": 2, "manifests": null })).is(201);
    session.run("has app..1").ok();
    session.run("has app..2").ok();
}
