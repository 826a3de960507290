//! A Dockerfile over a made-up context, and what its build reads.

use std::collections::BTreeMap;

use hashctx::Kind;
use hashctx::dockerfile::{Analysis, NamedContext, Request, Selector, analyse};
use hashctx::dockerignore::Engine;

/// Files of the context; `->` makes a link, a trailing `/` an empty folder.
pub(crate) const TREE: [&str; 18] = [
    "a.txt",
    "b.log",
    "dir/c.txt",
    "dir/d.log",
    "dir/sub/e.txt",
    "dir/sub/f.log",
    "empty/",
    "link -> dir/sub",
    "src/x/go.mod",
    "src/x/main.go",
    "src/y/go.mod",
    "src/y/main.go",
    "to-file -> ../a.txt",
    "up -> /dir",
    "we ird",
    "x[1]",
    "z/only.log",
    "nowhere -> gone",
];

pub(crate) struct Case<'a> {
    pub(crate) dockerfile: String,
    pub(crate) args: &'a [(&'a str, &'a str)],
    pub(crate) target: Option<&'a str>,
    pub(crate) contexts: &'a [(&'a str, Option<&'a str>)],
    pub(crate) engine: Engine,
}

pub(crate) fn case(dockerfile: &str) -> Case<'static> {
    Case {
        dockerfile: dockerfile.to_owned(),
        args: &[],
        target: None,
        contexts: &[],
        engine: Engine::BuildKit,
    }
}

impl Case<'_> {
    pub(crate) fn analysis(&self) -> Result<Analysis, String> {
        let build_args: BTreeMap<_, _> =
            self.args.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let context = |value: Option<&str>| {
            value.map_or(NamedContext::Folder, |value| NamedContext::Other(value.into()))
        };
        let contexts =
            self.contexts.iter().map(|(name, value)| ((*name).to_owned(), context(*value))).collect();
        let platform = "linux/amd64".parse().expect("a platform");
        let request = Request {
            dockerfile: self.dockerfile.as_bytes(),
            name: "Dockerfile",
            target: self.target,
            build_args: &build_args,
            engine: self.engine,
            platform: &platform,
            build_platform: &platform,
            contexts: &contexts,
        };
        analyse(&request).map_err(|error| error.to_string())
    }

    #[track_caller]
    pub(crate) fn reads(&self, want: &[&str]) {
        assert_eq!(selected(&self.analysis().expect("a Dockerfile"), None), want, "{}", self.dockerfile);
    }
}

pub(crate) fn selected(analysis: &Analysis, context: Option<&str>) -> Vec<String> {
    let entry = |text: &&'static str| match text.split_once(" -> ") {
        Some((path, _)) => (path.as_bytes(), Kind::Symlink),
        None => {
            (text.trim_end_matches('/').as_bytes(), if text.ends_with('/') { Kind::Dir } else { Kind::File })
        }
    };
    let target = |path: &[u8]| {
        let text = |text: &&str| {
            text.split_once(" -> ").filter(|(link, _)| link.as_bytes() == path).map(|(_, to)| to.into())
        };
        TREE.iter().find_map(text)
    };
    let selection = Selector::new(&analysis.sources, context).select(TREE.iter().map(entry), target);
    let text = |path: &Vec<u8>| String::from_utf8_lossy(path).into_owned();
    let folders = selection.empty_folders.iter().map(|path| text(path) + "/");
    selection.entries.iter().map(text).chain(folders).collect()
}

/// What `FROM scratch` with this instruction reads.
#[track_caller]
pub(crate) fn reads(instruction: &str, want: &[&str]) {
    case(&format!("FROM scratch\n{instruction}\n")).reads(want);
}

#[track_caller]
pub(crate) fn refused(dockerfile: &str) {
    let analysis = case(dockerfile).analysis();
    assert!(analysis.is_err(), "{dockerfile}\n{analysis:?}");
}

/// The two builds are told apart, or are not.
#[track_caller]
pub(crate) fn same(one: &str, other: &str, want: bool) {
    let key =
        |dockerfile: &str| case(dockerfile).analysis().map(|analysis| (analysis.instructions, analysis.args));
    assert_eq!(key(one).expect("one") == key(other).expect("other"), want, "{one}\n---\n{other}");
}
