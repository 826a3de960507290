//! `platforms`: one table, and an image for each platform.
//!
//! Each is hashed, built and saved by itself. The image of this machine's own platform has the tags
//! as they are written; those of the others end in their platform, unless the tags name it
//! themselves.

use storekit::Platform;
use toml::Spanned;
use toml::de::DeValue;

use super::fault::Fault;
use super::layers::Table;
use super::names;

/// What stands for the platform in the texts of a table.
pub(super) const PLACE: &str = "{platform}";

/// Takes `platforms` out of the table.
pub(super) fn taken(table: &mut Table<'_>) -> Result<Vec<Spanned<Platform>>, Fault> {
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
        let platform: Platform = text.parse().map_err(|error: storekit::platform::NotAPlatform| {
            Fault::new(error.to_string(), at.clone(), help)
        })?;
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
pub(super) fn apart(under: &mut Table<'_>, over: &Table<'_>) {
    if over.contains_key("platform") {
        under.remove("platforms");
    }
    if over.contains_key("platforms") {
        under.remove("platform");
    }
}

/// Whether the tags are told apart by the platform in them.
pub(super) fn names_it(tags: &Spanned<DeValue<'_>>) -> bool {
    let is_told = |tag: &Spanned<DeValue<'_>>| tag.get_ref().as_str().is_some_and(|tag| tag.contains(PLACE));
    tags.get_ref().as_array().is_some_and(|tags| !tags.is_empty() && tags.iter().all(is_told))
}

/// The platform as part of a name: `linux-arm-v7`.
pub(super) fn in_name(platform: &Platform) -> String {
    platform.to_string().replace('/', "-")
}

/// The tag of the image for this platform, where this machine's has the tag itself.
pub(super) fn tag(tag: &str, platform: &Platform) -> String {
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
    fn what_is_nearer_decides_between_one_platform_and_several() {
        let text = "[defaults]\nplatforms = [\"linux/386\", \"linux/s390x\"]\n[image.a]\nplatform = \"linux/386\"\n\
                    [image.b]\nextends = \"a\"\nplatforms = [\"linux/s390x\"]\n[image.c]\n";
        let images = parse(text).expect("good").images;
        let names: Vec<_> = images.iter().map(|image| image.name.as_str()).collect();
        assert_eq!(names, ["a", "b@linux/s390x", "c@linux/386", "c@linux/s390x"]);
    }
}
