//! Which images and disks of larder.toml put files into the project that another one reads: they
//! come before it.
//!
//! What a build reads of its context is asked of hashctx: a file that an ignore file hides, or that
//! no instruction reads, is no reason. Of a disk, `inputs` say it. The files themselves are in the
//! key then, so what made them is not.
//!
//! Limit: of named contexts only `needs` tells. What files there will be is not known before: of a
//! pattern one name stands for all.

use std::collections::BTreeSet;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use globset::Glob;
use serde::Deserialize;

use crate::config::Project;
use crate::config::disk::Disk;
use crate::config::image::Image;
use crate::disk::{WORK, glob};
use crate::outputs::{Output, lines};
use crate::process::runner::{RunError, Runner};
use crate::process::tools::Tools;

/// What stands for any name in a folder.
const ANY: &str = "x";

/// One line of `hashctx --check-ignore --json`.
#[derive(Deserialize)]
pub(in crate::bake) struct Judged {
    pub(in crate::bake) path: Utf8PathBuf,
    excluded: bool,
    #[serde(default)]
    read_by: Option<Vec<String>>,
}

impl Judged {
    /// Whether the file would be an input.
    pub(in crate::bake) fn is_input(&self) -> bool {
        !self.excluded && self.read_by.as_ref().is_none_or(|lines| !lines.is_empty())
    }

    /// What reads it.
    pub(in crate::bake) fn reader(&self) -> String {
        let line = self.read_by.iter().flatten().next();
        line.map_or("its folder is packed".to_owned(), |line| format!("{line} reads it"))
    }
}

/// What `hashctx --check-ignore --json` printed.
pub(in crate::bake) fn judged(json: &[u8]) -> impl Iterator<Item = Judged> {
    serde_json::Deserializer::from_slice(json).into_iter::<Judged>().flatten()
}

/// The context of the image within the project's folder: both as they really are.
pub(in crate::bake) fn real_context(image: &Image, root: &Utf8Path) -> Option<(Utf8PathBuf, Utf8PathBuf)> {
    let context = root.join(image.folder()).canonicalize_utf8().ok()?;
    Some((context, root.canonicalize_utf8().ok()?))
}

/// The names of the images and disks whose outputs the image's build reads.
pub(in crate::bake) fn feeds(
    image: &Image,
    project: &Project,
    tools: &Tools,
    runner: &Runner,
) -> Result<Vec<String>, RunError> {
    let others = outputs_of_others(&image.name, project);
    if others.is_empty() {
        return Ok(Vec::new());
    }
    let Some((context, root, is_there)) = context_to_be(image, runner.folder()) else {
        return Ok(Vec::new());
    };
    let inside = |path: Utf8PathBuf| Some(root.join(path).strip_prefix(&context).ok()?.to_owned());
    let places: Vec<(Utf8PathBuf, &str)> =
        others.into_iter().filter_map(|(path, name)| Some((inside(path)?, name))).collect();
    if places.is_empty() {
        return Ok(Vec::new());
    }
    if !is_there {
        // All that will be in it is made.
        return Ok(sorted(places.into_iter().map(|(_, name)| name)));
    }
    let mut paths: Vec<_> = places.iter().map(|(path, _)| path.to_string()).collect();
    paths.sort();
    paths.dedup();
    let cmd = image.check_ignore(tools.hashctx().args(["-q", "--json"]));
    // What is wrong is told when it is the image's turn.
    let json = match runner.ask(&cmd.args(["--check-ignore", "--"]).args(paths)) {
        Err(error) if error.is_interruption() => return Err(error),
        answer => answer.map(|(_, json)| json).unwrap_or_default(),
    };
    let read: Vec<_> = judged(&json).filter(Judged::is_input).map(|judged| judged.path).collect();
    Ok(sorted(places.into_iter().filter(|(path, _)| read.contains(path)).map(|(_, name)| name)))
}

