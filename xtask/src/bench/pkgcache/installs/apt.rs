//! apt, beside apt-cacher-ng; both are asked as proxies.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use larder::process::command::Cmd;
use larder::process::runner::RunError;
use larder_tests::http::Site;

use super::super::super::basics::{lost, sh};
use super::super::ground::{Ground, write};
use super::super::servers::{Server, low_port};
use super::case::{Client, Cold, Peer};
use super::packages;

/// Makes a signed repository in `site/debian` of the folders in `deb`, and its key.
const PUBLISH: &str = r#"
set -e
mkdir -m 700 gnupg
gpg="gpg --homedir gnupg --batch --yes"
$gpg --passphrase '' --quick-gen-key bench@localhost ed25519 sign never
$gpg --export bench@localhost >key.gpg
cd site/debian
mkdir -p pool/main
for package in ../../deb/*; do
    dpkg-deb -Znone --root-owner-group --build "$package" "pool/main/${package##*/}_1.0_all.deb"
done
folder=dists/stable/main/binary-amd64
mkdir -p $folder/by-hash/SHA256 $folder/by-hash/SHA512
apt-ftparchive packages pool >$folder/Packages
xz -k $folder/Packages
for index in $folder/Packages*; do
    cp $index $folder/by-hash/SHA256/$(sha256sum $index | cut -d' ' -f1)
    cp $index $folder/by-hash/SHA512/$(sha512sum $index | cut -d' ' -f1)
done
field=APT::FTPArchive::Release
apt-ftparchive -o $field::Suite=stable -o $field::Codename=stable -o $field::Architectures=amd64 \
    -o $field::Components=main -o $field::Acquire-By-Hash=yes release dists/stable >../../Release
cd ../..
$gpg --clearsign -o site/debian/dists/stable/InRelease Release
gpgconf --homedir gnupg --kill gpg-agent
"#;

/// apt with folders of its own. It downloads only: what follows is dpkg's work.
pub(super) struct Apt {
    site: Site,
    key: Utf8PathBuf,
    names: Vec<String>,
}

impl Client for Apt {
    const NAME: &str = "apt";
    const JOB: &str = "apt-get update and install --download-only,";
    const ROUNDS: usize = 15;
    const INSTALLED: &str = "none";
    const OWN_CACHE: f64 = 1.5;

    fn new(ground: &Ground<'_>) -> Result<Result<Self, String>, RunError> {
        for program in ["apt-get", "dpkg-deb", "apt-ftparchive", "gpg", "xz"] {
            if ground.find(program)?.is_err() {
                return Ok(Err(format!("needs {program}")));
            }
        }
        let mut names = Vec::new();
        for package in packages::all() {
            let name = package.name;
            let control = format!(
                "Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: t <t@localhost>\nDescription: bench\n"
            );
            ground.write(&format!("deb/{name}/DEBIAN/control"), control).map_err(lost)?;
            ground.write(&format!("deb/{name}/usr/share/{name}"), package.content).map_err(lost)?;
            names.push(name);
        }
        // apt-cacher-ng neither listens at higher ports nor asks them.
        let site = Site::on(low_port().map_err(lost)?);
        site.folder(&ground.folder.join("site"));
        std::fs::create_dir_all(ground.folder.join("site/debian")).map_err(lost)?;
        let script = sh(format!("cd \"$1\"; {PUBLISH}")).arg("sh").path(&ground.folder);
        if !ground.runner.ask(&script)?.0.success() {
            return Ok(Err("the repository could not be made".to_owned()));
        }
        Ok(Ok(Self { site, key: ground.folder.join("key.gpg"), names }))
    }

    fn site(&self) -> &Site {
        &self.site
    }

    fn settings(&self) -> String {
        format!(
            "[pkgcache.upstream]\ndebian = {{ url = \"{}/debian\", kind = \"apt\", keyring = \"{}\" }}\n",
            self.site.url(),
            self.key
        )
    }

    fn at_pkgcache(&self, url: &str) -> String {
        url.to_owned()
    }

    fn directly(&self) -> String {
        "DIRECT".to_owned()
    }

    fn peers(&self, ground: &Ground<'_>) -> Result<Vec<Peer>, RunError> {
        Ok(vec![Peer::new("apt-cacher-ng", cacher(ground), Server::url)?])
    }

    fn prepare(&self, folder: &Utf8Path, place: &str) -> io::Result<()> {
        let (key, url) = (&self.key, self.site.url());
        write(&folder.join("sources.list"), format!("deb [signed-by={key}] {url}/debian stable main\n"))?;
        write(&folder.join("status"), "")?;
        std::fs::create_dir_all(folder.join("state/lists/partial"))?;
        std::fs::create_dir_all(folder.join("cache/archives/partial"))?;
        let settings = format!(
            "Dir::Etc \"{folder}/etc\";\nDir::Etc::Parts \"{folder}/none\";\n\
             Dir::Etc::SourceList \"{folder}/sources.list\";\nDir::Etc::SourceParts \"{folder}/none\";\n\
             Dir::Etc::Trusted \"{folder}/none\";\nDir::Etc::TrustedParts \"{folder}/none\";\n\
             Dir::State \"{folder}/state\";\nDir::State::status \"{folder}/status\";\n\
             Dir::Cache \"{folder}/cache\";\nDir::Log \"{folder}\";\nAPT::Sandbox::User \"root\";\n\
             APT::Architecture \"amd64\";\nAPT::Architectures {{ \"amd64\"; }};\nAcquire::Languages \"none\";\n\
             Acquire::Retries \"0\";\nAPT::Update::Error-Mode \"any\";\nAcquire::http::Proxy \"{place}\";\n"
        );
        write(&folder.join("apt.conf"), settings)
    }

    fn line(&self, _: &str) -> String {
        let names = self.names.join(" ");
        format!(
            "APT_CONFIG=apt.conf sh -c 'apt-get -q update && apt-get -q install -y --download-only {names}'"
        )
    }

    fn cold(&self) -> Cold {
        let url = self.site.url();
        let index = |path: &str| format!("{url}/debian/dists/stable/{path}");
        let path = |name: &String| format!("/debian/pool/main/{name}_1.0_all.deb");
        Cold {
            indexes: vec![index("InRelease"), index("main/binary-amd64/Packages.xz")],
            files: self.names.iter().map(|name| (format!("{url}{}", path(name)), path(name))).collect(),
        }
    }
}

/// apt-cacher-ng as a proxy for any upstream; or why it does not run.
fn cacher(ground: &Ground<'_>) -> Result<Result<Server, String>, RunError> {
    let program = match ground.find("apt-cacher-ng")? {
        Ok(program) => program,
        Err(reason) => return Ok(Err(reason)),
    };
    let authority = low_port().and_then(|port| port.local_addr()).map_err(lost)?.to_string();
    let (host, port) = authority.split_once(':').unwrap_or_default();
    let folder = ground.folder.join("acng");
    for name in ["cache", "log"] {
        std::fs::create_dir_all(folder.join(name)).map_err(lost)?;
    }
    // Any port of an upstream is allowed.
    let settings = format!(
        "Port: {port}\nBindAddress: {host}\nCacheDir: {folder}/cache\nLogDir: {folder}/log\n\
         SupportDir: /usr/lib/apt-cacher-ng\nAllowUserPorts: 0\nForeGround: 1\n"
    );
    ground.write("acng/conf/acng.conf", settings).map_err(lost)?;
    let cmd = Cmd::new(program).arg("-c").path(&folder.join("conf"));
    Server::run(ground, "apt-cacher-ng", authority, &cmd).map(Ok)
}
