//! What only the specification says: forms that neither of the two programs at hand knows.

use larder::compose::Request;
use larder_tests::Session;
use serde_json::{Value, json};

use crate::kit::{Asked, ReadAs, files, read};

fn session(text: &str) -> Session {
    let session = Session::new();
    session.run("mkdir app lib").ok();
    session.file("compose.yml", text)
}

#[track_caller]
fn read_of(session: &Session, asked: &Asked<'_>) -> ReadAs {
    read(&session.path(""), asked).unwrap_or_else(|error| panic!("{error}"))
}

/// The build of the service `app`.
#[track_caller]
fn app(text: &str) -> Value {
    read_of(&session(text), &Asked::default()).builds.remove("app").expect("a build")
}

#[test]
fn other_services_and_images_are_contexts() {
    let text = "services:\n  app:\n    build:\n      context: app\n      additional_contexts:\n        up: service:base\n        db: service:db\n        \
                src: ./lib\n        img: docker-image://team/x:1\n  base: {build: lib}\n  db: {image: 'db:2'}\n";
    let build = app(text);
    let contexts = json!({"up": "service:base", "db": "docker-image://db:2", "src": "lib", "img": "docker-image://team/x:1"});
    assert_eq!((&build["contexts"], &build["needs"]), (&contexts, &json!(["base"])));
}

#[test]
fn secrets_and_keys_are_handed_on() {
    let text = "services:\n  app:\n    build:\n      context: app\n      ssh: [default, 'key=~/k']\n      secrets: [one, {source: two, target: other}, three]\n\
                secrets:\n  one: {environment: ONE}\n  two: {file: ./secret}\n  three: {environment: IN_FILE}\n";
    let session = session(text).file(".env", "IN_FILE=value\n");
    let variables = [("HOME", "/home/u"), ("ONE", "1")];
    let build = read_of(&session, &Asked { variables: &variables, ..Asked::default() }).builds.remove("app");
    let build = build.expect("a build");
    assert_eq!(
        (&build["ssh"], &build["secrets"]),
        (&json!(["default", "key=/home/u/k"]), &json!(["one", "other", "three"]))
    );
}

#[test]
fn the_rest_of_a_build_is_read() {
    let text = "services:\n  app:\n    platform: linux/arm64\n    build:\n      context: app\n      no_cache: true\n      tags: ['x:1', 'y:2']\n      shm_size: 64m\n      \
                extra_hosts: ['a=1.2.3.4', 'b:5.6.7.8']\n      ulimits: {nofile: {soft: 1, hard: 2}, nproc: 3}\n      platforms: [linux/amd64, linux/arm64]\n";
    let build = app(text);
    let flags = json!([
        ["--add-host", "a:1.2.3.4"],
        ["--add-host", "b:5.6.7.8"],
        ["--shm-size", "64m"],
        ["--ulimit", "nofile=1:2"],
        ["--ulimit", "nproc=3"]
    ]);
    assert_eq!((&build["flags"], &build["no_cache"]), (&flags, &json!(true)));
    assert_eq!(build["platform"], "linux/arm64");
    assert_eq!(build["tags"], json!(["work-app", "x:1", "y:2"]));
    assert_eq!(build["pin"], "work-app:larder-000000000000");
}

#[test]
fn a_dockerfile_may_stand_in_the_file() {
    let build = app(
        "services:\n  app:\n    build:\n      context: app\n      dockerfile_inline: |\n        FROM scratch\n        COPY . /\n",
    );
    let path = build["dockerfile"].as_str().expect("a path");
    assert!(path.ends_with(".Dockerfile") && path.starts_with('/'), "{path}");
}

#[test]
fn a_service_that_is_named_needs_no_profile() {
    let text = "services:\n  app: {build: app, profiles: [dev]}\n  web: {build: lib}\n  db: {image: x}\n";
    let session = session(text);
    let chosen = |names: &[&str]| {
        read(&session.path(""), &Asked { names, ..Asked::default() }).map(|read| read.chosen)
    };
    assert_eq!(chosen(&["app"]), Ok(vec!["app".to_owned()]));
    assert_eq!(chosen(&[]), Ok(vec!["web".to_owned()]));
    for (name, message) in [
        ("db", "cannot build the service `db`: it has no `build`"),
        ("wev", "is `web` meant?"),
        ("x", "those that are built are app, web"),
    ] {
        assert!(chosen(&[name]).expect_err(name).contains(message), "{name}");
    }
}

#[test]
fn included_files_have_a_folder_and_variables_of_their_own() {
    let session = session(
        "include:\n  - path: [part/compose.yml, part/over.yml]\n    env_file: own.env\n  - other/compose.yml\nservices:\n  app:\n    extends: part\n    build: {args: {C: '3'}}\n",
    );
    session.write("own.env", "A=own\nB=own\n");
    session
        .write("part/compose.yml", "services:\n  part: {build: {context: src, args: {A: '$A', B: '$B'}}}\n");
    session.write("part/over.yml", "services: {part: {build: {target: over}}}\n");
    session.write("other/compose.yml", "services:\n  other: {build: {context: ., args: {A: '$A'}}}\n");
    session.write("other/.env", "A=beside\n");
    let variables = [("B", "outer")];
    let read = read_of(&session, &Asked { variables: &variables, ..Asked::default() });
    let of = |name: &str, key: &str| read.builds[name][key].clone();
    assert_eq!(of("part", "args"), json!({"A": "own", "B": "outer"}));
    assert_eq!(of("part", "context"), session.path("part/src").as_str());
    assert_eq!(of("part", "target"), "over");
    assert_eq!(of("other", "args"), json!({"A": "beside"}));
    assert_eq!(of("app", "args"), json!({"A": "own", "B": "outer", "C": "3"}));
    assert_eq!(of("app", "context"), session.path("part/src").as_str());
}

