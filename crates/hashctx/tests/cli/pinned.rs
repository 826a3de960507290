//! Dockerfiles with digests: `--pin`, `--pinned`.

use super::session::Session;

const PIN: &str = "debian:12=sha256:00000000000000000000000000000000000000000000000000000000000000aa";
const FROM: &str = "FROM debian:12@sha256:00000000000000000000000000000000000000000000000000000000000000aa\n";

fn some() -> Session {
    Session::new()
        .file("Dockerfile", "FROM debian:12\nCOPY . /src\n")
        .file("a", "a")
        .file(".dockerignore", "*.log\n")
}

/// The file, as `--pinned` has written it beside the context.
fn written(session: &Session, name: &str) -> Option<String> {
    std::fs::read_to_string(session.path("../out").join(name)).ok()
}

#[test]
fn a_key_does_not_tell_a_pin_from_a_base() {
    let session = some();
    let with = |flag: &str, more: &[&str]| {
        session.ok(&[&["--strict", "-f", "Dockerfile", flag, PIN][..], more, &["."]].concat())
    };
    assert_eq!(with("--pin", &[]), with("--base", &[]));
    assert!(with("--pin", &["--manifest"]).contains("base debian:12 sha256:"));
}

#[test]
fn a_pinned_dockerfile_is_written_with_the_ignore_file_of_its_own() {
    let session = some().folder("../out");
    let write = |engine: &str| {
        session.ok(&["-f", "Dockerfile", "--engine", engine, "--pin", PIN, "--pinned", "../out/D", "."]);
        assert_eq!(written(&session, "D"), Some(format!("{FROM}COPY . /src\n")));
        let ignore = ["D.dockerignore", "D.containerignore"].map(|name| written(&session, name));
        for name in ["D.dockerignore", "D.containerignore"] {
            let _ = std::fs::remove_file(session.path("../out").join(name));
        }
        ignore
    };
    let none = [None, None];
    assert_eq!(
        [write("buildkit"), write("docker"), write("podman")],
        [none.clone(), none.clone(), none.clone()]
    );
    session.write("Dockerfile.containerignore", "c\n");
    assert_eq!([write("buildkit"), write("podman")], [none.clone(), [None, Some("c\n".to_owned())]]);
    // BuildKit passes over an empty one.
    session.write("Dockerfile.dockerignore", "");
    assert_eq!([write("buildkit"), write("podman")], [none.clone(), [Some(String::new()), None]]);
    session.write("Dockerfile.dockerignore", "d\n");
    let own = [Some("d\n".to_owned()), None];
    assert_eq!([write("buildkit"), write("docker"), write("podman")], [own.clone(), none, own]);
}

#[test]
fn a_tar_has_the_pinned_dockerfile_under_the_key_of_the_one_on_disk() {
    let session = some();
    let tar = |dockerfile: &str| {
        session.sh(&format!(
            "hashctx --ignore all -f {dockerfile} --pin {PIN} --tar --key-file ../key . >../tar
             tar -xOf ../tar Dockerfile; cat ../key"
        ))
    };
    let key = session.ok(&["--ignore", "all", "-f", "Dockerfile", "--pin", PIN, "."]);
    assert_eq!(tar("Dockerfile"), format!("{FROM}COPY . /src\n{key}"));
    // Neither where the Dockerfile is not an input, nor where it lies elsewhere.
    session.write(".dockerignore", "Dockerfile\n");
    assert!(tar("Dockerfile").starts_with(FROM));
    session.write("../D", "FROM debian:12\n");
    session.sh("rm Dockerfile");
    assert!(tar("../D").starts_with(FROM));
}

#[test]
fn a_frontend_is_named_in_json_and_pinned() {
    let session = some();
    session.write("Dockerfile", "# syntax=docker/dockerfile:1\nFROM debian:12\n");
    let images = session.ok(&["-f", "Dockerfile", "--images", "--json", "."]);
    assert!(images.ends_with("{\"foreign\":false,\"frontend\":\"docker/dockerfile:1\"}\n"), "{images}");
    let frontend = PIN.replace("debian:12", "docker/dockerfile:1");
    let json = session.ok(&["-f", "Dockerfile", "--pin", PIN, "--pin", &frontend, "--json", "."]);
    assert!(!json.contains("moving") && !json.contains("unused"), "{json}");
    session.write("Dockerfile", "# syntax=x/y\nFROM debian:12\n");
    assert!(session.ok(&["-f", "Dockerfile", "--images", "--json", "."]).contains("\"foreign\":true"));
}

