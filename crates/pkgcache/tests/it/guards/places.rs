//! Names that belong to one upstream, and mounts that are only read.

use larder_tests::http::Site;

use super::{OLD, ago, packument, refused};
use crate::support::{Cached, Proxy};

#[test]
fn an_internal_name_is_asked_of_its_own_upstream_alone_whichever_way_it_comes() {
    let (own, public) = (Site::new(), Site::new());
    for site in [&own, &public] {
        packument(site, "@acme/core", &[("1.0.0", ago(OLD))]);
        packument(site, "other", &[("1.0.0", ago(OLD))]);
        site.put_with("/simple/acme-core/", "content-type: text/html", "<a href=x>x</a>");
        site.put_with("/v2/acme/tool/manifests/latest", "content-type: application/json", "{}");
    }
    let settings = format!(
        "[pkgcache]\nallow = [\"127.0.0.1\"]\n\
         [pkgcache.upstream]\nown = {{ url = \"{0}\", kind = \"npm\" }}\nnpm = {{ url = \"{1}\", kind = \"npm\" }}\n\
         pypi = {{ url = \"{1}/simple/\", kind = \"python\" }}\npyown = {{ url = \"{0}/simple/\", kind = \"python\" }}\n\
         [pkgcache.registry]\n\"images.example\" = {{ url = \"{1}\" }}\n\"own.example\" = {{ url = \"{0}\" }}\n\
         [pkgcache.guards.namespace]\n\"npm:@acme/*\" = \"own\"\n\"python:acme-*\" = \"pyown\"\n\"oci:acme/*\" = \"own.example\"\n",
        own.url(),
        public.url()
    );
    let proxy = Proxy::set(&settings, &[]);
    let public_url = public.url();
    for path in [
        "/npm/@acme%2fcore",
        "/npm/@acme/core",
        "/npm/%40Acme%2Fcore",
        "/npm/@acme/core/latest",
        "/npm/@acme/core/-/core-1.0.0.tgz",
        "/npm/-/npm/v1/attestations/@acme%2fcore@1.0.0",
        "/npm/-/v1/search?text=@acme/core",
        "/npm/-/v1/search?text=%40acme%2Fcore",
        "/npm/-/package/@acme%2fcore/dist-tags",
        "/pypi/acme-core/",
        "/pypi/Acme_Core/",
        "/pypi/acme.core/",
        "/pypi/files/files.example/x/acme_core-1.0-py3-none-any.whl",
        "/v2/images.example/acme/tool/manifests/latest",
        "/v2/acme/tool/manifests/latest?ns=images.example",
        &format!("{public_url}/@acme%2fcore"),
        &format!("{public_url}/simple/acme-core/"),
        &format!("{public_url}/elsewhere/@acme/core"),
    ] {
        refused(&proxy.get(path), "namespace", "no other upstream is asked for it");
        refused(&proxy.ask("POST", path, "content-length: 0"), "namespace", "belongs to");
    }
    // An audit brings the names of all packages.
    let audit = proxy.ask("POST", "/npm/-/npm/v1/security/advisories/bulk", "content-length: 0");
    refused(&audit, "namespace", "what the request brings");
    refused(
        &proxy.ask("PUT", "/npm/@acme%2fcore", "content-length: 0"),
        "namespace",
        "belongs to the mount `/own/`",
    );
    assert_eq!(public.requests(), 0, "{:?}", public.log());

    proxy.get("/npm/other/-/other-1.0.0.tgz").is(200, "stored", "other 1.0.0");
    proxy.get("/own/@acme/core/-/core-1.0.0.tgz").is(200, "stored", "@acme/core 1.0.0");
    assert_eq!(proxy.get(&format!("{}/@acme%2fcore", own.url())).status, 200);
    assert_ne!(proxy.get("/v2/own.example/acme/tool/manifests/latest").status, 403);
    assert!(public.log().iter().all(|it| !format!("{it:?}").contains("acme")));
    assert!(proxy.metric("pkgcache_guard_refusals_total{guard=\"namespace\"}") > 30);
}

#[test]
fn a_mount_that_is_only_read_asks_no_upstream() {
    let site = Site::new();
    packument(&site, "demo", &[("1.0.0", ago(OLD)), ("1.1.0", ago(OLD))]);
    let set = |more: &str| {
        format!(
            "[pkgcache]\nindex-ttl = \"0s\"\n[pkgcache.upstream]\nnpm = {{ url = \"{0}\", kind = \"npm\"{more} }}\n\
             files = {{ url = \"{0}\" }}\n",
            site.url()
        )
    };
    let proxy = Proxy::set(&set(""), &[]);
    let (page, file) = ("/npm/demo", "/npm/demo/-/demo-1.0.0.tgz");
    let before = proxy.get(page).json();
    proxy.get(file);
    proxy.settled(file);
    std::fs::write(proxy.path("larder.toml"), set(", read-only = true")).unwrap();
    let proxy = proxy.again(&[]);
    site.forget();
    proxy.get(file).is(200, "hit", "demo 1.0.0");
    let stale = proxy.get(page);
    assert!(stale.json() == before && stale.cache().contains("offline"), "{stale:?}");
    for path in ["/npm/demo/-/demo-1.1.0.tgz", "/npm/other", &format!("{}/other", site.url())] {
        let missing = proxy.get(path);
        assert!(missing.status == 504 && missing.text().contains("read-only"), "{path}: {missing:?}");
    }
    let publishing = proxy.ask("PUT", "/npm/demo", "content-length: 0");
    assert!(
        publishing.status == 504 && publishing.text().contains("the mount is read-only"),
        "{publishing:?}"
    );
    assert_eq!(site.requests(), 0, "{:?}", site.log());
    // Another mount of the same server is not.
    assert_eq!(proxy.get("/files/demo/-/demo-1.1.0.tgz").text(), "demo 1.1.0");
}
