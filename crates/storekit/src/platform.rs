//! Platforms: one type, one normal form, one rule for what serves where another is wanted.
//!
//! The normal form is containerd's (`platforms.Normalize`), and nothing beyond it: where an engine
//! keeps two spellings apart, a key that does not would be a wrong hit. Names that no engine knows
//! (`i686`, `x64`) are therefore refused with the right one, not translated.
//!
//! Limit: an OS version (`windows(10.0.17763)/amd64`) is kept as a part of the OS, where it is
//! allowed at all.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Descriptor;
use crate::printable;

/// The machine that an image is for, in normal form: equal platforms have equal spelling.
///
/// In text `OS/ARCH[/VARIANT]`; in JSON the `platform` of an OCI descriptor, whatever spelling it
/// has there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct Platform {
    architecture: String,
    os: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
}

/// Text that is not a platform.
#[derive(Clone, Debug, PartialEq, Eq, Error, miette::Diagnostic)]
#[error("`{}` is not a platform: {reason}; {help}", printable(.text))]
#[diagnostic(code(storekit::not_a_platform))]
pub struct NotAPlatform {
    text: String,
    reason: String,
    // In the message, since a command line shows nothing else of a bad value.
    help: String,
}

/// What an OCI descriptor says.
#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    variant: Option<String>,
}

/// What people write and no engine knows, with what they mean.
const MISNOMERS: [(&str, &str); 12] = [
    ("x86", "386"),
    ("i486", "386"),
    ("i586", "386"),
    ("i686", "386"),
    ("x64", "amd64"),
    ("armv6", "arm/v6"),
    ("armv6l", "arm/v6"),
    ("armv7", "arm/v7"),
    ("armv7l", "arm/v7"),
    ("powerpc64le", "ppc64le"),
    ("loongarch64", "loong64"),
    ("mips64el", "mips64le"),
];

/// The names that a platform of one word may be, as containerd knows them.
const SYSTEMS: [&str; 17] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "zos",
];

