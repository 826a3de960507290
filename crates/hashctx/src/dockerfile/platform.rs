//! Platforms as build arguments name them.

use std::collections::BTreeMap;

/// The variables that `BuildKit` sets in the global scope for two platforms and a target. A build argument of the same
/// name takes precedence.
pub(super) fn variables(
    target_platform: &str,
    build_platform: &str,
    stage: &str,
    build_args: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for (prefix, platform) in [("TARGET", target_platform), ("BUILD", build_platform)] {
        let [os, arch, variant] = parts(platform);
        let mut set = |name: &str, value: String| variables.insert(format!("{prefix}{name}"), value);
        set("PLATFORM", normal(platform));
        set("OS", os);
        set("OSVERSION", String::new());
        set("ARCH", arch);
        set("VARIANT", variant);
    }
    variables.insert("TARGETSTAGE".to_owned(), stage.to_owned());
    for (name, value) in &mut variables {
        if let Some(given) = build_args.get(name) {
            given.clone_into(value);
        }
    }
    variables
}

/// `linux/arm64` for `linux/aarch64`, `linux/arm64/v8` and their like.
pub(super) fn normal(platform: &str) -> String {
    let parts = parts(platform);
    parts.iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join("/")
}

fn parts(platform: &str) -> [String; 3] {
    let lower = platform.to_lowercase();
    let mut fields = lower.split('/');
    let (os, arch, variant) = match (fields.next(), fields.next(), fields.next()) {
        (Some(arch), None, _) => ("linux", arch, ""),
        (os, arch, variant) => {
            (os.unwrap_or_default(), arch.unwrap_or_default(), variant.unwrap_or_default())
        }
    };
    let (arch, variant) = match (arch, variant) {
        ("x86_64" | "x86-64" | "amd64", "v1" | "") => ("amd64", ""),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("i386", _) => ("386", ""),
        ("aarch64" | "arm64", "8" | "v8" | "") => ("arm64", ""),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        other => other,
    };
    [if os == "macos" { "darwin" } else { os }, arch, variant].map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_platform_has_one_name() {
        let table = [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("arm64", "linux/arm64"),
            ("Linux/ARM/v6", "linux/arm/v6"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/386", "linux/386"),
            ("windows/amd64", "windows/amd64"),
        ];
        for (platform, want) in table {
            assert_eq!(normal(platform), want);
        }
    }
}
