//! Writes what a context came to: paths, NDJSON. The shapes are in FORMAT.md.

use std::io::{self, Write};

use miette::Diagnostic;
use serde_json::{Map, Value, json};

use crate::context::check_ignore::{Answer, Readers};
use crate::context::{Hashed, Images};
use crate::dockerfile::{Base, Fetched, Fetcher, Remote, Unknown};
use crate::files::entry::{Content, Entry, FileMode};
use crate::listed::Rule;
use crate::manifest::diff::{Change, Difference};
use crate::manifest::{Declared, Manifest};
use crate::path::{escape, printable};
use crate::warning::Warning;

/// The paths of the main context: raw and ended by NUL where `nul`, else escaped on a line each.
///
/// # Errors
/// Those of the writer.
pub fn list(manifest: &Manifest, nul: bool, out: &mut impl Write) -> io::Result<()> {
    for entry in &manifest.entries {
        if nul {
            [entry.path.as_bytes(), b"\0"].iter().try_for_each(|part| out.write_all(part))?;
        } else {
            writeln!(out, "{}", entry.path)?;
        }
    }
    Ok(())
}

/// One object for each file, link and empty folder, those of named contexts too.
///
/// # Errors
/// Those of the writer.
pub fn list_json(manifest: &Manifest, out: &mut impl Write) -> io::Result<()> {
    manifest.entries.iter().try_for_each(|one| writeln!(out, "{}", entry(one, None)))?;
    for named in &manifest.named {
        named.entries.iter().try_for_each(|one| writeln!(out, "{}", entry(one, Some(&named.name))))?;
    }
    Ok(())
}

/// One object for each line of the manifest but its first.
///
/// # Errors
/// Those of the writer.
pub fn manifest_json(manifest: &Manifest, out: &mut impl Write) -> io::Result<()> {
    manifest.declared.iter().try_for_each(|one| writeln!(out, "{}", declared(one)))?;
    list_json(manifest, out)
}

/// One object: the key, the number of inputs, what could make it lie.
///
/// # Errors
/// Those of the writer.
pub fn key_json(hashed: &Hashed, out: &mut impl Write) -> io::Result<()> {
    let manifest = &hashed.manifest;
    let inputs =
        manifest.entries.len() + manifest.named.iter().map(|named| named.entries.len()).sum::<usize>();
    let warnings: Vec<Value> = hashed.warnings.iter().map(warning).collect();
    let unknowns: Vec<Value> = hashed.unknowns.iter().map(unknown).collect();
    let key = manifest.key().to_string();
    writeln!(out, "{}", json!({ "key": key, "inputs": inputs, "warnings": warnings, "unknown": unknowns }))
}

/// The references of images, a line each, escaped as names in a manifest are.
///
/// # Errors
/// Those of the writer.
pub fn images(images: &Images, out: &mut impl Write) -> io::Result<()> {
    images.bases.iter().try_for_each(|image| writeln!(out, "{}", escape(image.reference.as_bytes())))
}

/// The same as one object each, with the platform that the image is pulled for; one for a frontend
/// without a digest; one for each source that can be pinned, and for each build arg that no stage
/// declares.
///
/// # Errors
/// Those of the writer.
pub fn images_json(images: &Images, out: &mut impl Write) -> io::Result<()> {
    let object = |image: &Base| json!({ "image": image.reference, "platform": image.platform.to_string() });
    images.bases.iter().try_for_each(|image| writeln!(out, "{}", object(image)))?;
    if images.frontend.is_some() || images.foreign {
        writeln!(out, "{}", json!({ "frontend": images.frontend, "foreign": images.foreign }))?;
    }
    images.remotes.iter().try_for_each(|one| writeln!(out, "{}", remote(one, images.checks_sources)))?;
    images.unused_args.iter().try_for_each(|name| writeln!(out, "{}", json!({ "unused_arg": name })))
}

fn remote(remote: &Remote, checked: Option<bool>) -> Value {
    let kind = match remote.fetched {
        Fetched::File => "file",
        Fetched::Repository => "repository",
        Fetched::Image => "image",
    };
    match &remote.by {
        Fetcher::Add { line, .. } => {
            json!({ "source": remote.address, "kind": kind, "line": line, "checked": checked })
        }
        Fetcher::Context(name) => json!({ "source": remote.address, "kind": kind, "context": name }),
    }
}

fn unknown(unknown: &Unknown) -> Value {
    match unknown {
        Unknown::Onbuild(image) => json!({ "code": "onbuild", "image": image }),
        Unknown::MovingTag(image) => json!({ "code": "moving-tag", "image": image }),
        Unknown::MovingSyntax(image) => json!({ "code": "moving-syntax", "image": image }),
        Unknown::ForeignFrontend(image) => json!({ "code": "foreign-frontend", "image": image }),
        Unknown::BaseVariable(line) => json!({ "code": "base-variable", "line": line }),
        Unknown::MovingSource(line, source) => {
            json!({ "code": "moving-source", "line": line, "source": source })
        }
        Unknown::MovingContext(name) => json!({ "code": "moving-context", "context": name }),
        Unknown::ProxyArg(line, name) => json!({ "code": "proxy-arg", "line": line, "arg": name }),
    }
}

