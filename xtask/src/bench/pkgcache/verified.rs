//! What it costs to compare: files whose address has their checksum, beside the same files without.

use std::fs;
use std::io::{self, Write};

use camino::Utf8Path;
use larder::process::command::Cmd;
use larder::process::runner::{RunError, Runner};
use storekit::Digest;

use super::super::basics::lost;
use super::super::figures::{Figure, Figures, Limit, median};
use super::DOWNLOADS;
use super::client::{self, Client};
use super::origin::FILES;
use super::servers::{REGISTRY, Servers};

/// Where a registry has its files.
const BLOBS: &str = "v2/bench/blobs";

/// Short rounds, of which each contender is first in as many.
const TURNS: usize = 15;
/// Where the same files have names as long as these.
const PLAIN: &str = "plain";

/// The path of a file at pkgcache that is compared with its name.
fn verified(digest: Digest) -> String {
    format!("/v2/{REGISTRY}/bench/blobs/{digest}")
}

/// The name of the same file that is compared with nothing, and as long.
fn unverified(file: &str, digest: Digest) -> String {
    let width = verified(digest).len() - "//".len() - PLAIN.len();
    format!("{PLAIN}/{file:->width$}")
}

/// The digests of the origin's files, and of many small ones that are unlike each other.
#[derive(Debug, Default)]
pub(super) struct Blobs {
    files: Vec<Digest>,
    many: Vec<Digest>,
}

impl Blobs {
    /// Puts the files below the origin's folder, as a registry has them.
    pub(super) fn write(root: &Utf8Path) -> io::Result<Self> {
        let folder = root.join(BLOBS);
        fs::create_dir_all(&folder)?;
        let mut blobs = Self::default();
        fs::create_dir_all(root.join(PLAIN))?;
        for (file, _) in FILES {
            let path = root.join(file);
            let digest = Digest::of(&fs::read(&path)?);
            fs::hard_link(&path, folder.join(digest.to_string()))?;
            fs::hard_link(&path, root.join(unverified(file, digest)))?;
            blobs.files.push(digest);
        }
        for number in 0..DOWNLOADS {
            let bytes = format!("{number:08}\n").repeat((10 << 10) / 9);
            let digest = Digest::of(bytes.as_bytes());
            fs::File::create(folder.join(digest.to_string()))?.write_all(bytes.as_bytes())?;
            blobs.many.push(digest);
        }
        Ok(blobs)
    }

    /// One file again and again, compared when it came, and the same file without; also under a
    /// name as long as the first, which shows how much of a difference is the name's.
    pub(super) fn hits(&self, runner: &Runner, servers: &Servers, at: usize) -> Result<Figures, RunError> {
        let Some(((file, kibibytes), digest)) = FILES.get(at).zip(self.files.get(at)) else {
            return Err(lost(io::Error::other("no such file")));
        };
        let server = &servers.pkgcache;
        let paths = [verified(*digest), server.path(file), format!("/{}", unverified(file, *digest))];
        for path in &paths {
            Client::connect(server.authority()).and_then(|mut it| it.get(path)).map_err(lost)?;
        }
        let mut rates = [Vec::new(), Vec::new(), Vec::new()];
        for turn in 0..TURNS {
            // Each is first as often as the others: what runs beside the bench comes and goes.
            let turn = turn % paths.len();
            let url = |path: &str| format!("{}{path}", server.url());
            for index in (turn..paths.len()).chain(0..turn) {
                let wrk = Cmd::new("wrk").args(["-t1", "-c16", "-d1s", "--timeout", "30s"]);
                let (_, text) = runner.ask(&wrk.arg(url(&paths[index])))?;
                let told = client::wrk(&String::from_utf8_lossy(&text));
                rates[index].extend(told.map(|(requests, _)| requests));
            }
        }
        let [verified, plain, long] = rates;
        let mut figures =
            Figures::new(format!("hits of files that are vouched for, {kibibytes} KiB"), "requests/s");
        figures.add(Figure::new("verified", verified));
        figures.add(Figure::new("not verified", plain).limit(Limit::AtLeast(0.97)));
        figures.add(Figure::new("the same, name as long", long).limit(Limit::AtLeast(0.97)));
        Ok(figures)
    }

    /// How long the first byte of what is not stored, and has to be compared, takes.
    pub(super) fn first_bytes(&self, servers: &Servers) -> io::Result<Figures> {
        let title = format!("first byte of {DOWNLOADS} misses that are compared, 10 KiB");
        let mut figures = Figures::new(title, "ms");
        let mut through = Client::connect(servers.pkgcache.authority())?;
        let mut direct = Client::connect(servers.origin.authority())?;
        let mut times = [Vec::new(), Vec::new()];
        for digest in &self.many {
            let milliseconds = |time: std::time::Duration| time.as_secs_f64() * 1e3;
            let [own, other] = &mut times;
            own.push(milliseconds(through.get(&verified(*digest))?.first));
            other.push(milliseconds(direct.get(&format!("/{BLOBS}/{digest}"))?.first));
        }
        let [own, other] = times;
        let added = median(&own).zip(median(&other)).map(|(through, direct)| through - direct);
        figures.add(Figure::new("pkgcache", own));
        figures.add(Figure::new("directly", other));
        figures.add(Figure::new("added", added.into_iter().collect()).limit(Limit::AtMost(1.0)));
        Ok(figures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_verified_and_what_is_not_have_names_of_one_length() {
        let digest = Digest::of(b"");
        let plain = unverified("medium", digest);
        assert!(plain.starts_with("plain/-") && plain.ends_with("-medium"), "{plain}");
        assert_eq!(plain.len() + 1, verified(digest).len());
    }
}