/// The names of the images and disks whose outputs the patterns of the disk name. One that cannot
/// be read is told when it is the disk's turn.
pub(in crate::bake) fn feeds_of_disk(disk: &Disk, project: &Project, root: &Utf8Path) -> Vec<String> {
    let matchers: Vec<_> = disk.inputs.iter().filter_map(|glob| glob::matcher(root, glob).ok()).collect();
    let is_named = |(path, _): &(Utf8PathBuf, &str)| {
        matchers.iter().any(|matcher| matcher.matched_path_or_any_parents(path, false).is_ignore())
    };
    let named = outputs_of_others(&disk.name, project).into_iter().filter(is_named).map(|(_, name)| name);
    // One name does not stand for all where the disk names only some of the files.
    let starts: Vec<_> = disk.inputs.iter().map(|glob| glob::literal(glob)).collect();
    let images = project.images.iter().filter(|image| {
        let mut outputs = lines(&image.outputs);
        outputs.any(|(output, pattern)| starts.iter().any(|start| may_hold(output, pattern, start)))
    });
    let others = project.disks.iter().filter(|other| {
        other.name != disk.name && other.folder && starts.iter().any(|start| start.starts_with(&other.output))
    });
    let some = images.map(|image| image.name.as_str()).chain(others.map(|other| other.name.as_str()));
    sorted(named.chain(some))
}

/// Whether the file of the project is an output of one of its images or disks, as far as names
/// tell.
pub(in crate::bake) fn is_output(path: &Utf8Path, project: &Project) -> bool {
    let mut outputs = project.images.iter().flat_map(|image| lines(&image.outputs));
    outputs.any(|(output, pattern)| may_hold(output, pattern, path))
        || project.disks.iter().any(|disk| path.starts_with(&disk.output))
}

/// Whether a file of the output's pattern may lie there, or in the folder that stands there.
fn may_hold(output: &Output, pattern: &str, path: &Utf8Path) -> bool {
    let is_own = !output.to.as_str().is_empty();
    let Ok(inside) = path.strip_prefix(&output.to) else { return false };
    let Some(first) = inside.components().next() else { return is_own };
    let last = last_of(pattern);
    if !is_pattern(last) {
        return is_own || first.as_str() == last;
    }
    Glob::new(last).is_ok_and(|glob| glob.compile_matcher().is_match(first.as_str()))
}

/// Where files of all others than this one may come to lie, each with the name of what makes it.
fn outputs_of_others<'p>(name: &str, project: &'p Project) -> Vec<(Utf8PathBuf, &'p str)> {
    let images = project
        .images
        .iter()
        .flat_map(|image| image.outputs.iter().flat_map(places).map(|path| (path, image.name.as_str())));
    let disks = project.disks.iter().flat_map(|disk| {
        let path = if disk.folder { disk.output.join(ANY) } else { disk.output.clone() };
        // Where it is made: who reads that has to come after it, too.
        [path, work_of(disk)].map(|path| (path, disk.name.as_str()))
    });
    images.chain(disks).filter(|(_, other)| *other != name).collect()
}

/// A file of the folder beside the output in which the disk is made.
fn work_of(disk: &Disk) -> Utf8PathBuf {
    let beside = disk.output.parent().unwrap_or(Utf8Path::new(""));
    let name = disk.output.file_name().unwrap_or("output");
    beside.join(format!("{WORK}{ANY}")).join(name)
}

fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect()
}

/// As `real_context`, also of a folder that is not there yet; and whether it is.
fn context_to_be(image: &Image, root: &Utf8Path) -> Option<(Utf8PathBuf, Utf8PathBuf, bool)> {
    if let Some((context, root)) = real_context(image, root) {
        return Some((context, root, true));
    }
    let is_below =
        |part: &Utf8Component<'_>| matches!(part, Utf8Component::Normal(_) | Utf8Component::CurDir);
    let root = root.canonicalize_utf8().ok()?;
    let is_new = image.folder().components().all(|part| is_below(&part));
    is_new.then(|| (root.join(image.folder()).components().collect(), root, false))
}