#[test]
fn build_args_that_no_stage_declares_are_named() {
    let unused = |dockerfile: &str| {
        let session = Session::new().file("Dockerfile", dockerfile);
        let args = ["A", "B", "HTTP_PROXY", "BUILDKIT_X"].map(|name| format!("{name}=1"));
        let args = args.iter().flat_map(|arg| ["--build-arg", arg]);
        let line: Vec<_> =
            ["-f", "Dockerfile", "--images", "--json"].into_iter().chain(args).chain(["."]).collect();
        let names: Vec<_> = session.ok(&line).lines().map(str::to_owned).collect();
        names.into_iter().filter(|line| line.contains("unused_arg")).collect::<Vec<_>>()
    };
    let both = ["{\"unused_arg\":\"A\"}", "{\"unused_arg\":\"B\"}"];
    assert_eq!(unused("FROM scratch\n"), both);
    assert_eq!(unused("ARG A\nFROM scratch\nONBUILD ARG B=2\n"), [""; 0]);
    // A stage that is not needed may be another build's.
    assert_eq!(unused("FROM scratch AS x\nARG B\nFROM scratch\n"), [both[0]]);
    assert_eq!(unused("FROM scratch\nARG X=A\nARG $X\n"), [""; 0]);
}

#[test]
fn addresses_that_may_hold_a_secret_are_not_told() {
    let told = |source: &str| {
        let session = Session::new().file("Dockerfile", format!("FROM scratch\nARG T\nADD {source} /f\n"));
        session.ok(&["-f", "Dockerfile", "--build-arg", "T=1", "--images", "--json", "."])
    };
    assert!(told("https://x.example/f-$T").contains("\"source\":\"https://x.example/f-1\""));
    assert!(told("https://x.example/f?v=1").contains("\"kind\":\"file\""));
    for source in ["https://x.example/f?token=$T", "https://user:$T@x.example/f", "https://u@x.example/r.git"]
    {
        assert_eq!(told(source), "", "{source}");
    }
}

#[test]
fn addresses_made_of_variables_are_told_where_all_of_them_are_known() {
    let session = Session::new();
    let asked = |args: &[&str]| {
        let args = args.iter().flat_map(|arg| ["--build-arg", arg]);
        let line = ["-f", "Dockerfile", "--images", "--json"].into_iter().chain(args).chain(["."]);
        session.ok(&line.collect::<Vec<_>>())
    };
    let told = |address: &str| format!("\"source\":\"{address}\"");
    session.write("Dockerfile", "FROM scratch\nARG URL=https://x.example/f\nADD ${URL} /f\n");
    assert!(asked(&[]).contains(&told("https://x.example/f")));
    assert!(asked(&["URL=https://y.example/g"]).contains(&told("https://y.example/g")));
    // What the file itself says is no secret, in a query neither; what an arg says may be.
    let query = "FROM scratch\nARG V=1\nARG URL=https://x.example/f?v=$V\nARG A\nADD \"$URL\" /f\n";
    session.write("Dockerfile", query);
    for args in [&[][..], &["A=2"], &["V=1"]] {
        assert!(asked(args).contains(&told("https://x.example/f?v=1")), "{args:?}");
    }
    assert_eq!(asked(&["V=2"]), "");
    // A base image may set it to anything.
    session.write("Dockerfile", "FROM debian:12\nADD ${URL} /f\n");
    assert!(!asked(&[]).contains("source"));
    let json = session.ok(&["-f", "Dockerfile", "--pin", PIN, "--json", "."]);
    assert!(json.contains("hashctx::moving_source") && json.contains("${URL}"), "{json}");
}

#[test]
fn no_password_of_an_address_is_told() {
    let session = Session::new().file("Dockerfile", "FROM scratch\nADD https://user:word@x.example/f /f\n");
    let json = session.ok(&["-f", "Dockerfile", "--json", "."]);
    assert!(json.contains("https://…@x.example/f") && !json.contains("word"), "{json}");
    assert_eq!(session.ok(&["-f", "Dockerfile", "--images", "--json", "."]), "");
}

#[test]
fn images_that_are_contexts_are_told() {
    let session = Session::new().file("Dockerfile", "FROM scratch\nCOPY --from=tools /t /t\n");
    let told = |context: &str| {
        session.ok(&["-f", "Dockerfile", "--build-context", context, "--images", "--json", "."])
    };
    assert_eq!(
        told("tools=docker-image://host.example/tools:1"),
        "{\"context\":\"tools\",\"kind\":\"image\",\"source\":\"docker-image://host.example/tools:1\"}\n"
    );
    let (_, digest) = PIN.split_once('=').expect("a digest");
    assert_eq!(told(&format!("tools=docker-image://host.example/tools:1@{digest}")), "");
    // One that is not used is not told.
    assert!(!told("other=docker-image://host.example/tools:1").contains("source"));
}
