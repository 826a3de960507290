//! Addresses: what `ADD` and named contexts fetch, and whether that can change under the same
//! address.
//!
//! Absent: any request. An address that can be read in two ways counts as one that can change.

use super::{Fetched, NamedContext};

/// What an image's address begins with, as a named context.
const IMAGE: &str = "docker-image://";

/// What a source of `ADD` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Address {
    /// A path in the context.
    Path,
    /// A file behind a URL: nothing in it says which content.
    File,
    /// A repository.
    Repository {
        /// Whether the address has a whole commit.
        pinned: bool,
    },
}

/// Reads the source of an `ADD`.
pub(super) fn address(source: &str) -> Address {
    let scheme = source.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let repository = || Address::Repository { pinned: has_commit(source) };
    match scheme.as_deref() {
        Some("git" | "ssh") => repository(),
        Some("http" | "https") if path_of(source).strip_suffix(".git").is_some() => repository(),
        // Only in lower case; else it is a path.
        Some("http" | "https") if source.starts_with("http") => Address::File,
        None if is_scp_style(source) => repository(),
        _ => Address::Path,
    }
}

/// Whether what the context names can be another thing tomorrow.
pub(super) fn moves(context: &NamedContext) -> bool {
    let NamedContext::Other(address) = context else { return false };
    match address.split_once("://") {
        Some(("docker-image", "scratch")) => false,
        Some(("docker-image" | "oci-layout", reference)) => !has_digest(reference),
        _ => self::address(address) != Address::Repository { pinned: true },
    }
}

/// What is fetched from the address, where that can be pinned in a Dockerfile: it has no user's
/// password, nothing that is read as something else there, and of a repository the plain form
/// `ADDRESS#REF:FOLDER`.
pub(super) fn pinnable(source: &str) -> Option<Fetched> {
    let authority = source.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next());
    let has_user = source.starts_with("http") && authority.flatten().is_some_and(|host| host.contains('@'));
    if has_user || !source.bytes().all(is_plain) {
        return None;
    }
    match address(source) {
        Address::File if !source.contains('#') => Some(Fetched::File),
        Address::Repository { pinned: false } if !source.contains('?') => Some(Fetched::Repository),
        _ => None,
    }
}

/// The address as it may be shown: without a user's name and password, which it may have before the
/// host, in a text with variables as well.
pub(crate) fn without_user(source: &str) -> String {
    let Some((scheme, rest)) = source.split_once("://") else { return source.to_owned() };
    let (authority, _) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let port = authority.rsplit_once(':').map(|(_, port)| port).unwrap_or_default();
    // A password that was not encoded may have any character: then the last `@` counts.
    let is_cut = !port.bytes().all(|byte| byte.is_ascii_digit());
    let end = authority.rfind('@').or_else(|| rest.rfind('@').filter(|_| is_cut));
    match end.and_then(|end| rest.get(end..)) {
        Some(host) => format!("{scheme}://…{host}"),
        None => source.to_owned(),
    }
}

/// Whether the byte stands for itself wherever an address may be written.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"$\"'\\`<>".contains(&byte)
}

/// What stands behind a named context, where that moves and can be pinned in its address.
pub(super) fn pinnable_context(address: &str) -> Option<Fetched> {
    let Some(image) = address.strip_prefix(IMAGE) else {
        return pinnable(address).filter(|fetched| *fetched == Fetched::Repository);
    };
    let is_open = image != "scratch" && !image.is_empty() && !image.contains('@');
    (is_open && image.bytes().all(is_plain)).then_some(Fetched::Image)
}

/// The address of a repository with this commit in the place of a branch or a tag.
pub(super) fn at_commit(source: &str, commit: &str) -> String {
    let (repository, fragment) = source.split_once('#').unwrap_or((source, ""));
    let folder = fragment.split_once(':').map(|(_, folder)| format!(":{folder}")).unwrap_or_default();
    format!("{repository}#{commit}{folder}")
}

/// Whether an image stands behind the context, which may have triggers.
pub(super) fn is_image(context: &NamedContext) -> bool {
    matches!(context, NamedContext::Other(address)
        if address.starts_with(IMAGE) || address.starts_with("oci-layout://"))
}

