//! A signed repository of RPM packages, and a dnf of a test's own.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use larder_tests::http::Site;
use larder_tests::{Ran, Session};

use crate::served::Cache;

/// Makes a package: `$1` is its name, `$2` its version.
const BUILD: &str = r#"
set -e
rm -rf build; mkdir build
(echo $1 $2; seq 90000) >build/data
cat >build/a.spec <<E
Name: $1
Version: $2
Release: 1
Summary: test
License: MIT
BuildArch: noarch
%description
test
%install
mkdir -p %{buildroot}/usr/share/$1
cp $PWD/build/data %{buildroot}/usr/share/$1/
%files
/usr/share/$1
E
rpmbuild -bb --quiet --define "_topdir $PWD/build" --define "_binary_payload w0.gzdio" \
    --define "_rpmdir $PWD/repo/Packages" --define "_rpmfilename $1/%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm" build/a.spec
"#;

/// Makes the indexes and signs them. `$1` are the options of `createrepo_c`, `$2` is the key.
const PUBLISH: &str = r"
set -e
rm -rf repo/repodata
createrepo_c -q $1 repo
gpg --homedir gnupg --batch --yes -u $2@localhost -ab -o repo/repodata/repomd.xml.asc repo/repodata/repomd.xml
gpgconf --homedir gnupg --kill gpg-agent
";

/// The packages that were made, by their paths.
static BUILT: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());

pub(super) const REPOMD: &str = "/fedora/39/repodata/repomd.xml";
pub(super) const SIGNATURE: &str = "/fedora/39/repodata/repomd.xml.asc";

/// How the client gets to the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Proxy,
    Mount,
}

/// A signed repository on a site.
pub(super) struct Repository<'a> {
    pub(super) session: &'a Session,
    pub(super) site: Site,
    /// Whether indexes have their checksums in their names.
    pub(super) by_hash: bool,
    /// What is on the site.
    pub(super) files: BTreeMap<String, Vec<u8>>,
}

impl<'a> Repository<'a> {
    /// One with two packages. Their version has a `+`, which clients send in two ways.
    pub(super) fn new(session: &'a Session, by_hash: bool) -> Self {
        session.write("build.sh", BUILD);
        session.write("publish.sh", PUBLISH);
        let keys = ["right", "wrong"].map(|name| {
            format!(
                "gpg --homedir gnupg --batch --passphrase '' --quick-gen-key {name}@localhost ed25519 sign never && \
                 gpg --homedir gnupg --armor --export {name}@localhost >{name}.asc"
            )
        });
        session.run(&format!("mkdir -m 700 gnupg && {}", keys.join(" && "))).ok();
        let mut repository = Self { session, site: Site::new(), by_hash, files: BTreeMap::new() };
        repository.add("hello", "1.0+b1");
        repository.add("other", "1.0+b1");
        repository.publish("right");
        repository
    }

    /// Makes a package; one that another test has made is that one.
    pub(super) fn add(&self, name: &str, version: &str) {
        let path = format!("repo/Packages/{name}/{name}-{version}-1.noarch.rpm");
        let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = built.entry(path.clone()).or_insert_with(|| {
            self.session.run(&format!("sh build.sh {name} {version}")).ok();
            fs::read(self.session.path(&path)).unwrap()
        });
        self.session.write(&path, bytes);
    }

    /// Makes the indexes and puts everything on the site in the place of what was there.
    pub(super) fn publish(&mut self, key: &str) {
        let options = if self.by_hash {
            "--no-database"
        } else {
            "--simple-md-filenames --no-database --general-compress-type=xz"
        };
        self.session.run(&format!("sh publish.sh '{options}' {key}")).ok();
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
    pub(super) fn replace(&mut self, name: &str, version: &str) {
        fs::remove_dir_all(self.session.path("repo/Packages").join(name)).unwrap();
        self.add(name, version);
        self.publish("right");
    }

    fn settings(&self, more: &str, mount: &str) -> String {
        let authority = self.site.authority();
        format!(
            "allow = [\"{authority}\"]\n{more}[pkgcache.upstream]\n\
             fedora = {{ url = \"http://{authority}/fedora/\", kind = \"dnf\"{mount} }}\n"
        )
    }

    /// A cache that checks signatures.
    pub(super) fn checked(&self, more: &str) -> Cache<'a> {
        Cache::start(self.session, &self.settings(more, ", keyring = \"right.asc\""))
    }

