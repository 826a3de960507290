//! Whether images are built from what the git commit has: a name with `{sha}` or a version says so.
//!
//! Files that git knows count wherever they lie, others where an image's key has them, ignored ones
//! too. Limit: other repositories in this one are looked at as they are checked out.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use crate::config::image::{Build, Image};
use crate::process::command::Cmd;
use crate::process::runner::{RunError, Runner};
use crate::process::tools::Tools;

/// Why the images are not those of the commit, for a message; nothing where they are, or without
/// git. `is_made`: whether a file of larder.toml's folder is made from others, as an image's
/// outputs are.
///
/// # Errors
/// Only where a signal came.
pub(crate) fn difference(
    images: &[Image],
    is_made: &dyn Fn(&Utf8Path) -> bool,
    (tools, runner): (&Tools, &Runner),
) -> Result<Option<String>, RunError> {
    let git = |args: &[&str]| said(runner, &Cmd::new("git").args(args.iter().copied()));
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    if changed.is_some_and(|changed| !changed.is_empty()) {
        return Ok(Some("files differ from the git commit".to_owned()));
    }
    let Some(top) = git(&["rev-parse", "--show-toplevel"])? else { return Ok(None) };
    let top = Utf8PathBuf::from(String::from_utf8_lossy(&top).trim_end_matches('\n'));
    let list = ["ls-files", "-z", "--others", "--directory"];
    let list = Cmd::new("git").args(["-C", top.as_str()]).args(list);
    let Some(list) = said(runner, &list)? else { return Ok(None) };
    let untracked = Untracked::parse(&list);
    let Some(place) = Place::of(top, runner.folder()).filter(|_| !untracked.is_empty()) else {
        return Ok(None);
    };
    let is_new = |path: &str| {
        untracked.has(path) && !place.inside(path).is_some_and(|path| is_made(Utf8Path::new(path)))
    };
    for image in images {
        let cmd = image.check_ignore(tools.hashctx().args(["-q", "--manifest"]));
        // What is wrong is told when the image is baked.
        let manifest = said(runner, &cmd)?.unwrap_or_default();
        let manifest = String::from_utf8_lossy(&manifest);
        let read = inputs(&manifest).filter_map(|(context, path)| place.path(image, context, path));
        let beside = image.as_build().map(files_of).unwrap_or_default();
        let beside = beside.iter().filter_map(|path| place.below(path, None));
        if let Some(path) = read.chain(beside).find(|path| is_new(path)) {
            let name = &image.name;
            return Ok(Some(format!("`{path}`, an input of `{name}`, is not in the git commit")));
        }
    }
    Ok(None)
}

/// What a command that may fail wrote, if it went well.
fn said(runner: &Runner, cmd: &Cmd) -> Result<Option<Vec<u8>>, RunError> {
    match runner.ask(cmd) {
        Ok((status, said)) => Ok(status.success().then_some(said)),
        Err(error) if error.is_interruption() => Err(error),
        Err(_) => Ok(None),
    }
}

/// The Dockerfile, and the files that may hide inputs from the build.
fn files_of(build: &Build) -> Vec<Utf8PathBuf> {
    let file = build.file();
    let names = [".dockerignore", ".containerignore"];
    let of_file = names.map(|name| Utf8PathBuf::from(format!("{file}{name}")));
    let of_context = names.map(|name| build.context.join(name));
    std::iter::once(file).chain(of_file).chain(of_context).collect()
}

/// Where the project lies in its repository.
struct Place {
    top: Utf8PathBuf,
    folder: Utf8PathBuf,
    /// The same from the top on, as [`escaped`] writes it, with a slash behind it.
    own: String,
}

impl Place {
    fn of(top: Utf8PathBuf, folder: &Utf8Path) -> Option<Self> {
        let folder = folder.canonicalize_utf8().ok()?;
        let own = escaped(folder.strip_prefix(&top).ok()?.as_str().as_bytes());
        let slash = if own.is_empty() { "" } else { "/" };
        Some(Self { own: format!("{own}{slash}"), top, folder })
    }

