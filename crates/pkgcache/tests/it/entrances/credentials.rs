//! Credentials are for the server that they were sent to: a redirect to another host, and a file
//! that an index has on another host, are asked for without them, whatever field they stand in.

use base64::Engine as _;
use larder_tests::http::{Fault, Reply, Site};
use storekit::Digest;

use crate::support::Proxy;

/// The password, wherever it stands.
const WORD: &str = "bWU6d29yZA";

/// What clients send: pip, uv, curl and apt; npm by `_authToken`, and by `_auth`; cargo; others.
const SENT: [&str; 5] = [
    "authorization: Basic bWU6d29yZA==",
    "authorization: Bearer bWU6d29yZA",
    "authorization: bWU6d29yZA",
    "private-token: bWU6d29yZA",
    "cookie: session=bWU6d29yZA",
];

/// The digest of a file, whose content is its name.
fn of(file: &str) -> Digest {
    Digest::of(file.as_bytes())
}

/// Two hosts: one that wants credentials, and another one, that is to see none.
struct Hosts {
    own: Site,
    other: Site,
    proxy: Proxy,
}

impl Hosts {
    /// With indexes whose files lie on the other host, or are redirected there; `guarded`: for
    /// nobody without `Authorization`.
    fn new(guarded: bool) -> Self {
        let (own, other) = (Site::new(), Site::new());
        own.guard(move |request| {
            let refused = guarded && request.header("authorization").is_none();
            refused.then(|| Reply { status: 401, ..Reply::default() })
        });
        let settings = format!(
            "[pkgcache]\nallow = [\"{}\"]\n[pkgcache.upstream]\n\
             pypi = {{ url = \"{own}/simple/\", kind = \"python\" }}\nnpm = {{ url = \"{own}/npm\", kind = \"npm\" }}\n\
             crates = {{ url = \"{own}/crates\", kind = \"cargo\" }}\n\
             moved = {{ url = \"{own}/moved\", kind = \"cargo\" }}\n\
             debian = {{ url = \"{own}/debian\", kind = \"apt\" }}\nfedora = {{ url = \"{own}/fedora\", kind = \"dnf\" }}\n\
             any = {{ url = \"{own}/any\", follow-redirects = true, keep-private = true }}\n",
            other.authority(),
            own = own.url()
        );
        let hosts = Self { proxy: Proxy::set(&settings, &[]), own, other };
        hosts.fill();
        hosts
    }

    fn fill(&self) {
        let other = self.other.url();
        let page = |name: &str| {
            let link = |place: &str, version: &str, hash: bool| {
                let file = format!("{name}-{version}-py3-none-any.whl");
                let hash = if hash { format!("#sha256={}", of(&file).hex()) } else { String::new() };
                format!("<a href=\"{place}{file}{hash}\">{file}</a>")
            };
            let place = format!("{other}/files/");
            link(&place, "1.0", true) + &link("", "2.0", true) + &link(&place, "3.0", false)
        };
        let version = |number: &str, place: String| {
            let file = format!("own-{number}.tgz");
            let integrity = base64::engine::general_purpose::STANDARD.encode(of(&file).bytes());
            let dist = serde_json::json!({
                "tarball": format!("{place}{file}"), "integrity": format!("sha256-{integrity}"),
            });
            serde_json::json!({ "name": "own", "version": number, "dist": dist })
        };
        let packument = serde_json::json!({ "name": "own", "dist-tags": { "latest": "1.0.0" }, "versions": {
            "1.0.0": version("1.0.0", format!("{other}/files/")),
            "2.0.0": version("2.0.0", format!("{}/npm/own/-/", self.own.url())),
        }});
        self.own.put_with("/simple/own/", "content-type: text/html", page("own"));
        self.own.put_with("/npm/own", "content-type: application/json", packument.to_string());
        for (index, dl) in [("crates", other.clone()), ("moved", format!("{}/moved", self.own.url()))] {
            let config =
                format!("{{\"dl\":\"{dl}/files/{index}/{{crate}}/{{version}}\",\"auth-required\":true}}");
            self.own.put(&format!("/{index}/config.json"), config);
            let line = format!(
                "{{\"name\":\"aaaa\",\"vers\":\"1.0.0\",\"deps\":[],\"cksum\":\"{}\",\"features\":{{}},\"yanked\":false}}\n",
                of(&format!("{index}/aaaa/1.0.0")).hex()
            );
            self.own.put(&format!("/{index}/aa/aa/aaaa"), line);
        }
        // Indexes that have moved as a whole.
        self.own.fail("/simple/away/", Fault::Redirect(302, format!("{other}/simple/away/")));
        self.other.put_with("/simple/away/", "content-type: text/html", page("away"));
        self.own.fail("/npm/away", Fault::Redirect(307, format!("{other}/npm/away")));
        let away = packument.to_string().replace("\"own\"", "\"away\"");
        self.other.put_with("/npm/away", "content-type: application/json", away);
        for (path, file) in [
            ("/simple/own/", "own-2.0-py3-none-any.whl"),
            ("/npm/own/-/", "own-2.0.0.tgz"),
            ("/moved/files/", "moved/aaaa/1.0.0"),
            ("/debian/pool/", "own_1_all.deb"),
            ("/fedora/Packages/", "own-1-1.noarch.rpm"),
            ("/any/", "file"),
        ] {
            let place = format!("{other}/files/{file}");
            self.own.fail(&format!("{path}{file}"), Fault::Redirect(302, place));
            self.other.put(&format!("/files/{file}"), file);
        }
        let here =
            ["own-1.0-py3-none-any.whl", "own-3.0-py3-none-any.whl", "own-1.0.0.tgz", "crates/aaaa/1.0.0"];
        for file in here {
            self.other.put(&format!("/files/{file}"), file);
        }
    }

