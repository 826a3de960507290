//! A first larder.toml, from what lies in the folder or from a compose file.

mod compose;
mod find;

use std::fmt::Write as _;
use std::io::Write;

use camino::{Utf8Path, Utf8PathBuf};
use miette::{Diagnostic, IntoDiagnostic, WrapErr};
use storekit::files::replace::{Durability, replace};
use thiserror::Error;
use toolkit::Outcome;
use toolkit::words::count;

use crate::compose::ComposeError;
use crate::config::{self, FILE};

/// Why no file was written.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum InitError {
    #[error("`{path}` is there already")]
    #[diagnostic(code(larder::init_exists), help("nothing was changed; remove it first to begin anew"))]
    Exists { path: Utf8PathBuf },

    #[error("no Dockerfile was found in {folder}")]
    #[diagnostic(
        code(larder::init_nothing),
        help(
            "nothing was written; name what there is by hand: `[image.NAME]` with `context` and `dockerfile`, or with `pack = {{ dir = \"DIR\" }}`"
        )
    )]
    Nothing { folder: Utf8PathBuf },

    #[error("`{path}` has no service with `build`")]
    #[diagnostic(code(larder::init_no_build), help("nothing was written; larder bakes what is built here"))]
    NoBuild { path: Utf8PathBuf },

    #[error("there is no `{path}`")]
    #[diagnostic(
        code(larder::init_missing),
        help("nothing was written; `--from-compose` takes the path of a compose file")
    )]
    Missing { path: Utf8PathBuf },

    #[error("`{path}` has no `services`")]
    #[diagnostic(code(larder::init_compose), help("nothing was written"))]
    NoServices { path: Utf8PathBuf },

    #[error(transparent)]
    #[diagnostic(transparent)]
    BadCompose(ComposeError),
}

/// One image of the file to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    name: String,
    /// Relative to larder.toml.
    context: Utf8PathBuf,
    /// Relative to the context.
    dockerfile: Utf8PathBuf,
    target: Option<String>,
    tags: Vec<String>,
    platform: Option<String>,
    network: Option<String>,
    args: Vec<(String, String)>,
    contexts: Vec<(String, String)>,
    labels: Vec<(String, String)>,
    /// What of the compose file larder does not take over.
    left_out: Vec<String>,
}

/// Writes larder.toml into `folder`: an image for each Dockerfile below it, or for each service of
/// the compose file that is built.
///
/// # Errors
/// [`InitError`]; a file that cannot be written.
pub fn init(
    folder: &Utf8Path,
    from_compose: Option<&Utf8Path>,
    out: &mut (impl Write + ?Sized),
) -> miette::Result<Outcome> {
    let path = folder.join(FILE);
    if path.symlink_metadata().is_ok() {
        return Err(InitError::Exists { path: FILE.into() }.into());
    }
    let found = match from_compose {
        Some(file) => compose::services(folder, file)?,
        None => find::dockerfiles(folder),
    };
    match (found.is_empty(), from_compose) {
        (false, _) => {}
        (true, None) => return Err(InitError::Nothing { folder: folder.to_owned() }.into()),
        (true, Some(file)) => return Err(InitError::NoBuild { path: file.to_owned() }.into()),
    }
    let text = text(&found);
    // What could not be read would only be found out by the first bake. Variables need not be set.
    config::check(&text, &|_| Some("set".to_owned()))?;
    replace(&path, text.as_bytes(), Durability::Synced)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot write `{path}`"))?;
    say(&found, out).into_diagnostic().wrap_err("cannot write to stdout")?;
    Ok(Outcome::Yes)
}

fn say(found: &[Found], out: &mut (impl Write + ?Sized)) -> std::io::Result<()> {
    writeln!(out, "wrote {FILE} with {}:", count(found.len(), "image"))?;
    for image in found {
        writeln!(out, "  {}: {}", image.name, image.context.join(&image.dockerfile))?;
        image.left_out.iter().try_for_each(|what| writeln!(out, "    left out: {what}"))?;
    }
    writeln!(out, "next: `larder bake`, and commit {FILE} and larder.lock")?;
    out.flush()
}

fn text(found: &[Found]) -> String {
    let mut text =
        "# The images of this project. `larder bake` brings them up to date, `larder list` lists them.\n"
            .to_owned();
    for image in found {
        // A string is never too long to be written.
        let _ = table(image, &mut text);
    }
    text
}

fn table(image: &Found, text: &mut String) -> std::fmt::Result {
    writeln!(text, "\n[image.{}]", key(&image.name))?;
    if image.context != "." {
        writeln!(text, "context = {}", quoted(image.context.as_str()))?;
    }
    if image.dockerfile != "Dockerfile" {
        writeln!(text, "dockerfile = {}", quoted(image.dockerfile.as_str()))?;
    }
    for (name, value) in
        [("target", &image.target), ("platform", &image.platform), ("network", &image.network)]
    {
        if let Some(value) = value {
            writeln!(text, "{name} = {}", quoted(value))?;
        }
    }
    for (name, pairs) in [("args", &image.args), ("contexts", &image.contexts), ("labels", &image.labels)] {
        if !pairs.is_empty() {
            let pairs = pairs.iter().map(|(name, value)| format!("{} = {}", key(name), quoted(value)));
            writeln!(text, "{name} = {{ {} }}", pairs.collect::<Vec<_>>().join(", "))?;
        }
    }
    if !image.tags.is_empty() {
        let tags = image.tags.iter().map(|tag| quoted(tag)).collect::<Vec<_>>().join(", ");
        writeln!(text, "tags = [{tags}]")?;
    }
    Ok(())
}

/// A key as TOML has it, quoted where it must be.
fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !name.is_empty() && name.chars().all(is_bare) { name.to_owned() } else { quoted(name) }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A name for an image: lower case, and of letters that a tag may have.
fn image_name(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = text.chars().map(plain).collect();
    let parts: Vec<_> = name.split('-').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { "app".to_owned() } else { parts.join("-") }
}
