//! Between archives and the store, without an engine.

use camino::Utf8PathBuf;

use super::super::basics::{lost, sh};
use super::super::figures::{Figure, Figures, Limit, megabytes};
use super::super::race::{Contender, Race};
use super::cost::{Job, stored};
use super::{Place, race};
use larder::process::command::{Cmd, quoted};
use larder::process::runner::RunError;

/// How much two images that share their base may take beyond the larger one, in percent of it.
const SHARED: f64 = 1.0;

/// Imports of the image's archive.
pub(super) struct Imports<'a> {
    place: &'a Place<'a>,
    /// skopeo's own layout.
    layout: Utf8PathBuf,
}

impl<'a> Imports<'a> {
    pub(super) fn new(place: &'a Place<'a>) -> Self {
        Self { place, layout: place.folder.join("layout") }
    }

    pub(super) fn races(&self) -> Vec<Race> {
        vec![
            race("import of a docker-archive of 1 GB into an empty store", self.cold()),
            race("import of the same archive under another key", self.again()),
        ]
    }

    fn cold(&self) -> Vec<Contender> {
        let packed = self.place.folder.join("app.tar.zst");
        let [from, to] = [&self.place.archives.app, &packed].map(|path| quoted(path.as_str()));
        let zstd = sh(format!("zstd -q -T0 -3 {from} -o {to} && sync {to}"));
        vec![
            Contender::new("imgtar import", self.import("app")).before(wipe(&[&self.place.store])),
            Contender::new("zstd -T0 -3, sync", zstd).before(wipe(&[&packed])).limit(1.3),
            Contender::new("skopeo copy, zstd", self.skopeo()).before(wipe(&[&self.layout])).limit(1.0 / 3.0),
        ]
    }

    fn again(&self) -> Vec<Contender> {
        let forget = Cmd::new("rm").arg("-f").path(&self.place.store.join("images/keys/again"));
        let openssl = Cmd::new("openssl").args(["dgst", "-sha256"]).path(&self.place.archives.app);
        vec![
            Contender::new("imgtar import again", self.import("again")).before(forget),
            Contender::new("openssl dgst -sha256", openssl),
            Contender::new("skopeo copy again, zstd", self.skopeo()).limit(0.1),
        ]
    }

    fn import(&self, key: &str) -> Cmd {
        self.place.imgtar("import", key, &self.place.store).path(&self.place.archives.app)
    }

    fn skopeo(&self) -> Cmd {
        let compressed = ["copy", "--insecure-policy", "--quiet", "--dest-compress-format", "zstd"];
        let (from, to) = (&self.place.archives.app, &self.layout);
        Cmd::new("skopeo").args(compressed).args([format!("docker-archive:{from}"), format!("oci:{to}:app")])
    }

    /// What is measured once. The store has the image afterwards, under the key `app` alone.
    pub(super) fn jobs(&self) -> Vec<Job> {
        let Place { store, .. } = self.place;
        let import = Contender::new("imgtar import", self.import("app")).before(wipe(&[store]));
        let nowhere = |compress| {
            let export = self.place.imgtar("export", "app", store);
            export.args(["/dev/null", "--compress", compress])
        };
        vec![
            Job { contender: import, fills: Some(store.clone()) },
            Job { contender: Contender::new("imgtar export, zstd", nowhere("zstd")), fills: None },
            Job { contender: Contender::new("imgtar export, plain", nowhere("none")), fills: None },
        ]
    }

    /// What the second of two images takes that share their base.
    pub(super) fn shared(&self) -> Result<Figures, RunError> {
        let store = &self.place.store;
        let one = stored(store).map_err(lost)?;
        let next = self.place.imgtar("import", "next", store).path(&self.place.archives.next);
        self.place.run(&next)?;
        let more = stored(store).map_err(lost)?.saturating_sub(one);
        let mut figures = Figures::new("two images that share their base, in one store".to_owned(), "MB");
        figures.add(Figure::new("the first", vec![megabytes(one)]));
        let limit = Limit::AtMost(megabytes(one) * SHARED / 100.0);
        figures.add(Figure::new("the second, beside it", vec![megabytes(more)]).limit(limit));
        Ok(figures)
    }
}

/// Removes files and folders, and waits until the disk has nothing left to do.
pub(super) fn wipe(paths: &[&Utf8PathBuf]) -> Cmd {
    let paths: Vec<_> = paths.iter().map(|path| quoted(path.as_str())).collect();
    sh(format!("rm -rf {} && sync", paths.join(" ")))
}
