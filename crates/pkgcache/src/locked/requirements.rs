//! pip's `requirements.txt`, as far as versions are pinned.
//!
//! Source: pip's "Requirements File Format"; PEP 508 for a requirement.

use storekit::Checksum;

use super::{ADDRESS, FOLDER, File, GIT, Listed, Locked};
use crate::ecosystem::Ecosystem;

/// What is said of a requirement that leaves its version open.
const OPEN: &str = "is not pinned to a version: write `==`";

pub(super) fn read(text: &str) -> Listed {
    let mut listed = Listed::default();
    let mut index = None;
    for line in joined(text) {
        let line = without_comment(&line).trim().to_owned();
        if line.is_empty() {
            continue;
        }
        if let Some((option, value)) = option(&line) {
            match option {
                "-r" | "--requirement" | "-c" | "--constraint" => listed.includes.push(value.to_owned()),
                "-i" | "--index-url" => index = Some(value.to_owned()),
                "-e" | "--editable" => listed.leave_out(value, FOLDER),
                _ => {}
            }
            continue;
        }
        requirement(&line, index.as_ref(), &mut listed);
    }
    listed
}

/// Lines, with those that end in `\` joined to the next one.
fn joined(text: &str) -> Vec<String> {
    let (mut lines, mut open) = (Vec::new(), String::new());
    for line in text.lines() {
        match line.strip_suffix('\\') {
            Some(part) => {
                open.push_str(part);
                open.push(' ');
            }
            None => lines.push(std::mem::take(&mut open) + line),
        }
    }
    lines.push(open);
    lines
}

/// A comment begins the line, or has a blank before it.
fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with('#') {
        return "";
    }
    line.split(" #").next().unwrap_or(line).split("\t#").next().unwrap_or(line)
}

/// An option and its value.
fn option(line: &str) -> Option<(&str, &str)> {
    if !line.starts_with('-') {
        return None;
    }
    let cut = line.find([' ', '=', '\t']).unwrap_or(line.len());
    let (name, value) = line.split_at_checked(cut)?;
    Some((name, value.trim_start_matches(['=', ' ', '\t']).trim()))
}

fn requirement(line: &str, index: Option<&String>, listed: &mut Listed) {
    let mut checksums = Vec::new();
    let mut words = Vec::new();
    for word in line.split_whitespace() {
        if let Some(hash) = word.strip_prefix("--hash=") {
            checksums.extend(hash.parse::<Checksum>().ok());
        } else if !word.starts_with("--") {
            words.push(word);
        }
    }
    let text = words.join(" ");
    // A marker says where it counts; what it is about is fetched everywhere.
    let bare = text.split(';').next().unwrap_or_default().trim();
    if let Some((name, address)) = bare.split_once(" @ ") {
        listed.leave_out(name.trim(), if address.trim().starts_with("git+") { GIT } else { ADDRESS });
        return;
    }
    if bare.contains("://") {
        listed.leave_out(bare, if bare.starts_with("git+") { GIT } else { ADDRESS });
        return;
    }
    if bare.starts_with(['.', '/']) {
        listed.leave_out(bare, FOLDER);
        return;
    }
    let name = bare.split(['=', '<', '>', '!', '~', '[', ' ', '(']).next().unwrap_or_default();
    let pinned = bare.split_once("===").or_else(|| bare.split_once("=="));
    let version = pinned.map(|(_, version)| version.trim().trim_end_matches(')'));
    let Some(version) = version.filter(|it| !it.is_empty() && !it.contains(['*', ',', ' '])) else {
        listed.leave_out(name, OPEN);
        return;
    };
    listed.packages.push(Locked {
        ecosystem: Ecosystem::Python,
        index: index.cloned(),
        name: name.to_owned(),
        version: version.to_owned(),
        files: checksums.into_iter().map(|it| File { checksum: Some(it), ..File::default() }).collect(),
        ..Locked::default()
    });
}
