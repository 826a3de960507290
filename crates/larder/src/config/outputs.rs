//! `outputs` of an image: which of its files belong into the project, and where.

use std::collections::BTreeMap;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use toml::Spanned;

use super::checks::leaves;
use super::fault::Fault;
use super::table::Words;
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
