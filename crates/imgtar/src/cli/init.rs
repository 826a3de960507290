//! `imgtar init`: its flags, and what it says.
#![expect(clippy::doc_markdown, reason = "the comments are the manual's text, in which backticks show")]

use camino::Utf8PathBuf;
use imgtar::repository;
use miette::Result;
use serde::Serialize;
use storekit::Store;
use toolkit::{Outcome, Output};

use crate::cli::run::Invocation;

/// Make a store; with `--lfs` one that is kept in a git repository
///
/// A save makes its store by itself: this is for `--lfs`. With `--lfs`, the store lies in a git
/// repository: its blobs go to Git LFS, its keys and inputs into git, and what is derived or local
/// (index.json, trash, events, caches, locks) into neither. For that, .gitattributes and .gitignore
/// are written in DIR, and `git lfs install --local` is run. Your own lines in these files stay. In
/// a clone, `git lfs install --local` is needed unless `git lfs install` was run on the machine.
/// hashctx leaves a store out of every key.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n    imgtar init --lfs docker-cache\n    printf '[store]\\ndir = \"docker-cache\"\\n' >> larder.toml\n    git add docker-cache larder.toml"
)]
pub(crate) struct InitArgs {
    /// The store's folder; by default that of `--store`, LARDER_DIR or larder.toml
    dir: Option<Utf8PathBuf>,
    /// Set it up for Git LFS
    #[arg(long)]
    lfs: bool,
}

/// What `init --json` prints.
#[derive(Serialize)]
struct InitLine {
    store: Utf8PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<Utf8PathBuf>,
    written: Vec<Utf8PathBuf>,
    left_to_do: Vec<String>,
}

impl Invocation<'_> {
    pub(crate) fn init(&self, args: InitArgs) -> Result<Outcome> {
        let store = args.dir.unwrap_or_else(|| self.root.clone());
        let mut line = InitLine { store, repository: None, written: Vec::new(), left_to_do: Vec::new() };
        if args.lfs {
            let set_up = repository::init(&line.store)?;
            (line.written, line.left_to_do) = (set_up.written, set_up.left);
            line.repository = Some(set_up.repository);
        } else {
            Store::open_or_create(&line.store)?.images().prepare().map_err(imgtar::Error::from)?;
        }
        for left in &line.left_to_do {
            self.view.warn(left);
        }
        let lfs = if args.lfs { ", set up for Git LFS" } else { "" };
        self.view.say(&format!("`{}` is a store{lfs}", line.store));
        if self.view.common.json {
            crate::cli::run::out(Output::report().json(&line))?;
        }
        Ok(Outcome::Yes)
    }
}