/// True for a whole commit, SHA-1 or SHA-256.
pub(super) fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn has_digest(reference: &str) -> bool {
    let digest = reference.rsplit_once('@').and_then(|(_, digest)| digest.split_once(':'));
    digest.is_some_and(|(_, hex)| hex.len() >= 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The address without fragment and query.
fn path_of(address: &str) -> &str {
    address.split(['#', '?']).next().unwrap_or_default()
}

/// `#COMMIT[:FOLDER]`, `?commit=…`, `?checksum=…`, `?ref=…`.
fn has_commit(address: &str) -> bool {
    let (before, fragment) = address.split_once('#').unwrap_or((address, ""));
    let query = before.split_once('?').map_or("", |(_, query)| query);
    let field = |field: &str| match field.split_once('=') {
        Some(("commit" | "checksum" | "ref", value)) => is_commit(value),
        _ => false,
    };
    is_commit(fragment.split(':').next().unwrap_or_default()) || query.split('&').any(field)
}

/// `user@host:path`.
fn is_scp_style(source: &str) -> bool {
    let plain = |text: &str, more: &[char]| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(&c))
    };
    source.split_once('@').is_some_and(|(user, rest)| {
        let host = rest.split_once(':').map_or("", |(host, _)| host);
        plain(user, &['-', '_']) && plain(host, &['-', '.'])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[track_caller]
    fn is(source: &str, want: Address) {
        assert_eq!(address(source), want, "{source}");
    }

    #[track_caller]
    fn context_moves(address: &str, want: bool) {
        assert_eq!(moves(&NamedContext::Other(address.to_owned())), want, "{address}");
    }

    #[test]
    fn no_user_and_no_password_is_shown() {
        for (source, shown) in [
            ("https://u:p@x/y", "https://…@x/y"),
            ("HTTPS://u:p@w@x:80/y?z#v", "HTTPS://…@x:80/y?z#v"),
            ("https://u:p/w@x/y", "https://…@x/y"),
            ("https://$U:${P:-a/b}@x/y", "https://…@x/y"),
            ("https://token@x", "https://…@x"),
            ("https://x:80/@scope/y?mail=a@b", "https://x:80/@scope/y?mail=a@b"),
            ("https://x/y", "https://x/y"),
            ("git@x:y.git", "git@x:y.git"),
        ] {
            assert_eq!(without_user(source), shown);
        }
    }

    #[test]
    fn sources_are_paths_files_and_repositories() {
        let repository = |pinned| Address::Repository { pinned };
        for path in ["a", "./a@b:c/d.git", "ftp://x/y", "a@b", "a b@c:d", "github.com/x/y", "HTTP://x/y"] {
            is(path, Address::Path);
        }
        for file in ["http://x/y", "https://x/y.gitx", "https://x/y?z=a.git"] {
            is(file, Address::File);
        }
        for moving in ["git://x/y", "ssh://x/y", "https://x/y.git", "HTTPS://x/y.git#v1", "git@x:y.git"] {
            is(moving, repository(false));
        }
        is("https://x/y.git#0123456", repository(false));
        for end in ["#", "?commit=", "?submodules=0&checksum=", "?ref="] {
            is(&format!("https://x/y.git{end}{COMMIT}"), repository(true));
        }
        is(&format!("git@x:y#{COMMIT}:sub"), repository(true));
    }

    #[test]
    fn what_can_be_pinned_is_plain() {
        for file in ["http://x/y", "https://x:1/y?z=1"] {
            assert_eq!(pinnable(file), Some(Fetched::File), "{file}");
        }
        for repository in ["https://x/y.git", "git@x:y.git#main:sub", "ssh://git@x/y"] {
            assert_eq!(pinnable(repository), Some(Fetched::Repository), "{repository}");
        }
        let pinned = format!("https://x/y.git#{COMMIT}");
        for other in
            ["a", "https://u:p@x/y", "https://x/y z", "https://x/$Y", "https://x/y.git?ref=v1", &pinned]
        {
            assert_eq!(pinnable(other), None, "{other}");
        }
        assert_eq!(at_commit("git@x:y.git#main:sub", "0c"), "git@x:y.git#0c:sub");
        assert_eq!(at_commit("https://x/y.git", "0c"), "https://x/y.git#0c");
    }

    #[test]
    fn a_context_can_be_pinned_where_it_is_a_plain_image_or_a_repository() {
        let digest = format!("docker-image://a@sha256:{}", "a".repeat(64));
        for (address, fetched) in [
            ("docker-image://host:5000/a:1", Some(Fetched::Image)),
            ("https://x/y.git#main", Some(Fetched::Repository)),
            (&digest, None),
            ("docker-image://scratch", None),
            ("docker-image://a$b", None),
            ("oci-layout://dir:tag", None),
            ("https://x/y.tar", None),
        ] {
            assert_eq!(pinnable_context(address), fetched, "{address}");
        }
    }

    #[test]
    fn contexts_move_without_a_digest_or_a_commit() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for address in
            ["docker-image://a:1", "oci-layout://dir:tag", "https://x/y", "https://x/y.git#main", "git@x:y"]
        {
            context_moves(address, true);
        }
        context_moves(&format!("docker-image://a:1@{digest}"), false);
        context_moves(&format!("oci-layout://dir@{digest}"), false);
        context_moves(&format!("https://x/y.git#{COMMIT}"), false);
        context_moves("docker-image://scratch", false);
    }
}
