//! The release as `tar.zst`: unpacked anywhere, its `bin` put on PATH.

use std::io;

use super::about::About;
use super::payload::{File, Payload};

/// Level of zstd: made once, fetched often.
const LEVEL: i32 = 19;

/// The archive with its name.
pub(super) fn archive(about: &About, payload: &Payload) -> io::Result<(String, Vec<u8>)> {
    let name = format!("larder-{}-{}-linux", about.version, about.arch);
    let mut tar = tar::Builder::new(zstd::Encoder::new(Vec::new(), LEVEL)?);
    for (path, file) in payload {
        append(&mut tar, &format!("{name}/{path}"), file, about.time)?;
    }
    Ok((format!("{name}.tar.zst"), tar.into_inner()?.finish()?))
}

/// Appends a file that belongs to root.
pub(super) fn append<W: io::Write>(
    tar: &mut tar::Builder<W>,
    path: &str,
    file: &File,
    time: u64,
) -> io::Result<()> {
    let mut header = header(time, file.mode());
    header.set_size(file.content.len() as u64);
    tar.append_data(&mut header, path, file.content.as_slice())
}

/// Appends a folder that belongs to root.
pub(super) fn append_folder<W: io::Write>(
    tar: &mut tar::Builder<W>,
    path: &str,
    time: u64,
) -> io::Result<()> {
    let mut header = header(time, 0o755);
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    tar.append_data(&mut header, path, io::empty())
}

fn header(time: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mtime(time);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header
}