impl Platform {
    /// The platform by its parts, which may have any spelling. An empty variant counts as none.
    #[must_use]
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let [os, arch, variant] =
            [os, architecture, variant.unwrap_or_default()].map(str::to_ascii_lowercase);
        let (architecture, variant) = normal(&arch, &variant);
        let os = if os == "macos" { "darwin".to_owned() } else { os };
        let variant = Some(variant).filter(|variant| !variant.is_empty());
        Self { architecture, os, variant }
    }

    /// Linux on this machine: what engines build for and run where nothing else is asked for.
    #[must_use]
    pub fn host() -> Self {
        let machine = rustix::system::uname();
        Self::of_machine(std::env::consts::ARCH, &machine.machine().to_string_lossy())
    }

    /// The platform by Rust's name of the architecture and, for arm, the kernel's name of the
    /// machine.
    fn of_machine(architecture: &str, machine: &str) -> Self {
        let little = cfg!(target_endian = "little");
        let variant = if machine.starts_with("armv6") { "v6" } else { "v7" };
        match architecture {
            "x86" => Self::new("linux", "386", None),
            "arm" => Self::new("linux", "arm", Some(variant)),
            "powerpc64" => Self::new("linux", if little { "ppc64le" } else { "ppc64" }, None),
            "loongarch64" => Self::new("linux", "loong64", None),
            "mips" if little => Self::new("linux", "mipsle", None),
            "mips64" if little => Self::new("linux", "mips64le", None),
            other => Self::new("linux", other, None),
        }
    }

    /// What a Dockerfile or an engine says, as containerd reads it: one word is an OS on this
    /// machine's architecture or an architecture under Linux, an OS may have a version, and any
    /// name is taken.
    ///
    /// # Errors
    /// Not of the form `OS[/ARCH[/VARIANT]]` or `ARCH`.
    pub fn of_engine(text: &str) -> Result<Self, NotAPlatform> {
        let parts = split(text, true)?;
        match parts[..] {
            [os] if SYSTEMS.contains(&Self::new(os, "", None).os()) => {
                let host = Self::host();
                Ok(Self::new(os, host.architecture(), host.variant()))
            }
            [architecture] => Ok(Self::new("linux", architecture, None)),
            [os, architecture, ref variant @ ..] => Ok(Self::new(os, architecture, variant.first().copied())),
            [] => Err(refusal(text, "it is empty")),
        }
    }

    /// The platform that a descriptor in an index announces.
    #[must_use]
    pub fn of(descriptor: &Descriptor) -> Option<Self> {
        serde_json::from_value(descriptor.other.get("platform")?.clone()).ok()
    }

    /// As in `GOOS`.
    #[must_use]
    pub fn os(&self) -> &str {
        &self.os
    }

    /// As in `GOARCH`.
    #[must_use]
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Such as `v7`; `None` where the architecture has its usual one (arm64's v8, amd64's v1).
    #[must_use]
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// Whether an image for this platform serves where `wanted` is: it is for that very platform,
    /// for an older variant (arm/v6 where arm/v7 is wanted), or no variant is wanted.
    #[must_use]
    pub fn matches(&self, wanted: &Self) -> bool {
        self.distance(wanted).is_some()
    }

    /// Whether an image whose config says this is one for this very platform, in whichever
    /// spelling. One that names no variant is for each of its architecture's.
    #[must_use]
    pub fn is_of_image(&self, os: &str, architecture: &str, variant: &str) -> bool {
        let own = Self::new(os, architecture, Some(variant));
        let is_same_machine = (&own.os, &own.architecture) == (&self.os, &self.architecture);
        is_same_machine && (variant.is_empty() || own == *self)
    }

    /// The items whose platform comes nearest to the wanted one: those for that very platform
    /// before those that [match](Self::matches) otherwise.
    pub fn nearest<T>(
        wanted: &Self,
        items: impl IntoIterator<Item = T>,
        of: impl Fn(&T) -> Option<Self>,
    ) -> Vec<T> {
        let far = |item: T| Some((of(&item)?.distance(wanted)?, item));
        let found: Vec<_> = items.into_iter().filter_map(far).collect();
        let least = found.iter().map(|(distance, _)| *distance).min();
        found.into_iter().filter(|(distance, _)| Some(*distance) == least).map(|(_, item)| item).collect()
    }

    /// 0 for the very platform, more the worse it serves, `None` where it does not.
    fn distance(&self, wanted: &Self) -> Option<u32> {
        if (&self.os, &self.architecture) != (&wanted.os, &wanted.architecture) {
            return None;
        }
        if self.variant == wanted.variant {
            return Some(0);
        }
        match (self.number(), wanted.number()) {
            (Some(own), Some(most)) if own < most => Some(most - own),
            _ => wanted.variant.is_none().then_some(u32::MAX),
        }
    }

    /// The variant's number, where variants are numbered upward and each runs what is for a lower
    /// one.
    fn number(&self) -> Option<u32> {
        let usual = match self.architecture.as_str() {
            "amd64" => "v1",
            "arm64" => "v8",
            "arm" => "v7",
            _ => return None,
        };
        self.variant().unwrap_or(usual).strip_prefix('v')?.parse().ok()
    }
}

/// containerd's `normalizeArch`, for lower case.
fn normal(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = match (architecture, variant) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8") => ("arm64", ""),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        other => other,
    };
    (architecture.to_owned(), variant.to_owned())
}

/// The text's one to three parts, each of the characters that containerd takes.
fn split(text: &str, version: bool) -> Result<Vec<&str>, NotAPlatform> {
    let parts: Vec<&str> = text.split('/').collect();
    if text.is_empty() {
        return Err(refusal(text, "it is empty"));
    }
    if text.contains(',') {
        return Err(refusal(text, "only one can be named"));
    }
    if parts.len() > 3 {
        return Err(refusal(text, "it has more than three parts"));
    }
    for (at, part) in parts.iter().enumerate() {
        check(text, at, if version && at == 0 { without_version(part) } else { part })?;
    }
    Ok(parts)
}

