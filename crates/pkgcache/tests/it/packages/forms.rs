//! The forms of a manifest that clients of a registry take.

use larder_tests::http::Site;
use larder_tests::until;
use storekit::Digest;

use crate::support::{Cached, Proxy};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const TAG: &str = "/v2/app/manifests/1";

/// A registry with a tag of this form.
fn registry(form: &str) -> (Site, String) {
    let (site, document) = (Site::new(), format!("{{\"schemaVersion\":2,\"mediaType\":\"{form}\"}}"));
    let digest = Digest::of(document.as_bytes());
    let fields = format!("content-type: {form}\ndocker-content-digest: {digest}");
    site.put_with(TAG, &fields, document.clone());
    site.put_with(&format!("/v2/app/manifests/{digest}"), &fields, document.clone());
    (site, document)
}

fn proxy(site: &Site, more: &str) -> Proxy {
    Proxy::set(
        &format!(
            "[pkgcache]\nttl = {{ tag = \"0s\" }}\n{more}[pkgcache.upstream]\n\"/\" = {{ url = \"{}\", kind = \"oci\" }}\n",
            site.url()
        ),
        &[],
    )
}

fn accept(forms: &[&str]) -> String {
    format!("accept: {}", forms.join(", "))
}

#[test]
fn a_stored_form_serves_whoever_takes_it_while_the_registry_is_away() {
    for form in [INDEX, MANIFEST] {
        let (site, document) = registry(form);
        let proxy = proxy(&site, "");
        proxy.ask("GET", TAG, &accept(&[INDEX, MANIFEST, LIST, DOCKER])).is(200, "", &document);
        until("the tag is stored", || proxy.listed() == 2);
        site.unplug();
        let take = |fields: &str| {
            proxy.ask("GET", TAG, fields).is(200, "hit", &document);
            let head = proxy.ask("HEAD", TAG, fields);
            assert!(head.status == 200 && head.header("content-type") == Some(form), "{fields}: {head:?}");
        };
        take(&accept(&[form]));
        take(&accept(&[form, DOCKER]));
        take("");
        // Whoever does not take it is told what became of the registry.
        let other = proxy.ask("GET", TAG, &accept(&[DOCKER]));
        assert_eq!(other.status, 502, "{other:?}");
        let proxy = proxy.again(&["--offline"]);
        proxy.ask("GET", TAG, &accept(&[form])).is(200, "offline", &document);
        assert_eq!(proxy.ask("HEAD", TAG, &accept(&[form])).status, 200);
        let other = proxy.ask("GET", TAG, &accept(&[DOCKER]));
        let told = format!("stored in a form that the client does not take: {form}");
        assert!(other.status == 504 && other.text().contains(&told), "{other:?}");
        assert_eq!(proxy.ask("HEAD", TAG, &accept(&[DOCKER])).status, 504);
    }
}

/// A registry may choose an image of one platform for a client that knows no lists.
#[test]
fn what_was_chosen_for_lack_of_lists_is_not_for_others() {
    let (site, document) = registry(MANIFEST);
    let proxy = proxy(&site, "");
    proxy.ask("GET", TAG, &accept(&[MANIFEST])).is(200, "", &document);
    until("the tag is stored", || proxy.listed() == 2);
    let proxy = proxy.again(&["--offline"]);
    proxy.ask("GET", TAG, &accept(&[MANIFEST])).is(200, "offline", &document);
    assert_eq!(proxy.ask("GET", TAG, &accept(&[INDEX, MANIFEST])).status, 504);
}

/// A server in front of this one that ends TLS says so.
#[test]
fn addresses_of_this_server_are_those_by_which_a_client_came() {
    let (site, _) = registry(MANIFEST);
    site.put_with(
        "/npm/a",
        "content-type: application/json",
        "{\"name\":\"a\",\"versions\":{\"1.0.0\":{\"name\":\"a\",\"version\":\"1.0.0\",\"dist\":{\"tarball\":\"https://x.example/a.tgz\"}}}}",
    );
    let settings = format!(
        "[pkgcache.upstream]\n\"/\" = {{ url = \"{0}\", kind = \"oci\" }}\nnpm = {{ url = \"{0}/npm\", kind = \"npm\" }}\n",
        site.url()
    );
    let proxy = Proxy::set(&settings, &[]);
    // As these tests name it in their requests.
    let (here, there) = ("http://x", "https://x");
    for (fields, url) in [
        ("", here),
        ("x-forwarded-proto: https", there),
        ("x-forwarded-proto: HTTPS", there),
        ("x-forwarded-proto: javascript", here),
        ("", here),
    ] {
        let greeting = proxy.ask("GET", "/v2/", fields);
        let realm = format!("Bearer realm=\"{url}/v2/token\",service=\"pkgcache\"");
        assert_eq!((greeting.status, greeting.header("www-authenticate")), (401, Some(realm.as_str())));
        let packument = proxy.ask("GET", "/npm/a", fields).json();
        let tarball = &packument["versions"]["1.0.0"]["dist"]["tarball"];
        assert_eq!(*tarball, format!("{url}/npm/a/-/a-1.0.0.tgz"), "{fields}");
    }
}
