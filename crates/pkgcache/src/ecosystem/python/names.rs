//! Names of projects, and what the name of a file tells of its project.
//!
//! Source: The Python packaging guide's "Names and normalization", "Binary distribution format",
//! "Source distribution format" and "Version specifiers" (PEP 440, appendix B).

/// What the name of a file tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileName {
    /// The project, normalized.
    pub(crate) project: String,
    /// The version, as the name has it.
    pub(crate) version: String,
    /// What comes last in the name of a wheel: the platform.
    pub(crate) platform: Option<String>,
}

/// Endings of what a project may release. A name without one is not that of a release.
const SOURCES: [&str; 11] =
    [".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz", ".tar.Z", ".exe", ".msi", ".rpm", ".deb", ".dmg"];

/// The name of a project as pages have it: lower case, and runs of `-`, `_` and `.` are one `-`.
#[must_use]
pub(crate) fn normalized(name: &str) -> String {
    let mut written = String::with_capacity(name.len());
    for c in name.chars() {
        if !matches!(c, '-' | '_' | '.') {
            written.push(c.to_ascii_lowercase());
        } else if !written.ends_with('-') {
            written.push('-');
        }
    }
    written
}

/// Whether a project can have this name: letters and digits, with `-`, `_` and `.` between them.
#[must_use]
pub(super) fn is_valid(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let ends = [name.bytes().next(), name.bytes().next_back()];
    name.len() <= 200
        && name.bytes().all(inner)
        && ends.iter().all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric()))
}

/// Whether the name ends as those of releases do.
#[must_use]
pub(super) fn is_release(name: &str) -> bool {
    [".whl", ".egg", "-variants.json"].iter().chain(&SOURCES).any(|ending| name.ends_with(ending))
}

/// What the name of a released file tells; `None` where it is not one, or has a word such as
/// `latest` where the version should be: that file may change.
#[must_use]
pub(crate) fn of_file(name: &str) -> Option<FileName> {
    if let Some(stem) = name.strip_suffix(".whl") {
        let (project, rest) = stem.split_once('-')?;
        let (version, tags) = rest.split_once('-')?;
        let platform = tags.rsplit('-').next().map(str::to_owned);
        return told(project, version, platform);
    }
    if let Some(stem) = name.strip_suffix(".egg") {
        let (project, rest) = stem.split_once('-')?;
        return told(project, rest.split('-').next()?, None);
    }
    if let Some(stem) = name.strip_suffix("-variants.json") {
        let (project, version) = stem.split_once('-')?;
        return told(project, version, None);
    }
    let stem = SOURCES.iter().find_map(|ending| name.strip_suffix(ending))?;
    let (project, version) = source(stem)?;
    told(project, version, None)
}

fn told(project: &str, version: &str, platform: Option<String>) -> Option<FileName> {
    let version_like = |byte: u8| byte.is_ascii_alphanumeric() || b".!+_-~".contains(&byte);
    let numbered = version.trim_start_matches(['v', 'V']).starts_with(|c: char| c.is_ascii_digit());
    (is_valid(project) && numbered && version.bytes().all(version_like)).then(|| FileName {
        project: normalized(project),
        version: version.to_owned(),
        platform,
    })
}

/// Where the name ends and the version begins. Old releases have `-` in both, so what counts is
/// the first place behind which there is a version and nothing else; then, for the names of
/// installers, the first one behind which there is a digit.
fn source(stem: &str) -> Option<(&str, &str)> {
    let cuts = || stem.match_indices('-').filter_map(|(at, _)| Some((stem.get(..at)?, stem.get(at + 1..)?)));
    cuts()
        .find(|(_, version)| is_version(version))
        .or_else(|| cuts().find(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit())))
}