/// Where files of an output may come to lie.
fn places(output: &Output) -> Vec<Utf8PathBuf> {
    output.from.iter().flat_map(|pattern| places_of(output, pattern)).collect()
}

/// The same of one pattern of it.
pub(in crate::bake) fn places_of(output: &Output, pattern: &str) -> Vec<Utf8PathBuf> {
    let mut places = Vec::new();
    let last = last_of(pattern);
    let is_pattern = is_pattern(last);
    if !(is_pattern || output.folder) {
        places.push(output.to.clone());
    }
    places.push(output.to.join(one_name(last)));
    // What is in it, where it is a folder.
    places.extend((!is_pattern).then(|| output.to.join(ANY)));
    places
}

/// What of a pattern says how the files are called.
fn last_of(pattern: &str) -> &str {
    pattern.rsplit('/').find(|part| !part.is_empty()).unwrap_or(ANY)
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// A name that the pattern stands for.
fn one_name(pattern: &str) -> String {
    let mut name = String::new();
    let mut rest = pattern;
    while let Some(next) = rest.chars().next() {
        rest = rest.get(next.len_utf8()..).unwrap_or_default();
        match next {
            '*' => rest = rest.trim_start_matches('*'),
            '[' => rest = rest.split_once(']').map_or("", |(_, after)| after),
            _ => {}
        }
        name.push(if matches!(next, '*' | '?' | '[') { 'x' } else { next });
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_stands_for_a_pattern() {
        for (pattern, name) in [("*.whl", "x.whl"), ("**", "x"), ("a?[bc]-*", "axx-x"), ("plain", "plain")] {
            assert_eq!(one_name(pattern), name);
        }
    }

    #[test]
    fn a_disk_comes_after_what_its_inputs_name() {
        let feeds = |inputs: &str| {
            let text = format!(
                "[image.wheels]\noutputs = {{ \"dist\" = \"/b/*.whl\" }}\n\
                 [image.tool]\noutputs = {{ \".\" = \"/usr/bin/tool\" }}\n\
                 [disk.tree]\ninputs = [\"specs/tree\"]\nrun = \"make\"\noutput = \"out/tree/\"\n\
                 [disk.edge]\ninputs = [{inputs}]\nrun = \"make\"\noutput = \"out/edge.raw\"\n"
            );
            let project = crate::config::parse(&text).unwrap_or_else(|fault| panic!("{}", fault.message));
            feeds_of_disk(&project.disks[1], &project, Utf8Path::new("/nowhere"))
        };
        for (inputs, expected) in [
            ("\"specs/**\"", &[][..]),
            ("\"dist/**\"", &["wheels"]),
            ("\"dist/app-1.whl\"", &["wheels"]),
            ("\"dist/app-*.whl\"", &["wheels"]),
            ("\"dist/notes.txt\"", &[]),
            ("\"specs/**\", \"tool\"", &["tool"]),
            ("\"out/tree/etc/*.conf\"", &["tree"]),
            ("\"out/**\", \"dist\"", &["tree", "wheels"]),
        ] {
            assert_eq!(feeds(inputs), expected, "{inputs}");
        }
    }

    #[test]
    fn outputs_lie_where_they_may() {
        let output = |to: &str, folder, from: &[&str]| {
            let from = from.iter().map(|from| (*from).to_owned()).collect();
            places(&Output { to: to.into(), folder, from })
                .into_iter()
                .map(Utf8PathBuf::into_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(output("dist", false, &["/b/*.whl"]), ["dist/x.whl"]);
        assert_eq!(output("bin", true, &["/usr/bin/app"]), ["bin/app", "bin/x"]);
        assert_eq!(output("gen", false, &["/out"]), ["gen", "gen/out", "gen/x"]);
    }
}
