//! What apt asks for: the release of each suite, its lists of packages, and the packages with all
//! that they depend on.
//!
//! Limit: of several ways to meet a dependency the first one that can be had is taken, in the order
//! of the package's own list; apt may take another where a machine has that already. What the
//! machine has is not known here, so everything is brought.

mod packages;
mod resolve;
mod version;

use std::io::Cursor;

use storekit::{Checksum, printable};

use self::packages::Universe;
use super::{Bringer, Failure, Outcome, below};
use crate::clients::address;
use crate::clients::pointers::Mount;
use crate::ecosystem::apt::Packing;
use crate::ecosystem::{Ecosystem, apt};
use crate::locked::Locked;

/// A suite of a repository, and what is taken from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suite {
    /// The repository's address; nothing for every repository that is mounted.
    pub uri: Option<String>,
    /// The suite's name, or a folder with `/` at its end.
    pub name: String,
    /// Its components; `main` where none is named.
    pub components: Vec<String>,
    /// Whether what a package recommends comes with it.
    pub recommends: bool,
}

/// A package's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deb {
    label: String,
    target: String,
    checksum: Option<Checksum>,
}

/// What is to be fetched for a list of packages, and what cannot be.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    pub(super) files: Vec<Deb>,
    pub(super) outcomes: Vec<Outcome>,
}

/// The forms of a list, in the order in which apt prefers them.
const FORMS: [&str; 6] = [".xz", ".zst", ".gz", ".bz2", ".lzma", ""];

fn failed(label: String, problem: String) -> Outcome {
    Outcome { label, ecosystem: Ecosystem::Apt, problem: Some(problem), ..Outcome::default() }
}

/// Which files a list of packages needs. The lists themselves are here afterwards, too.
pub(super) async fn resolve(bringer: &Bringer, wanted: &[Locked], suites: &[Suite]) -> Resolved {
    let mut resolved = Resolved::default();
    let mut universe = Universe::default();
    for mount in bringer.here.mounts.iter().filter(|it| it.ecosystem == Ecosystem::Apt) {
        let is_of = |suite: &&Suite| suite.uri.as_ref().is_none_or(|uri| address::is_same(uri, &mount.url));
        for suite in suites.iter().filter(is_of) {
            if let Err(problem) = bringer.suite(mount, suite, &mut universe).await {
                resolved.outcomes.push(failed(printable(&suite.name).to_string(), problem));
            }
        }
    }
    if universe.is_empty() {
        let why = "no list of packages of a mounted repository could be read: mount one (`kind = \"apt\"`), and name \
                   its suite with `--suite` where this machine's apt does not";
        resolved.outcomes.extend(wanted.iter().map(|it| failed(it.label(), why.to_owned())));
        return resolved;
    }
    let recommends = suites.iter().any(|suite| suite.recommends);
    let (chosen, problems) = resolve::closure(&universe, wanted, recommends);
    resolved.outcomes.extend(problems.into_iter().map(|(label, problem)| failed(label, problem)));
    resolved.files.extend(chosen.into_iter().map(|package| Deb {
        label: format!("{} {}", printable(&package.name), printable(&package.version)),
        target: package.target.clone(),
        checksum: package.checksum,
    }));
    resolved
}

impl Bringer {
    pub(super) async fn deb(&self, deb: Deb) -> Outcome {
        let mut outcome = Outcome { label: deb.label, ecosystem: Ecosystem::Apt, ..Outcome::default() };
        outcome.problem = self.file(&mut outcome, &deb.target, "*/*", deb.checksum).await.err();
        outcome
    }

    /// Brings the release and the lists of a suite.
    async fn suite(&self, mount: &Mount, suite: &Suite, universe: &mut Universe) -> Result<(), Failure> {
        let folder = match suite.name.strip_suffix('/') {
            Some("." | "") => String::new(),
            Some(folder) => format!("/{}", folder.trim_start_matches("./")),
            None => format!("/dists/{}", suite.name),
        };
        let target = below(mount, &format!("{folder}/InRelease"));
        let document = self.client.document(&target, "text/*").await?;
        let release = apt::release(&mut Cursor::new(document)).map_err(|error| error.to_string())?;
        let machine = match self.machine.platform.architecture() {
            "386" => "i386",
            "arm" => "armhf",
            "ppc64le" => "ppc64el",
            other => other,
        };
        let mut lists: Vec<(String, bool)> = Vec::new();
        if suite.name.ends_with('/') {
            lists.push(("Packages".to_owned(), true));
        }
        for component in &suite.components {
            let all = release.has_lists_of_all.then_some("all");
            for architecture in [Some(machine), all].into_iter().flatten() {
                lists.push((format!("{component}/binary-{architecture}/Packages"), true));
            }
            lists.push((format!("{component}/i18n/Translation-en"), false));
        }
        let mut read = false;
        for (list, has_packages) in lists {
            let found = FORMS.iter().find_map(|form| {
                let path = format!("{list}{form}");
                release.files.iter().find(|(name, ..)| *name == path).map(|(name, ..)| name.clone())
            });
            let Some(name) = found else { continue };
            let path = by_hash(&release, &name);
            let document = self.client.document(&below(mount, &format!("{folder}/{path}")), "*/*").await?;
            if has_packages {
                let packing = apt::names_packages(&format!("{folder}/{name}"));
                let packing = packing.unwrap_or(Packing::Plain);
                let at = |file: &str| below(mount, &format!("/{file}"));
                universe.read(packing, &document, at).map_err(|error| error.to_string())?;
                read = true;
            }
        }
        if read { Ok(()) } else { Err(format!("the suite has no list of packages for {machine}")) }
    }
}

/// The path by which apt asks for a list: by its strongest checksum, where the release allows that.
fn by_hash(release: &apt::Release, name: &str) -> String {
    let checksums = release.files.iter().filter(|(it, ..)| it == name).map(|(.., checksum)| checksum);
    let Some(checksum) = checksums.max().filter(|_| release.by_hash) else { return name.to_owned() };
    let (algorithm, text) = (checksum.algorithm().to_ascii_uppercase(), checksum.to_string());
    let hex = text.split_once(':').map_or("", |(_, hex)| hex);
    let folder = name.rsplit_once('/').map(|(folder, _)| format!("{folder}/"));
    format!("{}by-hash/{algorithm}/{hex}", folder.unwrap_or_default())
}
