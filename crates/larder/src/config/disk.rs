//! `[disk.NAME]`: a disk image, an archive or a folder that a command of the project's makes.

use std::collections::BTreeMap;
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use storekit::size::Age;
use toml::Spanned;

use super::checks::{are_names, clients, is_limit, leaves};
use super::fault::Fault;
use super::outputs;
use super::table::{Pairs, plain, yes};
use crate::outputs::Output;

/// One `[disk.NAME]`. Paths are relative to larder.toml's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The table's name.
    pub name: String,
    /// What it is, for people.
    pub description: Option<String>,
    /// Globs of the files that `run` reads.
    pub inputs: Vec<String>,
    /// Variables that `run` sees.
    pub args: BTreeMap<String, String>,
    /// The line that `sh -c` runs; it writes to `$LARDER_OUTPUT`.
    pub run: String,
    /// Where it goes.
    pub output: Utf8PathBuf,
    /// Whether it is a folder.
    pub folder: bool,
    /// Whether the store is asked and filled.
    pub use_image_cache: bool,
    /// How long `run` may take; none means as long as it takes.
    pub timeout: Option<Age>,
    /// The package clients of `run` that are led to the package cache.
    pub packages: Vec<String>,
    /// The images and disks of the file that it is made after, and whose keys are in its own.
    pub needs: Vec<String>,
    /// Where its name stands in what was read.
    pub at: Range<usize>,
}

impl Disk {
    /// What of it decides about its place: another place is another file to write.
    pub(crate) fn spec(&self) -> String {
        format!("disk\0{}\0{}", self.output, self.folder)
    }

