//! Frontends: programs that `BuildKit` fetches as images and lets read the Dockerfile in its place.
//!
//! docker's own are releases of the code that this module's neighbours follow. Any other may read
//! the file in a way of its own, and any file of the contexts: the whole of both counts then, and
//! what it is stands in [`Analysis::unknowns`].
//!
//! Limit: `docker/dockerfile` of any registry counts as docker's own: mirrors keep its name.

use super::{Analysis, NamedContext, Request, Source, Unknown, What, lines, remote};
use crate::config::PROXY_ARGS;
use crate::dockerignore::Engine;

/// The build argument that names a frontend, whatever the file names.
pub(super) const SYNTAX_ARG: &str = "BUILDKIT_SYNTAX";

/// The frontend that a build asks for.
pub(super) struct Frontend {
    /// The image as the file names it; none where a build argument names it.
    pub(super) written: Option<String>,
    /// As it may be shown: the value of a build argument may not.
    pub(super) shown: String,
    /// Docker's own.
    pub(super) is_dockers: bool,
    /// Its name has a digest.
    pub(super) is_pinned: bool,
}

impl Frontend {
    /// The one that the build argument names, else the file. None is docker's own, in the engine
    /// itself; other engines know no frontends.
    pub(super) fn of(request: &Request<'_>) -> Option<Self> {
        if request.engine != Engine::BuildKit {
            return None;
        }
        let given =
            request.build_args.get(SYNTAX_ARG).map(|text| text.trim()).filter(|text| !text.is_empty());
        let written = || lines::syntax(request.dockerfile);
        let (text, shown) = match given {
            Some(text) => (text.to_owned(), Some(format!("${SYNTAX_ARG}"))),
            None => (written()?, None),
        };
        // What follows the name are words for the frontend.
        let image = text.split(' ').next().unwrap_or_default();
        Some(Self {
            written: shown.is_none().then(|| image.to_owned()),
            shown: shown.unwrap_or_else(|| image.to_owned()),
            is_dockers: is_dockers(image),
            is_pinned: image.contains('@'),
        })
    }

    /// The image of a file's frontend that has no digest.
    pub(super) fn open(&self) -> Option<String> {
        self.written.clone().filter(|_| !self.is_pinned)
    }

    /// Whether it knows `ADD --checksum` and `ADD` of repositories: docker's own from 1.6 on, and
    /// in 1.5 those for experiments. None where its name does not tell.
    pub(super) fn checks_sources(&self) -> Option<bool> {
        let name = self.written.as_deref().filter(|_| self.is_dockers)?;
        let name = name.split('@').next().unwrap_or_default();
        let tag =
            name.rsplit('/').next().and_then(|last| last.split_once(':')).map_or("latest", |(_, tag)| tag);
        let mut parts = tag.split(['.', '-']);
        match (parts.next()?.parse::<u32>().ok(), parts.next()) {
            // The newest there is.
            (None, _) | (Some(1), None | Some("labs")) => Some(true),
            (Some(1), Some(minor)) => {
                let least = if tag.ends_with("labs") { 5 } else { 6 };
                Some(minor.parse::<u32>().ok()? >= least)
            }
            (Some(major), _) => Some(major > 1),
        }
    }

    /// What cannot be known of it.
    pub(super) fn unknowns(&self) -> Vec<Unknown> {
        let foreign = (!self.is_dockers).then(|| Unknown::ForeignFrontend(self.shown.clone()));
        let moving = (!self.is_pinned).then(|| Unknown::MovingSyntax(self.shown.clone()));
        foreign.into_iter().chain(moving).collect()
    }
}

/// Of a build with a foreign frontend: everything that it could read. `read` is what the file says
/// where it is read as docker's own would, as far as it can be; the images in it are worth naming.
pub(super) fn everything(request: &Request<'_>, frontend: &Frontend, read: Option<Analysis>) -> Analysis {
    let mut out = read.unwrap_or_default();
    out.instructions = vec![b"# foreign frontend".to_vec(), request.dockerfile.to_vec()];
    let is_proxy = |name: &str| PROXY_ARGS.contains(&name);
    let given = request.build_args.iter().filter(|(name, _)| !is_proxy(name));
    out.args.extend(given.map(|(name, value)| (name.clone(), value.clone())));
    let folders = request.contexts.keys().filter(|name| request.is_folder(name)).cloned().map(Some);
    let all = |context| Source { context, line: 1, what: What::Everything };
    out.sources = std::iter::once(None).chain(folders).map(all).collect();
    for (name, context) in request.contexts {
        if let NamedContext::Other(address) = context {
            out.remote_contexts.insert(name.clone(), address.clone());
        }
        if remote::moves(context) {
            out.unknowns.push(Unknown::MovingContext(name.clone()));
        }
    }
    out.frontend = frontend.open();
    out.bases.retain(|base| !is_path(&base.reference));
    out.unknowns.retain(is_open);
    out.unknowns.extend(frontend.unknowns());
    out.unknowns.sort();
    out.unknowns.dedup();
    out
}

/// Whether a foreign frontend reads everything.
fn is_open(unknown: &Unknown) -> bool {
    match unknown {
        Unknown::BaseVariable(_) | Unknown::MovingSyntax(_) => false,
        Unknown::Onbuild(image) | Unknown::MovingTag(image) => !is_path(image),
        _ => true,
    }
}

/// `./base.dockerfile`: no image has such a name, and frontends include files so.
fn is_path(reference: &str) -> bool {
    reference.starts_with(['.', '/'])
}

fn is_dockers(image: &str) -> bool {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    let (folder, last) = name.rsplit_once('/').unwrap_or(("", name));
    let last = last.split_once(':').map_or(last, |(last, _)| last);
    let owner = folder.rsplit('/').next().unwrap_or_default();
    owner == "docker" && matches!(last, "dockerfile" | "dockerfile-upstream")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_frontends_are_known_by_their_names() {
        for image in [
            "docker/dockerfile",
            "docker/dockerfile:1",
            "docker/dockerfile:1.7-labs",
            "docker/dockerfile@sha256:00",
            "docker/dockerfile:1@sha256:00",
            "docker.io/docker/dockerfile:1",
            "docker/dockerfile-upstream:master",
            "registry:5000/hub/docker/dockerfile:1",
        ] {
            assert!(is_dockers(image), "{image}");
        }
        for image in
            ["devthefuture/dockerfile-x", "dockerfile:1", "evil.docker/dockerfile", "docker/dockerfile/x"]
        {
            assert!(!is_dockers(image), "{image}");
        }
    }
}