/// Whether the whole text is a version.
fn is_version(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let mut rest = text.strip_prefix('v').unwrap_or(&text);
    if let Some((epoch, behind)) = rest.split_once('!') {
        if digits(epoch) != Some("") {
            return false;
        }
        rest = behind;
    }
    let Some(mut rest) = release(rest) else { return false };
    rest = labelled(rest, &["alpha", "beta", "preview", "pre", "rc", "a", "b", "c"]);
    rest = rest.strip_prefix('-').and_then(digits).unwrap_or_else(|| labelled(rest, &["post", "rev", "r"]));
    rest = labelled(rest, &["dev"]);
    rest.is_empty() || rest.strip_prefix('+').is_some_and(is_local)
}

/// What follows `N(.N)*`.
fn release(text: &str) -> Option<&str> {
    let mut rest = digits(text)?;
    while let Some(behind) = rest.strip_prefix('.').and_then(digits) {
        rest = behind;
    }
    Some(rest)
}

/// What follows one or more digits.
fn digits(text: &str) -> Option<&str> {
    let behind = text.trim_start_matches(|c: char| c.is_ascii_digit());
    (behind.len() < text.len()).then_some(behind)
}

/// What follows one of the labels with its separators and its number, where there is one.
fn labelled<'t>(text: &'t str, labels: &[&str]) -> &'t str {
    let separated = |text: &'t str| text.strip_prefix(['-', '_', '.']).unwrap_or(text);
    let Some(behind) = labels.iter().find_map(|label| separated(text).strip_prefix(label)) else {
        return text;
    };
    digits(separated(behind)).unwrap_or(behind)
}

fn is_local(text: &str) -> bool {
    let whole = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    text.split(['-', '_', '.']).all(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn tells(file: &str, project: &str, version: &str) {
        let told = of_file(file).unwrap();
        assert_eq!((told.project.as_str(), told.version.as_str()), (project, version), "{file}");
    }

    #[test]
    fn names_have_one_form() {
        for name in ["zope.interface", "Zope_Interface", "zope--interface", "zope-_.interface"] {
            assert_eq!(normalized(name), "zope-interface");
        }
        assert!(is_valid("A") && is_valid("a_b-1") && is_valid("3to2"));
        for wrong in ["", "-a", "a-", "a b", "..", "ä", "a\n", "a/b", "a%20b"] {
            assert!(!is_valid(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_wheel_tells_its_project_and_platform() {
        tells("Zope.Interface-5.4.0-cp39-cp39-win_amd64.whl", "zope-interface", "5.4.0");
        tells("torch-2.9.0+cpu-cp312-cp312-manylinux_2_28_x86_64.whl", "torch", "2.9.0+cpu");
        tells("a-1!2.0-3_build-py3-none-any.whl", "a", "1!2.0");
        let platform = of_file("a-1-py3-none-any.whl").unwrap().platform;
        assert_eq!(platform.as_deref(), Some("any"));
    }

    #[test]
    fn a_source_release_may_have_dashes_anywhere() {
        tells("python-dateutil-2.8.2.tar.gz", "python-dateutil", "2.8.2");
        tells("a-1.0-1.tar.gz", "a", "1.0-1");
        tells("a-1.0-beta-2.zip", "a", "1.0-beta-2");
        tells("pytest-3-helper-1.0.post1.dev3+local.7.tar.gz", "pytest-3-helper", "1.0.post1.dev3+local.7");
        tells("backports-2to3-1.0rc1.tgz", "backports-2to3", "1.0rc1");
        tells("a-0.5.0.win32-py2.7.exe", "a", "0.5.0.win32-py2.7");
        tells("Foo_Bar-0.1-py2.7.egg", "foo-bar", "0.1");
        tells("a-v1.0.tar.gz", "a", "v1.0");
        tells("a_b-1.0-variants.json", "a-b", "1.0");
    }

    #[test]
    fn other_files_tell_nothing() {
        for file in [
            "",
            "a",
            "a.whl",
            "a-1.whl",
            "index.html",
            "a-1.json",
            ".tar.gz",
            "-.tar.gz",
            "a-.zip",
            "a-latest.zip",
        ] {
            assert_eq!(of_file(file), None, "{file}");
        }
        assert_eq!(of_file("a-main-py3-none-any.whl"), None);
        assert_eq!(of_file("a-1%00.zip"), None);
    }
}
