//! What larder.toml has, for people who look at it for the first time.

use std::io::Write;

use miette::{IntoDiagnostic, WrapErr};
use serde::Serialize;
use toolkit::{Align, Outcome, Table};

use crate::config::Project;
use crate::config::chosen::{chosen_disks, chosen_images};

/// One image or disk. With `--json` these are the object's fields.
#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    /// `image`, `pack` or `disk`.
    kind: &'static str,
    /// The image's names; the file or folder of a disk.
    gives: Vec<&'a str>,
    description: Option<&'a str>,
}

/// Prints the images and disks in the order of the file, those of these names or all.
///
/// # Errors
/// A name that the file does not have; a list that cannot be written.
pub fn list(
    project: &Project,
    names: &[String],
    json: bool,
    out: &mut (impl Write + ?Sized),
) -> miette::Result<Outcome> {
    let images = chosen_images(project, names)?.into_iter().map(|image| Listed {
        name: &image.name,
        kind: if image.is_packed() { "pack" } else { "image" },
        gives: image.tags.iter().map(String::as_str).collect(),
        description: image.description.as_deref(),
    });
    let disks = chosen_disks(project, names).into_iter().map(|disk| Listed {
        name: &disk.name,
        kind: "disk",
        gives: vec![disk.output.as_str()],
        description: disk.description.as_deref(),
    });
    let listed: Vec<_> = images.chain(disks).collect();
    let written = if json { in_json(&listed, out) } else { in_words(&listed, out) };
    written.and_then(|()| out.flush()).into_diagnostic().wrap_err("cannot write the list")?;
    Ok(Outcome::Yes)
}

fn in_json(listed: &[Listed<'_>], out: &mut (impl Write + ?Sized)) -> std::io::Result<()> {
    listed.iter().try_for_each(|one| {
        serde_json::to_writer(&mut *out, one)?;
        writeln!(out)
    })
}

fn in_words(listed: &[Listed<'_>], out: &mut (impl Write + ?Sized)) -> std::io::Result<()> {
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("KIND", Align::Left),
        ("GIVES", Align::Left),
        ("DESCRIPTION", Align::Left),
    ]);
    for one in listed {
        let gives = one.gives.join(" ");
        let description = one.description.unwrap_or_default().to_owned();
        table.row([one.name.to_owned(), one.kind.to_owned(), gives, description]);
    }
    out.write_all(table.text(false).as_bytes())
}
