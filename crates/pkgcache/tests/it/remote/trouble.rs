//! A bucket that is down, slow, failing or lying: the clients get what the upstream has, soon.

use std::time::{Duration, Instant};

use larder_tests::{Part, Rclone, have, until};

use super::between::{Between, Fault};
use super::{body, node, size, upstream, wrote};
use crate::support::{Cached, Proxy, session};

/// Files that are in the bucket, and what a client does that has no patience: a small one, and one
/// that is handed on while it comes.
const SMALL: &str = "/small-5000";
const LARGE: &str = "/large-3000000";

#[track_caller]
fn gets(node: &Proxy, path: &str, within: u64) -> String {
    let begun = Instant::now();
    let found = node.get(path);
    let took = begun.elapsed();
    assert_eq!((found.status, found.whole), (200, true), "{path} {:?} {}", found.headers, node.said());
    assert!(found.body == body(path, size(path)), "{path} has other bytes");
    assert!(took < Duration::from_secs(within), "{path} took {took:?}");
    found.cache().to_owned()
}

#[test]
fn nothing_that_the_bucket_does_harms_a_client() {
    if !have(&[Part::Rclone]) {
        return;
    }
    let folder = session();
    let store = Rclone::start(&folder.path("buckets"));
    let (between, origin) = (Between::of(store.host()), upstream());
    let first = node(&store.url(), &origin, "");
    for path in [SMALL, LARGE] {
        gets(&first, path, 2);
    }
    wrote(&first, 2);
    // How often the upstream is asked, and how long the two files may take together: 2 s for each
    // answer that does not come, and 2 s for one that stands still in its middle.
    for (fault, asked, within) in [
        (Fault::None, 0, 2),
        (Fault::Status(503), 2, 2),
        (Fault::Status(403), 2, 2),
        (Fault::Down, 2, 2),
        (Fault::Silent, 2, 4),
        (Fault::CutShort, 2, 2),
        (Fault::Trickles, 2, 6),
        (Fault::Entry("version = 1".to_owned()), 2, 2),
        (Fault::Entry("x".repeat(2 << 20)), 2, 2),
    ] {
        let before = origin.seen().len();
        between.set(fault.clone());
        let node = node(&between.url(), &origin, ", read-only = true");
        for path in [SMALL, LARGE] {
            let cache = gets(&node, path, within);
            assert_eq!(
                cache.contains("remote"),
                asked == 0 || path == LARGE && cache.contains("hit"),
                "{fault:?}"
            );
        }
        assert_eq!(origin.seen().len() - before, asked, "{fault:?} {:?}", &origin.seen()[before..]);
        if asked > 0 {
            let warned = node.said().matches("warning").count();
            assert!((1..=3).contains(&warned), "{fault:?}: {}", node.said());
        }
        // Well again, it is used again.
        between.set(Fault::None);
        until(format_args!("{fault:?} is over"), || {
            node.command(&["rm", "--source", &origin.address.to_string().replace(':', "_")]).ok();
            node.get(SMALL).cache().contains("remote")
        });
    }
}

#[test]
fn a_bucket_that_lies_is_found_out_and_what_was_wrong_is_replaced() {
    if !have(&[Part::Rclone]) {
        return;
    }
    let folder = session();
    let store = Rclone::start(&folder.path("buckets"));
    let (between, origin) = (Between::of(store.host()), upstream());
    let first = node(&store.url(), &origin, "");
    for path in [SMALL, LARGE] {
        gets(&first, path, 2);
    }
    wrote(&first, 2);
    let blob = |path: &str| {
        let hex = storekit::Digest::of(&body(path, size(path))).hex();
        store.object(&format!("packages/v1/blobs/sha256/{hex}"))
    };
    for fault in [Fault::Flipped, Fault::Endless] {
        between.set(fault.clone());
        let node = node(&between.url(), &origin, "");
        // A small one is compared before a client gets any of it.
        assert!(!gets(&node, SMALL, 2).contains("remote"), "{fault:?}");
        // Its right bytes are in the bucket again, which is asked as ever.
        wrote(&node, 1);
        // A larger one is cut off before its last byte, and had from the upstream after that.
        let cut = node.get(LARGE);
        assert!(!cut.whole && cut.body.len() < size(LARGE), "{fault:?} {}", cut.body.len());
        until("it is had from the upstream", || node.get(LARGE).whole);
        gets(&node, LARGE, 2);
        assert_eq!(node.said().matches("counts as missing").count(), 2, "{fault:?} {}", node.said());
        assert_eq!(node.metric("pkgcache_remote_wrong_total"), 2);
        between.set(Fault::None);
        // What it fetched instead is in the bucket again, as it has to be.
        wrote(&node, 2);
        until("it is written again", || {
            [SMALL, LARGE]
                .iter()
                .all(|path| std::fs::read(blob(path)).is_ok_and(|it| it == body(path, size(path))))
        });
    }
    // An entry of another URL, at this one's place.
    let [small, large] = [SMALL, LARGE].map(|path| {
        let key = storekit::PackageKey::new(
            "generic",
            &origin.address.to_string(),
            format!("{}{path}", origin.url()),
            None,
        );
        store.object(&format!("packages/v1/entries/{}", key.path()))
    });
    assert!(small.exists());
    between.set(Fault::Entry(std::fs::read_to_string(&large).unwrap()));
    let node = node(&between.url(), &origin, "");
    let before = origin.seen().len();
    assert!(!gets(&node, SMALL, 2).contains("remote"));
    assert_eq!(origin.seen().len(), before + 1);
    node.says("it is of another URL");
}
