//! Which clients read zstd layers, by what they call themselves. Pure.
//!
//! Docker unpacks them since 23.0, containerd since 1.5, BuildKit's own worker since 0.10;
//! everything that is built on containers/image (podman, skopeo, buildah, CRI-O) since long before
//! any version in use. Tools that only copy layers take any.
//!
//! The BuildKit inside dockerd calls itself by the version of containerd that was compiled in, with
//! `+unknown`: Docker 20.10 of Debian, whose layers are unpacked by what knows no zstd, is
//! `containerd/1.6.20+unknown`.

/// What a client can do with zstd layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Zstd {
    /// It reads them, or only copies.
    Read,
    /// It fails on them.
    Refused,
    /// It does not say.
    Unknown,
}

/// These read zstd whatever their version.
const READERS: [&str; 14] = [
    "containers",
    "podman",
    "libpod",
    "skopeo",
    "buildah",
    "cri-o",
    "buildx",
    "crane",
    "go-containerregistry",
    "oras",
    "oras-go",
    "regclient",
    "imgtar",
    "nerdctl",
];

/// Reads the `User-Agent`: products with versions, the client itself first.
pub(crate) fn zstd(agent: &str) -> Zstd {
    let Some((product, version)) = agent.split_whitespace().next().and_then(|first| first.split_once('/'))
    else {
        return Zstd::Unknown;
    };
    let since = |least: (u64, u64)| if numbers(version) >= least { Zstd::Read } else { Zstd::Refused };
    match product.to_ascii_lowercase().as_str() {
        "docker" => since((23, 0)),
        "containerd" if version.ends_with("+unknown") => Zstd::Refused,
        "containerd" => since((1, 5)),
        "buildkit" => since((0, 10)),
        product if READERS.contains(&product) => Zstd::Read,
        _ => Zstd::Unknown,
    }
}

/// The first two numbers of a version; 0 for a number that is missing.
fn numbers(version: &str) -> (u64, u64) {
    let mut parts =
        version.trim_start_matches('v').split(['.', '+', '-', '~']).map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is(agent: &str, expected: Zstd) {
        assert_eq!(zstd(agent), expected, "{agent}");
    }

    #[test]
    fn clients_are_known_by_name_and_version() {
        is(
            "docker/20.10.24+dfsg1 go/go1.19.8 git-commit/5d6db84 kernel/6.1 os/linux arch/amd64",
            Zstd::Refused,
        );
        is("docker/28.2.2 go/go1.24.3 UpstreamClient(Docker-Client/28.2.2 \\(linux\\))", Zstd::Read);
        is("docker/23.0.0-rc.1", Zstd::Read);
        is("docker/dev", Zstd::Refused);
        is("containerd/1.4.0+unknown", Zstd::Refused);
        is("containerd/1.6.20+unknown", Zstd::Refused);
        is("containerd/1.6.20~ds1", Zstd::Read);
        is("containerd/v2.0.1", Zstd::Read);
        is("buildkit/v0.8.3", Zstd::Refused);
        is("buildkit/v0.12.5", Zstd::Read);
        is("containers/5.23.1 (github.com/containers/image)", Zstd::Read);
        is("skopeo/1.9.3", Zstd::Read);
        is("curl/7.88.1", Zstd::Unknown);
        is("", Zstd::Unknown);
    }
}
