//! The release as a wheel, for Python's installers: the programs are its scripts.
//!
//! Source: the binary distribution format of Python's packages (PEP 427), platform tags (PEP 600).

use std::io::{self, Cursor, Write};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use storekit::digest::Digest;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::about::{About, HOME, Libc, SUMMARY};
use super::payload::{File, Payload};

/// The name that nothing else has there; `larder` is another's.
const NAME: &str = "larder_tools";

/// The wheel with its name.
pub(super) fn wheel(about: &About, payload: &Payload) -> io::Result<(String, Vec<u8>)> {
    let stem = format!("{NAME}-{}", about.version);
    let tag = tag(about);
    let mut files = Payload::new();
    for (path, file) in payload {
        let data = if let Some(program) = path.strip_prefix("bin/") {
            format!("scripts/{program}")
        } else {
            format!("data/{path}")
        };
        files.insert(format!("{stem}.data/{data}"), file.clone());
    }
    let info = format!("{stem}.dist-info");
    files.insert(format!("{info}/METADATA"), File::text(metadata(about)));
    files.insert(
        format!("{info}/WHEEL"),
        File::text(format!("Wheel-Version: 1.0\nGenerator: larder\nRoot-Is-Purelib: false\nTag: {tag}\n")),
    );
    let record = record(&files, &format!("{info}/RECORD"));
    files.insert(format!("{info}/RECORD"), File::text(record));
    Ok((format!("{stem}-{tag}.whl"), zip(&files)?))
}

/// For any Python, on Linux with such a C library.
fn tag(about: &About) -> String {
    let arch = about.arch;
    match &about.libc {
        Libc::Glibc(version) => format!("py3-none-manylinux_{}_{arch}", version.replace('.', "_")),
        Libc::Native => format!("py3-none-linux_{arch}"),
    }
}

fn metadata(about: &About) -> String {
    format!(
        "Metadata-Version: 2.1\nName: larder-tools\nVersion: {}\nSummary: {SUMMARY}\nHome-page: {HOME}\n\
         License: MIT OR Apache-2.0\nRequires-Python: >=3.7\n",
        about.version
    )
}

/// A line for each file: path, digest, size; the list's own line has neither.
fn record(files: &Payload, own: &str) -> String {
    let line = |(path, file): (&String, &File)| {
        let digest = URL_SAFE_NO_PAD.encode(Digest::of(&file.content).bytes());
        format!("{path},sha256={digest},{}\n", file.content.len())
    };
    files.iter().map(line).chain([format!("{own},,\n")]).collect()
}

fn zip(files: &Payload) -> io::Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (path, file) in files {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(DateTime::default())
            .unix_permissions(file.mode());
        zip.start_file(path, options)?;
        zip.write_all(&file.content)?;
    }
    Ok(zip.finish()?.into_inner())
}