    /// An input of the image from the top on; nothing where it lies elsewhere.
    fn path(&self, image: &Image, context: Option<&str>, path: &str) -> Option<String> {
        match context {
            None => self.below(image.folder(), Some(path)),
            Some(name) => self.below(image.as_build()?.contexts.get(name)?.as_folder()?, Some(path)),
        }
    }

    /// A file of larder.toml's folder, or a path, escaped, in a folder of it, from the top on.
    fn below(&self, of: &Utf8Path, path: Option<&str>) -> Option<String> {
        let real = self.folder.join(of).canonicalize_utf8().ok()?;
        let own = escaped(real.strip_prefix(&self.top).ok()?.as_str().as_bytes());
        Some(match path {
            None => own,
            Some(path) if own.is_empty() => path.to_owned(),
            Some(path) => format!("{own}/{path}"),
        })
    }

    /// The path from larder.toml's folder on.
    fn inside<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(self.own.as_str())
    }
}

/// What git does not know, from the repository's top on, as [`escaped`] writes it.
#[derive(Default)]
struct Untracked {
    files: BTreeSet<String>,
    folders: BTreeSet<String>,
}

impl Untracked {
    /// Reads `git ls-files -z`, where a folder of which git knows nothing ends in a slash.
    fn parse(list: &[u8]) -> Self {
        let mut untracked = Self::default();
        for path in list.split(|byte| *byte == 0).filter(|path| !path.is_empty()) {
            let path = escaped(path);
            match path.strip_suffix('/') {
                Some(folder) => untracked.folders.insert(folder.to_owned()),
                None => untracked.files.insert(path),
            };
        }
        untracked
    }

    fn is_empty(&self) -> bool {
        self.files.is_empty() && self.folders.is_empty()
    }

    fn has(&self, path: &str) -> bool {
        let above = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
        self.files.contains(path) || above.into_iter().any(|folder| self.folders.contains(folder))
    }
}

/// The files and links of a manifest, each with the named context that it lies in.
///
/// Source: hashctx's FORMAT.md, "The manifest, version 1".
fn inputs(manifest: &str) -> impl Iterator<Item = (Option<&str>, &str)> {
    let mut context = None;
    manifest.lines().filter_map(move |line| {
        let (word, rest) = line.split_once(' ')?;
        let path = match word.split(':').next()? {
            "context" => {
                context = Some(rest);
                None
            }
            "file" | "exec" => rest.split_once("  ").map(|(_, path)| path),
            "link" => rest.split_once('\t').map(|(path, _)| path),
            _ => None,
        };
        path.map(|path| (context, path))
    })
}

/// A path as a manifest writes it.
fn escaped(path: &[u8]) -> String {
    let mut text = String::new();
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\0'..='\x1f' | '\x7f' => text.extend(c.to_string().bytes().map(hex)),
                c => text.push(c),
            }
        }
        text.extend(chunk.invalid().iter().map(|byte| hex(*byte)));
    }
    text
}

fn hex(byte: u8) -> String {
    format!("\\x{byte:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_does_not_know_has_all_that_lies_in_it() {
        let untracked = Untracked::parse(b"src/new\0built/\0a\xff\n\0");
        for (path, is_there) in [
            ("src/new", true),
            ("src/newer", false),
            ("src", false),
            ("built/x/y", true),
            ("built", false),
            ("builtin/x", false),
            ("a\\xff\\n", true),
        ] {
            assert_eq!(untracked.has(path), is_there, "{path}");
        }
        assert!(Untracked::parse(b"").is_empty());
    }

    #[test]
    fn inputs_are_read_from_a_manifest() {
        let manifest = "hashctx manifest 1\ndockerfile 00\ninput file 00\nfile 00  a b\nexec:0755 00  c\n\
                        link d\te f\ndir g\ncontext o\nfile:0644 00  h\n";
        let read: Vec<_> = inputs(manifest).collect();
        assert_eq!(read, [(None, "a b"), (None, "c"), (None, "d"), (Some("o"), "h")]);
    }
}
