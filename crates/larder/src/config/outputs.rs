//! `outputs` of an image: which of its files belong into the project, and where. And that no disk's
//! `output` is in the way of another's.

use std::collections::BTreeMap;
use std::ops::Range;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use toml::Spanned;

use super::checks::leaves;
use super::disk::ReadDisk;
use super::fault::Fault;
use super::table::{Read, Words};
use crate::outputs::{Output, is_reserved};

/// The table as it is written.
pub(super) type Table = BTreeMap<Spanned<String>, Spanned<Words>>;

/// Refuses what leads out of the project or onto its own settings, and what is not a path of an
/// image's.
pub(super) fn checked(table: &Table) -> Result<Vec<Output>, Fault> {
    table.iter().map(|(to, from)| one(to, from)).collect()
}

fn one(to: &Spanned<String>, from: &Spanned<Words>) -> Result<Output, Fault> {
    let path = is_place("outputs", to)?;
    let patterns = from.get_ref().to_vec();
    if let Some(bad) = patterns.iter().find(|pattern| !is_pattern(pattern)) {
        let help = "name files by their path from the image's root: `\"dist\" = \"/build/dist/*.whl\"`";
        return Err(Fault::new(format!("`{bad}` is not a path in an image"), from.span(), help));
    }
    if patterns.is_empty() {
        let help = "name at least one file, folder or pattern, or leave the line out";
        return Err(Fault::new(format!("`{path}` has nothing to come from"), from.span(), help));
    }
    let folder = to.get_ref().ends_with('/') || patterns.len() > 1;
    Ok(Output { to: path, folder, from: patterns })
}

fn is_pattern(pattern: &str) -> bool {
    pattern.starts_with('/') && pattern.bytes().any(|byte| byte != b'/') && !pattern.contains('\0')
}

/// The path, where files of a bake's may be written to it: below larder.toml's folder, and not what
/// decides about a bake.
pub(super) fn is_place(what: &str, path: &Spanned<String>) -> Result<Utf8PathBuf, Fault> {
    let text = path.get_ref();
    let plain = plain(Utf8Path::new(text));
    let why = if text.is_empty() || text.contains('\0') {
        "is not a path"
    } else if leaves(Utf8Path::new(text)) {
        "leads out of the project"
    } else if is_reserved(&plain) {
        "is the project's own"
    } else {
        return Ok(plain);
    };
    let help = "name a file or a folder below larder.toml's, other than larder.toml and .git";
    Err(Fault::new(format!("`{text}` in `{what}` {why}"), path.span(), help))
}

/// Refuses a disk whose output is that of another disk or of an image, and what is written into a
/// folder that a disk makes: a bake of one replaces what the other made. In the folder of an
/// image's outputs a disk may lie: which files those are, only the image says.
pub(super) fn apart(images: &[Read], disks: &[ReadDisk]) -> Result<(), Fault> {
    for (index, ReadDisk { disk, output, .. }) in disks.iter().enumerate() {
        let own = (&disk.name, disk.output.as_path(), disk.folder, output);
        let before = disks.iter().take(index);
        let before = before
            .map(|ReadDisk { disk, output, .. }| (&disk.name, disk.output.as_path(), disk.folder, output));
        let of_images = images.iter().flat_map(|read| {
            let places = read.image.outputs.iter().zip(&read.outputs);
            places.map(|(output, at)| (&read.image.name, output.to.as_path(), false, at))
        });
        let of_images = of_images.filter(|(_, place, ..)| !place.as_str().is_empty());
        before.chain(of_images).try_for_each(|other| is_apart(other, own))?;
    }
    Ok(())
}

/// Each with its name, where it is written, and whether all of that folder is its own.
type Place<'a> = (&'a String, &'a Utf8Path, bool, &'a Range<usize>);

fn is_apart(
    (other, there, holds_other, other_at): Place<'_>,
    (name, here, holds_own, at): Place<'_>,
) -> Result<(), Fault> {
    let what = if there == here {
        format!("`{other}` and `{name}` have one output, `{here}`")
    } else if holds_other && here.starts_with(there) {
        format!("the output `{here}` of `{name}` is within `{there}`, which `{other}` writes")
    } else if holds_own && there.starts_with(here) {
        format!("the output `{there}` of `{other}` is within `{here}`, which `{name}` writes")
    } else {
        return Ok(());
    };
    let help = "give each a place of its own: a bake of one replaces what the other made";
    Err(Fault::new(what, at.clone(), help).and(other_at.clone()))
}

/// Without `.` and doubled slashes.
fn plain(path: &Utf8Path) -> Utf8PathBuf {
    path.components().filter(|part| *part != Utf8Component::CurDir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn outputs(lines: &str) -> Result<Vec<Output>, (String, String)> {
        let text = format!("[image.app]\noutputs = {{ {lines} }}\n");
        match parse(&text) {
            Ok(mut project) => Ok(project.images.remove(0).outputs),
            Err(fault) => {
                let marked = fault.at.and_then(|at| text.get(at)).unwrap_or_default().to_owned();
                Err((fault.message, marked))
            }
        }
    }

    #[track_caller]
    fn refused(lines: &str, why: &str, marked: &str) {
        let (message, at) = outputs(lines).expect_err("a bad line");
        assert!(message.contains(why) && at.contains(marked), "`{message}` at `{at}`");
    }

    #[test]
    fn one_pattern_or_several_are_read() {
        let read = outputs("\"./dist\" = \"/b/*.whl\", \"bin/\" = \"/usr/bin/app\", c = [\"/c\", \"/d\"]");
        let read = read.expect("good lines");
        let places: Vec<_> = read.iter().map(|output| (output.to.as_str(), output.folder)).collect();
        assert_eq!(places, [("dist", false), ("bin", true), ("c", true)]);
        assert_eq!(read[2].from, ["/c", "/d"]);
    }

    #[test]
    fn a_place_outside_the_project_is_refused() {
        for place in ["/etc", "../lib", "a/../../b"] {
            refused(&format!("\"{place}\" = \"/x\""), "leads out of the project", place);
        }
    }

    #[test]
    fn the_projects_own_files_are_refused() {
        for place in ["larder.toml", "./larder.toml", "larder.lock", ".git", ".git/hooks", "sub/.GIT"] {
            refused(&format!("\"{place}\" = \"/x\""), "is the project's own", place);
        }
    }

    #[test]
    fn what_no_image_has_is_refused() {
        for from in ["\"dist/*\"", "\"\"", "\"/\"", "[\"/a\", \"b\"]"] {
            refused(&format!("dist = {from}"), "is not a path in an image", from);
        }
        refused("dist = []", "has nothing to come from", "[]");
    }
}
