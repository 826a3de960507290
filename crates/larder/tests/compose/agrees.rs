//! What larder reads is what `docker-compose config` and `podman-compose config` print.

use std::collections::BTreeMap;

use larder::compose::Request;
use larder_tests::{Part, Session, have};
use serde_json::{Map, Value, json};

use crate::kit::{Asked, files, project, read};

/// Reads YAML without larder: the last word is the reader's that compose itself is written with.
const TO_JSON: &str =
    "python3 -c 'import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout, default=str)'";

/// The services that compose prints.
fn printed(session: &Session, folder: &str, line: &str, variables: &[(&str, &str)]) -> Map<String, Value> {
    let set: Vec<_> = variables.iter().map(|(name, value)| format!("export {name}='{value}'; ")).collect();
    let set = set.concat();
    let line = format!("cd ./{folder} && {set}{line} config >config.out && {TO_JSON} <config.out");
    let mut whole = session.run(&line).ok().json();
    // What it prints is a compose file again.
    undouble(&mut whole);
    whole["services"].as_object().expect("services").clone()
}

fn undouble(value: &mut Value) {
    match value {
        Value::String(text) => *text = text.replace("$$", "$"),
        Value::Array(items) => items.iter_mut().for_each(undouble),
        Value::Object(map) => map.values_mut().for_each(undouble),
        _ => {}
    }
}

/// The part of a build that all of them tell, in one form. Paths are in full.
fn build_of(service: &Value) -> Option<Value> {
    let build = service.get("build")?;
    let pairs = |name: &str| -> BTreeMap<String, String> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match &build[name] {
            Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
            Value::Array(list) => list
                .iter()
                .filter_map(|word| word.as_str()?.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            _ => BTreeMap::new(),
        }
    };
    let mut from: Vec<_> = build["cache_from"].as_array().into_iter().flatten().cloned().collect();
    from.sort_by_key(ToString::to_string);
    Some(json!({
        "context": build["context"].as_str().map(|path| path.trim_end_matches('/')),
        "dockerfile": build.get("dockerfile").cloned().unwrap_or("Dockerfile".into()),
        "args": pairs("args"),
        "labels": pairs("labels"),
        "target": build.get("target"),
        "network": build.get("network"),
        "cache_from": from,
    }))
}

/// The same of what larder reads.
fn own(build: &Value) -> Value {
    let mut own = build.clone();
    let map = own.as_object_mut().expect("a build");
    map.retain(|name, _| {
        ["context", "dockerfile", "args", "labels", "target", "network", "cache_from"]
            .contains(&name.as_str())
    });
    if let Some(list) = map.get_mut("cache_from").and_then(Value::as_array_mut) {
        list.sort_by_key(ToString::to_string);
    }
    own
}

/// Holds what larder reads against what compose prints. `but`: services that compose fetches from
/// elsewhere.
#[track_caller]
fn agree(session: &Session, line: &str, asked: &Asked<'_>, but: &[&str]) {
    let theirs = printed(session, asked.folder, line, asked.variables);
    let ours = read(&session.path(""), asked).unwrap_or_else(|error| panic!("{error}"));
    let mut compared: Vec<_> = Vec::new();
    for (name, service) in theirs.iter().filter(|(name, _)| !but.contains(&name.as_str())) {
        let Some(build) = build_of(service) else { continue };
        let own_build = ours.builds.get(name).unwrap_or_else(|| panic!("{name} is not read"));
        assert_eq!(own(own_build), build, "{name} by `{line}`");
        if let Some(image) = service.get("image") {
            assert_eq!(&own_build["tags"][0], image, "{name} by `{line}`");
        }
        compared.push(name.clone());
    }
    assert!(!compared.is_empty(), "nothing was compared");
    // docker-compose prints the services of all profiles.
    if !line.starts_with("docker-compose") {
        let mut chosen = ours.chosen.clone();
        chosen.retain(|name| !but.contains(&name.as_str()));
        chosen.sort();
        compared.sort();
        assert_eq!(chosen, compared, "which are active, by `{line}`");
    }
}

/// The same of a project in its own folder.
#[track_caller]
fn docker_compose_agrees(name: &str, flags: &str, asked: &Asked<'_>, but: &[&str]) {
    if have(&[Part::DockerCompose, Part::Yaml]) {
        agree(&project(name), &format!("docker-compose {flags}"), asked, but);
    }
}

#[test]
fn builds_in_all_forms() {
    let variables = [("FROM_OUTSIDE", "set")];
    let asked = Asked { variables: &variables, ..Asked::default() };
    docker_compose_agrees("forms", "", &asked, &["remote"]);
}

