//! Which files are for a machine.
//!
//! Source: The Python packaging guide's "Platform compatibility tags"; npm's `os`, `cpu` and `libc`
//! of package.json.

use std::fmt;
use std::str::FromStr;

use storekit::Platform;
use thiserror::Error;

use crate::locked::Machines;

/// A version of Python's: 3 and 12.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Python {
    major: u8,
    minor: u8,
}

/// Text that is not a version of Python's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a version of Python: write `3.12`")]
pub struct NotAPython(String);

impl FromStr for Python {
    type Err = NotAPython;

    fn from_str(text: &str) -> Result<Self, NotAPython> {
        let read = |text: &str| {
            let (major, minor) = text.split_once('.')?;
            Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
        };
        read(text).ok_or_else(|| NotAPython(text.to_owned()))
    }
}

impl fmt::Display for Python {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The machine that is to install what is brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    pub(super) platform: Platform,
    python: Option<Python>,
}

impl Machine {
    /// Of this platform, and this version of Python; any, where none is said.
    #[must_use]
    pub fn new(platform: Platform, python: Option<Python>) -> Self {
        Self { platform, python }
    }

    /// Whether npm's package is for it.
    #[must_use]
    pub(super) fn takes(&self, machines: &Machines) -> bool {
        let os = match self.platform.os() {
            "windows" => "win32",
            os => os,
        };
        let cpu = match self.platform.architecture() {
            "amd64" => "x64",
            "386" => "ia32",
            cpu => cpu,
        };
        // Which C library an image has, its platform does not say.
        is_in(&machines.os, os) && is_in(&machines.cpu, cpu)
    }

    /// Whether the file is a wheel that it can install.
    #[must_use]
    pub(super) fn takes_wheel(&self, name: &str) -> bool {
        let Some(stem) = name.strip_suffix(".whl") else { return false };
        let mut tags = stem.rsplit('-');
        let (Some(platforms), Some(abi), Some(pythons)) = (tags.next(), tags.next(), tags.next()) else {
            return false;
        };
        let python = self.python.is_none_or(|own| pythons.split('.').any(|tag| serves(tag, abi, own)));
        python && platforms.split('.').any(|tag| self.is_platform(tag))
    }

    fn is_platform(&self, tag: &str) -> bool {
        let (os, architecture) = (self.platform.os(), self.platform.architecture());
        let named = match architecture {
            "amd64" => "x86_64",
            "arm64" => "aarch64",
            "386" => "i686",
            "arm" => "armv7l",
            other => other,
        };
        let is_for = |name: &str| tag.strip_suffix(name).is_some_and(|it| it.ends_with('_'));
        tag == "any"
            || match os {
                "linux" => {
                    ["manylinux", "musllinux", "linux"].iter().any(|it| tag.starts_with(it)) && is_for(named)
                }
                "darwin" => {
                    let named = if architecture == "arm64" { "arm64" } else { named };
                    tag.starts_with("macosx") && (is_for(named) || is_for("universal2"))
                }
                "windows" => match architecture {
                    "386" => tag == "win32",
                    other => tag == format!("win_{other}"),
                },
                _ => false,
            }
    }
}

/// Whether a list of npm's names it: all that are named, or all but those with a `!`.
fn is_in(list: &[String], own: &str) -> bool {
    let is_refused = list.iter().any(|it| it.strip_prefix('!') == Some(own));
    let mut named = list.iter().filter(|it| !it.starts_with('!')).peekable();
    !is_refused && (named.peek().is_none() || named.any(|it| it == own || it == "any"))
}

/// Whether a wheel with this tag of Python, and this one of its interface, can be used.
fn serves(tag: &str, abi: &str, own: Python) -> bool {
    let split = tag.find(|c: char| c.is_ascii_digit()).and_then(|at| tag.split_at_checked(at));
    let Some((kind, digits)) = split else { return false };
    let (major, minor) = digits.split_at_checked(1).unwrap_or((digits, ""));
    let (Ok(major), minor) = (major.parse::<u8>(), minor.parse::<u8>().ok()) else { return false };
    if major != own.major {
        return false;
    }
    match (kind, minor) {
        (_, None) => true,
        // What is written for an older one, or keeps to the stable interface.
        ("py", Some(minor)) => minor <= own.minor,
        ("cp", Some(minor)) => {
            minor == own.minor
                || (abi.split('.').any(|it| it == "abi3" || it == "none") && minor <= own.minor)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(platform: &str, python: Option<&str>) -> Machine {
        Machine::new(platform.parse().unwrap(), python.map(|it| it.parse().unwrap()))
    }

    #[test]
    fn wheels_are_for_machines_and_versions() {
        let linux = machine("linux/amd64", Some("3.12"));
        for (name, takes) in [
            ("a-1-py3-none-any.whl", true),
            ("a-1-py2.py3-none-any.whl", true),
            ("a-1-py2-none-any.whl", false),
            ("a-1-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", true),
            ("a-1-cp312-cp312-musllinux_1_2_x86_64.whl", true),
            ("a-1-cp312-cp312-manylinux_2_17_aarch64.whl", false),
            ("a-1-cp311-cp311-manylinux_2_17_x86_64.whl", false),
            ("a-1-cp38-abi3-manylinux_2_17_x86_64.whl", true),
            ("a-1-cp313-abi3-manylinux_2_17_x86_64.whl", false),
            ("a-1-1-cp312-cp312-linux_x86_64.whl", true),
            ("a-1-cp312-cp312-win_amd64.whl", false),
            ("a-1.tar.gz", false),
            ("a.whl", false),
        ] {
            assert_eq!(linux.takes_wheel(name), takes, "{name}");
        }
        assert!(machine("darwin/arm64", None).takes_wheel("a-1-cp39-cp39-macosx_11_0_universal2.whl"));
        assert!(machine("windows/amd64", None).takes_wheel("a-1-cp39-cp39-win_amd64.whl"));
        assert!(machine("linux/arm64", None).takes_wheel("a-1-cp39-cp39-manylinux2014_aarch64.whl"));
        assert!("3".parse::<Python>().is_err() && "x.1".parse::<Python>().is_err());
    }

    #[test]
    fn npm_names_systems_and_processors() {
        let list = |words: &[&str]| words.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let machines =
            |os: &[&str], cpu: &[&str]| Machines { os: list(os), cpu: list(cpu), libc: Vec::new() };
        let linux = machine("linux/amd64", None);
        for (os, cpu, takes) in [
            (&[][..], &[][..], true),
            (&["linux"], &["x64"], true),
            (&["darwin", "linux"], &[], true),
            (&["darwin"], &["x64"], false),
            (&["!win32"], &[], true),
            (&["!linux"], &[], false),
            (&[], &["arm64"], false),
            (&["any"], &[], true),
        ] {
            assert_eq!(linux.takes(&machines(os, cpu)), takes, "{os:?} {cpu:?}");
        }
    }
}