    /// What leads to the other host, through the mounts.
    fn mounted(&self) -> Vec<String> {
        let host = self.other.authority().replace(':', "_");
        vec![
            "/pypi/away/".to_owned(),
            "/npm/away".to_owned(),
            format!("/pypi/files/http_{host}/files/own-1.0-py3-none-any.whl"),
            format!("/pypi/files/http_{host}/files/own-3.0-py3-none-any.whl"),
            format!(
                "/pypi/files/http_{}/simple/own/own-2.0-py3-none-any.whl",
                self.own.authority().replace(':', "_")
            ),
            "/npm/own/-/own-1.0.0.tgz".to_owned(),
            "/npm/own/-/own-2.0.0.tgz".to_owned(),
            self.crate_at("crates"),
            self.crate_at("moved"),
            "/debian/pool/own_1_all.deb".to_owned(),
            "/fedora/Packages/own-1-1.noarch.rpm".to_owned(),
            "/any/file".to_owned(),
        ]
    }

    /// The same by its own URL.
    fn forward(&self) -> Vec<String> {
        let paths = [
            "/simple/away/",
            "/simple/own/own-2.0-py3-none-any.whl",
            "/npm/away",
            "/npm/own/-/own-1.0.0.tgz",
            "/npm/own/-/own-2.0.0.tgz",
            "/moved/files/moved/aaaa/1.0.0",
            "/debian/pool/own_1_all.deb",
            "/fedora/Packages/own-1-1.noarch.rpm",
        ];
        paths.map(|path| format!("{}{path}", self.own.url())).into()
    }

    /// The path of the crate, by what the index says here.
    fn crate_at(&self, mount: &str) -> String {
        let config = self.proxy.ask("GET", &format!("/{mount}/config.json"), SENT[2]);
        let dl = config.json()["dl"].as_str().unwrap_or_else(|| panic!("{config:?}")).to_owned();
        let sha256 = of(&format!("{mount}/aaaa/1.0.0")).hex();
        let url = [("{crate}", "aaaa"), ("{version}", "1.0.0"), ("{sha256-checksum}", sha256.as_str())]
            .iter()
            .fold(dl, |dl, (marker, value)| dl.replace(marker, value));
        url.split_once("//x").map_or(url.clone(), |(_, path)| path.to_owned())
    }
}

#[track_caller]
fn nothing_of_it_at(site: &Site, what: &str) {
    assert!(site.requests() > 0, "{what}: the other host was not asked");
    for it in site.log() {
        let text = format!("{} {:?}", it.request.path, it.request.headers);
        let bare = !text.contains(WORD) && it.request.header("authorization").is_none();
        assert!(bare, "{what}: the other host got {text}");
    }
}

/// Asks for each in all ways that are other requests to the upstream: the head, a part, the whole.
#[track_caller]
fn nothing_travels(targets: impl Fn(&Hosts) -> Vec<String>) {
    for sent in SENT {
        let hosts = Hosts::new(sent.starts_with("authorization"));
        for target in targets(&hosts) {
            hosts.other.forget();
            for (method, more) in [("HEAD", ""), ("GET", "\nrange: bytes=0-2"), ("GET", "")] {
                let answer = hosts.proxy.ask(method, &target, &format!("{sent}{more}"));
                let what = format!("{method} {target} {sent}{more}");
                assert!(matches!(answer.status, 200 | 206), "{what}: {answer:?}");
                nothing_of_it_at(&hosts.other, &what);
            }
        }
    }
}

#[test]
fn credentials_never_travel_to_another_host_through_a_mount() {
    nothing_travels(Hosts::mounted);
}

#[test]
fn credentials_never_travel_to_another_host_through_the_forward_door() {
    nothing_travels(Hosts::forward);
}
