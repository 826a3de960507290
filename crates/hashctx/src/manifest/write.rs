//! Writes manifests.

use std::fmt::Display;
use std::io::{self, Write};

use rayon::prelude::*;

use super::{Declared, Manifest, VERSION};
use crate::files::digest::Digest;
use crate::files::entry::{Content, Entry, FileMode};
use crate::path::escape;

/// Entries that one thread writes at a time.
const CHUNK: usize = 256;
/// Entries whose text is in memory at a time.
const WINDOW: usize = 1 << 13;

pub(super) fn manifest(manifest: &Manifest, out: &mut impl Write) -> io::Result<()> {
    with_entries(manifest, out, |entries, out| entries.iter().try_for_each(|one| entry(one, out)))
}

/// Hashes the same text, written by several threads.
pub(super) fn hash(manifest: &Manifest, hasher: &mut blake3::Hasher) -> io::Result<()> {
    with_entries(manifest, hasher, |entries, hasher| {
        for some in entries.chunks(WINDOW) {
            let texts: Vec<Vec<u8>> = some.par_chunks(CHUNK).map(text).collect();
            texts.iter().try_for_each(|text| hasher.write_all(text))?;
        }
        Ok(())
    })
}

fn with_entries<W: Write>(
    manifest: &Manifest,
    out: &mut W,
    entries: impl Fn(&[Entry], &mut W) -> io::Result<()>,
) -> io::Result<()> {
    writeln!(out, "hashctx manifest {VERSION}")?;
    manifest.declared.iter().try_for_each(|one| declared(one, out))?;
    entries(&manifest.entries, out)?;
    for named in &manifest.named {
        writeln!(out, "context {}", name(&named.name))?;
        entries(&named.entries, out)?;
    }
    Ok(())
}

fn text(entries: &[Entry]) -> Vec<u8> {
    let mut text = Vec::with_capacity(entries.len() * 128);
    // A vector takes whatever it is given.
    let _ = entries.iter().try_for_each(|one| entry(one, &mut text));
    text
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
            file_keyword(*mode, out)?;
            let parts = [&hex(digest)[..], b"  ", path.as_bytes(), b"\n"];
            parts.iter().try_for_each(|part| out.write_all(part))
        }
        Content::Link { target } => writeln!(out, "link {path}\t{}", escape(target)),
        Content::Dir { permissions: None } => writeln!(out, "dir {path}"),
        Content::Dir { permissions: Some(bits) } => writeln!(out, "dir:{bits:04o} {path}"),
    }
}

/// As a digest is displayed, and sooner.
fn hex(digest: &Digest) -> [u8; 64] {
    let digit = |half: u8| half + if half < 10 { b'0' } else { b'a' - 10 };
    let mut hex = [0; 64];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(digest.as_bytes()) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
    }
    hex
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
