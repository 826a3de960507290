//! What an engine says of images that it has: their IDs, their platforms, whether they are its own.

use serde::Deserialize;
use storekit::Platform;
use toolkit::Engine;

use crate::config::names;
use crate::process::runner::{RunError, Runner};
use crate::process::tools::Tools;

/// As much of `image inspect` as matters here. Some engines leave out what is empty, some write
/// null.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::bake) struct Inspected {
    id: String,
    repo_tags: Option<Vec<String>>,
    repo_digests: Option<Vec<String>>,
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    size: Option<u64>,
    config: Option<Config>,
    history: Option<Vec<Step>>,
}

/// A step of the builds that an image comes from. Only podman tells them here.
#[derive(Clone, Debug, Deserialize)]
struct Step {
    created_by: Option<String>,
}

/// As much of an image's own settings as matters here.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    on_build: Option<Vec<String>>,
}

/// What the engine has under each of the names, in their order. One that cannot be run has nothing.
pub(in crate::bake) fn inspect(
    names: &[&str],
    engine: Engine,
    tools: &Tools,
    runner: &Runner,
) -> Result<Vec<Option<Inspected>>, RunError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let asked = runner.ask(&tools.engine(engine, "image").arg("inspect").args(names.iter().copied()));
    let json = match asked {
        Err(RunError::Start { .. }) => Vec::new(),
        asked => asked?.1,
    };
    let found: Vec<Inspected> = serde_json::from_slice(&json).unwrap_or_default();
    match (found.len(), names) {
        (0, _) => Ok(vec![None; names.len()]),
        (count, _) if count == names.len() => Ok(found.into_iter().map(Some).collect()),
        // The engine passes over those that it lacks and does not say which.
        _ => {
            let one = |name: &&str| Ok(inspect(&[*name], engine, tools, runner)?.pop().flatten());
            names.iter().map(one).collect()
        }
    }
}

impl Inspected {
    /// The image's ID, with its algorithm; podman leaves that out.
    pub(in crate::bake) fn id(&self) -> String {
        if self.id.contains(':') { self.id.clone() } else { format!("sha256:{}", self.id) }
    }

    /// How many bytes its layers have, plain.
    pub(in crate::bake) fn size(&self) -> u64 {
        self.size.unwrap_or_default()
    }

    /// Whether no registry is known to have the image under `name`. In doubt it is local: then its
    /// ID is in the key. A digest that another name of the image has tells nothing of this one.
    ///
    /// Limit: podman gives each image a digest, so that one which was built there under the name of
    /// a registry's counts as the registry's.
    pub(in crate::bake) fn is_local(&self, name: &str, engine: Engine) -> bool {
        // Podman may stand behind docker's command.
        self.is_under_localhost(name)
            // Where docker keeps images with containerd, each has a digest, which is its ID as
            // well.
            || engine == Engine::Docker
                && !self.digests().any(|digest| names::is_digest_of(digest, name) && !digest.ends_with(&self.id()))
    }

    /// Whether it is another image than that of the digest in the repository of `name`. One image
    /// may have several digests: that of all its platforms, and that of its own.
    pub(in crate::bake) fn is_other(&self, name: &str, digest: &str) -> bool {
        !self.digests().any(|known| names::is_digest_of(known, name) && known.ends_with(digest))
    }

    /// Whether a build from the image may read more than its own Dockerfile says.
    ///
    /// Podman does not tell of `ONBUILD` but in the history. Limit: that keeps the line in images
    /// built from such a one, whose instructions are done; in doubt those read as well.
    pub(in crate::bake) fn reads_on_build(&self) -> bool {
        let told = self.config.iter().flat_map(|config| &config.on_build).flatten().map(String::as_str);
        let steps = self.history.iter().flatten().filter_map(|step| step.created_by.as_deref());
        told.chain(steps.filter_map(on_build)).any(reads)
    }

    /// Whether podman would take the image under `localhost/` for `name`.
    fn is_under_localhost(&self, name: &str) -> bool {
        let own = names::sought(name, Engine::Podman).into_iter().find(|name| self.has_tag(name));
        own.is_some_and(|name| name.starts_with("localhost/"))
    }

    /// Why the image is not for the platform of its key, if so. Where the engine names no variant,
    /// none is compared.
    pub(in crate::bake) fn other_platform(&self, key: &Platform) -> Option<String> {
        let [os, arch, variant] =
            [&self.os, &self.architecture, &self.variant].map(|part| part.as_deref().unwrap_or_default());
        let own = Platform::new(os, arch, Some(variant));
        (!key.is_of_image(os, arch, variant)).then(|| {
            format!(
                "the engine built it for {own}, and its key says {key}; `platform = \"{own}\"` in larder.toml asks for \
                 what was built"
            )
        })
    }

    fn digests(&self) -> impl Iterator<Item = &String> {
        self.repo_digests.iter().flatten()
    }

    fn has_tag(&self, name: &str) -> bool {
        self.repo_tags.iter().flatten().any(|tag| tag == name)
    }
}

/// Whether the instruction may read more than it says.
fn reads(line: &str) -> bool {
    let keyword = line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    matches!(keyword.as_str(), "ADD" | "COPY") || (keyword == "RUN" && line.contains("--mount"))
}

