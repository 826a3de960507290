//! Nodes that share a bucket: what one has fetched is not fetched by another, and nothing that the
//! bucket does harms a client.

mod between;
mod nodes;
mod trouble;

use std::io::Write;
use std::sync::Arc;

use larder_tests::http::Origin;
use larder_tests::others::rclone::{ACCESS_KEY, SECRET_KEY};

use crate::support::{Proxy, answer, session};

/// A body that follows from its name: of this many bytes, other ones for each name.
pub(crate) fn body(name: &str, size: usize) -> Vec<u8> {
    if name.ends_with("InRelease") {
        return b"Suite: stable\n".to_vec();
    }
    let piece: Vec<u8> = name.bytes().cycle().zip(0..=250_u8).map(|(byte, at)| byte ^ at).collect();
    let mut bytes = piece.repeat(size / piece.len() + 1);
    bytes.truncate(size);
    bytes
}

/// How large the file at this path is: what stands behind its last dash.
fn size(path: &str) -> usize {
    path.rsplit('-').next().and_then(|size| size.parse().ok()).unwrap_or(10)
}

/// An upstream of files that hold for an hour, whole or from a byte on.
pub(crate) fn upstream() -> Origin {
    Origin::new(|request, stream| {
        let whole = body(&request.path, size(&request.path));
        let from = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        let from = from.and_then(|from| from.parse::<usize>().ok());
        let said = match from {
            None => answer(200, "cache-control: max-age=3600", &whole),
            Some(from) => {
                let range = format!("content-range: bytes {from}-{}/{}", whole.len() - 1, whole.len());
                answer(206, &range, &whole[from..])
            }
        };
        drop(stream.write_all(&said));
    })
}

/// A node before the bucket at this URL, with the origin at its root, and more settings; it loses
/// its patience soon.
pub(crate) fn node(bucket: &str, origin: &Origin, more: &str) -> Proxy {
    patient(bucket, origin, &format!(", time = \"2s\", wait = \"3s\"{more}"))
}

/// The same, as patient as it is said.
pub(crate) fn patient(bucket: &str, origin: &Origin, more: &str) -> Proxy {
    let settings = format!(
        "[pkgcache]\nindex-ttl = \"60s\"\ndrain-time = \"60s\"\naccess-log = \"access.ndjson\"\n\
         remote = {{ url = \"{bucket}\"{more} }}\n\
         [pkgcache.upstream]\n\"/\" = \"{url}\"\ndebian = {{ url = \"{url}\", kind = \"apt\" }}\n",
        url = origin.url()
    );
    let session = session().file("larder.toml", &settings);
    let session = session.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    Proxy::in_session(Arc::new(session), &[])
}

/// Waits until so many URLs were written to the bucket by the node.
#[track_caller]
pub(crate) fn wrote(node: &Proxy, count: u64) {
    larder_tests::until(format_args!("{count} URLs are in the bucket"), || {
        node.metric("pkgcache_remote_stored_total") >= count
    });
}
