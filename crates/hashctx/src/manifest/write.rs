//! Writes manifests.

use std::fmt::Display;
use std::io::{self, Write};

use super::{Declared, Manifest, VERSION};
use crate::entry::{Content, Entry, FileMode};
use crate::path::escape;

pub(super) fn manifest(manifest: &Manifest, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "hashctx manifest {VERSION}")?;
    manifest.declared.iter().try_for_each(|one| declared(one, out))?;
    manifest.entries.iter().try_for_each(|one| entry(one, out))?;
    for named in &manifest.named {
        writeln!(out, "context {}", name(&named.name))?;
        named.entries.iter().try_for_each(|one| entry(one, out))?;
    }
    Ok(())
}

fn declared(declared: &Declared, out: &mut impl Write) -> io::Result<()> {
    match declared {
        Declared::Dockerfile(digest) => writeln!(out, "dockerfile {digest}"),
        Declared::Target(target) => writeln!(out, "target {}", name(target)),
        Declared::Platform(platform) => writeln!(out, "platform {}", name(platform)),
        Declared::Arg(arg, digest) => pair("arg", arg, digest, out),
        Declared::Base(image, digest) => pair("base", image, &name(digest), out),
        Declared::Source(context, digest) => pair("source", context, digest, out),
        Declared::Input(input, digest) => pair("input", input, digest, out),
    }
}

fn pair(keyword: &str, key: &str, value: &impl Display, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{keyword} {} {value}", name(key))
}

pub(super) fn entry(entry: &Entry, out: &mut impl Write) -> io::Result<()> {
    let path = escape(entry.path.as_bytes());
    match &entry.content {
        Content::File { digest, mode } => {
            let hex = blake3::Hash::from(*digest.as_bytes()).to_hex();
            file_keyword(*mode, out)?;
            [hex.as_str(), "  ", &path, "\n"].iter().try_for_each(|part| out.write_all(part.as_bytes()))
        }
        Content::Link { target } => writeln!(out, "link {path}\t{}", escape(target)),
        Content::Dir { permissions: None } => writeln!(out, "dir {path}"),
        Content::Dir { permissions: Some(bits) } => writeln!(out, "dir:{bits:04o} {path}"),
    }
}

fn file_keyword(mode: FileMode, out: &mut impl Write) -> io::Result<()> {
    match mode {
        FileMode::Plain => out.write_all(b"file "),
        FileMode::Executable => out.write_all(b"exec "),
        FileMode::Bits(bits) => write!(out, "file:{bits:04o} "),
    }
}

/// A name ends at a space, so it has none.
pub(super) fn name(name: &str) -> String {
    escape(name.as_bytes()).replace(' ', "\\x20")
}
