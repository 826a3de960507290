//! Which package may depend on which, as cargo itself sees it.
//!
//! The tools are tied by formats alone: each may use `storekit` and `toolkit`, none another tool;
//! `toolkit` may use `storekit`, and `xtask` the orchestrator. `storekit` stays free of engines,
//! registries, networks, archives, terminals and command lines.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use cargo_metadata::{DependencyKind, MetadataCommand};
use miette::Diagnostic;
use thiserror::Error;

/// The store, which all share.
const SHARED: &str = "storekit";
/// The edge of every tool. It uses the store and no other member.
const EDGE: &str = "toolkit";
/// The orchestrator: it runs the tools as processes, and links none of them.
const ORCHESTRATOR: &str = "larder";
/// This repository's own checks, which call the orchestrator.
const OWN: &str = "xtask";
/// What their tests share. It uses no other member.
const TESTS: &str = "larder-tests";
/// What would bring an engine, a registry, a network, an archive, a terminal or a command line into
/// `storekit`.
const FOREIGN: [&str; 26] = [
    "async-compression",
    "bollard",
    "bzip2",
    "clap",
    "console",
    "crossterm",
    "curl",
    "flate2",
    "h2",
    "http",
    "hyper",
    "indicatif",
    "native-tls",
    "oci-client",
    "oci-distribution",
    "object_store",
    "openssl",
    "reqwest",
    "rustls",
    "supports-color",
    "tar",
    "termcolor",
    "tokio",
    "ureq",
    "zip",
    "zstd",
];
/// The tools that speak HTTP. They alone turn on `toolkit`'s [`NET`], and link [`TLS`].
const CONNECTED: [&str; 2] = ["imgtar", "pkgcache"];
/// The feature of `toolkit` for them.
const NET: &str = "net";
/// What no other member links.
const TLS: &str = "rustls";
/// Its terminal parts are behind features that only the tools turn on; cargo's view merges the
/// features of all.
const FEATURED: &str = "miette";