#[test]
fn the_projects_name_comes_from_where_compose_takes_it() {
    let text = "name: In-${X:-File}\nservices: {app: {build: {context: app, args: {N: '${COMPOSE_PROJECT_NAME}'}}}}\n";
    let name = |request: Request, variables: &[(&str, &str)]| {
        let read = read_of(&session(text), &Asked { request, variables, ..Asked::default() });
        assert_eq!(
            format!("{}-app", read.builds["app"]["args"]["N"].as_str().expect("a name")),
            read.builds["app"]["tags"][0]
        );
        read.builds["app"]["args"]["N"].as_str().expect("a name").to_owned()
    };
    assert_eq!(name(Request::default(), &[]), "in-file");
    assert_eq!(name(Request::default(), &[("COMPOSE_PROJECT_NAME", "env")]), "env");
    let request = Request { name: Some("flag".to_owned()), ..Request::default() };
    assert_eq!(name(request, &[("COMPOSE_PROJECT_NAME", "env")]), "flag");
    let request = Request { name: Some("No Name".to_owned()), ..Request::default() };
    let error = read(&session(text).path(""), &Asked { request, ..Asked::default() }).err().expect("refused");
    assert!(error.contains("`No Name` is not a project name"), "{error}");
}

#[test]
fn one_name_belongs_to_one_build() {
    let text = "services:\n  app: {image: same, build: app}\n  twin: {image: same, build: app}\n";
    let read = read_of(&session(text), &Asked::default());
    assert_eq!(
        (&read.builds["app"]["tags"], &read.builds["twin"]["tags"]),
        (&json!(["same"]), &json!(["work-twin:larder"]))
    );
    let other = session("services:\n  app: {image: same, build: app}\n  twin: {image: same, build: lib}\n");
    let error = kit_error(&other);
    assert!(error.contains("built in two ways, and both are called `same`"), "{error}");
}

fn kit_error(session: &Session) -> String {
    read(&session.path(""), &Asked::default()).err().expect("refused")
}

#[test]
fn several_documents_lie_above_one_another() {
    assert_eq!(
        app("services: {app: {build: app}}\n---\nservices: {app: {build: {target: x}}}\n")["target"],
        "x"
    );
}

#[test]
fn a_file_from_elsewhere_has_its_own_folder() {
    let session = session("services: {}\n");
    session.write("app/deploy.yml", "services: {app: {build: ../lib}}\n");
    let read = read_of(&session, &Asked { request: files(&["app/deploy.yml"]), ..Asked::default() });
    assert_eq!(read.builds["app"]["context"], session.path("lib").as_str());
}

#[test]
fn of_several_files_of_variables_the_last_one_counts() {
    let text = "services: {app: {build: {context: app, args: {A: '$A', B: '$B', C: '$C'}}}}\n";
    let session =
        session(text).file("one.env", "A=1\nB=1\n").file("two.env", "B=2\nC=$A-$B\n").file(".env", "A=no\n");
    let request = Request { env_files: vec!["one.env".into(), "two.env".into()], ..Request::default() };
    let variables = [("B", "outer")];
    let build =
        read_of(&session, &Asked { request: request.clone(), ..Asked::default() }).builds.remove("app");
    assert_eq!(build.expect("a build")["args"], json!({"A": "1", "B": "2", "C": "1-2"}));
    let build =
        read_of(&session, &Asked { request, variables: &variables, ..Asked::default() }).builds.remove("app");
    assert_eq!(build.expect("a build")["args"], json!({"A": "1", "B": "outer", "C": "1-outer"}));
}

#[test]
fn the_file_that_a_bake_writes_is_not_read() {
    let session = session("services: {app: {build: app}}\n");
    session.write("docker-compose.larder.yml", "services: {app: {image: 'work-app:larder-0'}}\n");
    let variables = [("COMPOSE_FILE", "compose.yml:docker-compose.larder.yml")];
    assert!(
        read(&session.path(""), &Asked { variables: &variables, ..Asked::default() }).is_err(),
        "it is another's"
    );
    session.run("rm docker-compose.larder.yml").ok();
    let read = read_of(&session, &Asked { variables: &variables, ..Asked::default() });
    assert_eq!(read.builds["app"]["tags"], json!(["work-app"]));
}

#[test]
fn what_is_built_from_elsewhere_is_left_to_compose() {
    let remote = "  remote: {build: 'https://example.org/x.git'}\n";
    let both = session(&format!("services:\n  app: {{build: app}}\n{remote}"));
    assert_eq!(read_of(&both, &Asked::default()).chosen, ["app"]);
    let error = |session: &Session, names: &[&str]| {
        read(&session.path(""), &Asked { names, ..Asked::default() }).err().expect("refused")
    };
    assert!(error(&both, &["remote"]).contains("is not a folder of this machine"));
    let alone = session(&format!("services:\n{remote}"));
    assert!(error(&alone, &[]).contains("no service of the compose files is built from a folder"));
}
