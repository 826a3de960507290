//! A project of compose files, as larder reads it.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use larder::compose::{Order, Request, Surroundings, prepare};
use larder::config::Given;
use larder::config::image::Context;
use larder_tests::Session;
use serde_json::{Value, json};

/// The folders that contexts are in: compose looks whether they are there.
const FOLDERS: [&str; 10] = [
    "app",
    "web",
    "lib",
    "common/app",
    "common/more",
    "parts/one/app",
    "parts/two/app",
    "deep/web",
    "deep/app",
    "sub",
];

/// A copy of one of the sample projects.
pub(crate) fn project(name: &str) -> Session {
    let session = Session::new();
    let from = format!("{}/tests/compose/projects/{name}", env!("CARGO_MANIFEST_DIR"));
    session.run(&format!("cp -r {from}/. . && mkdir -p {}", FOLDERS.join(" "))).ok();
    session
}

/// How larder is asked.
#[derive(Default)]
pub(crate) struct Asked<'a> {
    /// Below the project.
    pub(crate) folder: &'a str,
    pub(crate) request: Request,
    pub(crate) names: &'a [&'a str],
    pub(crate) variables: &'a [(&'a str, &'a str)],
}

/// What larder reads.
pub(crate) struct ReadAs {
    /// The builds, by service: as `docker-compose config` has them.
    pub(crate) builds: BTreeMap<String, Value>,
    /// The services that would be baked.
    pub(crate) chosen: Vec<String>,
}

/// What larder reads in a folder; the error, as it is shown.
pub(crate) fn read(root: &Utf8Path, asked: &Asked<'_>) -> Result<ReadAs, String> {
    let folder = root.join(asked.folder).canonicalize_utf8().expect("a folder");
    let variables: BTreeMap<_, _> =
        asked.variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let names: Vec<_> = asked.names.iter().map(|name| (*name).to_owned()).collect();
    let lookup = |name: &str| variables.get(name).cloned();
    let order = Order {
        request: &asked.request,
        around: Surroundings { folder: &folder, variables: &variables, settings: None },
        names: &names,
        in_place: false,
        devcontainer: None,
        file: None,
        given: &Given { set: &[], build_args: &[], variables: &lookup },
    };
    // As it is shown, without its line breaks.
    let shown =
        |error: miette::Report| format!("{error:?}").replace("\n  │ ", " ").replace("\n        ", " ");
    let prepared = prepare(&order).map_err(shown)?;
    let build = |image: &larder::config::image::Image| {
        let build = image.as_build()?;
        let full = |path: &Utf8Path| clean(&prepared.root().join(path));
        let contexts: BTreeMap<_, _> = build
            .contexts
            .iter()
            .map(|(name, context)| match context {
                Context::Given(text) => (name.clone(), text.clone()),
                Context::Image { name: image, .. } => (name.clone(), format!("service:{image}")),
            })
            .collect();
        let value = json!({
            "context": full(&build.context),
            "dockerfile": build.dockerfile,
            "args": build.args,
            "labels": build.labels,
            "target": build.target,
            "network": build.network,
            "cache_from": build.cache_from,
            "contexts": contexts,
            "ssh": build.ssh,
            "flags": build.flags,
            "no_cache": build.no_cache,
            "platform": image.platform().to_string(),
            "tags": image.tags,
            "pin": image.pinned(&"0".repeat(64)),
            "needs": image.needs,
            "secrets": build.secrets.keys().collect::<Vec<_>>(),
        });
        Some((image.name.clone(), value))
    };
    let builds = prepared.project().images.iter().filter_map(build).collect();
    Ok(ReadAs { builds, chosen: prepared.names().to_vec() })
}

fn clean(path: &Utf8Path) -> Utf8PathBuf {
    path.components().collect()
}

/// The files of a request.
pub(crate) fn files(names: &[&str]) -> Request {
    Request { files: names.iter().map(Into::into).collect(), ..Request::default() }
}