/// `windows` of `windows(10.0.17763)`.
fn without_version(os: &str) -> &str {
    let version =
        |tail: &str| tail.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-+%".contains(&byte));
    match os.split_once('(') {
        Some((os, tail)) if tail.strip_suffix(')').is_some_and(version) => os,
        _ => os,
    }
}

fn check(text: &str, at: usize, part: &str) -> Result<(), NotAPlatform> {
    let what = ["operating system", "architecture", "variant"][at.min(2)];
    if part.is_empty() {
        return Err(refusal(text, &format!("its {what} is empty")));
    }
    if part.contains('(') {
        return Err(refusal(text, "a version of the operating system cannot be chosen"));
    }
    let odd = |char: &char| !(char.is_ascii_alphanumeric() || "_-.".contains(*char));
    match part.chars().find(odd) {
        Some(odd) => Err(refusal(text, &format!("{odd:?} cannot stand in its {what}"))),
        None => Ok(()),
    }
}

fn refusal(text: &str, reason: &str) -> NotAPlatform {
    let help = "write OS/ARCH[/VARIANT], as in `linux/arm64` or `linux/arm/v7`".to_owned();
    NotAPlatform { text: text.to_owned(), reason: reason.to_owned(), help }
}

/// What is said of a single word: which part is missing, and the whole platform.
fn half(word: &str) -> NotAPlatform {
    let platform = Platform::of_engine(word).unwrap_or_else(|_| Platform::host());
    let is_os = SYSTEMS.contains(&platform.os()) && platform.os() == Platform::new(word, "", None).os();
    let missing = if is_os { "its architecture is missing" } else { "its operating system is missing" };
    let help = format!("write the whole of it, such as `{platform}`");
    NotAPlatform { help, ..refusal(word, missing) }
}

/// What people type. Stricter than [`Platform::of_engine`]: engines differ about a single word
/// (docker takes `arm64`, podman refuses it), and an OS alone would mean another platform on each
/// machine.
impl FromStr for Platform {
    type Err = NotAPlatform;

    fn from_str(text: &str) -> Result<Self, NotAPlatform> {
        let parts = split(text, false)?;
        let [os, architecture, ref variant @ ..] = parts[..] else { return Err(half(text)) };
        let lower = architecture.to_ascii_lowercase();
        match MISNOMERS.iter().find(|(wrong, _)| *wrong == lower) {
            Some((_, right)) => {
                let reason = format!("images know no architecture {architecture}");
                Err(NotAPlatform { help: format!("write `{os}/{right}`"), ..refusal(text, &reason) })
            }
            None => Ok(Self::new(os, architecture, variant.first().copied())),
        }
    }
}