    /// Its place, as an image's outputs have theirs.
    pub(crate) fn place(&self) -> Output {
        Output { to: self.output.clone(), folder: self.folder, from: Vec::new() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct DiskTable {
    description: Option<String>,
    inputs: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    args: Pairs,
    run: Spanned<String>,
    output: Spanned<String>,
    #[serde(default)]
    cache: Cache,
    #[serde(default = "yes")]
    use_image_cache: bool,
    timeout: Option<Spanned<Age>>,
    #[serde(default)]
    packages: Vec<Spanned<String>>,
    #[serde(default)]
    needs: Vec<Spanned<String>>,
}

/// A disk, with the places of what is checked against others.
pub(super) struct ReadDisk {
    pub(super) disk: Disk,
    pub(super) needs: Vec<Spanned<String>>,
    /// That of its output.
    pub(super) output: Range<usize>,
}

/// Which of the two caches are used.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cache {
    #[serde(default = "yes")]
    pub(super) images: bool,
    #[serde(default = "yes")]
    pub(super) packages: bool,
}

impl Default for Cache {
    fn default() -> Self {
        Self { images: true, packages: true }
    }
}

impl DiskTable {
    /// The disk, with wrong values refused. `caches`: which of them are on at all.
    pub(super) fn checked(self, name: &str, at: Range<usize>, caches: Cache) -> Result<ReadDisk, Fault> {
        are_names("args", &self.args)?;
        is_limit(self.timeout.as_ref())?;
        let packages = clients(&self.packages)?;
        let output = outputs::is_place("output", &self.output)?;
        let inputs = self.inputs.get_ref();
        if inputs.is_empty() {
            let help = "name the files that `run` reads, such as `inputs = [\"specs/**\"]`";
            return Err(Fault::new(format!("disk `{name}` has no inputs"), self.inputs.span(), help));
        }
        inputs.iter().try_for_each(is_glob)?;
        if self.run.get_ref().trim().is_empty() || self.run.get_ref().contains('\0') {
            let help = "write the command that makes the disk and writes it to `$LARDER_OUTPUT`";
            return Err(Fault::new("`run` is empty", self.run.span(), help));
        }
        let folder = self.output.get_ref().ends_with('/');
        if output.as_str().is_empty() {
            let help = "name a file or a folder of the disk's own, such as `out/edge.qcow2`";
            return Err(Fault::new("`output` is the whole project", self.output.span(), help));
        }
        let at_output = self.output.span();
        let disk = Disk {
            name: name.to_owned(),
            description: self.description,
            inputs: self.inputs.into_inner().into_iter().map(Spanned::into_inner).collect(),
            args: plain(self.args),
            run: self.run.into_inner(),
            output,
            folder,
            use_image_cache: caches.images && self.use_image_cache && self.cache.images,
            packages: if caches.packages && self.cache.packages { packages } else { Vec::new() },
            timeout: self.timeout.map(Spanned::into_inner),
            needs: Vec::new(),
            at,
        };
        Ok(ReadDisk { disk, needs: self.needs, output: at_output })
    }
}

pub(super) fn is_glob(glob: &Spanned<String>) -> Result<(), Fault> {
    let text = glob.get_ref();
    let why = if text.is_empty() || text.contains(['\0', '\n']) {
        "is not a pattern of files"
    } else if leaves(Utf8Path::new(text)) {
        "leads out of the project"
    } else if crate::disk::glob::matcher(Utf8Path::new("/"), text).is_err() {
        "is not a pattern that can be read"
    } else {
        return Ok(());
    };
    let help = "inputs are paths below larder.toml's folder, with `*`, `?`, `[…]` and `**`";
    Err(Fault::new(format!("`{text}` {why}"), glob.span(), help))
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    const GOOD: &str = "[disk.edge]\ninputs = [\"specs/**\"]\nrun = \"make\"\noutput = \"out/edge.qcow2\"\n";

    #[track_caller]
    fn refused(from: &str, to: &str, why: &str) {
        let text = GOOD.replace(from, to);
        let fault = parse(&text).expect_err("a bad table");
        assert!(fault.message.contains(why), "{}", fault.message);
        assert!(fault.at.is_some(), "no place");
    }

    #[test]
    fn a_disk_is_read() {
        let text = format!("{GOOD}args = {{ SUITE = \"bookworm\" }}\ncache = {{ images = false }}\n");
        let disk = parse(&text).expect("good").disks.remove(0);
        assert_eq!(
            (disk.name.as_str(), disk.output.as_str(), disk.folder),
            ("edge", "out/edge.qcow2", false)
        );
        assert_eq!((disk.use_image_cache, disk.args.len()), (false, 1));
        let off = parse(&format!("[cache]\nimages = false\n{GOOD}")).expect("good").disks.remove(0);
        assert!(!off.use_image_cache);
    }

    #[test]
    fn a_bad_disk_is_refused_where_it_stands() {
        refused("out/edge.qcow2", "../edge.qcow2", "leads out of the project");
        refused("out/edge.qcow2", "larder.toml", "is the project's own");
        refused("out/edge.qcow2", ".", "is the whole project");
        refused("specs/**", "/etc/**", "leads out of the project");
        refused("specs/**", "specs/{a", "is not a pattern that can be read");
        refused("[\"specs/**\"]", "[]", "has no inputs");
        refused("\"make\"", "\" \"", "`run` is empty");
        refused("run = \"make\"", "rum = \"make\"", "unknown field");
    }

    #[test]
    fn disks_and_images_share_their_names() {
        refused("[disk.edge]", "[image.edge]\n[disk.edge]", "both an image and a disk");
        let matrix = "[image.edge]\nmatrix = { A = [1, 2] }\n[disk.edge]";
        refused("[disk.edge]", matrix, "both an image and a disk");
    }

    /// A disk of that name, with one line more.
    fn disk(name: &str, output: &str, line: &str) -> String {
        GOOD.replace("edge]", &format!("{name}]")).replace("out/edge.qcow2", output) + line + "\n"
    }

    #[test]
    fn a_disk_needs_images_and_disks_and_an_image_needs_disks() {
        let wheels = "[image.wheels]\nmatrix = { PY = [1, 2] }\nneeds = [\"base\"]\n";
        let needs = "needs = [\"wheels\", \"base\"]";
        let text = wheels.to_owned() + &disk("edge", "out/edge", needs) + &disk("base", "out/base", "");
        let project = parse(&text).expect("good");
        assert_eq!(project.disks[0].needs, ["wheels-1", "wheels-2", "base"]);
        assert_eq!(project.images[1].needs, ["base"]);
    }

    #[test]
    fn of_several_platforms_a_disk_needs_that_of_this_machine() {
        let platforms = "[image.app]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n";
        let text = platforms.to_owned() + &disk("edge", "out/edge", "needs = [\"app\"]");
        let needs = &parse(&text).expect("good").disks[0].needs;
        let own = format!("app@{}", storekit::Platform::host());
        assert!(*needs == [own] || needs.len() == 2, "{needs:?}");
    }

    /// What is wrong, and the two marked places.
    #[track_caller]
    fn fault(text: &str) -> (String, String, Option<String>) {
        let fault = parse(text).expect_err("a bad table");
        let marked = |at: std::ops::Range<usize>| text[at].to_owned();
        let at = marked(fault.at.expect("a place"));
        (format!("{}; {}", fault.message, fault.help), at, fault.beside.map(marked))
    }

    #[test]
    fn what_is_needed_and_is_not_there_is_refused_with_the_nearest() {
        let text = disk("base", "out/base", "") + &disk("edge", "out/edge", "needs = [\"bsae\"]");
        let (message, at, _) = fault(&text);
        assert_eq!(at, "\"bsae\"");
        assert!(message.starts_with("there is no image or disk `bsae`; is `base` meant?"), "{message}");
        let (message, at, _) = fault(&disk("edge", "out/edge", "needs = [\"edge\"]"));
        assert!(at == "\"edge\"" && message.starts_with("`edge` needs itself"), "{message}");
    }

    #[test]
    fn two_outputs_at_one_place_are_refused_with_both_lines() {
        let met = |one: &str, other: &str, why: &str| {
            let (message, at, beside) = fault(&(disk("a", one, "") + &disk("b", other, "")));
            assert!(message.contains(why), "{message}");
            assert_eq!((at, beside), (format!("\"{other}\""), Some(format!("\"{one}\""))));
        };
        met("out/a", "./out/a", "`a` and `b` have one output, `out/a`");
        met("out/", "out/b.raw", "the output `out/b.raw` of `b` is within `out`, which `a` writes");
        met("out/a.raw", "out/", "the output `out/a.raw` of `a` is within `out`, which `b` writes");
        parse(&(disk("a", "out/a", "") + &disk("b", "out/ab", ""))).expect("beside one another");
    }

    #[test]
    fn an_output_of_an_image_and_a_disk_are_refused_alike() {
        let image = |place: &str| format!("[image.app]\noutputs = {{ \"{place}\" = \"/b/*.whl\" }}\n");
        let (message, at, beside) = fault(&(disk("a", "dist/a/", "") + &image("dist/a/b")));
        assert!(message.starts_with("the output `dist/a/b` of `app` is within `dist/a`"), "{message}");
        assert_eq!((at.as_str(), beside.as_deref()), ("\"dist/a/\"", Some("\"dist/a/b\"")));
        assert!(fault(&(disk("a", "dist", "") + &image("dist"))).0.contains("have one output, `dist`"));
        // What comes into a folder of the project's, only the image says.
        for place in [".", "dist"] {
            parse(&(disk("a", "dist/a.raw", "") + &image(place))).expect("beside one another");
        }
    }
}
