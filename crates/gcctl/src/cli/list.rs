//! The options of `ls`.

use clap::{Args, ValueEnum};
use gcctl::commands::Listing;
use gcctl::limits::scoped::pattern;
use gcctl::show::files::FileKind;
use gcctl::show::ls::{Filter, Sort};
use gcctl::{Error, Result};
use globset::Glob;
use storekit::{Age, ByteSize};
use toolkit::tables::ecosystem;

#[derive(Args)]
pub(super) struct ListArgs {
    /// What to list [default: images; with `--ecosystem`, packages]
    #[arg(value_enum)]
    what: Option<What>,
    /// Only those whose name, key, URL or path is like this: `app:*`
    ///
    /// `*` stands for any characters, `?` for one, `{a,b}` for either. An image's name counts with
    /// its tag and without.
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    name: Option<Glob>,
    /// Only packages of this ecosystem: apk, apt, cargo, dnf, git-lfs, go, huggingface,
    /// npm, oci, ollama, python, releases or generic
    #[arg(long, value_name = "NAME", value_parser = ecosystem)]
    ecosystem: Option<String>,
    /// Only those that were not used, or written, for longer than this: 12h, 30d
    #[arg(long, value_name = "AGE")]
    unused: Option<Age>,
    /// Only images that were saved longer ago than this: 12h, 30d
    #[arg(long, value_name = "AGE")]
    older: Option<Age>,
    /// Only those whose SIZE is more than this
    #[arg(long, value_name = "SIZE")]
    larger: Option<ByteSize>,
    /// The order: used, name, size or own
    #[arg(long, value_name = "BY", default_value = "used")]
    sort: Sort,
    /// Print keys, URLs or paths alone, each with a NUL behind it
    #[arg(short = '0', long, conflicts_with = "json")]
    null: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum What {
    /// Images and disks, and what refers to them
    Images,
    /// Disks
    Disks,
    /// Package downloads
    Packages,
    /// What hashctx remembers of folders
    Contexts,
    /// What was removed, by run, and what was set aside as damaged
    Trash,
    /// What is being written, or was left unfinished
    Unfinished,
    /// The manifests of inputs that are kept beside images
    Inputs,
    /// What happened, by day
    Events,
    /// When versions of packages were first seen, for `cooldown` of pkgcache
    FirstSeen,
    /// What is in the folders that `[[extra]]` of larder.toml names: files, or revisions of models
    Extra,
}

impl ListArgs {
    fn what(&self) -> What {
        self.what.unwrap_or(if self.ecosystem.is_some() { What::Packages } else { What::Images })
    }

    /// Which kind of files is listed, where it is neither images nor packages.
    pub(super) fn files(&self) -> Option<FileKind> {
        match self.what() {
            What::Images | What::Disks | What::Packages => None,
            What::Contexts => Some(FileKind::Contexts),
            What::Trash => Some(FileKind::Trash),
            What::Unfinished => Some(FileKind::Unfinished),
            What::Inputs => Some(FileKind::Inputs),
            What::Events => Some(FileKind::Events),
            What::FirstSeen => Some(FileKind::FirstSeen),
            What::Extra => Some(FileKind::Extra),
        }
    }

    /// Refuses a filter that is not for what is listed.
    pub(super) fn check(&self) -> Result<()> {
        match self.what {
            Some(what) if what != What::Packages && self.ecosystem.is_some() => {
                let what = what.to_possible_value().map(|it| it.get_name().to_owned());
                Err(Error::NotOfPackages { what: what.unwrap_or_default() })
            }
            _ if self.older.is_some() && !matches!(self.what(), What::Images | What::Disks) => {
                let what = self.what().to_possible_value().map(|it| it.get_name().to_owned());
                Err(Error::NotOfImages { what: what.unwrap_or_default() })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn listing(&self) -> Listing {
        let filter = Filter {
            ecosystem: self.ecosystem.clone(),
            name: self.name.as_ref().map(Glob::compile_matcher),
            unused: self.unused,
            older: self.older,
            disks: self.what() == What::Disks,
            larger: self.larger,
            sort: self.sort,
        };
        Listing { packages: matches!(self.what(), What::Packages), filter, nul: self.null }
    }
}
