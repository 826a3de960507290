//! For how long each class is handed on without a question, and which setting says so.

use jiff::{SignedDuration, Timestamp};
use larder_tests::http::Site;
use larder_tests::until;
use storekit::Digest;

use crate::support::{Cached, Origin, Proxy};

/// An upstream that answers everything.
fn upstream() -> Origin {
    Origin::fixed("", "Suite: x\n")
}

const INDEX: &str = "/dists/x/InRelease";
const PINNED: &str = "/pool/a_1_all.deb";

/// How often the upstream is asked for the path when it is asked for twice.
#[track_caller]
fn asked(proxy: &Proxy, origin: &Origin, path: &str, below: &str) -> usize {
    let url = format!("{}{below}", origin.url());
    for _ in 0..2 {
        assert_eq!(proxy.get(path).status, 200, "{path}");
        until(format_args!("{path} is stored"), || proxy.command(&["info", &url]).code() == 0);
    }
    origin.seen().iter().filter(|it| it.path == below).count()
}

#[test]
fn each_class_has_the_time_that_is_set_for_it() {
    let (one, two) = (upstream(), upstream());
    let settings = format!(
        "[pkgcache]\nttl = {{ index = \"0s\", tag = \"1h\" }}\n[pkgcache.upstream]\n\
         one = {{ url = \"{}\", kind = \"apt\" }}\n\
         two = {{ url = \"{}\", kind = \"apt\", ttl = {{ index = \"1h\", pinned-by-name = \"0s\" }} }}\n",
        one.url(),
        two.url()
    );
    let proxy = Proxy::set(&settings, &[]);
    assert_eq!(asked(&proxy, &one, &format!("/one{INDEX}"), INDEX), 2);
    assert_eq!(asked(&proxy, &one, &format!("/one{PINNED}"), PINNED), 1);
    assert_eq!(asked(&proxy, &two, &format!("/two{INDEX}"), INDEX), 1);
    assert_eq!(asked(&proxy, &two, &format!("/two{PINNED}"), PINNED), 2);
}

#[test]
fn a_tag_may_last_longer_than_the_list_of_tags() {
    let origin = upstream();
    let host = origin.address.to_string();
    let settings = format!(
        "[pkgcache]\nttl = {{ index = \"0s\", tag = \"0s\" }}\n[pkgcache.registry]\n\
         \"{host}\" = {{ url = \"http://{host}\", ttl = {{ tag = \"1h\" }} }}\n"
    );
    let proxy = Proxy::set(&settings, &[]);
    let list = "/v2/app/tags/list";
    assert_eq!(asked(&proxy, &origin, list, list), 2);
    let said = proxy.command(&["why", "/v2/app/manifests/1"]).ends(1).stdout();
    assert!(said.contains("class     tag (oci) app 1\n"), "{said}");
    let set = format!("for 3600 s, whatever its headers say (`ttl.tag` of [pkgcache.registry] {host})\n");
    assert!(said.contains(&set), "{said}");
}

#[track_caller]
fn says(settings: &str, path: &str, class: &str, fresh: &str) {
    let proxy = Proxy::set(&settings.replace("HERE", "http://127.0.0.1:9/"), &[]);
    let said = proxy.command(&["why", path]).ends(1).stdout();
    assert!(said.contains(&format!("  class     {class} (")), "{said}");
    assert!(said.contains(&format!("  fresh     {fresh}\n")), "{said}");
}

#[test]
fn why_names_the_setting_that_decided() {
    const MOUNT: &str = "[pkgcache.upstream]\na = { url = \"HERE\", kind = \"apt\" }\n";
    let all = |set: &str| format!("[pkgcache]\n{set}\n{MOUNT}");
    let own = |set: &str| {
        format!(
            "[pkgcache]\nindex-ttl = \"1s\"\n[pkgcache.upstream]\n\
             a = {{ url = \"HERE\", kind = \"apt\", ttl = {{ {set} }} }}\n"
        )
    };
    let (index, pinned) = (format!("/a{INDEX}"), format!("/a{PINNED}"));
    let headers = "whatever its headers say";
    says(MOUNT, &index, "index", &format!("for 60 s, {headers} (the default of `index-ttl`)"));
    let short = format!("for 5 s, {headers} (`index-ttl` of [pkgcache])");
    says(&all("index-ttl = \"5s\""), &index, "index", &short);
    let long = format!("for 7 s, {headers} (`ttl.index` of [pkgcache])");
    says(&all("index-ttl = \"5s\"\nttl = { index = \"7s\" }"), &index, "index", &long);
    let mount = format!("for 9 s, {headers} (`ttl.index` of [pkgcache.upstream] a)");
    says(&own("index = \"9s\""), &index, "index", &mount);
    let ever = "for ever: what has this name is not expected to change (the default of `ttl.pinned-by-name`)";
    says(MOUNT, &pinned, "artifact", ever);
    let month = format!("for 2592000 s, {headers} (`ttl.pinned-by-name` of [pkgcache.upstream] a)");
    says(&own("pinned-by-name = \"30d\""), &pinned, "artifact", &month);
    let npm = MOUNT.replace("apt", "npm");
    says(&npm, "/a/-/v1/search?text=x", "api", "never: it is an interface");
    says(MOUNT, "/a/other", "unknown", "as long as HTTP's rules say");
    let (hash, address) = (Digest::of(b"x").hex(), "/a/dists/x/main/binary-all/by-hash/SHA256/");
    says(MOUNT, &format!("{address}{hash}"), "self-certifying", "for ever: it cannot change");
}

/// Lets all that is stored be so much older.
fn age(proxy: &Proxy, by: SignedDuration) {
    let packages = proxy.packages();
    let mut entries = Vec::new();
    let mut note = |found: storekit::FoundPackage| {
        entries.push(found.entry.unwrap());
        Ok::<_, storekit::Error>(())
    };
    packages.each(&mut note).unwrap();
    for mut entry in entries {
        for response in &mut entry.responses {
            response.headers.retain(|(name, _)| name != "date");
            (response.requested, response.received) = (Timestamp::now() - by, Timestamp::now() - by);
        }
        packages.put(&entry, &[]).unwrap();
    }
}

/// What stands in for an upstream that fails does so for 7 days beyond its time, or what is set.
#[test]
fn a_stored_copy_stands_in_for_seven_days_unless_something_else_is_set() {
    for (set, days) in [("", 7), ("stale-window = \"2d\"\n", 2)] {
        let site = Site::new();
        let release =
            "Suite: x\nSHA256:\n e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 0 a\n";
        site.put("/dists/x/Release", release);
        let settings = format!(
            "[pkgcache]\n{set}[pkgcache.upstream]\na = {{ url = \"{}\", kind = \"apt\" }}\n",
            site.url()
        );
        let mut proxy = Proxy::set(&settings, &[]);
        proxy.get("/a/dists/x/Release").is(200, "stored", release);
        proxy.kept(1);
        site.unplug();
        // An index has a minute of its own before that.
        for (minutes, stands) in [(-1, true), (2, false)] {
            age(&proxy, SignedDuration::from_mins(days * 24 * 60 + minutes));
            proxy = proxy.again(&[]);
            let answer = proxy.get("/a/dists/x/Release");
            if stands {
                answer.is(200, "upstream-failed", release);
            } else {
                assert!(matches!(answer.status, 502 | 504), "{answer:?}");
            }
        }
    }
}
