//! Compose files and files of variables that are wrong, or made to do harm, by the command itself:
//! the mark, the exit code, and that nothing was built, written or asked of an engine before.

use larder_tests::Session;

/// A project of one service, whose engine must not be called.
fn project(compose: &str, variables: &str) -> Session {
    let session = Session::new().env("LARDER_DOCKER", "../engine").env("LARDER_PODMAN", "../engine");
    session.script("../engine", "touch ../asked; exit 1");
    session.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    session.write("docker-compose.yml", compose);
    session.write(".env", variables);
    session
}

#[track_caller]
fn refused(compose: &str, variables: &str, words: &[&str]) {
    let session = project(compose, variables);
    for line in ["larder bake --compose", "larder bake --compose --in-place", "larder bake --compose --check"]
    {
        let ran = session.run(line).ends(2);
        for word in words {
            assert!(ran.stderr().contains(word), "`{word}` is not in {ran}");
        }
        assert!(!ran.stderr().contains("s3cret"), "{ran}");
    }
    let left = session.run("ls -A; ls ..").ok().stdout();
    assert!(!left.contains("asked") && !left.contains("larder") && !left.contains("lock"), "{left}");
    assert_eq!(session.run("cat docker-compose.yml").ok().stdout(), compose);
}

const ONE: &str = "services: {a: {build: {context: ., args: [\"A=${A}\"]}}}\n";

#[test]
fn what_is_not_compose_is_marked_and_changes_nothing() {
    let at = |line: u32| format!("docker-compose.yml:{line}:");
    refused("services:\n  a: {build: .}\n  a: {build: .}\n", "", &["the key `a` stands here twice", &at(3)]);
    refused("services:\n\ta: {build: .}\n", "", &["a tab indents this line", &at(2)]);
    refused("services: {a: {build: .}\n", "", &["docker-compose.yml:"]);
    refused("services:\n  'a b': {build: .}\n", "", &["`a b` cannot be the name of a service", &at(2)]);
    let session = project("services:\n  a:\n    image: Reg.example:5000/Own\n    build: .\n", "");
    let said = session.run("larder bake --compose --check").stderr();
    assert!(said.contains("docker-compose.yml:3: a: `Reg.example:5000/Own` is not a name"), "{said}");
    for tag in ["a b", "Own", "r.example:port/x", "x:"] {
        let text = format!("services: {{a: {{build: {{context: ., tags: ['{tag}']}}}}}}\n");
        refused(&text, "", &["is not a valid image name", &at(1)]);
    }
    let bomb = (1..30)
        .map(|at| format!("x-{at}: &a{at} [{}]\n", format!("*a{},", at - 1).repeat(9)))
        .collect::<Vec<_>>()
        .concat();
    let bomb = format!("x-0: &a0 [x]\n{bomb}services: {{a: {{build: .}}}}\n");
    refused(&bomb, "", &["more than 100000 parts", "docker-compose.yml:"]);
    let deep = format!("services: {{a: {{build: {}}}}}\n", "[".repeat(5000));
    refused(&deep, "", &["docker-compose.yml:1:"]);
}

#[test]
fn a_file_of_variables_is_read_as_compose_does_or_marked() {
    refused(ONE, "K=s3cret\nA B=1\n", &["`.env` is not understood: line 2, column 2: a name has a blank"]);
    refused(
        ONE,
        "A=\"s3cret\n",
        &["`.env` is not understood: line 1, column 3: the value of `A`: the quotes do not end"],
    );
    let doubling = (0..64).map(|at| format!("A{}=$A{at}$A{at}\n", at + 1)).collect::<Vec<_>>().concat();
    refused(ONE, &format!("A0=s3cret\n{doubling}A=$A64\n"), &["its variables make too much of it"]);
    // Odd quotes that mean something.
    for (variables, value) in [
        ("A='it # is' # no\n", "it # is"),
        ("A=\"two\\nlines $B\"\nB=no\n", "two\\nlines "),
        ("export A: x#y\r\n", "x#y"),
        ("A='$B'\n", "$B"),
    ] {
        let session = project(ONE, variables);
        let planned = session.run("larder bake --compose --dry-run -v");
        let said = format!("{}{}", planned.stdout(), planned.stderr());
        assert!(said.contains(&format!("A={value}")), "{variables:?}: {planned}");
    }
}

#[test]
fn a_field_that_compose_does_not_know_is_kept_with_one_warning() {
    let text = "# Ours.\nservices:\n  a:\n    build: {context: ., contxt: x}\n    imge: y\n    x-own: z\nx-all: 1\nvolums: {}\n";
    let session = project(text, "");
    let ran = session.run("larder bake --compose --check");
    let said = ran.stderr();
    let lines: Vec<_> = said.lines().filter(|line| line.contains("imge")).collect();
    assert_eq!(lines.len(), 1, "{ran}");
    for word in ["contxt", "volums", "`image`"] {
        assert!(lines[0].contains(word), "`{word}` is not in {ran}");
    }
    assert!(!said.contains("x-own") && !said.contains("x-all"), "{ran}");
    assert_eq!(session.run("cat docker-compose.yml").ok().stdout(), text);
}
