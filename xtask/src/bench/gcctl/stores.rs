//! Stores as tools leave them, written without any: that would take an hour.

use std::fs::{self, File, FileTimes};
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use camino::Utf8Path;
use storekit::oci::{CONFIG, MANIFEST};
use storekit::{Digest, Event, Key, Kind, PackageId, PackageKey, Store};

/// Bytes on disk of a package: a block of its entry's, and one of its body's.
pub(super) const EACH: u64 = 8192;

const SOURCES: [(&str, &str); 4] = [
    ("apt", "deb.example"),
    ("cargo", "static.example"),
    ("npm", "registry.example"),
    ("python", "files.example"),
];
/// What hits are of.
const KEYS: u32 = 1000;
const DAYS: u32 = 30;

fn store(folder: &Utf8Path) -> io::Result<Store> {
    Store::open_or_create(folder).map_err(io::Error::other)
}

fn put(path: &Utf8Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    Ok(file)
}

/// Packages of four ecosystems, each with a body of its own, used one after the other.
pub(super) fn packages(folder: &Utf8Path, count: u32) -> io::Result<()> {
    let packages = store(folder)?.packages();
    packages.prepare().map_err(io::Error::other)?;
    for (_, source) in SOURCES {
        for shard in 0..=0xff_u8 {
            fs::create_dir_all(packages.entries().join(format!("{source}/{shard:02x}")))?;
        }
    }
    let now = SystemTime::now();
    for (number, (ecosystem, source)) in (0..count).zip(SOURCES.into_iter().cycle()) {
        let body = number.to_string().repeat(20);
        let digest = Digest::of(body.as_bytes());
        put(&packages.blobs().path(&digest), body.as_bytes())?;
        let (name, version) = (number % 5000, format!("{}.{}.{}", number / 5000, number % 10, number % 7));
        let hex = digest.hex();
        let url = format!(
            "https://{source}/packages/{}/{}/{}/package-{name}-{version}-py3-none-any.whl",
            &hex[..2],
            &hex[2..4],
            &hex[4..36],
        );
        let text = format!(
            "version = 1\necosystem = \"{ecosystem}\"\nsource = \"{source}\"\nurl = \"{url}\"\nname = \"package-{name}\"\n\
             package-version = \"{version}\"\n\n[[response]]\nstatus = 200\ndigest = \"{digest}\"\nsize = {size}\n\
             level = \"indexed\"\nrequested = \"2026-01-02T03:04:05Z\"\nreceived = \"2026-01-02T03:04:06Z\"\nheaders = \
             [[\"content-type\", \"application/octet-stream\"], [\"etag\", '\"{short}\"'], [\"last-modified\", \"Wed, 21 \
             Oct 2015 07:28:00 GMT\"], [\"cache-control\", \"max-age=365000000, immutable\"], [\"content-length\", \
             \"{size}\"]]\n",
            size = body.len(),
            short = digest.short(),
        );
        let path = packages.path(&PackageKey::new(ecosystem, source, url, None));
        let file = put(&path, text.as_bytes())?;
        // In another order than they were written.
        let age = 3600 + u64::from(number) * 7919 % u64::from(count) * 10;
        file.set_times(FileTimes::new().set_modified(now - Duration::from_secs(age)))?;
    }
    Ok(())
}

/// How many entries and bodies there are.
pub(super) fn files(folder: &Utf8Path) -> io::Result<u64> {
    let packages = store(folder)?.packages();
    let mut count = fs::read_dir(packages.blobs().folder())?.count() as u64;
    for source in fs::read_dir(packages.entries())? {
        for shard in fs::read_dir(source?.path())? {
            count += fs::read_dir(shard?.path())?.count() as u64;
        }
    }
    Ok(count)
}

/// Images of two layers each, of which one is shared.
pub(super) fn images(folder: &Utf8Path, count: u32) -> io::Result<()> {
    let images = store(folder)?.images();
    images.prepare().map_err(io::Error::other)?;
    let blob = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        put(&images.blobs().path(&digest), bytes).map(|_| (digest, bytes.len()))
    };
    let bases = (0..20).map(|it| blob(format!("base {it}").as_bytes())).collect::<io::Result<Vec<_>>>()?;
    let layer = |(digest, size): (Digest, usize)| serde_json::json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+zstd", "digest": digest, "size": size});
    for (number, base) in (0..count).zip(bases.into_iter().cycle()) {
        let own = blob(format!("layer {number}").as_bytes())?;
        let diff_ids = [base.0, own.0];
        let config = serde_json::json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let (digest, size) = blob(config.to_string().as_bytes())?;
        let config = serde_json::json!({"mediaType": CONFIG, "digest": digest, "size": size});
        let layers = [layer(base), layer(own)];
        let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        let (digest, size) = blob(manifest.to_string().as_bytes())?;
        let text = format!(
            "version = 1\nmedia-type = \"{MANIFEST}\"\ndigest = \"{digest}\"\nsize = {size}\nnames = \
             [\"app{app}:v{number}\"]\nbuild-seconds = 12.5\nsaved = \"2026-01-02T03:04:05Z\"\nimage = \"app{app}\"\n",
            app = number % 500,
        );
        put(&images.folder().join("keys").join(key(number)), text.as_bytes())?;
    }
    Ok(())
}

fn key(number: u32) -> String {
    Digest::of(&number.to_le_bytes()).hex()
}

/// So many hits in thirty days, as imgtar notes them.
pub(super) fn events(folder: &Utf8Path, count: u32) -> io::Result<()> {
    let events = store(folder)?.events();
    for number in 0..count {
        let day = 1 + u64::from(number) * u64::from(DAYS) / u64::from(count);
        let time = format!("2026-04-{day:02}T03:{:02}:{:02}Z", number / 60 % 60, number % 60);
        let time = time.parse().map_err(io::Error::other)?;
        let key: Key = key(number % KEYS).parse().map_err(io::Error::other)?;
        let hit = Event { seconds: Some(12.5), ..Event::new("imgtar", Kind::Hit, &key, time) };
        events.record(&hit).map_err(io::Error::other)?;
    }
    uses(folder, count)
}

/// As many hits of packages, of fifty times as many keys, as pkgcache notes them: some each minute.
fn uses(folder: &Utf8Path, count: u32) -> io::Result<()> {
    let uses = store(folder)?.packages().uses();
    let a_minute = 1000.min(count.max(1));
    for minute in 0..count / a_minute {
        let day = 1 + u64::from(minute) * u64::from(DAYS) / u64::from((count / a_minute).max(1));
        let time = format!("2026-04-{day:02}T03:{:02}:00Z", minute % 60).parse().map_err(io::Error::other)?;
        let hit = |number: u32| Event {
            key: Some(PackageId::of(&Digest::of(&(number % (KEYS * 50)).to_le_bytes())).to_string()),
            ..Event::counted("pkgcache", Kind::Hit, 1, 100_000, time)
        };
        let hits: Vec<_> = (minute * a_minute..(minute + 1) * a_minute).map(hit).collect();
        uses.record_counts(&hits).map_err(io::Error::other)?;
    }
    Ok(())
}
