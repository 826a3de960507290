//! What npm, pnpm and yarn ask for by a lock file: the tarball. The cache asks for the packument by
//! itself, to know what the tarball has to be.

use http::Uri;

use super::{Bringer, Failure, Load, below};
use crate::clients::pointers::Mount;
use crate::ecosystem::Ecosystem;

/// As npm sends it for a packument.
const PACKUMENT: &str = "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*";

impl Bringer {
    pub(super) async fn npm(&self, load: &mut Load) -> Result<(), Failure> {
        let mount = self.mount(Ecosystem::Npm, load.locked.index.as_deref())?;
        let name = &load.locked.name;
        let document = below(mount, &format!("/{}", name.replace('/', "%2f")));
        self.client.document(&document, PACKUMENT).await?;
        let file = load.locked.files.first().cloned().unwrap_or_default();
        let path = file.url.as_deref().and_then(|url| tarball(mount, url, name));
        let path = path.unwrap_or_else(|| usual(name, &load.locked.version));
        self.file(&mut load.outcome, &below(mount, &path), "*/*", file.checksum).await
    }
}

/// The path below the mount of a tarball that a lock file names by its URL: at the mount's own
/// upstream, or at another registry that has the same package.
fn tarball(mount: &Mount, url: &str, name: &str) -> Option<String> {
    let path = url.parse::<Uri>().ok()?.path().to_owned();
    let own = mount.url.parse::<Uri>().ok()?;
    if url.starts_with(mount.url.trim_end_matches('/')) {
        return path.strip_prefix(own.path().trim_end_matches('/')).map(str::to_owned);
    }
    let escaped = name.replace('/', "%2f");
    let at = path.find(&format!("/{name}/-/")).or_else(|| path.find(&format!("/{escaped}/-/")))?;
    path.get(at..).map(str::to_owned)
}

/// Where registries usually have it.
fn usual(name: &str, version: &str) -> String {
    let base = name.rsplit('/').next().unwrap_or(name);
    format!("/{name}/-/{base}-{version}.tgz")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tarball_is_where_its_registry_has_it() {
        let mount = Mount::new("npm", Ecosystem::Npm, "https://r.example/team/", false, &[]);
        for (url, path) in [
            ("https://r.example/team/a/-/a-1.tgz", Some("/a/-/a-1.tgz")),
            ("https://r.example/team/x/odd-1.tgz", Some("/x/odd-1.tgz")),
            ("https://other.example/m/a/-/a-1.tgz", Some("/a/-/a-1.tgz")),
            ("http://127.0.0.1:3144/npm/a/-/a-1.tgz", Some("/a/-/a-1.tgz")),
            ("https://other.example/odd-1.tgz", None),
            ("not a URL", None),
        ] {
            assert_eq!(tarball(&mount, url, "a").as_deref(), path, "{url}");
        }
        assert_eq!(usual("@s/a", "1.0.0"), "/@s/a/-/a-1.0.0.tgz");
    }
}
