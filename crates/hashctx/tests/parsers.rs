//! Bad input never panics: ignore files and Dockerfiles made of the parts that their parsers care
//! about.
//!
//! `PROPTEST_CASES` makes it run longer.

use std::collections::BTreeMap;

use hashctx::Kind;
use hashctx::dockerfile::{Request, Selector, analyse};
use hashctx::dockerignore::{Engine, Folder, Patterns};
use proptest::prelude::*;

const IGNORE: [&str; 40] = [
    "a",
    "b",
    "/",
    "/",
    "*",
    "**",
    "?",
    "!",
    "#",
    "\n",
    "\n",
    "\r",
    " ",
    "[",
    "]",
    "^",
    "-",
    "\\",
    "{2}",
    "{",
    "}",
    "(",
    ")",
    "|",
    "+",
    ".",
    "..",
    "$",
    "\\d",
    "\\p{Greek}",
    "\\Q",
    "\\E",
    "[[:alpha:]]",
    "\\x{41}",
    "\\B",
    "é",
    "\u{feff}",
    "\u{a0}",
    "\u{0}",
    "{1000}",
];

const DOCKERFILE: [&str; 63] = [
    "FROM ",
    "FROM scratch\n",
    "AS ",
    "COPY ",
    "ADD ",
    "RUN ",
    "ARG ",
    "ENV ",
    "ONBUILD ",
    "CMD ",
    "a",
    "b",
    "s",
    "x=",
    "=",
    "\n",
    "\n",
    "\n",
    "\r\n",
    " ",
    " ",
    "\t",
    "\\\n",
    "`\n",
    "# escape=`\n",
    "#",
    "# syntax=a\n",
    "$",
    "${",
    "}",
    ":-",
    ":+",
    "?",
    "#",
    "##",
    "%",
    "%%",
    "/",
    "//",
    "'",
    "\"",
    "\\",
    "<<",
    "<<-EOF",
    "EOF\n",
    "--from=",
    "--from=0",
    "--parents",
    "--exclude=",
    "--mount=",
    "type=bind,",
    "source=",
    "--platform=",
    "# syntax=x\n",
    "[\"",
    "\"]",
    ",",
    "*",
    "/./",
    "..",
    "é",
    "\u{feff}",
    "${x:-",
];

/// Some of the parts, with stray bytes between them.
fn made_of(parts: &'static [&'static str], longest: usize) -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        30 => proptest::sample::select(parts).prop_map(|part| part.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    proptest::collection::vec(part, 0..longest).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn no_ignore_file_panics(file in made_of(&IGNORE, 24), path in made_of(&IGNORE, 8)) {
        for engine in [Engine::BuildKit, Engine::DockerLegacy, Engine::Podman] {
            let Ok(patterns) = Patterns::parse_for(engine, &file).inspect_err(|error| drop(error.to_string())) else {
                continue;
            };
            let alone = patterns.matches(&path);
            let walked = patterns.judge_from_root(&path);
            if let Ok((verdict, folder)) = patterns.enter(&Folder::default(), &path) {
                let pruned = patterns.prunable(&folder, &path);
                let inner = [&path[..], b"/a"].concat();
                let below = patterns.enter(&folder, &inner).is_ok_and(|(below, _)| !below.excluded);
                prop_assert!(!(verdict.excluded && pruned && below), "something is kept below a pruned folder");
            }
            drop((alone, walked));
        }
    }

    #[test]
    fn no_dockerfile_panics(
        body in made_of(&DOCKERFILE, 40),
        whole in any::<bool>(),
        target in proptest::option::of("[ab]"),
        engine in 0_usize..3,
    ) {
        let file = if whole { body } else { [b"FROM scratch AS a\n", &body[..]].concat() };
        let build_args = BTreeMap::from([("x".to_owned(), "a/*".to_owned())]);
        let contexts = BTreeMap::new();
        let platform = "linux/amd64".parse().expect("a platform");
        let engine = [Engine::BuildKit, Engine::DockerLegacy, Engine::Podman][engine];
        let request = Request {
            dockerfile: &file,
            name: "Dockerfile",
            target: target.as_deref(),
            build_args: &build_args,
            engine,
            platform: &platform,
            build_platform: &platform,
            contexts: &contexts,
        };
        match analyse(&request) {
            Ok(analysis) => {
                let listing = [(&b"a/b"[..], Kind::File), (b"a/s", Kind::Symlink), (b"b", Kind::Symlink), (b"s", Kind::Dir)];
                let target = |_: &[u8]| Some(b"../a/./s/..".to_vec());
                drop(Selector::new(&analysis.sources, None).select(listing, target));
            }
            Err(error) => drop(format!("{:?}", miette::Report::from(*error))),
        }
    }
}
