//! A signed repository, and an apt of a test's own.

use std::collections::BTreeMap;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use larder_tests::http::Site;
use larder_tests::{Ran, Session};

use crate::served::Cache;

/// Makes the indexes of `repo/pool` and signs their release. `$1` says whether indexes are there by
/// their hashes, `$2` is the key.
const PUBLISH: &str = r#"
set -e
cd repo
suite=dists/stable; folder=$suite/main/binary-amd64
rm -rf dists; mkdir -p $folder
apt-ftparchive packages pool >$folder/Packages
gzip -kn $folder/Packages; xz -k $folder/Packages
field=APT::FTPArchive::Release
apt-ftparchive -o $field::Suite=stable -o $field::Codename=stable -o $field::Architectures=amd64 \
    -o $field::Components=main -o $field::Acquire-By-Hash=$1 release $suite >Release
mv Release $suite/
if [ $1 = yes ]; then
    for kind in SHA256:sha256sum SHA512:sha512sum; do
        mkdir -p $folder/by-hash/${kind%:*}
        for file in $folder/Packages*; do
            cp $file $folder/by-hash/${kind%:*}/$(${kind#*:} $file | cut -d' ' -f1)
        done
    done
fi
sign="gpg --homedir ../gnupg --batch --yes -u $2@localhost"
$sign --clearsign -o $suite/InRelease $suite/Release
$sign -ab -o $suite/Release.gpg $suite/Release
gpgconf --homedir ../gnupg --kill gpg-agent
"#;

pub(crate) const INDEX: &str = "/debian/dists/stable/main/binary-amd64/Packages";
pub(crate) const RELEASE: &str = "/debian/dists/stable/InRelease";

/// How the client gets to the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Proxy,
    Mount,
}

/// A signed repository on a site.
pub(crate) struct Repository<'a> {
    pub(crate) session: &'a Session,
    pub(crate) site: Site,
    pub(crate) by_hash: bool,
    /// What is on the site.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

impl<'a> Repository<'a> {
    /// One with two packages. Their version has a `+`, which apt sends as `%2b`.
    pub(crate) fn new(session: &'a Session, by_hash: bool) -> Self {
        session.write("publish.sh", PUBLISH);
        let keys = ["right", "wrong"].map(|name| {
            format!(
                "gpg --homedir gnupg --batch --passphrase '' --quick-gen-key {name}@localhost ed25519 sign never && \
                 gpg --homedir gnupg --export {name}@localhost >{name}.gpg"
            )
        });
        session.run(&format!("mkdir -m 700 gnupg && {}", keys.join(" && "))).ok();
        let mut repository = Self { session, site: Site::new(), by_hash, files: BTreeMap::new() };
        repository.add("hello", "1.0+b1");
        repository.add("other", "1.0+b1");
        repository.publish("right");
        repository
    }

    /// Makes a package.
    pub(crate) fn add(&self, name: &str, version: &str) {
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: t <t@localhost>\nDescription: test\n"
        );
        self.session.write("deb/DEBIAN/control", control);
        self.session.write("deb/usr/share/data", format!("{name} {version}\n").repeat(5000));
        let folder = format!("repo/pool/main/{name}");
        let build =
            format!("dpkg-deb -Znone --root-owner-group --build deb {folder}/{name}_{version}_all.deb");
        self.session.run(&format!("mkdir -p {folder} && {build}")).ok();
    }

    /// Makes the indexes and puts everything on the site in the place of what was there.
    pub(crate) fn publish(&mut self, key: &str) {
        let by_hash = if self.by_hash { "yes" } else { "no" };
        self.session.run(&format!("sh publish.sh {by_hash} {key}")).ok();
        let root = self.session.path("repo");
        let mut files = BTreeMap::new();
        read(&root, &root, &mut files);
        for (path, bytes) in files.iter().filter(|(path, bytes)| self.files.get(*path) != Some(bytes)) {
            self.site.put(path, bytes.clone());
        }
        self.files.keys().filter(|path| !files.contains_key(*path)).for_each(|path| self.site.remove(path));
        self.files = files;
    }

    /// A new version of a package in the place of the old one: another generation.
    pub(crate) fn replace(&mut self, name: &str, version: &str) {
        fs::remove_dir_all(self.session.path("repo/pool/main").join(name)).unwrap();
        self.add(name, version);
        self.publish("right");
    }

    fn settings(&self, more: &str, mount: &str) -> String {
        let authority = self.site.authority();
        format!(
            "allow = [\"{authority}\"]\n{more}[pkgcache.upstream]\n\
             debian = {{ url = \"http://{authority}/debian\", kind = \"apt\"{mount} }}\n"
        )
    }

    /// A cache that checks signatures.
    pub(crate) fn checked(&self, more: &str) -> Cache<'a> {
        Cache::start(self.session, &self.settings(more, ", keyring = \"right.gpg\""))
    }

    /// One that does not.
    pub(crate) fn unchecked(&self, more: &str) -> Cache<'a> {
        Cache::start(self.session, &self.settings(more, ""))
    }

    /// An apt that has nothing yet.
    pub(crate) fn client(&self, cache: &Cache<'_>, door: Door, name: &str) -> Apt<'a> {
        let folder = self.session.path("clients").join(name);
        let _ = fs::remove_dir_all(&folder);
        let (from, proxy) = match door {
            Door::Proxy => (self.site.url(), format!("Acquire::http::Proxy \"{}\";\n", cache.url())),
            Door::Mount => (cache.url().to_owned(), String::new()),
        };
        let key = self.session.path("right.gpg");
        let put = |name: &str, text: String| larder_tests::write(folder.join(name), text);
        put("sources.list", format!("deb [signed-by={key}] {from}/debian stable main\n"));
        put("status", String::new());
        put("state/lists/partial/x", String::new());
        put("cache/archives/partial/x", String::new());
        put(
            "apt.conf",
            format!(
                "Dir::Etc \"{folder}/etc\";\nDir::Etc::Parts \"{folder}/none\";\n\
                 Dir::Etc::SourceList \"{folder}/sources.list\";\nDir::Etc::SourceParts \"{folder}/none\";\n\
                 Dir::Etc::Trusted \"{folder}/none\";\nDir::Etc::TrustedParts \"{folder}/none\";\n\
                 Dir::State \"{folder}/state\";\nDir::State::status \"{folder}/status\";\n\
                 Dir::Cache \"{folder}/cache\";\nDir::Log \"{folder}\";\nAPT::Sandbox::User \"root\";\n\
                 APT::Architecture \"amd64\";\nAPT::Architectures {{ \"amd64\"; }};\nAcquire::Languages \"none\";\n\
                 Acquire::Retries \"0\";\nAPT::Update::Error-Mode \"any\";\n{proxy}"
            ),
        );
        Apt { session: self.session, folder }
    }

    /// The path of a package on the site.
    pub(crate) fn deb(&self, name: &str) -> String {
        let of = |path: &&String| path.contains(&format!("/pool/main/{name}/"));
        self.files.keys().find(of).unwrap().clone()
    }
}