impl Default for Platform {
    fn default() -> Self {
        Self::host()
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl From<Written> for Platform {
    fn from(written: Written) -> Self {
        let Written { architecture, os, variant } = written;
        Self::new(&os.unwrap_or_default(), &architecture.unwrap_or_default(), variant.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[track_caller]
    fn spells(texts: &[&str], normal: &str) {
        for text in texts {
            assert_eq!(platform(text).to_string(), normal, "{text}");
        }
    }

    #[track_caller]
    fn refused(text: &str, reason: &str, help: &str) {
        let error = text.parse::<Platform>().unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains(help), "{error}");
    }

    #[track_caller]
    fn of_image(wanted: &str, [os, architecture, variant]: [&str; 3], expected: bool) {
        let wanted: Platform = wanted.parse().unwrap();
        assert_eq!(wanted.is_of_image(os, architecture, variant), expected, "{os}/{architecture}/{variant}");
    }

    #[test]
    fn an_image_is_for_the_platform_that_its_config_names() {
        of_image("linux/amd64", ["linux", "x86_64", ""], true);
        of_image("linux/arm64", ["Linux", "aarch64", "v8"], true);
        of_image("linux/arm/v6", ["linux", "arm", ""], true);
        of_image("linux/arm/v7", ["linux", "arm", "v6"], false);
        of_image("linux/amd64/v3", ["linux", "amd64", ""], true);
        of_image("linux/amd64", ["linux", "amd64", "v3"], false);
        of_image("linux/amd64", ["linux", "arm64", ""], false);
        of_image("linux/amd64", ["windows", "amd64", ""], false);
    }

    #[test]
    fn each_platform_has_one_spelling() {
        spells(
            &["linux/amd64", "linux/x86_64", "linux/x86-64", "Linux/AMD64", "linux/amd64/v1"],
            "linux/amd64",
        );
        spells(&["linux/x86_64/v3", "linux/amd64/V3"], "linux/amd64/v3");
        spells(&["linux/386", "linux/i386", "linux/i386/x"], "linux/386");
        spells(
            &["linux/arm64", "linux/arm64/v8", "linux/arm64/8", "linux/aarch64", "linux/AArch64/v8"],
            "linux/arm64",
        );
        spells(&["linux/arm64/v9", "linux/aarch64/v9"], "linux/arm64/v9");
        spells(
            &["linux/arm", "linux/arm/v7", "linux/arm/7", "linux/armhf", "linux/armhf/v6"],
            "linux/arm/v7",
        );
        spells(&["linux/arm/v6", "linux/arm/6", "linux/armel", "linux/armel/v7"], "linux/arm/v6");
        spells(&["linux/arm/5"], "linux/arm/v5");
        spells(&["linux/arm/8"], "linux/arm/v8");
        spells(&["macos/arm64", "MacOS/aarch64", "darwin/arm64"], "darwin/arm64");
        spells(&["windows/amd64"], "windows/amd64");
    }

    #[test]
    fn a_normal_form_reads_as_itself() {
        for text in ["linux/amd64", "linux/arm/v5", "linux/s390x", "linux/new-arch/x.1", "wasi/wasm", "x/y_z"]
        {
            spells(&[text], text);
        }
    }

    #[test]
    fn what_is_wrong_with_a_platform_is_named() {
        refused("", "is empty", "`linux/arm64`");
        refused("linux/", "its architecture is empty", "`linux/arm64`");
        refused("/amd64", "its operating system is empty", "`linux/arm64`");
        refused("linux/arm/", "its variant is empty", "`linux/arm64`");
        refused("a/b/c/d", "more than three parts", "OS/ARCH");
        refused("linux/amd64,linux/arm64", "only one", "OS/ARCH");
        refused("linux/am d64", "' ' cannot stand in its architecture", "OS/ARCH");
        refused("linux/*", "'*' cannot stand in its architecture", "OS/ARCH");
        refused("linux\u{1b}/x", r"'\u{1b}' cannot stand in its operating system", "OS/ARCH");
        refused("windows(10.0.17763)/amd64", "version of the operating system", "OS/ARCH");
    }

    #[test]
    fn half_a_platform_is_told_the_whole() {
        refused("amd64", "its operating system is missing", "`linux/amd64`");
        refused("aarch64", "its operating system is missing", "`linux/arm64`");
        refused("armhf", "its operating system is missing", "`linux/arm/v7`");
        refused("linux", "its architecture is missing", &format!("`{}`", Platform::host()));
        refused("macos", "its architecture is missing", "`darwin/");
    }

    #[test]
    fn names_of_other_worlds_are_told_the_right_one() {
        refused("linux/i686", "no architecture i686", "`linux/386`");
        refused("linux/X86", "no architecture X86", "`linux/386`");
        refused("linux/x64", "no architecture x64", "`linux/amd64`");
        refused("linux/armv7l", "no architecture armv7l", "`linux/arm/v7`");
    }

    #[test]
    fn an_engines_word_is_read_as_the_engine_reads_it() {
        let of = |text: &str| Platform::of_engine(text).map(|platform| platform.to_string());
        assert_eq!(of("arm64").unwrap(), "linux/arm64");
        assert_eq!(of("armhf").unwrap(), "linux/arm/v7");
        assert_eq!(of("linux").unwrap(), Platform::host().to_string());
        assert_eq!(of("Windows(10.0.17763)/AMD64").unwrap(), "windows(10.0.17763)/amd64");
        assert_eq!(of("linux/i686").unwrap(), "linux/i686");
        for text in ["", "linux//", "a/b/c/d", "a b/c", "windows(10/amd64", "linux/amd64(1)"] {
            assert!(of(text).is_err(), "{text} was accepted");
        }
    }

    #[track_caller]
    fn nearest(wanted: &str, there: &[&str], expected: &[&str]) {
        let found = Platform::nearest(&platform(wanted), there, |text| text.parse().ok());
        assert_eq!(found, expected.iter().collect::<Vec<_>>(), "{wanted}");
        assert_eq!(there.iter().any(|text| platform(text).matches(&platform(wanted))), !expected.is_empty());
    }

    #[test]
    fn the_nearest_platform_serves() {
        nearest("linux/arm64", &["linux/amd64", "linux/arm64/v8"], &["linux/arm64/v8"]);
        nearest("linux/aarch64", &["linux/arm64"], &["linux/arm64"]);
        nearest("linux/arm", &["linux/arm/v5", "linux/arm/v6", "linux/arm/v8"], &["linux/arm/v6"]);
        nearest("linux/arm/v6", &["linux/arm"], &[]);
        nearest("linux/amd64/v3", &["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], &["linux/amd64/v2"]);
        nearest("linux/amd64", &["linux/amd64/v3", "linux/amd64"], &["linux/amd64"]);
        nearest("linux/amd64", &["linux/amd64/v3"], &["linux/amd64/v3"]);
        nearest("linux/ppc64le", &["linux/ppc64le/power9"], &["linux/ppc64le/power9"]);
        nearest("linux/ppc64le/power8", &["linux/ppc64le/power9"], &[]);
        nearest("linux/arm64", &["windows/arm64", "linux/arm"], &[]);
        nearest("linux/amd64", &["linux/amd64", "linux/x86_64"], &["linux/amd64", "linux/x86_64"]);
    }

    #[test]
    fn documents_may_have_any_spelling() {
        let read = |text: &str| serde_json::from_str::<Platform>(text).unwrap().to_string();
        assert_eq!(
            read(r#"{"os":"linux","architecture":"aarch64","variant":"v8","os.features":["x"]}"#),
            "linux/arm64"
        );
        assert_eq!(read(r#"{"os":"linux","architecture":"arm","variant":null}"#), "linux/arm/v7");
        assert_eq!(read(r#"{"os":"linux","architecture":"amd64","variant":""}"#), "linux/amd64");
        let written = serde_json::to_string(&platform("linux/armhf")).unwrap();
        assert_eq!(written, r#"{"architecture":"arm","os":"linux","variant":"v7"}"#);
    }

    #[test]
    fn machines_have_platforms() {
        let of = |architecture, machine| Platform::of_machine(architecture, machine).to_string();
        assert_eq!(of("x86_64", "x86_64"), "linux/amd64");
        assert_eq!(of("aarch64", "aarch64"), "linux/arm64");
        assert_eq!(of("x86", "i686"), "linux/386");
        assert_eq!(of("arm", "armv6l"), "linux/arm/v6");
        assert_eq!(of("arm", "armv7l"), "linux/arm/v7");
        assert_eq!(of("arm", "aarch64"), "linux/arm/v7");
        assert!(Platform::host().to_string().parse::<Platform>().is_ok());
    }
}