/// One difference.
///
/// # Errors
/// Those of the writer.
pub fn difference_json(difference: &Difference, out: &mut impl Write) -> io::Result<()> {
    let mut object = Map::new();
    object.insert("change".into(), difference.change.word().into());
    let of_a_path = difference.change >= Change::Added;
    object.insert(if of_a_path { "path" } else { "name" }.into(), difference.name.as_str().into());
    if of_a_path {
        object.insert("from".into(), difference.from.as_deref().into());
        object.insert("context".into(), difference.context.as_deref().into());
    }
    writeln!(out, "{}", Value::from(object))
}

/// One answer of `--check-ignore`: `excluded`, `included` or, of a build, `unread`; the path;
/// `FILE:LINE:PATTERN` where a line decided; of a build, `DOCKERFILE:LINE` for each instruction
/// that reads it. Separated by tabs.
///
/// # Errors
/// Those of the writer.
pub fn answer(path: &[u8], answer: &Answer, out: &mut impl Write) -> io::Result<()> {
    let word = match answer.verdict.excluded {
        true => "excluded",
        false if answer.is_out() => "unread",
        false => "included",
    };
    let rule =
        |Rule { file, line, pattern }: &Rule| format!("{file}:{line}:{}", printable(pattern.as_bytes()));
    let mut fields = vec![word.to_owned(), escape(path).into_owned()];
    fields.extend(answer.verdict.by.as_ref().map(rule));
    let readers: Vec<String> = answer.readers.iter().flat_map(places).collect();
    if !readers.is_empty() && answer.verdict.by.is_none() {
        fields.push(String::new());
    }
    fields.extend(readers);
    writeln!(out, "{}", fields.join("\t"))
}

/// Where a path is read.
fn places(readers: &Readers) -> Vec<String> {
    let file = escape(readers.dockerfile.as_str().as_bytes());
    let itself = readers.is_dockerfile.then(|| file.clone().into_owned());
    itself.into_iter().chain(readers.lines.iter().map(|line| format!("{file}:{line}"))).collect()
}

/// The same as one object.
///
/// # Errors
/// Those of the writer.
pub fn answer_json(path: &[u8], answer: &Answer, out: &mut impl Write) -> io::Result<()> {
    let by = answer
        .verdict
        .by
        .as_ref()
        .map(|Rule { file, line, pattern }| json!({ "file": file, "line": line, "pattern": pattern }));
    let mut object = json!({ "path": escape(path), "excluded": answer.verdict.excluded, "by": by });
    if let Some(readers) = &answer.readers {
        object["read_by"] = places(readers).into();
    }
    if !answer.warnings.is_empty() {
        object["warnings"] = answer.warnings.iter().map(warning).collect();
    }
    writeln!(out, "{object}")
}

fn warning(warning: &Warning) -> Value {
    let code = warning.code().map(|code| code.to_string());
    json!({ "code": code, "message": warning.to_string() })
}

fn entry(entry: &Entry, context: Option<&str>) -> Value {
    let mut object = Map::new();
    object.insert("path".into(), entry.path.to_string().into());
    object.insert("context".into(), context.into());
    let (kind, rest) = match &entry.content {
        Content::File { digest, mode } => ("file", file(&digest.to_string(), *mode)),
        Content::Link { target } => ("link", vec![("target", escape(target).into_owned().into())]),
        Content::Dir { permissions } => ("dir", permissions.map(mode).into_iter().collect()),
    };
    object.insert("type".into(), kind.into());
    object.extend(rest.into_iter().map(|(name, value)| (name.to_owned(), value)));
    object.into()
}

fn file(digest: &str, file_mode: FileMode) -> Vec<(&'static str, Value)> {
    let of_mode = match file_mode {
        FileMode::Bits(bits) => mode(bits),
        other => ("executable", (other == FileMode::Executable).into()),
    };
    vec![("digest", digest.into()), of_mode]
}

fn mode(bits: u16) -> (&'static str, Value) {
    ("mode", format!("{bits:04o}").into())
}

fn declared(declared: &Declared) -> Value {
    match declared {
        Declared::Dockerfile(digest) => json!({ "type": "dockerfile", "digest": digest.to_string() }),
        Declared::Target(name) => json!({ "type": "target", "name": name }),
        Declared::Platform(name) => json!({ "type": "platform", "name": name }),
        Declared::Arg(name, digest) => json!({ "type": "arg", "name": name, "digest": digest.to_string() }),
        Declared::Base(name, digest) => json!({ "type": "base", "name": name, "digest": digest }),
        Declared::Source(name, digest) => {
            json!({ "type": "source", "name": name, "digest": digest.to_string() })
        }
        Declared::Input(name, digest) => {
            json!({ "type": "input", "name": name, "digest": digest.to_string() })
        }
    }
}
