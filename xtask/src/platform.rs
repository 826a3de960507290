//! Platforms, `OS/ARCH[/VARIANT]`, in one spelling for each.

/// The platform as engines normalise it: `linux/arm64` for `linux/aarch64` and `Linux/arm64/v8`.
/// `None` for what is not a platform.
pub(crate) fn normal(text: &str) -> Option<String> {
    let lower = text.to_lowercase();
    let parts: Vec<&str> = lower.split('/').collect();
    let plain = |part: &&str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    };
    if !parts.iter().all(plain) {
        return None;
    }
    let (os, arch, variant) = match parts.as_slice() {
        [os, arch] => (*os, *arch, ""),
        [os, arch, variant] => (*os, *arch, *variant),
        _ => return None,
    };
    let (arch, variant) = match (arch, variant) {
        ("x86_64" | "x86-64" | "amd64", "" | "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "" | "8" | "v8") => ("arm64", ""),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("i386" | "i686" | "x86", _) => ("386", ""),
        other => other,
    };
    let end = if variant.is_empty() { String::new() } else { format!("/{variant}") };
    Some(format!("{os}/{arch}{end}"))
}

/// This machine's architecture by OCI's name.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str, expected: Option<&str>) {
        assert_eq!(normal(text).as_deref(), expected, "{text}");
    }

    #[test]
    fn a_platform_has_one_spelling() {
        for text in ["linux/arm64", "linux/aarch64", "Linux/ARM64/v8"] {
            reads(text, Some("linux/arm64"));
        }
        for text in ["linux/amd64", "linux/x86_64", "linux/amd64/v1"] {
            reads(text, Some("linux/amd64"));
        }
        reads("linux/amd64/v3", Some("linux/amd64/v3"));
        reads("linux/arm", Some("linux/arm/v7"));
        reads("linux/i386", Some("linux/386"));
    }

    #[test]
    fn what_is_not_a_platform_is_refused() {
        for text in ["", "amd64", "linux/", "/amd64", "linux/a/b/c", "linux/am d64", "linux/${ARCH}"] {
            reads(text, None);
        }
    }
}
