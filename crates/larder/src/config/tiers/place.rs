//! Whether two places are one, however they are spelt: what is written to the one is read from the
//! other.
//!
//! Doubt counts as the same. Limit: names of one machine other than loopback are not resolved, and
//! a mirror or a mount is not known for what it mirrors.

use std::net::{Ipv4Addr, Ipv6Addr};

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};

use super::tier::Place;

/// Whether what is written to the one place may be read from the other: the same repository, the
/// same folder or bucket, or one within the other. `folder`: larder.toml's, where it is known, to
/// which paths are relative and in which links are followed.
pub(crate) fn overlap(one: &Place, other: &Place, folder: Option<&Utf8Path>) -> bool {
    match (one, other) {
        (Place::Store(one), Place::Store(other)) => {
            let real = |path| folder.map(|folder| real(&folder.join(path)));
            nested(&plain(one), &plain(other))
                || real(one).zip(real(other)).is_some_and(|(one, other)| nested(&one, &other))
        }
        (Place::Registry(one), Place::Registry(other)) => {
            let other = repositories(other);
            repositories(one).iter().any(|one| other.contains(one))
        }
        (Place::S3(one), Place::S3(other)) => nested(&bucket(one), &bucket(other)),
        _ => false,
    }
}

/// The repositories of a tier in a registry, each spelt as [`repository`] does: of images, and of
/// layers.
pub(crate) fn repositories(tier: &str) -> [String; 2] {
    let own = repository(tier);
    let layers = format!("{own}-layers");
    [own, layers]
}

/// A repository with its registry, in the one spelling of all that mean it.
pub(crate) fn repository(name: &str) -> String {
    let Some((registry, path)) = name.split_once('/') else { return name.to_owned() };
    let registry = match host(registry) {
        hub if matches!(hub.as_str(), "index.docker.io" | "registry-1.docker.io") => "docker.io".to_owned(),
        host => host,
    };
    let library = if registry == "docker.io" && !path.contains('/') { "library/" } else { "" };
    format!("{registry}/{library}{path}")
}

/// A host: in lower case, this machine by one name, and without a port that goes without saying.
fn host(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let (name, port) = match lower.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port),
        _ => (lower.as_str(), ""),
    };
    let name = name.trim_end_matches('.');
    let name = if is_this_machine(name) { "localhost" } else { name };
    match port.parse::<u16>() {
        Ok(80 | 443) => name.to_owned(),
        Ok(port) => format!("{name}:{port}"),
        Err(_) if port.is_empty() => name.to_owned(),
        Err(_) => format!("{name}:{port}"),
    }
}

fn is_this_machine(name: &str) -> bool {
    let v6 = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<Ipv4Addr>().is_ok_and(|it| it.is_loopback() || it.is_unspecified())
        || v6
            .and_then(|it| it.parse::<Ipv6Addr>().ok())
            .is_some_and(|it| it.is_loopback() || it.is_unspecified())
}

/// The host, the bucket and what keys begin with, as a path.
fn bucket(url: &str) -> Utf8PathBuf {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (at, path) = rest.split_once('/').unwrap_or((rest, ""));
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    std::iter::once(host(at).as_str()).chain(parts).collect()
}

fn nested(one: &Utf8Path, other: &Utf8Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// The path without `.` and `..`, but for those at its beginning.
fn plain(path: &Utf8Path) -> Utf8PathBuf {
    let mut plain = Utf8PathBuf::new();
    for part in path.components() {
        match part {
            Utf8Component::CurDir => {}
            Utf8Component::ParentDir
                if matches!(plain.components().next_back(), Some(Utf8Component::Normal(_))) =>
            {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

/// Where the path really lies, of which the end need not be there.
fn real(path: &Utf8Path) -> Utf8PathBuf {
    for there in path.ancestors() {
        let Ok(found) = there.canonicalize_utf8() else { continue };
        let rest = path.strip_prefix(there).unwrap_or(Utf8Path::new(""));
        return plain(&found.join(rest));
    }
    plain(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(path: &str) -> Place {
        Place::Store(path.into())
    }

    fn registry(name: &str) -> Place {
        Place::Registry(name.into())
    }

    fn s3(url: &str) -> Place {
        Place::S3(url.into())
    }

    #[test]
    fn other_spellings_are_the_same_place() {
        for (one, other) in [
            (store("y"), store("x/../y")),
            (store("y"), store("./y/")),
            (store("../y"), store("../x/../y")),
            (store("/a/y"), store("/a/b/../y")),
            (store("y"), store("y/pr")),
            (registry("localhost:5000/c"), registry("127.0.0.1:5000/c")),
            (registry("localhost:5000/c"), registry("LocalHost:5000/c")),
            (registry("r.example/c"), registry("r.example:443/c")),
            (registry("r.example/c"), registry("R.Example:0443/c")),
            (registry("docker.io/me/c"), registry("index.docker.io/me/c")),
            (registry("docker.io/c"), registry("docker.io/library/c")),
            (registry("r.example/c"), registry("r.example/c-layers")),
            (s3("https://s3.example/b"), s3("http://s3.example:443/b/")),
            (s3("https://s3.example/b/team"), s3("https://s3.example/b")),
            (s3("https://s3.example/b/team"), s3("https://S3.example/b//team/pr")),
            (s3("http://[::1]:9000/b"), s3("http://localhost:9000/b")),
        ] {
            assert!(overlap(&one, &other, None) && overlap(&other, &one, None), "{one:?} {other:?}");
        }
    }

    #[test]
    fn different_places_are_not_the_same() {
        for (one, other) in [
            (store("y"), store("yy")),
            (store("y"), store("../y")),
            (registry("r.example/c"), registry("r.example/c/pr")),
            (registry("r.example/c"), registry("r.example:5000/c")),
            (registry("localhost:5000/c"), registry("localhost:5001/c")),
            (registry("r.example/c"), registry("other.example/c")),
            (s3("https://s3.example/b/team"), s3("https://s3.example/b/team-pr")),
            (s3("https://s3.example/b"), s3("https://s3.example:9000/b")),
            (store("r.example/c"), registry("r.example/c")),
        ] {
            assert!(!overlap(&one, &other, None), "{one:?} {other:?}");
        }
    }

    #[test]
    fn links_are_followed_where_the_folder_is_known() {
        let scratch = tempfile::tempdir().expect("a folder");
        let folder = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        std::fs::create_dir(folder.join("y")).expect("made");
        std::os::unix::fs::symlink("y", folder.join("link")).expect("made");
        let same = |one: &str, other: &str| overlap(&store(one), &store(other), Some(folder));
        assert!(same("y", "link") && same("y/new", "link/new") && !same("y", "z"));
        assert!(same("y", folder.join("y").as_str()));
    }
}