/// The instruction for later builds that a line of the history has: `ONBUILD COPY . /`, in docker's
/// and buildah's spelling after `/bin/sh -c #(nop)`.
fn on_build(line: &str) -> Option<&str> {
    let line = line.split_once("#(nop)").map_or(line, |(_, line)| line).trim_start();
    let (keyword, rest) = line.split_once(char::is_whitespace)?;
    keyword.eq_ignore_ascii_case("ONBUILD").then(|| rest.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspected(json: &str) -> Inspected {
        serde_json::from_str(json).expect("an image")
    }

    #[track_caller]
    fn local(engine: Engine, name: &str, json: &str, expected: bool) {
        assert_eq!(inspected(json).is_local(name, engine), expected, "{name} in {json}");
    }

    #[test]
    fn an_image_without_a_registrys_digest_is_local() {
        let docker = |json, expected| local(Engine::Docker, "base", json, expected);
        docker(r#"{"Id":"sha256:00","RepoTags":["base:latest"],"RepoDigests":[]}"#, true);
        docker(r#"{"Id":"sha256:00","RepoDigests":null}"#, true);
        docker(r#"{"Id":"sha256:00","RepoDigests":["base@sha256:01"]}"#, false);
        docker(r#"{"Id":"sha256:00","RepoDigests":["base@sha256:00"]}"#, true);
        docker(
            r#"{"Id":"00","RepoTags":["localhost/base:latest"],"RepoDigests":["localhost/base@sha256:01"]}"#,
            true,
        );
    }

    #[test]
    fn a_digest_under_another_name_is_not_of_this_one() {
        let docker = |name, digest: &str, expected| {
            let json = format!(r#"{{"Id":"sha256:00","RepoDigests":["{digest}@sha256:01"]}}"#);
            local(Engine::Docker, name, &json, expected);
        };
        docker("base:1", "host:5000/base", true);
        docker("host:5000/base:1", "host:5000/base", false);
        docker("host:5000/base", "host:5000/base/other", true);
        docker("debian:12", "debian", false);
        docker("docker.io/library/debian:12", "debian", false);
    }

    #[test]
    fn another_image_has_other_digests_of_the_name() {
        let image =
            inspected(r#"{"Id":"0","RepoDigests":["x.y/b@sha256:01","x.y/b@sha256:02","x.y/c@sha256:03"]}"#);
        let is_other = |name, digest| image.is_other(name, digest);
        assert!(is_other("x.y/b:1", "sha256:03") && is_other("x.y/b", "sha256:00"));
        assert!(!is_other("x.y/b:1", "sha256:01") && !is_other("x.y/b:1", "sha256:02"));
        assert!(
            is_other("x.y/b:1", "sha256:03") && inspected(r#"{"Id":"0"}"#).is_other("x.y/b", "sha256:01")
        );
    }

    #[test]
    fn instructions_for_later_builds_are_known_where_they_read() {
        let reads = |line: &str| {
            inspected(&format!(r#"{{"Id":"0","Config":{{"OnBuild":[{line}]}}}}"#)).reads_on_build()
        };
        assert!(reads(r#""RUN make","copy . /src""#) && reads(r#""ADD a /a""#));
        assert!(reads(r#""RUN --mount=target=/s make""#));
        assert!(!reads(r#""RUN make","ENV A=COPY""#) && !reads(""));
        assert!(!inspected(r#"{"Id":"0","Config":{"OnBuild":null}}"#).reads_on_build());
        assert!(!inspected(r#"{"Id":"0","Config":null}"#).reads_on_build());
    }

    #[test]
    fn instructions_for_later_builds_are_known_from_podmans_history() {
        let reads = |line: &str| {
            let history =
                format!(r#"[{{"created_by":"COPY a /a"}},{{"empty_layer":true}},{{"created_by":"{line}"}}]"#);
            inspected(&format!(r#"{{"Id":"0","Config":{{}},"History":{history}}}"#)).reads_on_build()
        };
        assert!(reads("/bin/sh -c #(nop)  ONBUILD COPY f /f") && reads("/bin/sh -c #(nop) ONBUILD add f /f"));
        assert!(reads("ONBUILD COPY f /f") && reads("onbuild  RUN --mount=target=/s make"));
        assert!(!reads("/bin/sh -c #(nop) ONBUILD RUN make") && !reads("/bin/sh -c echo ONBUILD COPY f /f"));
        assert!(
            !reads("ONBUILD") && !reads("") && !inspected(r#"{"Id":"0","History":null}"#).reads_on_build()
        );
    }

    #[test]
    fn what_podman_has_under_localhost_is_local() {
        let podman = |name, tag: &str, expected| {
            let json = format!(r#"{{"Id":"00","RepoTags":["x:1","{tag}"],"RepoDigests":["a@sha256:01"]}}"#);
            local(Engine::Podman, name, &json, expected);
        };
        podman("base", "localhost/base:latest", true);
        podman("localhost/base", "localhost/base:latest", true);
        podman("debian:12", "docker.io/library/debian:12", false);
        podman("docker.io/library/base", "localhost/base:latest", false);
    }

    #[track_caller]
    fn platform(json: &str, key: &str, agrees: bool) {
        let key = key.parse().expect("a platform");
        assert_eq!(inspected(json).other_platform(&key).is_none(), agrees, "{json} for {key}");
    }

    #[test]
    fn the_platform_is_compared_in_any_spelling() {
        let amd = r#"{"Id":"0","Os":"linux","Architecture":"amd64"}"#;
        platform(amd, "linux/amd64", true);
        platform(amd, "linux/arm64", false);
        platform(r#"{"Id":"0","Os":"linux","Architecture":"aarch64","Variant":"v8"}"#, "linux/arm64", true);
        let v6 = r#"{"Id":"0","Os":"linux","Architecture":"arm","Variant":"v6"}"#;
        platform(v6, "linux/arm/v6", true);
        platform(v6, "linux/arm/v7", false);
        platform(r#"{"Id":"0","Os":"linux","Architecture":"arm"}"#, "linux/arm/v6", true);
        platform(amd, "linux/amd64/v3", true);
        platform(r#"{"Id":"0"}"#, "linux/amd64", false);
    }
}
