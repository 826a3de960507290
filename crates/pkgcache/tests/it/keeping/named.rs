//! Plain files that have a SHA-256 in their names.

use std::io::Write;

use storekit::Digest;

use crate::support::{Cached, Origin, Proxy, answer};

const TOOL: &str = "a tool";
const SIGNATURE: &str = "a signature of it";

/// Gives each file by what its path ends in, and lets nobody keep it without asking.
fn origin() -> Origin {
    Origin::new(|request, stream| {
        let body = if request.path.strip_suffix(".sig").is_some() { SIGNATURE } else { TOOL };
        let _ = stream.write_all(&answer(200, "cache-control: no-cache", body.as_bytes()));
    })
}

fn asked(origin: &Origin, part: &str) -> usize {
    origin.count("GET", part)
}

#[test]
fn a_file_that_has_the_digest_in_its_name_holds_for_ever_and_any_other_is_as_it_was() {
    let origin = origin();
    let (hex, url) = (Digest::of(TOOL.as_bytes()).hex(), origin.url());
    let settings = format!(
        "[pkgcache.upstream]\nfiles = \"{url}\"\nold = {{ url = \"{url}/old\", digest-in-name = \"ignore\" }}\n\
         sure = {{ url = \"{url}/sure\", digest-in-name = \"require\" }}\n"
    );
    let proxy = Proxy::set(&settings, &[]);
    for path in [format!("/files/tool-{hex}.bin"), format!("/files/{hex}/tool")] {
        proxy.get(&path).is(200, "fwd=uri-miss", TOOL);
        proxy.kept(1);
        proxy.get(&path).is(200, "hit", TOOL).is(200, "verified=addressed", TOOL);
        assert_eq!(asked(&origin, path.trim_start_matches("/files")), 1, "{path}");
    }
    // What lies beside it has another digest than its address, and may change.
    for path in [format!("/files/{hex}/tool.sig"), format!("/files/tool-{hex}.sig")] {
        for _ in 0..2 {
            let found = proxy.get(&path);
            assert!(found.status == 200 && found.text() == SIGNATURE && found.whole, "{path}: {found:?}");
            assert!(!found.cache().contains("verified"), "{}", found.cache());
        }
        assert_eq!(asked(&origin, path.trim_start_matches("/files")), 2, "{path}");
    }
    let ignored = format!("/old/tool-{hex}.bin");
    for _ in 0..2 {
        assert_eq!(proxy.get(&ignored).text(), TOOL);
    }
    assert_eq!(asked(&origin, &ignored), 2);
    // Where it has to have it, nobody gets all of another.
    proxy.get(&format!("/sure/tool-{hex}.bin")).is(200, "verified=addressed", TOOL);
    let wrong = proxy.get(&format!("/sure/tool-{}.sig", hex.replace('0', "1")));
    assert!(!wrong.whole || wrong.status == 502, "{wrong:?}");
    assert_eq!(proxy.metric("pkgcache_mismatches_total"), 1);
}
