//! A packument with links that stay on the mount, whole or abbreviated.

use std::io::Write;

use http::Uri;

use super::Variant;
use super::names::Name;
use super::packument;
use super::releases::Cut;
use crate::ecosystem::BadIndex;
use crate::ecosystem::base::Base;
use crate::ecosystem::json::{Editor, Fate, Path, Value, quoted};

/// What an abbreviated packument has. `time` is not in npm's own; clients that are to take no
/// version younger than some days need it, and ask for the full packument where it is missing.
const KEPT: [&str; 5] = ["name", "dist-tags", "versions", "modified", "time"];
/// What each of its versions has.
const KEPT_OF_VERSION: [&str; 21] = [
    "name",
    "version",
    "deprecated",
    "dependencies",
    "optionalDependencies",
    "devDependencies",
    "bundleDependencies",
    "bundledDependencies",
    "peerDependencies",
    "peerDependenciesMeta",
    "acceptDependencies",
    "bin",
    "directories",
    "dist",
    "engines",
    "os",
    "cpu",
    "libc",
    "funding",
    "hasInstallScript",
    "_hasShrinkwrap",
];
/// Scripts that run when a package is installed.
const INSTALLS: [&str; 3] = ["preinstall", "install", "postinstall"];
pub(super) const ATTESTATIONS: &str = "/-/npm/v1/attestations/";

/// Writes a packument.
pub(super) struct Render<'r> {
    name: Name,
    root: String,
    keeps_tarballs: bool,
    variant: Variant,
    cut: &'r Cut,
    out: &'r mut dyn Write,
    named: bool,
    /// When the package was changed last, by `time`, if nothing else says so.
    modified: Option<String>,
    says_modified: bool,
    version: Scripts,
}

/// What the version that is read has of scripts.
#[derive(Default)]
struct Scripts {
    /// Whether one runs when the package is installed.
    installs: bool,
    /// Whether the version says so itself.
    is_said: bool,
}

impl<'r> Render<'r> {
    /// # Errors
    /// [`BadIndex`], if the URL is not a packument's.
    pub(super) fn new(
        url: &Uri,
        base: &Base,
        variant: Variant,
        cut: &'r Cut,
        out: &'r mut dyn Write,
    ) -> Result<Self, BadIndex> {
        Ok(Self {
            name: packument::name(url)?,
            root: format!("{}{}", base.here, base.mount),
            keeps_tarballs: base.keeps_links,
            variant,
            cut,
            out,
            named: false,
            modified: None,
            says_modified: false,
            version: Scripts::default(),
        })
    }

    /// Whether the value is part of the variant.
    fn keeps(&self, path: &Path) -> bool {
        if self.cut.drops(path) {
            return false;
        }
        self.variant == Variant::Full
            || match path.depth() {
                1 => KEPT.contains(&path.last()),
                3 if path.name(0) == "versions" => KEPT_OF_VERSION.contains(&path.last()),
                _ => true,
            }
    }

    /// What stands in the place of a link.
    fn replaced(&self, path: &Path, value: Value<'_>) -> Result<Option<String>, BadIndex> {
        let Some(link) = packument::link(path, value)? else { return Ok(None) };
        if path.last() == "tarball" && self.keeps_tarballs {
            return Ok(None);
        }
        if path.last() == "tarball" {
            return Ok(Some(quoted(&format!("{}/{}", self.root, self.name.tarball(path.name(1))))));
        }
        // Others are not known to have the same behind them here.
        let behind = link.url.split_once(ATTESTATIONS).map(|(_, behind)| behind);
        Ok(behind.map(|behind| quoted(&format!("{}{ATTESTATIONS}{behind}", self.root))))
    }

    /// What an abbreviated version says of scripts that it leaves out.
    fn end_of_version(&mut self) -> Option<String> {
        let Scripts { installs, is_said } = std::mem::take(&mut self.version);
        (installs && !is_said).then(|| r#""hasInstallScript":true"#.to_owned())
    }

    fn end_of_packument(&mut self) -> Option<String> {
        let modified = self.modified.take().filter(|_| !self.says_modified)?;
        Some(format!(r#""modified":{}"#, quoted(&modified)))
    }
}

impl Editor for Render<'_> {
    fn fate(&mut self, path: &Path) -> Fate {
        let noted = self.variant == Variant::Abbreviated
            && (path.is(&["time", "modified"])
                || path.is(&["modified"])
                || path.is(&["versions", "*", "hasInstallScript"])
                || path.is(&["versions", "*", "scripts", "*"]));
        match packument::fate(path) {
            _ if !self.keeps(path) => Fate::Dropped,
            _ if path.is(&["dist-tags", "latest"]) && self.cut.latest().is_some() => Fate::Seen,
            Fate::Copied if noted => Fate::Seen,
            fate => fate,
        }
    }

    fn see(&mut self, path: &Path, value: Value<'_>) -> Result<Option<String>, BadIndex> {
        self.named |= packument::check(path, value, &self.name)?;
        match (path.depth(), path.last()) {
            (2, "latest") if path.name(0) == "dist-tags" => {
                return Ok(self.cut.latest().map(quoted));
            }
            (1, "modified") => self.says_modified = true,
            (2, "modified") if path.name(0) == "time" => {
                self.modified = packument::text(path, value)?.map(str::to_owned);
            }
            (3, "hasInstallScript") => self.version.is_said = true,
            (4, script) if path.name(2) == "scripts" => {
                self.version.installs |=
                    INSTALLS.contains(&script) && !matches!(value, Value::Text("") | Value::Null);
            }
            (4, "tarball") | (5, "url") => return self.replaced(path, value),
            _ => {}
        }
        Ok(None)
    }

    fn end(&mut self, path: &Path) -> Result<Option<String>, BadIndex> {
        if path.depth() == 0 {
            packument::finish(self.named)?;
        }
        Ok(match path.depth() {
            _ if self.variant == Variant::Full => None,
            0 => self.end_of_packument(),
            2 if path.name(0) == "versions" => self.end_of_version(),
            _ => None,
        })
    }

    fn copy(&mut self, bytes: &[u8]) -> Result<(), BadIndex> {
        Ok(self.out.write_all(bytes)?)
    }
}
