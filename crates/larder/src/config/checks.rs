//! What a single value must be.

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use storekit::size::Age;
use toml::Spanned;

use super::fault::Fault;
use super::names;
use super::table::Pairs;

/// Whether a path relative to a folder leads out of it.
pub(super) fn leaves(path: &Utf8Path) -> bool {
    path.is_absolute() || path.components().any(|part| part == Utf8Component::ParentDir)
}

/// Refuses what is not a path of this machine's: an empty one, an address, the standard input.
pub(super) fn is_path(what: &str, path: &Spanned<Utf8PathBuf>, help: &str) -> Result<(), Fault> {
    let text = path.get_ref().as_str();
    let why = match text {
        "" => "is empty",
        "-" => "is the standard input",
        _ if text.contains("://") || text.starts_with("git@") => "is an address",
        _ if text.contains('\0') => "has a NUL",
        _ => return Ok(()),
    };
    Err(Fault::new(format!("`{what}` {why}"), path.span(), help))
}

/// Refuses what no engine takes for one word of its command line.
pub(super) fn is_word(what: &str, word: &Spanned<String>, help: &str) -> Result<(), Fault> {
    let text = word.get_ref();
    let why = match text {
        _ if text.trim().is_empty() => "is empty",
        _ if text.contains(|c: char| c.is_whitespace() || c.is_control()) => "is not one word",
        _ if text.starts_with('-') => "begins like a flag",
        _ => return Ok(()),
    };
    Err(Fault::new(format!("{what} {why}"), word.span(), help))
}

/// Refuses names that no variable, build argument or label can have.
pub(super) fn are_names(what: &str, pairs: &Pairs) -> Result<(), Fault> {
    let bad = |name: &&Spanned<String>| name.get_ref().is_empty() || name.get_ref().contains(['=', '\0']);
    pairs.keys().find(bad).map_or(Ok(()), |name| {
        let message = format!("`{}` cannot be a name in `{what}`", name.get_ref());
        Err(Fault::new(message, name.span(), "a name has at least one letter, and no `=`"))
    })?;
    pairs.iter().find(|(_, value)| value.get_ref().contains('\0')).map_or(Ok(()), |(name, value)| {
        let message = format!("`{what}.{}` has a NUL", name.get_ref());
        Err(Fault::new(message, value.span(), "no command can be handed that"))
    })
}

/// The package clients that a build can be led to pkgcache for.
pub(crate) const CLIENTS: [&str; 8] = ["apt", "cargo", "dnf", "huggingface", "npm", "ollama", "pip", "torch"];

/// The names of package clients, if all are known.
pub(super) fn clients(names: &[Spanned<String>]) -> Result<Vec<String>, Fault> {
    let unknown = names.iter().find(|name| !CLIENTS.contains(&name.get_ref().as_str()));
    if let Some(name) = unknown {
        let message = format!("builds cannot lead `{}` to the package cache", name.get_ref());
        let help = "write those of `apt`, `cargo`, `dnf`, `huggingface`, `npm` (pnpm and yarn with it), `ollama`, `pip` and `torch`";
        return Err(Fault::new(message, name.span(), help));
    }
    Ok(names.iter().map(|name| name.get_ref().clone()).collect())
}

/// Refuses a limit that nothing could keep.
pub(super) fn is_limit(timeout: Option<&Spanned<Age>>) -> Result<(), Fault> {
    is_limit_or(timeout, "left out, it takes as long as it takes")
}

/// The same where another thing holds without it.
pub(super) fn is_limit_or(timeout: Option<&Spanned<Age>>, without: &str) -> Result<(), Fault> {
    timeout
        .filter(|timeout| timeout.get_ref().0.is_zero())
        .map_or(Ok(()), |timeout| Err(Fault::new("`timeout` is 0", timeout.span(), without)))
}

/// Refuses names that no variable of the environment has.
pub(super) fn is_variable(name: &Spanned<String>) -> Result<(), Fault> {
    let text = name.get_ref();
    let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if text.chars().all(is_letter) && text.starts_with(|c: char| !c.is_ascii_digit()) {
        return Ok(());
    }
    let help = "a variable's name has letters, digits and `_`, such as `CUDA_ARCH`";
    Err(Fault::new(format!("`{text}` cannot be the name of a variable"), name.span(), help))
}

/// Refuses names that would be something else in an engine's `--secret id=NAME,…`.
pub(super) fn is_secret_name(name: &Spanned<String>) -> Result<(), Fault> {
    let text = name.get_ref();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !text.is_empty() && text.chars().all(plain) {
        return Ok(());
    }
    let help = "it is the `id` in `RUN --mount=type=secret,id=…`: letters, digits, `.`, `_` and `-`";
    Err(Fault::new(format!("`{text}` cannot be the name of a secret"), name.span(), help))
}

/// Refuses a digest by which no image can be known.
pub(super) fn is_base((name, digest): (&Spanned<String>, &Spanned<String>)) -> Result<(), Fault> {
    if !names::is_name(name.get_ref()) {
        let help = "write it as `FROM` does, without a digest: `\"debian:12\" = \"sha256:…\"`";
        return Err(Fault::new(format!("`{}` is not a valid image name", name.get_ref()), name.span(), help));
    }
    if names::is_digest(digest.get_ref()) {
        return Ok(());
    }
    Err(Fault::new(
        format!("`{}` is not a digest", digest.get_ref()),
        digest.span(),
        format!("write `sha256:` and 64 hex digits; `imgtar resolve {}` prints them", name.get_ref()),
    ))
}
