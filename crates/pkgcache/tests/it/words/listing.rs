//! `ls`: what is stored by kind of client, source, package, version and architecture, with totals.

use std::fmt::Write as _;

use larder_tests::Ran;
use larder_tests::http::Site;

use crate::support::Proxy;

/// What is stored: where it is asked for, and its body. Two have the same one.
const FILES: [(&str, &str); 6] = [
    ("/debian/pool/main/t/tool/tool_1.0_amd64.deb", "12345"),
    ("/debian/pool/main/t/tool/tool_1.0_arm64.deb", "1234567"),
    ("/debian/pool/main/t/tool/tool_2.0_amd64.deb", "12345"),
    ("/debian/pool/main/libx/libx_1%3a3.0_all.deb", "123"),
    ("/fedora/Packages/tool-1.0-1.x86_64.rpm", "12"),
    ("/plain/file", "1"),
];

/// A store with these; the hosts that they are from, as `ls` names them.
fn stored() -> (Proxy, [String; 3]) {
    let sites = [Site::new(), Site::new(), Site::new()];
    let mut settings = "[pkgcache.upstream]\n".to_owned();
    for ((name, kind), site) in
        [("debian", "apt"), ("fedora", "dnf"), ("plain", "generic")].iter().zip(&sites)
    {
        let _ = writeln!(settings, "{name} = {{ url = \"{}/{name}\", kind = \"{kind}\" }}", site.url());
    }
    let proxy = Proxy::set(&settings, &[]);
    for (path, body) in FILES {
        for site in &sites {
            site.put_with(path, "cache-control: max-age=3600", body);
        }
        let answer = proxy.get(path);
        assert_eq!((answer.status, answer.text()), (200, body), "{path}");
        proxy.settled(path);
    }
    (proxy, sites.map(|site| site.authority().replace(':', "_")))
}

/// The rows of sums: what they are of, how many URLs, how many bytes.
#[track_caller]
fn sums(ran: &Ran, columns: &[&str]) -> Vec<String> {
    let text = |row: &serde_json::Value, column: &str| row[column].as_str().unwrap_or("-").to_owned();
    let line = |row: &serde_json::Value| {
        let values: Vec<_> = columns.iter().map(|column| text(row, column)).collect();
        format!("{}: {} {}", values.join(" "), row["urls"], row["size"])
    };
    ran.rows().iter().map(line).collect()
}

#[test]
fn what_is_stored_is_summed_by_each_thing_that_is_known_of_it() {
    let (proxy, [debian, fedora, plain]) = stored();
    for (by, columns, expected) in [
        (
            "ecosystem",
            &["ecosystem"][..],
            vec!["apt: 4 15".to_owned(), "dnf: 1 2".into(), "generic: 1 1".into()],
        ),
        (
            "source",
            &["ecosystem", "source"],
            vec![
                format!("apt {debian}: 4 15"),
                format!("dnf {fedora}: 1 2"),
                format!("generic {plain}: 1 1"),
            ],
        ),
        (
            "name",
            &["ecosystem", "name"],
            vec![
                "apt libx: 1 3".into(),
                "apt tool: 3 12".into(),
                "dnf tool: 1 2".into(),
                "generic -: 1 1".into(),
            ],
        ),
        (
            "version",
            &["ecosystem", "name", "version"],
            vec![
                "apt libx 1:3.0: 1 3".into(),
                "apt tool 1.0: 2 12".into(),
                "apt tool 2.0: 1 5".into(),
                "dnf tool 1.0-1: 1 2".into(),
                "generic - -: 1 1".into(),
            ],
        ),
        (
            "architecture",
            &["ecosystem", "architecture"],
            vec![
                "apt all: 1 3".into(),
                "apt amd64: 2 5".into(),
                "apt arm64: 1 7".into(),
                "dnf x86_64: 1 2".into(),
                "generic -: 1 1".into(),
            ],
        ),
    ] {
        let ran = proxy.command(&["ls", "--by", by, "--json"]).ok();
        assert_eq!(sums(&ran, columns), expected, "--by {by}");
        // Each body once, of whatever it is.
        assert_eq!(ran.stderr(), "6 URLs, 18B\n", "--by {by}");
    }
    assert_eq!(
        proxy.command(&["ls", "--by", "architecture", "-q"]).ok().stdout(),
        "ECOSYSTEM  ARCHITECTURE  URLS  SIZE\n\
         apt        all              1    3B\n\
         apt        amd64            2    5B\n\
         apt        arm64            1    7B\n\
         dnf        x86_64           1    2B\n\
         generic    -                1    1B\n"
    );
}

#[test]
fn what_is_listed_is_chosen_by_what_is_known_of_it() {
    let (proxy, [debian, ..]) = stored();
    for (choice, total) in [
        (vec![], "6 URLs, 18B\n"),
        (vec!["tool_1.0"], "2 URLs, 12B\n"),
        (vec!["--ecosystem", "apt"], "4 URLs, 15B\n"),
        (vec!["--name", "tool"], "4 URLs, 14B\n"),
        (vec!["--source", &debian], "4 URLs, 15B\n"),
        (vec!["--ecosystem", "apt", "--name", "tool", "amd64"], "2 URLs, 5B\n"),
    ] {
        let listed = proxy.command(&[vec!["ls"], choice.clone()].concat()).ok();
        assert_eq!(listed.stderr(), total, "{choice:?}");
        // The sums are of the same.
        let by = proxy.command(&[vec!["ls", "--by", "architecture", "--json"], choice.clone()].concat()).ok();
        let urls: u64 = by.rows().iter().filter_map(|row| row["urls"].as_u64()).sum();
        assert_eq!(
            (by.stderr(), urls),
            (listed.stderr(), listed.stdout().lines().count() as u64),
            "{choice:?}"
        );
    }
    let row = proxy.command(&["ls", "--json", "arm64"]).ok().rows().remove(0);
    let known =
        ["ecosystem", "source", "name", "version", "architecture"].map(|it| row[it].as_str().unwrap());
    assert_eq!(known, ["apt", &debian, "tool", "1.0", "arm64"]);
}
