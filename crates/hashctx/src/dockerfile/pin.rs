//! A Dockerfile with digests: the same text, in which each image that a caller knows the digest of
//! is named by it, so that an engine builds from that image wherever the tag points by then; and
//! one that the caller has under another name by that.
//!
//! The digest is added to what is written, so that variables and stages stay as they are:
//! `FROM $BASE` becomes `FROM $BASE@sha256:…`. Instructions keep their line numbers.
//!
//! Absent: images of a foreign frontend, whose language is not known here.

use std::collections::BTreeMap;

use super::analyse;
use super::frontend::Frontend;
use super::lines::{self, Line};
use super::reads;
use super::stages::{Origin, Stages};
use super::{Fetched, Fetcher, Remote, Request, remote, same_image};
use crate::error::dockerfile::{DockerfileError, Fault};

/// What a Dockerfile is to name otherwise, by the images' names in it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Names<'a> {
    /// Their digests.
    pub(crate) pins: &'a [(String, String)],
    /// Other names in their place.
    pub(crate) uses: &'a [(String, String)],
    /// What is fetched, with its digest or commit.
    pub(crate) remotes: &'a [(Remote, String)],
}

/// The Dockerfile with these names.
///
/// # Errors
/// A Dockerfile that is not a Dockerfile; a name that is written so that no digest can be added.
pub(crate) fn pinned(request: &Request<'_>, names: Names<'_>) -> Result<Vec<u8>, Box<DockerfileError>> {
    let error = |fault| DockerfileError::unpinned(request.name, request.dockerfile, fault);
    let pinner = Pinner { names, escape: '\\', written: BTreeMap::new() };
    let with_syntax = pinner.syntax(request).map_err(error)?;
    if Frontend::of(request).is_some_and(|frontend| !frontend.is_dockers) {
        return Ok(with_syntax);
    }
    let request = Request { dockerfile: &with_syntax, ..*request };
    let error = |fault| DockerfileError::unpinned(request.name, request.dockerfile, fault);
    instructions(&request, names).map_err(error)
}

/// A text that takes the place of an instruction.
type Edit = (Line, Vec<u8>);

fn instructions(request: &Request<'_>, names: Names<'_>) -> Result<Vec<u8>, Fault> {
    let file = lines::split(request.dockerfile)?;
    let (lines, escape) = (file.list.clone(), file.escape);
    let stages = Stages::new(file, request)?;
    let pinner = Pinner { names, escape, written: analyse::written(request)? };
    let mut froms = stages.list.iter();
    let mut edits = Vec::new();
    for line in lines {
        let text = match line.keyword.as_str() {
            "FROM" => froms.next().map_or(Ok(None), |stage| pinner.base(&line, &stage.origin, &stage.base)),
            "ONBUILD" => pinner.trigger(&line, &stages, request),
            "ADD" => pinner.fetched(&line),
            _ => pinner.sources(&line, &stages, request),
        }?;
        edits.push((line, text));
    }
    let wanted: Vec<Vec<u8>> =
        edits.iter().map(|(line, text)| text.clone().unwrap_or_else(|| line.text.clone())).collect();
    let edits = edits.into_iter().filter_map(|(line, text)| Some((line, text?)));
    let out = written(request.dockerfile, edits);
    // A reader must find the same instructions in it.
    let read: Vec<Vec<u8>> = lines::split(&out)?.list.into_iter().map(|line| line.text).collect();
    if read == wanted { Ok(out) } else { Err(Fault::asked("no digest can be added to its instructions")) }
}

/// The file with the edits, which are in the order of the file.
fn written(file: &[u8], edits: impl Iterator<Item = Edit>) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    let newlines = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').count();
    for (line, text) in edits {
        out.extend(file.get(at..line.span.start).unwrap_or_default());
        let old = file.get(line.span.clone()).unwrap_or_default();
        let missing = newlines(old).saturating_sub(newlines(&text));
        out.extend(text);
        out.extend(std::iter::repeat_n(b'\n', missing));
        at = line.span.end;
    }
    out.extend(file.get(at..).unwrap_or_default());
    out
}

struct Pinner<'a> {
    names: Names<'a>,
    escape: char,
    /// The names that are made of variables, as they are written, by what they stand for.
    written: BTreeMap<String, String>,
}