fn read(root: &Utf8Path, folder: &Utf8Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in folder.read_dir_utf8().unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            read(root, path, files);
        } else {
            files.insert(format!("/debian/{}", path.strip_prefix(root).unwrap()), fs::read(path).unwrap());
        }
    }
}

/// An apt with a state of its own.
pub(crate) struct Apt<'a> {
    session: &'a Session,
    folder: Utf8PathBuf,
}

impl Apt<'_> {
    pub(crate) fn line(&self, words: &str) -> String {
        format!("APT_CONFIG={}/apt.conf apt-get -q {words}", self.folder)
    }

    /// Runs it. Whatever becomes of it, what came is never something else than its index says.
    #[track_caller]
    fn run(&self, words: &str) -> Ran {
        checked(self.session.run(&self.line(words)))
    }

    #[track_caller]
    pub(crate) fn update(&self) -> Ran {
        self.run("update")
    }

    #[track_caller]
    pub(crate) fn install(&self, name: &str) -> Ran {
        self.run(&install(name))
    }

    /// Updates and installs, and has the very packages of the repository then.
    #[track_caller]
    pub(crate) fn works(&self) {
        self.update().ok();
        self.install("hello other").ok();
        self.has_all();
    }

    #[track_caller]
    pub(crate) fn has_all(&self) {
        let same = "for deb in cache/archives/*.deb; do cmp $deb ../../repo/pool/main/*/$(basename $deb) || exit 1; done";
        let count = "[ $(ls cache/archives/*.deb | wc -l) = 2 ]";
        self.session.run(&format!("cd {} && {same} && {count}", self.folder)).ok();
    }
}

pub(crate) fn install(name: &str) -> String {
    format!("install -y --download-only {name}")
}

#[track_caller]
pub(crate) fn checked(ran: Ran) -> Ran {
    assert!(!format!("{ran}").contains("Hash Sum mismatch"), "{ran}");
    ran
}
