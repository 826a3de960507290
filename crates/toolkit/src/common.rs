//! The options that every tool has, in the same words.

use camino::Utf8PathBuf;
use clap::{Args, ValueEnum};

/// The options of every command of a tool.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// The store's folder [default: `LARDER_DIR`, `[store] dir` in larder.toml, `larder` in the
    /// user's cache folder]
    #[arg(long, value_name = "DIR", global = true)]
    pub store: Option<Utf8PathBuf>,
    /// Print JSON, one object a line
    #[arg(long, global = true)]
    pub json: bool,
    /// Print only data and errors: no summary, no warning, no progress
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print more about what is done and why
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// When to use colour: auto, always or never; `auto` heeds `NO_COLOR` and TERM=dumb
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value_t,
        hide_possible_values = true,
        global = true
    )]
    pub color: Color,
}

/// When output is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// Where it goes to a terminal.
    #[default]
    Auto,
    /// Also into a pipe or a file.
    Always,
    /// Not even on a terminal.
    Never,
}

impl Color {
    /// Whether to colour what goes to a terminal or not (`is_terminal`), by the process's own
    /// `NO_COLOR` and TERM.
    #[must_use]
    pub fn is_wanted(self, is_terminal: bool) -> bool {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_plain = is_set("NO_COLOR") || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        match self {
            Self::Auto => is_terminal && !is_plain,
            Self::Always => true,
            Self::Never => false,
        }
    }
}