impl Pinner<'_> {
    /// The digest for a name that has none.
    fn digest(&self, reference: &str) -> Option<&str> {
        let known = self.names.pins.iter().find(|(name, _)| same_image(name, reference));
        known.map(|(_, digest)| digest.as_str()).filter(|_| !reference.contains('@'))
    }

    /// What takes the place of an image's name that is `written` so, if anything does.
    fn other(&self, reference: &str, written: &str) -> Option<String> {
        let used = self.names.uses.iter().find(|(name, _)| same_image(name, reference));
        let pinned = || Some(format!("{written}@{}", self.digest(reference)?));
        used.map(|(_, image)| image.clone()).or_else(pinned)
    }

    fn syntax(&self, request: &Request<'_>) -> Result<Vec<u8>, Fault> {
        let file = request.dockerfile;
        let named = Frontend::of(request).and_then(|frontend| frontend.written);
        let Some((image, digest)) = named.as_ref().and_then(|image| Some((image, self.digest(image)?)))
        else {
            return Ok(file.to_vec());
        };
        let end = end_of_syntax(file, image).ok_or_else(|| unpinned(&(0..0), image))?;
        let (before, after) = file.split_at_checked(end).unwrap_or((file, b""));
        Ok([before, b"@", digest.as_bytes(), after].concat())
    }

    fn base(&self, line: &Line, origin: &Origin, base: &str) -> Result<Option<Vec<u8>>, Fault> {
        let Origin::Image(reference) = origin else { return Ok(None) };
        let Some(other) = self.other(reference, base) else { return Ok(None) };
        let head = line.text.strip_suffix(line.rest.as_bytes());
        let tail = line.rest.strip_prefix(base);
        let (head, tail) = head.zip(tail).ok_or_else(|| unpinned(&line.span, base))?;
        Ok(Some([head, other.as_bytes(), tail.as_bytes()].concat()))
    }

    fn trigger(&self, line: &Line, stages: &Stages, request: &Request<'_>) -> Result<Option<Vec<u8>>, Fault> {
        let text = line.text.get("ONBUILD ".len()..).unwrap_or_default();
        let inner = lines::parse(text, self.escape, line.span.clone(), line.number);
        let text = self.sources(&inner, stages, request)?;
        Ok(text.map(|text| [b"ONBUILD ", text.as_slice()].concat()))
    }

    /// An `ADD` with what pins its source.
    fn fetched(&self, line: &Line) -> Result<Option<Vec<u8>>, Fault> {
        let is_its = |(remote, _): &&(Remote, String)| matches!(&remote.by, Fetcher::Add { line: at, .. } if *at == line.number);
        let Some((Remote { address, fetched, by }, pin)) = self.names.remotes.iter().find(is_its) else {
            return Ok(None);
        };
        let Fetcher::Add { written, .. } = by else { return Ok(None) };
        let arguments = line.text.strip_prefix(b"ADD ").unwrap_or_default();
        if *fetched == Fetched::File {
            return Ok(Some([b"ADD --checksum=", pin.as_bytes(), b" ", arguments].concat()));
        }
        let text = String::from_utf8_lossy(&line.text);
        let wanted = remote::at_commit(address, pin);
        let parts = |c: Option<char>| c.is_none_or(|c| c.is_whitespace() || c == '"');
        let is_one = |(at, _): &(usize, &str)| {
            let after = text.get(at + written.len()..).and_then(|after| after.chars().next());
            parts(text.get(..*at).and_then(|before| before.chars().next_back())) && parts(after)
        };
        match text.match_indices(written.as_str()).filter(is_one).collect::<Vec<_>>().as_slice() {
            [(at, _)] => {
                let (before, after) = (text.get(..*at), text.get(at + written.len()..));
                Ok(Some(
                    [before.unwrap_or_default(), &wanted, after.unwrap_or_default()].concat().into_bytes(),
                ))
            }
            _ => Err(unpinned(&line.span, written)),
        }
    }

    /// The images that an instruction takes files of.
    fn sources(&self, line: &Line, stages: &Stages, request: &Request<'_>) -> Result<Option<Vec<u8>>, Fault> {
        let mut text: Option<Vec<u8>> = None;
        for (name, numbered) in reads::froms(line) {
            let Some(Origin::Image(reference)) = stages.origin(&name, numbered, request) else { continue };
            let Some(reference) = self.expanded(reference, line)? else { continue };
            let Some(other) = self.other(&reference, &name) else { continue };
            let old: &[u8] = text.as_ref().unwrap_or(&line.text);
            let new = self.named_by(old, line, &name, &other);
            text = Some(new.ok_or_else(|| unpinned(&line.span, &name))?);
        }
        Ok(text)
    }

    /// What the name of an image stands for; `None` where that is not known. One name that stands
    /// for several images is written for each of them.
    fn expanded(&self, name: String, line: &Line) -> Result<Option<String>, Fault> {
        if !name.contains('$') {
            return Ok(Some(name));
        }
        let mut all = self.written.iter().filter(|(_, written)| **written == name).map(|(image, _)| image);
        match (all.next(), all.next()) {
            (Some(_), Some(_)) => Err(unpinned(&line.span, &name)),
            (one, _) => Ok(one.cloned()),
        }
    }

    /// The instruction with the other name in each `from=NAME` of its flags. None where none is
    /// written so.
    fn named_by(&self, text: &[u8], line: &Line, name: &str, other: &str) -> Option<Vec<u8>> {
        let arguments = text.get(line.keyword.len() + 1..)?;
        let (_, rest) = super::words::flags(arguments, self.escape);
        let end = text.len() - rest.len();
        let wanted = format!("from={name}");
        let flags = text.get(..end)?;
        let is_one = |at: &usize| {
            let after = at + wanted.len();
            let found = flags.get(*at..after).is_some_and(|it| it.eq_ignore_ascii_case(wanted.as_bytes()));
            let parts = |byte: Option<&u8>| byte.is_none_or(|byte| b" \t,\"'-=".contains(byte));
            let before = at.checked_sub(1).and_then(|at| flags.get(at));
            found
                && parts(before)
                && !matches!(flags.get(after), Some(b'-' | b'='))
                && parts(flags.get(after))
        };
        let places: Vec<usize> = (0..end).filter(is_one).collect();
        let (mut out, mut at) = (Vec::new(), 0);
        for place in &places {
            let next = place + wanted.len();
            // As far as the flag is written: in capitals, too.
            out.extend(text.get(at..next.checked_sub(name.len())?)?);
            out.extend(other.as_bytes());
            at = next;
        }
        out.extend(text.get(at..)?);
        (!places.is_empty()).then_some(out)
    }
}

