//! `platforms`: one table, and an image for each platform.
//!
//! Each is hashed, built and saved by itself. The image of this machine's own platform has the tags
//! as they are written; those of the others end in their platform, unless the tags name it
//! themselves.

use storekit::Platform;
use toml::Spanned;
use toml::de::DeValue;

use crate::config::fault::Fault;
use crate::config::layers::Table;
use crate::config::names;
use toolkit::nearest::nearest;

/// What stands for the platform in the texts of a table.
pub(in crate::config) const PLACE: &str = "{platform}";

/// The architectures that there are under each operating system, as Go names them and images have
/// them: <https://go.dev/doc/install/source#environment>, and `wasi` of what runs `WebAssembly`.
const MACHINES: [(&str, &[&str]); 17] = [
    ("aix", &["ppc64"]),
    ("android", &["386", "amd64", "arm", "arm64"]),
    ("darwin", &["amd64", "arm64"]),
    ("dragonfly", &["amd64"]),
    ("freebsd", &["386", "amd64", "arm", "arm64", "riscv64"]),
    ("illumos", &["amd64"]),
    ("ios", &["amd64", "arm64"]),
    ("js", &["wasm"]),
    (
        "linux",
        &[
            "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
            "ppc64le", "riscv64", "s390x",
        ],
    ),
    ("netbsd", &["386", "amd64", "arm", "arm64"]),
    ("openbsd", &["386", "amd64", "arm", "arm64", "ppc64", "riscv64"]),
    ("plan9", &["386", "amd64", "arm"]),
    ("solaris", &["amd64"]),
    ("wasi", &["wasm"]),
    ("wasip1", &["wasm"]),
    ("wasip2", &["wasm"]),
    ("windows", &["386", "amd64", "arm", "arm64"]),
];

/// The platform of this name, if there are such machines; else what is wrong with it.
pub(in crate::config) fn parsed(text: &str) -> Result<Platform, String> {
    let platform: Platform =
        text.parse().map_err(|error: storekit::platform::NotAPlatform| error.to_string())?;
    let (os, architecture) = (platform.os(), platform.architecture());
    let systems = MACHINES.iter().map(|(os, _)| *os);
    let Some((_, machines)) = MACHINES.iter().find(|(known, _)| *known == os) else {
        return Err(format!("there is no operating system `{os}`; {}", or_list(os, systems)));
    };
    if !machines.contains(&architecture) {
        let known = or_list(architecture, machines.iter().copied());
        return Err(format!("{os} has no architecture `{architecture}`; {known}"));
    }
    let levels: Option<&[&str]> = match architecture {
        "amd64" => Some(&["v1", "v2", "v3", "v4"]),
        "arm" => Some(&["v5", "v6", "v7", "v8"]),
        // `v8.2` and the like are levels of their own.
        "arm64" => Some(&["v8", "v9"]),
        _ => None,
    };
    let level = platform.variant().map(|variant| variant.split('.').next().unwrap_or(variant));
    match (level, levels) {
        (Some(level), Some(levels)) if !levels.contains(&level) => Err(format!(
            "{architecture} has no variant `{level}`; {}",
            or_list(level, levels.iter().copied())
        )),
        _ => Ok(platform),
    }
}

/// The word that is meant, or all.
fn or_list<'a>(word: &str, words: impl DoubleEndedIterator<Item = &'a str> + Clone) -> String {
    // Of two that are as near the longer: `arm64` for `arm46`.
    nearest(word, words.clone().rev()).map_or_else(
        || format!("there are {}", words.collect::<Vec<_>>().join(", ")),
        |meant| format!("is `{meant}` meant?"),
    )
}

/// Takes `platforms` out of the table.
pub(in crate::config) fn taken(table: &mut Table<'_>) -> Result<Vec<Spanned<Platform>>, Fault> {
    let Some(value) = table.remove("platforms") else { return Ok(Vec::new()) };
    let help = "write `platforms = [\"linux/amd64\", \"linux/arm64\"]`: an image for each";
    if let Some(one) = table.get("platform") {
        let help = "keep one of the two: `platforms` makes an image for each of its platforms";
        return Err(Fault::new("there are `platform` and `platforms`", one.span(), help));
    }
    let at = value.span();
    let DeValue::Array(items) = value.into_inner() else {
        return Err(Fault::new("`platforms` is not a list", at, help));
    };
    let mut platforms: Vec<Spanned<Platform>> = Vec::new();
    for item in items {
        let at = item.span();
        let DeValue::String(text) = item.get_ref() else {
            return Err(Fault::new("`platforms` is not a list of texts", at, help));
        };
        let platform = parsed(text).map_err(|error| Fault::new(error, at.clone(), help))?;
        if platforms.iter().any(|other| *other.get_ref() == platform) {
            return Err(Fault::new(
                format!("`{platform}` stands twice in `platforms`"),
                at,
                "leave one of them out",
            ));
        }
        platforms.push(Spanned::new(at, platform));
    }
    if platforms.is_empty() {
        return Err(Fault::new("`platforms` is empty", at, "left out, it is this machine's own"));
    }
    Ok(platforms)
}

/// Of `platform` and `platforms`, what one table says goes before what another one gives it.
pub(in crate::config) fn apart(under: &mut Table<'_>, over: &Table<'_>) {
    if over.contains_key("platform") {
        under.remove("platforms");
    }
    if over.contains_key("platforms") {
        under.remove("platform");
    }
}

/// Whether the tags are told apart by the platform in them.
pub(in crate::config) fn names_it(tags: &Spanned<DeValue<'_>>) -> bool {
    let is_told = |tag: &Spanned<DeValue<'_>>| tag.get_ref().as_str().is_some_and(|tag| tag.contains(PLACE));
    tags.get_ref().as_array().is_some_and(|tags| !tags.is_empty() && tags.iter().all(is_told))
}