    /// One that does not.
    pub(super) fn unchecked(&self, more: &str) -> Cache<'a> {
        Cache::start(self.session, &self.settings(more, ""))
    }

    /// A dnf that has nothing yet, and checks the signature of repomd.xml.
    pub(super) fn client(&self, cache: &Cache<'_>, door: Door, name: &str) -> Dnf<'a> {
        let from = match door {
            Door::Proxy => format!("{}/fedora/$releasever", self.site.url()),
            Door::Mount => format!("{}/fedora/$releasever/", cache.url()),
        };
        let proxy = if door == Door::Proxy { format!("proxy={}\n", cache.url()) } else { String::new() };
        self.client_of(name, &format!("baseurl={from}\n{proxy}"))
    }

    /// The same with a repository that is said so.
    pub(super) fn client_of(&self, name: &str, repository: &str) -> Dnf<'a> {
        let folder = self.session.path("clients").join(name);
        let _ = fs::remove_dir_all(&folder);
        let key = self.session.path("right.asc");
        larder_tests::write(
            folder.join("dnf.conf"),
            format!(
                "[main]\ninstallroot={folder}/root\ncachedir=/cache\npersistdir=/persist\nlogdir={folder}\n\
                 reposdir={folder}/none\nvarsdir={folder}/none\npluginpath={folder}/none\n\
                 pluginconfpath={folder}/none\nretries=1\ngpgcheck=0\n\
                 [t]\nname=t\nrepo_gpgcheck=1\ngpgkey=file://{key}\n{repository}"
            ),
        );
        Dnf { session: self.session, folder }
    }

    /// The path of a package on the site.
    pub(super) fn rpm(&self, name: &str) -> String {
        let of = |path: &&String| path.contains(&format!("/Packages/{name}/"));
        self.files.keys().find(of).unwrap().clone()
    }

    /// The paths of the indexes that repomd.xml names.
    pub(super) fn indexes(&self) -> Vec<String> {
        let is_index = |path: &&String| path.contains("/repodata/") && !path.contains("/repomd.xml");
        self.files.keys().filter(is_index).cloned().collect()
    }
}

fn read(root: &Utf8Path, folder: &Utf8Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in folder.read_dir_utf8().unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            read(root, path, files);
        } else {
            files.insert(format!("/fedora/39/{}", path.strip_prefix(root).unwrap()), fs::read(path).unwrap());
        }
    }
}

/// A dnf with a state of its own.
pub(super) struct Dnf<'a> {
    session: &'a Session,
    folder: Utf8PathBuf,
}

impl Dnf<'_> {
    pub(super) fn line(&self, words: &str) -> String {
        format!("HOME={0} dnf -q -y -c {0}/dnf.conf --releasever=39 {words}", self.folder)
    }

    /// Runs it. Whatever becomes of it, what came is never something else than its index says.
    #[track_caller]
    fn run(&self, words: &str) -> Ran {
        checked(self.session.run(&self.line(words)))
    }

    #[track_caller]
    pub(super) fn update(&self) -> Ran {
        self.run("makecache")
    }

    #[track_caller]
    pub(super) fn install(&self, name: &str) -> Ran {
        self.run(&install(name))
    }

    /// Updates and installs, and has the very packages of the repository then.
    #[track_caller]
    pub(super) fn works(&self) {
        self.update().ok();
        self.install("hello other").ok();
        self.has_all();
    }

    #[track_caller]
    pub(super) fn has_all(&self) {
        let same = "for rpm in $(find root -name '*.rpm'); do cmp $rpm ../../repo/Packages/*/$(basename $rpm) || exit 1; done";
        let count = "[ $(find root -name '*.rpm' | wc -l) = 2 ]";
        self.session.run(&format!("cd {} && {same} && {count}", self.folder)).ok();
    }
}

pub(super) fn install(name: &str) -> String {
    format!("install --downloadonly {name}")
}

#[track_caller]
pub(super) fn checked(ran: Ran) -> Ran {
    for words in ["signature verification error", "Bad GPG signature", "doesn't match"] {
        assert!(!format!("{ran}").contains(words), "{ran}");
    }
    ran
}
