//! The forms of files that name packages, and how one is told from another.

/// A form of file that names packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `Cargo.lock`, of any version.
    Cargo,
    /// npm's `package-lock.json` and `npm-shrinkwrap.json`, versions 1 to 3.
    Npm,
    /// `pnpm-lock.yaml`, versions 5 to 9.
    Pnpm,
    /// `yarn.lock`, of yarn 1 and of later ones.
    Yarn,
    /// pip's `requirements.txt`, as far as its versions are pinned.
    Requirements,
    /// `uv.lock`.
    Uv,
    /// `pylock.toml`, `pylock.NAME.toml` (PEP 751).
    Pylock,
    /// `poetry.lock` and `pdm.lock`.
    Poetry,
    /// References to images, one a line.
    Images,
    /// Names of packages for apt, one a line, with `=VERSION` or without.
    Debs,
    /// A bill of materials: `CycloneDX` or SPDX, in JSON.
    Sbom,
    /// `go.sum`.
    Go,
}

/// The names by which `--as` knows them.
const NAMES: [(Form, &str); 12] = [
    (Form::Cargo, "cargo"),
    (Form::Npm, "npm"),
    (Form::Pnpm, "pnpm"),
    (Form::Yarn, "yarn"),
    (Form::Requirements, "requirements"),
    (Form::Uv, "uv"),
    (Form::Pylock, "pylock"),
    (Form::Poetry, "poetry"),
    (Form::Images, "images"),
    (Form::Debs, "apt"),
    (Form::Sbom, "sbom"),
    (Form::Go, "go"),
];

impl Form {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.into_iter().map(|(form, _)| form)
    }

    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(form, _)| *form == self).map_or("", |(_, name)| name)
    }

    /// The one that a file has, by its name and, where that is anything's, by how it begins.
    #[must_use]
    pub fn of(file: &str, text: &str) -> Option<Self> {
        let lower = file.to_ascii_lowercase();
        match lower.as_str() {
            "cargo.lock" => return Some(Self::Cargo),
            "package-lock.json" | "npm-shrinkwrap.json" | ".package-lock.json" => return Some(Self::Npm),
            "pnpm-lock.yaml" => return Some(Self::Pnpm),
            "yarn.lock" => return Some(Self::Yarn),
            "go.sum" | "go.work.sum" => return Some(Self::Go),
            "uv.lock" => return Some(Self::Uv),
            "poetry.lock" | "pdm.lock" => return Some(Self::Poetry),
            "images.txt" => return Some(Self::Images),
            "apt.txt" => return Some(Self::Debs),
            _ => {}
        }
        let ends = |ending: &str| lower.ends_with(ending);
        if lower.starts_with("pylock.") && ends(".toml") {
            return Some(Self::Pylock);
        }
        if (lower.contains("requirements") || lower.contains("constraints")) && (ends(".txt") || ends(".in"))
        {
            return Some(Self::Requirements);
        }
        let begins = text.trim_start().get(..4096.min(text.trim_start().len())).unwrap_or(text);
        let is_sbom =
            ["\"bomFormat\"", "\"spdxVersion\"", "\"@context\""].iter().any(|it| begins.contains(it));
        (ends(".json") && (is_sbom || ends(".cdx.json") || ends(".spdx.json"))).then_some(Self::Sbom)
    }
}