/// The platform as part of a name: `linux-arm-v7`.
pub(in crate::config) fn in_name(platform: &Platform) -> String {
    platform.to_string().replace('/', "-")
}

/// The tag of the image for this platform, where this machine's has the tag itself.
pub(in crate::config) fn tag(tag: &str, platform: &Platform) -> String {
    if *platform == Platform::host() {
        return tag.to_owned();
    }
    let whole = if names::has_tag(tag) { tag.to_owned() } else { format!("{tag}:latest") };
    format!("{whole}-{}", in_name(platform))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    /// A platform that is not this machine's, and the machine's own.
    fn two() -> (Platform, Platform) {
        let own = Platform::host();
        let other = ["linux/arm64", "linux/amd64"].map(|text| text.parse().expect("a platform"));
        (own.clone(), other.into_iter().find(|other| *other != own).expect("one"))
    }

    #[track_caller]
    fn refused(text: &str, why: &str) {
        let fault = parse(text).expect_err("a bad file");
        assert!(fault.message.contains(why) && fault.at.is_some(), "{}", fault.message);
    }

    #[test]
    fn each_platform_is_an_image_and_one_has_the_plain_tag() {
        let (own, other) = two();
        let text = format!(
            "[image.a]\nplatforms = [\"{own}\", \"{other}\"]\ntags = [\"t/a:1\", \"b\"]\n[image.c]\nneeds = [\"a\"]\n"
        );
        let images = parse(&text).expect("good").images;
        let names: Vec<_> = images.iter().map(|image| image.name.clone()).collect();
        assert_eq!(names, [format!("a@{own}"), format!("a@{other}"), "c".to_owned()]);
        assert_eq!((images[0].platform(), images[1].platform()), (own.clone(), other.clone()));
        assert_eq!(images[0].tags, ["t/a:1", "b"]);
        let end = in_name(&other);
        assert_eq!(images[1].tags, [format!("t/a:1-{end}"), format!("b:latest-{end}")]);
        assert_eq!(images[1].plain_tags, ["t/a:1", "b"]);
        // One that needs it needs that of its own platform.
        assert_eq!(images[2].needs, [format!("a@{own}")]);
    }

    #[test]
    fn the_platform_may_stand_in_texts() {
        let (_, other) = two();
        let text = format!(
            "[image.a]\nplatforms = [\"{other}\"]\ntags = [\"{{image}}:{{platform}}\"]\noutputs = {{ \"d/{{platform}}\" = \"/x\" }}\n"
        );
        let image = parse(&text).expect("good").images.remove(0);
        let end = in_name(&other);
        assert_eq!(
            (image.tags, image.outputs[0].to.as_str()),
            (vec![format!("a:{end}")], format!("d/{end}").as_str())
        );
    }

    #[test]
    fn spellings_of_one_platform_are_one() {
        refused(
            "[image.a]\nplatforms = [\"linux/arm64\", \"linux/aarch64\"]\n",
            "`linux/arm64` stands twice",
        );
        let images =
            parse("[image.a]\nplatforms = [\"linux/x86_64\", \"linux/arm64/v8\"]\n").expect("good").images;
        let names: Vec<_> = images.iter().map(|image| image.name.as_str()).collect();
        assert_eq!(names, ["a@linux/amd64", "a@linux/arm64"]);
    }

    #[test]
    fn bad_platforms_are_refused_where_they_stand() {
        refused("[image.a]\nplatforms = []\n", "`platforms` is empty");
        refused("[image.a]\nplatforms = \"linux/arm64\"\n", "is not a list");
        refused("[image.a]\nplatforms = [\"linux/i686\"]\n", "is not a platform");
        refused(
            "[image.a]\nplatform = \"linux/386\"\nplatforms = [\"linux/386\"]\n",
            "there are `platform` and",
        );
    }

    #[test]
    fn a_machine_that_there_is_not_is_refused_with_the_nearest() {
        for (platform, why) in [
            ("linux/arm46", "linux has no architecture `arm46`; is `arm64` meant?"),
            ("linux/sparc", "linux has no architecture `sparc`; there are 386, amd64, arm, "),
            ("lniux/amd64", "there is no operating system `lniux`; is `linux` meant?"),
            ("darwin/s390x", "darwin has no architecture `s390x`; there are amd64, arm64"),
            ("linux/amd64/v7", "amd64 has no variant `v7`; is `v4` meant?"),
            ("linux/arm/v11", "arm has no variant `v11`"),
        ] {
            refused(&format!("[image.a]\nplatforms = [\"{platform}\"]\n"), why);
            refused(&format!("[image.a]\nplatform = \"{platform}\"\n"), why);
        }
        for platform in [
            "linux/arm/v7",
            "linux/arm64/v8",
            "linux/amd64/v2",
            "linux/arm64/v8.2",
            "windows/amd64",
            "wasi/wasm",
        ] {
            parse(&format!("[image.a]\nplatforms = [\"{platform}\"]\n")).expect("a platform");
        }
    }

    #[test]
    fn what_is_nearer_decides_between_one_platform_and_several() {
        let text = "[defaults]\nplatforms = [\"linux/386\", \"linux/s390x\"]\n[image.a]\nplatform = \"linux/386\"\n\
                    [image.b]\nextends = \"a\"\nplatforms = [\"linux/s390x\"]\n[image.c]\n";
        let images = parse(text).expect("good").images;
        let names: Vec<_> = images.iter().map(|image| image.name.as_str()).collect();
        assert_eq!(names, ["a", "b@linux/s390x", "c@linux/386", "c@linux/s390x"]);
    }
}