fn unpinned(span: &std::ops::Range<usize>, name: &str) -> Fault {
    Fault::new(span, format!("no digest can be added to `{name}` as it is written here"))
}

/// Where the name of the frontend ends in the comments at the top.
fn end_of_syntax(file: &[u8], image: &str) -> Option<usize> {
    let mut start = 0;
    for line in file.split_inclusive(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        let (before, value) = text.split_once('=').unwrap_or((&text, ""));
        let is_syntax =
            before.trim_start_matches(['#', '/', '\u{feff}']).trim().eq_ignore_ascii_case("syntax");
        if is_syntax && value.trim_start().starts_with(image) {
            let blanks = value.len() - value.trim_start().len();
            return Some(start + before.len() + 1 + blanks + image.len());
        }
        start += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use storekit::Platform;

    use super::*;
    use crate::dockerignore::Engine;

    fn asked(file: &str, engine: Engine) -> Result<String, Box<DockerfileError>> {
        let pins = ["debian:12", "tools", "docker/dockerfile:1", "host:5000/x"];
        let pins: Vec<_> = pins.iter().map(|name| ((*name).to_owned(), "sha256:0d".to_owned())).collect();
        let build_args = BTreeMap::from([("V".to_owned(), "12".to_owned())]);
        let request = Request {
            dockerfile: file.as_bytes(),
            name: "Dockerfile",
            target: None,
            build_args: &build_args,
            engine,
            platform: &Platform::host(),
            build_platform: &Platform::host(),
            contexts: &BTreeMap::new(),
        };
        let uses = [("base".to_owned(), "base:latest-arm".to_owned())];
        let of = |line, written: &str, address: &str, fetched, pin: &str| {
            let by = Fetcher::Add { line, written: written.to_owned() };
            (Remote { address: address.to_owned(), fetched, by }, pin.to_owned())
        };
        let remotes = [
            of(2, "http://x/$V", "http://x/12", Fetched::File, "sha256:0f"),
            of(3, "https://x/y.git#$V:sub", "https://x/y.git#12:sub", Fetched::Repository, "0c"),
        ];
        let names = Names { pins: &pins, uses: &uses, remotes: &remotes };
        pinned(&request, names).map(|text| String::from_utf8(text).expect("text"))
    }

    #[track_caller]
    fn becomes(file: &str, want: &str) {
        assert_eq!(asked(file, Engine::BuildKit).expect("pinned"), want);
    }

    #[test]
    fn podman_expands_the_names_that_files_are_copied_from() {
        let file = "ARG T=tools\nFROM scratch\nARG T\nCOPY --from=$T /a /b\n";
        let pinned = file.replace("from=$T", "from=$T@sha256:0d");
        assert_eq!(asked(file, Engine::Podman).expect("a pinned file"), pinned);
        assert_eq!(asked(file, Engine::BuildKit).expect("a pinned file"), file);
        let twice =
            file.replace("scratch", "scratch AS a") + "FROM a\nARG T=debian:12\nCOPY --from=$T /c /d\n";
        assert!(asked(&twice, Engine::Podman).is_err());
    }

    #[test]
    fn each_image_gets_its_digest_where_it_is_named() {
        becomes("FROM debian:12\n", "FROM debian:12@sha256:0d\n");
        becomes(
            "from  docker.io/library/debian:12 as a\nFROM a\n",
            "FROM docker.io/library/debian:12@sha256:0d as a\nFROM a\n",
        );
        becomes(
            "FROM --platform=linux/amd64 \"debian:12\" AS x",
            "FROM --platform=linux/amd64 \"debian:12\"@sha256:0d AS x",
        );
        becomes(
            "FROM scratch\nCOPY --from=tools /a /b\n",
            "FROM scratch\nCOPY --from=tools@sha256:0d /a /b\n",
        );
        becomes(
            "FROM scratch\nRUN --mount=type=bind,from=host:5000/x,target=/x ls from=tools\n",
            "FROM scratch\nRUN --mount=type=bind,from=host:5000/x@sha256:0d,target=/x ls from=tools\n",
        );
        becomes(
            "FROM scratch\nONBUILD COPY --from=tools a b\n",
            "FROM scratch\nONBUILD COPY --from=tools@sha256:0d a b\n",
        );
    }

    #[test]
    fn the_rest_stays_to_the_byte() {
        for file in [
            "FROM debian:11\n",
            "FROM debian:12@sha256:ff\n",
            "FROM scratch AS tools\nFROM scratch\nCOPY --from=tools a b\n",
            "FROM debian:11\n# FROM debian:12\nRUN echo \\\n FROM debian:12\n",
            "FROM scratch\r\nCOPY <<E /x\nCOPY --from=tools a b\nE\n",
        ] {
            becomes(file, file);
        }
    }

    #[test]
    fn an_image_is_named_otherwise_where_the_caller_has_it_so() {
        becomes("ARG B=base\nFROM $B AS x\n", "ARG B=base\nFROM base:latest-arm AS x\n");
        becomes(
            "FROM scratch\nCOPY --from=base a b\nRUN --mount=from=base:latest,target=/t ls\n",
            "FROM scratch\nCOPY --from=base:latest-arm a b\nRUN --mount=from=base:latest-arm,target=/t ls\n",
        );
        becomes("FROM scratch AS base\nFROM base\n", "FROM scratch AS base\nFROM base\n");
    }

    #[test]
    fn what_is_fetched_is_pinned_where_it_is_written() {
        becomes(
            "FROM scratch\nADD --chown=1 http://x/$V /f\nADD [\"https://x/y.git#$V:sub\", \"/g\"]\nADD http://x/$V /h\n",
            "FROM scratch\nADD --checksum=sha256:0f --chown=1 http://x/$V /f\nADD [\"https://x/y.git#0c:sub\", \"/g\"]\n\
             ADD http://x/$V /h\n",
        );
    }

    #[test]
    fn a_variable_stays_one() {
        becomes("ARG V=1\nFROM debian:$V AS x\n", "ARG V=1\nFROM debian:$V@sha256:0d AS x\n");
    }

    #[test]
    fn instructions_keep_their_lines() {
        becomes(
            "FROM \\\n  # why\n  debian:12 \\\n  AS x\nRUN --mount=from=tools,target=/t <<E\na\nE\nRUN b\n",
            "FROM debian:12@sha256:0d   AS x\n\n\n\nRUN --mount=from=tools@sha256:0d,target=/t <<E\na\nE\nRUN b\n",
        );
    }

    #[test]
    fn a_frontend_is_pinned_where_the_engine_knows_any() {
        let file = "# syntax = docker/dockerfile:1 x\nFROM debian:11\n";
        becomes(file, "# syntax = docker/dockerfile:1@sha256:0d x\nFROM debian:11\n");
        assert_eq!(asked(file, Engine::Podman).expect("pinned"), file);
    }

    #[test]
    fn images_of_a_foreign_frontend_stay() {
        becomes("#syntax=host:5000/x\nFROM debian:12\n", "#syntax=host:5000/x@sha256:0d\nFROM debian:12\n");
    }

    #[test]
    fn what_cannot_be_pinned_is_an_error_with_its_line() {
        let error = asked("FROM scratch\nCOPY --from=to\\ols a b\n", Engine::BuildKit).expect_err("no place");
        assert_eq!(error.line, 2);
        assert!(error.to_string().contains("no digest can be added to `tools`"), "{error}");
    }
}
