//! Files that are wrong, or made to do harm: a clear message with its line, in a bounded time.

use larder_tests::Session;
use proptest::prelude::*;

use crate::kit::{Asked, files, read};

/// The error that this file gives, as it is shown.
#[track_caller]
fn error(session: &Session) -> String {
    read(&session.path(""), &Asked::default()).err().expect("it is refused")
}

/// The message, and the line that is marked.
#[track_caller]
fn refused(text: &str, message: &str, line: usize) {
    let session = Session::new().file("compose.yml", text);
    let error = error(&session);
    assert!(error.contains(message), "`{message}` is not in: {error}");
    assert!(error.contains(&format!("compose.yml:{line}:")), "line {line} is not marked in: {error}");
}

#[test]
fn what_is_wrong_is_marked() {
    refused("services:\n  a: {build: .}\n  a: {build: .}\n", "the key `a` stands here twice", 3);
    refused("services:\n\ta: 1\n", "a tab indents this line", 2);
    refused("services: [a]\n", "`services` is not a mapping", 1);
    refused("services:\n  a: x\n", "the service `a` is a text", 2);
    refused("- a\n", "a compose file is a mapping, and this is a list", 1);
    refused("# nothing\n", "the file has nothing in it", 1);
    refused("services:\n  a: {build: [x]}\n", "`build` is a list", 2);
    refused("services:\n  a:\n    build:\n      args: x\n", "`args` is a text", 4);
    refused("services:\n  a:\n    build:\n      target: [x]\n", "`target` is a list", 4);
    refused("services:\n  a:\n    build: '$'\n", "a `$` that names no variable", 3);
    refused("services:\n  a:\n    build: '${X:?say where}'\n", "the variable `X` is not set: say where", 3);
    refused(
        "services:\n  a: {build: {context: ., dockerfile: D, dockerfile_inline: x}}\n",
        "`dockerfile_inline`, too",
        2,
    );
    refused("services:\n  a: {build: {context: ., secrets: [s]}}\n", "there is no secret `s`", 2);
    refused(
        "services:\n  a: {build: {context: ., additional_contexts: {x: 'service:b'}}}\n",
        "there is no service `b`",
        2,
    );
    refused(
        "services:\n  a: {build: ., image: Bad}\n  b: {build: {context: ., tags: ['a b']}}\n",
        "is not a valid image name",
        3,
    );
    refused("services:\n  a: {build: ., platform: amd64}\n", "`amd64` is not a platform", 2);
}

#[test]
fn what_takes_from_elsewhere_ends() {
    refused("services:\n  a: {extends: a, build: .}\n", "`a` extends `a` again", 2);
    refused("services:\n  a: {extends: b}\n  b: {extends: a}\n", "again", 2);
    refused("services:\n  a: {extends: none}\n", "there is no service `none` to extend", 2);
    refused("services:\n  a: {extends: {file: none.yml, service: x}}\n", "there is no file `none.yml`", 2);
    refused("include:\n  - compose.yml\nservices: {}\n", "includes", 2);
    refused("include:\n  - https://example.org/x.yml\n", "not a file of this machine", 2);
    let chain =
        (0..200).map(|at| format!("  a{at}: {{extends: a{}}}\n", at + 1)).collect::<Vec<_>>().concat();
    let session = Session::new().file("compose.yml", &format!("services:\n{chain}  a200: {{build: .}}\n"));
    assert!(error(&session).contains("again"));
    // Each file includes the next one twice.
    let session = Session::new();
    for at in 0..40 {
        let name = if at == 0 { "compose.yml".to_owned() } else { format!("f{at}.yml") };
        session.write(&name, format!("include: [f{0}.yml, f{0}.yml]\nservices: {{}}\n", at + 1));
    }
    session.write("f40.yml", "services: {}\n");
    assert!(error(&session).contains("more than 200 files are included"));
    // Each service extends a large one.
    let many = (0..3000).map(|at| format!("      A{at}: x\n")).collect::<Vec<_>>().concat();
    let all = (0..3000).map(|at| format!("  s{at}: {{extends: big}}\n")).collect::<Vec<_>>().concat();
    let text = format!("services:\n  big:\n    build:\n     context: .\n     args:\n{many}{all}");
    let session = Session::new().file("compose.yml", &text);
    assert!(error(&session).contains("parts together"), "{}", error(&session));
}

#[test]
fn files_that_are_none_are_said_to_be_none() {
    let session = Session::new();
    assert!(error(&session).contains("there is no compose file in"));
    let named = |name: &str| {
        let asked = Asked { request: files(&[name]), ..Asked::default() };
        read(&session.path(""), &asked).err().expect("refused")
    };
    assert!(named("none.yml").contains("there is no `none.yml`"));
    session.run("mkdir folder.yml && mkfifo pipe.yml && head -c 5M /dev/zero >large.yml && printf 'a: \\377' >bytes.yml").ok();
    assert!(named("folder.yml").contains("it is a folder"));
    assert!(named("pipe.yml").contains("not a regular file"));
    assert!(named("large.yml").contains("more than"));
    assert!(named("bytes.yml").contains("not UTF-8: line 1"));
    session.write("env.yml", "services: {a: {build: .}}\n");
    session.write(".env", "A=s3cret\nB 'x\n");
    let text = named("env.yml");
    assert!(text.contains("`.env` is not understood: line 2, column 2: a name has a blank"), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
    session.write(".env", "A=1\nTOKEN= \"s3cret\nB=2\n");
    let text = named("env.yml");
    assert!(text.contains("line 2, column 8: the value of `TOKEN`: the quotes do not end"), "{text}");
    // The line is shown, and marked, without its value.
    assert!(text.contains(".env:2:8]") && text.contains("2 │ TOKEN= ***"), "{text}");
    assert!(!text.contains("A=") && !text.contains("B="), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
}

/// Pieces that odd files are made of.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "services:\n",
        "  a:\n",
        "    build:\n",
        "      context: .\n",
        "      args: ",
        "{A: ",
        "[",
        "]",
        "}",
        "*x",
        "&x ",
        "<<: ",
        "!reset ",
        "!override ",
        "${A:-",
        "$",
        "\"",
        "'",
        "\n",
        "\t",
        " ",
        "- ",
        "? ",
        ": ",
        "|\n",
        ">\n",
        "---\n",
        "#",
        "extends: a\n",
        "include: [x]\n",
        "ä",
        "\r\n",
        "\u{feff}",
        "%YAML 1.2\n",
        "null",
        "1e9",
        "0x",
        "x-: 1\n",
        "image: *x\n",
        "    profiles: [x]\n",
    ];
    proptest::sample::select(words.to_vec()).prop_map(str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever stands there: an answer or an error, and no panic.
    #[test]
    fn any_text_is_read_or_refused(pieces in proptest::collection::vec(piece(), 0..40)) {
        let session = Session::new().file("compose.yml", &pieces.concat());
        session.write(".env", pieces.iter().rev().cloned().collect::<String>());
        if let Err(error) = read(&session.path(""), &Asked::default()) {
            prop_assert!(!error.is_empty());
        }
    }
}