#[test]
fn anchors_and_merge_keys() {
    docker_compose_agrees("anchors", "", &Asked::default(), &[]);
}

#[test]
fn variables_and_the_file_of_them() {
    let variables = [("OUTER", "from outside"), ("FLAVOR", "red")];
    let asked = Asked { variables: &variables, ..Asked::default() };
    docker_compose_agrees("variables", "", &asked, &[]);
}

#[test]
fn another_file_of_variables() {
    if !have(&[Part::DockerCompose, Part::Yaml]) {
        return;
    }
    let session = project("variables");
    session.run("sed 's/word/other/; s/^TAG.*//' .env >other.env; echo TAG=7 >>other.env").ok();
    let request = Request { env_files: vec!["other.env".into()], ..Request::default() };
    agree(&session, "docker-compose --env-file other.env", &Asked { request, ..Asked::default() }, &[]);
}

#[test]
fn a_file_above_by_its_name() {
    docker_compose_agrees("override", "", &Asked::default(), &[]);
    let asked = Asked { request: files(&["docker-compose.yml"]), ..Asked::default() };
    docker_compose_agrees("override", "-f docker-compose.yml", &asked, &[]);
}

#[test]
fn several_files_in_several_folders() {
    let names = ["base.yml", "deep/dev.yml", "deep/last.yml"];
    let asked = Asked { request: files(&names), ..Asked::default() };
    docker_compose_agrees("several", "-f base.yml -f deep/dev.yml -f deep/last.yml", &asked, &[]);
    let request = Request { directory: Some("deep".into()), ..files(&names) };
    let asked = Asked { request, ..Asked::default() };
    let flags = "--project-directory deep -f base.yml -f deep/dev.yml -f deep/last.yml";
    docker_compose_agrees("several", flags, &asked, &[]);
}

#[test]
fn services_that_extend_others() {
    docker_compose_agrees("extends", "", &Asked::default(), &[]);
}

#[test]
fn profiles() {
    docker_compose_agrees("profiles", "--profile dev --profile ci", &active(&["dev", "ci"]), &[]);
    docker_compose_agrees("profiles", "", &Asked::default(), &[]);
    let variables = [("COMPOSE_PROFILES", "test, none")];
    let ours = read(&project("profiles").path(""), &Asked { variables: &variables, ..Asked::default() });
    assert_eq!(ours.unwrap_or_else(|error| panic!("{error}")).chosen, ["always", "test"]);
}

fn active<'a>(profiles: &[&str]) -> Asked<'a> {
    let profiles = profiles.iter().map(|name| (*name).to_owned()).collect();
    Asked { request: Request { profiles, ..Request::default() }, ..Asked::default() }
}

#[test]
fn values_of_all_kinds() {
    docker_compose_agrees("values", "", &Asked::default(), &[]);
}

#[test]
fn files_that_are_found_upward() {
    docker_compose_agrees("upward", "", &Asked { folder: "sub", ..Asked::default() }, &[]);
}

#[test]
fn files_that_a_variable_names() {
    let variables = [
        ("COMPOSE_FILE", "one.yml@two.yml"),
        ("COMPOSE_PATH_SEPARATOR", "@"),
        ("COMPOSE_PROJECT_NAME", "mine"),
    ];
    docker_compose_agrees("named", "", &Asked { variables: &variables, ..Asked::default() }, &[]);
    if !have(&[Part::DockerCompose, Part::Yaml]) {
        return;
    }
    let session = project("named");
    session.write(".env", "COMPOSE_FILE=one.yml:two.yml\nCOMPOSE_PROJECT_NAME=ours\n");
    agree(&session, "docker-compose", &Asked::default(), &[]);
}

#[test]
fn podman_compose_agrees_too() {
    if !have(&[Part::PodmanCompose, Part::Yaml]) {
        return;
    }
    // It changes what an anchor has while it reads it: `three` gets the args of `one`.
    agree(&project("anchors"), "podman-compose", &Asked::default(), &["three"]);
    // Of what it includes it takes paths from the project's folder, and not, as the specification
    // and docker's compose have it, from the included file's: `specification.rs` has those.
    let asked = Asked { request: files(&["base.yml", "deep/dev.yml"]), ..Asked::default() };
    agree(&project("several"), "podman-compose -f base.yml -f deep/dev.yml", &asked, &[]);
    // `!reset` and `!override` end its 1.6.0 with an error.
    agree(&project("profiles"), "podman-compose --profile dev", &active(&["dev"]), &[]);
}