/// Each package by name, with what it links: tests' and build scripts' needs included for members.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// Why the rules do not hold.
#[derive(Debug, Error, Diagnostic)]
pub enum RulesError {
    /// cargo gave no answer.
    #[error("cannot read the workspace's packages")]
    #[diagnostic(code(xtask::metadata), help("`cargo metadata` says more"))]
    Metadata(#[from] cargo_metadata::Error),
    /// One line for each breach.
    #[error("dependencies run the wrong way: {}", .0.join("; "))]
    #[diagnostic(code(xtask::rules), help("tools are tied by the formats in FORMAT.md: see ARCHITECTURE.md"))]
    Broken(Vec<String>),
}

/// Checks the workspace in `root`.
///
/// # Errors
/// `Broken`, with every breach; `Metadata`.
pub fn check(root: &Utf8Path) -> Result<(), RulesError> {
    let (members, graph, connected) = read(root)?;
    let mut broken = breaches(&members, &graph);
    broken.extend(disconnected(&connected));
    if broken.is_empty() { Ok(()) } else { Err(RulesError::Broken(broken)) }
}

/// The members, the graph, and the members that turn on `toolkit`'s `net`.
fn read(root: &Utf8Path) -> Result<(BTreeSet<String>, Graph, Vec<String>), RulesError> {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut command = MetadataCommand::new();
    command.current_dir(root).other_options([
        "--locked".to_owned(),
        "--filter-platform".to_owned(),
        platform,
    ]);
    let metadata = command.exec()?;
    let members: BTreeSet<_> =
        metadata.workspace_packages().iter().map(|package| package.name.to_string()).collect();
    let mut graph = Graph::new();
    for node in metadata.resolve.iter().flat_map(|resolve| &resolve.nodes) {
        let name = metadata[&node.id].name.to_string();
        let counts = |kind| kind == DependencyKind::Normal || members.contains(&name);
        let linked = node.deps.iter().filter(|dep| dep.dep_kinds.iter().any(|info| counts(info.kind)));
        let linked: Vec<_> = linked.map(|dep| metadata[&dep.pkg].name.to_string()).collect();
        graph.entry(name).or_default().extend(linked);
    }
    let turns_on = |package: &&cargo_metadata::Package| {
        package.dependencies.iter().any(|it| it.name == EDGE && it.features.iter().any(|name| name == NET))
    };
    let connected =
        metadata.workspace_packages().into_iter().filter(turns_on).map(|it| it.name.to_string()).collect();
    Ok((members, graph, connected))
}

/// One line for each dependency that must not be.
fn breaches(members: &BTreeSet<String>, graph: &Graph) -> Vec<String> {
    let mut broken = Vec::new();
    for member in members {
        let own = graph.get(member).into_iter().flatten().filter(|dep| members.contains(*dep));
        let wrong = own.filter(|dep| !may_use(member, dep));
        broken.extend(wrong.map(|dep| format!("`{member}` depends on `{dep}`")));
        let links_tls = !CONNECTED.contains(&member.as_str()) && closure(member, graph).contains(TLS);
        broken.extend(links_tls.then(|| format!("`{member}` brings in `{TLS}`")));
    }
    let below = closure(SHARED, graph);
    let foreign = FOREIGN.iter().filter(|name| below.contains(**name));
    broken.extend(foreign.map(|name| format!("`{SHARED}` brings in `{name}`")));
    broken
}

/// A line for each member that turns on what is for tools that speak HTTP, and is not one.
fn disconnected(connected: &[String]) -> Vec<String> {
    let wrong = connected.iter().filter(|name| !CONNECTED.contains(&name.as_str()));
    wrong.map(|name| format!("`{name}` turns on `{NET}` of `{EDGE}`")).collect()
}

/// Whether one member of the workspace may use another.
fn may_use(member: &str, dep: &str) -> bool {
    match member {
        SHARED | TESTS => false,
        EDGE => dep == SHARED,
        OWN if dep == ORCHESTRATOR => true,
        _ => [SHARED, EDGE, TESTS].contains(&dep),
    }
}

/// All that `start` links, directly or not; what is below `FEATURED` is not looked at.
fn closure<'a>(start: &'a str, graph: &'a Graph) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut open = vec![start];
    while let Some(name) = open.pop() {
        if seen.insert(name) && name != FEATURED {
            open.extend(graph.get(name).into_iter().flatten().map(String::as_str));
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn finds(links: &[(&str, &[&str])], expected: &[&str]) {
        let members =
            ["storekit", "toolkit", "hashctx", "imgtar", "larder", "xtask"].map(str::to_owned).into();
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let graph = links.iter().map(|(name, deps)| ((*name).to_owned(), set(deps))).collect();
        assert_eq!(breaches(&members, &graph), expected);
    }

    #[test]
    fn this_workspace_keeps_the_rules() {
        let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
        check(root).expect("rules that hold");
    }

    #[test]
    fn a_tool_may_use_the_shared_library() {
        finds(&[("hashctx", &["storekit", "tar"]), ("imgtar", &["storekit"]), ("xtask", &["storekit"])], &[]);
    }

    #[test]
    fn a_tool_and_its_edge_run_one_way() {
        finds(&[("hashctx", &["toolkit"]), ("toolkit", &["storekit", "clap"])], &[]);
        finds(&[("storekit", &["toolkit"])], &["`storekit` depends on `toolkit`"]);
        finds(&[("toolkit", &["imgtar"])], &["`toolkit` depends on `imgtar`"]);
    }

    #[test]
    fn no_member_uses_a_tool() {
        finds(&[("hashctx", &["imgtar"])], &["`hashctx` depends on `imgtar`"]);
        finds(&[("xtask", &["hashctx"])], &["`xtask` depends on `hashctx`"]);
        finds(&[("xtask", &["larder"])], &[]);
        finds(&[("larder", &["hashctx"])], &["`larder` depends on `hashctx`"]);
        finds(&[("imgtar", &["larder"])], &["`imgtar` depends on `larder`"]);
        finds(&[("storekit", &["hashctx"])], &["`storekit` depends on `hashctx`"]);
    }

    #[test]
    fn only_tools_that_speak_http_have_what_that_needs() {
        finds(&[("imgtar", &["ureq"]), ("ureq", &["rustls"])], &[]);
        finds(&[("hashctx", &["a"]), ("a", &["rustls"])], &["`hashctx` brings in `rustls`"]);
        let names = ["pkgcache", "xtask"].map(str::to_owned);
        assert_eq!(disconnected(&names), ["`xtask` turns on `net` of `toolkit`"]);
    }

    #[test]
    fn the_shared_library_stays_free_of_the_foreign() {
        finds(&[("storekit", &["a"]), ("a", &["tar"])], &["`storekit` brings in `tar`"]);
        finds(&[("storekit", &["miette"]), ("miette", &["supports-color"])], &[]);
    }
}
