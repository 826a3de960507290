//! The release as a package for Debian and what is derived from it.
//!
//! Source: deb(5), deb-control(5); Debian Policy 10.1 (programs), 12.1 (manual pages).

use std::collections::BTreeSet;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::about::{About, HOME, Libc, SUMMARY};
use super::archive::{append, append_folder};
use super::payload::{File, Payload};

/// The package with its name.
pub(super) fn deb(about: &About, payload: &Payload) -> io::Result<(String, Vec<u8>)> {
    let files = installed(payload)?;
    let mut deb = ar::Builder::new(Vec::new());
    let mut add = |name: &str, content: &[u8]| {
        let mut header = ar::Header::new(name.as_bytes().to_vec(), content.len() as u64);
        header.set_mode(0o100_644);
        header.set_mtime(about.time);
        deb.append(&header, content)
    };
    add("debian-binary", b"2.0\n")?;
    add(
        "control.tar.gz",
        &tar_gz(&[("control".to_owned(), File::text(control(about, &files)))].into(), about.time)?,
    )?;
    add("data.tar.gz", &tar_gz(&files, about.time)?)?;
    Ok((format!("larder_{}_{}.deb", about.version, architecture(about.arch)), deb.into_inner()?))
}

/// The files where Debian has them: pages compressed, zsh's completions in a folder of their own.
fn installed(payload: &Payload) -> io::Result<Payload> {
    let mut files = Payload::new();
    for (path, file) in payload {
        let path = path.replace("share/zsh/site-functions", "share/zsh/vendor-completions");
        let (path, file) = if path.starts_with("share/man/") {
            (format!("{path}.gz"), File::text(gzip(&file.content)?))
        } else {
            (path, file.clone())
        };
        files.insert(format!("usr/{path}"), file);
    }
    let copyright = payload.get("share/doc/larder/LICENSE-MIT").map(|file| file.content.clone());
    files.insert("usr/share/doc/larder/copyright".to_owned(), File::text(copyright.unwrap_or_default()));
    Ok(files)
}

fn control(about: &About, files: &Payload) -> String {
    let kib = files.values().map(|file| file.content.len().div_ceil(1024)).sum::<usize>();
    let depends = match &about.libc {
        Libc::Glibc(version) => format!("libc6 (>= {version})"),
        Libc::Native => "libc6".to_owned(),
    };
    format!(
        "Package: larder\nVersion: {}\nArchitecture: {}\nMaintainer: the larder contributors <larder@localhost>\n\
         Installed-Size: {kib}\nDepends: {depends}\nSuggests: docker.io | podman, git\nSection: utils\n\
         Priority: optional\nHomepage: {HOME}\nDescription: {SUMMARY}\n Keys for build contexts, an image store that is an OCI image layout, a caching proxy\n \
         for package downloads, and one command for all images of a project.\n",
        about.version,
        architecture(about.arch),
    )
}

/// Debian's name of an architecture.
fn architecture(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A tar of the files, every folder before what is in it.
fn tar_gz(files: &Payload, time: u64) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
    let mut folders = BTreeSet::new();
    for (path, file) in files {
        for (end, _) in path.match_indices('/') {
            let folder = format!("./{}", path.get(..=end).unwrap_or_default());
            if folders.insert(folder.clone()) {
                append_folder(&mut tar, &folder, time)?;
            }
        }
        append(&mut tar, &format!("./{path}"), file, time)?;
    }
    tar.into_inner()?.finish()
}

fn gzip(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(content)?;
    gzip.finish()
}
