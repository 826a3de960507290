//! Whether the secrets of a bake are there, before anything is built.

use std::collections::BTreeMap;

use camino::Utf8Path;

use miette::Diagnostic;
use thiserror::Error;

use super::image::{Image, Secret};

/// A secret that is not there.
#[derive(Debug, Error, Diagnostic)]
#[error("image `{image}` needs the secret `{secret}`: {why}")]
#[diagnostic(code(larder::no_secret))]
pub struct NoSecret {
    image: String,
    secret: String,
    why: String,
    #[help]
    help: String,
}

/// Refuses images whose secrets are not set, or cannot be read. No value is looked at.
///
/// # Errors
/// The first secret that is not there.
pub fn are_there<'a>(
    images: impl IntoIterator<Item = &'a Image>,
    variables: &BTreeMap<String, String>,
    folder: &Utf8Path,
) -> Result<(), NoSecret> {
    for image in images {
        for (id, secret) in image.as_build().into_iter().flat_map(|build| &build.secrets) {
            let fault = match secret {
                Secret::Variable(name) if variables.contains_key(name) => None,
                Secret::Variable(name) => {
                    Some((format!("the environment variable `{name}` is not set"), format!("set `{name}`")))
                }
                Secret::File(path) => unreadable(&folder.join(path)).map(|why| {
                    (format!("cannot read `{path}`: {why}"), "paths are relative to larder.toml".to_owned())
                }),
            };
            if let Some((why, help)) = fault {
                let help = format!("nothing was begun; {help}");
                return Err(NoSecret { image: image.name.clone(), secret: id.clone(), why, help });
            }
        }
    }
    Ok(())
}

/// Why the file cannot be read, if so. A pipe would be waited for.
fn unreadable(path: &Utf8Path) -> Option<String> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => std::fs::File::open(path).err().map(|error| error.to_string()),
        Ok(_) => Some("it is not a regular file".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}
